"""Apps: a section of the configuration together with its module's four functions."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import ExecutionLoader
from importlib.util import decode_source, module_from_spec, spec_from_loader
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any

from jobctl import helpers, ownership
from jobctl.config import Config, Origin, override, shipped
from jobctl.errors import JobctlError
from jobctl.schema import Section, nearest_app_name

MOST_BYTES = 1 << 20
FUNCTIONS = ("get_password", "gen_cert", "gen_config", "get_launch_cmd")

_CALLING = RLock()
"""Held while a module is called: none has to be fit for threads, and the umask is everybody's."""


@dataclass(frozen=True)
class App:
    """One app that can be launched; calling its module is safe in that any failure names it."""

    name: str
    section: Section
    module: ModuleType
    source: str

    def get_password(self, ask: Callable[[], str]) -> str | None:
        """Let the module ask for a password; the default one uses ``ask``. Returns the hash."""
        token = helpers.asking.set(ask)
        try:
            line: str | None = self._call("get_password", str)
            return line
        finally:
            helpers.asking.reset(token)

    def gen_cert(self, job: Mapping[str, Any], password_hash: str | None) -> None:
        """Let the module write the job's key and certificate."""
        self._call("gen_cert", object, job, password_hash)

    def gen_config(self, job: Mapping[str, Any]) -> str | None:
        """Let the module write the app's configuration, and return its path.

        Raises:
            JobctlError: what it returned is not a file of this job, which ``rm`` would leave.
        """
        path: str | None = self._call("gen_config", str, job)
        if path is None:
            return None
        own = Path(job["job_root"])
        if Path(path).parent != own or not Path(path).name.startswith(
            (f"{job['job_id']}_", f"{job['job_id']}.")
        ):
            raise JobctlError(
                f'{self.source}: gen_config returned "{path}"; expected a path that starts with '
                f"{own / job['job_id']}_ or ."
            )
        if not path.isprintable():
            raise JobctlError(
                f"{self.source}: gen_config returned {path!a}; expected a name without "
                "control characters"
            )
        if not Path(path).is_file():
            raise JobctlError(
                f'{self.source}: gen_config returned "{path}" but did not write it; write it, '
                "or return None"
            )
        return path

    def get_launch_cmd(self, job: Mapping[str, Any]) -> list[str] | None:
        """Return the words of the command line that starts the app; ``None``: the image's own."""
        command = self._call("get_launch_cmd", str, job)
        if command is None:
            return None
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise JobctlError(
                f'{self.source}: get_launch_cmd returned "{command}": {error}; mend its quotes'
            ) from None
        if not words or not words[0]:
            raise JobctlError(
                f"{self.source}: get_launch_cmd returned no command; return one, or None for "
                "what the image itself runs"
            )
        return words

    def _call(self, function: str, kind: type, *arguments: object) -> Any:
        with _CALLING, _private_files():
            try:
                result = getattr(self.module, function)(*arguments)
            except JobctlError:
                raise
            except (Exception, SystemExit) as error:
                raise JobctlError(
                    f"{self.source}: {function} raised {type(error).__name__}: {error}; see "
                    "where with: jobctl --debug"
                ) from error
        if result is not None and not isinstance(result, kind):
            raise JobctlError(
                f"{self.source}: {function} returned {type(result).__name__}, "
                f"expected {kind.__name__} or None"
            )
        return result


def load(name: str, config: Config, changes: Mapping[str, Any] | None = None) -> App:
    """Return an app with its module imported; ``changes`` are keys of its section for this once.

    Raises:
        JobctlError: there is no such app, or its module can't be imported or lacks a function.
    """
    section = override(name, config.section(name), changes or {})
    origin = config.origins[name]
    path = module_of(name, section, origin)
    if path is None:
        return App(name, section, helpers, "the default module")
    return App(name, section, _import(path, source(path, origin)), str(path))


def module_of(name: str, section: Section, origin: Origin) -> Path | None:
    """Return the file of an app's module, ``None`` for an app that has the default one."""
    if section.app_module_path is None and section.app_module is None:
        return None
    path = origin.path.parent / (section.app_module_path or "app_modules")
    return path / f"{section.app_module or f'{name}_module'}.py" if path.is_dir() else path


def ad_hoc(image: str, changes: Mapping[str, Any]) -> App:
    """Return an app of which there is no section, but an image, which it is named after."""
    last = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    name = nearest_app_name(last) or "app"
    section = override(name, Section(), {"image": image, **changes})
    return App(name, section, helpers, "the default module")


def source(path: Path, origin: Origin) -> bytes:
    """Return the source of a module that nobody else could have written.

    Raises:
        JobctlError: others could have, or it can't be read.
    """
    if path.suffix != ".py":
        raise JobctlError(f"{path}: not a Python file; name one in app_module_path")
    try:
        if origin.package or path.is_relative_to(shipped()):
            # Who can write these can write the code beside them, which is running already.
            return ownership.read_plain(path, most=MOST_BYTES)
        return ownership.read(path, most=MOST_BYTES)
    except OSError as error:
        raise JobctlError(
            f"{path}: can't import it: {error.strerror}; mend app_module_path"
        ) from None


class _Loader(ExecutionLoader):
    """Runs the source that was looked at, and no bytecode that lies beside it."""

    def __init__(self, path: Path, source: bytes) -> None:
        self._path = path
        self._source = source

    def get_filename(self, fullname: str) -> str:  # noqa: ARG002
        return str(self._path)

    def get_source(self, fullname: str) -> str:  # noqa: ARG002
        return decode_source(self._source)


def _import(path: Path, source: bytes) -> ModuleType:
    loader = _Loader(path, source)
    spec = spec_from_loader(f"jobctl_app_{path.stem}", loader)
    if spec is None:
        raise JobctlError(f"{path}: can't import it; see whether it is a Python file")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickle look a class's module up there
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[spec.name]
        raise JobctlError(
            f"{path}: can't import it: {type(error).__name__}: {error}; see where with: jobctl "
            "--debug"
        ) from error
    missing = [name for name in FUNCTIONS if not callable(getattr(module, name, None))]
    if missing:
        raise JobctlError(
            f"{path}: no function {', '.join(missing)}; write it, or import the default: "
            f"from jobctl.helpers import {', '.join(missing)}"
        )
    return module


@contextmanager
def _private_files() -> Iterator[None]:
    """Make files that a module writes with a plain ``open`` readable by nobody else."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)
