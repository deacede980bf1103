"""Between jobctl's values and those of Swarm's API: pure, and sends nothing.

A container is a service of one replica. Its task is what a container engine would call the
container; a task that ended or was lost is replaced by another one, on the same or another node.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

from jobctl.engines.base import (
    Bind,
    Condition,
    Container,
    ContainerSpec,
    Details,
    Node,
    Publish,
)
from jobctl.schema import size_of

Answer = Mapping[str, Any]
JOINS, JOINED, MOVES = "swarm.joins", "swarm.joined", "swarm.moves"
IMAGE, FILES = "swarm.image", "swarm.files"
"""Labels of the container alone, which the service's are not: what the adapter has to remember."""
STOPPED = "node.id == stopped"
"""No node has it: the task ends and is kept, with its log and exit code, which scaling is not."""
_PIN = "node.id == "  # with spaces, which constraints of users don't have
NANO = 10**9
NOT_RUN = 125  # what `docker run` exits with if the container could not be started
_ENDED = frozenset({"complete", "shutdown", "failed", "rejected", "orphaned", "remove"})
_FAILED = frozenset({"complete", "failed", "rejected"})
_PORT_TAKEN = re.compile(
    r"host-mode port already in use|port is already allocated|address already in use"
    r"|failed to bind (host )?port",
    re.IGNORECASE,
)
_NO_IMAGE = re.compile(r"no such image", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a service refers to, by id, and what its cluster can do.

    ``image`` is what nodes are told: with a digest they ask the registry only for what they lack,
    by its id they ask nobody. ``secrets`` and ``configs`` are ids by the path at which the file is
    to be seen, ``seen`` says of each path which version of the file it is. ``most_cpus`` is how
    many cores the smallest node has: a task that may use more is rejected.
    """

    image: str
    networks: Sequence[str] = ()
    secrets: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    configs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    seen: Mapping[str, int] = field(default_factory=dict)
    most_cpus: float | None = None
    no_new_privileges: bool = False


def service_spec(spec: ContainerSpec, parts: Parts) -> dict[str, Any]:
    """Return the service of a container; it has no replica until it is started."""
    return {
        "Name": spec.name,
        "Labels": dict(spec.labels),
        "TaskTemplate": {
            "ContainerSpec": _container_spec(spec, parts),
            "Resources": _resources(spec, parts),
            # A count of 0 would mean: without end.
            "RestartPolicy": {
                "Condition": "on-failure" if spec.restarts else "none",
                "MaxAttempts": spec.restarts,
                "Delay": NANO,
            },
            "Placement": {"Constraints": list(spec.constraints)},
            "Networks": [{"Target": network} for network in parts.networks],
            "LogDriver": {"Name": "json-file", "Options": {"max-size": "10m", "max-file": "3"}},
            "ForceUpdate": 0,
        },
        "Mode": {"Replicated": {"Replicas": 0}},
        "UpdateConfig": {"Parallelism": 1, "FailureAction": "continue", "Order": "stop-first"},
        "EndpointSpec": _endpoint(spec.publish),
    }


def _container_spec(spec: ContainerSpec, parts: Parts) -> dict[str, Any]:
    command = "Args" if spec.entrypoint else "Command"
    remembered = {IMAGE: spec.image, FILES: json.dumps(dict(parts.seen))}
    remembered |= {JOINS: spec.joins} if spec.joins else {}
    remembered |= {MOVES: "true"} if spec.moves else {}
    return {
        "Image": parts.image,
        command: list(spec.command),
        "Env": [f"{name}={unfilled(value)}" for name, value in spec.env.items()],
        "Labels": remembered,
        "User": spec.user,
        "Dir": spec.working_dir or "",
        "ReadOnly": spec.read_only,
        "Init": True,
        "CapabilityDrop": ["ALL"],
        "CapabilityAdd": list(spec.cap_add),
        # A crashed program's memory has its keys; the file would lie in a mounted directory.
        "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
        "Mounts": [*_mounts(spec)],
        # Until a first check has passed, after its interval, a task has no name on the network.
        "Healthcheck": {"Test": ["NONE"]},
        "StopGracePeriod": spec.stop_grace * NANO,
        "Secrets": [file_reference("Secret", spec.user, *one) for one in parts.secrets.items()],
        "Configs": [file_reference("Config", spec.user, *one) for one in parts.configs.items()],
        **({"Privileges": {"NoNewPrivileges": True}} if parts.no_new_privileges else {}),
    }


def unfilled(value: str) -> str:
    """Return a value of a variable as it has to be said for Swarm's templates to leave it alone."""
    return value.replace("{{", '{{"{{"}}')


def file_reference(kind: str, user: str, path: str, found: tuple[str, str]) -> dict[str, Any]:
    """Return how a service refers to a file: a ``Secret`` or ``Config`` by its id and its name."""
    uid, _, gid = user.partition(":")
    return {
        f"{kind}ID": found[0],
        f"{kind}Name": found[1],
        "File": {"Name": path, "UID": uid, "GID": gid or uid, "Mode": 0o400},
    }


def _mounts(spec: ContainerSpec) -> Iterator[dict[str, Any]]:
    for bind in spec.binds:
        yield {
            "Type": "bind",
            "Source": bind.source,
            "Target": bind.target,
            "ReadOnly": bind.read_only,
        }
    for target, options in spec.tmpfs.items():
        yield _tmpfs(spec, target, options.split(","))
    if spec.shm_size:
        target = "/dev/shm"  # noqa: S108, inside the container
        yield {"Type": "tmpfs", "Target": target, "TmpfsOptions": {"SizeBytes": spec.shm_size}}


def _tmpfs(spec: ContainerSpec, target: str, options: Sequence[str]) -> dict[str, Any]:
    """Return a mount in memory, or of what stays empty.

    Swarm's own kind is never executable, always root's, and has the mode of what it hides.
    """
    values = dict(option.partition("=")[::2] for option in options)
    if "ro" in values:
        # Root's, for all to look into; what is shown in it has to find it writable at first.
        return {"Type": "volume", "Target": target, "VolumeOptions": {"NoCopy": True}}
    if "noexec" in values and "uid" not in values:
        size = {"SizeBytes": size_of(values["size"])} if "size" in values else {}
        limits = {**size, "Mode": int(values.get("mode", "1777"), 8)}
        return {"Type": "tmpfs", "Target": target, "TmpfsOptions": limits}
    kept = ",".join(option for option in options if option != "rw")
    # A node makes a volume of that kind for itself, and keeps it: by this name, the next job of
    # that name and user has it again, empty.
    place = sha256(f"{target} {kept}".encode()).hexdigest()[:12]
    driver = {"Name": "local", "Options": {"type": "tmpfs", "device": "tmpfs", "o": kept}}
    volume = {"NoCopy": True, "Labels": dict(spec.labels), "DriverConfig": driver}
    source = f"{spec.name}-{place}"
    return {"Type": "volume", "Source": source, "Target": target, "VolumeOptions": volume}


def _resources(spec: ContainerSpec, parts: Parts) -> dict[str, Any]:
    cpus = min(spec.cpus, parts.most_cpus or spec.cpus)
    reserved: dict[str, int] = {}
    if spec.reserve_memory:
        reserved["MemoryBytes"] = spec.reserve_memory
    if spec.reserve_cpus:
        reserved["NanoCPUs"] = int(spec.reserve_cpus * NANO)
    limits = {"NanoCPUs": int(cpus * NANO), "MemoryBytes": spec.memory, "Pids": spec.pids}
    return {"Limits": limits, "Reservations": reserved}


def _endpoint(publish: Publish | None) -> dict[str, Any]:
    # No virtual address, which needs IPVS in the kernel: the name is that of the task itself.
    if publish is None:
        return {"Mode": "dnsrr"}
    port = {
        "Protocol": "tcp",
        "TargetPort": publish.container_port,
        "PublishedPort": publish.host_port,
        "PublishMode": "host",
    }
    return {"Mode": "dnsrr", "Ports": [port]}


def placed(template: dict[str, Any], *, pin: str | None = None, stopped: bool = False) -> None:
    """Set where a service's task may be: on one node, on none, or wherever its caller said."""
    placement = template.setdefault("Placement", {})
    kept = [one for one in placement.get("Constraints") or () if not one.startswith(_PIN)]
    placement["Constraints"] = kept + ([_PIN + pin] if pin else []) + ([STOPPED] if stopped else [])


def pin_of(service: Answer) -> str | None:
    """Return the id of the node to which a service was pinned."""
    constraints = template_of(service).get("Placement", {}).get("Constraints") or ()
    pins = [one.removeprefix(_PIN) for one in constraints if one.startswith(_PIN)]
    return next((pin for pin in pins if _PIN + pin != STOPPED), None)


def template_of(service: Answer) -> dict[str, Any]:
    """Return what the tasks of a service are made from."""
    template: dict[str, Any] = service["Spec"]["TaskTemplate"]
    return template


def remembered(service: Answer) -> Mapping[str, str]:
    """Return what the adapter noted when it made a service."""
    return template_of(service)["ContainerSpec"].get("Labels") or {}


def node_from(answer: Answer) -> Node:
    """Return a node from an entry of the engine's list answer.

    A manager may not know its own address but the one at which it is found by others.
    """
    address = answer["Status"].get("Addr") or ""
    manager = (answer.get("ManagerStatus") or {}).get("Addr") or ""
    if address in ("", "0.0.0.0", "127.0.0.1") and manager:  # noqa: S104
        address = manager.rpartition(":")[0].strip("[]")
    return Node(
        id=answer["ID"],
        name=answer["Description"]["Hostname"],
        address=address,
        ready=answer["Status"]["State"] == "ready" and answer["Spec"]["Availability"] == "active",
        cpus=answer["Description"]["Resources"]["NanoCPUs"] / NANO,
    )


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A service with its tasks and its cluster's nodes, as the engine answered."""

    service: Answer
    tasks: Sequence[Answer]
    nodes: Mapping[str, Node]
    lost: frozenset[str]
    """Ids of the nodes that are down."""

    @property
    def id(self) -> str:
        return str(self.service["ID"])

    @property
    def name(self) -> str:
        return str(self.service["Spec"]["Name"])

    @property
    def labels(self) -> Mapping[str, str]:
        return self.service["Spec"].get("Labels") or {}

    @property
    def stopped(self) -> bool:
        placement = template_of(self.service).get("Placement") or {}
        return STOPPED in (placement.get("Constraints") or ())

    @property
    def latest(self) -> Answer | None:
        """The newest task since the last start; a stop's own never runs."""
        epoch = template_of(self.service).get("ForceUpdate", 0)
        own = [one for one in self.tasks if one["Spec"].get("ForceUpdate", 0) == epoch]
        if self.stopped:
            own = [one for one in own if _has_run(one)]
        return max(own, key=_created, default=None)

    @property
    def _epoch(self) -> list[Answer]:
        epoch = template_of(self.service).get("ForceUpdate", 0)
        own = [one for one in self.tasks if one["Spec"].get("ForceUpdate", 0) == epoch]
        return sorted(own, key=_created)

    @property
    def state(self) -> str:
        if not self.service["Spec"]["Mode"]["Replicated"].get("Replicas"):
            return "created"
        latest = self.latest
        if latest is None:
            return "exited" if self.stopped else "starting"
        state, lost = latest["Status"]["State"], latest.get("NodeID") in self.lost
        if self.stopped:
            return "exited" if state in _ENDED or lost else "running"
        if state == "running" and not lost:
            return "running"
        return "exited" if state in _ENDED and latest["DesiredState"] in _ENDED else "starting"

    @property
    def node(self) -> Node | None:
        """The node that its task is on, or was on last."""
        latest = self.latest
        return self.nodes.get(latest.get("NodeID", "")) if latest else None

    @property
    def error(self) -> str | None:
        """What Swarm says of why the task does not run."""
        if self.state not in ("starting", "exited") or self.stopped:
            return None
        said = (one["Status"].get("Err") for one in reversed(self._epoch))
        return next(filter(None, said), None)

    @property
    def reason(self) -> str | None:
        """The same, with what can be done about it."""
        node, error = self.node, self.error
        if node and node.id in self.lost and self.state == "starting":
            return f"its node {node.name} is lost"
        if error is None:
            return None
        if _NO_IMAGE.search(error):
            image, place = remembered(self.service).get(IMAGE, ""), node.name if node else "a node"
            return (
                f'{place} has no image "{image}": load it there, as with docker save {image} | ssh '
                f"{place} docker load, or push it to a registry that all nodes reach"
            )
        return error

    @property
    def port_taken(self) -> bool:
        return bool(_PORT_TAKEN.search(self.error or ""))

    @property
    def ran(self) -> list[Answer]:
        """The tasks that had a container, oldest first, of earlier starts too."""
        return sorted(filter(_has_run, self.tasks), key=_created)

    @property
    def restarts(self) -> int:
        own = [one for one in self._epoch if one["Status"]["State"] in _FAILED]
        latest = self.latest
        return sum(1 for one in own if latest is None or one["ID"] != latest["ID"])

    @property
    def _last_end(self) -> Answer | None:
        ended = [one for one in self._epoch if one["Status"]["State"] in _ENDED]
        return next((one for one in reversed(ended) if _tells_end(one)), None)

    def container(self) -> Container:
        """Return the service as a container in a list."""
        node = self.node if self.state in ("running", "starting") else None
        ports = (self.service["Spec"].get("EndpointSpec") or {}).get("Ports") or ()
        return Container(
            id=self.id,
            name=self.name,
            image=remembered(self.service).get(IMAGE, ""),
            labels=self.labels,
            state=self.state,
            ports=frozenset(port["PublishedPort"] for port in ports)
            if self.state == "running"
            else frozenset(),
            reason=self.reason,
            host=node.name if node else None,
            address=node.address if node else None,
        )

    def condition(self, *, here: str) -> Condition:
        """Return how the service's task is doing; its process is known on the node ``here``."""
        latest, end, state = self.latest, self._last_end, self.state
        status = (latest or {}).get("Status") or {}
        running = status.get("ContainerStatus") or {}
        on_host = latest is not None and latest.get("NodeID") == here
        code = 0
        if state != "running" and end is not None:
            code = (end["Status"].get("ContainerStatus") or {}).get("ExitCode", NOT_RUN)
        grace = template_of(self.service)["ContainerSpec"].get("StopGracePeriod", 0)
        return Condition(
            state=state,
            pid=running.get("PID") or None if state == "running" and on_host else None,
            exit_code=code,
            restarts=self.restarts,
            started_at=_time(status) if state == "running" else -1,
            finished_at=_time(end["Status"]) if end and state == "exited" else -1,
            stop_grace=grace // NANO,
            reason=self.reason,
            claim_lost=self.port_taken,
        )

    def details(self) -> Details:
        """Return what the service was made with, and its task's addresses."""
        template = template_of(self.service)
        own, limits = template["ContainerSpec"], template["Resources"]["Limits"]
        pairs = (line.partition("=") for line in own.get("Env") or ())
        attachments = (self.latest or {}).get("NetworksAttachments") or ()
        found = [address for one in attachments for address in one.get("Addresses") or ()]
        files = [*(own.get("Secrets") or ()), *(own.get("Configs") or ())]
        paths = [one["File"]["Name"] for one in files]
        return Details(
            command=[*(own.get("Command") or ()), *(own.get("Args") or ())],
            env={name: value.replace('{{"{{"}}', "{{") for name, _, value in pairs},
            labels=self.labels,
            user=own.get("User") or "",
            read_only=bool(own.get("ReadOnly")),
            cap_add=own.get("CapabilityAdd") or [],
            cap_drop=own.get("CapabilityDrop") or [],
            privileged=False,
            no_new_privileges=bool((own.get("Privileges") or {}).get("NoNewPrivileges")),
            binds=[*_binds(own), *(Bind(source=path, target=path) for path in paths)],
            publishes=[*_published(self.service["Spec"].get("EndpointSpec") or {})],
            addresses=[address.partition("/")[0] for address in found]
            if self.state == "running"
            else [],
            memory=limits.get("MemoryBytes", 0),
            cpus=limits.get("NanoCPUs", 0) / NANO,
            pids=limits.get("Pids", 0),
        )


def _binds(own: Answer) -> Iterator[Bind]:
    for mount in own.get("Mounts") or ():
        if mount["Type"] == "bind":
            read_only = bool(mount.get("ReadOnly"))
            yield Bind(source=mount["Source"], target=mount["Target"], read_only=read_only)


def _published(endpoint: Answer) -> Iterator[Publish]:
    for port in endpoint.get("Ports") or ():
        yield Publish(
            address="0.0.0.0",  # noqa: S104, a service can't publish on one address
            host_port=port["PublishedPort"],
            container_port=port["TargetPort"],
        )


def _has_run(task: Answer) -> bool:
    return bool((task["Status"].get("ContainerStatus") or {}).get("ContainerID"))


def is_live(task: Answer) -> bool:
    """Tell whether a task may still write something."""
    return task["Status"]["State"] not in _ENDED


def _tells_end(task: Answer) -> bool:
    return _has_run(task) or task["Status"]["State"] == "rejected"


def _created(task: Answer) -> float:
    return datetime.fromisoformat(task["CreatedAt"]).timestamp()


def _time(status: Answer) -> float:
    try:
        return datetime.fromisoformat(status["Timestamp"]).timestamp()
    except (KeyError, ValueError):
        return -1


def by_service(tasks: Iterable[Answer]) -> dict[str, list[Answer]]:
    """Sort tasks by the id of their service."""
    found: dict[str, list[Answer]] = {}
    for task in tasks:
        found.setdefault(task["ServiceID"], []).append(task)
    return found
