"""Labels: a job's record can be rebuilt from them, and they never carry a secret."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from jobctl.errors import JobctlError
from jobctl.job import Job, Status
from jobctl.labels import JOB_ID, JOB_ROOT, OWNER, ROLE, Role, job_from, labels_of
from tests.bad_input import a_job

MD5 = "4d7e319876e0192ec7e422c53d4ba80a"


def job(**changes: Any) -> Job:
    values: dict[str, Any] = {
        "status": Status.REGISTERED,
        "config": "/state/test/job_8000_config.txt",
        "app_path": "/opt/app/bin/serve",
        "password_hash": f"test:demo:{MD5}",
        "hash_algorithm": "apache_md5_digest",
        "image": "jobctl/demo",
        "tls_fingerprint": "ab" * 32,
    }
    return a_job(**values | changes)


@pytest.mark.parametrize("role", ["gateway", "app"])
def test_labels_say_whose_container_this_is_and_what_for(role: Role) -> None:
    labels = labels_of(job(), role)

    assert labels[JOB_ID] == "job_8000"
    assert labels[OWNER] == "test"
    assert labels[JOB_ROOT] == "/state/test/"
    assert labels[ROLE] == role


def test_the_documented_labels() -> None:
    labels = labels_of(job(expires=1462400000), "gateway")

    documented = (
        *("job_id", "app", "owner", "port", "protocol", "role", "created", "bind_address"),
        *("tls_fingerprint", "config", "expires"),
    )
    assert {f"jobctl.{name}" for name in documented} <= labels.keys()


def test_labels_are_strings_in_the_namespace_of_jobctl() -> None:
    for key, value in labels_of(job(expires=1, relaxed=["capability X"]), "app").items():
        assert key.startswith("jobctl.")
        assert type(value) is str


@pytest.mark.parametrize(
    ("config", "expires", "relaxed", "app_path", "fingerprint"),
    list(
        product(
            (None, "/state/test/job_8000_config.txt"),
            (None, 1462400000),
            ([], ["capability NET_ADMIN"], ["capability NET_ADMIN", "writable root file system"]),
            ("", "/opt/app/bin/with space"),
            (None, "ab" * 32),
        )
    ),
)
def test_a_job_survives_the_way_through_labels_but_for_its_hash(
    config: str | None,
    expires: int | None,
    relaxed: list[str],
    app_path: str,
    fingerprint: str | None,
) -> None:
    before = job(
        config=config,
        expires=expires,
        relaxed=relaxed,
        app_path=app_path,
        tls_fingerprint=fingerprint,
    )

    assert job_from(labels_of(before, "gateway")) == before.with_(password_hash=None)


def test_what_changes_in_a_job_s_life_is_not_told_by_labels() -> None:
    one = job()
    later = one.with_(status=Status.STOPPED, pid=1, exit_code=3, restarts=2, intent="stop")

    assert labels_of(one, "app") == labels_of(later, "app")


@pytest.mark.parametrize("password_hash", [f"test:demo:{MD5}", "test:$2y$10$abc"])
def test_labels_never_carry_the_hash(password_hash: str) -> None:
    labels = labels_of(job(password_hash=password_hash), "gateway")

    secret = password_hash.rpartition(":")[2]
    assert not any(secret in text for pair in labels.items() for text in pair)
    assert not any("password" in key for key in labels)


def test_labels_never_carry_keys_that_jobctl_does_not_know() -> None:
    labels = labels_of(job(extra={"token": "hunter2"}), "gateway")

    assert "hunter2" not in str(labels)


def test_the_status_is_for_the_caller_to_say() -> None:
    labels = labels_of(job(), "gateway")

    assert job_from(labels).status == Status.REGISTERED
    assert job_from(labels, status=Status.LAUNCHED).status == Status.LAUNCHED


def test_labels_of_others_are_passed_over() -> None:
    labels = labels_of(job(), "gateway") | {"maintainer": "x", "jobctl.build": "of the image"}

    assert job_from(labels) == job(password_hash=None)


def test_labels_of_a_newer_version_are_kept() -> None:
    labels = labels_of(job(), "gateway") | {"jobctl.unheard_of": "y"}

    assert job_from(labels) == job(password_hash=None, extra={"jobctl.unheard_of": "y"})


def test_labels_say_nothing_of_what_only_the_record_knows() -> None:
    """Nor can anybody else say it, who may label containers of their own."""
    forged = {"password_hash": "x", "status": "launched", "pid": "1", "intent": "remove"}
    forged |= {"container_ids": "x", "extra": "x", "restarts": "9", "exit_code": "1"}
    labels = labels_of(job(), "gateway") | {f"jobctl.{key}": text for key, text in forged.items()}

    made = job_from(labels)

    assert made.with_(extra={}) == job(password_hash=None)
    assert made.extra == {"jobctl.extra": "x"}


@pytest.mark.parametrize(
    "changes",
    [
        {"jobctl.port": "8001"},
        {"jobctl.port": "99999", "jobctl.job_id": "job_99999"},
        {"jobctl.port": "8000; rm", "jobctl.job_id": "job_8000; rm"},
        {"jobctl.job_id": "../../etc"},
        {"jobctl.job_id": "job_*"},
        {"jobctl.job_id": ""},
        {"jobctl.created": "yesterday"},
        {"jobctl.created": ""},
        {"jobctl.created": "9" * 5000},
        {"jobctl.expires": "never"},
    ],
)
def test_hostile_labels_are_refused_in_words(changes: dict[str, str]) -> None:
    with pytest.raises(JobctlError, match="labels of a job: "):
        job_from(labels_of(job(), "gateway") | changes)


@pytest.mark.parametrize(
    "missing", ["job_id", "app", "owner", "port", "protocol", "host", "job_root", "created"]
)
def test_labels_that_lack_something_are_refused_in_words(missing: str) -> None:
    labels = labels_of(job(), "gateway")
    del labels[f"jobctl.{missing}"]

    with pytest.raises(JobctlError, match="labels of a job: "):
        job_from(labels)


def test_no_labels_at_all_are_refused_in_words() -> None:
    with pytest.raises(JobctlError, match="labels of a job: "):
        job_from({})
