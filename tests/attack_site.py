"""Jobs to be attacked: the apps that come along, really launched, and clients that send anything.

What an app says is told from what its gateway says: a gateway's own answers are refusals of a
known form, and the kernel counts whenever something in a job connects to something.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pytest
import requests
import yaml

from jobctl.engines.docker import DockerEngine
from tests.site import opened

QUIET_S = 1.0
"""How long a client goes on listening to a connection that stays open and says nothing."""

FAREWELL = "GET {path} HTTP/1.1\nHost: {host}\nConnection: close\n\n"
"""A request by nobody. It also ends a conversation that is in order, for a test not to wait."""

# lighttpd's own answers: refusals, with a page or without; apps name themselves in theirs.
_OWN_HEAD = rb"HTTP/1\.[01] [45]\d\d [^\r\n]*\r\n(?:(?!(?i:server:))[^\r\n]+\r\n)+\r\n"
_OWN_PAGE = rb'<\?xml version="1\.0" encoding="iso-8859-1"\?>.{,400}?</html>\n'
_ALL_OWN = re.compile(rb"(?:%s(?:%s)?)*" % (_OWN_HEAD, _OWN_PAGE), re.DOTALL)
_NAMED = re.compile(rb"HTTP/1\.[01] \d{3} [^\r\n]*\r\n(?:[^\r\n]+\r\n)*?(?i:server:)")
# The pages of Jupyter that are everybody's have its login form, or the way there.
_LOGIN_FORM = re.compile(rb'<form[^>]* action="/login|href="/login')


@dataclass(frozen=True)
class Kind:
    """An app as it is attacked: where it answers who may, and where it opens WebSockets."""

    path: str
    socket: str | None
    scheme: Literal["digest", "basic", "form"] = "digest"


# Digests come first: tests of some apps only take them from the beginning of this order, by which
# pytest puts together what uses one job.
KINDS = {
    "conduit": Kind("/", "/websocket"),
    "tensorboard": Kind("/data/environment", None),
    "marimo": Kind("/api/version", "/terminal/ws"),
    "conduit_bcrypt": Kind("/", "/websocket", "basic"),
    "jupyter": Kind("/api/contents", "/api/events/subscribe", "form"),
}
DIGESTS = pytest.mark.parametrize("victim", list(KINDS)[:3], indirect=True)
BEHIND_GATEWAY = pytest.mark.parametrize("victim", list(KINDS)[:4], indirect=True)


@dataclass
class Victim:
    """A job that runs, and everything about it that an attacker may know, or steal."""

    app: str
    kind: Kind
    job: Mapping[str, Any]
    certificate: str
    engine: DockerEngine

    @property
    def port(self) -> int:
        return int(self.job["port"])

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    @property
    def user(self) -> str:
        return str(self.job["owner"])

    @property
    def password(self) -> str:
        return str(self.job["password"])

    @property
    def password_hash(self) -> str:
        """The hash, as the job's owner can read it."""
        config = Path(f"{self.job['job_root']}{self.job['job_id']}_htpasswd").read_text()
        return config.strip().rpartition(":")[2]

    # What is said, and what is heard

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.certificate)

    def connect(self, tls: ssl.SSLContext | None = None, name: str = "localhost") -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return (tls or self.tls()).wrap_socket(plain, server_hostname=name)

    def answers(self, request: bytes, tls: ssl.SSLContext | None = None) -> bytes:
        """Send bytes as they are and return all that comes back until the other side is silent."""
        with self.connect(tls) as connection:
            return exchange(connection, request)

    def wire(self, text: str) -> bytes:
        """Return a request as bytes: names in braces filled in, lines ended, symbols replaced.

        ``{login:METHOD PATH}`` is a header that lets such a request in. ``␍``, ``␊`` and ``␀`` are
        a bare CR, a bare LF, and NUL.
        """
        filled = text.format(
            host=self.host,
            port=self.port,
            path=self.kind.path,
            user=self.user,
            password=self.password,
            login=_Login(self.login),
            realm=self.app,
            basic=basic(self.user, self.password),
            digest=_Login(self.digest),
        )
        symbols = {"\n": "\r\n", "␍": "\r", "␊": "\n", "␀": "\0"}
        return re.sub("[\n␍␊␀]", lambda found: symbols[found[0]], filled).encode()

    def let_in(self, said: bytes) -> int:
        """Return how many of the answers are for none but those who know the password."""
        if self.kind.scheme != "form":
            return len(_NAMED.findall(said))
        answers = re.split(rb"(?=HTTP/1\.[01] \d{3} )", said)
        return sum(map(_from_inside, answers))

    def assert_refused(self, request: bytes, tls: ssl.SSLContext | None = None) -> bytes:
        """Send bytes and make sure that the app neither answers nor is even asked."""
        said, touched = self.observe(lambda: self.answers(request, tls))
        assert self.let_in(said) == 0, said
        if self.kind.scheme != "form":
            assert _ALL_OWN.fullmatch(said), said
            assert touched == 0, "the gateway connected to the app"
        assert b"strict-transport-security" not in said.lower()
        return said

    def observe(self, act: Callable[[], bytes], *, expected: int = 0) -> tuple[bytes, int]:
        """Return what comes of something, and how many connections were opened in the job for it.

        Health checks open two every 30 s: what is unlikely three times in a row is no chance.
        """
        seen = []
        for _ in range(3):
            before = self.connections_opened()
            said = act()
            seen.append((said, self.connections_opened() - before))
            if seen[-1][1] <= expected:
                break
        return min(seen, key=lambda one: one[1])

    def connections_opened(self) -> int:
        """Return how many connections were opened from within the job's network so far."""
        lines = Path(f"/proc/{self.job['pid']}/net/snmp").read_text().splitlines()
        names, values = (line.split() for line in lines if line.startswith("Tcp:"))
        return int(values[names.index("ActiveOpens")])

    # What lets in

    def login(self, method: str, target: str) -> str:
        """Return the header line that lets one request in."""
        if self.kind.scheme == "basic":
            return "Authorization: " + basic(self.user, self.password)
        if self.kind.scheme == "digest":
            return "Authorization: " + self.digest(method, target)
        return f"Cookie: {self.session_cookie}"

    @cached_property
    def session_cookie(self) -> str:
        with requests.Session() as session:
            session.trust_env = False  # else the host's own certificates go before these
            session.verify = self.certificate
            session.get(f"https://{self.host}/login", timeout=10)
            form = {"password": self.password, "_xsrf": session.cookies["_xsrf"]}
            session.post(f"https://{self.host}/login", data=form, timeout=10)
            return "; ".join(f"{name}={value}" for name, value in session.cookies.items())

    @cached_property
    def nonce(self) -> str:
        """A nonce of the gateway's, to be had by anybody; a made-up one if it has none."""
        if self.kind.scheme != "digest":
            return f"{int(time.time()):x}:{secrets.token_hex(16)}"
        said = self.answers(self.wire("GET / HTTP/1.1\nHost: {host}\nConnection: close\n\n"))
        found = re.search(rb'nonce="([^"]+)"', said)
        assert found, said
        return found[1].decode()

    def digest(
        self,
        method: str,
        target: str,
        changes: Mapping[str, str | None] = MappingProxyType({}),
        *,
        password: str | None = None,
        made_with: str = "md5",
    ) -> str:
        """Return a digest answer, by default a right one; ``None`` leaves a parameter out."""
        given: dict[str, str | None] = {"username": self.user, "realm": self.app}
        given |= {"nonce": self.nonce, "uri": target, "algorithm": "MD5", "qop": "auth"}
        given |= {"nc": "00000001", "cnonce": secrets.token_hex(8), **changes}

        def hashed(*parts: str | None) -> str:
            return hashlib.new(made_with, ":".join(map(str, parts)).encode()).hexdigest()

        a1 = hashed(
            given["username"], given["realm"], self.password if password is None else password
        )
        a2 = hashed(method, given["uri"])
        qop = (given["nc"], given["cnonce"], given["qop"]) if given["qop"] else ()
        given.setdefault("response", hashed(a1, given["nonce"], *qop, a2))
        words = (f'{name}="{value}"' for name, value in given.items() if value is not None)
        return "Digest " + ", ".join(words)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def exchange(connection: socket.socket, request: bytes, quiet: float = QUIET_S) -> bytes:
    """Send bytes and return what comes back until the other side closes, or is silent."""
    heard = bytearray()
    with suppress(OSError):  # to hang up on who goes on is allowed
        connection.sendall(request)
    connection.settimeout(quiet)
    with suppress(OSError):
        while more := connection.recv(1 << 16):
            heard += more
    return bytes(heard)


class _Login:
    """Fills in ``{login:METHOD PATH}``."""

    def __init__(self, login: Callable[[str, str], str]) -> None:
        self._login = login

    def __format__(self, request: str) -> str:
        method, _, target = request.partition(" ")
        return self._login(method, target)


def _from_inside(answer: bytes) -> bool:
    if not answer.startswith(b"HTTP/"):
        return False
    status = int(answer[9:12])
    body = answer.partition(b"\r\n\r\n")[2]
    return status == 101 or (200 <= status < 300 and bool(body) and not _LOGIN_FORM.search(body))


@pytest.fixture(scope="session", params=list(KINDS))
def victim(
    request: pytest.FixtureRequest,
    installed: Path,
    engine: DockerEngine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Victim]:
    """A job of each app in turn, launched once for all tests."""
    with opened(installed, engine, tmp_path_factory.mktemp(request.param)) as site:
        conduit = yaml.safe_load(site.config.read_text())["apps"]["conduit"]
        site.configure("conduit_bcrypt", **conduit | {"hash_algorithm": "bcrypt"})
        job = site.run_json("run", request.param, "--generate-password", "--json")
        yield Victim(request.param, KINDS[request.param], job, site.authority(), engine)
