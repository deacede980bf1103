"""Which ports a launch may try: those that nobody is known to hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from jobctl import hosts
from jobctl.errors import ClaimLost, UsageError

SHOWN_HOLDERS = 5


def candidates(
    port_range: tuple[int, int],
    *,
    wanted: int | None,
    address: str | None,
    holders: Mapping[int, str],
    more: Callable[[], Mapping[int, str]],
    busy: Callable[[int], bool],
) -> Iterator[int]:
    """Yield the ports to try, one after the other.

    ``address`` is where they are to be bound, ``None`` if not on this host. ``holders`` says in
    words who holds a port, as far as that is known at little cost; ``more`` is called for all the
    others once a port turns out to be held. ``busy`` tells whether another launch is trying one
    now. All this saves tries and makes for good messages: the engine has the last word.

    Raises:
        UsageError: the port that is ``wanted`` is outside the range.
        ClaimLost: none is left, or the one that is ``wanted`` is taken; says by whom.
    """
    low, high = port_range
    if wanted is not None and not low <= wanted <= high:
        raise UsageError(
            f"port {wanted} is outside general.port_range, which is {low}-{high}; choose one inside"
        )
    known, all_known = dict(holders), False
    for port in range(low, high + 1) if wanted is None else [wanted]:
        if port in known:
            continue
        if busy(port):
            known[port] = "a launch under way"
        elif address and hosts.is_bound(address, port):
            known[port] = hosts.holder(port) or "another process"
        else:
            yield port
            if not all_known:
                known, all_known = {**known, **more(), **holders}, True
            known.setdefault(port, "somebody who was faster")
    if not all_known:
        known = {**known, **more(), **holders}
    if wanted is not None:
        raise ClaimLost(f"port {wanted} is taken by {known[wanted]}; choose another, or none")
    inside = [f"{port}: {who}" for port, who in sorted(known.items()) if low <= port <= high]
    others = f" and {len(inside) - SHOWN_HOLDERS} more" if len(inside) > SHOWN_HOLDERS else ""
    raise ClaimLost(
        f"no port is free in {low}-{high} ({', '.join(inside[:SHOWN_HOLDERS])}{others}); remove "
        "ended jobs with: jobctl prune, or widen general.port_range"
    )
