"""The page that teaches how to add an app, run as it stands there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.pages import Reader, not_run
from tests.site import PROJECT, Site

NAME = "docs/adding-an-app.md"
PAGE = (PROJECT / NAME).read_text()


@pytest.fixture
def newcomer(site: Site, tmp_path: Path) -> Site:
    """Return a site whose user has no configuration yet and an empty directory."""
    site.root = tmp_path / "newcomer"
    (site.root / "work").mkdir(parents=True)
    site.root.chmod(0o755)
    del site.env["JOBCTL_CONFIG"]
    site.env["HOME"] = str(site.root)
    return site


@pytest.mark.engine
def test_every_command_works_as_shown(newcomer: Site) -> None:
    assert not_run(NAME) == {}
    try:
        Reader(newcomer, newcomer.root / "work", numbers_as_shown=True).follow(NAME)
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
