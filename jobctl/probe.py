"""Verified readiness: connects as a client would and makes sure of the certificate and password.

A job is ready when whoever answers on its port shows this job's certificate, refuses a request
without and one with a wrong password, and lets in one with the right password.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import ipaddress
import secrets
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal
from urllib.request import parse_http_list, parse_keqv_list

from jobctl.errors import JobctlError

FIRST_PAUSE_S = 0.01
LONGEST_PAUSE_S = 0.1
ATTEMPT_TIMEOUT_S = 5


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a job answers and what has to be seen there.

    ``trusted`` is PEM: the authority and the job's own certificate. ``fingerprint`` is a SHA-256
    in hexadecimal. Without ``auth`` the job is open on purpose.
    """

    address: str
    port: int
    trusted: str
    fingerprint: str
    auth: Literal["digest", "basic"] | None
    user: str = ""
    path: str = "/"


@dataclass(frozen=True)
class Secret:
    """What proves knowledge of the password: itself, or for digest the hash of RFC 7616's A1."""

    password: str | None = field(default=None, repr=False)
    digest_a1: str | None = field(default=None, repr=False)


class NotReady(Exception):
    """Nothing wrong was seen, but not yet what is needed; the message says what was."""


class Unprotected(JobctlError):
    """The job lets in somebody that it must not."""


def wait(
    target: Target,
    secret: Secret,
    *,
    timeout: float,
    check: Callable[[], None],
) -> None:
    """Return once a job is verified.

    Polls in tens of milliseconds, for at most ``timeout`` seconds; ``check`` is called each time
    and raises when there is nothing left to wait for.

    Raises:
        Unprotected: the job is not protected as it has to be.
        JobctlError: the time is over; the message says what was seen last.
    """
    deadline = time.monotonic() + timeout
    pause = FIRST_PAUSE_S
    while True:
        try:
            left = max(deadline - time.monotonic(), FIRST_PAUSE_S)
            verify(target, secret, timeout=min(left, ATTEMPT_TIMEOUT_S))
        except NotReady as reason:
            check()
            if time.monotonic() + pause > deadline:
                raise JobctlError(
                    f"not ready after {timeout:g} s: {reason}; see whether the app listens on the "
                    "port that its section says, or allow more with --timeout"
                ) from None
        else:
            return
        time.sleep(pause)
        pause = min(pause * 1.3, LONGEST_PAUSE_S)


def verify(target: Target, secret: Secret, *, timeout: float = ATTEMPT_TIMEOUT_S) -> None:
    """Make sure once that a job is ready, waiting up to ``timeout`` seconds for each answer.

    Raises:
        NotReady: it does not answer, or not yet as it should.
        Unprotected: it shows another certificate, or lets in somebody that it must not.
    """
    connection = http.client.HTTPSConnection(
        target.address, target.port, timeout=timeout, context=_context(target.trusted)
    )
    try:
        if target.auth is None:
            _require_ready(_get(connection, target, None)[0], target)
            return
        challenge = _refused(connection, target, None, "without a password")
        wrong = _authorization(target, Secret(password=secrets.token_urlsafe(16)), challenge)
        challenge = _refused(connection, target, wrong, "with a wrong password")
        if secret.password is None and secret.digest_a1 is None:
            return
        right = _authorization(target, secret, challenge)
        _require_ready(_get(connection, target, right)[0], target)
    except ssl.SSLCertVerificationError as error:
        raise Unprotected(
            f"port {target.port} shows a certificate that clients refuse: {error.verify_message}"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise NotReady(f"port {target.port} does not answer: {error}") from None
    finally:
        connection.close()


def _context(trusted: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=trusted)
    # An app's module may bring a certificate of another authority: it is trusted itself then.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _check_certificate(connection: http.client.HTTPSConnection, target: Target) -> None:
    shown = connection.sock.getpeercert(binary_form=True)
    if hashlib.sha256(shown or b"").hexdigest() != target.fingerprint:
        raise Unprotected(f"port {target.port} answers with another certificate than this job's")


def _get(
    connection: http.client.HTTPSConnection, target: Target, authorization: str | None
) -> tuple[int, str]:
    """Return the status and the challenge of the answer to one GET."""
    if connection.sock is None:  # the first request, or the server has closed after the last
        connection.connect()
        _check_certificate(connection, target)
    headers = {"User-Agent": "jobctl"}
    if authorization:
        headers["Authorization"] = authorization
    connection.request("GET", target.path, headers=headers)
    answer = connection.getresponse()
    challenge = answer.getheader("WWW-Authenticate", "")
    if answer.status == http.HTTPStatus.UNAUTHORIZED:
        answer.read()  # so that the connection can be used again
    return answer.status, challenge


def _refused(
    connection: http.client.HTTPSConnection,
    target: Target,
    authorization: str | None,
    how: str,
) -> str:
    status, challenge = _get(connection, target, authorization)
    if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        raise NotReady(f"GET {target.path} answers {status}")
    if status != http.HTTPStatus.UNAUTHORIZED:
        raise Unprotected(
            f"the app is open: GET {target.path} {how} answers {status} instead of 401"
        )
    if not challenge.lower().startswith(f"{target.auth} "):
        raise Unprotected(f'expected {target.auth} authentication, got "{challenge}"')
    return challenge


def _require_ready(status: int, target: Target) -> None:
    if status == http.HTTPStatus.UNAUTHORIZED:
        raise Unprotected("the right password is refused; the password file is not the job's")
    if status >= http.HTTPStatus.BAD_REQUEST:
        raise NotReady(f"GET {target.path} answers {status}")


def _authorization(target: Target, secret: Secret, challenge: str) -> str:
    if target.auth == "basic":
        pair = f"{target.user}:{secret.password}".encode()
        return "Basic " + base64.b64encode(pair).decode()
    return digest_authorization(target, secret, challenge)


def digest_authorization(target: Target, secret: Secret, challenge: str) -> str:
    """Return the header that answers a digest challenge (RFC 7616, 3.4; MD5 with qop=auth).

    Raises:
        Unprotected: the challenge makes no sense.
    """
    try:
        given = parse_keqv_list(parse_http_list(challenge.partition(" ")[2]))
        realm, nonce = given["realm"], given["nonce"]
    except (ValueError, KeyError):
        raise Unprotected(f'the challenge "{challenge}" is none that a client can answer') from None
    a1 = secret.digest_a1 or _md5(f"{target.user}:{realm}:{secret.password}")
    a2 = _md5(f"GET:{target.path}")
    client_nonce = secrets.token_hex(8)
    response = _md5(f"{a1}:{nonce}:00000001:{client_nonce}:auth:{a2}")
    return (
        f'Digest username="{target.user}", realm="{realm}", nonce="{nonce}", '
        f'uri="{target.path}", algorithm=MD5, qop=auth, nc=00000001, cnonce="{client_nonce}", '
        f'response="{response}"'
    )


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def connect_address(bind_address: str) -> str:
    """Return the address at which a port bound to ``bind_address`` answers on this host."""
    address = ipaddress.ip_address(bind_address)
    if address.is_unspecified:
        return "::1" if address.version == 6 else "127.0.0.1"
    return str(address)
