"""Podman (4.3 and later) behind the ``Engine`` protocol, rootful and rootless, through its socket.

What its compatible API answers as Docker's does is asked through that; the rest of Podman's own
API, which is on the same socket. What both need of the Docker SDK is in ``jobctl.engines.sdk``.
"""

from __future__ import annotations

import json
import re
import resource
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from docker.errors import APIError, NotFound, create_api_error_from_http_exception
from msgspec.structs import replace
from requests import HTTPError, JSONDecodeError, RequestException, Response

from jobctl.engines import podman_values as values
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
from jobctl.engines.docker import CHUNK_BYTES, DockerEngine
from jobctl.engines.sdk import REQUEST_TIMEOUT_S, reason, translated
from jobctl.errors import ClaimLost, EngineUnreachable, ImageMissing, JobctlError

_API = "/v4.0.0/libpod"
_COMPATIBLE = "1.41"
"""The version of Docker's API that Podman speaks, from 4.0 on."""
_VERSION_HEADER = "Libpod-API-Version"
PING_S = 10
TOP_LOOKS = 5
_AT_ONCE = 8
"""How many requests are made at once; the SDK keeps ten connections."""
# Both are refused with 500, and say why in words only.
_NAME_TAKEN = re.compile(r"that name is already in use", re.IGNORECASE)
_IMAGE_MISSING = re.compile(r"image not known", re.IGNORECASE)
_PORT_BOUND = re.compile(r"address already in use|add_hostfwd failed", re.IGNORECASE)
_NO_GPU = re.compile(r"unresolvable CDI devices|nvidia.com/gpu", re.IGNORECASE)


class PodmanEngine:
    """A Podman, of root or of an ordinary user."""

    name = "podman"
    traits = Traits()

    def __init__(
        self, endpoint: str, *, chosen_by: str = "the caller", patience: int | None = None
    ) -> None:
        """Connect to ``endpoint``, a socket of this host (``unix://``).

        ``chosen_by`` is what named it, in words; with ``patience``, it has so many seconds for each
        answer.

        Raises:
            EngineUnreachable: nothing answers there, or it is not Podman.
        """
        if not endpoint.startswith("unix://"):
            raise EngineUnreachable(f"{endpoint} (that is no socket of this host)")
        self.endpoint, self._chosen_by = endpoint, chosen_by
        # Which versions there are is a question that takes Podman 300 ms, a ping less than one.
        self._compatible = DockerEngine(endpoint, patience=patience, version=_COMPATIBLE)
        self._api = self._compatible.client
        try:
            answer = self._api.get(f"{self._api.base_url}/libpod/_ping", timeout=patience or PING_S)
        except (RequestException, OSError) as error:
            self.close()
            raise EngineUnreachable(f"{endpoint} ({reason(error)})") from error
        self._version = answer.headers.get(_VERSION_HEADER)
        if self._version is None:
            self.close()
            raise EngineUnreachable(f"{endpoint} (that is no Podman, or one before 4.0)")

    @cached_property
    def _info(self) -> Mapping[str, Any]:
        """What it says of itself; that takes 200 ms, and nothing of it changes while it runs."""
        found: Mapping[str, Any] = self._ask("GET", "/info").json()
        return found

    @property
    def local_socket(self) -> str | None:
        return self._compatible.local_socket

    def nodes(self) -> list[Node]:
        return []

    def version(self) -> str:
        return f"{self._version} (API {_COMPATIBLE})"

    @translated
    def facts(self) -> Facts:
        return values.podman_facts(
            self._info,
            endpoint=self.endpoint,
            chosen_by=self._chosen_by,
            version=self.version(),
            timers=self._timers,
        )

    @cached_property
    def _timers(self) -> bool:
        """Whether there is a systemd to run health checks with: Podman has no daemon that would."""
        owner = Path(self.local_socket or "/").stat().st_uid
        directories = [Path("/run/systemd/system")]
        if owner != 0:
            directories.append(Path(f"/run/user/{owner}/systemd"))
        return all(directory.is_dir() for directory in directories)

    @property
    def _rootless(self) -> bool:
        return bool(self._info["host"]["security"]["rootless"])

    @translated
    def containers(self, labels: Sequence[str] = ()) -> list[Container]:
        asked = {
            "all": "true",
            "filters": json.dumps({"label": list(labels)}),
        }
        entries = self._ask("GET", "/containers/json", params=asked).json() or ()
        found = [values.container_from(entry) for entry in entries]
        return found if self._timers else self._checked(found)

    def _checked(self, found: Sequence[Container]) -> list[Container]:
        """Return containers with the health that they have once overdue checks are run."""

        def checked(container: Container) -> Container:
            if container.health is None:
                return container
            try:
                inspected = self._ask("GET", f"/containers/{container.id}/json").json()
                if not values.overdue(inspected, time.time()):
                    return container
                health = self._ask("GET", f"/containers/{container.id}/healthcheck").json()
            except APIError:  # it has ended since, or was removed
                return container
            return replace(container, health=health.get("Status") or container.health)

        return [*self._each(checked, found)]

    @translated
    def create(self, spec: ContainerSpec) -> str:
        network = values.own_network(self._info)
        if network is None and spec.network is not None:
            raise JobctlError(
                "Podman has neither slirp4netns nor pasta, and on its bridges jobs could reach "
                "each other; install the package slirp4netns on its host"
            )
        if network == "slirp4netns" and spec.publish and ":" in spec.publish.address:
            raise JobctlError(
                "slirp4netns, which gives jobs their network on Podman, can't publish a port on "
                f"{spec.publish.address}: choose an IPv4 address, with --bind or in "
                "general.bind_address"
            )
        body = values.create_body(spec, network=network or "", most_files=self._most_files)
        try:
            created = self._ask("POST", "/containers/create", json=body)
        except APIError as error:
            said = str(error.explanation)
            if _NAME_TAKEN.search(said):
                raise ClaimLost(
                    f'the container name "{spec.name}" is taken; choose another --port'
                ) from None
            if _IMAGE_MISSING.search(said):
                raise ImageMissing(spec.image) from None
            raise
        return str(created.json()["Id"])

    def refresh(self, container: str) -> None:
        """Do nothing: containers see the files themselves."""

    def sweep(self, labels: Sequence[str]) -> None:
        """Do nothing: all that there is beside a container goes with it."""

    def answers_at(self, address: str, port: int) -> tuple[str, int]:
        return self._compatible.answers_at(address, port)

    def connects(self, address: str, port: int, *, timeout: float) -> bool | None:
        return self._compatible.connects(address, port, timeout=timeout)

    @property
    def _most_files(self) -> int | None:
        """How many files the engine may let a container open, where it is root's on this host."""
        if self._rootless:
            return None
        return resource.getrlimit(resource.RLIMIT_NOFILE)[1]

    @translated
    def start(self, container: str) -> None:
        self._check_joined(container)
        try:
            self._ask("POST", f"/containers/{container}/start")
        except APIError as error:
            said = str(error.explanation)
            if _PORT_BOUND.search(said):
                raise ClaimLost(
                    f"the port is taken: {said}; end what has it, or choose another --port"
                ) from None
            if _NO_GPU.search(said):
                raise JobctlError(
                    "Podman can't give containers a GPU: have nvidia-ctk cdi generate describe "
                    f"those of its host, or leave gpus out ({said})"
                ) from None
            raise

    def _check_joined(self, container: str) -> None:
        """Make sure that the container runs that another one joined: Podman would start it too."""
        for joined in self._inspect(container).get("Dependencies") or ():
            if not self._inspect(joined)["State"]["Running"]:
                raise JobctlError(
                    f"the container {joined[:12]}, whose network {container[:12]} has, does not "
                    "run; start that first"
                )

    def stop(self, container: str, *, grace: int | None = None) -> None:
        self._compatible.stop(container, grace=grace)

    @translated
    def remove(self, container: str) -> None:
        # Podman keeps a container that another one joined, unless told to remove that as well.
        how = {"force": "true", "volumes": "true", "depend": "true", "timeout": "0"}
        with suppress(NotFound):
            self._ask("DELETE", f"/containers/{container}", params=how)

    def condition(self, container: str) -> Condition | None:
        return self._compatible.condition(container)

    @translated
    def details(self, container: str) -> Details | None:
        try:
            return values.podman_details(self._inspect(container))
        except NotFound:
            return None

    @translated
    def processes(self, container: str) -> list[Process]:
        asked = {"stream": "false", "ps_args": values.TOP_COLUMNS}
        found: list[Process] = []
        for _ in range(TOP_LOOKS):
            try:
                answer = self._ask("GET", f"/containers/{container}/top", params=asked)
            except NotFound:
                return []
            if not answer.content:
                return []  # it does not run
            found, whole = values.podman_processes(answer.json())
            if whole:
                break
        return found

    @translated
    def usage(self, containers: Sequence[str]) -> dict[str, Usage]:
        if self.facts().cgroups is None:
            return {}  # it would tell what the whole host uses
        found = zip(containers, self._each(self._usage, containers), strict=True)
        return {container: usage for container, usage in found if usage}

    def _usage(self, container: str) -> Usage | None:
        try:
            answer = self._api.stats(container, stream=False, one_shot=True)
            return values.podman_usage(answer, self._version or "")
        except (NotFound, JSONDecodeError):  # an empty answer: it does not run
            return None

    def logs(
        self, container: str, *, tail: int | None = None, follow: bool = False
    ) -> Iterator[bytes]:
        return self._compatible.logs(container, tail=tail, follow=follow)

    def ensure_network(self, name: str) -> str:
        """Return the name: each container that is put on that network gets one of its own."""
        return name

    def network(self, name: str) -> Network | None:
        return values.network_named(name)

    def remove_network(self, network: str) -> None:
        """Do nothing: the network of a container goes with it."""

    def image(self, tag: str) -> Image | None:
        return self._compatible.image(tag)

    def pull(self, tag: str, seen: Callable[[Transfer], None] | None = None) -> bool:
        return self._compatible.pull(tag, seen)

    def tag(self, image: str, tag: str) -> None:
        self._compatible.tag(image, values.qualified(tag))

    def build(
        self,
        context: IO[bytes],
        *,
        tag: str,
        labels: Mapping[str, str],
        args: Mapping[str, str],
    ) -> Iterator[str]:
        return self._compatible.build(context, tag=values.qualified(tag), labels=labels, args=args)

    @translated
    def import_image(self, rootfs: IO[bytes], *, tag: str, labels: Mapping[str, str]) -> None:
        changes = [f'LABEL "{key}"="{value}"' for key, value in labels.items()]
        self._ask(
            "POST",
            "/images/import",
            params={"reference": values.qualified(tag), "changes": changes},
            data=iter(lambda: rootfs.read(CHUNK_BYTES), b""),
        )

    def close(self) -> None:
        self._compatible.close()

    def _inspect(self, container: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._ask("GET", f"/containers/{container}/json").json()
        return found

    def _ask(self, method: str, path: str, **how: Any) -> Response:
        """Send a request of Podman's own API.

        Raises:
            APIError: it is refused.
        """
        address = f"{self._api.base_url}{_API}{path}"
        answer = self._api.request(method, address, timeout=REQUEST_TIMEOUT_S, **how)
        try:
            answer.raise_for_status()
        except HTTPError as error:
            create_api_error_from_http_exception(error)
        return answer

    def _each(self, ask: Callable[[Any], Any], what: Iterable[Any]) -> Iterable[Any]:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(ask, what))
