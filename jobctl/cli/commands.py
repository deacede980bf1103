"""The command tree: what commands there are, and the options that stand before them.

Each is built when it is asked for: what is typed dozens of times a day must not wait for all that
could have been typed instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_group

from jobctl.cli import shells
from jobctl.cli.context import Options, engine_kind, progress
from jobctl.cli.words import one_line


class _Entry(NamedTuple):
    """A command, the module that has it, and what help says of it among others."""

    name: str
    module: str
    summary: str


_SECTIONS = {
    "Jobs": [
        _Entry("run", "launching", "Launch an app, verified: reachable, and protected"),
        _Entry("ps", "looking", "List your jobs"),
        _Entry("top", "looking", "Show what your running jobs use"),
        _Entry("inspect", "jobs", "Show all that is on record about a job"),
        _Entry("logs", "jobs", "Print the log of a job"),
        _Entry("stop", "jobs", "Stop jobs; they can be started again"),
        _Entry("start", "jobs", "Start stopped jobs again"),
        _Entry("rm", "jobs", "Remove jobs: containers, files and records"),
        _Entry("prune", "jobs", "Remove all jobs that have ended"),
        _Entry("extend", "lifetimes", "Give a job more time"),
        _Entry("reap", "lifetimes", "Stop jobs that are over or idle"),
    ],
    "Ways to them": [
        _Entry("url", "jobs", "Print what to open in a browser"),
        _Entry("open", "reaching", "Open a job in your browser"),
        _Entry("tunnel", "reaching", "Bring a job of another host here, through ssh"),
        _Entry("ca", "authority", "The authority behind your jobs' certificates"),
    ],
    "Apps": [
        _Entry("apps", "looking", "List the apps that can be run"),
        _Entry("images", "imaging", "Build and list their images"),
        _Entry("new", "checking", "Begin a new app"),
        _Entry("check", "checking", "Put an app through the conformance test"),
    ],
    "This host": [
        _Entry("config", "settings", "Look at the configuration, or import an older one"),
        _Entry("doctor", "doctoring", "Find, and mend, what is broken or unprotected"),
    ],
    "For programs": [
        _Entry("broker", "machine", "Register, update and query jobs"),
        _Entry("client", "machine", "Query the broker"),
        _Entry("server", "launching", "The older name of run"),
    ],
}


class _Commands(MutableMapping[str, Any]):
    """The commands by name, each made at first use.

    Of which class they are is Typer's business, which has had a Click of its own since 0.26.
    """

    def __init__(self) -> None:
        self._modules = {one.name: one.module for part in _SECTIONS.values() for one in part}
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            module = import_module(f"jobctl.cli.{self._modules[name]}")
            family = typer.Typer(rich_markup_mode=None)
            module.add_to(family)
            self._made |= get_group(family).commands
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


class _Tree(TyperGroup):
    """The root, which lists its commands without making them."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes | {"commands": _Commands()})

    def list_commands(self, _context: Any) -> list[str]:
        """Return the names in the order in which help shows them."""
        return [*self.commands]

    def format_commands(self, _context: Any, formatter: Any) -> None:
        """Write the commands by what they are for."""
        for title, entries in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(one.name, one.summary) for one in entries])


shells.mend_completion()
app = typer.Typer(
    cls=_Tree,
    rich_markup_mode=None,
    help="Launch web applications on this host: own port, verified TLS, a password, "
    "a locked-down container.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_QUICKLY_S = 2


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
        with suppress(Exception):  # whatever it is, jobctl has a version
            said.append(_greeting(within) or _introduction())

    # Nobody waits for it at the end: a remote engine that is gone may be asked for a minute.
    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(within)
    return one_line(said[0]) if said else None


def _greeting(timeout: float) -> str | None:
    """Return what the usual engine says, ``None`` where something names another."""
    from jobctl import paths
    from jobctl.engines import greeting

    socket, path = greeting.usual_socket(), paths.find()
    if socket and path != paths.shipped_file():
        from jobctl import config

        socket = socket if config.load(path).general.engine == "docker" else None
    return f"docker {greeting.version(socket, timeout=timeout)}" if socket else None


def _introduction() -> str:
    from jobctl.broker import Broker

    with Broker() as desk:
        return f"{desk.engine.name} {desk.engine.version()}"


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
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version, debug  # main() looks for --debug itself: errors may come before this
    progress.quiet = quiet
    if no_color:
        os.environ["NO_COLOR"] = "1"
    context.obj = Options(config=config, engine=engine_kind(engine), context=engine_context)
