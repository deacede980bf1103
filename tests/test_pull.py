"""Images that come from a registry: a real one, on loopback."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobctl.engines.base import Transfer
from jobctl.engines.docker import DockerEngine
from tests.conftest import Traces
from tests.image_registry import serving
from tests.site import Site
from tests.terminal import Terminal

pytestmark = pytest.mark.engine

SMALL, LARGE = 100_000, 30_000_000
SERVE = [
    "sh",
    "-c",
    "while true; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\n' | nc -l -p 9000; done",
]


@dataclass
class Registry:
    """A registry of this test's own; the engine takes one on loopback without TLS."""

    address: str
    directory: Path
    traces: Traces

    def offer(self, engine: DockerEngine, base: str, *, payload: bytes) -> str:
        """Have an image that the engine does not have any more, and return its name."""
        name = f"{self.address}/{self.traces.prefix}-{secrets.token_hex(4)}:1"
        (self.directory / "Dockerfile").write_text(f"FROM {base}\nCOPY payload /\n")
        (self.directory / "payload").write_bytes(payload)
        for command in (["build", "--quiet", "--tag", name, self.directory], ["push", name]):
            subprocess.run(["docker", *command], check=True, capture_output=True)
        self.traces.api.remove_image(name, force=True)
        assert engine.image(name) is None
        return name


@pytest.fixture(scope="module")
def registry(traces: Traces, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    directory = tmp_path_factory.mktemp("registry")
    with serving(directory) as address:
        yield Registry(address, directory, traces)


@pytest.fixture
def offered(
    request: pytest.FixtureRequest,
    registry: Registry,
    engine: DockerEngine,
    tiny_image: str,
    traces: Traces,
) -> Iterator[str]:
    """Return the name of an image with something of its own, a small one, removed at the end."""
    payload = secrets.token_bytes(getattr(request, "param", SMALL))
    name = registry.offer(engine, tiny_image, payload=payload)
    yield name
    if engine.image(name):
        traces.api.remove_image(name, force=True)


def test_an_image_is_pulled_and_it_is_told_how_much_of_it_has_come(
    engine: DockerEngine, offered: str
) -> None:
    seen: list[Transfer] = []

    assert engine.pull(offered, seen.append) is True

    assert engine.image(offered) is not None
    assert seen[-1].done == seen[-1].total > SMALL
    assert [one.done for one in seen] == sorted(one.done for one in seen)


def test_a_tag_that_the_registry_lacks_is_not_pulled(engine: DockerEngine, offered: str) -> None:
    assert engine.pull(offered.removesuffix(":1") + ":2") is False
    assert engine.image(offered) is None


def test_a_pull_that_breaks_off_did_not_work(
    engine: DockerEngine, offered: str, registry: Registry
) -> None:
    """The engine answers that it begins, and then tells of the error in its answer."""
    layers = [path for path in registry.directory.rglob("data") if path.stat().st_size > SMALL]
    for layer in layers:
        layer.write_bytes(layer.read_bytes()[:-1] + b"x")
    seen: list[Transfer] = []

    assert engine.pull(offered, seen.append) is False

    assert seen, "it had begun"
    assert engine.image(offered) is None


def launching(image: str) -> list[str]:
    """Return the command that launches an image that has busybox."""
    # Its nc listens on all addresses.
    options = ["--app-port", "9000", "--generate-password", "--set", "allow_bypass=true"]
    return ["run", "--image", image, *options, "--", *SERVE]


def test_an_app_s_image_is_pulled_for_its_launch(site: Site, offered: str) -> None:
    done = site.run(*launching(offered))

    assert f"{offered}: pulling\n" in done.stderr
    (job,) = site.run_json("ps", "--json")
    assert (job["image"], job["status"]) == (offered, "launched")
    # Once it is there, no registry is asked.
    assert "pulling" not in site.run(*launching(offered)).stderr


@pytest.mark.parametrize("offered", [LARGE], indirect=True)
def test_how_much_has_come_is_drawn(site: Site, offered: str) -> None:
    terminal = Terminal(site, *launching(offered))

    terminal.see(rf"^. {offered}: pulling  \d+ [kM]?B of \d+ [kM]?B")

    assert terminal.end() == 0
    assert "is running" in terminal.text.splitlines()[0]
    assert "pulling" not in terminal.text


def test_an_image_that_no_registry_gives(site: Site, registry: Registry) -> None:
    name = f"{registry.address}/absent"

    done = site.run("run", "--image", name, "--generate-password", check=False)

    assert done.returncode == 1
    assert name in done.stderr
    site.assert_nothing_left()
