"""Docker Engine (API 1.41 and later) behind the ``Engine`` protocol, through the Docker SDK.

Only the SDK's low-level client is used: its list call answers in one request, while the
high-level one inspects each container in turn.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from docker import APIClient
from docker.errors import APIError, ImageNotFound, NotFound
from docker.types import EndpointConfig
from docker.utils import parse_repository_tag

from jobctl.engines import carried
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
from jobctl.engines.docker_values import (
    TOP_COLUMNS,
    condition_from,
    container_from,
    create_kwargs,
    details_from,
    facts_from,
    host_kwargs,
    network_from,
    processes_from,
    transfers,
    transport,
    usage_from,
)
from jobctl.engines.sdk import build_lines, chunks, connected, translated
from jobctl.errors import ClaimLost, EngineUnreachable, ImageMissing, JobctlError
from jobctl.job import connect_address

if TYPE_CHECKING:
    from jobctl.engines.over_ssh import Way

CHUNK_BYTES = 1 << 16
NETWORK_LOOKS = 40
USAGE_REQUESTS = 8
"""How many containers are asked about at once."""
# Two requests to bind one port fail in the engine's allocator or in the kernel, and say so in
# words only: the API has no code for it (moby/moby, libnetwork/portallocator and portmapper).
_PORT_BOUND = re.compile(
    r"port is already allocated|address already in use|failed to bind (host )?port", re.IGNORECASE
)
# Refused with 409 or 500, depending on the engine's version.
_NOT_RUNNING = re.compile(r"is not running|is restarting", re.IGNORECASE)
_NO_GPU = re.compile(r"could not select device driver|nvidia-container-cli", re.IGNORECASE)


class DockerEngine:
    """A Docker Engine, or one that speaks its API."""

    name = "docker"
    traits = Traits()

    def __init__(
        self,
        endpoint: str,
        *,
        tls: Any = False,
        chosen_by: str = "the caller",
        patience: int | None = None,
        version: str = "auto",
    ) -> None:
        """Connect to ``endpoint`` (``unix://``, ``tcp://`` or ``ssh://``), agreeing on a version.

        With a ``version`` of the API that it is known to speak, nothing is asked yet.

        ``chosen_by`` is what named it, in words. With ``patience`` requests may take so many
        seconds, and nobody is asked for anything on the way there.

        Raises:
            EngineUnreachable: nothing answers there.
        """
        self.endpoint = endpoint
        self._tls = tls
        self._chosen_by = chosen_by
        self._way = _way(endpoint, patience)
        socket = f"unix://{self._way.socket}" if self._way else endpoint
        try:
            self._api = connected(socket, tls, version=version, called=endpoint, patience=patience)
        except EngineUnreachable as error:
            complaints = self._way.complaints() if self._way else ""
            if self._way:
                self._way.close()
            if complaints:
                raise EngineUnreachable(f"{endpoint} ({complaints})") from error
            raise
        if self._way:
            self._way.mount(self._api)

    @property
    def client(self) -> APIClient:
        """The SDK's client, for an engine that is asked for more than Docker's API."""
        return self._api

    @property
    def local_socket(self) -> str | None:
        scheme, _, path = self.endpoint.partition("://")
        return path if scheme == "unix" else None

    def nodes(self) -> list[Node]:
        return []

    @translated
    def version(self) -> str:
        answer = self._api.version()
        return f"{answer['Version']} (API {answer['ApiVersion']})"

    @translated
    def facts(self) -> Facts:
        info = self._api.info()
        return facts_from(
            info,
            endpoint=self.endpoint,
            chosen_by=self._chosen_by,
            transport=transport(self.endpoint, self._tls),
            # As `version` has it, which would be another request.
            version=f"{info['ServerVersion']} (API {self._api.api_version})",
        )

    @translated
    def containers(self, labels: Sequence[str] = ()) -> list[Container]:
        return [
            container_from(entry)
            for entry in self._api.containers(all=True, filters={"label": list(labels)})
        ]

    @translated
    def create(self, spec: ContainerSpec) -> str:
        try:
            created = self._api.create_container(
                **create_kwargs(spec, far=self._far),
                host_config=self._api.create_host_config(**host_kwargs(spec, far=self._far)),
                networking_config=None
                if spec.network is None
                else {"EndpointsConfig": {spec.network: EndpointConfig(self._api.api_version)}},
            )
        except ImageNotFound:
            raise ImageMissing(spec.image) from None
        except APIError as error:
            if error.status_code == 409:
                raise ClaimLost(
                    f'the container name "{spec.name}" is taken; choose another --port'
                ) from None
            raise
        container = str(created["Id"])
        if self._far:
            try:
                carried.fill(self._api, container)
            except BaseException:
                self.remove(container)
                raise
        return container

    @translated
    def refresh(self, container: str) -> None:
        carried.fill(self._api, container)

    @translated
    def sweep(self, labels: Sequence[str]) -> None:
        carried.sweep(self._api, labels)

    def answers_at(self, address: str, port: int) -> tuple[str, int]:
        there = connect_address(address)
        if self._way:
            return self._way.forwarded(there, port)
        if not self._far:
            return there, port
        if ip_address(address).is_unspecified:
            return urlsplit(self.endpoint).hostname or address, port
        if ip_address(there).is_loopback:
            raise JobctlError(
                f"a port on {address} of the engine's host can't be reached from here, and so not "
                f"verified: {self.endpoint} is a way to the engine alone; expose the job with "
                "--bind ADDRESS, or use the engine by ssh://"
            )
        return address, port

    def connects(self, address: str, port: int, *, timeout: float) -> bool | None:
        return self._way.connects(address, port, timeout=timeout) if self._way else None

    @property
    def _far(self) -> bool:
        return self.local_socket is None

    @translated
    def start(self, container: str) -> None:
        try:
            self._api.start(container)
        except APIError as error:
            if _PORT_BOUND.search(str(error.explanation)):
                raise ClaimLost(
                    f"the port is taken: {error.explanation}; end what has it, or choose "
                    "another --port"
                ) from None
            if _NO_GPU.search(str(error.explanation)):
                raise JobctlError(
                    "the engine can't give containers a GPU: install the NVIDIA Container Toolkit "
                    f"on its host, or leave gpus out ({error.explanation})"
                ) from None
            raise

    @translated
    def stop(self, container: str, *, grace: int | None = None) -> None:
        with suppress(NotFound):
            # Without the time that it has, the SDK would not wait for longer than usual.
            if grace is None:
                grace = condition_from(self._api.inspect_container(container)).stop_grace
            self._api.stop(container, timeout=grace)

    @translated
    def remove(self, container: str) -> None:
        volumes = carried.volumes_of(self._api, container) if self._far else []
        try:
            self._api.remove_container(container, force=True, v=True)
        except NotFound:
            pass
        except APIError as error:
            # 409: another client is removing it at this moment.
            if error.status_code != 409:
                raise
        carried.remove(self._api, volumes)

    @translated
    def condition(self, container: str) -> Condition | None:
        try:
            answer = self._api.inspect_container(container)
        except NotFound:
            return None
        return condition_from(answer)

    @translated
    def details(self, container: str) -> Details | None:
        try:
            return details_from(self._api.inspect_container(container))
        except NotFound:
            return None

    @translated
    def processes(self, container: str) -> list[Process]:
        try:
            return processes_from(self._api.top(container, ps_args=TOP_COLUMNS))
        except NotFound:
            return []
        except APIError as error:
            if _NOT_RUNNING.search(str(error.explanation)):
                return []
            raise

    @translated
    def usage(self, containers: Sequence[str]) -> dict[str, Usage]:
        from concurrent.futures import ThreadPoolExecutor

        from jobctl.engines import over_ssh

        most = over_ssh.MOST_AT_ONCE if self._way else USAGE_REQUESTS
        with ThreadPoolExecutor(most) as pool:
            found = zip(containers, pool.map(self._usage, containers), strict=True)
            return {container: usage for container, usage in found if usage}

    def _usage(self, container: str) -> Usage | None:
        try:
            # One-shot: the engine would else take a second look after a second.
            return usage_from(self._api.stats(container, stream=False, one_shot=True))
        except NotFound:
            return None

    @translated
    def logs(
        self, container: str, *, tail: int | None = None, follow: bool = False
    ) -> Iterator[bytes]:
        answer = self._api.logs(
            container, stream=True, follow=follow, tail="all" if tail is None else tail
        )
        return chunks(answer)

    @translated
    def ensure_network(self, name: str) -> str:
        if found := self._network_id(name):
            return found
        # Names of networks are not unique before API 1.44, and `check_duplicate` does not hold
        # against requests at the same moment. The name of the bridge interface is: the engine's
        # driver checks it under a lock (moby/moby, libnetwork/drivers/bridge).
        refused: APIError | None = None
        try:
            self._api.create_network(
                name,
                driver="bridge",
                check_duplicate=True,
                options={
                    "com.docker.network.bridge.enable_icc": "false",
                    "com.docker.network.bridge.name": name,
                },
                labels={"jobctl.network": name},
            )
        except APIError as error:
            refused = error
        for _ in range(NETWORK_LOOKS):
            if found := self._network_id(name):
                return found
            time.sleep(0.05)  # whoever was first has its claim, but is not listed yet
        reason = refused.explanation if refused else "it vanished"
        raise JobctlError(
            f'the engine has no network "{name}" and could not make it: {reason}; see: docker '
            "network ls"
        )

    @translated
    def network(self, name: str) -> Network | None:
        networks = self._api.networks(names=[name], filters={"label": "jobctl.network"})
        return next((network_from(found) for found in networks if found["Name"] == name), None)

    @translated
    def remove_network(self, network: str) -> None:
        with suppress(NotFound):
            self._api.remove_network(network)

    def _network_id(self, name: str) -> str | None:
        found = self.network(name)
        return found.id if found else None

    @translated
    def image(self, tag: str) -> Image | None:
        try:
            answer = self._api.inspect_image(tag)  # type: ignore[no-untyped-call]
        except ImageNotFound:
            return None
        labels = answer["Config"].get("Labels") or {}
        return Image(id=answer["Id"], tag=tag, labels=labels, size=answer["Size"])

    @translated
    def pull(self, tag: str, seen: Callable[[Transfer], None] | None = None) -> bool:
        repository, version = parse_repository_tag(tag)
        failed = False

        def answers() -> Iterator[Mapping[str, Any]]:
            nonlocal failed
            for answer in self._api.pull(repository, version or "latest", stream=True, decode=True):
                failed |= "error" in answer
                yield answer

        try:
            for so_far in transfers(answers()):
                if seen:
                    seen(so_far)
        except APIError:
            return False
        return not failed

    @translated
    def tag(self, image: str, tag: str) -> None:
        repository, version = parse_repository_tag(tag)
        self._api.tag(image, repository, version or "latest", force=True)

    @translated
    def build(
        self,
        context: IO[bytes],
        *,
        tag: str,
        labels: Mapping[str, str],
        args: Mapping[str, str],
    ) -> Iterator[str]:
        answers = self._api.build(
            fileobj=context,
            custom_context=True,
            tag=tag,
            labels=dict(labels),
            buildargs=dict(args),
            rm=True,
            forcerm=True,
            decode=True,
        )
        return build_lines(answers)

    @translated
    def import_image(self, rootfs: IO[bytes], *, tag: str, labels: Mapping[str, str]) -> None:
        repository, version = parse_repository_tag(tag)
        answer = self._api.import_image(
            # As an iterator: the length of a file that has one would contradict the chunks.
            src=iter(lambda: rootfs.read(CHUNK_BYTES), b""),
            repository=repository,
            tag=version or "latest",
            changes=[f'LABEL "{key}"="{value}"' for key, value in labels.items()],
        )
        if '"error"' in answer:
            raise JobctlError(
                f"the engine could not import {tag}: {answer.strip()}; see whether it has room: "
                "jobctl doctor"
            )

    def close(self) -> None:
        self._api.close()
        if self._way:
            self._way.close()


def _way(endpoint: str, patience: int | None) -> Way | None:
    """Return the way to an engine of another host that is reached by ssh."""
    if not endpoint.startswith("ssh://"):
        return None
    from jobctl.engines.over_ssh import Way

    return Way(endpoint, patience=patience)
