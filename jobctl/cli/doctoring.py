"""The command ``doctor``: looks at the host, shows what it found, and mends some if asked to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobctl.cli import render
from jobctl.cli.context import AsJson, Options, progress
from jobctl.errors import JobctlError

if TYPE_CHECKING:
    from jobctl.doctor import Finding, Repair

Fix = Annotated[
    bool, typer.Option("--fix", help="Mend what is safe to mend, then show what is left.")
]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(doctor)


def doctor(context: typer.Context, fix: Fix = False, json: AsJson = False) -> None:
    """Look at this host: who is protected from whom, what is broken, what jobctl can't keep here.

    Changes nothing without --fix. Exits with 0 if all is well or there are warnings, with 1 if
    there is a problem, or after --fix if there still is.

    --fix closes your directory and files to others, puts your records right, builds missing images,
    makes an expired authority anew with the same key, and a network that does not keep containers
    apart if none is on it. It touches nothing of other users or of root, and loses nothing.

    Example: jobctl doctor --fix
    """
    from jobctl import config
    from jobctl.doctor import Subject, Verdict, examine, mend

    options = context.find_object(Options) or Options()
    path = config.find(options.config)

    def subject() -> Subject:
        return Subject(path, report=progress, engine_kind=options.engine, context=options.context)

    findings = examine(first := subject())
    repairs = mend(first, findings) if fix else []
    if repairs:
        findings = examine(subject())
    if json:
        print(render.as_json([_with_repair(one, repairs) for one in findings]))
    else:
        print(_lines(findings, repairs, fixed=fix))
    if any(finding.verdict == Verdict.PROBLEM for finding in findings):
        raise typer.Exit(JobctlError.exit_code)


def _with_repair(finding: Finding, repairs: Sequence[Repair]) -> dict[str, Any]:
    repair = next((asdict(one) for one in repairs if one.name == finding.name), {})
    return {**asdict(finding), "done": repair.get("done"), "failed": repair.get("failed")}


def _lines(findings: Sequence[Finding], repairs: Sequence[Repair], *, fixed: bool) -> str:
    from jobctl.doctor import Verdict

    counts = {verdict: sum(one.verdict == verdict for one in findings) for verdict in Verdict}
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    left = sum(one.fixable for one in findings)
    if left and not fixed:
        summary += f"; jobctl doctor --fix mends {left}"
    if fixed and not repairs:
        summary += "; nothing that --fix mends"
    lines = [
        *(render.finding("FIXED  ", one.what, done) for one in repairs for done in one.done),
        *(render.finding("FAILED ", one.what, one.failed) for one in repairs if one.failed),
        *(
            render.finding(one.verdict.upper().ljust(7), one.what, one.seen, fix=one.fix)
            for one in findings
        ),
    ]
    return "\n".join([*lines, summary])
