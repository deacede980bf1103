"""``run --count``: many launches of one order, and what is handed out of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from jobctl.cli import render
from jobctl.cli.context import progress
from jobctl.cli.screen import screen
from jobctl.cli.tables import Column, draw
from jobctl.errors import JobctlError, UsageError

if TYPE_CHECKING:
    from jobctl.batch import Outcome
    from jobctl.broker import Broker
    from jobctl.handouts import Entry, HandOut
    from jobctl.orders import Order


@dataclass(frozen=True, kw_only=True)
class Many:
    """The options of ``run`` that are about more than one job."""

    count: int | None
    parallel: int | None
    all_or_none: bool
    hand_out: Path | None

    def check(self, *, port: int | None, attach: bool) -> None:
        """Make sure that the options go with each other and with others of ``run``.

        Raises:
            UsageError: they don't.
        """
        if self.count is None:
            for option, given in {
                "--parallel": self.parallel is not None,
                "--all-or-none": self.all_or_none,
                "--hand-out": self.hand_out is not None,
            }.items():
                if given:
                    raise UsageError(f"{option} is for several jobs; add --count N")
            return
        if self.count < 1:
            raise UsageError(f"--count {self.count}: expected a number from 1 on")
        if port is not None:
            raise UsageError("--port is for one job; leave it out, or --count")
        if attach:
            raise UsageError("--attach follows one job; leave it out, or --count")


def launch(desk: Broker, order: Order, many: Many, *, generate: bool, json: bool) -> None:
    """Launch an order many times and print what came of it, whatever ends it.

    Raises:
        JobctlError: a job was not launched; says which, and why.
    """
    from jobctl import arrays, handouts

    passwords = arrays.password if generate else None
    orders = arrays.numbered(order, many.count or 1, passwords=passwords)
    file = handouts.HandOut(many.hand_out) if many.hand_out else None
    told = _Told(desk, generate, file, at_once=not many.all_or_none)
    try:
        desk.run_many(
            orders,
            parallel=many.parallel,
            all_or_none=many.all_or_none,
            arrived=told.arrived,
            unseen=many.hand_out,
        )
    except BaseException:
        told.show(json=json)
        if stay := [one.job.job_id for one in told.launched if one.job]:
            progress(f"what was verified stays; to remove it: jobctl rm --force {' '.join(stay)}")
        raise
    told.show(json=json)
    if failed := told.failed:
        raise JobctlError(
            f"{len(failed)} of {len(orders)} jobs were not launched:\n" + _reasons(failed)
        )


class _Told:
    """What came of the orders so far, and the file to hand out, which has it too."""

    def __init__(
        self, desk: Broker, generate: bool, file: HandOut | None, *, at_once: bool
    ) -> None:
        self._desk, self._generate, self._file, self._at_once = desk, generate, file, at_once
        self._outcomes: dict[int, Outcome] = {}

    @property
    def launched(self) -> list[Outcome]:
        return [one for _, one in sorted(self._outcomes.items()) if one.job]

    @property
    def failed(self) -> list[Outcome]:
        return [one for _, one in sorted(self._outcomes.items()) if one.error]

    def arrived(self, outcome: Outcome) -> None:
        """Note an outcome, and hand it out if no other one can take it back."""
        self._outcomes[outcome.number] = outcome
        if self._file and self._at_once and outcome.job:
            self._file.write(self._entries())

    def show(self, *, json: bool) -> None:
        """Leave the file as it is to be, and print the jobs that were launched."""
        if not self.launched:
            if self._file:
                self._file.discard()
            return
        written = False
        try:
            if self._file:
                self._file.write(self._entries(), durable=True)
                written = True
        finally:
            if json:
                print(_json(self.launched, generated=self._generate))
            else:
                print(_table(self._entries(), passwords=self._generate and not written))
            sys.stdout.flush()
        if self._file:
            progress(f"how to get in is in {self._file.path}, for you alone to read")
        _tell_ends(self.launched)

    @cached_property
    def _authority(self) -> Path:
        return self._desk.authority()

    def _entries(self) -> list[Entry]:
        from jobctl import certs, handouts

        # Read each time: it is made anew when the host gets another address.
        fingerprint = certs.fingerprint(self._authority.read_bytes())
        return [
            handouts.entry(
                one.number, one.job, one.order.password if self._generate else None, fingerprint
            )
            for one in self.launched
            if one.job
        ]


def _reasons(failed: Sequence[Outcome]) -> str:
    """Return why jobs were not launched, the same reason once."""
    numbers: dict[str, list[int]] = {}
    for one in failed:
        numbers.setdefault(str(one.error), []).append(one.number)
    return "\n".join(
        f"number {', '.join(map(str, which))}: {reason}" for reason, which in numbers.items()
    )


def _json(launched: Sequence[Outcome], *, generated: bool) -> str:
    from jobctl.job import to_dict

    found = []
    for one in launched:
        if one.job:
            shown = generated and one.job.password_hash is not None
            password = {"password": one.order.password} if shown else {}
            found.append(to_dict(one.job, reveal=False) | {"number": one.number} | password)
    return render.as_json(found)


def _table(entries: Sequence[Entry], *, passwords: bool) -> str:
    """Return a line for each job; of a password, there is nothing that could be left out."""
    from jobctl.handouts import Entry

    columns = [
        Column[Entry](head="NUMBER", text=lambda one: str(one.number)),
        Column[Entry](head="JOB", text=lambda one: one.job_id, link=lambda one: one.open_url),
        Column[Entry](
            head="URL", text=lambda one: one.open_url, spare=2, link=lambda one: one.open_url
        ),
        Column[Entry](head="USER", text=lambda one: one.user or "-", spare=1),
    ]
    if passwords:
        columns.append(Column[Entry](head="PASSWORD", text=lambda one: one.password or "-"))
    return draw(columns, entries, screen())


def _tell_ends(launched: Sequence[Outcome]) -> None:
    """Say when the first of the jobs ends, and who sees to that."""
    from jobctl import schedule
    from jobctl.durations import words

    ends = [one.job.expires for one in launched if one.job and one.job.expires is not None]
    if ends:
        progress(f"they end in {words(min(ends) - time.time())}")
        if not schedule.installed():
            progress("nothing stops them then but `jobctl reap`; see its --install")
