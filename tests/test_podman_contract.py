"""Podman, rootful and rootless, keeps the promises of an engine that the contract suite holds.

``OTHERWISE`` are those that it keeps in another way: ``test_podman`` shows how.
"""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import docker as sdk
import pytest

from jobctl.engines.base import Engine
from jobctl.engines.podman import PodmanEngine
from tests import test_engine_contract as contract
from tests.conftest import PREFIX, Traces
from tests.podman import Podman
from tests.test_engine_contract import RealHost, tag

__all__ = ["tag"]

OTHERWISE: set[str] = set()

# All that is held against any engine, or any real one.
globals().update(
    {
        name: test
        for name, test in vars(contract).items()
        if name.startswith("test_")
        and name not in OTHERWISE
        and {"host", "docker_host"} & set(inspect.signature(test).parameters)
    }
)


class PodmanHost(RealHost):
    """A Podman, and what a test needs beside it."""

    kind = "podman"

    def __init__(self, podman: Podman, engine: PodmanEngine, image: str, traces: Traces) -> None:
        super().__init__(engine, image, traces)
        self.podman = podman

    @contextmanager
    def another_connection(self) -> Iterator[Engine]:
        engine = PodmanEngine(self.podman.endpoint)
        yield engine
        engine.close()


@pytest.fixture(params=["rootful_podman", "rootless_podman"], scope="module")
def podman_host(request: pytest.FixtureRequest, tiny_image: str) -> Iterator[PodmanHost]:
    podman: Podman = request.getfixturevalue(request.param)
    podman.load(tiny_image)
    engine = PodmanEngine(podman.endpoint)
    api = sdk.APIClient(base_url=podman.endpoint, version="auto")
    traces = Traces(api, PREFIX + secrets.token_hex(1))
    yield PodmanHost(podman, engine, tiny_image, traces)
    left = traces.left()
    api.remove_image(tiny_image, force=True)
    api.close()
    engine.close()
    assert left == []


@pytest.fixture
def host(podman_host: PodmanHost) -> Iterator[PodmanHost]:
    """Return each kind of Podman in turn, and remove what the test made on it."""
    yield podman_host
    podman_host.traces.remove_containers()


@pytest.fixture
def docker_host(host: PodmanHost) -> PodmanHost:
    return host
