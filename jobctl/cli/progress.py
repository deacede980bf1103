"""Progress on standard error: a few lines that are gone when it is done, at a terminal; else a log.

Rich, which draws them, is imported when there is something to draw.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO, cast

from jobctl.cli.screen import draws
from jobctl.cli.words import clean, one_line, size
from jobctl.progress import Step

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

FRAMES = "|/-\\"
LOOKS_PER_SECOND = 8
BAR_WIDTH = 20
TIMED_DEPTHS = 2
"""How deep it is said for how long something has been going on."""

_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class _Line(NamedTuple):
    """A step that is under way since a moment of the monotonic clock."""

    step: Step
    since: float


class Progress:
    """Takes lines of progress and shows them. There is one, as there is one standard error."""

    def __init__(self) -> None:
        self.quiet = False
        self._lines: list[_Line] = []
        self._live: Live | None = None

    def __call__(self, line: str) -> None:
        """Show a line: to a person, and nothing to a script that reads standard output."""
        if self.quiet:
            return
        if isinstance(line, Step):
            self._place(line)
            if draws(sys.stderr):
                self._begin()
                return
            if line.passing:
                return
            if line.unit:
                line = f"{line}: {_amount(line)}"
        self.end()
        print(clean(line), file=sys.stderr, flush=True)

    def end(self) -> None:
        """Take away what is drawn; the next step brings it back."""
        live, self._live = self._live, None
        if live:
            with suppress(OSError):  # the terminal is gone
                live.stop()

    def _place(self, step: Step) -> None:
        here = self._lines[step.depth] if step.depth < len(self._lines) else None
        since = here.since if here and here.step == step else time.monotonic()
        self._lines[step.depth :] = [_Line(step, since)]

    def _begin(self) -> None:
        if self._live:
            return
        from rich.live import Live

        _hang_curtains(self)
        self._live = Live(
            console=_console(sys.stderr),
            get_renderable=self._picture,
            refresh_per_second=LOOKS_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        # A signal that the thread that draws could take would get through to the main thread
        # while that one holds signals back.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            self._live.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        lines = picture(self._lines, time.monotonic())
        return Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))


progress = Progress()


def picture(lines: Sequence[_Line], now: float) -> list[str]:
    """Return what is drawn of the steps under way, a line each."""
    drawn = []
    for depth, line in enumerate(lines):
        amount = f"  {_bar(line.step)}{_amount(line.step)}" if line.step.done is not None else ""
        seconds = int(now - line.since)
        elapsed = f"  {duration(seconds)}" if seconds and depth < TIMED_DEPTHS else ""
        frame = FRAMES[int(now * LOOKS_PER_SECOND) % len(FRAMES)]
        margin = "  " * depth if depth else f"{frame} "
        drawn.append(f"{margin}{one_line(line.step)}{amount}{elapsed}")
    return drawn


def duration(seconds: int) -> str:
    """Return a time that goes on, as ``75 s`` or ``12:03 min``."""
    return f"{seconds} s" if seconds < 100 else f"{seconds // 60}:{seconds % 60:02} min"


def _bar(step: Step) -> str:
    """Return how much of a number of things is done, as a picture."""
    if not (step.unit and step.total):
        return ""
    full = BAR_WIDTH * (step.done or 0) // step.total
    return f"[{'#' * full}{'.' * (BAR_WIDTH - full)}] "


def _amount(step: Step) -> str:
    if step.unit:
        return f"{step.done} of {step.total} {step.unit}"
    done = size(step.done or 0)
    return f"{done} of {size(step.total)}" if step.total else done


def _console(stream: Any) -> Console:
    """Return what draws on the stream behind a curtain."""
    from rich.console import Console

    class Plain(Console):
        """Without colours, and with the cursor where it is.

        A process that is stopped or killed could not show it again.
        """

        def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002
            return False

    return Plain(file=stream.behind, force_terminal=True, color_system=None, highlight=False)


def _hang_curtains(progress: Progress) -> None:
    """Let whatever is printed, by whomever, find a clean line. It stays so to the end.

    ``print`` of Python 3.11 crashes when the stream that it writes to is replaced meanwhile.
    """
    if not isinstance(sys.stderr, _Curtain):
        sys.stdout, sys.stderr = (
            cast(TextIO, _Curtain(stream, progress)) for stream in (sys.stdout, sys.stderr)
        )


class _Curtain:
    """A standard stream before which progress is drawn, which is taken away to write to it."""

    def __init__(self, stream: TextIO, progress: Progress) -> None:
        self.behind, self._progress = stream, progress

    def write(self, text: str) -> int:
        """Write after what is drawn was taken away."""
        self._progress.end()
        return self.behind.write(text)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            self._progress.end()
        return getattr(self.behind, name)
