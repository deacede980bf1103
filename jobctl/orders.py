"""What a caller wants launched, and whether that can be had: address, password, limits."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from jobctl import passwords
from jobctl.apps import App
from jobctl.engines.base import Bind
from jobctl.errors import JobctlError, UsageError
from jobctl.probe import Secret
from jobctl.schema import Section

_UNSAYABLE = re.compile("[\0\ud800-\udfff]")


def here() -> Path:
    """Return the current directory.

    Raises:
        JobctlError: it was removed.
    """
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise JobctlError("the current directory is gone; change to another") from None


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a caller wants launched: an ``app``, or an ``image`` that no section speaks of.

    One of ``password`` (plain), ``password_hash`` and ``ask`` (which returns a plain one) says
    how clients get in. ``changes`` are keys of the app's section with the values for this job,
    ``mounts`` and ``env`` come on top of the section's, ``directory`` is where the caller is.
    """

    app: str = ""
    image: str | None = None
    args: Sequence[str] = ()
    password: str | None = field(default=None, repr=False)
    password_hash: str | None = field(default=None, repr=False)
    ask: Callable[[], str] | None = None
    bind: str | None = None
    port: int | None = None
    mounts: Sequence[Bind] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    directory: Path = field(default_factory=here)

    def __post_init__(self) -> None:
        """Check what can't be said to an engine, which speaks JSON.

        Raises:
            UsageError: it is no UTF-8, or has a NUL in it.
        """
        mounts = [path for bind in self.mounts for path in (bind.source, bind.target)]
        for what, texts in {
            "argument": self.args,
            "mount": mounts,
            "variable": [f"{name}={value}" for name, value in self.env.items()],
            "current directory": [str(self.directory)],
        }.items():
            for text in texts:
                if _UNSAYABLE.search(text):
                    raise UsageError(
                        f"{what} {text!a}: it is no UTF-8, or has a NUL in it; leave that out"
                    )


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What of an order is kept with its job, to make the job's containers anew."""

    app: str
    image: str | None
    args: list[str]
    mounts: list[Bind]
    env: dict[str, str]
    changes: dict[str, Any]
    directory: str


def dump(order: Order) -> bytes:
    """Return an order as JSON, without its password; ``env`` may hold what others must not see."""
    kept = _Kept(
        app=order.app,
        image=order.image,
        args=list(order.args),
        mounts=list(order.mounts),
        env=dict(order.env),
        changes=dict(order.changes),
        directory=str(order.directory),
    )
    return msgspec.json.encode(kept)


def load(data: bytes) -> Order:
    """Return an order from what ``dump`` made of it.

    Raises:
        JobctlError: it is none.
    """
    try:
        kept = msgspec.json.decode(data, type=_Kept)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JobctlError(
            f"what the job was launched with can't be read: {error}; launch it anew"
        ) from None
    return Order(
        app=kept.app,
        image=kept.image,
        args=kept.args,
        mounts=kept.mounts,
        env=kept.env,
        changes=kept.changes,
        directory=Path(kept.directory),
    )


def bind_address(order: Order, section: Section, *, default: str) -> str:
    """Return the address to publish the port on.

    Raises:
        UsageError: what was asked for is no address.
        JobctlError: it would expose an app that has no password.
    """
    wanted = default if order.bind is None else order.bind
    try:
        if "%" in wanted:  # an address of one link: not every client is on it
            raise ValueError(wanted)
        address = ipaddress.ip_address("127.0.0.1" if wanted == "localhost" else wanted)
    except ValueError:
        raise UsageError(
            f'"{wanted}" is no address to bind to; expected one such as 127.0.0.1 or 0.0.0.0'
        ) from None
    if not (address.is_loopback or section.require_password or section.allow_open):
        raise JobctlError(
            f"{order.app or order.image} has require_password: false, so it is not exposed on "
            f"{address}; to do so all the same, set allow_open: true in its section"
        )
    return str(address)


def check_exposure(address: str, *, cluster: bool) -> None:
    """Make sure that a job may be published where it will be.

    Raises:
        UsageError: a cluster can't publish on one address alone.
    """
    if cluster and address not in ("0.0.0.0", "::"):  # noqa: S104, compared
        raise UsageError(
            f"{address} is one address, and a cluster publishes a job on all those of the node "
            "that runs it; use --bind 0.0.0.0 if that is meant, or general.bind_address: 0.0.0.0"
        )


def password(order: Order, app: App, *, owner: str) -> tuple[str | None, Secret]:
    """Return the line for the password file and what proves knowledge of the password.

    Raises:
        UsageError: a password is needed, none was given, and there is nobody to ask.
        JobctlError: the one that was given can't be used.
    """
    section = app.section
    if not section.require_password:
        return None, Secret()
    algorithm, realm = section.hash_algorithm, section.realm or app.name
    plain = order.password

    def ask() -> str:
        nonlocal plain
        if plain is None:
            if order.ask is None:
                raise UsageError(
                    f"{app.name} needs a password and there is no terminal to ask on; use "
                    "--generate-password or --password-stdin"
                )
            plain = order.ask()
        return passwords.hash_password(algorithm, user=owner, realm=realm, password=plain)

    if order.password_hash is not None:
        line: str | None = order.password_hash
    elif plain is not None or order.ask is None:
        line = ask()
    else:
        line = app.get_password(ask)
    if line is None:
        raise JobctlError(
            f"{app.source}: get_password returned None, but apps.{app.name}.require_password "
            "is true; return a hash, or set that to false"
        )
    line = passwords.check_line(algorithm, line, user=owner, realm=realm)
    return line, Secret(password=plain, digest_a1=passwords.digest_a1(algorithm, line))
