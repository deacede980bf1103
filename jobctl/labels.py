"""Jobs as container labels and back: enough to rebuild a line of ``connections.txt``.

Labels can be read by everybody who reaches the engine, so they never carry a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from jobctl.errors import JobctlError
from jobctl.job import Job, Status, from_dict

Role = Literal["gateway", "app"]
PREFIX = "jobctl."
JOB_ID = "jobctl.job_id"
OWNER = "jobctl.owner"
JOB_ROOT = "jobctl.job_root"
ROLE = "jobctl.role"

# Job keys whose label has the same name. What changes in a job's life can't be a label.
_KEPT = (
    *("job_id", "app", "owner", "port", "protocol", "host", "job_root", "app_path", "config"),
    *("hash_algorithm", "url", "bind_address", "engine", "image", "tls_fingerprint", "expires"),
    *("ready_path", "login_path", "relaxed"),
)


def labels_of(job: Job, role: Role) -> dict[str, str]:
    """Return the labels of one of a job's containers."""
    labels = {ROLE: role, f"{PREFIX}created": str(job.creation_timestamp)}
    for key in _KEPT:
        value = getattr(job, key)
        if value not in (None, "", []):
            labels[PREFIX + key] = ", ".join(value) if isinstance(value, list) else str(value)
    return labels


def job_from(labels: Mapping[str, str], *, status: str = Status.REGISTERED) -> Job:
    """Return the job that a container's labels describe.

    Raises:
        JobctlError: they don't describe one; anybody may put such labels on a container.
    """
    values: dict[str, object] = {
        key: labels[PREFIX + key] for key in _KEPT if PREFIX + key in labels
    }
    try:
        values["creation_timestamp"] = int(labels.get(f"{PREFIX}created", ""))
        if "expires" in values:
            values["expires"] = int(str(values["expires"]))
    except ValueError as error:
        raise JobctlError(f"labels of a job: {error}") from None
    if "relaxed" in values:
        values["relaxed"] = str(values["relaxed"]).split(", ")
    try:
        return from_dict(values | {"status": status})
    except JobctlError as error:
        raise JobctlError(f"labels of a job: {error}") from None
