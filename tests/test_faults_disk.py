"""The disk of the state directory is full, or read-only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bench import assert_failed_clearly
from tests.site import Site
from tests.wholeness import PASSWORD, RUN, Job, assert_whole, put_right, run_job, serves

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a disk"),
]

DISK_BYTES = 1 << 20
PAGE_BYTES = 4096


@pytest.fixture
def disk(site: Site) -> Iterator[Path]:
    """Return the state directory of the site, on a small disk of its own."""
    site.state.mkdir()
    size = f"size={DISK_BYTES},mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "jobctl-test", site.state], check=True)
    try:
        yield site.state
    finally:
        site.clear()
        # Lazily: the engine may still be letting go of a container's files.
        subprocess.run(["umount", "--lazy", site.state], check=True)


@contextmanager
def filled(disk: Path, *, but: int = 0) -> Iterator[None]:
    """Fill a disk, ``but`` for so many pages."""
    filler = disk / "filler"
    found = os.statvfs(disk)
    with filler.open("wb") as file:
        file.truncate()
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize)
    kept = filler.stat().st_size - but * PAGE_BYTES
    os.truncate(filler, kept)
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)


def test_disk_fills_up_at_each_step_of_run(site: Site, disk: Path) -> None:
    kept = run_job(site)
    pages = 0
    while True:
        print(f"{pages} pages are free")
        with filled(disk, but=pages):
            done = site.run(*RUN, stdin=f"{PASSWORD}\n", check=False)
            if done.returncode == 0:
                break
            assert_failed_clearly(done)
            assert "No space left on device" in done.stderr
            shown = site.run_json("ps", "--all", "--json")
            assert [(job["job_id"], job["status"]) for job in shown] == [
                (kept["job_id"], "launched")
            ]
        assert assert_whole(site, kept=[kept]).keys() == {kept["job_id"]}
        pages += 1
    assert pages >= 3, "a launch writes more than two files"
    put_right(site, kept=[kept])


def test_commands_work_on_a_full_disk(site: Site, disk: Path) -> None:
    job, other = run_job(site), run_job(site)
    with filled(disk):
        site.run("stop", job["job_id"])
        # Who stopped it could not be written down.
        assert _shown(site)[job["job_id"]] in ("stopped", "exited")
        assert not serves(site, job)
        assert serves(site, other)
    put_right(site, kept=[other])
    with filled(disk):
        site.run("rm", "--force", job["job_id"], other["job_id"])
        assert site.containers() == []
    assert put_right(site) == {}


def test_read_only_disk(site: Site, disk: Path) -> None:
    job, other = run_job(site), run_job(site)
    site.authority()
    with read_only(disk):
        assert _shown(site) == {job["job_id"]: "launched", other["job_id"]: "launched"}
        for command in (RUN, ("rm", "--force", job["job_id"])):
            done = site.run(*command, stdin=f"{PASSWORD}\n", check=False)
            assert_failed_clearly(done)
            assert "Read-only file system" in done.stderr
        subprocess.run(
            ["docker", "stop", "--time", "1", *job["container_ids"]],
            check=True,
            capture_output=True,
        )
        assert _shown(site) == {job["job_id"]: "exited", other["job_id"]: "launched"}
        assert_failed_clearly(site.run("start", job["job_id"], check=False))
        stopped = site.run("stop", other["job_id"], check=False)
        assert "Traceback" not in stopped.stderr
        assert (_shown(site)[other["job_id"]] == "launched") == serves(site, other)
    put_right(site)
    for one in (job, other):
        site.run("start", one["job_id"])
    put_right(site, kept=[job, other])


def _shown(site: Site) -> dict[str, str]:
    jobs: list[Job] = site.run_json("ps", "--all", "--json")
    return {job["job_id"]: job["status"] for job in jobs}
