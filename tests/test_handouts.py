"""What is handed out: as CSV and JSON, in a file that is private and takes the place of none."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from jobctl.errors import JobctlError, Unwritable, UsageError
from jobctl.handouts import Entry, HandOut, entry
from tests.bad_input import MD5, a_job
from tests.conftest import file_size_limit

ENTRIES = [
    entry(1, a_job(password_hash=f"test:demo:{MD5}", tls_fingerprint="aa"), "pw-1", "cc"),
    entry(2, a_job(job_id="job_8001", open_url="https://job-8001.localhost:8001/"), "pw-2", "cc"),
]
FIRST = {
    "number": 1,
    "job_id": "job_8000",
    "open_url": "https://localhost:8000/",
    "url": "https://localhost:8000/",
    "user": "test",
    "password": "pw-1",
    "tls_fingerprint": "aa",
    "ca_fingerprint": "cc",
}


def test_as_csv(tmp_path: Path) -> None:
    path = tmp_path / "class.csv"

    HandOut(path).write(ENTRIES)

    assert b"\r" not in path.read_bytes()
    with path.open(newline="") as file:
        first, second = csv.DictReader(file)
    assert first == {key: str(value) for key, value in FIRST.items()}
    assert (second["user"], second["password"]) == ("", ""), "an app without a password"
    assert second["open_url"] == "https://job-8001.localhost:8001/"


def test_as_json(tmp_path: Path) -> None:
    path = tmp_path / "class.JSON"

    HandOut(path).write(ENTRIES)

    first, second = json.loads(path.read_text())
    assert first == FIRST
    assert list(first) == list(Entry._fields)
    assert second["password"] is None


def test_it_is_private_from_birth_and_when_it_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "class.csv"
    file = HandOut(path)
    born = path.stat()

    file.write(ENTRIES)

    assert (born.st_mode & 0o777, born.st_size) == (0o600, 0)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_ino != born.st_ino
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("link", [False, True])
def test_what_is_there_stays(tmp_path: Path, link: bool) -> None:
    path = tmp_path / "class.csv"
    if link:
        path.symlink_to(tmp_path / "nowhere")
    else:
        path.write_text("the last class")

    with pytest.raises(JobctlError, match=r"class\.csv is there already.*choose another name"):
        HandOut(path)
    assert link or path.read_text() == "the last class"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_beside_it_stays(tmp_path: Path) -> None:
    beside = tmp_path / "class.csv.new"
    beside.write_text("for next year")

    with pytest.raises(JobctlError, match=r"class\.csv\.new is there already"):
        HandOut(tmp_path / "class.csv")
    assert list(tmp_path.iterdir()) == [beside]


@pytest.mark.parametrize("name", ["class", "class.txt", ".csv"])
def test_a_name_that_does_not_say_which(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"ends with \.csv or \.json"):
        HandOut(tmp_path / name)


@pytest.mark.parametrize("place", ["missing/class.csv", "a\0.csv", "x" * 300 + ".csv"])
def test_a_place_that_can_not_be(tmp_path: Path, place: str) -> None:
    with pytest.raises(Unwritable, match="choose another place"):
        HandOut(tmp_path / place)


def test_a_full_disk_leaves_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "class.csv"
    file = HandOut(path)
    file.write(ENTRIES)
    before = path.read_bytes()

    with file_size_limit(10), pytest.raises(Unwritable, match=r"can't write .*class\.csv"):
        file.write(ENTRIES)
    assert path.read_bytes() == before
