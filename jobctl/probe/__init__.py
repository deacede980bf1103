"""Verified readiness: connects as a client would and makes sure of the certificate and password.

A job is ready when whoever answers on its port shows this job's certificate, refuses a request
without and one with a wrong password, and lets in one with the right password.
"""

from __future__ import annotations

import http
import time
from collections.abc import Callable

from jobctl.errors import JobctlError
from jobctl.probe import form, http_auth
from jobctl.probe.client import Client, NotReady, Secret, Target, Unprotected

__all__ = ["NotReady", "Secret", "Target", "Unprotected", "verify", "wait"]

FIRST_PAUSE_S = 0.01
LONGEST_PAUSE_S = 0.06
LONGEST_LOOK_S = 0.02
"""The same while it is only looked whether the app listens."""
PAUSE_SHARE = 0.05
"""A pause may be longer than that, as a part of all the time that was waited already."""
SHORTEST_ATTEMPT_S = 0.5
ATTEMPT_TIMEOUT_S = 5
CHECK_EVERY_S = 0.05
"""The engine has better things to do than to tell each time that all is as it was, but an app that
ended is restarted after a tenth of a second, and then nobody knows its exit code any more."""
SETTLED_AFTER_S = 1.1
"""A worker of the gateway that found nobody listening answers 503 until its next full second, while
the others pass requests on already."""
PATIENCE_S = 2
"""How long nobody is told what it is that is waited for."""


def _silent(_seen: str) -> None:
    """Tell nobody."""


def _untold() -> None:
    """Tell nothing."""


def wait(
    target: Target,
    secret: Secret,
    *,
    timeout: float,
    check: Callable[[], None],
    listens: Callable[[], bool | None] = _untold,
    waiting: Callable[[str], None] = _silent,
) -> None:
    """Return once a job is verified.

    Polls in tens of milliseconds, for at most ``timeout`` seconds; ``check`` is called now and
    then and raises when there is nothing left to wait for. As long as ``listens`` says that the
    app does not, nothing is asked: that would cost more than to look, and let a gateway that is
    asked too early answer 503 for a while. ``waiting`` is called when it takes long, with what was
    seen instead, whenever that has changed.

    Raises:
        Unprotected: the job is not protected as it has to be.
        JobctlError: the time is over; the message says what was seen last.
    """
    began = checked = time.monotonic()
    deadline = began + timeout
    pause = FIRST_PAUSE_S
    unavailable = -SETTLED_AFTER_S
    told = None
    while True:
        longest = LONGEST_PAUSE_S
        try:
            if listens() is False:
                longest = LONGEST_LOOK_S
                raise NotReady(
                    f"port {target.known_port} does not answer: nothing listens in its container",
                    "nothing listens yet",
                )
            # Cut shorter, the last attempt would fail for its haste and hide the true reason.
            left = max(deadline - time.monotonic(), SHORTEST_ATTEMPT_S)
            verify(target, secret, timeout=min(left, ATTEMPT_TIMEOUT_S))
        except NotReady as reason:
            now = time.monotonic()
            if reason.status == http.HTTPStatus.SERVICE_UNAVAILABLE:
                unavailable = now
            over = now + pause > deadline
            if over or now - checked > CHECK_EVERY_S:
                check()
                checked = now
            if now - began > PATIENCE_S and reason.brief != told:
                told = reason.brief
                waiting(told)
            if over:
                raise JobctlError(
                    f"not ready after {timeout:g} s: {reason}; see whether the app listens on its "
                    "app_port, which is the job's own port if nothing says otherwise, or allow "
                    "more with --timeout"
                ) from None
        else:
            unsettled = unavailable + SETTLED_AFTER_S - time.monotonic()
            if unsettled <= 0:
                return
            time.sleep(unsettled)
            continue
        time.sleep(pause)
        # Many wait at once, for apps that would start sooner if nobody asked.
        waited = time.monotonic() - began
        pause = min(pause * 1.3, max(longest, waited * PAUSE_SHARE))


def verify(target: Target, secret: Secret, *, timeout: float = ATTEMPT_TIMEOUT_S) -> None:
    """Make sure once that a job is ready, waiting up to ``timeout`` seconds for each answer.

    Raises:
        NotReady: it does not answer, or not yet as it should.
        Unprotected: it shows another certificate, or lets in somebody that it must not.
    """
    client = Client(target, timeout)
    if target.login_path is not None:
        form.verify(client, target, secret, target.login_path)
    elif target.auth is not None:
        http_auth.verify(client, target, secret)
    elif (answer := client.get(target.path)).failed:
        if answer.status == http.HTTPStatus.UNAUTHORIZED:
            raise Unprotected(
                "the app asks for a password, and its section says that it has none; set "
                "require_password: true"
            )
        raise NotReady.answered(target.path, answer.status)
