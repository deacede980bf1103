"""The command tree.

What launches is in ``launching``, what lists in ``looking``, the machine interface in ``machine``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from jobctl.cli import (
    authority,
    checking,
    doctoring,
    launching,
    lifetimes,
    looking,
    machine,
    reaching,
    render,
    settings,
    shells,
)
from jobctl.cli.context import (
    AsJson,
    Options,
    app_names,
    broker,
    engine_kind,
    job_ids,
    progress,
)
from jobctl.cli.screen import screen
from jobctl.errors import JobctlError

if TYPE_CHECKING:
    from jobctl.job import Job

shells.mend_completion()
app = typer.Typer(
    help="Launch web applications on this host: own port, verified TLS, a password, "
    "a locked-down container.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
images = typer.Typer(help="Build and list the images of apps.", no_args_is_help=True)
app.add_typer(images, name="images")
authority.add_to(app)
launching.add_to(app)
looking.add_to(app, images)
checking.add_to(app)
doctoring.add_to(app)
reaching.add_to(app)
settings.add_to(app)
lifetimes.add_to(app)
machine.add_to(app)

_QUICKLY_S = 2

JobRef = Annotated[str, typer.Argument(metavar="JOB", autocompletion=job_ids)]
JobRefs = Annotated[list[str], typer.Argument(metavar="JOB...", autocompletion=job_ids)]


def _version(wanted: bool) -> None:
    if wanted:
        from jobctl import __version__

        engine = _engine(within=_QUICKLY_S)
        print(f"jobctl {__version__}" + (f", {engine}" if engine else ""))
        raise typer.Exit


def _engine(*, within: float) -> str | None:
    """Return the engine's name and version, unless it takes its time or there is none."""
    from threading import Thread

    said: list[str] = []

    def ask() -> None:
        from jobctl.broker import Broker

        with suppress(Exception), Broker() as desk:  # whatever it is, jobctl has a version
            said.append(f"{desk.engine.name} {desk.engine.version()}")

    # Nobody waits for it at the end: a remote engine that is gone may be asked for a minute.
    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(within)
    return render.one_line(said[0]) if said else None


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


@app.callback()
def before(
    context: typer.Context,
    config: Annotated[
        str | None, typer.Option(metavar="FILE", help="The configuration file to use.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="The kind of container engine, such as docker."),
    ] = None,
    engine_context: Annotated[
        str | None,
        typer.Option(
            "--context",
            metavar="NAME",
            help="The engine of this context, as `docker context ls` shows them.",
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Say nothing while it works; errors are said.")
    ] = False,
    no_color: Annotated[
        bool, typer.Option("--no-color", help="No colours, as with NO_COLOR in the environment.")
    ] = False,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version, debug  # main() looks for --debug itself: errors may come before this
    progress.quiet = quiet
    if no_color:
        os.environ["NO_COLOR"] = "1"
    context.obj = Options(config=config, engine=engine_kind(engine), context=engine_context)


@app.command()
def inspect(
    context: typer.Context,
    job: JobRef,
    reveal: Annotated[bool, typer.Option(help="Show the password hash too.")] = False,
    json: AsJson = False,
) -> None:
    """Show all that is on record about one job, and how the engine confines its containers.

    Example: jobctl inspect job_8000 --json
    """
    desk = broker(context)
    found = desk.inspect(job)
    more = {"confinement": desk.confinement(found)}
    show = render.job_json if json else render.record
    print(show(found, reveal=reveal, more=more))


@app.command()
def url(context: typer.Context, job: JobRef) -> None:
    """Print what to open in a browser, by a name that keeps the job's cookies to itself.

    Programs that can't look up names below localhost use the url that `inspect` shows.

    Example: curl --cacert $(jobctl ca path) --digest -u $USER $(jobctl url 8000)
    """
    found = broker(context).job(job)
    address = render.one_line(found.open_url or found.url)
    print(screen().linked(address, address))


@app.command()
def logs(
    context: typer.Context,
    job: JobRef,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    tail: Annotated[int | None, typer.Option(min=0, help="Only the last N lines.")] = None,
    gateway: Annotated[bool, typer.Option(help="The gateway's log instead of the app's.")] = False,
) -> None:
    """Print the log of a job.

    Example: jobctl logs job_8000 -f --tail 20
    """
    launching.show_log(broker(context).logs(job, gateway=gateway, tail=tail, follow=follow))


@app.command()
def stop(context: typer.Context, jobs: JobRefs) -> None:
    """Stop jobs; they keep their port and record, and can be started again.

    Example: jobctl stop job_8000 job_8001
    """
    _each(jobs, broker(context).stop)


@app.command()
def start(context: typer.Context, jobs: JobRefs) -> None:
    """Start stopped jobs again, on the same port, with the same certificate and password.

    Example: jobctl start job_8000
    """
    desk = broker(context)

    def act(ref: str) -> Job:
        job = desk.start(ref)
        lifetimes.tell_end(job)
        return job

    _each(jobs, act)


@app.command()
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


@app.command()
def prune(context: typer.Context) -> None:
    """Remove all jobs that have ended.

    Example: jobctl prune
    """
    for job in broker(context).prune():
        print(job.job_id)


@app.command()
def new(
    context: typer.Context, name: Annotated[str, typer.Argument(help="Of the new app.")]
) -> None:
    """Write a section, a module and a Dockerfile for a new app, which work as they are.

    Example: jobctl new demo && jobctl check demo
    """
    from jobctl import scaffold

    first, *files = scaffold.create(name, catalogue=broker(context).catalogue)
    print(render.clean("\n".join([f"{first}: new section apps.{name}", *map(str, files)])))
    print(f"launch it: jobctl run {name}", f"check it:  jobctl check {name}", sep="\n")


@images.command()
def build(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[APP...]", autocompletion=app_names)
    ] = None,
    rebuild: Annotated[bool, typer.Option(help="Build even what is current.")] = False,
) -> None:
    """Build the images of apps, and those below them, as far as something changed.

    Example: jobctl images build conduit
    """
    for tag in broker(context).build(names or (), rebuild=rebuild):
        print(render.clean(tag))
