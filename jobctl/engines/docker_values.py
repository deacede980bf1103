"""Between jobctl's values and those of the Docker SDK: pure, and sends nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from docker.types import Healthcheck as DockerHealthcheck
from docker.types import Ulimit

from jobctl.engines import carried
from jobctl.engines.base import (
    FILES_LABEL,
    Bind,
    Condition,
    Container,
    ContainerSpec,
    Details,
    Facts,
    Healthcheck,
    Network,
    Process,
    Publish,
    Transfer,
    Usage,
)

CPU_PERIOD_US = 100_000
# For ps on the engine's host: columns of any width, the engine itself looks for the one named PID.
TOP_COLUMNS = "-ww -eo pid,uid,args"
# What `info` says of cgroups, by what jobctl limits with them.
_CONTROLS = {
    "memory": ("MemoryLimit",),
    "swap": ("SwapLimit",),
    "cpus": ("CpuCfsPeriod", "CpuCfsQuota"),
    "pids": ("PidsLimit",),
}
_NO_NEW = re.compile(r"no-new-privileges([:=]true)?")
_SECCOMP = re.compile(r"seccomp[:=](.*)", re.DOTALL)
_HEALTH = re.compile(r"\((?:health: )?(healthy|unhealthy|starting)\)")
_EXITED = re.compile(r"Exited \((\d+)\)")


def create_kwargs(spec: ContainerSpec, *, far: bool = False) -> dict[str, Any]:
    """Return the SDK's ``create_container`` arguments for a container, but for its host config.

    A ``far`` engine is one of another machine, which has nothing of this host's files.
    """
    return {
        "name": spec.name,
        "image": spec.image,
        "command": list(spec.command) or None,
        "user": spec.user,
        "labels": {**spec.labels, **(carried.labels(spec) if far else {})},
        "environment": dict(spec.env),
        "working_dir": spec.working_dir,
        "ports": [spec.publish.container_port] if spec.publish else None,
        "healthcheck": health_kwargs(spec.healthcheck) if spec.healthcheck else None,
        "stop_timeout": spec.stop_grace,
        # An image's own entrypoint would swallow the command that the app's module gave.
        "entrypoint": None if spec.entrypoint else [],
    }


def host_kwargs(spec: ContainerSpec, *, far: bool = False) -> dict[str, Any]:
    """Return the SDK's ``create_host_config`` arguments for a container."""
    files = carried.mounts(spec) if far else [*map(_mount, _same_paths(carried.paths(spec)))]
    return {
        "init": True,
        "cap_drop": ["ALL"],
        "cap_add": list(spec.cap_add),
        "security_opt": ["no-new-privileges:true"],
        "read_only": spec.read_only,
        "tmpfs": dict(spec.tmpfs),
        "mounts": [*map(_mount, spec.binds), *files],
        "mem_limit": spec.memory,
        "memswap_limit": spec.memory,
        # Not `nano_cpus`: the engine refuses more of those than the host has cores.
        "cpu_period": CPU_PERIOD_US,
        "cpu_quota": int(spec.cpus * CPU_PERIOD_US),
        "cpu_shares": spec.cpu_shares,
        "pids_limit": spec.pids,
        # A crashed program's memory has its keys; the file would lie in a mounted directory.
        "ulimits": [Ulimit(name="core", soft=0, hard=0)],
        "network_mode": f"container:{spec.joins}" if spec.joins else spec.network,
        "port_bindings": {
            spec.publish.container_port: (spec.publish.address, spec.publish.host_port)
        }
        if spec.publish
        else None,
        # A count of 0 would mean: without end.
        "restart_policy": {"Name": "on-failure", "MaximumRetryCount": spec.restarts}
        if spec.restarts
        else {"Name": "no"},
        "log_config": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
        "ipc_mode": "private",
        "shm_size": spec.shm_size,
        "device_requests": [_gpus(spec.gpus)] if spec.gpus else None,
    }


def _same_paths(paths: Iterable[str]) -> list[Bind]:
    return [Bind(source=path, target=path) for path in paths]


def _mount(bind: Bind) -> dict[str, Any]:
    # Not the SDK's Mount type, which always says how mounts propagate: left to the engine that is
    # rprivate, or rslave for what holds the engine's own data, as a home does for a rootless one.
    # Unlike `binds`, a mount fails when its source is missing instead of making a directory.
    return {
        "Type": "bind",
        "Source": bind.source,
        "Target": bind.target,
        "ReadOnly": bind.read_only,
    }


def _gpus(wanted: int | str) -> dict[str, Any]:
    # As `docker run --gpus` asks; the engine finds the driver by the capability.
    return {"Driver": "", "Count": -1 if wanted == "all" else wanted, "Capabilities": [["gpu"]]}


def health_kwargs(check: Healthcheck) -> DockerHealthcheck:
    """Return the SDK's health check; the API counts in nanoseconds."""
    return DockerHealthcheck(
        test=["CMD", *check.command],
        interval=int(check.interval * 1e9),
        timeout=int(check.timeout * 1e9),
        retries=check.retries,
    )


def container_from(entry: Mapping[str, Any]) -> Container:
    """Return a container from an entry of the engine's list answer.

    That answer has the health and the exit code only in its human-readable ``Status``, as in
    ``Up 2 minutes (healthy)`` and ``Exited (137) 3 hours ago``.
    """
    health = _HEALTH.search(entry.get("Status", ""))
    exited = _EXITED.match(entry.get("Status", ""))
    networks = (entry.get("NetworkSettings") or {}).get("Networks") or {}
    endpoints = (network.get("EndpointID") for network in networks.values())
    return Container(
        id=entry["Id"],
        name=entry["Names"][0].lstrip("/") if entry.get("Names") else "",
        image=entry["Image"],
        labels=entry.get("Labels") or {},
        state=entry["State"],
        exit_code=int(exited[1]) if exited else None,
        health=health[1] if health else None,
        ports=frozenset(
            port["PublicPort"] for port in entry.get("Ports") or [] if "PublicPort" in port
        ),
        endpoint=next(filter(None, endpoints), None),
        networks=frozenset(networks)
        | {id_ for network in networks.values() if (id_ := network.get("NetworkID"))},
    )


def condition_from(answer: Mapping[str, Any]) -> Condition:
    """Return a container's condition from the engine's inspect answer.

    One that was never started, or never ended, has been so in the year 1.
    """
    state = answer["State"]
    return Condition(
        state=state["Status"],
        pid=state["Pid"] or None,
        exit_code=state["ExitCode"],
        restarts=answer.get("RestartCount", 0),
        started_at=datetime.fromisoformat(state["StartedAt"]).timestamp(),
        finished_at=datetime.fromisoformat(state["FinishedAt"]).timestamp(),
        out_of_memory=bool(state.get("OOMKilled")),
        stop_grace=answer["Config"].get("StopTimeout") or 10,
    )


def details_from(answer: Mapping[str, Any]) -> Details:
    """Return a container's details from the engine's inspect answer.

    That has ``null`` for what is empty, and for no limit ``null``, 0 or -1.
    """
    config, host = answer["Config"], answer["HostConfig"]
    networks = (answer["NetworkSettings"].get("Networks") or {}).values()
    pairs = (line.partition("=") for line in config.get("Env") or ())
    copies = json.loads((config.get("Labels") or {}).get(FILES_LABEL, "[]"))
    found = (net.get(key) for net in networks for key in ("IPAddress", "GlobalIPv6Address"))
    return Details(
        command=[answer["Path"], *(answer.get("Args") or ())],
        env={name: value for name, _, value in pairs},
        labels=config.get("Labels") or {},
        user=config.get("User") or "",
        read_only=bool(host.get("ReadonlyRootfs")),
        cap_add=host.get("CapAdd") or [],
        cap_drop=host.get("CapDrop") or [],
        privileged=bool(host.get("Privileged")),
        no_new_privileges=any(
            _NO_NEW.fullmatch(option) for option in host.get("SecurityOpt") or ()
        ),
        binds=[
            *(
                Bind(source=mount["Source"], target=mount["Destination"], read_only=not mount["RW"])
                for mount in answer.get("Mounts") or ()
                if mount["Type"] == "bind"
            ),
            *_same_paths(copies),
        ],
        publishes=[*_published(host.get("PortBindings") or {})],
        addresses=[address for address in found if address],
        memory=max(0, host.get("Memory") or 0),
        cpus=_cpus(host),
        pids=max(0, host.get("PidsLimit") or 0),
        seccomp=_seccomp(host),
        apparmor=answer.get("AppArmorProfile") or None,
        selinux=answer.get("ProcessLabel") or None,
    )


def _cpus(host: Mapping[str, Any]) -> float:
    """Return a limit in cores, which is asked for either as such or as a share of time."""
    if nano := host.get("NanoCpus") or 0:
        return float(nano / 1e9)
    quota, period = host.get("CpuQuota") or 0, host.get("CpuPeriod") or CPU_PERIOD_US
    return max(0.0, quota / period)


def _seccomp(host: Mapping[str, Any]) -> str | None:
    """Return what was asked for in place of the engine's profile; that may be a whole file."""
    if host.get("Privileged"):
        return "unconfined"
    for option in host.get("SecurityOpt") or ():
        if found := _SECCOMP.match(option):
            return "custom" if found[1].lstrip().startswith("{") else found[1]
    return None


def _published(bindings: Mapping[str, Sequence[Mapping[str, str]]]) -> Iterator[Publish]:
    """Yield ports from ``{"8443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8000"}]}``."""
    for inside, places in bindings.items():
        for place in places or ():
            yield Publish(
                address=place.get("HostIp") or "0.0.0.0",  # noqa: S104, what the engine means
                host_port=int(place.get("HostPort") or 0),
                container_port=int(inside.partition("/")[0]),
            )


def processes_from(answer: Mapping[str, Any]) -> list[Process]:
    """Return processes from the engine's top answer, asked for ``TOP_COLUMNS``."""
    return [
        Process(pid=int(pid), uid=int(uid), command=command)
        for pid, uid, command in answer.get("Processes") or ()
    ]


def usage_from(answer: Mapping[str, Any]) -> Usage | None:
    """Return what a container uses from the engine's stats answer, ``None`` if it doesn't run.

    That answer is from the year 1 then. Memory is counted as ``docker stats`` does it: without
    the page cache that is not in use, which has a name for each version of cgroups.
    """
    at = datetime.fromisoformat(answer["read"]).timestamp()
    memory = answer.get("memory_stats") or {}
    if at < 0 or "usage" not in memory:
        return None
    details = memory.get("stats") or {}
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    networks = (answer.get("networks") or {}).values()
    return Usage(
        at=at,
        cpu_seconds=answer["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9,
        memory=max(0, memory["usage"] - cache),
        received=sum(network["rx_bytes"] for network in networks),
        sent=sum(network["tx_bytes"] for network in networks),
    )


def transfers(answers: Iterable[Mapping[str, Any]]) -> Iterator[Transfer]:
    """Yield how much of an image has come, from what the engine says while it pulls its layers."""
    layers: dict[str, Transfer] = {}
    for answer in answers:
        layer, detail = answer.get("id", ""), answer.get("progressDetail") or {}
        if answer.get("status") == "Downloading" and detail.get("total"):
            layers[layer] = Transfer(done=detail.get("current", 0), total=detail["total"])
        elif answer.get("status") == "Download complete" and layer in layers:
            layers[layer] = Transfer(done=layers[layer].total, total=layers[layer].total)
        else:
            continue
        yield Transfer(
            done=sum(one.done for one in layers.values()),
            total=sum(one.total for one in layers.values()),
        )


def network_from(answer: Mapping[str, Any]) -> Network:
    """Return a network from an entry of the engine's list answer."""
    pools = (answer.get("IPAM") or {}).get("Config") or ()
    options = answer.get("Options") or {}
    return Network(
        id=answer["Id"],
        subnets=[pool["Subnet"] for pool in pools if "Subnet" in pool],
        isolated=options.get("com.docker.network.bridge.enable_icc") == "false",
    )


Transport = Literal["socket", "ssh", "tls", "unverified tls", "plain"]


def transport(endpoint: str, tls: Any) -> Transport:
    """Return how requests get to an endpoint; ``tls`` is what the SDK was given for it."""
    scheme = endpoint.partition("://")[0]
    if scheme == "ssh":
        return "ssh"
    if scheme not in ("tcp", "http", "https"):
        return "socket"
    if tls:
        return "tls" if getattr(tls, "verify", None) else "unverified tls"
    return "tls" if scheme == "https" else "plain"


def facts_from(
    answer: Mapping[str, Any], *, endpoint: str, chosen_by: str, transport: Transport, version: str
) -> Facts:
    """Return an engine's facts from its info answer.

    ``SecurityOptions`` has entries such as ``name=seccomp,profile=default``. Podman has a key of
    its own for being rootless.
    """
    pairs = [
        dict(word.partition("=")[::2] for word in option.split(","))
        for option in answer.get("SecurityOptions") or ()
    ]
    options = {option.get("name", ""): option for option in pairs}
    seccomp = options.get("seccomp", {}).get("profile", "default" if "seccomp" in options else None)
    return Facts(
        endpoint=endpoint,
        chosen_by=chosen_by,
        transport=transport,
        version=version,
        host=answer.get("Name") or "",
        data_root=answer.get("DockerRootDir") or "",
        rootless="rootless" in options or bool(answer.get("Rootless")),
        remapped="userns" in options,
        seccomp=None if seccomp == "unconfined" else seccomp,
        mandatory=[name for name in ("apparmor", "selinux") if name in options],
        unlimited=frozenset(
            what for what, keys in _CONTROLS.items() if not all(answer.get(key) for key in keys)
        ),
        live_restore=bool(answer.get("LiveRestoreEnabled")),
        warnings=answer.get("Warnings") or [],
        cgroups=_cgroups(answer),
        time=_time(answer),
    )


def _cgroups(answer: Mapping[str, Any]) -> str | None:
    """Return the version of cgroups that an engine uses; one that may use none has a driver so."""
    if answer.get("CgroupDriver") in (None, "", "none"):
        return None
    return str(answer.get("CgroupVersion") or "1").removeprefix("v")


def _time(answer: Mapping[str, Any]) -> float | None:
    try:
        return datetime.fromisoformat(answer["SystemTime"]).timestamp()
    except (KeyError, TypeError, ValueError):  # engines like Docker's need not tell
        return None
