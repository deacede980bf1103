"""Many at once, and many on record: launches of a class, and the thousandth job."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from typing import TypeVar

from bench.pairs import Pair, timing
from bench.place import JOBCTL, Place, place
from jobctl import batch
from jobctl.job import Status

FREE_PORTS = (31500, 31999)
HUNDRED, HUNDREDS = 100, 5
NOTEBOOKS, LAUNCHES, AT_ONCE, ENDED, COUNT = 10, 50, 10, 1000, 20
T = TypeVar("T")
Case = Callable[[Place], Iterator[Pair]]


def notebooks_at_once(there: Place) -> Iterator[Pair]:
    """A class opens its notebooks, beside as many bare containers."""
    yield Pair(
        name=f"{NOTEBOOKS} x run jupyter at once",
        ours=timing(lambda: at_once(NOTEBOOKS, lambda: there.run("jupyter")), there.forget_all),
        theirs=timing(lambda: at_once(NOTEBOOKS, there.start_notebook), there.remove),
        most=1.1,
        runs=5,
        warm_up=False,
    )


def launches_at_once(there: Place) -> Iterator[Pair]:
    """Many launches, ten at a time, beside as many of the same pairs by ``docker run``."""
    _, specs = there.specs("conduit")

    def bare() -> list[str]:
        return [*chain(*at_once(LAUNCHES, lambda: there.docker_run(specs)))]

    yield Pair(
        name=f"{LAUNCHES} launches, {AT_ONCE} at a time",
        ours=timing(lambda: at_once(LAUNCHES, lambda: there.run("conduit")), there.forget_all),
        theirs=timing(bare, there.remove),
        most=1 / 0.8,
        runs=3,
        warm_up=False,
    )


def ended(there: Place) -> Iterator[Pair]:
    """A launch by somebody with a thousand ended jobs, beside one by somebody with none."""
    for _ in range(ENDED):
        there.broker.register(there.order("conduit"))
    with there.broker.registry.edit() as jobs:
        for name, job in jobs.items():
            jobs[name] = job.with_(status=Status.STOPPED, ended_at=job.creation_timestamp)
    with place(ports=FREE_PORTS) as fresh:
        yield Pair(
            name=f"run conduit, {ENDED} ended jobs on record",
            ours=timing(lambda: there.run("conduit"), there.forget),
            theirs=timing(lambda: fresh.run("conduit"), fresh.forget),
            most=1.1,
            runs=15,
        )


def classes(there: Place) -> Iterator[Pair]:
    """A class by one command, beside as many commands one after the other, and at the same time."""
    parallel = batch.at_once(None)

    def many() -> list[str]:
        words = ["run", "conduit", "--generate-password", "--json", "--count", str(COUNT)]
        said = subprocess.check_output([JOBCTL, *words], text=True, env=there.env, cwd=there.root)
        return [one["job_id"] for one in json.loads(said)]

    ours = timing(many, there.forget_all)
    for name, together, most in (
        (f"run --count {COUNT}, to single commands", 1, 0.5),
        (f"run --count {COUNT}, to commands, {parallel} at once", parallel, 1.0),
    ):
        single = partial(at_once, COUNT, lambda: there.run("conduit"), together=together)
        theirs = timing(single, there.forget_all)
        yield Pair(name=name, ours=ours, theirs=theirs, most=most, runs=3, warm_up=False)


def growing(there: Place) -> Iterator[Pair]:
    """Hundreds of jobs of the size of a busybox, and one more, beside what that is to the engine.

    The engine's own launches take longer the more containers there are.
    """
    orders = [there.order("tiny")] * HUNDRED
    launches, listings = [], []
    ps = there.command("ps")
    for _ in range(HUNDREDS):
        begun = time.perf_counter()
        came = there.broker.run_many(orders)
        launches.append((time.perf_counter() - begun) / HUNDRED)
        failed = [one.error for one in came if one.error]
        if failed:
            raise RuntimeError(f"{len(failed)} of {HUNDRED} launches failed: {failed[0]}")
        listings.append(min(ps() for _ in range(3)))
    print(f"seconds a launch, by hundreds: {', '.join(f'{one:.3f}' for one in launches)}")
    with place(ports=FREE_PORTS) as fresh:
        _, specs = fresh.specs("tiny")
        yield Pair(
            name=f"run with {HUNDREDS * HUNDRED} jobs running, in one process",
            ours=timing(lambda: fresh.broker.run(fresh.order("tiny")).job_id, fresh.forget),
            theirs=timing(lambda: fresh.launch_bare(specs), fresh.remove),
            most=1.25,
        )
    yield Pair(
        name=f"ps of {HUNDREDS * HUNDRED} jobs, to {HUNDREDS} times {HUNDRED}",
        ours=lambda: listings[-1],
        theirs=lambda: listings[0] * HUNDREDS,
        most=1.0,
        runs=1,
    )


def at_once(count: int, act: Callable[[], T], together: int = AT_ONCE) -> list[T]:
    """Do something so many times, so many ``together``."""
    with ThreadPoolExecutor(together) as pool:
        return list(pool.map(lambda _: act(), range(count)))


CASES: dict[str, Case] = {
    "notebooks-at-once": notebooks_at_once,
    "launches-at-once": launches_at_once,
    "ended": ended,
    "count": classes,
    "growing": growing,
}
