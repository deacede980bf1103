"""``jobctl new``: what it writes, where, and that it leaves the rest alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobctl import apps, config, scaffold
from jobctl.errors import JobctlError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home directory without a configuration."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("JOBCTL_CONFIG", raising=False)
    return tmp_path / "home"


def create(name: str, in_force: Path | None = None) -> list[Path]:
    found = config.load(in_force or config.find())
    return scaffold.create(name, catalogue=config.catalogue(found))


def test_without_a_configuration_of_one_s_own_one_is_begun(home: Path) -> None:
    written = create("demo")

    own = home / ".config/jobctl"
    assert written == [
        own / "config.yaml",
        own / "app_modules/demo_module.py",
        own / "images/demo/Dockerfile",
        own / "images/demo/serve.py",
    ]
    found = config.load(config.find())
    assert {"demo", "conduit"} <= set(found.apps)
    assert apps.load("demo", found).source == str(written[1])


def test_the_next_one_goes_beside_it(home: Path) -> None:
    create("one")
    before = (home / ".config/jobctl/config.yaml").read_text()
    create("two-b")

    after = (home / ".config/jobctl/config.yaml").read_text()
    assert after.startswith(before)
    assert {"one", "two-b"} <= set(config.load(config.find()).apps)


def test_comments_modes_and_links_of_a_file_stay(tmp_path: Path) -> None:
    kept = tmp_path / "dotfiles.yaml"
    kept.write_text("# mine\napps:\n  old: {}  # old\n\n# about ports\ngeneral: {}\n")
    kept.chmod(0o640)
    (tmp_path / "config.yaml").symlink_to(kept)

    create("demo", tmp_path / "config.yaml")

    assert (tmp_path / "config.yaml").is_symlink()
    assert kept.stat().st_mode & 0o777 == 0o640
    assert kept.read_text().startswith("# mine\napps:\n  old: {}  # old\n")
    assert kept.read_text().endswith("\n# about ports\ngeneral: {}\n")


@pytest.mark.parametrize("name", ["Demo", "", "a/b", "../x", "a b"])
def test_a_name_that_no_app_may_have_is_refused(home: Path, name: str) -> None:
    with pytest.raises(JobctlError, match="can't be the name of an app"):
        create(name)

    assert not home.exists()


def test_an_app_that_there_is_already_is_named_with_its_source(home: Path) -> None:
    with pytest.raises(JobctlError, match=r'an app "conduit" already, from .*config\.yaml'):
        create("conduit")


def test_a_file_that_there_is_already_stays_and_nothing_is_written(home: Path) -> None:
    dockerfile = home / ".config/jobctl/images/demo/Dockerfile"
    dockerfile.parent.mkdir(parents=True)
    dockerfile.write_text("mine")

    with pytest.raises(JobctlError, match=r"Dockerfile is there already"):
        create("demo")

    assert dockerfile.read_text() == "mine"
    assert [path for path in home.rglob("*") if path.is_file()] == [dockerfile]


def test_a_file_that_can_not_be_added_to_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("apps: {old: {}}\n")

    with pytest.raises(JobctlError, match="one key a line"):
        create("demo", tmp_path / "config.yaml")

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "config.yaml"]
    assert (tmp_path / "config.yaml").read_text() == "apps: {old: {}}\n"
