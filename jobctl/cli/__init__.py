"""The command line: parses, calls the broker, renders. Alone prints, prompts and exits."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from jobctl.cli import streams
from jobctl.cli.progress import progress
from jobctl.cli.words import clean
from jobctl.errors import JobctlError

INTERRUPTED = 128 + signal.SIGINT

_FRAME_WORDS = 8500  # a little over 64 KiB, for which it takes 128


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage, 130 after Ctrl-C."""
    # Whatever the umask lets others do: a compiled module that they could replace would be run.
    os.umask(os.umask(0o022) | 0o022)
    # Most commands end before there is garbage; looking for it is a twentieth of their time.
    gc.set_threshold(50_000)
    signal.signal(signal.SIGTERM, _terminate)
    streams.prepare()
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # which is what nohup(1) asks for
        signal.signal(signal.SIGHUP, _terminate)
    code = _with_room(run)
    # Taking apart every module that was imported, which comes next, is another eighth.
    atexit._run_exitfuncs()
    sys.stderr.flush()
    os._exit(code)


def _with_room(call: Callable[[], int]) -> int:
    """Return what a call returns, which has memory for its frames until it is over.

    CPython has frames in chunks of 16 KiB, and gives one back when its first frame is left (3.11,
    Python/pystate.c, push_chunk): a call at the end of a chunk, done over and over, has memory
    mapped and unmapped each time. That was up to a fifth of a command. A frame that fits into no
    such chunk gets a larger one, in which there is room for those above it.
    """
    return call()


_with_room.__code__ = _with_room.__code__.replace(co_stacksize=_FRAME_WORDS)


def run() -> int:
    """Run the command line and return its exit code."""
    debug = "--debug" in sys.argv[1:]
    try:
        from jobctl.cli.commands import app

        try:
            app(prog_name="jobctl")
        finally:
            progress.end()
            streams.finish()
    except SystemExit as end:
        if isinstance(end.code, int | None):
            return end.code or 0
        raise
    except JobctlError as error:
        if debug:
            raise
        print(f"jobctl: {clean(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if debug:
            raise
        what = clean(f"{type(error).__name__}: {error}")
        print(f"jobctl: a bug in jobctl: {what}; see more with: jobctl --debug", file=sys.stderr)
        return JobctlError.exit_code
    return 0


def _terminate(number: int, _frame: FrameType | None) -> None:
    # As an exception, so that a launch under way is undone.
    sys.exit(128 + number)
