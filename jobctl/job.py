"""The job object: the schema of a line in ``connections.txt`` and of every JSON output."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from jobctl.errors import JobctlError

MOST_LEVELS = 100
MASK = "********"
_JOB_ID = re.compile(r"(?:job_)?([1-9][0-9]{0,4})")


class Status:
    """The values of ``Job.status`` that this version writes; it keeps and shows any other."""

    REGISTERED = "registered"
    LAUNCHING = "launching"
    LAUNCHED = "launched"
    STOPPED = "stopped"
    EXITED = "exited"
    UNHEALTHY = "unhealthy"
    LOST = "lost"


KNOWN_STATUSES = frozenset(
    {
        *(Status.REGISTERED, Status.LAUNCHING, Status.LAUNCHED, Status.STOPPED, Status.EXITED),
        *(Status.UNHEALTHY, Status.LOST),
    }
)
ENDED = frozenset({Status.STOPPED, Status.EXITED, Status.LOST})


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job. The first fourteen keys are the documented ones; jobctl adds the rest.

    ``port`` is a string, ``creation_timestamp``, ``expires`` and ``ended_at`` are seconds since the
    epoch, ``pid`` is a process id on the host, ``job_root`` ends with a slash.
    """

    job_id: str
    app: str
    port: str
    protocol: str
    host: str
    owner: str
    job_root: str
    config: str | None = None
    app_path: str = ""
    password_hash: str | None = None
    hash_algorithm: str | None = None
    pid: int | None = None
    status: str
    creation_timestamp: int

    url: str = ""
    """Where programs on this host, or for an exposed job on any, find it."""
    bind_address: str = "127.0.0.1"
    engine: str = "docker"
    image: str = ""
    container_ids: list[str] = []
    tls_fingerprint: str | None = None
    expires: int | None = None
    exit_code: int | None = None
    restarts: int = 0
    reason: str | None = None
    """Why it is ``exited`` or ``unhealthy``, in words, where there is more to say."""
    open_url: str = ""
    """What to open in a browser: by a name that no other job has, where there is one."""
    app_port: int | None = None
    """Where the app listens inside the job's network namespace."""
    ready_path: str = "/"
    """What has to answer, and to need the password, for the job to count as running."""
    login_path: str | None = None
    """Where an app that checks the password itself has its login form."""
    engine_id: str | None = None
    """Which engine has its containers: hosts that share a home directory have one each."""
    endpoint_id: str | None = None
    """Where the engine had the gateway on its network; another says that it was restarted."""
    idle_timeout: int | None = None
    """For how many seconds it may be idle."""
    ended_at: int | None = None
    """When it ended, or was first seen to have; ``None`` while it has not."""
    relaxed: list[str] = []
    """Where this job's container is less locked down than the default, in words."""
    intent: str | None = None
    """The command under way (``run``, ``start``, ``stop``, ``remove``); left by one that died."""
    extra: dict[str, Any] = {}
    """Keys of a newer jobctl or of ``broker -u``; written back as they came."""

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    def with_(self, **changes: Any) -> Job:
        """Return a copy with ``changes``."""
        return msgspec.structs.replace(self, **changes)


KEYS = tuple(name for name in Job.__struct_fields__ if name != "extra")
"""The keys of the job object that this version knows, in the documented order."""

_KNOWN_KEYS = frozenset(KEYS)


def to_dict(job: Job, *, reveal: bool = True) -> dict[str, Any]:
    """Return the job as one flat JSON object, in the documented order of keys.

    Without ``reveal`` a password hash is masked: for a digest algorithm it is as good as the
    password. ``intent`` is left out while no command is under way.
    """
    values = {key: getattr(job, key) for key in KEYS}
    if job.intent is None:
        del values["intent"]
    if not reveal and job.password_hash is not None:
        values["password_hash"] = MASK
    return values | job.extra


def from_dict(values: Mapping[str, Any]) -> Job:
    """Return the job that ``values`` describes; unknown keys end up in ``extra``.

    Raises:
        JobctlError: a documented key is missing or has the wrong type.
    """
    known = {key: value for key, value in values.items() if key in _KNOWN_KEYS}
    extra = {key: value for key, value in values.items() if key not in _KNOWN_KEYS}
    if not _within(extra, MOST_LEVELS):
        raise JobctlError(
            f"job object: it is nested more than {MOST_LEVELS} levels deep; leave some out"
        )
    known["extra"] = extra
    try:
        job = msgspec.convert(known, Job)
    except msgspec.ValidationError as error:
        raise JobctlError(f"job object: {error}; see one with: jobctl inspect JOB --json") from None
    if not job.port.isdecimal() or job.job_id != job_id_of(job.port):
        raise JobctlError(
            f'job object: job_id "{job.job_id}" does not go with port "{job.port}"; leave port out'
        )
    return job


def _within(value: Any, levels: int) -> bool:
    """Tell whether a value can be walked through without fear for the stack."""
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_within(one, levels - 1) for one in inner)


def job_id_of(text: str | int) -> str:
    """Return ``job_8000`` for ``8000`` or ``job_8000``.

    Raises:
        JobctlError: ``text`` is neither.
    """
    match = _JOB_ID.fullmatch(str(text))
    if match is None or int(match[1]) > 65535:
        raise JobctlError(f'"{text}" is not a job; expected an id such as job_8000, or its port')
    return f"job_{match[1]}"


def is_job_id(text: str) -> bool:
    """Tell whether ``text`` is the id of a job, in full."""
    try:
        return job_id_of(text) == text
    except JobctlError:
        return False


def port_of(job_id: str) -> int:
    """Return 8000 for ``job_8000``."""
    return int(job_id_of(job_id).removeprefix("job_"))


def connect_address(bind_address: str) -> str:
    """Return the address at which a port bound to ``bind_address`` answers on its own host."""
    address = ipaddress.ip_address(bind_address)
    if address.is_unspecified:
        return "::1" if address.version == 6 else "127.0.0.1"
    return str(address)
