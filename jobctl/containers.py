"""A job as containers: which ones, how locked down, with which mounts. Pure, sends nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jobctl import gateway
from jobctl.config import Section, bytes_of
from jobctl.engines.base import Bind, ContainerSpec, Healthcheck, Publish
from jobctl.errors import JobctlError
from jobctl.job import Job
from jobctl.labels import labels_of

NETWORK = "jobctl"
GATEWAY_IMAGE = "jobctl/gateway"
UNPRIVILEGED_UID = 65532
"""Whom containers run as when the caller is root."""

_TMPFS = "rw,noexec,nosuid,nodev,size=256m,mode=1777"
_MASK = "ro,noexec,nosuid,nodev,size=64k"


def owner_name(job_id: str) -> str:
    """Return the name of the container that owns the port: creating it claims the port."""
    return f"jobctl-{job_id}"


def app_name(job_id: str) -> str:
    """Return the name of the container beside it, where there is one."""
    return f"jobctl-{job_id}-app"


def image_of(app: str, section: Section) -> str:
    """Return the image of an app: its section's, or the one that is named after it."""
    return section.image or f"jobctl/{app}"


def run_uid(caller: int) -> int:
    """Return the uid that a caller's containers run as: never root."""
    return caller or UNPRIVILEGED_UID


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a job's containers need to know beyond the job: from the caller, the host, the module.

    ``files`` and ``secrets`` are host paths that the app, or whatever holds the port, may read.
    """

    section: Section
    user: str
    network: str
    command: Sequence[str]
    files: Sequence[str] = ()
    secrets: Sequence[str] = ()
    binds: Sequence[Bind] = ()
    masks: Sequence[str] = ()
    working_dir: str | None = None


def gateway_spec(job: Job, settings: Settings, config_path: str) -> ContainerSpec:
    """Return the container that holds the port, the key and the password file."""
    return ContainerSpec(
        name=owner_name(job.job_id),
        image=GATEWAY_IMAGE,
        command=gateway.command(config_path, settings.section.app_port),
        user=settings.user,
        labels=labels_of(job, "gateway"),
        memory=bytes_of("128m"),
        cpus=settings.section.cpus,
        pids=64,
        binds=_same_paths([config_path, *settings.secrets]),
        tmpfs={"/tmp": _TMPFS},  # noqa: S108, inside the container
        publish=Publish(
            address=job.bind_address, host_port=int(job.port), container_port=gateway.PORT
        ),
        network=settings.network,
        healthcheck=Healthcheck(command=gateway.healthcheck_command(settings.section.app_port)),
        stop_grace=2,
    )


def app_spec(job: Job, settings: Settings, *, joins: str | None) -> ContainerSpec:
    """Return the container of the app.

    It ``joins`` the gateway's network namespace, where it listens on loopback; without a gateway
    it publishes the port itself and reads the key itself.
    """
    section = settings.section
    uid = settings.user.partition(":")[0]
    files = [*settings.files, *(() if joins else settings.secrets)]
    return ContainerSpec(
        name=app_name(job.job_id) if joins else owner_name(job.job_id),
        image=job.image,
        command=settings.command,
        user=settings.user,
        labels=labels_of(job, "app"),
        memory=bytes_of(section.memory),
        cpus=section.cpus,
        pids=section.pids,
        env={"HOME": "/tmp", "JOBCTL_JOB_ID": job.job_id, "JOBCTL_URL": job.url},  # noqa: S108
        binds=[*settings.binds, *_same_paths(files)],
        # A mask keeps the mode of what it hides, 0700, and single files show through it again.
        tmpfs={"/tmp": _TMPFS} | dict.fromkeys(settings.masks, f"{_MASK},uid={uid}"),  # noqa: S108
        publish=None
        if joins
        else Publish(
            address=job.bind_address, host_port=int(job.port), container_port=int(job.port)
        ),
        network=None if joins else settings.network,
        joins=joins,
        working_dir=settings.working_dir,
        read_only=section.read_only,
        cap_add=section.cap_add,
        healthcheck=Healthcheck(command=section.healthcheck) if section.healthcheck else None,
        stop_grace=section.stop_grace,
    )


def relaxed(section: Section) -> list[str]:
    """Return in words where a section asks for less than the full hardening."""
    found = [f"capability {name}" for name in section.cap_add]
    return found if section.read_only else [*found, "writable root file system"]


def parse_mount(text: str) -> Bind:
    """Return the bind mount that ``SRC:DST[:ro|:rw]`` asks for; read-only unless it says ``rw``.

    Raises:
        JobctlError: it is malformed, or a path is relative.
    """
    parts = re.fullmatch(r"(/[^:]*):(/[^:]*)(?::(ro|rw))?", text)
    if parts is None:
        raise JobctlError(f'--mount "{text}": expected SRC:DST or SRC:DST:rw, both absolute paths')
    return Bind(source=parts[1], target=parts[2], read_only=parts[3] != "rw")


def shield(binds: Sequence[Bind], *, state: Path, socket: str | None) -> list[str]:
    """Return the paths inside the container at which jobctl's own files would show through.

    An empty file system has to be mounted over each of them.

    Raises:
        JobctlError: a mount has no source, lies inside the state directory, or would show the
            engine's socket, which is as good as root.
    """
    hidden = []
    state = state.resolve()
    for bind in binds:
        try:
            source = Path(bind.source).resolve(strict=True)
        except OSError as error:
            raise JobctlError(f'can\'t mount "{bind.source}": {error.strerror}') from None
        if source.is_relative_to(state):
            raise JobctlError(
                f'can\'t mount "{bind.source}": it lies in {state}, where jobctl keeps keys and '
                "passwords; use another directory"
            )
        if socket and Path(socket).resolve().is_relative_to(source):
            raise JobctlError(
                f"can't mount \"{bind.source}\": it holds the engine's socket {socket}, and who "
                "reaches that is root; mount a directory below it"
            )
        if state.is_relative_to(source):
            hidden.append(str(Path(bind.target) / state.relative_to(source)))
    return hidden


def _same_paths(paths: Sequence[str]) -> list[Bind]:
    return [Bind(source=path, target=path) for path in paths]
