"""Plugins: installed packages that bring apps, found by their entry points in ``jobctl.apps``.

An entry point names a package that has a ``config.yaml`` in it, with ``app_modules/`` and
``images/`` beside that as far as its apps need them. Finding them runs none of their code.
"""

from __future__ import annotations

from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path

from jobctl.config import Origin
from jobctl.errors import JobctlError

GROUP = "jobctl.apps"


def origins() -> list[Origin]:
    """Return the configuration file of each plugin, by the name of its distribution.

    Raises:
        JobctlError: an entry point names no package, or one without ``config.yaml``.
    """
    points = metadata.entry_points(group=GROUP)
    found = {Origin(_file(point), _distribution(point)) for point in points}
    return sorted(found, key=lambda origin: (origin.package or "", origin.path))


def _distribution(point: metadata.EntryPoint) -> str:
    return point.dist.name if point.dist else point.module


def _file(point: metadata.EntryPoint) -> Path:
    where = f"the package {_distribution(point)}: entry point {GROUP}: {point.name}"
    path: list[str] | None = None
    for count in range(1, len(parts := point.module.split(".")) + 1):
        # Not `importlib.util.find_spec`, which imports the packages above.
        spec = PathFinder.find_spec(".".join(parts[:count]), path)
        if spec is None or not spec.submodule_search_locations:
            raise JobctlError(f'{where}: "{point.module}" is no package; uninstall or mend it')
        path = list(spec.submodule_search_locations)
    for directory in path or ():
        if (file := Path(directory, "config.yaml")).is_file():
            return file
    raise JobctlError(f'{where}: "{point.module}" has no config.yaml; uninstall or mend it')
