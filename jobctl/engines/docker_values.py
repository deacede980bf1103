"""Between jobctl's values and those of the Docker SDK: pure, and sends nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from docker.types import Healthcheck as DockerHealthcheck

from jobctl.engines.base import Bind, Container, ContainerSpec, Healthcheck

CPU_PERIOD_US = 100_000
_HEALTH = re.compile(r"\((?:health: )?(healthy|unhealthy|starting)\)")


def create_kwargs(spec: ContainerSpec) -> dict[str, Any]:
    """Return the SDK's ``create_container`` arguments for a container, but for its host config."""
    return {
        "name": spec.name,
        "image": spec.image,
        "command": list(spec.command) or None,
        "user": spec.user,
        "labels": dict(spec.labels),
        "environment": dict(spec.env),
        "working_dir": spec.working_dir,
        "ports": [spec.publish.container_port] if spec.publish else None,
        "healthcheck": health_kwargs(spec.healthcheck) if spec.healthcheck else None,
        "stop_timeout": spec.stop_grace,
        # An image's own entrypoint would swallow the command that the app's module gave.
        "entrypoint": None if spec.entrypoint else [],
    }


def host_kwargs(spec: ContainerSpec) -> dict[str, Any]:
    """Return the SDK's ``create_host_config`` arguments for a container."""
    return {
        "init": True,
        "cap_drop": ["ALL"],
        "cap_add": list(spec.cap_add),
        "security_opt": ["no-new-privileges:true"],
        "read_only": spec.read_only,
        "tmpfs": dict(spec.tmpfs),
        "mounts": [_mount(bind) for bind in spec.binds],
        "mem_limit": spec.memory,
        "memswap_limit": spec.memory,
        # Not `nano_cpus`: the engine refuses more of those than the host has cores.
        "cpu_period": CPU_PERIOD_US,
        "cpu_quota": int(spec.cpus * CPU_PERIOD_US),
        "pids_limit": spec.pids,
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


def _mount(bind: Bind) -> dict[str, Any]:
    # Not the SDK's Mount type: it can't say `CreateMountpoint: false`. Unlike `binds`, a mount
    # fails when its source is missing instead of making an empty directory owned by root.
    return {
        "Type": "bind",
        "Source": bind.source,
        "Target": bind.target,
        "ReadOnly": bind.read_only,
        "BindOptions": {"Propagation": "rprivate"},
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

    That answer has the health only in its human-readable ``Status`` (``Up 2 minutes (healthy)``).
    """
    health = _HEALTH.search(entry.get("Status", ""))
    return Container(
        id=entry["Id"],
        name=entry["Names"][0].lstrip("/") if entry.get("Names") else "",
        image=entry["Image"],
        labels=entry.get("Labels") or {},
        state=entry["State"],
        health=health[1] if health else None,
        ports=frozenset(
            port["PublicPort"] for port in entry.get("Ports") or [] if "PublicPort" in port
        ),
    )
