"""The conformance test that any app can be put through: is it protected, does it leave nothing?

Owns which checks there are and in which order they are made, and that nothing of the app is left
whatever happens in between. What each check looks at is in the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from jobctl import passwords
from jobctl.broker import Broker
from jobctl.conformance import access, confinement, exposure, lifecycle, secrecy
from jobctl.conformance.trial import Failed, Trial, Unknown
from jobctl.errors import EngineUnreachable, JobctlError, UsageError
from jobctl.orders import Order
from jobctl.probe import NotReady


@dataclass(frozen=True)
class Finding:
    """How one check went; ``passed`` is ``None`` if it could not be made.

    ``detail`` says what was seen, and after a failure what to do about it.
    """

    name: str
    what: str
    passed: bool | None
    detail: str


@dataclass(frozen=True)
class Check:
    """One thing to make sure of: ``look`` returns what it saw, or raises ``Failed``."""

    name: str
    what: str
    look: Callable[[Trial], str]


# In the order of a job's life: each looks at what those before it have left.
CHECKS = (
    Check("ready", "launches, and is verified", lifecycle.launch),
    Check("password", "lets in nobody without the password", access.password),
    Check("websocket", "opens no WebSocket without the password", access.websocket),
    Check("plain-http", "says nothing over plain HTTP", access.plain_http),
    Check("ports", "can be reached through its own port alone", exposure.ports),
    Check("argv", "no secret in command lines", secrecy.command_lines),
    Check("env", "no secret in the environment", secrecy.environment),
    Check("labels", "no secret in labels", secrecy.labels),
    Check("user", "does not run as root", confinement.user),
    Check("root-fs", "read-only root file system", confinement.root_file_system),
    Check("capabilities", "no capabilities", confinement.capabilities),
    Check("privileges", "no way to more privileges", confinement.privileges),
    Check("socket", "does not reach the engine's socket", confinement.engine_socket),
    Check("limits", "limited memory and processes", confinement.limits),
    Check("files", "files that nobody else can read", lifecycle.files),
    Check("stop", "stops when it is asked to", lifecycle.stop),
    Check("start", "starts again on its port, and is verified", lifecycle.start),
    Check("logs", "no secret in the logs", secrecy.logs),
    Check("rm", "leaves nothing behind", lifecycle.remove),
)


def check(broker: Broker, order: Order) -> list[Finding]:
    """Launch an app, look at it from all sides, and remove it; return a finding for each check.

    It gets a password made up for the test, so that it is known what must be seen nowhere, and a
    port on loopback, because it may turn out not to be protected.

    Raises:
        UsageError: the order is for what can't be.
        EngineUnreachable: the engine can't be asked, or not any more.
        JobctlError: there is no such app.
    """
    if order.image is None:
        broker.catalogue.section(order.app)
    password = passwords.generate()
    order = replace(order, password=password, password_hash=None, ask=None, bind="127.0.0.1")
    # A launch that is refused could not be looked at; that there is a way past is found out all
    # the same.
    order = replace(order, changes={**order.changes, "allow_bypass": True})
    trial = Trial(broker=broker, order=order, password=password)
    try:
        return [_finding(one, trial) for one in CHECKS]
    finally:
        trial.clean_up()


def _finding(one: Check, trial: Trial) -> Finding:
    try:
        return Finding(one.name, one.what, True, one.look(trial))
    except Unknown as reason:
        return Finding(one.name, one.what, None, str(reason))
    except (EngineUnreachable, UsageError):
        raise
    except (Failed, NotReady, JobctlError) as reason:
        return Finding(one.name, one.what, False, str(reason))
