"""What a list of containers shows of a job, where a cluster has them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from jobctl.engines.base import Container
from jobctl.job import Job, Status
from jobctl.observation import observe, placed, status_of
from tests.fake_engine import FakeEngine

JOB = Job(
    job_id="job_8000",
    app="web",
    port="8000",
    protocol="https",
    host="node-1",
    owner="alice",
    job_root="/state/alice/",
    status=Status.LAUNCHED,
    creation_timestamp=1,
    container_ids=["gateway", "app"],
    url="https://192.0.2.1:8000/",
)
GATEWAY = Container(
    id="gateway",
    name="jobctl-job_8000",
    image="jobctl/gateway",
    labels={"jobctl.role": "gateway"},
    state="running",
    host="node-2",
    address="192.0.2.2",
)
APP = replace(GATEWAY, id="app", name="jobctl-job_8000-app", labels={"jobctl.role": "app"})


def test_a_job_is_where_its_port_is() -> None:
    job = observe(FakeEngine(), JOB, [replace(APP, host="node-3", address="192.0.2.3"), GATEWAY])

    assert (job.status, job.host) == (Status.LAUNCHED, "node-2")
    assert job.url == job.open_url == "https://192.0.2.2:8000/"


def test_an_address_of_version_6_is_in_brackets() -> None:
    assert placed(JOB, [replace(GATEWAY, address="2001:db8::2")]).url == (
        "https://[2001:db8::2]:8000/"
    )


def test_a_job_stays_on_record_where_it_was_while_it_is_nowhere() -> None:
    pending = replace(GATEWAY, state="starting", host=None, address=None, reason="no suitable node")

    job = observe(FakeEngine(), JOB, [pending, APP])

    assert (job.host, job.url) == (JOB.host, JOB.url)
    assert (job.status, job.reason) == (
        Status.UNHEALTHY,
        "its gateway is starting: no suitable node",
    )


@pytest.mark.parametrize("state", ["running", "starting"])
def test_a_job_whose_parts_are_apart_is_unhealthy(state: str) -> None:
    status, reason = status_of(JOB, [GATEWAY, replace(APP, state=state, apart=True)])

    assert status == Status.UNHEALTHY
    assert reason == "its gateway went to another node, the app is brought there"
