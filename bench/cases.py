"""What is measured: each function returns one or more pairs, with the ratio to stay below."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.pairs import Act, Pair, command, timed
from bench.place import PASSWORD, Place, await_answer, launch_bare
from jobctl import arrays, batch
from jobctl.job import Job

BARE_PORT = 31000
CLASS = 20
JOBCTL = Path(sys.executable).with_name("jobctl")
Case = Callable[[Place], Iterator[Pair]]


def startup(place: Place) -> Iterator[Pair]:
    """What is typed all day: help, the version, a completion, beside Typer's own import."""
    typer = command([sys.executable, "-c", "import typer"])
    complete = place.env | {"_JOBCTL_COMPLETE": "complete_bash"}
    complete |= {"COMP_WORDS": "jobctl inspect job", "COMP_CWORD": "2"}
    yield Pair(name="--help", ours=_jobctl(place, "--help"), theirs=typer, most=1.3, runs=15)
    yield Pair(name="--version", ours=_jobctl(place, "--version"), theirs=typer, most=1.3, runs=15)
    ours = command([str(JOBCTL)], **complete)
    yield Pair(name="completion of a job", ours=ours, theirs=typer, most=1.3, runs=15)


def listing(place: Place) -> Iterator[Pair]:
    """``ps`` beside a program that does nothing but one list call, with more and more jobs."""
    one_call = "import typer, docker; docker.APIClient(version='auto').containers(all=True)"
    theirs = command([sys.executable, "-c", one_call])
    registered = 0
    for count in (0, 10, 100, 500):
        _register(place, count - registered)
        registered = count
        ours = _jobctl(place, "ps", "--json")
        yield Pair(name=f"ps of {count} jobs", ours=ours, theirs=theirs, most=1.3)
    place.clear()


def launching(place: Place) -> Iterator[Pair]:
    """A launch until it is verified, beside the same containers until they answer."""
    job, specs = place.specs("conduit")
    # Its files stay for the containers without jobctl; the port is theirs now.
    for container in reversed(job.container_ids):
        place.engine.remove(container)

    def bare() -> float:
        seconds: list[float] = []
        with timed(seconds):
            ids = launch_bare(place.api, specs)
            await_answer(int(job.port))
        for one in reversed(ids):
            place.engine.remove(one)
        return seconds[0]

    def ours() -> float:
        seconds: list[float] = []
        with timed(seconds):
            job = place.broker.run(place.order("conduit"))
        place.broker.remove(job.job_id, force=True)
        return seconds[0]

    def whole() -> float:
        return _run_once(place, "conduit")

    yield Pair(name="run conduit, in one process", ours=ours, theirs=bare, most=1.25, runs=10)
    yield Pair(name="run conduit, whole command", ours=whole, theirs=bare, most=1.6, runs=10)


def stopping(place: Place) -> Iterator[Pair]:
    """The end of a job beside that of the same containers, as whole commands."""

    def act(end: Callable[[Job], Act]) -> Act:
        def once() -> float:
            job = place.broker.run(place.order("conduit"))
            taken = end(job)()
            place.clear()
            return taken

        return once

    def ours(*words: str) -> Act:
        return act(lambda job: _jobctl(place, *words, job.job_id))

    def theirs(*words: str) -> Act:
        return act(lambda job: command(["docker", *words, *reversed(job.container_ids)]))

    yield Pair(name="stop", ours=ours("stop"), theirs=theirs("stop"), most=1.5)
    yield Pair(name="rm --force", ours=ours("rm", "--force"), theirs=theirs("rm", "-f"), most=1.5)


def notebooks(place: Place) -> Iterator[Pair]:
    """JupyterLab to a verified login, beside its bare container until its API answers."""
    yield Pair(
        name="run jupyter, whole command",
        ours=lambda: _run_once(place, "jupyter"),
        theirs=lambda: _bare_jupyter(place),
        most=1.15,
        runs=10,
    )


def _bare_jupyter(place: Place) -> float:
    run = ["docker", "run", "--detach", "--env", "HOME=/tmp"]
    run += ["--publish", f"127.0.0.1:{BARE_PORT}:8888"]
    serve = ["jupyter", "lab", "--ip", "0.0.0.0", "--port", "8888", "--allow-root", "--no-browser"]
    seconds: list[float] = []
    with timed(seconds):
        started = subprocess.run(
            [*run, "jobctl/jupyter", *serve], check=True, capture_output=True, text=True
        )
        await_answer(BARE_PORT, "/api/status", tls=False)
    place.engine.remove(started.stdout.strip())
    return seconds[0]


def count(place: Place) -> Iterator[Pair]:
    """A class by one command, beside as many commands one after the other, and at the same time."""
    one = [str(JOBCTL), "run", "conduit", "--generate-password", "--json"]
    many = [*one, "--count", str(CLASS)]

    def once(act: Callable[[Place], object]) -> Act:
        def timed_act() -> float:
            seconds: list[float] = []
            with timed(seconds):
                act(place)
            place.clear()
            return seconds[0]

        return timed_act

    def commands(at_once: int) -> Act:
        def act(there: Place) -> None:
            with ThreadPoolExecutor(at_once) as pool:
                list(pool.map(lambda _: _command(there, one), range(CLASS)))

        return once(act)

    def in_process(there: Place) -> None:
        orders = arrays.numbered(there.order("conduit"), CLASS, passwords=arrays.password)
        assert all(one.job for one in there.broker.run_many(orders))

    def each_in_process(there: Place) -> None:
        for _ in range(CLASS):
            there.broker.run(there.order("conduit"))

    ours = once(lambda there: _command(there, many))
    parallel = batch.at_once(None)
    name = f"run --count {CLASS}"
    yield Pair(name=f"{name}, to single commands", ours=ours, theirs=commands(1), most=0.5, runs=3)
    yield Pair(
        name=f"{name}, to commands, {parallel} at once",
        ours=ours,
        theirs=commands(parallel),
        most=1,
        runs=3,
    )
    yield Pair(
        name=f"{name}, to single runs, in one process",
        ours=once(in_process),
        theirs=once(each_in_process),
        most=1,
        runs=3,
    )


def _command(place: Place, words: list[str]) -> None:
    subprocess.run(words, check=True, capture_output=True, env=place.env, cwd=place.root)


def _jobctl(place: Place, *arguments: str) -> Act:
    return command([str(JOBCTL), *arguments], **place.env)


def _run_once(place: Place, *arguments: str) -> float:
    seconds: list[float] = []
    with timed(seconds):
        done = subprocess.run(
            [JOBCTL, "run", *arguments, "--password-stdin", "--json"],
            input=PASSWORD,
            check=True,
            capture_output=True,
            text=True,
            env=place.env,
            cwd=place.root,
        )
    for job in place.broker.jobs():
        if f'"{job.job_id}"' in done.stdout:
            place.broker.remove(job.job_id, force=True)
    return seconds[0]


def _register(place: Place, count: int) -> None:
    for _ in range(count):
        place.broker.register(place.order("conduit"))


CASES: dict[str, Case] = {
    "startup": startup,
    "listing": listing,
    "launching": launching,
    "stopping": stopping,
    "notebooks": notebooks,
    "count": count,
}
