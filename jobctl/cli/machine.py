"""The documented machine interface: ``broker`` and ``client``. Prints JSON and nothing else."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from jobctl.cli import render, streams
from jobctl.cli.context import app_names, broker
from jobctl.cli.launching import prompt
from jobctl.errors import JobctlError, UsageError

STDIN = "-"


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command("broker")(broker_command)
    app.command()(client)


def broker_command(
    context: typer.Context,
    register: Annotated[
        bool, typer.Option("-r", help="Register a job without starting it.")
    ] = False,
    app: Annotated[
        str | None,
        typer.Option("-a", metavar="APP", help="For this app.", autocompletion=app_names),
    ] = None,
    password_hash: Annotated[
        str | None,
        typer.Option(
            "-p",
            metavar="HASH",
            help="A password hash; - reads it from standard input. Other users of this host can "
            "see what stands on a command line.",
        ),
    ] = None,
    update: Annotated[
        str | None,
        typer.Option("-u", metavar="JSON", help="Change keys of the job with this job_id."),
    ] = None,
    query: Annotated[
        bool, typer.Option("-q", help="Print every job object, password hashes included.")
    ] = False,
) -> None:
    """Register, update and query jobs from a program.

    Example: jobctl broker -r -a conduit -p - < hash.txt
    """
    if [register, update is not None, query].count(True) != 1:
        raise UsageError("use one of -r (with -a APP), -u JSON and -q")
    desk = broker(context)
    if update is not None:
        print(render.job_json(desk.update(_object(update)), reveal=True))
    elif query:
        print(render.jobs_json(desk.jobs(), reveal=True))
    else:
        from jobctl.orders import Order

        if app is None:
            raise UsageError("-r needs an app: jobctl broker -r -a APP")
        from_stdin = password_hash == STDIN
        line = streams.secret("the hash", line=True).strip() if from_stdin else password_hash
        order = Order(app=app, password_hash=line, ask=prompt())
        print(render.job_json(desk.register(order), reveal=True))


def client(
    context: typer.Context,
    query: Annotated[
        bool, typer.Option("-q", help="Print your jobs, as `ps --json` does.")
    ] = False,
) -> None:
    """Query the broker: the older name of `ps --json`.

    Example: jobctl client -q
    """
    if not query:
        raise UsageError("use: jobctl client -q")
    print(render.jobs_json(job for job in broker(context).jobs() if not job.ended))


def _object(text: str) -> dict[str, Any]:
    try:
        values = msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        raise JobctlError(f"-u: not JSON: {error}; expected an object with a job_id") from None
    if not isinstance(values, dict):
        raise JobctlError(f"-u: expected a JSON object with a job_id, got {type(values).__name__}")
    return values
