"""The files of a new app: a section, a module and a Dockerfile that work as they are."""

from __future__ import annotations

import os
import re
from pathlib import Path

from jobctl import config, yamlfile
from jobctl.errors import JobctlError
from jobctl.schema import APP_NAME, APP_NAME_EXPECTED

_TEMPLATE = Path(__file__).parent / "template"
_NEW_CONFIG = """\
# Your apps, beside those of the files that are included.
include: [{include}]

apps:
"""


def create(name: str, *, catalogue: config.Config) -> list[Path]:
    """Add an app to the user's own configuration and return what was written, that file first.

    That is the file in force, or if that can't be written, as is so with the one that comes with
    jobctl, a new one that includes it.

    Raises:
        JobctlError: there is such an app or file already, or something can't be written; then
            nothing is.
    """
    if re.fullmatch(APP_NAME, name) is None:
        raise JobctlError(f'"{name}" can\'t be the name of an app; expected {APP_NAME_EXPECTED}')
    if name in catalogue.origins:
        raise JobctlError(
            f'there is an app "{name}" already, from {catalogue.origins[name]}; take another name'
        )
    path, text = _own_config(catalogue.path)
    files = {
        path.parent / "app_modules" / f"{name}_module.py": "module.py.txt",
        path.parent / "images" / name / "Dockerfile": "Dockerfile",
        path.parent / "images" / name / "serve.py": "serve.py.txt",
    }
    for file in files:
        if file.exists():
            raise JobctlError(f"{file} is there already; remove it, or take another name")
    written: list[Path] = []
    try:
        for file, template in files.items():
            _write(file, _filled(template, name))
            written.append(file)
        _replace(path, yamlfile.insert(text, "apps", "\n" + _filled("section.yaml", name)))
    except BaseException:
        for file in written:
            file.unlink()
        raise
    return [path, *written]


def _own_config(in_force: Path) -> tuple[Path, str]:
    """Return the configuration file to add to, and what it says or would have to begin with."""
    mine = config.user_file()
    if in_force.parent == config.shipped():
        return mine, _NEW_CONFIG.format(include=config.SHIPPED)
    if not in_force.exists():
        return in_force, _NEW_CONFIG.format(include=config.SHIPPED)
    # What a link points to is the file: many keep theirs elsewhere.
    file = in_force.resolve()
    if not os.access(file, os.W_OK):
        if mine.exists():
            raise JobctlError(f"can't write {file}; mend its permissions")
        return mine, _NEW_CONFIG.format(include=in_force)
    return file, file.read_text()


def _filled(template: str, name: str) -> str:
    return (_TEMPLATE / template).read_text().replace("@NAME@", name)


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x") as opened:
            opened.write(text)
    except OSError as error:
        raise JobctlError(
            f"can't write {file}: {error.strerror}; mend that and try again"
        ) from None


def _replace(path: Path, text: str) -> None:
    """Put a configuration in the place of what is there, once it is seen to be right."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.unlink(missing_ok=True)
    _write(scratch, text)
    try:
        config.load(scratch)
        if path.exists():
            scratch.chmod(path.stat().st_mode & 0o7777)
        scratch.replace(path)
    except OSError as error:
        raise JobctlError(
            f"can't write {path}: {error.strerror}; mend that and try again"
        ) from None
    finally:
        scratch.unlink(missing_ok=True)
