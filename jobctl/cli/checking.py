"""Commands for who adds an app: ``new`` begins it, ``check`` makes sure of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from jobctl.cli import render
from jobctl.cli.context import AsJson, broker
from jobctl.cli.launching import AppName, AppPort, Args, Image, order
from jobctl.errors import JobctlError

if TYPE_CHECKING:
    from jobctl.conformance import Finding

_WORDS = {True: "PASS", False: "FAIL", None: "SKIP"}


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(check)
    app.command()(new)


def check(
    context: typer.Context,
    app: AppName = None,
    args: Args = None,
    image: Image = None,
    app_port: AppPort = None,
    json: AsJson = False,
) -> None:
    """Launch an app, check that it is protected and locked down and leaves nothing, remove it.

    Exits with 1 if something is not as it should be.

    Example: jobctl check conduit
    """
    from jobctl import conformance

    wanted = order(app, args, image)
    if app_port is not None:
        wanted = replace(wanted, changes={"app_port": app_port})
    findings = conformance.check(broker(context), wanted)
    if json:
        print(render.as_json([asdict(finding) for finding in findings]))
    else:
        print(_table(findings))
    if any(finding.passed is False for finding in findings):
        raise typer.Exit(JobctlError.exit_code)


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


def _table(findings: Sequence[Finding]) -> str:
    lines = [render.finding(_WORDS[one.passed], one.what, one.detail) for one in findings]
    passed, failed, skipped = (
        sum(finding.passed is state for finding in findings) for state in (True, False, None)
    )
    summary = f"{passed} passed, {failed} failed"
    return "\n".join([*lines, summary + (f", {skipped} not checked" if skipped else "")])
