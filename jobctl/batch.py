"""Many launches in one process, a few at a time, each in a thread of its own.

Owns how they are begun, watched, stopped and settled; how one of them goes, and what undoes it, is
for ``jobctl.launch``. Only the thread that calls ``run`` reports and gets Ctrl-C: a launch looks
at its checkpoints whether it is to stop, and then undoes itself.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from threading import Event, Lock, Semaphore, Thread

from jobctl.errors import ClaimLost, JobctlError, UsageError
from jobctl.job import Job
from jobctl.launch import Launch
from jobctl.orders import Order
from jobctl.progress import Report, Step

MOST_AT_ONCE = 32
LAUNCHES_PER_CORE = 2
MOST_BY_DEFAULT = 8
"""From here on the kernel's and the engine's own locks are what launches wait for."""
LOG_EVERY_S = 5
"""How often a log is told how far things are."""
_LOOK_S = 0.1
_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one order: a verified ``job``, or an ``error`` and nothing that is left.

    ``number`` counts the orders from 1 on.
    """

    number: int
    order: Order = field(repr=False)
    job: Job | None = None
    error: JobctlError | None = None


Arrived = Callable[[Outcome], None]


def at_once(wanted: int | None) -> int:
    """Return how many launches go on at once: so many as ``wanted``, or as suit this host's cores.

    Raises:
        UsageError: that is too few or too many.
    """
    if wanted is None:
        return min(LAUNCHES_PER_CORE * len(os.sched_getaffinity(0)), MOST_BY_DEFAULT)
    if not 1 <= wanted <= MOST_AT_ONCE:
        raise UsageError(f"{wanted} launches at once: expected 1 to {MOST_AT_ONCE}")
    return wanted


def run(
    launches: Sequence[Launch],
    ports: Callable[[], Iterator[int]],
    *,
    parallel: int,
    together: bool,
    report: Report,
    arrived: Arrived | None,
) -> list[Outcome]:
    """Launch all, tell ``arrived`` of each outcome, and return them in the order of ``launches``.

    ``ports`` returns those that come in question at that moment, ``parallel`` are launched at a
    time. An interruption undoes what is not verified yet and is raised again. ``together``, all
    are launched or none: then it undoes everything, and so does the first failure.

    Raises:
        JobctlError: ``together``, that of the first that failed; nothing is left.
    """
    batch = _Batch(launches, ports, parallel, together, report, arrived)
    try:
        batch.go()
    except BaseException:
        batch.stop()
        batch.wind_up()
        raise
    return batch.outcomes()


class _Stopped(BaseException):
    """This launch is not to go on. Nobody who handles errors is to handle it."""


@dataclass(frozen=True)
class _Said:
    """A line of progress from a launch."""

    number: int
    line: str


@dataclass(frozen=True)
class _Verified:
    """A job that waits for the others."""

    number: int
    job: Job


@dataclass(frozen=True)
class _Ended:
    """A thread is through; what came of it is among the results, unless it was stopped."""

    number: int
    bug: BaseException | None = None


class _Batch:
    """What the threads of one batch share; ``_work`` is theirs, the rest the main one's."""

    def __init__(
        self,
        launches: Sequence[Launch],
        ports: Callable[[], Iterator[int]],
        parallel: int,
        together: bool,
        report: Report,
        arrived: Arrived | None,
    ) -> None:
        self._launches, self._parallel, self._together = launches, parallel, together
        self._report, self._arrived = report, arrived
        self._ports = _Ports(ports)
        self._events: SimpleQueue[_Said | _Verified | _Ended] = SimpleQueue()
        self._stopping, self._settled = Event(), Event()
        self._committed = False
        self._undoing = Semaphore(parallel)
        self._threads: list[Thread] = []
        self._at_work: set[int] = set()
        """Who counts for how many go on at once: neither through, nor waiting for the others."""
        self._verified: dict[int, Job] = {}
        self._results: dict[int, Outcome] = {}
        self._noted: set[int] = set()
        self._logged = time.monotonic()

    def go(self) -> None:
        """Launch all, and wait until that is done."""
        self._tell(log=True)
        total = len(self._launches)
        while len(self._noted) < total:
            while len(self._at_work) < self._parallel and len(self._threads) < total:
                self._begin(len(self._threads) + 1)
            event = self._events.get()
            with _signals_held():
                self._take(event)

    def stop(self) -> None:
        """Let every launch undo itself that is not verified, or does not count without others."""
        if not self._committed:
            self._report(Step("undoing what is not verified yet", passing=True))
            self._stopping.set()
            self._settled.set()

    def wind_up(self) -> None:
        """Wait for the threads, and take note of what was launched all the same."""
        while any(thread.is_alive() for thread in self._threads):
            with suppress(Empty):
                self._events.get(timeout=_LOOK_S)
        for number in self._results.keys() - self._noted:
            if self._results[number].job:
                with suppress(JobctlError):  # there is a first one already
                    self._note(number)

    def outcomes(self) -> list[Outcome]:
        """Return what came of each order."""
        return [self._results[number] for number in sorted(self._results)]

    def _begin(self, number: int) -> None:
        self._at_work.add(number)
        thread = Thread(target=self._work, args=[number], name=f"launch {number}", daemon=True)
        self._threads.append(thread)
        # It inherits what is held: a signal that it could take would not wake the main thread.
        with _signals_held():
            try:
                thread.start()
            except RuntimeError as error:
                raise JobctlError(
                    f"can't begin launch {number}: {error}; launch fewer jobs at once"
                ) from None

    def _take(self, event: _Said | _Verified | _Ended) -> None:
        match event:
            case _Said(number, line):
                self._pass_on(number, line)
            case _Verified(number, job):
                self._at_work.discard(number)
                self._verified[number] = job
                self._tell()
                if len(self._verified) == len(self._launches):
                    self._commit()
            case _Ended(number, bug):
                if bug:
                    raise bug
                self._at_work.discard(number)
                error = self._results[number].error
                if error and self._together:
                    raise JobctlError(
                        f"number {number} of {len(self._launches)} failed, so that none was "
                        f"launched: {error}"
                    ) from error
                self._note(number)
                self._tell(log=len(self._noted) == len(self._launches))

    def _note(self, number: int) -> None:
        if self._arrived:
            self._arrived(self._results[number])
        self._noted.add(number)

    def _commit(self) -> None:
        """Record all jobs as launched, in one step, and let their threads end."""
        with self._launches[0].ledger.registry.edit() as jobs:
            for job in self._verified.values():
                jobs[job.job_id] = job.with_(intent=None)
        self._committed = True
        self._settled.set()

    # In the threads

    def _work(self, number: int) -> None:
        launch, bug = self._launches[number - 1], None
        order = launch.preparation.order
        with self._undoes_in_turn() as wait_for_turn:

            def checkpoint() -> None:
                if self._stopping.is_set():
                    wait_for_turn()
                    raise _Stopped

            def agreed(job: Job) -> None:
                if self._together:
                    self._events.put(_Verified(number, job))
                    self._settled.wait()
                    checkpoint()

            try:
                launch = replace(
                    launch,
                    report=lambda line: self._events.put(_Said(number, line)),
                    checkpoint=checkpoint,
                    agreed=agreed,
                )
                job = launch.run(self._ports)
                self._results[number] = Outcome(number=number, order=order, job=job)
            except JobctlError as error:
                self._results[number] = Outcome(number=number, order=order, error=error)
            except _Stopped:
                pass
            except BaseException as error:
                bug = error
        self._events.put(_Ended(number, bug))

    @contextmanager
    def _undoes_in_turn(self) -> Iterator[Callable[[], None]]:
        """Yield what waits for one's turn to undo: no more do so at once than launch at once."""
        waited = []

        def wait() -> None:
            self._undoing.acquire()
            waited.append(True)

        try:
            yield wait
        finally:
            if waited:
                self._undoing.release()

    # What is told

    def _pass_on(self, number: int, line: str) -> None:
        if not isinstance(line, Step):
            self._report(f"number {number}: {line}")
        elif line.depth:
            self._report(Step(f"number {number}: {line}", depth=1, passing=True))

    def _tell(self, *, log: bool = False) -> None:
        """Say how far things are: a log gets to know it now and then."""
        now = time.monotonic()
        due = log or now >= self._logged + LOG_EVERY_S
        if due:
            self._logged = now
        failed = sum(self._results[number].error is not None for number in self._noted)
        names = dict.fromkeys(launch.preparation.app.name for launch in self._launches)
        self._report(
            Step(
                f"launching {', '.join(names)}" + (f", {failed} failed" if failed else ""),
                done=len(self._verified) or len(self._noted) - failed,
                total=len(self._launches),
                unit="jobs",
                passing=not due,
            )
        )


@contextmanager
def _signals_held() -> Iterator[None]:
    """Let Ctrl-C wait for a moment, in which what was told is noted."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Ports:
    """The ports that all launches of a batch try, each one once, and those that got free since."""

    def __init__(self, look: Callable[[], Iterator[int]]) -> None:
        self._look = look
        self._lock = Lock()
        self._left = look()
        self._again = False
        self._none_left: str | None = None

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        with self._lock:
            while self._none_left is None:
                try:
                    return next(self._left)
                except ClaimLost as error:
                    if self._again:
                        self._none_left = str(error)
                    else:
                        self._again, self._left = True, self._look()
            raise ClaimLost(self._none_left)
