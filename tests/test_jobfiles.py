"""Files on disk: private, whole or not at all, and found by the id of their job."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobctl import jobfiles
from jobctl.errors import JobctlError
from tests.conftest import file_size_limit

# Writes with the widest umask, and is killed by the kernel at the first byte beyond the tenth.
WRITE_AND_DIE = """
import os, resource, signal, sys
from pathlib import Path
from jobctl.jobfiles import write_private
os.umask(0)
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
write_private(Path(sys.argv[1]), b"new " * 100)
"""


@pytest.fixture
def widest_umask() -> Iterator[None]:
    """Let whoever makes a file without care make it for everybody."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


# Writing


@pytest.mark.usefixtures("widest_umask")
@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_for_its_owner_only(home: Path, durable: bool) -> None:
    jobfiles.write_private(home / "secret", b"data", durable=durable)

    assert contents(home) == {"secret": b"data"}
    assert mode(home / "secret") == 0o600


@pytest.mark.usefixtures("widest_umask")
def test_a_file_that_was_too_open_is_replaced_by_a_private_one(home: Path) -> None:
    (home / "secret").write_bytes(b"old")
    (home / "secret").chmod(0o666)

    jobfiles.write_private(home / "secret", b"new")

    assert mode(home / "secret") == 0o600


def test_a_file_is_private_from_its_first_moment_and_whole_or_not_there(home: Path) -> None:
    (home / "secret").write_bytes(b"old")

    done = subprocess.run([sys.executable, "-c", WRITE_AND_DIE, home / "secret"], check=False)

    assert done.returncode == -signal.SIGXFSZ
    assert (home / "secret").read_bytes() == b"old"
    (torn,) = set(home.iterdir()) - {home / "secret"}
    assert mode(torn) == 0o600


def test_what_a_killed_writer_left_is_in_nobody_s_way(home: Path) -> None:
    subprocess.run([sys.executable, "-c", WRITE_AND_DIE, home / "secret"], check=False)
    assert list(home.iterdir()) != []

    jobfiles.write_private(home / "secret", b"new")

    assert contents(home) == {"secret": b"new"}


def test_a_reader_that_has_the_old_file_open_goes_on_reading_it(home: Path) -> None:
    jobfiles.write_private(home / "data", b"old")
    with (home / "data").open("rb") as reader:
        jobfiles.write_private(home / "data", b"new")

        assert reader.read() == b"old"


def test_a_symbolic_link_is_replaced_not_followed(home: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"untouched")
    (home / "secret").symlink_to(elsewhere)

    jobfiles.write_private(home / "secret", b"data")

    assert elsewhere.read_bytes() == b"untouched"
    assert not (home / "secret").is_symlink()
    assert (home / "secret").read_bytes() == b"data"


def test_a_symbolic_link_in_place_of_the_scratch_file_is_not_followed(
    home: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"untouched")
    for name in ("secret.new", "secret.tmp"):
        (home / name).symlink_to(elsewhere)

    jobfiles.write_private(home / "secret", b"data")

    assert elsewhere.read_bytes() == b"untouched"
    assert (home / "secret").read_bytes() == b"data"


def test_a_full_disk_leaves_the_old_file_and_is_told_in_words_that_name_the_file(
    home: Path,
) -> None:
    (home / "secret").write_bytes(b"old")

    with pytest.raises(JobctlError, match=r"can't write .*secret"), file_size_limit(10):
        jobfiles.write_private(home / "secret", b"new " * 100)

    assert contents(home) == {"secret": b"old"}


# A job's files


def test_the_files_of_a_job_are_those_that_start_with_its_id(home: Path) -> None:
    mine = {"job_800.key", "job_800.crt", "job_800_htpasswd", "job_800_config.txt", "job_800_"}
    others = {"job_8000.key", "job_8001_config.txt", "job_80.crt", "xjob_800.key", "job_800"}
    for name in mine | others | {"connections.txt", "ca.key"}:
        (home / name).write_bytes(b"")

    assert {path.name for path in jobfiles.files_of(home, "job_800")} == mine


def test_removing_takes_all_of_a_job_and_nothing_else(home: Path) -> None:
    for name in ("job_800.key", "job_800_htpasswd", "job_800.key.new", "job_8000.key", "ca.key"):
        (home / name).write_bytes(b"")

    jobfiles.remove(home, "job_800")

    assert set(contents(home)) == {"job_8000.key", "ca.key"}


def test_removing_a_link_leaves_what_it_points_to(home: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"untouched")
    (home / "job_800_data").symlink_to(tmp_path / "elsewhere")
    (home / "job_800_dangling").symlink_to(tmp_path / "absent")

    jobfiles.remove(home, "job_800")

    assert contents(home) == {}
    assert (tmp_path / "elsewhere").read_bytes() == b"untouched"


def test_removing_takes_a_directory_that_an_app_s_module_made(home: Path) -> None:
    (home / "job_800_config.d").mkdir()
    (home / "job_800_config.d/part").write_bytes(b"")

    jobfiles.remove(home, "job_800")

    assert contents(home) == {}


def test_removing_what_is_gone_is_fine(home: Path) -> None:
    jobfiles.remove(home, "job_800")

    assert contents(home) == {}


def test_handing_over_leaves_files_to_one_user(home: Path) -> None:
    (home / "job_800.key").write_bytes(b"")
    (home / "job_800.key").chmod(0o644)
    (home / "job_8000.key").write_bytes(b"")
    (home / "job_8000.key").chmod(0o644)

    jobfiles.hand_over(home, "job_800", os.getuid())

    assert mode(home / "job_800.key") == 0o600
    assert mode(home / "job_8000.key") == 0o644


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_root_hands_a_job_s_files_to_the_user_that_containers_run_as(home: Path) -> None:
    for name in ("job_800.key", "job_8000.key"):
        (home / name).write_bytes(b"")

    jobfiles.hand_over(home, "job_800", 65532)

    given, kept = (home / "job_800.key").stat(), (home / "job_8000.key").stat()
    assert (given.st_uid, given.st_gid, stat.S_IMODE(given.st_mode)) == (65532, 65532, 0o600)
    assert kept.st_uid == 0


def test_a_link_is_never_handed_over(home: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"")
    elsewhere.chmod(0o644)
    (home / "job_800_config").symlink_to(elsewhere)

    with pytest.raises(JobctlError, match="job_800_config"):
        jobfiles.hand_over(home, "job_800", os.getuid())

    assert mode(elsewhere) == 0o644


# The directory


@pytest.mark.usefixtures("widest_umask")
def test_a_user_s_directory_is_made_private(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "state" / "user"

    jobfiles.ensure_private_directory(directory)

    assert mode(directory) == 0o700


def test_a_user_s_directory_that_was_too_open_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)

    jobfiles.ensure_private_directory(tmp_path)

    assert mode(tmp_path) == 0o700


def test_a_file_in_place_of_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"")

    with pytest.raises(JobctlError, match=f"{tmp_path}/state/user.*user_dir_base"):
        jobfiles.ensure_private_directory(tmp_path / "state/user")


def test_a_user_may_keep_the_directory_elsewhere_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir(mode=0o755)
    (tmp_path / "user").symlink_to(tmp_path / "scratch")

    jobfiles.ensure_private_directory(tmp_path / "user")

    assert mode(tmp_path / "scratch") == 0o700


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a directory for somebody else")
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 65532, 65532)

    with pytest.raises(JobctlError, match="belongs to uid 65532"):
        jobfiles.ensure_private_directory(tmp_path)
