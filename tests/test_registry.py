"""``connections.txt``: replaced whole, private, never losing a line, safe among processes."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from jobctl.errors import JobctlError
from jobctl.job import Job, from_dict
from jobctl.locks import Locks
from jobctl.registry import Registry
from tests.conftest import file_size_limit

# A process that adds jobs one by one, and one that is killed in the middle of a change.
ADD = """
import sys
from pathlib import Path
from jobctl.job import from_dict
from jobctl.locks import Locks
from jobctl.registry import Registry
directory, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
registry = Registry(directory, Locks(directory))
for port in range(first, first + count):
    registry.put(
        from_dict(
            dict(job_id=f"job_{port}", app="a", port=str(port), protocol="https", host="h",
                 owner="o", job_root="/r/", status="launched", creation_timestamp=1)
        ),
        durable=False,
    )
"""
ADD_AND_DIE = """
import os, resource, signal, sys
from pathlib import Path
from jobctl.locks import Locks
from jobctl.registry import Registry
directory, where = Path(sys.argv[1]), sys.argv[2]
registry = Registry(directory, Locks(directory))
if where == "before writing":
    with registry.edit() as jobs:
        jobs.clear()
        os.kill(os.getpid(), signal.SIGKILL)
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))
with registry.edit() as jobs:
    jobs.popitem()
"""


def job(port: int = 8000, **changes: Any) -> Job:
    values = {
        **{"job_id": f"job_{port}", "app": "demo", "port": str(port), "protocol": "https"},
        **{"host": "h", "owner": "o", "job_root": "/r/", "status": "launched"},
        "creation_timestamp": 1,
    }
    return from_dict(values | changes)


def lines(registry: Registry) -> list[str]:
    return registry.path.read_text().splitlines()


def aside(registry: Registry) -> bytes:
    """Return what was set aside."""
    return b"".join(path.read_bytes() for path in registry.path.parent.glob("*.damaged-*"))


def test_there_are_no_jobs_before_the_first(registry: Registry) -> None:
    assert registry.read() == {}
    assert len(registry.parse()[1].lines) == 0
    assert not registry.path.exists()


def test_a_job_is_one_line_of_json(registry: Registry) -> None:
    registry.put(job(8000))
    registry.put(job(8001))

    assert registry.path.name == "connections.txt"
    assert [json.loads(line)["job_id"] for line in lines(registry)] == ["job_8000", "job_8001"]
    assert registry.path.read_text().endswith("\n")


def test_a_line_of_the_older_scripts_is_a_job(registry: Registry) -> None:
    registry.path.write_text(
        '{"job_root": "/project/shared/home/test/", "app": "conduit", "job_id": "job_8000", '
        '"port": "8000", "creation_timestamp": 1462323460, "config": null, "app_path": "/x", '
        '"status": "launched", "password_hash": "test:test:4d7e319876e0192ec7e422c53d4ba80a", '
        '"hash_algorithm": "apache_md5_digest", "pid": 7767, "owner": "test", '
        '"protocol": "https", "host": "test-pc"}'
    )

    assert registry.read()["job_8000"].pid == 7767
    assert len(registry.parse()[1].lines) == 0


def test_jobs_are_kept_in_the_order_they_came(registry: Registry) -> None:
    for port in (8002, 8000, 8001):
        registry.put(job(port))

    registry.put(job(8002, status="stopped"))

    assert list(registry.read()) == ["job_8002", "job_8000", "job_8001"]
    assert registry.read()["job_8002"].status == "stopped"


def test_dropping_forgets_one_job_and_is_fine_with_none(registry: Registry) -> None:
    registry.put(job(8000))
    registry.put(job(8001))

    registry.drop("job_8000")
    registry.drop("job_8000")

    assert list(registry.read()) == ["job_8001"]


def test_keys_of_a_newer_version_survive_a_change(registry: Registry) -> None:
    registry.put(job(8000, colour={"deep": [1, 2.5, None]}))

    with registry.edit() as jobs:
        jobs["job_8000"] = jobs["job_8000"].with_(status="stopped")

    assert json.loads(lines(registry)[0])["colour"] == {"deep": [1, 2.5, None]}


def test_the_file_is_for_its_owner_only(registry: Registry) -> None:
    before = os.umask(0)
    try:
        registry.put(job())
    finally:
        os.umask(before)

    for path in registry.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_an_exception_leaves_the_records_as_they_were(registry: Registry) -> None:
    registry.put(job(8000))
    before = registry.path.read_bytes()

    def clear_and_fail() -> None:
        with registry.edit() as jobs:
            jobs.clear()
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        clear_and_fail()

    assert registry.path.read_bytes() == before
    registry.put(job(8001))  # the lock is free again
    assert list(registry.read()) == ["job_8000", "job_8001"]


def test_looking_without_changing_writes_nothing(registry: Registry) -> None:
    registry.put(job())
    before = registry.path.stat().st_ino

    with registry.edit():
        pass

    assert registry.path.stat().st_ino == before


# Damage


@pytest.mark.parametrize(
    "damage",
    [
        b'{"job_id": "job_8001", "app',
        b"not json at all",
        b"[]",
        b'"job_8001"',
        b"{}",
        b'{"job_id": 8001}',
        b"\xff\xfe\x00",
        b'{"job_id": "\xff"}',
        b'{"job_id": "\\ud800"}',
        b"\0\0\0\0",
        b" ",
        b'{"a":' * 5000,
    ],
    ids=lambda damage: damage[:24].decode(errors="replace"),
)
def test_a_line_that_is_no_job_is_set_aside_by_the_next_change(
    registry: Registry, damage: bytes
) -> None:
    registry.put(job(8000))
    with registry.path.open("ab") as file:
        file.write(damage + b"\n")

    assert list(registry.read()) == ["job_8000"]
    assert len(registry.parse()[1].lines) == 1
    assert aside(registry) == b""

    registry.put(job(8002))

    assert list(registry.read()) == ["job_8000", "job_8002"]
    assert len(registry.parse()[1].lines) == 0
    assert aside(registry) == damage + b"\n"


def test_a_record_whose_id_does_not_go_with_its_port_is_damage(registry: Registry) -> None:
    registry.put(job(8000))
    registry.path.write_text(registry.path.read_text().replace('"8000"', '"8001"'))

    assert registry.read() == {}
    assert len(registry.parse()[1].lines) == 1


def test_lines_that_are_set_aside_at_different_times_are_all_kept(registry: Registry) -> None:
    for damage in (b"first", b"second"):
        with registry.path.open("ab") as file:
            file.write(damage + b"\n")
        with registry.edit():
            pass
        time.sleep(0.002)

    assert sorted(aside(registry).splitlines()) == [b"first", b"second"]


def test_what_is_set_aside_is_private_too(registry: Registry) -> None:
    registry.path.write_text("damage\n")
    before = os.umask(0)
    try:
        registry.put(job())
    finally:
        os.umask(before)

    (path,) = registry.path.parent.glob("*.damaged-*")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["directory", "fifo", "link", "another user's"])
def test_what_is_no_file_of_the_user_s_is_moved_aside_as_a_whole(
    registry: Registry, tmp_path: Path, kind: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    if kind == "directory":
        registry.path.mkdir()
    elif kind == "fifo":
        os.mkfifo(registry.path)
    elif kind == "link":
        registry.path.symlink_to(elsewhere)
    else:
        registry.path.write_text("theirs")
        _give_away(registry.path)

    assert registry.read() == {}
    registry.put(job())

    assert list(registry.read()) == ["job_8000"]
    assert stat.S_ISREG(registry.path.lstat().st_mode)
    assert len(list(registry.path.parent.glob("connections.txt.damaged-*"))) == 1
    assert elsewhere.read_text() == "precious"


def _give_away(path: Path) -> None:
    """Let a file be one that its reader has no right to: as root, another user's."""
    if os.getuid() == 0:
        os.chown(path, 65534, 65534)
    else:
        path.chmod(0)


# Full disks


def test_a_full_disk_leaves_the_records_and_is_told_in_words(registry: Registry) -> None:
    registry.put(job(8000))
    record = registry.path.read_bytes()

    with pytest.raises(JobctlError, match=r"can't write .*connections\.txt"), file_size_limit(50):
        registry.put(job(8001))

    assert registry.path.read_bytes() == record
    assert {path.name for path in registry.path.parent.iterdir()} == {
        "connections.txt",
        "connections.lock",
    }


def test_a_full_disk_loses_no_damaged_line(registry: Registry) -> None:
    registry.put(job(8000))
    damaged = registry.path.read_bytes() + b"x" * 100 + b"\n"
    registry.path.write_bytes(damaged)

    with pytest.raises(JobctlError, match="can't write"), file_size_limit(50):
        registry.put(job(8001))

    assert registry.path.read_bytes() == damaged


# Other processes


def test_processes_that_write_at_once_lose_nothing(registry: Registry) -> None:
    directory = registry.path.parent
    writers = [
        subprocess.Popen([sys.executable, "-c", ADD, directory, str(first), "20"])
        for first in (8000, 8100, 8200, 8300)
    ]

    assert [writer.wait() for writer in writers] == [0, 0, 0, 0]
    ports = {int(found.port) for found in registry.read().values()}
    assert ports == {first + n for first in (8000, 8100, 8200, 8300) for n in range(20)}
    assert len(registry.parse()[1].lines) == 0


def test_threads_that_write_at_once_lose_nothing(registry: Registry) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda port: registry.put(job(port), durable=False), range(8000, 8040)))

    assert len(registry.read()) == 40


def test_a_reader_sees_whole_records_while_others_write(registry: Registry) -> None:
    directory = registry.path.parent
    with subprocess.Popen([sys.executable, "-c", ADD, directory, "8000", "60"]) as writer:
        seen = [0]
        while writer.poll() is None:
            seen.append(len(registry.read()))
            assert len(registry.parse()[1].lines) == 0

    assert seen == sorted(seen)
    assert len(registry.read()) == 60


@pytest.mark.parametrize("where", ["before writing", "in the middle of writing"])
def test_a_writer_that_is_killed_does_no_harm(registry: Registry, where: str) -> None:
    registry.put(job(8000))
    registry.put(job(8001))
    before = registry.path.read_bytes()

    directory = registry.path.parent
    done = subprocess.run([sys.executable, "-c", ADD_AND_DIE, directory, where], check=False)

    assert done.returncode in (-signal.SIGKILL, -signal.SIGXFSZ)
    assert registry.path.read_bytes() == before
    Registry(directory, Locks(directory)).put(job(8002))
    assert list(registry.read()) == ["job_8000", "job_8001", "job_8002"]
    assert len(list(directory.iterdir())) == 2
