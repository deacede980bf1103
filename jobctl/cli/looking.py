"""Commands that list: ``ps`` and ``top``, ``apps``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from jobctl.cli import listings, render
from jobctl.cli.context import AsJson, broker
from jobctl.cli.listings import Output, OutputOption, chosen
from jobctl.errors import UsageError

if TYPE_CHECKING:
    from jobctl.broker import Broker
    from jobctl.contexts import Seen
    from jobctl.job import Job

AllUsers = Annotated[bool, typer.Option("--all-users", help="Jobs of all users of this engine.")]
AllContexts = Annotated[
    bool,
    typer.Option(
        "--all-contexts",
        help="Jobs on the engines of all contexts, as `docker context ls` shows them.",
    ),
]
Watch = Annotated[
    bool, typer.Option("--watch", "-w", help="Redraw the table each second, until Ctrl-C.")
]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(ps)
    app.command()(top)
    app.command()(apps)


def ps(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Ended jobs too.")] = False,
    all_users: AllUsers = False,
    all_contexts: AllContexts = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print ids only, as -o name does.")
    ] = False,
    watch: Watch = False,
    output: OutputOption = None,
    json: AsJson = False,
) -> None:
    """List your jobs.

    With --all-contexts, engines that can't be asked are told on standard error, and it ends with
    0 all the same.

    Example: jobctl ps --all
    """
    desk, listing = broker(context), listings.jobs(owners=all_users)
    wanted = chosen(output, json=json, names=quiet)
    if all_contexts:
        if watch:
            raise UsageError("--watch looks at one engine; leave --all-contexts out")
        _show_contexts(desk.jobs_of_contexts(everybody=all_users), wanted, ended=everything)
        return

    def look() -> str:
        found = _jobs(desk, all_users=all_users)
        return listing.text([job for job in found if everything or not job.ended], wanted)

    _show(look, wanted, watch=watch)


def top(
    context: typer.Context,
    all_users: AllUsers = False,
    watch: Watch = False,
    output: OutputOption = None,
    json: AsJson = False,
) -> None:
    """Show what your running jobs use: CPU of one core, memory, traffic since their start.

    A job is all of its containers. Those that use most CPU come first.

    Example: jobctl top --watch
    """
    desk, listing = broker(context), listings.usages(owners=all_users)
    wanted = chosen(output, json=json)

    def look() -> str:
        running = [job for job in _jobs(desk, all_users=all_users) if not job.ended]
        used = sorted(desk.usage(running), key=lambda usage: -usage.cpu)
        return listing.text(used, wanted)

    _show(look, wanted, watch=watch)


def apps(context: typer.Context, output: OutputOption = None, json: AsJson = False) -> None:
    """List the apps that can be run.

    Example: jobctl apps
    """
    from jobctl.containers import image_of

    wanted = chosen(output, json=json)
    catalogue = broker(context).catalogue
    found = [
        {
            "app": name,
            "image": image_of(name, section),
            "secured_by": section.secured_by,
            "require_password": section.require_password,
            "source": str(catalogue.origins[name]),
        }
        for name, section in catalogue.apps.items()
    ]
    listings.APPS.show(found, wanted)


def _show_contexts(found: Sequence[Seen], output: Output, *, ended: bool) -> None:
    """Print jobs with their contexts; those that can't be asked are told beside, or in the JSON."""
    kept = [replace(seen, jobs=[j for j in seen.jobs if ended or not j.ended]) for seen in found]
    if output is Output.JSON:
        print(render.as_json([listings.context_object(seen) for seen in kept]))
        return
    for seen in kept:
        if seen.error:
            where = render.one_line(seen.context or "-")
            print(f"jobctl: {where}: {render.clean(seen.error)}", file=sys.stderr)
    rows = [(seen.context or "-", job) for seen in kept for job in seen.jobs]
    listings.jobs_of_contexts().show(rows, output)


def _jobs(desk: Broker, *, all_users: bool) -> list[Job]:
    return desk.jobs_of_everybody() if all_users else desk.jobs()


def _show(look: Callable[[], str], output: Output, *, watch: bool) -> None:
    if not watch:
        if text := look():
            print(text)
        return
    if output not in (Output.TABLE, Output.WIDE):
        raise UsageError(f"--watch redraws a table, not -o {output}; leave one of them out")
    from jobctl.cli import watching

    watching.watch(look)
