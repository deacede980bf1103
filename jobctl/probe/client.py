"""One request to a job, as a client would make it that trusts its authority alone."""

from __future__ import annotations

import hashlib
import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

from jobctl.errors import JobctlError

MOST_BYTES = 1 << 20
"""How much of a page is read; login pages are shorter."""

_TIMES = (9, 10)  # not yet valid, no longer valid (X509_V_ERR_CERT_*, openssl-verification-options)
_CLOCK = "; is the clock of this host right?"


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a job answers and what has to be seen there.

    ``trusted`` is PEM: the authority and the job's own certificate. ``fingerprint`` is a SHA-256
    in hexadecimal. An app that checks the password itself may have a form for it at
    ``login_path``; else, without ``auth``, the job is open on purpose.
    """

    address: str
    port: int
    trusted: str
    fingerprint: str
    auth: Literal["digest", "basic"] | None
    user: str = ""
    path: str = "/"
    login_path: str | None = None
    published: int | None = None
    """The port on the engine's host, where that is another than this one which leads there."""

    @property
    def known_port(self) -> int:
        """The port as the user knows it."""
        return self.published or self.port


@dataclass(frozen=True)
class Secret:
    """What proves knowledge of the password: itself, or for digest the hash of RFC 7616's A1."""

    password: str | None = field(default=None, repr=False)
    digest_a1: str | None = field(default=None, repr=False)


class NotReady(Exception):
    """Nothing wrong was seen, but not yet what is needed; the message says what was.

    ``brief`` says it to somebody who has the time to wait, ``status`` is that of an HTTP answer.
    """

    def __init__(
        self, message: str, brief: str | None = None, *, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.brief = brief or message
        self.status = status

    @classmethod
    def answered(cls, path: str, status: int) -> Self:
        """Return what is told of an HTTP answer that is not yet the right one."""
        return cls(f"GET {path} answers {status}", status=status)


class Unprotected(JobctlError):
    """The job lets in somebody that it must not."""


@dataclass(frozen=True)
class Answer:
    """What came back; ``body`` is as much of it as was asked for."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def failed(self) -> bool:
        return self.status >= http.HTTPStatus.BAD_REQUEST

    @property
    def refused(self) -> bool:
        return self.status in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN)

    @property
    def location(self) -> str:
        """Where it leads on to; empty if it is no redirect."""
        redirect = http.HTTPStatus.MULTIPLE_CHOICES <= self.status < http.HTTPStatus.BAD_REQUEST
        return self.header("Location") if redirect else ""

    def header(self, name: str) -> str:
        """Return a header, empty if there is none."""
        return self.headers.get(name, "")


class Client:
    """Asks a job what its clients would, on a new connection each time: some close after a 401."""

    def __init__(self, target: Target, timeout: float) -> None:
        self.target = target
        self._timeout = timeout
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.load_verify_locations(cadata=target.trusted)
        # An app's module may bring a certificate of another authority: it is trusted itself then.
        self._context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN

    def get(self, path: str, **headers: str) -> Answer:
        """Return the answer to one GET, without its body, which may never end; see ``send``."""
        return self.send("GET", path, headers)

    def page(self, path: str) -> Answer:
        """Return the answer to one GET with the first ``MOST_BYTES`` of its body; see ``send``."""
        return self.send("GET", path, {}, read=MOST_BYTES)

    def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        read: int = 0,
    ) -> Answer:
        """Return the answer to one request.

        Raises:
            NotReady: there is no answer.
            Unprotected: the certificate is not the job's.
        """
        target = self.target
        connection = http.client.HTTPSConnection(
            target.address, target.port, timeout=self._timeout, context=self._context
        )
        try:
            connection.connect()
            self._check_certificate(connection)
            connection.request(method, path, body, {"User-Agent": "jobctl", **headers})
            answer = connection.getresponse()
            return Answer(answer.status, answer.msg, answer.read(read) if read else b"")
        except ssl.SSLCertVerificationError as error:
            raise Unprotected(
                f"port {target.known_port} shows a certificate that clients refuse: "
                f"{error.verify_message}{_CLOCK if error.verify_code in _TIMES else ''}; see: "
                "jobctl doctor"
            ) from None
        except TimeoutError as error:
            brief: str | None = f"it takes longer than {self._timeout:.0f} s to answer"
            raise NotReady(f"port {target.known_port} does not answer: {error}", brief) from None
        except (OSError, http.client.HTTPException) as error:
            # A gateway opens its port when its app listens; before that, the engine hangs up.
            nobody = isinstance(error, ConnectionError | ssl.SSLEOFError)
            brief = "nothing listens yet" if nobody else None
            raise NotReady(f"port {target.known_port} does not answer: {error}", brief) from None
        finally:
            connection.close()

    def _check_certificate(self, connection: http.client.HTTPSConnection) -> None:
        shown = connection.sock.getpeercert(binary_form=True)
        if hashlib.sha256(shown or b"").hexdigest() != self.target.fingerprint:
            port = self.target.known_port
            raise Unprotected(
                f"port {port} answers with another certificate than this job's; see "
                "who has it: jobctl doctor"
            )
