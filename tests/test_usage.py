"""What jobs use, from what their containers use."""

from __future__ import annotations

from typing import Any

import pytest

from jobctl.engines.base import Usage
from jobctl.job import Job
from jobctl.usage import of_jobs
from tests.bad_input import a_job

JOB = a_job(container_ids=["gateway", "app"])


def usage(at: float, **changes: Any) -> Usage:
    values = {"cpu_seconds": 10.0, "memory": 100, "received": 5, "sent": 7}
    return Usage(at=at, **values | changes)


def test_both_containers_count_but_their_one_network_once() -> None:
    before = {"gateway": usage(1), "app": usage(1)}
    now = {
        "gateway": usage(3, cpu_seconds=10.5, received=50, sent=70),
        "app": usage(3, cpu_seconds=12, received=50, sent=70),
    }

    (found,) = of_jobs([JOB], before, now)

    assert found.job is JOB
    assert found.cpu == pytest.approx(25 + 100)
    assert (found.memory, found.received, found.sent) == (200, 50, 70)


@pytest.mark.parametrize("before", [{}, {"app": usage(2)}, {"app": usage(1, cpu_seconds=99)}])
def test_what_has_just_been_started_has_used_nothing_yet(before: dict[str, Usage]) -> None:
    (found,) = of_jobs([JOB], before, {"app": usage(2)})

    assert found.cpu == 0


@pytest.mark.parametrize("job", [JOB, a_job(container_ids=[])])
def test_jobs_that_do_not_run_are_left_out(job: Job) -> None:
    assert list(of_jobs([job], {}, {"another": usage(1)})) == []
