"""The job object: its documented keys, what survives a round trip, what is refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from jobctl.errors import JobctlError
from jobctl.job import MASK, Job, Status, connect_address, from_dict, job_id_of, port_of, to_dict

# The example of the older scripts' documentation, with its own order of keys.
DOCUMENTED = {
    "job_root": "/project/shared/home/test/",
    "app": "conduit",
    "job_id": "job_8000",
    "port": "8000",
    "creation_timestamp": 1462323460,
    "config": "/project/shared/home/test/job_8000_config.txt",
    "app_path": "/tmp/conduit/build-debug/tests/relay/t_relay_websocket",  # noqa: S108, as documented
    "status": "launched",
    "password_hash": "test:test:4d7e319876e0192ec7e422c53d4ba80a",
    "hash_algorithm": "apache_md5_digest",
    "pid": 7767,
    "owner": "test",
    "protocol": "https",
    "host": "test-pc",
}
DOCUMENTED_ORDER = [
    *("job_id", "app", "port", "protocol", "host", "owner", "job_root", "config", "app_path"),
    *("password_hash", "hash_algorithm", "pid", "status", "creation_timestamp"),
]
ADDED_ORDER = [
    *("url", "bind_address", "engine", "image", "container_ids", "tls_fingerprint", "expires"),
    *("exit_code", "restarts"),
]


def job(**changes: Any) -> Job:
    return from_dict(DOCUMENTED | changes)


def test_the_documented_example_loads_with_every_value() -> None:
    loaded = from_dict(DOCUMENTED)

    assert {key: getattr(loaded, key) for key in DOCUMENTED} == DOCUMENTED


def test_the_documented_example_survives_a_round_trip() -> None:
    values = to_dict(from_dict(DOCUMENTED))

    assert {key: values[key] for key in DOCUMENTED} == DOCUMENTED
    assert from_dict(json.loads(json.dumps(values))) == from_dict(DOCUMENTED)


def test_the_documented_keys_come_first_and_in_order_then_those_that_jobctl_adds() -> None:
    keys = list(to_dict(job()))

    assert keys[:14] == DOCUMENTED_ORDER
    assert keys[14:23] == ADDED_ORDER


@pytest.mark.parametrize("key", ["config", "password_hash", "hash_algorithm", "pid"])
def test_a_key_that_may_be_null_is_kept_as_null(key: str) -> None:
    assert to_dict(job(**{key: None}))[key] is None


@pytest.mark.parametrize("key", ["config", "password_hash", "hash_algorithm", "pid"])
def test_a_key_that_may_be_null_may_be_missing(key: str) -> None:
    values = {name: value for name, value in DOCUMENTED.items() if name != key}

    assert to_dict(from_dict(values))[key] is None


@pytest.mark.parametrize(
    "key",
    [
        *("job_id", "app", "port", "protocol", "host", "owner", "job_root"),
        *("status", "creation_timestamp"),
    ],
)
def test_a_key_that_every_job_has_may_not_be_missing(key: str) -> None:
    values = {name: value for name, value in DOCUMENTED.items() if name != key}

    with pytest.raises(JobctlError, match=key):
        from_dict(values)


@pytest.mark.parametrize(
    ("key", "value", "expected", "got"),
    [
        ("job_id", 8000, "str", "int"),
        ("app", None, "str", "null"),
        ("port", 8000, "str", "int"),
        ("protocol", 1, "str", "int"),
        ("host", [], "str", "array"),
        ("owner", {}, "str", "object"),
        ("job_root", True, "str", "bool"),
        ("config", 1, "str | null", "int"),
        ("app_path", None, "str", "null"),
        ("password_hash", 1, "str | null", "int"),
        ("hash_algorithm", 1, "str | null", "int"),
        ("pid", "7767", "int | null", "str"),
        ("status", None, "str", "null"),
        ("creation_timestamp", "1462323460", "int", "str"),
        ("creation_timestamp", 1.5, "int", "float"),
        ("expires", "tomorrow", "int | null", "str"),
        ("container_ids", "abc", "array", "str"),
    ],
)
def test_a_wrong_type_is_named_with_its_key(
    key: str, value: object, expected: str, got: str
) -> None:
    with pytest.raises(JobctlError) as caught:
        from_dict(DOCUMENTED | {key: value})

    message = str(caught.value)
    assert key in message
    assert f"`{expected}`" in message
    assert f"`{got}`" in message


def test_a_refused_job_does_not_show_its_password_hash() -> None:
    with pytest.raises(JobctlError) as caught:
        from_dict(DOCUMENTED | {"pid": "x"})

    assert "4d7e319876e0192ec7e422c53d4ba80a" not in str(caught.value)


@pytest.mark.parametrize(
    "extra",
    [
        {"colour": "red"},
        {"nested": {"list": [1, 2.5, None, True, {"a": "b"}]}},
        {"extra": {"job_id": "job_1"}},
        {"with_": 1, "ended": 2, "": 3, "ключ": "значение"},
    ],
)
def test_unknown_keys_survive_a_round_trip(extra: dict[str, Any]) -> None:
    line = msgspec.json.encode(to_dict(from_dict(DOCUMENTED | extra)))

    again = json.loads(line)

    assert {key: again[key] for key in extra} == extra
    assert to_dict(from_dict(again)) == again


def test_a_status_of_another_version_survives_a_round_trip() -> None:
    loaded = job(status="hibernating")

    assert to_dict(loaded)["status"] == "hibernating"
    assert not loaded.ended


@pytest.mark.parametrize("status", [Status.STOPPED, Status.EXITED, Status.LOST])
def test_a_job_that_does_not_run_any_more_has_ended(status: str) -> None:
    assert job(status=status).ended


@pytest.mark.parametrize(
    "status", [Status.REGISTERED, Status.LAUNCHING, Status.LAUNCHED, Status.UNHEALTHY]
)
def test_a_job_that_runs_or_will_has_not_ended(status: str) -> None:
    assert not job(status=status).ended


def test_a_password_hash_is_masked_unless_it_is_asked_for() -> None:
    masked = to_dict(job(), reveal=False)

    assert masked["password_hash"] == MASK
    assert "4d7e" not in json.dumps(masked)
    assert to_dict(job())["password_hash"] == DOCUMENTED["password_hash"]


def test_that_there_is_no_password_is_not_masked() -> None:
    assert to_dict(job(password_hash=None), reveal=False)["password_hash"] is None


def test_the_command_under_way_shows_only_while_there_is_one() -> None:
    assert "intent" not in to_dict(job())
    assert to_dict(job(intent="stop"))["intent"] == "stop"


def test_a_job_is_a_value_and_changes_make_another() -> None:
    one = job()

    other = one.with_(status=Status.STOPPED, pid=None)

    assert (one.status, one.pid) == ("launched", 7767)
    assert (other.status, other.pid) == ("stopped", None)
    with pytest.raises(AttributeError):
        one.status = "lost"  # type: ignore[misc]


def test_the_id_goes_with_the_port() -> None:
    with pytest.raises(JobctlError, match='"job_8000" does not go with port "8001"'):
        job(port="8001")


@pytest.mark.parametrize("text", ["8000", "job_8000", 8000])
def test_a_job_is_named_by_its_id_or_its_port(text: str | int) -> None:
    assert job_id_of(text) == "job_8000"


@pytest.mark.parametrize("text", ["1", "65535", "job_1024"])
def test_any_port_makes_an_id(text: str) -> None:
    assert port_of(job_id_of(text)) == int(text.removeprefix("job_"))


@pytest.mark.parametrize(
    "text",
    [
        *("", "job_", "job-8000", "08000", "0", "65536", "-1", "8000 ", "8000\n", "8000.0"),
        *("job_8000/../x", "../job_8000", "job_*", "JOB_8000", "٨٠٠٠", "job_job_8000"),
    ],
)
def test_what_is_no_job_is_quoted_and_explained(text: str) -> None:
    with pytest.raises(JobctlError) as caught:
        job_id_of(text)

    assert f'"{text}"' in str(caught.value)
    assert "job_8000" in str(caught.value)


@pytest.mark.parametrize(
    ("bound", "connected"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "::1"),
        ("::1", "::1"),
        ("192.0.2.7", "192.0.2.7"),
    ],
)
def test_a_job_is_looked_for_where_this_host_reaches_it(bound: str, connected: str) -> None:
    assert connect_address(bound) == connected
