"""Job arrays: one order made into many that differ in their number, and in their passwords."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from jobctl.engines.base import Bind
from jobctl.errors import UsageError
from jobctl.orders import Order
from jobctl.passwords import generate
from jobctl.placeholders import fill_number


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
    """Return a new password that can be handed out in a table: it begins as no formula does."""
    while not (made := generate())[0].isalnum():
        pass
    return made


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
