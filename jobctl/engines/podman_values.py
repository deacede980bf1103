"""Between jobctl's values and those of Podman's own API (libpod): pure, and sends nothing.

Podman's Docker-compatible API leaves out or changes some of what is asked of it and of what there
is. Its own, on the same socket, does not (https://docs.podman.io/en/latest/_static/api.html).
"""

from __future__ import annotations

import pwd
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from docker.utils import parse_repository_tag
from msgspec.structs import replace

from jobctl.engines.base import (
    Bind,
    Container,
    ContainerSpec,
    Details,
    Facts,
    Network,
    Process,
    Usage,
)
from jobctl.engines.docker_values import CPU_PERIOD_US, details_from, usage_from

NETWORK_LABEL = "jobctl.network"
"""Which network a container was to be on. It has one to itself, which has no name."""
TOP_COLUMNS = "hpid,huser,args"

_LOG_BYTES = 10_000_000
_INIT = ["/run/podman-init", "--"]
_MOST_FILES = 1 << 20
# Podman's own words for a container's state, where they are not Docker's.
_STATES = {
    "configured": "created",
    "initialized": "created",
    "stopped": "exited",
    "stopping": "running",
    "removing": "dead",
    "unknown": "dead",
}
# Its own way of publishing ports, unlike Podman's usual one, has what goes through them counted as
# traffic of the container, tells whom it comes from, and says at once if a port is taken.
_NETWORK_OPTIONS = {"slirp4netns": ["port_handler=slirp4netns"]}
_HEALTHS = ("healthy", "unhealthy", "starting")
_CONTROLLERS = {"memory": "memory", "swap": "memory", "cpus": "cpu", "pids": "pids"}
# A registry has a dot or a port in its name, or is this host's.
_REGISTRY = re.compile(r"[^/]*[.:][^/]*/|localhost/")


def qualified(tag: str) -> str:
    """Return the full name under which an image is stored that was made here.

    Podman knows no images without a registry: those that are nobody's are ``localhost/``'s. Its
    compatible API would store them as Docker Hub's.
    """
    repository, version = parse_repository_tag(tag)
    prefix = "" if _REGISTRY.match(repository) else "localhost/"
    return f"{prefix}{repository}:{version or 'latest'}"


def familiar(image: str) -> str:
    """Return an image's name as users write it, and Docker lists it."""
    return (
        image.removesuffix(":latest")
        .removeprefix("localhost/")
        .removeprefix("docker.io/library/")
        .removeprefix("docker.io/")
    )


def create_body(spec: ContainerSpec, *, network: str, most_files: int | None) -> dict[str, Any]:
    """Return what libpod is asked for to create a container.

    ``network`` is the mode of a network that is the container's own. ``most_files`` is how many
    open files and processes the caller may have, where that binds the engine too.
    """
    own = spec.network is not None
    labels = {**spec.labels, NETWORK_LABEL: spec.network} if own else dict(spec.labels)
    wanted = {
        "name": spec.name,
        "image": spec.image,
        "command": list(spec.command),
        "user": spec.user,
        "labels": labels,
        "env": dict(spec.env),
        "work_dir": spec.working_dir,
        "stop_timeout": spec.stop_grace,
        "init": True,
        "cap_drop": ["ALL"],
        "cap_add": list(spec.cap_add),
        "no_new_privileges": True,
        "read_only_filesystem": spec.read_only,
        "mounts": [*map(_bind, _binds(spec)), *_tmpfs(spec.tmpfs)],
        "resource_limits": _limits(spec),
        "r_limits": _process_limits(most_files),
        "netns": _network(spec, network),
        "network_options": _NETWORK_OPTIONS if own else None,
        "portmappings": _ports(spec),
        "restart_policy": "on-failure" if spec.restarts else "no",
        "restart_tries": spec.restarts,
        "log_configuration": {"driver": "k8s-file", "size": _LOG_BYTES},
        "ipcns": {"nsmode": "private"},
        "shm_size": spec.shm_size,
        "devices": _gpus(spec.gpus),
        "healthconfig": _health(spec),
    }
    said = {key: value for key, value in wanted.items() if value not in (None, [], {})}
    # An image's own entrypoint would swallow the command that the app's module gave.
    return said if spec.entrypoint else said | {"entrypoint": []}


def _network(spec: ContainerSpec, own: str) -> dict[str, Any] | None:
    if spec.joins:
        return {"nsmode": "container", "value": spec.joins}
    # Without one, Podman's default.
    return {"nsmode": own} if spec.network is not None else None


def _binds(spec: ContainerSpec) -> list[Bind]:
    same = [Bind(source=path, target=path) for path in (*spec.files, *spec.secrets)]
    return [*spec.binds, *same]


def _bind(bind: Bind) -> dict[str, Any]:
    return {
        "type": "bind",
        "source": bind.source,
        "destination": bind.target,
        "options": ["rbind", "ro" if bind.read_only else "rw"],
    }


def _tmpfs(wanted: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "type": "tmpfs",
            "source": "tmpfs",
            "destination": target,
            # What the image has there would else be copied in, also to where a mask is to hide it.
            "options": [*_unowned(options.split(",")), "notmpcopyup"],
        }
        for target, options in wanted.items()
    ]


def _unowned(options: Sequence[str]) -> list[str]:
    """Return options of a tmpfs without an owner, which Podman 4 does not know.

    Without it is root's, the container's one. Another user gets to it by its mode: in a container
    there is nobody else from whom it would have to be kept.
    """
    kept = [option for option in options if not option.startswith("uid=")]
    if len(kept) == len(options) or "uid=0" in options:
        return kept
    mode = "mode=0755" if "ro" in options else "mode=1777"
    return [*(option for option in kept if not option.startswith("mode=")), mode]


def _limits(spec: ContainerSpec) -> dict[str, Any]:
    return {
        "memory": {"limit": spec.memory, "swap": spec.memory},
        "cpu": {
            "period": CPU_PERIOD_US,
            "quota": int(spec.cpus * CPU_PERIOD_US),
            "shares": spec.cpu_shares,
        },
        "pids": {"limit": spec.pids},
    }


def _process_limits(most_files: int | None) -> list[dict[str, Any]]:
    # A crashed program's memory has its keys; the file would lie in a mounted directory.
    found: list[dict[str, Any]] = [{"type": "core", "soft": 0, "hard": 0}]
    if most_files is not None:
        # A rootful Podman would raise them to 2^20, which not every root may (CAP_SYS_RESOURCE).
        most = min(most_files, _MOST_FILES)
        found += [{"type": kind, "soft": most, "hard": most} for kind in ("nofile", "nproc")]
    return found


def _ports(spec: ContainerSpec) -> list[dict[str, Any]]:
    if spec.publish is None:
        return []
    return [
        {
            "host_ip": spec.publish.address,
            "host_port": spec.publish.host_port,
            "container_port": spec.publish.container_port,
            "protocol": "tcp",
        }
    ]


def _gpus(wanted: int | str | None) -> list[dict[str, str]]:
    """Return devices as the Container Device Interface names them, which Podman has GPUs by."""
    if not wanted:
        return []
    names = ["all"] if wanted == "all" else [str(number) for number in range(int(wanted))]
    return [{"path": f"nvidia.com/gpu={name}"} for name in names]


def _health(spec: ContainerSpec) -> dict[str, Any] | None:
    if (check := spec.healthcheck) is None:
        return None
    return {
        "Test": ["CMD", *check.command],
        "Interval": int(check.interval * 1e9),
        "Timeout": int(check.timeout * 1e9),
        "Retries": check.retries,
    }


def container_from(entry: Mapping[str, Any]) -> Container:
    """Return a container from an entry of libpod's list answer."""
    labels = entry.get("Labels") or {}
    state = _STATES.get(entry["State"], entry["State"])
    lives, network = state in ("running", "paused"), labels.get(NETWORK_LABEL)
    health = entry.get("Status")
    return Container(
        id=entry["Id"],
        name=next(iter(entry.get("Names") or ()), ""),
        image=familiar(entry.get("Image") or ""),
        labels=labels,
        state=state,
        health=health if lives and health in _HEALTHS else None,
        # Those that joined another are listed with its ports.
        ports=frozenset(port["host_port"] for port in entry.get("Ports") or ())
        if lives and network
        else frozenset(),
        endpoint=f"{entry['Pid']}@{entry['StartedAt']}" if lives and network else None,
        networks=frozenset([network] if network else ()),
    )


def podman_details(answer: Mapping[str, Any]) -> Details:
    """Return a container's details from libpod's inspect answer.

    That names capabilities in full, and those that were dropped one by one.
    """
    words = [answer["Path"], *(answer.get("Args") or ())]
    if words[:2] == _INIT:
        words = words[2:]
    capabilities = [name.removeprefix("CAP_") for name in answer.get("BoundingCaps") or ()]
    details = details_from({**answer, "Path": words[0], "Args": words[1:]})
    return replace(details, cap_drop=["ALL"], cap_add=capabilities)


def podman_processes(answer: Mapping[str, Any]) -> tuple[list[Process], bool]:
    """Return processes from libpod's top answer, asked for ``TOP_COLUMNS``, and if that is all.

    Some of the host's users have names there. Of a process that began while Podman looked it
    knows no number.
    """
    rows = answer.get("Processes") or ()
    known = [row for row in rows if row[0].isdigit()]
    found = [Process(pid=int(pid), uid=_uid(user), command=words) for pid, user, words in known]
    return found, len(known) == len(rows)


def _uid(user: str) -> int:
    return int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid


def podman_usage(answer: Mapping[str, Any], version: str) -> Usage | None:
    """Return what a container uses from the compatible stats answer, ``None`` if it doesn't run.

    Before 5.0 that has sent and received exchanged, since it was counted at the host's end once.
    """
    found = usage_from(answer)
    if found and int(version.partition(".")[0]) < 5:
        return replace(found, received=found.sent, sent=found.received)
    return found


def overdue(answer: Mapping[str, Any], now: float) -> bool:
    """Tell from libpod's inspect answer whether a health check should have been run by ``now``."""
    check = answer["Config"].get("Healthcheck") or {}
    log = (answer["State"].get("Health") or {}).get("Log") or ()
    last = log[-1]["End"] if log else answer["State"]["StartedAt"]
    since = now - datetime.fromisoformat(last).timestamp()
    return since >= float(check.get("Interval", 0)) / 1e9


def unlimited(info: Mapping[str, Any]) -> frozenset[str]:
    """Return what an engine can't limit, from libpod's info answer.

    The compatible one has what the kernel could do, also where a rootless engine may not use it.
    """
    there = info["host"].get("cgroupControllers") or ()
    return frozenset(what for what, needed in _CONTROLLERS.items() if needed not in there)


def podman_facts(
    info: Mapping[str, Any], *, endpoint: str, chosen_by: str, version: str, timers: bool
) -> Facts:
    """Return an engine's facts from libpod's info answer.

    ``timers`` tells whether it has a systemd to run health checks with.
    """
    host, security = info["host"], info["host"].get("security") or {}
    ignored = unlimited(info)
    return Facts(
        endpoint=endpoint,
        chosen_by=chosen_by,
        transport="socket",
        version=version,
        host=host.get("hostname") or "",
        data_root=(info.get("store") or {}).get("graphRoot") or "",
        rootless=bool(security.get("rootless")),
        remapped=False,
        seccomp="default" if security.get("seccompEnabled") else None,
        mandatory=[name for name in ("apparmor", "selinux") if security.get(f"{name}Enabled")],
        unlimited=ignored,
        cgroups=None if "memory" in ignored else str(host["cgroupVersion"]).removeprefix("v"),
        # There is no daemon with which containers would end.
        live_restore=True,
        warnings=[],
        differences=[
            "each job has a user-mode network of its own "
            f"({own_network(info) or 'but there is neither slirp4netns nor pasta'}): nothing on "
            "this host gets to it but through its port",
            *([] if timers else [_NO_TIMERS]),
            *(["it does not tell that an app ended for want of memory"] if _untold(info) else []),
            "of a container's log it keeps the last 10 MB, in one file",
        ],
    )


_NO_TIMERS = (
    "there is no systemd to run health checks, so that jobctl runs those that are due when it "
    "lists jobs"
)


def _untold(info: Mapping[str, Any]) -> bool:
    return str(info["host"]["cgroupVersion"]) == "v1"


def own_network(info: Mapping[str, Any]) -> str | None:
    """Return the mode of a network that is a container's own, by what libpod's info answer has.

    Containers on one of Podman's bridges can reach each other, whatever its options (of 4.3 with
    CNI and with netavark, ``isolate`` keeps bridges apart, not the containers on one).
    """
    host = info["host"]
    rootless = (host.get("security") or {}).get("rootless")
    for mode, usable in (("slirp4netns", True), ("pasta", rootless)):
        if usable and (host.get(mode) or {}).get("executable"):
            return mode
    return None


def network_named(name: str) -> Network:
    """Return what stands for a network whose containers have each one of their own."""
    return Network(id=name, subnets=[], isolated=True)
