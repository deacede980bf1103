"""The page that teaches how to add an app, run as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.site import PROJECT, Site

PAGE = (PROJECT / "docs" / "adding-an-app.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def shape(expected: str) -> re.Pattern[str]:
    """Return what output has to look like: numbers are any numbers, an ellipsis is anything."""
    escaped = re.escape(expected.rstrip("\n"))
    return re.compile(re.sub(r"\d+", r"\\d+", escaped).replace("…", ".*"))


@pytest.fixture
def newcomer(site: Site, tmp_path: Path) -> Site:
    """Return a site whose user has no configuration yet and an empty directory."""
    site.root = tmp_path / "newcomer"
    (site.root / "work").mkdir(parents=True)
    site.root.chmod(0o755)
    del site.env["JOBCTL_CONFIG"]
    site.env |= {"HOME": str(site.root), "PATH": f"{site.command.parent}:{os.environ['PATH']}"}
    return site


@pytest.mark.engine
def test_every_command_works_as_shown(newcomer: Site) -> None:
    said = ""
    try:
        for kind, text in BLOCKS:
            if kind == "text":
                assert shape(text).fullmatch(said.rstrip("\n")), said
            elif kind == "sh":
                done = subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", text],
                    env=newcomer.env,
                    cwd=newcomer.root / "work",
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert done.returncode == 0, f"{text}{done.stdout}{done.stderr}"
                said = done.stdout
    finally:
        for image in ("jobctl/datasette", "jobctl/hello"):
            subprocess.run(["docker", "image", "rm", image], check=False, capture_output=True)
    newcomer.assert_nothing_left()


def test_every_key_that_is_shown_exists() -> None:
    from jobctl.schema import Section

    table = PAGE[PAGE.index("| to | say |") : PAGE.index("The app has to listen")]
    keys = set(re.findall(r"`([a-z_]+):", table)) - {"requirements"}

    assert {"image", "build", "command", "gpus"} <= keys <= set(Section.__struct_fields__)


def test_every_placeholder_is_named() -> None:
    from jobctl.placeholders import NAMES

    for name in (*NAMES, "args"):
        assert f"`{{{name}}}`" in PAGE
