"""The commands ``ca``: the authority that a user's jobs are signed by, and who trusts it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobctl.cli import render, streams
from jobctl.cli.context import broker
from jobctl.errors import JobctlError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobctl.candidate import Candidate
    from jobctl.trust import Outcome

commands = typer.Typer(
    help="The certificate authority that your jobs' certificates are signed by.",
    no_args_is_help=True,
)
Exported = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE]", help="Of another host, from `ca export`; - is standard input."
    ),
]
_STDIN = Path("-")


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(commands, name="ca")


@commands.command()
def path(context: typer.Context) -> None:
    """Print the path of the authority's certificate, which is made at first use.

    Example: curl --cacert $(jobctl ca path) https://localhost:8000/
    """
    print(broker(context).authority())


@commands.command()
def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Where to write it; - is standard output.")],
) -> None:
    """Write the authority's certificate to a file, to give to clients. It is no secret.

    Example: jobctl ca export jobctl-ca.crt
    """
    certificate = broker(context).authority().read_bytes()
    if str(file) == "-":
        sys.stdout.buffer.write(certificate)
        return
    try:
        file.write_bytes(certificate)
    except OSError as error:
        raise JobctlError(f"can't write {file}: {error.strerror}; name another file") from None


@commands.command()
def trust(
    context: typer.Context,
    file: Exported = None,
    system: Annotated[
        bool,
        typer.Option(
            "--system", help="This host's programs too, as root; else print what root has to type."
        ),
    ] = False,
    unconstrained: Annotated[
        bool, typer.Option("--unconstrained", help="Even if it could sign for any site at all.")
    ] = False,
) -> None:
    """Make your browsers trust your authority, or another host's, and say what that means.

    Example: jobctl ca trust
    """
    from jobctl import trust as trusting

    if file == _STDIN and system:
        raise UsageError("--system needs the certificate in a file; name one")
    certificate = file or broker(context).authority()
    candidate = _read(certificate)
    if not unconstrained:
        trusting.check(candidate, str(certificate))
    print(render.clean(_meaning(candidate, None if file else certificate.with_suffix(".key"))))
    if system and os.geteuid() != 0:
        commands = trusting.commands_to_trust(candidate, certificate.absolute())
        _show_commands(commands)
        if not commands:
            print("the programs of the whole host trust it already")
    elif system:
        _show([trusting.trust_in_system(candidate)])
    _show(trusting.trust_in_browsers(candidate, Path.home()))


@commands.command()
def untrust(context: typer.Context, file: Exported = None) -> None:
    """Undo `ca trust`: nothing here trusts that authority, nor an earlier one in its place.

    Example: jobctl ca untrust
    """
    from jobctl import trust as trusting

    if file:
        candidate = _read(file)
    else:
        desk = broker(context)
        candidate = trusting.own(desk.directory, desk.owner)
    if os.geteuid() != 0:
        _show_commands(trusting.commands_to_untrust(candidate))
    elif outcome := trusting.untrust_in_system(candidate):
        _show([outcome])
    _show(trusting.untrust_in_browsers(candidate, Path.home()))


def _read(file: Path) -> Candidate:
    from jobctl.candidate import read

    if file == _STDIN:
        return read(streams.secret("the certificate").encode(), "standard input")
    try:
        with file.open("rb") as stream:
            return read(stream.read(streams.MOST_BYTES), str(file))
    except OSError as error:
        raise JobctlError(f"can't read {file}: {error.strerror}; name another file") from None


def _meaning(candidate: Candidate, key: Path | None) -> str:
    """Return in words what it is to trust an authority; ``key`` is where its key is, if here."""
    pairs = candidate.fingerprint.upper()
    lines = [
        candidate.name,
        f"  SHA-256     {':'.join(pairs[n : n + 2] for n in range(0, len(pairs), 2))}",
    ]
    if subjects := candidate.subjects:
        lines += [
            f"  speaks for  {', '.join(sorted(subjects.names))}, and names below them",
            f"              {', '.join(sorted(map(str, subjects.addresses)))}",
        ]
        limits = (
            "Who has its key can pose as these to whoever trusts it, and as nobody else; localhost "
            "is whichever machine they sit at."
        )
    else:
        lines.append("  speaks for  anybody")
        limits = "WHO HAS ITS KEY CAN POSE AS ANY SITE IN THE WORLD TO WHOEVER TRUSTS IT."
    where = f"is in {key}" if key else "is on the host that it comes from"
    return "\n".join(
        [
            *lines,
            f"{limits} The key {where}: its owner can read it, root, and who reaches a rootful "
            "engine's socket there, which makes one root.",
        ]
    )


def _show(outcomes: Sequence[Outcome]) -> None:
    """Print what became of each store, and fail if one is not as was wanted."""
    if not outcomes:
        print("there is no browser of yours here")
    for one in outcomes:
        print(render.clean(f"{one.where}  {one.what}"))
    failed = sum(one.failed for one in outcomes)
    if failed:
        raise JobctlError(f"{failed} of {len(outcomes)} could not be changed; see why above")
    if any(one.changed for one in outcomes):
        print("browsers that are running notice when they are started again")


def _show_commands(commands: Sequence[str]) -> None:
    if commands:
        print("for the programs of the whole host, root has to type:")
        print(render.clean("\n".join(f"  {line}" for line in commands)))
