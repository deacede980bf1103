"""Verified readiness, against real TLS servers that do it right, wrong, late or not at all."""

from __future__ import annotations

import base64
import hashlib
import http.server
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from jobctl import certs, probe
from jobctl.errors import JobctlError
from jobctl.probe import Secret, Target, Unprotected
from jobctl.probe.http_auth import digest_authorization

USER, REALM, PASSWORD = "test", "demo", "pässwörd"
NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
HERE = certs.Subjects.of(["localhost"], ["127.0.0.1"])
AUTHORITY = certs.issue_authority("test", HERE)
LEAF = certs.issue_leaf(AUTHORITY, HERE, common_name="job_8000")


# What the server makes of a password: written from the standards, not from the code under test.


def digest_response(
    *, user: str, realm: str, password: str, nonce: str, cnonce: str, method: str, uri: str
) -> str:
    """Return the response of RFC 7616, 3.4.1, for MD5, qop=auth and nc=00000001."""

    def h(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    ha1, ha2 = h(":".join([user, realm, password])), h(":".join([method, uri]))
    return h(":".join([ha1, nonce, "00000001", cnonce, "auth", ha2]))


def test_this_server_computes_what_the_standard_does() -> None:
    """The example of RFC 7616, 3.9.1."""
    response = digest_response(
        user="Mufasa",
        realm="http-auth@example.org",
        password="Circle of Life",
        nonce=NONCE,
        cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        method="GET",
        uri="/dir/index.html",
    )

    assert response == "8ca523f5e9506fed4657c9700eebdbec"


def digest_fields(header: str) -> dict[str, str]:
    """Return the fields of a Digest header; quoted and bare values alike."""
    pairs = re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', header.removeprefix("Digest "))
    return {name: quoted or bare for name, quoted, bare in pairs}


def digest_is_right(header: str, *, path: str, password: str = PASSWORD) -> bool:
    given = digest_fields(header)
    expected = digest_response(
        user=USER,
        realm=REALM,
        password=password,
        nonce=NONCE,
        cnonce=given.get("cnonce", ""),
        method="GET",
        uri=path,
    )
    return (
        header.startswith("Digest ")
        and (given["username"], given["realm"], given["nonce"]) == (USER, REALM, NONCE)
        and (given["uri"], given["qop"], given["nc"]) == (path, "auth", "00000001")
        and given["response"] == expected
    )


def basic_is_right(header: str) -> bool:
    return header == "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@dataclass
class App:
    """What a server does; the defaults are what a job has to do."""

    scheme: str = "digest"
    challenge: str | None = None
    without: int = 401
    wrong: int = 401
    right: int = 200
    unavailable: int = 0
    """How many requests are answered with 503 first."""
    stale: int = 0
    """How many right passwords are refused first, because of their nonce."""
    keep_alive: bool = True
    leaf: certs.Pair = LEAF
    asked: list[str] = field(default_factory=list)
    """The ``Authorization`` of each request, or nothing."""

    def answer(self, path: str, authorization: str) -> int:
        self.asked.append(authorization)
        if len(self.asked) <= self.unavailable:
            return 503
        if not authorization:
            return self.without
        if self.scheme == "digest":
            right = digest_is_right(authorization, path=path)
        else:
            right = basic_is_right(authorization)
        if right and self.stale > 1:
            self.stale -= 1
            return 401
        return self.right if right else self.wrong

    def challenged(self) -> str:
        if self.challenge is not None:
            return self.challenge
        if self.scheme == "basic":
            return f'Basic realm="{REALM}", charset="UTF-8"'
        return (
            f'Digest realm="{REALM}", charset="UTF-8", algorithm=MD5, nonce="{NONCE}", qop="auth"'
            + (", stale=true" if self.stale else "")
        )


class Server(http.server.ThreadingHTTPServer):
    """Serves one ``App`` over TLS."""

    daemon_threads = False

    def __init__(self, app: App, directory: Path, *, listening: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.server_bind()
        if listening:
            self.server_activate()
        self.app = app
        (directory / "leaf.pem").write_bytes(app.leaf.certificate + app.leaf.key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(directory / "leaf.pem")

    def finish_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        request.settimeout(5)
        try:
            secured = self.context.wrap_socket(request, server_side=True)
        except OSError:
            return  # the client does not trust the certificate
        with secured:
            super().finish_request(secured, client_address)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def setup(self) -> None:
        super().setup()
        self.protocol_version = "HTTP/1.1" if self.server.app.keep_alive else "HTTP/1.0"

    def do_GET(self) -> None:
        app = self.server.app
        status = app.answer(self.path, self.headers.get("Authorization", ""))
        body = b"refused" if status == 401 else b"an answer"
        self.send_response(status)
        if status == 401 and app.challenged():
            self.send_header("WWW-Authenticate", app.challenged())
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(app: App, directory: Path) -> Iterator[int]:
    """Serve an app; yields its port."""
    with Server(app, directory) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def target(port: int, *, auth: str | None = "digest", path: str = "/") -> Target:
    assert auth in ("digest", "basic", None)
    return Target(
        address="127.0.0.1",
        port=port,
        trusted=(AUTHORITY.certificate + LEAF.certificate).decode(),
        fingerprint=certs.fingerprint(LEAF.certificate),
        auth=auth,  # type: ignore[arg-type]
        user=USER,
        path=path,
    )


PLAIN = Secret(password=PASSWORD)
HASHED = Secret(
    digest_a1=hashlib.md5(f"{USER}:{REALM}:{PASSWORD}".encode(), usedforsecurity=False).hexdigest()
)


def nothing() -> None:
    """See nothing that would end the wait."""


def wait(
    port: int,
    secret: Secret = PLAIN,
    *,
    auth: str | None = "digest",
    path: str = "/",
    timeout: float = 10,
    check: Callable[[], None] = nothing,
) -> None:
    probe.wait(target(port, auth=auth, path=path), secret, timeout=timeout, check=check)


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


# As it has to be


@pytest.mark.parametrize(
    ("scheme", "secret"), [("digest", PLAIN), ("digest", HASHED), ("basic", PLAIN)]
)
@pytest.mark.parametrize("keep_alive", [True, False])
def test_a_job_that_does_it_right_is_verified(
    tmp_path: Path, scheme: str, secret: Secret, keep_alive: bool
) -> None:
    app = App(scheme=scheme, keep_alive=keep_alive)

    with serving(app, tmp_path) as port:
        wait(port, secret, auth=scheme)

    without, wrong, right = app.asked
    assert without == ""
    assert wrong
    assert wrong != right
    assert basic_is_right(right) or digest_is_right(right, path="/")


def test_the_path_that_is_asked_for_is_the_section_s(tmp_path: Path) -> None:
    app = App()

    with serving(app, tmp_path) as port:
        wait(port, path="/health?deep=1")

    assert digest_is_right(app.asked[-1], path="/health?deep=1")


@pytest.mark.parametrize("scheme", ["digest", "basic"])
def test_a_wrong_password_is_another_one_each_time(tmp_path: Path, scheme: str) -> None:
    app = App(scheme=scheme)

    with serving(app, tmp_path) as port:
        wait(port, auth=scheme)
        wait(port, auth=scheme)

    assert app.asked[1] != app.asked[4]


def test_without_a_password_at_hand_the_refusals_are_enough(tmp_path: Path) -> None:
    app = App(right=401)

    with serving(app, tmp_path) as port:
        wait(port, Secret())

    assert len(app.asked) == 2


@pytest.mark.parametrize("status", [200, 204, 302, 304])
def test_any_answer_that_is_no_error_will_do(tmp_path: Path, status: int) -> None:
    with serving(App(right=status), tmp_path) as port:
        wait(port)


def test_a_job_that_is_open_on_purpose_has_to_answer_only(tmp_path: Path) -> None:
    app = App(without=200)

    with serving(app, tmp_path) as port:
        wait(port, Secret(), auth=None)

    assert app.asked == [""]


def test_a_certificate_of_another_authority_will_do_if_it_is_the_job_s(tmp_path: Path) -> None:
    own = certs.issue_leaf(
        certs.issue_authority("somebody else", HERE), HERE, common_name="brought along"
    )
    with serving(App(leaf=own), tmp_path) as port:
        wanted = Target(
            address="127.0.0.1",
            port=port,
            trusted=(AUTHORITY.certificate + own.certificate).decode(),
            fingerprint=certs.fingerprint(own.certificate),
            auth="digest",
            user=USER,
        )
        probe.wait(wanted, PLAIN, timeout=10, check=nothing)


def test_whoever_waits_long_is_told_for_what_once(
    closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "PATIENCE_S", 0.2)
    told: list[str] = []
    seen: list[bool] = []

    with pytest.raises(JobctlError, match="Connection refused"):
        probe.wait(
            target(closed_port, auth="digest", path="/"),
            PLAIN,
            timeout=0.6,
            check=lambda: seen.append(bool(told)),
            waiting=told.append,
        )

    assert told == ["nothing listens yet"]
    assert (seen[0], seen[-1]) == (False, True)


# As it must not be: told at once, without waiting


@pytest.mark.parametrize("scheme", ["digest", "basic"])
@pytest.mark.parametrize("status", [200, 204, 302, 403, 404])
def test_a_job_that_answers_without_a_password_is_open(
    tmp_path: Path, scheme: str, status: int
) -> None:
    with (
        serving(App(scheme=scheme, without=status), tmp_path) as port,
        pytest.raises(Unprotected, match=f"open: GET / without a password answers {status}"),
    ):
        wait(port, auth=scheme)


@pytest.mark.parametrize("scheme", ["digest", "basic"])
def test_a_job_that_takes_any_password_is_open(tmp_path: Path, scheme: str) -> None:
    with (
        serving(App(scheme=scheme, wrong=200), tmp_path) as port,
        pytest.raises(Unprotected, match="with a wrong password answers 200"),
    ):
        wait(port, auth=scheme)


@pytest.mark.parametrize("scheme", ["digest", "basic"])
def test_a_job_that_refuses_the_right_password_is_told_apart(tmp_path: Path, scheme: str) -> None:
    with (
        serving(App(scheme=scheme, right=401), tmp_path) as port,
        pytest.raises(Unprotected, match="the right password is refused"),
    ):
        wait(port, auth=scheme)


def test_an_outdated_challenge_is_asked_for_again(tmp_path: Path) -> None:
    """A server that has several clocks refuses what another has dated in its future."""
    with serving(App(stale=3), tmp_path) as port:
        wait(port)


def other_leaf() -> certs.Pair:
    """Return another certificate that clients of this user accept."""
    return certs.issue_leaf(AUTHORITY, HERE, common_name="job_8001")


def test_a_certificate_of_another_job_is_not_this_job_s(tmp_path: Path) -> None:
    app = App(leaf=other_leaf())

    with serving(app, tmp_path) as port, pytest.raises(Unprotected, match="another certificate"):
        wait(port)

    assert app.asked == []  # nothing was sent to it, a password least of all


def test_a_certificate_of_a_stranger_is_refused(tmp_path: Path) -> None:
    stranger = certs.issue_authority("eve", HERE)
    app = App(leaf=certs.issue_leaf(stranger, HERE, common_name="job_8000"))

    with serving(app, tmp_path) as port, pytest.raises(Unprotected, match="clients refuse"):
        wait(port)

    assert app.asked == []


def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    elsewhere = certs.Subjects.of(["localhost"], [])
    app = App(leaf=certs.issue_leaf(AUTHORITY, elsewhere, common_name="job_8000"))

    with serving(app, tmp_path) as port, pytest.raises(Unprotected, match="clients refuse"):
        wait(port)


@pytest.mark.parametrize(("scheme", "expected"), [("basic", "digest"), ("digest", "basic")])
def test_another_way_to_ask_for_the_password_is_not_the_job_s(
    tmp_path: Path, scheme: str, expected: str
) -> None:
    with (
        serving(App(scheme=scheme), tmp_path) as port,
        pytest.raises(Unprotected, match=f"expected {expected} authentication, got"),
    ):
        wait(port, auth=expected)


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        "Digest",
        "Digest ",
        "Digest realm",
        'Digest realm="demo"',
        'Digest nonce="abc"',
        "Negotiate",
        'Digestive realm="demo", nonce="abc"',
    ],
)
def test_a_challenge_that_makes_no_sense_is_shown(tmp_path: Path, challenge: str) -> None:
    with (
        serving(App(challenge=challenge), tmp_path) as port,
        pytest.raises(JobctlError) as caught,
    ):
        wait(port, timeout=0.2)

    assert challenge.strip() in str(caught.value)


def test_no_error_shows_the_password(tmp_path: Path) -> None:
    with serving(App(right=401), tmp_path) as port, pytest.raises(JobctlError) as caught:
        wait(port)

    assert PASSWORD not in str(caught.value)
    assert PASSWORD not in repr(PLAIN)
    assert str(HASHED.digest_a1) not in repr(HASHED)


# Not yet


@pytest.mark.parametrize("scheme", ["digest", "basic"])
def test_a_job_that_is_not_ready_at_first_is_waited_for(tmp_path: Path, scheme: str) -> None:
    app = App(scheme=scheme, unavailable=4)

    with serving(app, tmp_path) as port:
        wait(port, auth=scheme)

    # Verified once more: where somebody has just been told 503, somebody else may be, too.
    assert len(app.asked) == 4 + 2 * 3


def test_nobody_is_asked_before_the_app_listens(tmp_path: Path) -> None:
    app = App()
    looks = iter([False, False, None])

    with serving(app, tmp_path) as port:
        probe.wait(
            target(port),
            PLAIN,
            timeout=10,
            check=nothing,
            listens=lambda: bool(app.asked) or next(looks),
        )

    assert list(looks) == []
    assert len(app.asked) == 3


def test_an_app_that_never_listens_is_not_waited_for_for_ever(closed_port: int) -> None:
    with pytest.raises(JobctlError, match="nothing listens in its container"):
        probe.wait(target(closed_port), PLAIN, timeout=0.2, check=nothing, listens=lambda: False)


def test_a_port_that_is_not_open_yet_is_waited_for(tmp_path: Path) -> None:
    server = Server(App(), tmp_path, listening=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            server.server_activate()
            thread.start()

    with server:
        wait(server.server_address[1], check=look)
        server.shutdown()
        thread.join()

    assert looks >= 3


@pytest.mark.parametrize("status", [400, 403, 404, 500, 502])
def test_an_error_behind_the_right_password_is_not_ready(tmp_path: Path, status: int) -> None:
    with (
        serving(App(right=status), tmp_path) as port,
        pytest.raises(JobctlError, match=rf"not ready after 0\.2 s: GET / answers {status}"),
    ):
        wait(port, timeout=0.2)


def test_a_port_that_stays_closed_is_told_when_the_time_is_over(closed_port: int) -> None:
    before = time.monotonic()

    with pytest.raises(JobctlError, match=f"port {closed_port} does not answer") as caught:
        wait(closed_port, timeout=0.3)

    assert 0.1 < time.monotonic() - before < 1
    assert "--timeout" in str(caught.value)
    assert not isinstance(caught.value, Unprotected)


def test_a_server_without_tls_is_not_ready() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Plain) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        with pytest.raises(JobctlError, match="does not answer"):
            wait(server.server_address[1], timeout=0.2)
        server.shutdown()
        thread.join()


class Plain(http.server.BaseHTTPRequestHandler):
    """Answers HTTP in the clear."""

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_that_never_answers_takes_no_longer_than_was_allowed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        before = time.monotonic()

        with pytest.raises(JobctlError, match="not ready"):
            wait(server.getsockname()[1], timeout=0.3)

        assert time.monotonic() - before < 1.5


def test_what_ends_the_wait_ends_it_at_once(closed_port: int) -> None:
    def ended() -> None:
        raise JobctlError("the app exited (3)")

    before = time.monotonic()
    with pytest.raises(JobctlError, match=r"the app exited \(3\)"):
        wait(closed_port, timeout=60, check=ended)

    assert time.monotonic() - before < 1


def test_a_server_is_asked_often_but_not_without_a_pause(tmp_path: Path) -> None:
    app = App(unavailable=10**6)

    with serving(app, tmp_path) as port, pytest.raises(JobctlError):
        wait(port, timeout=1)

    assert 8 < len(app.asked) < 60


# Parts


@pytest.mark.parametrize("extra", ["", ', opaque="FQhe"', ', stale=true, domain="/"'])
def test_a_digest_header_answers_its_challenge(extra: str) -> None:
    challenge = f'Digest realm="{REALM}", nonce="{NONCE}", qop="auth,auth-int"{extra}'

    header = digest_authorization(target(1, path="/a,b?c=d"), PLAIN, challenge)

    assert digest_is_right(header, path="/a,b?c=d")
    assert not digest_is_right(header, path="/a,b?c=d", password="another")
