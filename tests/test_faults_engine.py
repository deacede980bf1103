"""The engine is restarted or crashes under running jobs, or the whole host boots."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from jobctl.engines.docker import DockerEngine
from tests.bench import assert_failed_clearly
from tests.conftest import unavailable
from tests.engine_host import EngineHost, Unavailable, own_network
from tests.profile import NIGHTLY
from tests.site import Site, opened
from tests.wholeness import Job, put_right, run_job, settled

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.getuid() != 0, reason="only root can run a second engine"),
]

JOBS = 10
AT_ONCE = 4


@pytest.fixture(scope="module")
def host(
    installed: Path, engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EngineHost]:
    host = EngineHost(tmp_path_factory.mktemp("host"))
    with own_network():
        try:
            host.start()
            host.load("jobctl/conduit", "jobctl/gateway")
            yield host
        except Unavailable as error:
            unavailable(str(error))
        finally:
            host.close()


@pytest.fixture
def site(host: EngineHost, installed: Path, tmp_path: Path) -> Iterator[Site]:
    """Return a place to try the command in, on that engine."""
    there = DockerEngine(host.endpoint)
    with closing(there), opened(installed, there, tmp_path) as site:
        site.env["DOCKER_HOST"] = host.endpoint
        yield site


@pytest.fixture
def jobs(site: Site) -> list[Job]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda _: run_job(site), range(JOBS)))


@pytest.mark.parametrize(
    "end", [EngineHost.stop, EngineHost.cut_power, *([EngineHost.crash] if NIGHTLY else [])]
)
def test_jobs_outlive_it(
    site: Site, host: EngineHost, jobs: list[Job], end: Callable[[EngineHost], None]
) -> None:
    """What was stopped before stays so, too."""
    stopped, *others = jobs
    site.run("stop", stopped["job_id"])
    end(host)
    for command in (["ps"], ["stop", jobs[1]["job_id"]], ["start", stopped["job_id"]]):
        done = site.run(*command, check=False)
        assert_failed_clearly(done)
        assert "no container engine answers" in done.stderr
    host.start()
    # It restarts what it takes for failed by itself, gateway and app at once.
    for job in others:
        now = settled(site, job["job_id"])
        print(now["job_id"], now["status"], now["exit_code"], now["reason"])
    shown = put_right(site)
    assert shown.keys() == {job["job_id"] for job in jobs}
    assert shown[stopped["job_id"]]["status"] == "stopped"
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda job: site.run("start", job["job_id"]), jobs))
    put_right(site, kept=jobs)
