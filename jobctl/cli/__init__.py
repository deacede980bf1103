"""The command line: parses, calls the broker, renders. Alone prints, prompts and exits."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from jobctl.cli import streams
from jobctl.cli.progress import progress
from jobctl.cli.render import clean
from jobctl.errors import JobctlError

INTERRUPTED = 128 + signal.SIGINT


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage, 130 after Ctrl-C."""
    # Whatever the umask lets others do: a compiled module that they could replace would be run.
    os.umask(os.umask(0o022) | 0o022)
    signal.signal(signal.SIGTERM, _terminate)
    streams.prepare()
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # which is what nohup(1) asks for
        signal.signal(signal.SIGHUP, _terminate)
    debug = "--debug" in sys.argv[1:]
    try:
        from jobctl.cli.commands import app

        try:
            app(prog_name="jobctl")
        finally:
            progress.end()
            streams.finish()
    except JobctlError as error:
        if debug:
            raise
        print(f"jobctl: {clean(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        if debug:
            raise
        what = clean(f"{type(error).__name__}: {error}")
        print(f"jobctl: a bug in jobctl: {what}; see more with: jobctl --debug", file=sys.stderr)
        sys.exit(JobctlError.exit_code)


def _terminate(number: int, _frame: FrameType | None) -> None:
    # As an exception, so that a launch under way is undone.
    sys.exit(128 + number)
