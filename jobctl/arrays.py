"""Job arrays: one order made into many, and what is done once for all of them.

They differ in their number, and perhaps in their passwords. How they are launched is for
``jobctl.batch``.
"""

from __future__ import annotations

import secrets
import string
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobctl.containers import GATEWAY_IMAGE, image_of, parse_mount
from jobctl.engines.base import Bind
from jobctl.errors import UsageError
from jobctl.launch import Launch
from jobctl.orders import Order
from jobctl.passwords import generate
from jobctl.placeholders import fill_number
from jobctl.preparation import Preparation


def numbered(
    order: Order, count: int, *, passwords: Callable[[], str] | None = None
) -> list[Order]:
    """Return ``count`` orders, numbered from 1 on.

    The number stands for ``{number}`` in arguments, in values of the environment, in mounts and in
    changes. Apps find it in ``JOBCTL_NUMBER``, and the count in ``JOBCTL_COUNT``. ``passwords``
    makes one up for each; without it, all have what the order has.

    Raises:
        UsageError: ``count`` is less than 1, or a placeholder is malformed.
    """
    if count < 1:
        raise UsageError(f"can't launch {count} jobs; expected a count from 1 on")
    try:
        return [_numbered(order, number, count, passwords) for number in range(1, count + 1)]
    except ValueError as error:
        raise UsageError(str(error)) from None


def password() -> str:
    """Return a new password that can stand in a table: programs take none of it for a formula."""
    return secrets.choice(string.ascii_letters) + generate()


def _numbered(order: Order, number: int, count: int, passwords: Callable[[], str] | None) -> Order:
    variables = {"JOBCTL_NUMBER": str(number), "JOBCTL_COUNT": str(count)}
    return replace(
        order,
        args=[fill_number(word, number) for word in order.args],
        env=variables | _filled(order.env, number),
        mounts=[
            Bind(
                source=fill_number(bind.source, number),
                target=fill_number(bind.target, number),
                read_only=bind.read_only,
            )
            for bind in order.mounts
        ],
        changes=_filled(order.changes, number),
        password=passwords() if passwords else order.password,
    )


def _filled(value: Any, number: int) -> Any:
    """Return a value with the number in all text that is in it, but for the names of keys."""
    if isinstance(value, str):
        return fill_number(value, number)
    if isinstance(value, Mapping):
        return {key: _filled(inner, number) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(inner, number) for inner in value]
    return value


def check(orders: Sequence[Order], port_range: tuple[int, int]) -> None:
    """Make sure that orders can be carried out together.

    Raises:
        UsageError: there are none, more than there are ports, or one wants a certain port.
    """
    low, high = port_range
    if not orders:
        raise UsageError("there is nothing to launch; give at least one order")
    if len(orders) > high - low + 1:
        raise UsageError(
            f"{len(orders)} jobs need as many ports, and general.port_range has {high - low + 1} "
            f"({low}-{high}); widen it, or launch fewer"
        )
    for order in orders:
        if order.port is not None:
            raise UsageError(
                f"port {order.port} is for one job alone; leave it out to launch several"
            )


def preparations(
    orders: Iterable[Order], prepare: Callable[[Order], Preparation]
) -> list[Preparation]:
    """Return what prepares each job; modules of apps are loaded once for equal sections."""
    made: list[Preparation] = []
    for order in orders:
        if made and _what(made[-1].order) == _what(order):
            made.append(replace(made[-1], order=order))
        else:
            made.append(prepare(order))
    return made


def _what(order: Order) -> tuple[object, ...]:
    return order.app, order.image, order.changes


def check_unseen(file: Path, preparations: Iterable[Preparation], *, instead: Path) -> None:
    """Make sure that no job has a file mounted, which ``instead`` could be elsewhere.

    Raises:
        UsageError: one has, by itself or by a directory above it.
    """
    holders = {_identity(one) for one in [file, *(file.parent.resolve() / file.name).parents]}
    for one in preparations:
        for source in _sources(one):
            if (found := _identity(source)) and found in holders:
                raise UsageError(
                    f"{file} is not for the jobs to read, and they have {source} mounted; name a "
                    f"file elsewhere, such as {instead}"
                )


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what is the same of one file by whatever name; ``None`` if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _sources(one: Preparation) -> Iterator[Path]:
    """Yield what of the host a job has mounted: where that depends on the job, what is above it."""
    if one.section.mount_cwd:
        yield one.order.directory
    yield from (Path(bind.source) for bind in one.order.mounts)
    for text in one.section.mounts:
        source = parse_mount(text).source.replace("{directory}", str(one.order.directory))
        known, brace, _ = source.partition("{")
        yield Path(known.rpartition("/")[0] or "/") if brace else Path(known)


def protected(launches: Sequence[Launch]) -> list[Launch]:
    """Give those launches their password that share one, or that have to ask; each once.

    The others get theirs in their own threads: hashes are meant to take long.
    """
    keys = [_password_key(launch) for launch in launches]
    often = Counter(keys)
    known: dict[object, Launch] = {}
    made = []
    for launch, key in zip(launches, keys, strict=True):
        if often[key] == 1 and launch.preparation.order.password is not None:
            made.append(launch)
            continue
        first = known.get(key) or known.setdefault(key, launch.protected())
        made.append(replace(launch, password_line=first.password_line, secret=first.secret))
    return made


def _password_key(launch: Launch) -> object:
    order, section = launch.preparation.order, launch.section
    how = (section.require_password, section.hash_algorithm, section.realm)
    return launch.preparation.app.name, how, order.password, order.password_hash, order.ask


def images(launches: Iterable[Launch]) -> list[str]:
    """Return the images that launches need, each once."""
    needed: dict[str, None] = {}
    for launch in launches:
        if launch.section.secured_by == "gateway":
            needed[GATEWAY_IMAGE] = None
        needed[image_of(launch.preparation.app.name, launch.section)] = None
    return [*needed]
