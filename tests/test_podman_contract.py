"""Podman, rootful and rootless, keeps the promises of an engine that the contract suite holds.

``OTHERWISE`` are those that it keeps in another way: ``test_podman`` shows how.
"""

from __future__ import annotations

import inspect
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker as sdk
import pytest

from jobctl.engines.base import Engine
from jobctl.engines.podman import PodmanEngine
from tests import test_engine_contract as contract
from tests.conftest import KERNEL_LACKS, PREFIX, Traces
from tests.podman import Podman
from tests.test_engine_contract import RealHost, tag

__all__ = ["tag"]

OTHERWISE = {
    # Each container has a network of its own, of which the host knows nothing.
    "test_a_network_as_it_is",
    "test_a_network_is_removed_unless_a_container_uses_it",
    "test_sixteen_who_want_a_network_at_once_get_the_same",
    "test_a_container_has_an_address_while_it_runs_in_a_network_of_its_own",
    "test_containers_of_one_network_can_not_reach_each_other",
    # It says so in other words.
    "test_every_container_is_locked_down",
    # Podman does not tell (with cgroups of version 1), and says so.
    "test_an_app_that_takes_too_much_memory_is_known_for_it",
}
RETRIED = {
    "test_an_image_that_no_registry_has_can_not_be_pulled",
    "test_a_build_on_an_image_that_is_not_there_fails",
}
"""For what Podman tries three times, a second apart. It does so for root and users alike."""
LIMITED = {
    "test_the_engine_says_how_it_is_run_and_reached",
    "test_a_paused_container_is_listed_as_paused",
    "test_what_a_running_container_uses",
    "test_many_are_asked_for_what_they_use",
    "test_cpu_time_and_bytes_are_counted",
    "test_details_are_what_a_container_was_created_with",
    "test_too_many_processes_are_refused",
}
"""What takes cgroups, of which version 1 is root's alone."""

# All that is held against any engine, or any real one.
globals().update(
    {
        name: test
        for name, test in vars(contract).items()
        if name.startswith("test_")
        and name not in OTHERWISE | RETRIED
        and {"host", "docker_host"} & set(inspect.signature(test).parameters)
    }
)


class PodmanHost(RealHost):
    """A Podman, and what a test needs beside it."""

    kind = "podman"

    def __init__(self, podman: Podman, engine: PodmanEngine, image: str, traces: Traces) -> None:
        super().__init__(engine, image, traces)
        self.podman = podman
        self.limits = engine.facts().cgroups is not None

    def uid(self, inside: int) -> int:
        return self.podman.uid(inside)

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
def host(podman_host: PodmanHost, request: pytest.FixtureRequest) -> Iterator[PodmanHost]:
    """Return each kind of Podman in turn, and remove what the test made on it."""
    if request.function.__name__ in LIMITED and not podman_host.limits:
        pytest.skip(f"{KERNEL_LACKS} cgroups of version 2, which ordinary users can have")
    yield podman_host
    for container in podman_host.traces.containers():
        podman_host.engine.remove(container)


@pytest.fixture
def docker_host(host: PodmanHost) -> PodmanHost:
    return host


@pytest.fixture
def tmp_path(podman_host: PodmanHost, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Return a directory of the user that Podman runs as, who does not get at pytest's."""
    path = podman_host.podman.directory / request.node.originalname[:30]
    path.mkdir()
    os.chown(path, podman_host.podman.account.pw_uid, podman_host.podman.account.pw_gid)
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("podman_host", ["rootful_podman"], indirect=True)
def test_an_image_that_can_not_be_had(host: PodmanHost, tag: str) -> None:
    contract.test_an_image_that_no_registry_has_can_not_be_pulled(host)
    contract.test_a_build_on_an_image_that_is_not_there_fails(host, tag)
