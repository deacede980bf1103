"""The README says what is so: its commands, options, files and figures."""

from __future__ import annotations

import re

import pytest
import yaml

from jobctl import images
from jobctl.engines.docker import DockerEngine
from tests.site import PROJECT, Site

TEXT = (PROJECT / "README.md").read_text()


@pytest.mark.engine
def test_commands_and_options_exist(site: Site) -> None:
    table = TEXT[TEXT.index("| command | does |") : TEXT.index("Each has `--help`")]
    commands = {
        tuple(words.split())
        for words in re.findall(r"`(?:jobctl )?((?:images |ca |config )?[a-z]+)(?: [^`]*)?`", table)
    }
    assert {("run",), ("images", "build"), ("ca", "export"), ("broker",)} <= commands
    shown = "".join(site.run(*command, "--help").stdout for command in commands)
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", table))
    assert options <= set(re.findall(r"--[a-z-]+", shown))


def test_files_and_make_targets_exist() -> None:
    headings = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    anchors = {"#" + heading.lower().replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(((?!http)[^)]+)\)", TEXT):
        assert target in anchors if target[0] == "#" else (PROJECT / target).exists(), target
    makefile = (PROJECT / "Makefile").read_text()
    for target in set(re.findall(r"^make ([a-z]+)", TEXT, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


@pytest.mark.engine
def test_sizes_of_the_images(engine: DockerEngine) -> None:
    stated = dict(re.findall(r"\| `(jobctl/[a-z]+)` \| (\d+) MB \|", TEXT))
    assert set(stated) == set(images.known_sources([PROJECT / "images"]))
    for tag, size in stated.items():
        image = engine.image(tag)
        assert image is not None
        assert abs(image.size / 1e6 - int(size)) < int(size) * 0.15, tag


def test_shipped_defaults() -> None:
    shipped = yaml.safe_load((PROJECT / "config.yaml").read_text())
    assert shipped["general"]["bind_address"] == "127.0.0.1"
    assert "bound to 127.0.0.1 unless" in " ".join(TEXT.split())
    assert shipped["apps"]["conduit"]["hash_algorithm"] == "apache_md5_digest"
