"""Which engine is meant: by option, environment, context, or none of these."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobctl.engines.docker import DockerEngine
from jobctl.engines.endpoints import KINDS, connect, docker_endpoints, podman_endpoints
from jobctl.errors import EngineUnreachable
from jobctl.schema import ENGINE_KINDS


@pytest.fixture(autouse=True)
def contexts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let there be no engine chosen, but two contexts to choose."""
    for name in (
        "DOCKER_HOST",
        "DOCKER_CONTEXT",
        "DOCKER_TLS_VERIFY",
        "DOCKER_CERT_PATH",
        "CONTAINER_HOST",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    for name in ("big", "old"):
        create = ["docker", "context", "create", name, "--docker", f"host=tcp://{name}.test:2376"]
        subprocess.run(create, check=True, capture_output=True)
    return tmp_path


def meant(context: str | None = None) -> list[tuple[str, str]]:
    return [(one.url, one.chosen_by) for one in docker_endpoints(context)]


USUAL = [("unix:///var/run/docker.sock", "the usual place")]
BIG = [("tcp://big.test:2376", "the context big")]
OLD = [("tcp://old.test:2376", "the context old")]


def test_without_any_choice_the_usual_places(contexts: Path) -> None:
    assert meant() == USUAL

    (contexts / "docker.sock").touch()

    rootless = (f"unix://{contexts}/docker.sock", "the usual place of a rootless engine")
    assert meant() == [*USUAL, rootless]


def test_what_is_named_more_closely_goes_first(
    contexts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (contexts / "config.json").write_text('{"currentContext": "old"}')
    assert meant() == OLD

    monkeypatch.setenv("DOCKER_CONTEXT", "big")
    assert meant() == BIG

    monkeypatch.setenv("DOCKER_HOST", "ssh://elsewhere")
    assert meant() == [("ssh://elsewhere", "DOCKER_HOST")]
    assert meant("old") == OLD


def test_the_default_context_is_that_of_no_choice(
    contexts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (contexts / "config.json").write_text('{"currentContext": "old"}')

    assert meant("default") == USUAL

    monkeypatch.setenv("DOCKER_HOST", "ssh://elsewhere")
    assert meant("default") == [("ssh://elsewhere", "DOCKER_HOST")]


@pytest.mark.parametrize("how", ["option", "environment"])
def test_a_context_that_is_not_there(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "environment":
        monkeypatch.setenv("DOCKER_CONTEXT", "nowhere")

    with pytest.raises(EngineUnreachable, match='no context "nowhere"; see: docker context ls'):
        connect(context="nowhere" if how == "option" else None)


def test_a_context_that_is_damaged(contexts: Path) -> None:
    for path in contexts.glob("contexts/meta/*/meta.json"):
        path.write_text("{")

    with pytest.raises(EngineUnreachable, match='context "big" can\'t be used'):
        connect(context="big")


def test_the_engine_of_a_context_is_told_to_have_been_chosen_by_it(engine: DockerEngine) -> None:
    create = ["docker", "context", "create", "real", "--docker", f"host={engine.endpoint}"]
    subprocess.run(create, check=True, capture_output=True)

    found = connect(context="real")
    facts = found.facts()
    found.close()

    assert (facts.endpoint, facts.chosen_by) == (engine.endpoint, "the context real")


def test_where_a_podman_is_looked_for(contexts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One's own goes before root's, and what is named before both."""
    own = (f"unix://{contexts}/podman/podman.sock", "the usual place of a rootless Podman")
    usual = ("unix:///run/podman/podman.sock", "the usual place")

    def found(context: str | None = None) -> list[tuple[str, str]]:
        return [(one.url, one.chosen_by) for one in podman_endpoints(context)]

    assert found() == ([usual] if os.getuid() == 0 else [own, usual])

    (contexts / "podman").mkdir()
    (contexts / "podman/podman.sock").touch()
    assert found() == [own, usual]

    monkeypatch.setenv("CONTAINER_HOST", "unix:///elsewhere")
    assert found() == [("unix:///elsewhere", "CONTAINER_HOST")]
    assert found("big") == BIG


@pytest.mark.parametrize(
    ("host", "advice"),
    [
        (None, "podman.socket, or without systemd: podman system service"),
        ("unix:///elsewhere", "Mend CONTAINER_HOST"),
        ("ssh://core@elsewhere/run/podman.sock", "run jobctl on that host"),
    ],
)
def test_how_to_have_a_podman_answer(
    host: str | None, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if host:
        monkeypatch.setenv("CONTAINER_HOST", host)

    code, complaint = told("--engine", "podman", "ps", root=Path(os.environ["HOME"]))

    assert (code, advice in complaint) == (1, True), complaint


def test_an_engine_that_is_no_podman(engine: DockerEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTAINER_HOST", engine.endpoint)

    with pytest.raises(EngineUnreachable, match="that is no Podman"):
        connect("podman")


def test_every_kind_that_can_be_configured_has_an_adapter() -> None:
    assert set(KINDS) == set(ENGINE_KINDS)


def told(*arguments: str, root: Path) -> tuple[int, str]:
    """Return what the command line ends with, and what it complains of."""
    (root / "config.yaml").write_text("general: {engine: docker}\n")
    config = ["--config", str(root / "config.yaml")]
    command = [sys.executable, "-m", "jobctl", *config, *arguments]
    env = os.environ | {"XDG_STATE_HOME": str(root / "state")}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", [["ps"], ["run", "--image", "any"], ["prune"]])
def test_commands_ask_the_engine_that_options_name(command: list[str], contexts: Path) -> None:
    code, complaint = told("--context", "nowhere", *command, root=contexts)

    assert (code, 'no context "nowhere"' in complaint) == (1, True)


def test_doctor_looks_at_the_engine_that_options_name(contexts: Path) -> None:
    command = [sys.executable, "-m", "jobctl", "--context", "nowhere", "doctor"]
    env = os.environ | {"XDG_STATE_HOME": str(contexts / "state")}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)

    assert 'no context "nowhere"' in done.stdout


def test_a_kind_of_engine_that_there_is_not(contexts: Path) -> None:
    code, complaint = told("--engine", "lxc", "ps", root=contexts)

    assert (code, 'jobctl: --engine "lxc": expected one of: docker' in complaint) == (2, True)
