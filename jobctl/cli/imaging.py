"""Commands about the images of apps: ``images build`` and ``images ls``."""

from __future__ import annotations

from typing import Annotated

import typer

from jobctl.cli import listings, render
from jobctl.cli.context import AsJson, app_names, broker
from jobctl.cli.listings import OutputOption, chosen

images = typer.Typer(help="Build and list the images of apps.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(images, name="images")


@images.command()
def build(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[APP...]", autocompletion=app_names)
    ] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build even what is current.")] = False,
) -> None:
    """Build the images of apps, and those below them, as far as something changed.

    Example: jobctl images build conduit
    """
    for tag in broker(context).build(names or (), rebuild=rebuild):
        print(render.clean(tag))


@images.command()
def ls(context: typer.Context, output: OutputOption = None, json: AsJson = False) -> None:
    """List the images that jobctl builds.

    Example: jobctl images ls
    """
    wanted = chosen(output, json=json)
    listings.IMAGES.show(broker(context).images(), wanted)
