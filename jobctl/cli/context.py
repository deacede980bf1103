"""What every command needs: the broker with the configuration in force, and ids to complete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from jobctl.cli.progress import progress
from jobctl.errors import JobctlError

if TYPE_CHECKING:
    from jobctl.broker import Broker

__all__ = ["AsJson", "Options", "app_names", "broker", "job_ids", "progress"]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass
class Options:
    """The options that stand before the command."""

    config: str | None = None


def broker(context: typer.Context) -> Broker:
    """Return the broker; progress goes to standard error."""
    from jobctl import config
    from jobctl.broker import Broker

    options = context.find_object(Options) or Options()
    return Broker(config.load(config.find(options.config)), report=progress)


def job_ids(context: typer.Context, incomplete: str) -> list[str]:
    """Return the ids on record that complete what was typed; asks no engine."""
    try:
        return [job for job in broker(context).registry.read() if job.startswith(incomplete)]
    except JobctlError:
        return []


def app_names(context: typer.Context, incomplete: str) -> list[str]:
    """Return the apps that complete what was typed."""
    try:
        return [app for app in broker(context).catalogue.apps if app.startswith(incomplete)]
    except JobctlError:
        return []
