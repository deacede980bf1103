"""The pages that teach jobctl, run as they stand there; the reference, made from the code."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jobctl.broker import Broker
from tests.pages import Reader, blocks, not_run, shape
from tests.site import PROJECT, Site

README = "README.md"
HOW_TO = [
    *("air-gapped-site", "cluster-node", "expose-a-job", "intercepting-proxy"),
    *("many-jobs", "shell-completion"),
]
RUN_HERE = [
    "docs/tutorial.md",
    "docs/python.md",
    *(f"docs/how-to/{name}.md" for name in HOW_TO),
]
MADE = [
    *("docs/reference/commands.md", "docs/reference/config.md", "docs/reference/errors.md"),
    "man/jobctl.1",
]

STAND_INS = {
    # An address of the network; servers under test listen on loopback.
    "192.0.2.10": "127.0.0.2",
    # Slurm would run it on a node, and tell it in time that it has to end.
    "sbatch notebook.sh": (
        "bash notebook.sh & "
        "until jobctl ps | grep -q launched; do sleep 0.2; done; "
        "kill -TERM $!; wait $! || test $? = 143"
    ),
}
README_STAND_INS = {
    "/home/alice/.local/state/jobctl/alice": "…",
    "alice": "…",
    "kD0vGmUMr2nKZ2wq3n1p-w": "…",
    "--image IMAGE": "--image jobctl/marimo",
    "COMMAND…": "marimo edit --headless --no-token --host 127.0.0.1 --port 8501",
}
NOT_RUN = {
    "docs/tutorial.md": {
        "sudo apt-get install docker.io mmdebstrap pipx": (
            "an administrator does it once, on a host that has no engine yet"
        ),
        "pipx install .": "it installs for good; the test has the command from the same checkout",
    },
    "docs/how-to/air-gapped-site.md": {
        "pip wheel --wheel-dir wheels .": "on another machine, from a package index",
        'pipx install --pip-args="--no-index --find-links wheels" jobctl': (
            "it installs for good; the test has the command from the same checkout"
        ),
    },
    "docs/how-to/cluster-node.md": {
        "scp login.example.org:jobctl-ca.crt .    # once, after: jobctl ca export jobctl-ca.crt": (
            "from another host"
        ),
    },
    "docs/how-to/expose-a-job.md": {
        "curl --cacert jobctl-ca.crt --digest --user alice https://192.0.2.10:8000/": (
            "on a colleague's machine"
        ),
    },
    "docs/how-to/intercepting-proxy.md": {
        "sudo cp site-authority.crt /usr/local/share/ca-certificates/": (
            "an administrator does it once, with the site's own certificate"
        ),
    },
    README: {
        "make test      # style, types, and the whole test suite, on a real engine and in a real "
        "browser": "it is what runs this test",
    },
}


@pytest.fixture
def reader(site: Site, tmp_path: Path) -> Reader:
    """Return somebody with an empty directory and the shipped apps."""
    low, high = site.ports
    shipped = (PROJECT / "config.yaml").read_text()
    mine = shipped.replace("port_range: [8000, 10000]", f"port_range: [{low}, {high}]")
    assert mine != shipped
    site.config.write_text(mine)
    directory = tmp_path / "work"
    directory.mkdir()
    return Reader(site, directory, STAND_INS)


@pytest.mark.engine
@pytest.mark.parametrize("page", RUN_HERE)
def test_a_page_does_what_it_says(reader: Reader, page: str) -> None:
    assert not_run(page) == NOT_RUN.get(page, {})

    reader.follow(page)

    reader.site.assert_nothing_left()


@pytest.mark.engine
def test_the_readme_does_what_it_says(reader: Reader) -> None:
    assert not_run(README).items() <= NOT_RUN[README].items()
    checkout(reader)
    reader.stand_ins = README_STAND_INS
    said: dict[str, str] = {}

    for block in blocks(README):
        first_line = block.text.partition("\n")[0]
        if block.kind == "sh" and first_line not in NOT_RUN[README]:
            said[first_line.partition(" #")[0].strip()] = reader.run(block)

    (shown,) = (block for block in blocks(README) if "running conduit, verified" in block.text)
    assert shape(reader.adapted(shown.text)).search(said["make run"]), said["make run"]
    running = {job["app"] for job in reader.site.run_json("ps", "--json")}
    assert {"conduit", "jupyter", "tensorboard", "marimo"} <= running


def checkout(reader: Reader) -> None:
    """Give a reader a checkout, in which the command is installed, and the data it speaks of."""
    left_out = shutil.ignore_patterns(".*", "__pycache__", "site", "dist")
    shutil.copytree(PROJECT, reader.directory, dirs_exist_ok=True, ignore=left_out)
    environment = reader.directory / ".venv"
    environment.mkdir()
    (environment / "bin").symlink_to(reader.site.command.parent)
    (environment / "installed").touch()
    (reader.directory / "runs").mkdir()
    sample = reader.directory / "images/conduit/sample/mesh.json"
    (reader.directory / "results").mkdir()
    shutil.copy(sample, reader.directory / "results/mesh.json")


def test_what_python_has_is_there() -> None:
    page = (PROJECT / "docs/python.md").read_text()
    named = set(re.findall(r"`desk\.(\w+)", page))

    assert {"run", "jobs", "remove"} <= named
    assert [name for name in sorted(named) if not hasattr(Broker, name)] == []


def test_the_reference_is_that_of_the_code(tmp_path: Path) -> None:
    script = [sys.executable, "scripts/reference.py", str(tmp_path)]
    subprocess.run(script, cwd=PROJECT, check=True)

    made = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert made == MADE
    stale = [
        name for name in made if (tmp_path / name).read_bytes() != (PROJECT / name).read_bytes()
    ]
    assert stale == [], "renew them with: make reference"


def test_every_command_and_key_is_in_the_reference() -> None:
    from typer.main import get_command

    from jobctl.cli.commands import app
    from jobctl.schema import General, Section

    commands, config, _, manual = ((PROJECT / name).read_text() for name in MADE)
    for name in get_command(app).commands:  # type: ignore[attr-defined]
        assert f"## jobctl {name}\n" in commands
        assert f".SS jobctl {name}" in manual
    for key in {*General.__struct_fields__, *Section.__struct_fields__} - {"options"}:
        assert f"| `{key}` |" in config


def test_the_manual_page_is_sound() -> None:
    page = str(PROJECT / "man/jobctl.1")
    lint = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True, check=False
    )
    assert (lint.returncode, lint.stdout) == (0, "")

    shown = subprocess.run(
        ["man", "--warnings", "-l", page],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "80"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert shown.stderr == ""
    assert "jobctl - launch web applications" in shown.stdout
    assert "--generate-password" in shown.stdout


@pytest.mark.engine
def test_the_manual_page_is_installed(installed: Path) -> None:
    page = installed.parent.parent / "share/man/man1/jobctl.1"

    assert page.read_bytes() == (PROJECT / "man/jobctl.1").read_bytes()
    (marker,) = installed.parent.parent.glob("lib/python*/site-packages/jobctl/py.typed")
    assert marker.is_file()


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(build, cwd=PROJECT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    pages = {path.stem for path in (PROJECT / "docs").rglob("*.md")} - {"README"}
    assert pages <= {path.stem for path in tmp_path.rglob("*.html")}
    for page in set(tmp_path.rglob("*.html")) - {tmp_path / "project/index.html"}:
        # Nothing is loaded from elsewhere when a page is read; the README has a badge.
        assert re.findall(r'(?:src|<link[^>]*href)="https?://[^"]*"', page.read_text()) == []
