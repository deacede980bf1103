"""``connections.txt`` is lost or damaged: it is rebuilt from labels, and the job works on."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.profile import NIGHTLY
from tests.site import Site
from tests.wholeness import put_right, run_job, serves

pytestmark = pytest.mark.engine


def _cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _garble(path: Path) -> None:
    path.write_bytes(random.Random(7).randbytes(4096))  # noqa: S311, nothing secret


def _insert_zeros(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes(512) + content[612:])


def _zero(path: Path) -> None:
    """Do as some file systems do to a file that was written when the power failed."""
    path.write_bytes(bytes(path.stat().st_size))


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "of_somebody").write_text("kept")


def _replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _replace_by_link(path: Path) -> None:
    elsewhere = path.with_name("elsewhere")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def _replace_by_dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere")


LOSSES = (Path.unlink, _empty)
DAMAGES = (
    *(_cut, _garble, _insert_zeros, _zero, _replace_by_directory, _replace_by_pipe),
    *(_replace_by_link, _replace_by_dangling_link),
)
SOME = (Path.unlink, _garble, _replace_by_dangling_link)


@pytest.mark.parametrize("command", [("ps",), ("stop", "start"), ("run", "rm")])
def test_lost_or_damaged_records_are_rebuilt(site: Site, command: tuple[str, ...]) -> None:
    """By whichever command comes first; what was damaged is kept aside."""
    job = run_job(site)
    damage: Callable[[Path], None]
    for damage in LOSSES + DAMAGES if NIGHTLY or command == ("ps",) else SOME:
        print(damage.__name__)
        damage(site.directory / "connections.txt")
        assert serves(site, job)
        if "stop" in command:
            site.run("stop", job["job_id"])
            assert not serves(site, job)
            site.run("start", job["job_id"])
        if "run" in command:
            another = run_job(site)
            assert serves(site, another)
            site.run("rm", "--force", another["job_id"])
        now = put_right(site, kept=[job])[job["job_id"]]
        what_is_on_no_label = dict.fromkeys(("pid", "restarts", "endpoint_id"))
        assert {**now, **what_is_on_no_label} == {**job, **what_is_on_no_label}
        aside = [*site.directory.glob("connections.txt.damaged-*")]
        assert len(aside) == (1 if damage in DAMAGES else 0)
        for path in aside:
            if path.is_dir():
                assert (path / "of_somebody").read_text() == "kept"
            path.rename(site.root / f"{damage.__name__}-{path.name}")
        (site.directory / "elsewhere").unlink(missing_ok=True)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files to others")
def test_records_of_another_user(users_site: Site) -> None:
    """Such as those that a command with sudo has left: they are not the caller's to read."""
    job = run_job(users_site)
    path = users_site.directory / "connections.txt"
    os.chown(path, 0, 0)
    assert put_right(users_site, kept=[job]).keys() == {job["job_id"]}
    (aside,) = users_site.directory.glob("connections.txt.damaged-*")
    assert aside.stat().st_uid == 0
    users_site.run("stop", job["job_id"])
    users_site.run("start", job["job_id"])
    put_right(users_site, kept=[job])
