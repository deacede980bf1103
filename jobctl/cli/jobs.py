"""Commands about one job or several: what is on record, their logs, stop, start and remove."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from jobctl.cli.context import AsJson, broker, job_ids
from jobctl.cli.screen import screen
from jobctl.cli.words import one_line
from jobctl.errors import JobctlError

if TYPE_CHECKING:
    from jobctl.job import Job

JobRef = Annotated[str, typer.Argument(metavar="JOB", autocompletion=job_ids)]
JobRefs = Annotated[list[str], typer.Argument(metavar="JOB...", autocompletion=job_ids)]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (inspect, url, logs, stop, start, rm, prune):
        app.command()(command)


def inspect(
    context: typer.Context,
    job: JobRef,
    reveal: Annotated[bool, typer.Option("--reveal", help="Show the password hash too.")] = False,
    json: AsJson = False,
) -> None:
    """Show all that is on record about one job, and how the engine confines its containers.

    Example: jobctl inspect job_8000 --json
    """
    from jobctl.cli import render

    desk = broker(context)
    found = desk.inspect(job)
    more = {"confinement": desk.confinement(found)}
    show = render.job_json if json else render.record
    print(show(found, reveal=reveal, more=more))


def url(context: typer.Context, job: JobRef) -> None:
    """Print what to open in a browser, by a name that keeps the job's cookies to itself.

    Programs that can't look up names below localhost use the url that `inspect` shows.

    Example: curl --cacert $(jobctl ca path) --digest -u $USER $(jobctl url 8000)
    """
    found = broker(context).job(job)
    address = one_line(found.open_url or found.url)
    print(screen().linked(address, address))


def logs(
    context: typer.Context,
    job: JobRef,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    tail: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Only the last N lines.")
    ] = None,
    gateway: Annotated[
        bool, typer.Option("--gateway", help="The gateway's log instead of the app's.")
    ] = False,
) -> None:
    """Print the log of a job.

    Example: jobctl logs job_8000 -f --tail 20
    """
    from jobctl.cli.launching import show_log

    show_log(broker(context).logs(job, gateway=gateway, tail=tail, follow=follow))


def stop(context: typer.Context, jobs: JobRefs) -> None:
    """Stop jobs; they keep their port and record, and can be started again.

    Example: jobctl stop job_8000 job_8001
    """
    _each(jobs, broker(context).stop)


def start(context: typer.Context, jobs: JobRefs) -> None:
    """Start stopped jobs again, on the same port, with the same certificate and password.

    Example: jobctl start job_8000
    """
    from jobctl.cli.lifetimes import tell_end

    desk = broker(context)

    def act(ref: str) -> Job:
        job = desk.start(ref)
        tell_end(job)
        return job

    _each(jobs, act)


def rm(
    context: typer.Context,
    jobs: JobRefs,
    force: Annotated[bool, typer.Option("--force", "-f", help="Running ones too.")] = False,
) -> None:
    """Remove jobs: their containers, files and records.

    Example: jobctl rm --force job_8000
    """
    desk = broker(context)
    _each(jobs, lambda job: desk.remove(job, force=force))


def prune(context: typer.Context) -> None:
    """Remove all jobs that have ended.

    Example: jobctl prune
    """
    for job in broker(context).prune():
        print(job.job_id)


def _each(refs: Iterable[str], act: Callable[[str], Job]) -> None:
    """Do something to each job and print its id; one that fails does not spare the others."""
    failed: list[JobctlError] = []
    for ref in refs:
        try:
            print(act(ref).job_id, flush=True)
        except JobctlError as error:
            failed.append(error)
    if failed:
        raise type(failed[0])("\njobctl: ".join(map(str, failed)))
