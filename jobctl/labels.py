"""Jobs as container labels and back: enough to rebuild a line of ``connections.txt``.

Labels can be read by everybody who reaches the engine, so they never carry a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from jobctl.engines.base import FILES_LABEL
from jobctl.errors import JobctlError
from jobctl.job import KEYS, Job, Status, from_dict
from jobctl.schema import CONTROL

Role = Literal["gateway", "app"]
PREFIX = "jobctl."
JOB_ID = "jobctl.job_id"
OWNER = "jobctl.owner"
JOB_ROOT = "jobctl.job_root"
ROLE = "jobctl.role"
CREATED = "jobctl.created"
ENGINE_ID = "jobctl.engine_id"
BUILD = "jobctl.build"
"""Of an image, which its containers inherit."""

MOST_CHARACTERS = 8192
"""How long a value may be: any path, and any text of a section, is shorter."""
_CONTROL = re.compile(f"[{CONTROL}\ud800-\udfff]")

# Job keys whose label has the same name. What changes in a job's life can't be a label.
_KEPT = (
    *("job_id", "app", "owner", "port", "protocol", "host", "job_root", "app_path", "config"),
    *(
        "hash_algorithm",
        "url",
        "open_url",
        "bind_address",
        "engine",
        "image",
        "tls_fingerprint",
        "expires",
    ),
    *("engine_id", "app_port", "ready_path", "login_path", "idle_timeout", "relaxed"),
)


def owner_name(job_id: str) -> str:
    """Return the name of the container that owns the port: creating it claims the port."""
    return f"jobctl-{job_id}"


def app_name(job_id: str) -> str:
    """Return the name of the container beside it, where there is one."""
    return f"jobctl-{job_id}-app"


def labels_of(job: Job, role: Role) -> dict[str, str]:
    """Return the labels of one of a job's containers."""
    labels = {ROLE: role, CREATED: str(job.creation_timestamp)}
    for key in _KEPT:
        value = getattr(job, key)
        if value not in (None, "", []):
            labels[PREFIX + key] = ", ".join(value) if isinstance(value, list) else str(value)
    return labels


def job_from(labels: Mapping[str, str], *, status: str = Status.REGISTERED) -> Job:
    """Return the job that a container's labels describe.

    Labels of a newer jobctl end up in ``extra``, under their full names: what type they have
    there is for that one to know.

    Raises:
        JobctlError: they don't describe one; anybody may put such labels on a container.
    """
    _check(labels)
    values: dict[str, object] = {
        key: labels[PREFIX + key] for key in _KEPT if PREFIX + key in labels
    }
    try:
        values["creation_timestamp"] = int(labels.get(CREATED, ""))
        for key in ("expires", "app_port", "idle_timeout"):
            if key in values:
                values[key] = int(str(values[key]))
    except ValueError as error:
        raise JobctlError(f"labels of a job: {error}") from None
    if "relaxed" in values:
        values["relaxed"] = str(values["relaxed"]).split(", ")
    further = {name: value for name, value in labels.items() if _further(name)}
    try:
        return from_dict(values | further | {"status": status})
    except JobctlError as error:
        raise JobctlError(f"labels of a job: {error}") from None


def _check(labels: Mapping[str, str]) -> None:
    for name, value in labels.items():
        if not name.startswith(PREFIX):
            continue
        if _CONTROL.search(name + value):
            raise JobctlError(f"labels of a job: {name!a} has control characters in it")
        if len(name + value) > MOST_CHARACTERS:
            raise JobctlError(f"labels of a job: {name[:40]!a} is too long")


def _further(name: str) -> bool:
    known = name in (ROLE, CREATED, BUILD, FILES_LABEL) or name.removeprefix(PREFIX) in KEYS
    return name.startswith(PREFIX) and not known
