"""The command ``doctor``: looks at the host and shows what it found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from jobctl.cli import render
from jobctl.cli.context import AsJson, Options
from jobctl.errors import JobctlError

if TYPE_CHECKING:
    from jobctl.doctor import Finding


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(doctor)


def doctor(context: typer.Context, json: AsJson = False) -> None:
    """Look at this host: who is protected from whom, and what jobctl can't keep here.

    Changes nothing. Exits with 1 if there is a problem.

    Example: jobctl doctor
    """
    from jobctl import config
    from jobctl.doctor import Subject, Verdict, examine

    options = context.find_object(Options) or Options()
    findings = examine(Subject(config.find(options.config)))
    if json:
        print(render.as_json([asdict(finding) for finding in findings]))
    else:
        print(_lines(findings))
    if any(finding.verdict == Verdict.PROBLEM for finding in findings):
        raise typer.Exit(JobctlError.exit_code)


def _lines(findings: Sequence[Finding]) -> str:
    from jobctl.doctor import Verdict

    counts = {verdict: sum(one.verdict == verdict for one in findings) for verdict in Verdict}
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    lines = [
        render.finding(one.verdict.upper().ljust(7), one.what, one.seen, fix=one.fix)
        for one in findings
    ]
    return "\n".join([*lines, summary])
