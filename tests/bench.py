"""A bench to run commands on while something goes wrong, beside a job that has to live on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from subprocess import CompletedProcess

import pytest

from jobctl.engines.docker import DockerEngine
from tests.engine_proxy import EngineProxy, Fault, When
from tests.site import Site
from tests.wholeness import PASSWORD, RUN, Job, put_right, run_job, through

COMMANDS = {"run": RUN, "stop": ("stop",), "start": ("start",), "rm": ("rm", "--force")}


@dataclass
class Bench:
    """One site with a job that stays, and another one that a command is about to work on."""

    site: Site
    engine_socket: str
    bystander: Job
    subject: Job | None = None

    def ready_for(self, command: str) -> list[str]:
        """Bring about what a command needs; return it with its arguments."""
        now = self.subject
        if command == "run":
            if now:
                self.site.run("rm", "--force", now["job_id"])
            return [*RUN]
        if now is None:
            self.subject = now = run_job(self.site)
        if command == "start":
            if now["status"] == "launched":
                self.site.run("stop", now["job_id"])
        elif now["status"] != "launched":
            self.site.run("start", now["job_id"])
        return [*COMMANDS[command], now["job_id"]]

    def attempt(
        self, command: str, when: When, fault: Fault
    ) -> tuple[CompletedProcess[str], EngineProxy]:
        """Run a command during which a fault comes to pass."""
        arguments = self.ready_for(command)
        with EngineProxy(self.engine_socket) as proxy:
            proxy.at(when, fault)
            done = through(self.site, proxy.endpoint).run(
                *arguments, stdin=f"{PASSWORD}\n", check=False
            )
        return done, proxy

    def after(self) -> dict[str, Job]:
        """Return the jobs after one ordinary command, without the one that stays."""
        jobs = put_right(self.site, kept=[self.bystander])
        del jobs[self.bystander["job_id"]]
        if jobs:
            (self.subject,) = jobs.values()
        else:
            self.subject = None
        return jobs


@pytest.fixture
def bench(site: Site, engine: DockerEngine) -> Iterator[Bench]:
    assert engine.local_socket
    bench = Bench(site, engine.local_socket, run_job(site))
    yield bench
    site.run("rm", "--force", *put_right(site))
    site.assert_nothing_left()


def moments(bench: Bench, command: str) -> list[tuple[str, When]]:
    """Return the requests of a command, of those that only repeat until a job is ready the first.

    How many there are of these is chance.
    """
    arguments = bench.ready_for(command)
    with EngineProxy(bench.engine_socket) as proxy:
        through(bench.site, proxy.endpoint).run(*arguments, stdin=f"{PASSWORD}\n")
        seen = [str(request) for request in proxy.requests]
    bench.after()
    found: list[tuple[str, When]] = []
    waiting = False
    for number, request in enumerate(seen, 1):
        if not (waiting and request == seen[number - 2]):
            found.append((f"{number}, {request}", _nth(request, seen[:number].count(request))))
        waiting = request == _LOOK and (waiting or seen[number - 2].endswith("/start"))
    return found


_LOOK, _LIST = "GET /containers/ID/json", "GET /containers/json"


def _nth(kind: str, number: int) -> When:
    """Return what tells the request of that number among those of its kind."""
    return lambda seen: str(seen[-1]) == kind and [*map(str, seen)].count(kind) == number


def assert_failed_clearly(done: CompletedProcess[str]) -> None:
    """Make sure that a command said in one line what went wrong, and is no bug of its own."""
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "a bug in jobctl" not in done.stderr
    assert "('" not in done.stderr, f"Python's words: {done.stderr}"
    assert sum(line.startswith("jobctl: ") for line in done.stderr.splitlines()) == 1
