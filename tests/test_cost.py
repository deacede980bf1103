"""What commands cost, in modules imported and requests made: sets and numbers, not times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine_proxy import EngineProxy
from tests.site import PROJECT, Site
from tests.wholeness import through

SCRIPT = """
import sys
from jobctl import cli
sys.argv = ["jobctl", *sys.argv[1:]]
cli.run()
print(*sys.modules, file=sys.stderr)
"""
# Of any command; Typer looks which shell it is in.
TYPER = {"annotated_doc", "shellingham", "typer"}
FRONT = {
    *("cli", "cli.commands", "cli.context", "cli.progress", "cli.screen", "cli.shells"),
    *("cli.streams", "cli.words", "errors", "progress"),
}
RECORDS = {"job", "jobfiles", "locks", "ownership", "paths", "registry"}
CONFIG = {"config", "durations", "placeholders", "schema", "validation", "yamlfile"}
MSGSPEC = {"msgspec", "typing_extensions"}
SDK = {"certifi", "charset_normalizer", "docker", "idna", "requests", "urllib3"}


def imports(*arguments: str, env: dict[str, str]) -> tuple[set[str], set[str]]:
    """Return which of jobctl's modules a command imports, and which packages of others."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        check=True,
    )
    names = set(done.stderr.split("\n")[-2].split())
    ours = {name.removeprefix("jobctl.") for name in names if name.startswith("jobctl.")}
    others = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names)
    # What comes with each start of Python in this environment.
    bare = {
        "jobctl",
        "cython_runtime",
        "__main__",
        "__mp_main__",
        "sitecustomize",
        "_distutils_hack",
    }
    return ours, {name for name in others - bare if not name.startswith(("__editable__", "_"))}


def test_help_imports_the_parser_and_nothing_that_does_anything(tmp_path: Path) -> None:
    assert imports("--help", env={"HOME": str(tmp_path)}) == (FRONT, TYPER)


@pytest.mark.engine
def test_the_version_asks_the_engine_without_the_docker_sdk(tmp_path: Path) -> None:
    ours, others = imports("--version", env={"HOME": str(tmp_path)})

    assert (ours, others) == (FRONT | {"engines", "engines.greeting", "paths"}, TYPER)


def test_completion_imports_what_reads_the_records(tmp_path: Path) -> None:
    env = {
        "HOME": str(tmp_path),
        "_JOBCTL_COMPLETE": "complete_bash",
        "COMP_WORDS": "jobctl inspect job",
        "COMP_CWORD": "2",
    }

    assert imports(env=env) == (FRONT | RECORDS | {"cli.jobs"}, TYPER | MSGSPEC)


def test_completion_reads_a_configuration_of_the_user_s_own(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("apps: {}")
    env = {
        "HOME": str(tmp_path),
        "JOBCTL_CONFIG": str(tmp_path / "config.yaml"),
        "_JOBCTL_COMPLETE": "complete_bash",
        "COMP_WORDS": "jobctl inspect job",
        "COMP_CWORD": "2",
    }

    ours, others = imports(env=env)

    assert ours == FRONT | RECORDS | CONFIG | {"cli.jobs"}
    assert others == TYPER | MSGSPEC | {"yaml"}


@pytest.mark.engine
def test_ps_imports_the_docker_sdk_and_nothing_that_makes_jobs(tmp_path: Path) -> None:
    ours, others = imports("ps", env={"HOME": str(tmp_path)})

    assert ours == FRONT | RECORDS | CONFIG | {
        *("broker", "cli.listings", "cli.looking", "cli.render", "cli.tables"),
        *("engines", "engines.base", "engines.docker", "engines.docker_values"),
        *("engines.endpoints", "halting", "hosts", "labels", "ledger", "lifetimes"),
        *("engines.carried", "engines.docker_contexts", "engines.sdk"),
        *("observation", "place", "ports"),
    }
    assert others == TYPER | SDK | MSGSPEC | {"yaml"}


def requests(site: Site, *arguments: str) -> list[str]:
    """Return what a command asks the engine, without its questions until a job is ready."""
    socket = site.engine.local_socket
    assert socket is not None
    with EngineProxy(socket) as proxy:
        through(site, proxy.endpoint).run(*arguments)
        return [str(request) for request in proxy.requests]


@pytest.mark.engine
def test_the_requests_of_each_command(site: Site) -> None:
    run = requests(site, "run", "conduit", "--generate-password")
    first, last = run.index("POST /containers/ID/start"), len(run) - 2
    assert run[: first + 2] == [
        "GET /version",
        "GET /info",
        "GET /networks",
        "POST /containers/create",
        "POST /containers/create",
        "POST /containers/ID/start",
        "POST /containers/ID/start",
    ]
    assert set(run[first + 2 : last]) <= {"GET /containers/ID/json"}
    assert run[last:] == ["GET /containers/ID/json", "GET /containers/json"]

    (job,) = json.loads(site.run("ps", "--json").stdout)
    assert requests(site, "stop", job["job_id"]) == [
        "GET /version",
        "GET /containers/json",
        "GET /containers/json",
        *["GET /containers/ID/json", "POST /containers/ID/stop"] * 2,
        "GET /containers/ID/json",
    ]
    assert requests(site, "rm", job["job_id"]) == [
        "GET /version",
        "GET /containers/json",
        "GET /containers/json",
        "DELETE /containers/ID",
        "DELETE /containers/ID",
    ]


@pytest.mark.engine
def test_ps_asks_once_however_many_jobs(site: Site) -> None:
    once = ["GET /version", "GET /containers/json"]
    assert requests(site, "ps") == once

    for _ in range(3):
        site.run("broker", "-r", "-a", "conduit", "-p", f"x:conduit:{'0' * 32}")
    site.run("run", "conduit", "--generate-password")

    for arguments in (["ps"], ["ps", "--all"], ["ps", "--all-users"], ["ps", "-o", "json"]):
        assert requests(site, *arguments) == once


@pytest.mark.engine
def test_a_build_without_changes_asks_once_for_each_image_and_sends_nothing(site: Site) -> None:
    site.run("images", "build", "conduit")

    assert requests(site, "images", "build", "conduit") == [
        "GET /version",
        "GET /images/jobctl/gateway/json",
        "GET /images/jobctl/conduit/json",
    ]
