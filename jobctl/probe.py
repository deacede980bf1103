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
    client = _Client(target, timeout)
    if target.auth is None:
        _require_ready(client.get(None)[0], target)
        return
    challenge = _refused(client, None, "without a password")
    wrong = _authorization(target, Secret(password=secrets.token_urlsafe(16)), challenge)
    challenge = _refused(client, wrong, "with a wrong password")
    if secret.password is None and secret.digest_a1 is None:
        return
    _require_ready(client.get(_authorization(target, secret, challenge))[0], target)


class _Client:
    """Asks a job what its clients would, on a new connection each time: some close after a 401."""

    def __init__(self, target: Target, timeout: float) -> None:
        self.target = target
        self._timeout = timeout
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.load_verify_locations(cadata=target.trusted)
        # An app's module may bring a certificate of another authority: it is trusted itself then.
        self._context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN

    def get(self, authorization: str | None) -> tuple[int, str]:
        """Return the status and the challenge of the answer to one GET.

        Raises:
            NotReady: there is no answer.
            Unprotected: the certificate is not the job's.
        """
        target = self.target
        connection = http.client.HTTPSConnection(
            target.address, target.port, timeout=self._timeout, context=self._context
        )
        headers = {"User-Agent": "jobctl"} | (
            {"Authorization": authorization} if authorization else {}
        )
        try:
            connection.connect()
            self._check_certificate(connection)
            connection.request("GET", target.path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.getheader("WWW-Authenticate", "")
        except ssl.SSLCertVerificationError as error:
            raise Unprotected(
                f"port {target.port} shows a certificate that clients refuse: "
                f"{error.verify_message}"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise NotReady(f"port {target.port} does not answer: {error}") from None
        finally:
            connection.close()

    def _check_certificate(self, connection: http.client.HTTPSConnection) -> None:
        shown = connection.sock.getpeercert(binary_form=True)
        if hashlib.sha256(shown or b"").hexdigest() != self.target.fingerprint:
            raise Unprotected(
                f"port {self.target.port} answers with another certificate than this job's"
            )


def _refused(client: _Client, authorization: str | None, how: str) -> str:
    """Return the challenge with which a request is turned away."""
    target = client.target
    status, challenge = client.get(authorization)
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
