"""A job as containers: which ones, how locked down, with which mounts. Pure, sends nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from jobctl import gateway
from jobctl.config import bytes_of
from jobctl.engines.base import Bind, ContainerSpec, Healthcheck, Publish
from jobctl.errors import JobctlError
from jobctl.job import Job
from jobctl.labels import app_name, labels_of, owner_name
from jobctl.schema import MOUNT, Section

NETWORK = "jobctl"
GATEWAY_IMAGE = "jobctl/gateway"
UNPRIVILEGED_UID = 65532
"""Whom containers run as when the caller is root."""

GATEWAY_MEMORY = "128m"
GATEWAY_CPU_SHARES = 2048
"""Twice those of an app, which must not keep its own gateway from answering."""

_TMPFS = "rw,noexec,nosuid,nodev,mode=1777"
_MASK = "ro,noexec,nosuid,nodev,size=64k"
_ROOTS_HOME = "/root"


def image_of(app: str, section: Section) -> str:
    """Return the image of an app: its section's, or the one that is named after it."""
    return section.image or f"jobctl/{app}"


class Account(msgspec.Struct, frozen=True):
    """Whom a job's containers run as, ``uid:gid`` inside, and whose its files are on the host."""

    user: str
    owner: int


def account(uid: int, gid: int, *, rootless: bool) -> Account:
    """Return whom a caller's containers run as: never the host's root.

    In the containers of a rootless engine, root is the user whose engine it is. All others there
    are nobody that user's files could be given to.
    """
    if rootless:
        return Account("0:0", uid)
    owner = uid or UNPRIVILEGED_UID
    return Account(f"{owner}:{gid or owner}", owner)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a job's containers need to know beyond the job: from the caller, the host, the module.

    ``files`` and ``secrets`` are host paths that the app, or whatever holds the port, may read.
    ``listen`` and ``app_port`` are where the app listens, ``app_host`` is where its gateway finds
    it. ``user`` is ``uid:gid``, that of the job's files; the
    section may give the app another.
    """

    section: Section
    user: str
    network: str
    app_port: int
    command: Sequence[str]
    listen: str = gateway.LOOPBACK
    app_host: str = gateway.LOOPBACK
    entrypoint: bool = False
    env: Mapping[str, str] = {}
    healthcheck: Sequence[str] = ()
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
        command=gateway.command(config_path, settings.app_port, settings.app_host),
        user=settings.user,
        labels=labels_of(job, "gateway"),
        memory=bytes_of(GATEWAY_MEMORY),
        cpus=settings.section.cpus,
        cpu_shares=GATEWAY_CPU_SHARES,
        pids=64,
        files=[config_path],
        secrets=settings.secrets,
        # It counts as memory, of which uploads must not take all; what is more goes to the disk.
        tmpfs={"/tmp": f"{_TMPFS},size=32m"},  # noqa: S108, inside the container
        publish=Publish(
            address=job.bind_address,
            host_port=int(job.port),
            container_port=gateway.own_port(settings.app_port),
        ),
        network=settings.network,
        healthcheck=Healthcheck(command=gateway.healthcheck_command(settings.app_port)),
        stop_grace=2,
        **_placement(settings.section, beside=True),
    )


def app_spec(job: Job, settings: Settings, *, joins: str | None) -> ContainerSpec:
    """Return the container of the app.

    It ``joins`` the gateway's network namespace, where it listens on loopback; without a gateway
    it publishes the port itself and reads the key itself.
    """
    section = settings.section
    user = user_of(section, default=settings.user)
    own = f"uid={user.partition(':')[0]}"
    tmpfs = {"/tmp": f"{_TMPFS},size=256m"}  # noqa: S108, inside the container
    # Programs that users install there have to run; the memory limit is the limit.
    tmpfs |= dict.fromkeys(section.writable, f"rw,exec,nosuid,nodev,mode=0755,{own}")
    masks = [*settings.masks]
    if any(Path(path).is_relative_to(_ROOTS_HOME) for path in [*settings.files, *settings.secrets]):
        masks.append(_ROOTS_HOME)  # closed to others in most images; root's jobs are below it
    # A mask keeps the mode of what it hides, 0700, and single files show through it again.
    tmpfs |= dict.fromkeys(masks, f"{_MASK},{own}")
    return ContainerSpec(
        name=app_name(job.job_id) if joins else owner_name(job.job_id),
        image=job.image,
        command=settings.command,
        entrypoint=settings.entrypoint,
        user=user,
        labels=labels_of(job, "app"),
        memory=bytes_of(section.memory),
        cpus=section.cpus,
        pids=section.pids,
        env={
            "HOME": "/tmp",  # noqa: S108
            **settings.env,
            "JOBCTL_JOB_ID": job.job_id,
            "JOBCTL_URL": job.url,
        },
        binds=settings.binds,
        files=settings.files,
        secrets=() if joins else settings.secrets,
        tmpfs=tmpfs,
        publish=None
        if joins
        else Publish(
            address=job.bind_address, host_port=int(job.port), container_port=int(job.port)
        ),
        network=None if joins else settings.network,
        joins=joins,
        working_dir=settings.working_dir,
        shm_size=bytes_of(section.shm_size) if section.shm_size else None,
        gpus=section.gpus,
        read_only=section.read_only,
        cap_add=section.cap_add,
        healthcheck=_healthcheck(settings),
        stop_grace=section.stop_grace,
        # The one that it joins has chosen, and reserved for both.
        **({} if joins else _placement(section, beside=False)),
    )


def _placement(section: Section, *, beside: bool) -> dict[str, Any]:
    """Return where in a cluster a job's first container may go; with the app ``beside`` it."""
    memory = section.reserve_memory and bytes_of(section.reserve_memory)
    own = bytes_of(GATEWAY_MEMORY) if beside else 0
    return {
        "constraints": section.constraints,
        "reserve_memory": memory and memory + own,
        "reserve_cpus": section.reserve_cpus,
        "moves": section.on_node_loss == "restart",
    }


BYPASS = "reachable past the gateway"


def relaxed(section: Section) -> list[str]:
    """Return in words where a section asks for less than the full hardening."""
    found = [f"capability {name}" for name in section.cap_add]
    if section.allow_bypass:
        found.append(BYPASS)
    if not section.read_only:
        found.append("writable root file system")
    if section.user is not None and user_of(section, default="").startswith("0:"):
        found.append("root inside the container")
    return found


def user_of(section: Section, *, default: str) -> str:
    """Return the ``uid:gid`` that an app runs as; a uid alone is its own group."""
    if section.user is None:
        return default
    uid, _, gid = str(section.user).partition(":")
    return f"{int(uid)}:{int(gid or uid)}"


def parse_mount(text: str) -> Bind:
    """Return the bind mount that ``SRC:DST[:ro|:rw]`` asks for; read-only unless it says ``rw``.

    Raises:
        JobctlError: it is malformed, or a path is relative.
    """
    parts = re.fullmatch(MOUNT, text)
    if parts is None:
        raise JobctlError(f'mount "{text}": expected SRC:DST or SRC:DST:rw, both absolute paths')
    source = str(Path(parts[1]).expanduser())
    return Bind(source=source, target=parts[2], read_only=parts[3] != "rw")


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
            raise JobctlError(
                f'can\'t mount "{bind.source}": {error.strerror}; name a path that is there'
            ) from None
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


def _healthcheck(settings: Settings) -> Healthcheck | None:
    """Return the section's check, else whether the app listens, where the image has what looks.

    That is known of those made of lists of packages only. Any other keeps a check of its own.
    """
    if settings.healthcheck:
        return Healthcheck(command=settings.healthcheck)
    if settings.section.build:
        return Healthcheck(
            command=["/bin/bash", "-c", f": < /dev/tcp/127.0.0.1/{settings.app_port}"]
        )
    return None
