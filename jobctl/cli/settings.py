"""Commands about the configuration itself: ``config show``, ``import`` and ``schema``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from jobctl.cli import render
from jobctl.cli.context import AsJson, Options, app_names, broker, progress
from jobctl.cli.listings import SETTINGS, Output, OutputOption, chosen
from jobctl.errors import JobctlError

config = typer.Typer(help="Look at the configuration, or bring an older one.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(config, name="config")


@config.command()
def show(
    context: typer.Context,
    apps: Annotated[
        list[str] | None,
        typer.Argument(metavar="[APP...]", help="Only these apps.", autocompletion=app_names),
    ] = None,
    output: OutputOption = None,
    json: AsJson = False,
) -> None:
    """Print every value in force and where it came from.

    Example: jobctl config show conduit
    """
    from jobctl import provenance

    wanted, desk = chosen(output, json=json), broker(context)
    for app in apps or ():
        desk.catalogue.section(app)
    prefixes = [f"apps.{app}." for app in apps or ()]
    found = [
        setting
        for setting in provenance.settings(desk.catalogue)
        if not prefixes or setting.key.startswith(tuple(prefixes))
    ]
    if wanted in (Output.TABLE, Output.WIDE):
        progress(f"{desk.config.path}, {_why(context)}; records are in {desk.directory}")
    SETTINGS.show(found, wanted)


def _why(context: typer.Context) -> str:
    """Return what chose the configuration file."""
    options = context.find_object(Options) or Options()
    if options.config:
        return "as --config says"
    if os.environ.get("JOBCTL_CONFIG"):
        return "as $JOBCTL_CONFIG says"
    return "the first there is of the user's, the system's and the one that comes with jobctl"


@config.command()
def schema() -> None:
    """Print the JSON Schema of config.yaml, with which editors complete and check it.

    Example: jobctl config schema > ~/.config/jobctl/config.schema.json
    """
    from jobctl.jsonschema import schema

    print(render.as_json(schema()))


@config.command("import")
def import_(
    ini: Annotated[Path, typer.Argument(metavar="CONFIG.INI", help="The older file.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to write it; without, to standard output."),
    ] = None,
) -> None:
    """Turn the config.ini of the older scripts into a config.yaml.

    What has no counterpart is told, and kept as a comment.

    Example: jobctl config import config.ini -o ~/.config/jobctl/config.yaml
    """
    from jobctl import legacy

    try:
        text = ini.read_bytes().decode()
    except OSError as error:
        raise JobctlError(f"can't read {ini}: {error.strerror}; name another file") from None
    except UnicodeDecodeError:
        raise JobctlError(f"{ini}: not UTF-8; convert it, as with: iconv -f latin1") from None
    target = output or Path("config.yaml")
    imported = legacy.convert(text, source=ini.absolute(), target=target.absolute())
    for note in imported.notes:
        progress(note)
    if output is None:
        sys.stdout.write(render.clean(imported.text) if sys.stdout.isatty() else imported.text)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(imported.text)
    except FileExistsError:
        raise JobctlError(f"{output} is there already; remove it, or name another file") from None
    except OSError as error:
        raise JobctlError(f"can't write {output}: {error.strerror}; name another file") from None
