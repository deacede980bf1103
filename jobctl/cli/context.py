"""What every command needs: the broker with the configuration in force, and what completes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from jobctl.cli.progress import progress
from jobctl.errors import JobctlError, UsageError

if TYPE_CHECKING:
    from jobctl.broker import Broker
    from jobctl.config import Section
    from jobctl.job import Job
    from jobctl.schema import EngineKind

__all__ = [
    "AsJson",
    "Options",
    "app_names",
    "broker",
    "engine_kind",
    "image_names",
    "job_ids",
    "progress",
]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_MOST_DESCRIPTION = 60


@dataclass
class Options:
    """The options that stand before the command."""

    config: str | None = None
    engine: EngineKind | None = None
    context: str | None = None


def broker(context: typer.Context) -> Broker:
    """Return the broker; progress goes to standard error."""
    from jobctl import config
    from jobctl.broker import Broker

    options = context.find_object(Options) or Options()
    return Broker(
        config.load(config.find(options.config)),
        report=progress,
        engine_kind=options.engine,
        context=options.context,
    )


def engine_kind(text: str | None) -> EngineKind | None:
    """Return the kind of engine that an option names.

    Raises:
        UsageError: there is no such kind.
    """
    if text is None:
        return None
    from jobctl.schema import ENGINE_KINDS

    for kind in ENGINE_KINDS:
        if text == kind:
            return kind
    raise UsageError(f'--engine "{text}": expected one of: {", ".join(ENGINE_KINDS)}')


# Completion asks no engine and writes nothing. Shells evaluate some of what it says, so that only
# what can't mean anything to them is said: ids and names are made of nothing else.
_NOTHING_TO_OFFER = (JobctlError, OSError, RuntimeError)  # the last where there is no home


def job_ids(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the jobs on record that complete what was typed, by id or port, with what they are."""
    by_port = incomplete[:1].isdecimal()
    return [
        (name, _harmless(f"{job.app}, {job.status}"))
        for job in _on_record(context)
        if (name := job.port if by_port else job.job_id).startswith(incomplete)
    ]


def app_names(context: typer.Context, incomplete: str) -> list[str]:
    """Return the apps that complete what was typed."""
    return [app for app in _sections(context) if app.startswith(incomplete)]


def image_names(context: typer.Context, incomplete: str) -> list[str]:
    """Return the images of apps that complete what was typed."""
    from jobctl.containers import image_of

    names = dict.fromkeys(image_of(app, one) for app, one in _sections(context).items())
    return [name for name in names if name.startswith(incomplete)]


def _on_record(context: typer.Context) -> Iterable[Job]:
    from jobctl import paths
    from jobctl.locks import Locks
    from jobctl.registry import Registry

    try:
        directory = paths.directory(_user_dir_base(context), paths.caller())
        return Registry(directory, Locks(directory)).read().values()
    except _NOTHING_TO_OFFER:
        return []


def _user_dir_base(context: typer.Context) -> str | None:
    """Return the setting; to read what comes with jobctl, which has none, would take a while."""
    from jobctl import paths

    path = paths.find(context.find_root().params.get("config"))
    if path == paths.shipped_file():
        return None
    from jobctl import config

    return config.load(path).general.user_dir_base


def _sections(context: typer.Context) -> Mapping[str, Section]:
    try:
        return _desk(context).catalogue.apps
    except _NOTHING_TO_OFFER:
        return {}


def _desk(context: typer.Context) -> Broker:
    from jobctl import config
    from jobctl.broker import Broker

    # While completing, no command has run that would have set the options.
    path = context.find_root().params.get("config")
    return Broker(config.load(config.find(path)))


def _harmless(text: str) -> str:
    return re.sub("[^A-Za-z0-9,._ -]+", "?", text)[:_MOST_DESCRIPTION]
