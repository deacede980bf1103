"""Docker Swarm behind the ``Engine`` protocol: a container is a service of one replica.

The first service of a job claims its name in the cluster and publishes its port, in host mode, on
the node that Swarm chooses. The one that joins it is pinned to the same node, and the two meet on
an encrypted network of their own, on which nothing else is: what passes between them never leaves
the node. Files reach them as secrets and configs.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from socket import SHUT_RDWR
from threading import Event, Thread
from typing import IO, Any

import docker
import requests
import urllib3
from docker.errors import APIError, DockerException, NotFound
from msgspec.structs import replace

from jobctl.engines.base import (
    Condition,
    Container,
    ContainerSpec,
    Details,
    Facts,
    Image,
    Network,
    Node,
    Process,
    Traits,
    Transfer,
    Usage,
)
from jobctl.engines.docker import DockerEngine
from jobctl.engines.sdk import REQUEST_TIMEOUT_S, chunks, translated
from jobctl.engines.swarm_values import (
    FILES,
    JOINED,
    JOINS,
    MOVES,
    Answer,
    Parts,
    Seen,
    by_service,
    file_reference,
    is_live,
    node_from,
    pin_of,
    placed,
    remembered,
    service_spec,
    template_of,
)
from jobctl.errors import ClaimLost, EngineRefused, EngineUnreachable, ImageMissing, JobctlError

NODE_NETWORK = "bridge"
"""What every node has: the one on which a service's port can be published without IPVS."""
ASSIGN_S = 30
"""How long a node may be looked for, once no reason is given why there is none."""
END_S = 15
"""How long over its own time to stop a task's end may be waited for."""
LOOK_EVERY_S = 0.05
END_EVERY_S = 0.2
"""How often it is looked whether something has ended, which takes a node seconds."""
NODES_KNOWN_S = 1
FOLLOW_EVERY_S = 0.5
UPDATES = 20
MOST_FILE_BYTES = 500_000  # of a secret and of a config (docs.docker.com/engine/swarm/secrets)
_NO_NEW_PRIVILEGES_SINCE = (1, 44)
LACKS = (
    "health checks (a service has its name on the network only once its first has passed)",
    "limits of swap, weights of CPU time, and word of whether an app ran out of memory",
    "GPUs by number (constraints lead to nodes that give theirs to all containers)",
    "figures of what jobs use on other nodes than the manager that is asked",
)


class SwarmEngine:
    """A Swarm, through one of its managers."""

    name = "swarm"

    def __init__(self, endpoint: str, *, tls: Any = False, chosen_by: str = "the caller") -> None:
        """Connect to a manager's engine, as ``DockerEngine`` does.

        Raises:
            EngineUnreachable: nothing answers there, or it manages no Swarm.
        """
        self._docker = DockerEngine(endpoint, tls=tls, chosen_by=chosen_by)
        try:
            self._api: Any = docker.APIClient(
                base_url=endpoint, tls=tls, version="auto", timeout=REQUEST_TIMEOUT_S
            )
            info = self._api.info()
        except (DockerException, requests.RequestException, OSError) as error:
            raise EngineUnreachable(f"{endpoint} ({error})") from error
        swarm = info.get("Swarm") or {}
        if not swarm.get("ControlAvailable"):
            raise EngineUnreachable(
                f"{endpoint} (it manages no Swarm; name a manager with DOCKER_HOST or --context, "
                "or make a Swarm of it with: docker swarm init)"
            )
        self.endpoint = endpoint
        self._known: tuple[float, dict[str, Node], frozenset[str]] = (0, {}, frozenset())
        self._here: str = swarm["NodeID"]
        self._cluster: str = swarm["Cluster"]["ID"]
        version = tuple(map(int, self._api.api_version.split(".")))
        self._no_new_privileges = version >= _NO_NEW_PRIVILEGES_SINCE
        given = "name=no-new-privileges" in (info.get("SecurityOptions") or ())
        relaxed = [] if self._no_new_privileges or given else ["set-user-ID programs work"]
        self.traits = Traits(listen="0.0.0.0", cluster=True, relaxed=relaxed, lacks=LACKS)  # noqa: S104

    @property
    def local_socket(self) -> str | None:
        return self._docker.local_socket

    def version(self) -> str:
        return f"Swarm of Docker {self._docker.version()}"

    def facts(self) -> Facts:
        """Return what the manager says; the cluster is the same through each of its managers."""
        found = self._docker.facts()
        return replace(found, version=self.version(), host=f"swarm {self._cluster}", data_root="")

    @translated
    def nodes(self) -> list[Node]:
        return [*self._nodes()[0].values()]

    @translated
    def containers(self, labels: Sequence[str] = ()) -> list[Container]:
        services = self._api.services(filters={"label": list(labels)})
        if not services:
            return []
        # All of a label's tasks are as easy to ask for as those of services by their ids.
        wanted = {"label": list(labels)} if labels else {}
        tasks = by_service(self._api.tasks(filters=wanted))
        nodes, lost = self._nodes()
        seen = {
            one["ID"]: Seen(service=one, tasks=tasks.get(one["ID"], []), nodes=nodes, lost=lost)
            for one in services
        }
        return [replace(one.container(), apart=_apart(one, seen)) for one in seen.values()]

    @translated
    def create(self, spec: ContainerSpec) -> str:
        if spec.gpus:
            raise JobctlError(
                f"gpus: {spec.gpus}: a Swarm gives no GPUs by number; leave gpus out, and name "
                "nodes that give theirs to all containers with constraints"
            )
        image = self._reference(spec.image)
        made: list[tuple[str, str]] = []
        created = None
        try:
            parts = self._parts(spec, image, made)
            created = self._api.create_service(**_as_arguments(service_spec(spec, parts)))
            if spec.joins:
                self._introduce(spec.joins, str(created["ID"]), parts.networks)
        except BaseException as error:
            if created is not None:
                self._api.remove_service(created["ID"])
            self._discard(made)
            if isinstance(error, APIError) and error.status_code == 409:
                raise ClaimLost(
                    f'the service name "{spec.name}" is taken; choose another --port'
                ) from None
            raise
        return str(created["ID"])

    def refresh(self, container: str) -> None:
        """Do nothing: a start brings files up to date, tasks can't be given others."""

    def answers_at(self, address: str, port: int) -> tuple[str, int]:
        """Return what is published; at which of its nodes a job answers, its own URL says."""
        return address, port

    def connects(self, address: str, port: int, *, timeout: float) -> bool | None:
        """Tell nothing: no node has a way to the addresses of tasks."""
        del address, port, timeout
        return None

    @translated
    def start(self, container: str) -> None:
        seen = self._seen(container)
        joined = remembered(seen.service).get(JOINS)
        pin = self._assigned(joined) if joined else None
        if seen.state in ("running", "starting") and pin in (None, pin_of(seen.service)):
            return
        stale = self._refresh(seen)

        def change(spec: dict[str, Any]) -> None:
            template = spec["TaskTemplate"]
            template["ContainerSpec"] = template_of(seen.service)["ContainerSpec"]
            template["ForceUpdate"] = template.get("ForceUpdate", 0) + 1
            spec["Mode"] = {"Replicated": {"Replicas": 1}}
            placed(template, pin=pin)

        self._update(container, change)
        self._discard(stale)
        if pin is None:
            node = self._assigned(container)
            if MOVES not in remembered(seen.service):
                # Not another task: a constraint that a task's node meets leaves it where it is.
                self._update(container, lambda spec: placed(spec["TaskTemplate"], pin=node))

    @translated
    def stop(self, container: str, *, grace: int | None = None) -> None:
        """Stop a task in its own time, which Swarm can't change any more: ``grace`` is not heeded.

        The log and the exit code stay, which they would not if there were no replica. A node takes
        seconds to stop a task: for the end of one that joins another, the stop of that one waits.
        """
        del grace
        with suppress(NotFound):
            seen = self._seen(container)
            if seen.state in ("running", "starting"):
                pin = pin_of(seen.service)
                self._update(
                    container, lambda spec: placed(spec["TaskTemplate"], pin=pin, stopped=True)
                )
            if JOINS in remembered(seen.service):
                return
            for one in filter(None, [container, remembered(seen.service).get(JOINED)]):
                self._await_stop(one)

    @translated
    def remove(self, container: str) -> None:
        try:
            seen = self._seen(container)
        except NotFound:
            return
        own = template_of(seen.service)["ContainerSpec"]
        made = [("secret", one["SecretID"]) for one in own.get("Secrets") or ()]
        made += [("config", one["ConfigID"]) for one in own.get("Configs") or ()]
        networks = [one["Target"] for one in template_of(seen.service).get("Networks") or ()]
        with suppress(NotFound):
            self._api.remove_service(container)
        self._discard(made)
        if JOINS not in remembered(seen.service):
            self._await_end(seen)
            # In use until the task of the other one has ended, too.
            self._discard([("network", one) for one in networks if one != self._node_network])

    @translated
    def sweep(self, labels: Sequence[str]) -> None:
        wanted = {"label": list(labels)}
        made = [("secret", one["ID"]) for one in self._api.secrets(filters=wanted)]
        made += [("config", one["ID"]) for one in self._api.configs(filters=wanted)]
        made += [("network", one["Id"]) for one in self._api.networks(filters=wanted)]
        # Of the manager that is asked; those of other nodes are out of reach.
        volumes = self._api.volumes(filters=wanted)["Volumes"] or ()
        self._discard([*made, *(("volume", one["Name"]) for one in volumes)])

    @translated
    def condition(self, container: str) -> Condition | None:
        try:
            return self._seen(container).condition(here=self._here)
        except NotFound:
            return None

    @translated
    def details(self, container: str) -> Details | None:
        try:
            return self._seen(container).details()
        except NotFound:
            return None

    @translated
    def processes(self, container: str) -> list[Process]:
        """Return the processes of a task on the manager that is asked; others don't tell."""
        found = self._here_as([container]).get(container)
        return self._docker.processes(found) if found else []

    @translated
    def usage(self, containers: Sequence[str]) -> dict[str, Usage]:
        """Return what tasks use that are on the manager that is asked; others don't tell."""
        own = self._here_as(containers)
        found = self._docker.usage([*own.values()])
        return {one: found[task] for one, task in own.items() if task in found}

    @translated
    def logs(
        self, container: str, *, tail: int | None = None, follow: bool = False
    ) -> Iterator[bytes]:
        seen = self._seen(container)
        tasks = [one for one in seen.ran if one.get("NodeID") not in seen.lost]
        if seen.ran and not tasks:
            node = seen.nodes.get(seen.ran[-1].get("NodeID", ""))
            raise JobctlError(
                f"its log is on {node.name if node else 'a node'}, which is lost; see: docker "
                "node ls"
            )
        if follow:
            return chunks(self._followed(container, tail=tail))
        wanted = tasks if tail is None else tasks[-1:]
        return chunks(chain.from_iterable(self._log(one, tail=tail) for one in wanted))

    def _log(
        self, task: Answer, *, tail: int | None = None, follow: bool = False
    ) -> Iterator[bytes]:
        """Yield what one task has written, and as long as it runs what it writes."""
        params = {"stdout": 1, "stderr": 1, "follow": int(follow)}
        # The SDK has no call for the log of a task (API: GET /tasks/{id}/logs).
        answer = self._api._get(
            self._api._url("/tasks/{0}/logs", task["ID"]),
            params={**params, "tail": "all" if tail is None else tail},
            stream=True,
        )
        chunks = self._api._get_result_tty(True, answer, False)
        if not follow:
            yield from chunks
            return
        ended = Event()
        watcher = Thread(target=self._hang_up, args=(task["ID"], answer, ended), daemon=True)
        watcher.start()
        try:
            yield from chunks
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError):
            if not ended.is_set():
                raise
        finally:
            ended.set()
            watcher.join()
            answer.close()

    def _hang_up(self, task: str, answer: Any, ended: Event) -> None:
        """End a log that is followed once its task has ended; Swarm lets it wait for ever."""
        while not ended.wait(FOLLOW_EVERY_S):
            with suppress(APIError, requests.RequestException):
                found = self._api.tasks(filters={"id": [task]})
                if found and is_live(found[0]):
                    continue
            if ended.wait(FOLLOW_EVERY_S):  # for what is on its way
                return
            ended.set()
            with suppress(OSError, AttributeError):
                self._api._get_raw_response_socket(answer)._sock.shutdown(SHUT_RDWR)

    def _followed(self, container: str, *, tail: int | None) -> Iterator[bytes]:
        """Yield the log of a service's newest task, and of each that comes after it."""
        known: set[str] = set()
        while True:
            seen = self._seen(container)
            fresh = [one for one in seen.ran if one["ID"] not in known]
            if fresh:
                known |= {one["ID"] for one in seen.ran}
                yield from self._log(fresh[-1], tail=tail, follow=True)
                tail = None
            elif seen.state not in ("running", "starting"):
                return
            else:
                time.sleep(FOLLOW_EVERY_S)

    def ensure_network(self, name: str) -> str:
        """Return the network that all nodes have, on which a port is published.

        What jobs have to themselves is made with them.
        """
        del name
        return self._node_network

    def network(self, name: str) -> Network | None:
        """Return nothing: there is none that jobs share."""
        del name
        return None

    def remove_network(self, network: str) -> None:
        self._docker.remove_network(network)

    def image(self, tag: str) -> Image | None:
        return self._docker.image(tag)

    def pull(self, tag: str, seen: Callable[[Transfer], None] | None = None) -> bool:
        return self._docker.pull(tag, seen)

    def tag(self, image: str, tag: str) -> None:
        self._docker.tag(image, tag)

    def build(
        self,
        context: IO[bytes],
        *,
        tag: str,
        labels: Mapping[str, str],
        args: Mapping[str, str],
    ) -> Iterator[str]:
        return self._docker.build(context, tag=tag, labels=labels, args=args)

    def import_image(self, rootfs: IO[bytes], *, tag: str, labels: Mapping[str, str]) -> None:
        self._docker.import_image(rootfs, tag=tag, labels=labels)

    def close(self) -> None:
        self._docker.close()
        self._api.close()

    @property
    def _node_network(self) -> str:
        return NODE_NETWORK

    def _nodes(self) -> tuple[dict[str, Node], frozenset[str]]:
        """Return the cluster's nodes by their ids, and which are lost, as of a moment ago."""
        if time.monotonic() < self._known[0]:
            return self._known[1], self._known[2]
        answers = self._api.nodes()
        lost = frozenset(one["ID"] for one in answers if one["Status"]["State"] == "down")
        nodes = {one["ID"]: node_from(one) for one in answers}
        self._known = (time.monotonic() + NODES_KNOWN_S, nodes, lost)
        return nodes, lost

    def _seen(self, container: str) -> Seen:
        service = self._api.inspect_service(container)
        tasks = self._api.tasks(filters={"service": [service["ID"]]})
        nodes, lost = self._nodes()
        return Seen(service=service, tasks=tasks, nodes=nodes, lost=lost)

    def _reference(self, tag: str) -> str:
        """Return how nodes are told which image: what they have is run without asking a registry.

        Raises:
            ImageMissing: neither the manager nor a registry has it.
        """
        try:
            found = self._api.inspect_image(tag)
        except NotFound:
            try:
                digest = self._api.inspect_distribution(tag)["Descriptor"]["digest"]
            except APIError:
                raise ImageMissing(tag) from None
            return f"{_untagged(tag)}@{digest}"
        # It may have been pulled by another name, and got this one by hand.
        pushed = found.get("RepoDigests") or ()
        own = [one for one in pushed if one.startswith(_untagged(tag) + "@")]
        return str([*own, *pushed, found["Id"]][0])

    def _parts(self, spec: ContainerSpec, image: str, made: list[tuple[str, str]]) -> Parts:
        """Make what a service refers to, and note it in ``made``."""
        labels = dict(spec.labels)
        networks = [spec.network] if spec.network else []
        if spec.joins:
            network = self._own_network(spec, made)
            networks = [network]
        seen = {path: _version(path) for path in [*spec.files, *spec.secrets]}
        secrets_of = {p: self._file("secret", spec.name, p, labels, made) for p in spec.secrets}
        configs_of = {p: self._file("config", spec.name, p, labels, made) for p in spec.files}
        return Parts(
            image=image,
            networks=networks,
            secrets=secrets_of,
            configs=configs_of,
            seen=seen,
            most_cpus=min((node.cpus for node in self.nodes() if node.ready), default=None),
            no_new_privileges=self._no_new_privileges,
        )

    def _own_network(self, spec: ContainerSpec, made: list[tuple[str, str]]) -> str:
        """Make the network on which a service meets the one that it joins.

        It is internal: the node itself and its other containers have no leg in it. Nobody can
        attach a container by hand, and what others send to it from elsewhere is not encrypted as
        it has to be.
        """
        created = self._api.create_network(
            f"{spec.name}-{secrets.token_hex(4)}",
            driver="overlay",
            options={"encrypted": ""},
            internal=True,
            attachable=False,
            labels=dict(spec.labels),
        )
        network = str(created["Id"])
        made.append(("network", network))
        return network

    def _introduce(self, joined: str, joining: str, networks: Sequence[str]) -> None:
        """Add to a service the network on which another one meets it, and which one that is."""

        def change(spec: dict[str, Any]) -> None:
            template = spec["TaskTemplate"]
            template["ContainerSpec"].setdefault("Labels", {})[JOINED] = joining
            template.setdefault("Networks", []).extend({"Target": one} for one in networks)

        self._update(joined, change)

    def _file(
        self,
        kind: str,
        name: str,
        path: str,
        labels: Mapping[str, str],
        made: list[tuple[str, str]],
    ) -> tuple[str, str]:
        """Make a secret or a config of a file; return its id and its name."""
        data = Path(path).read_bytes()
        if len(data) > MOST_FILE_BYTES:
            raise JobctlError(
                f"{path}: {len(data)} bytes, and a Swarm keeps files of at most {MOST_FILE_BYTES}; "
                "make it smaller, or mount it"
            )
        called = f"{name}-{secrets.token_hex(6)}"
        create = self._api.create_secret if kind == "secret" else self._api.create_config
        created = create(called, data, labels=dict(labels))
        made.append((kind, created["ID"]))
        return str(created["ID"]), called

    def _refresh(self, seen: Seen) -> list[tuple[str, str]]:
        """Let a service have its files as they are now; return what it does not refer to any more.

        Files that are not there any more stay as they are.
        """
        own = template_of(seen.service)["ContainerSpec"]
        known: dict[str, int] = json.loads(remembered(seen.service).get(FILES, "{}"))
        stale: list[tuple[str, str]] = []
        for kind in ("Secret", "Config"):
            for number, one in enumerate(own.get(f"{kind}s") or ()):
                path = one["File"]["Name"]
                if not Path(path).exists() or _version(path) == known.get(path):
                    continue
                known[path] = _version(path)
                found = self._file(kind.lower(), seen.name, path, seen.labels, [])
                own[f"{kind}s"][number] = file_reference(kind, own["User"], path, found)
                stale.append((kind.lower(), one[f"{kind}ID"]))
        own.setdefault("Labels", {})[FILES] = json.dumps(known)
        return stale

    def _update(self, container: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Change a service; Swarm itself may have noted something about it meanwhile."""
        for left in reversed(range(UPDATES)):
            service = self._api.inspect_service(container)
            spec = service["Spec"]
            change(spec)
            try:
                self._api.update_service(
                    service["ID"],
                    service["Version"]["Index"],
                    **_as_arguments(spec),
                    fetch_current_spec=False,
                )
            except APIError as error:
                if left and "out of sequence" in str(error.explanation):
                    continue
                raise
            return

    def _assigned(self, container: str) -> str:
        """Return the id of the node that a service's task is on, once Swarm has chosen it.

        Raises:
            ClaimLost: all nodes that come in question have its port in use.
            JobctlError: none comes in question, or it takes too long.
        """
        deadline = time.monotonic() + ASSIGN_S
        while True:
            seen = self._seen(container)
            latest = seen.latest
            if latest and latest.get("NodeID") and seen.state in ("starting", "running"):
                return str(latest["NodeID"])
            if seen.state in ("created", "exited"):
                raise EngineRefused(f"the service {seen.name} does not run; start it first")
            if seen.port_taken:
                raise ClaimLost(f"the port is taken: {seen.error}; choose another --port")
            if seen.error or time.monotonic() > deadline:
                raise JobctlError(
                    f"Swarm has no node for {seen.name}: {seen.reason or 'it does not say why'}; "
                    "see: docker node ls, and the constraints and reservations of its section"
                )
            time.sleep(LOOK_EVERY_S)

    def _await_stop(self, container: str) -> None:
        seen = self._seen(container)
        deadline = time.monotonic() + seen.condition(here=self._here).stop_grace + END_S
        while seen.state in ("running", "starting") and time.monotonic() < deadline:
            time.sleep(END_EVERY_S)
            seen = self._seen(container)

    def _await_end(self, seen: Seen) -> None:
        """Wait until the tasks of a service that was removed are gone, but for those of lost nodes.

        Swarm asks them to end and gives them their time.
        """
        ids = [one["ID"] for one in seen.tasks if one.get("NodeID") not in seen.lost]
        deadline = time.monotonic() + seen.condition(here=self._here).stop_grace + END_S
        while ids and self._api.tasks(filters={"id": ids}) and time.monotonic() < deadline:
            time.sleep(END_EVERY_S)

    def _discard(self, made: Sequence[tuple[str, str]]) -> None:
        """Remove what jobs have beside services; what is still in use is left, after a while."""
        calls: Mapping[str, Callable[[str], object]] = {
            "secret": self._api.remove_secret,
            "config": self._api.remove_config,
            "network": self._api.remove_network,
            "volume": self._api.remove_volume,
        }
        for kind, one in made:
            deadline = time.monotonic() + (END_S if kind == "network" else 1)
            while True:
                try:
                    calls[kind](one)
                except NotFound:
                    pass
                except APIError as error:
                    if "in use" in str(error.explanation) and time.monotonic() < deadline:
                        time.sleep(END_EVERY_S)
                        continue
                break

    def _here_as(self, containers: Sequence[str]) -> dict[str, str]:
        """Return the containers of those services whose task runs on the manager that is asked."""
        found = {}
        for one in containers:
            with suppress(NotFound):
                seen = self._seen(one)
                latest = seen.latest
                if seen.state == "running" and latest and latest["NodeID"] == self._here:
                    found[one] = latest["Status"]["ContainerStatus"]["ContainerID"]
        return found


def _apart(one: Seen, others: Mapping[str, Seen]) -> bool:
    """Tell whether a service is pinned to another node than the one that it joins has gone to."""
    joined = others.get(remembered(one.service).get(JOINS, ""))
    if joined is None or one.state not in ("running", "starting"):
        return False
    there = joined.latest
    if joined.state not in ("running", "starting") or there is None or not there.get("NodeID"):
        return False
    return there["NodeID"] not in joined.lost and there["NodeID"] != pin_of(one.service)


def _as_arguments(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a service's spec as the SDK's ``create_service`` and ``update_service`` take it."""
    return {
        "task_template": spec["TaskTemplate"],
        "name": spec["Name"],
        "labels": spec.get("Labels"),
        "mode": spec["Mode"],
        "update_config": spec.get("UpdateConfig"),
        "endpoint_spec": spec.get("EndpointSpec"),
    }


def _untagged(tag: str) -> str:
    """Return an image's name without its tag; a colon before a slash is that of a port."""
    name = tag.partition("@")[0]
    head, colon, last = name.rpartition(":")
    return head if colon and "/" not in last else name


def _version(path: str) -> int:
    """Return what is another for each version of a file: written anew, it is another file."""
    return Path(path).stat().st_mtime_ns
