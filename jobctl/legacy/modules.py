"""Looks at app modules of the older scripts for what keeps them from running. Changes none."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobctl.legacy.ini import Block
from jobctl.legacy.notes import Notes

_HELPERS = re.compile(
    r"\s*(?:from\s+(?!jobctl\b)[\w.]*\bhelpers\s+import\b|import\s+(?:[\w.]+\s*,\s*)*helpers\b)"
)


def file_of(app: str, values: Mapping[str, Any], directory: Path) -> Path | None:
    """Return the module that an app will have, or ``None`` for the default one."""
    path, name = values.get("app_module_path"), values.get("app_module")
    if path is None and name is None:
        return None
    file = directory / (path or "app_modules")
    return file / f"{name or f'{app}_module'}.py" if file.is_dir() else file


def look_into(file: Path | None, block: Block, notes: Notes) -> None:
    """Note where a module imports its helpers, or is none for Python 3."""
    if file is None:
        return
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        notes.add(
            block.line,
            f'[{block.name}]: can\'t read its module "{file}": {error.strerror}; put it there, or '
            "mend app_module_path and app_module",
        )
        return
    for number, line in enumerate(text.splitlines(), 1):
        if _HELPERS.match(line):
            notes.imports[f"{file}:{number}"] = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(text)
        except (SyntaxError, ValueError) as error:
            place = f"{file}:{getattr(error, 'lineno', None) or 1}"
            notes.add(
                block.line,
                f"[{block.name}]: its module is not written for Python 3, see {place}; mend that",
            )
