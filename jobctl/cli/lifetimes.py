"""Commands about how long jobs live: ``extend`` and ``reap``, and what others say of it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobctl.cli import render
from jobctl.cli.context import AsJson, Options, broker, job_ids, progress
from jobctl.errors import JobctlError, UsageError

if TYPE_CHECKING:
    from jobctl.job import Job
    from jobctl.reaping import Fate

_DONE = {"stop": "stopped", "remove": "removed", "keep": "kept", "skip": "skipped"}
_WOULD = {"stop": "would be stopped", "remove": "would be removed", "keep": "kept"}


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(extend)
    app.command()(reap)


def extend(
    context: typer.Context,
    job: Annotated[str, typer.Argument(metavar="JOB", autocompletion=job_ids)],
    time_: Annotated[
        str, typer.Argument(metavar="TIME", help="Such as 90m, 8h or 1d12h; never: it has no end.")
    ],
    from_now: Annotated[
        bool, typer.Option("--from-now", help="From now, even if that is sooner than before.")
    ] = False,
) -> None:
    """Give a job more time, from its end or, if that is over, from now.

    Example: jobctl extend job_8000 2h
    """
    extended = broker(context).extend(job, time_, from_now=from_now)
    print(extended.job_id)
    if extended.expires is None:
        progress(f"{extended.job_id} has no end any more")
    else:
        tell_end(extended)
    if extended.ended:
        progress(f"it does not run; start it with: jobctl start {extended.job_id}")


def reap(
    context: typer.Context,
    idle: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Also those idle for so long that have no idle_timeout, as in 2h."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done to each job, and why.")
    ] = False,
    install: Annotated[
        bool, typer.Option("--install", help="Have this run by itself every 5 minutes.")
    ] = False,
    uninstall: Annotated[
        bool, typer.Option("--uninstall", help="Take away what --install brought.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Stop your jobs whose time is over or that are idle; remove those that ended long ago.

    Example: jobctl reap --dry-run
    """
    from jobctl import durations

    if install and uninstall:
        raise UsageError("use either --install or --uninstall, not both")
    if uninstall:
        _uninstall()
        return
    idle_s = None if idle is None else durations.seconds(idle)
    desk = broker(context)
    if install:
        _install(context, idle)
        return
    fates = desk.reap(idle=idle_s, dry_run=dry_run)
    _show(fates, dry_run=dry_run, json=json)
    if failed := [f"{fate.job_id}: {fate.why}" for fate in fates if fate.failed]:
        raise JobctlError("\njobctl: ".join(failed))


def _show(fates: Iterable[Fate], *, dry_run: bool, json: bool) -> None:
    """Print what came of each job, or where that is not asked for, of those that are gone.

    What a timer prints every few minutes should be worth a mail.
    """
    if json:
        print(render.as_json([asdict(fate) for fate in fates]))
        return
    words = _DONE | (_WOULD if dry_run else {})
    rows = [
        [fate.job_id, fate.app, words[fate.action], fate.why]
        for fate in fates
        if not fate.failed and (dry_run or fate.action in ("stop", "remove"))
    ]
    if rows:
        print(render.table(["JOB", "APP", "IS", "WHY"], rows))


def tell_end(job: Job) -> None:
    """Say when a job ends, and that nobody sees to it if that is so."""
    from jobctl import lifetimes, schedule
    from jobctl.durations import words

    if job.expires is None or lifetimes.over(job, time.time()):
        return
    progress(f"{job.job_id} ends in {words(job.expires - time.time())}")
    if not schedule.installed():
        progress("nothing stops it then but `jobctl reap`; have that run by itself with --install")


def _install(context: typer.Context, idle: str | None) -> None:
    from jobctl import config, schedule

    options = context.find_object(Options) or Options()
    chosen = options.config or os.environ.get("JOBCTL_CONFIG")
    settings = ["--config", str(config.find(options.config))] if chosen else []
    settings += ["--engine", options.engine] if options.engine else []
    settings += ["--context", options.context] if options.context else []
    words = [*_command(), *settings, "reap", *(["--idle", idle] if idle else [])]
    task = schedule.Task(command=words, env=schedule.carried(os.environ))
    print(f"installed: {render.clean(schedule.install(task))}")


def _uninstall() -> None:
    from jobctl import schedule

    gone = schedule.uninstall()
    print(
        *(f"removed: {render.clean(one)}" for one in gone or ["nothing; it was not installed"]),
        sep="\n",
    )


def _command() -> list[str]:
    """Return what runs jobctl from anywhere."""
    program = Path(sys.argv[0]).absolute()
    if program.name == "jobctl" and os.access(program, os.X_OK):
        return [str(program)]
    return [sys.executable, "-P", "-m", "jobctl"]
