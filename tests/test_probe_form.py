"""Verified readiness of apps with a login form: what counts as shut, as open, as not ready yet."""

from __future__ import annotations

import http.server
import secrets
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from jobctl import certs, probe
from jobctl.errors import JobctlError
from jobctl.probe import Secret, Target, Unprotected
from jobctl.probe.form import find_form

PASSWORD = "pässwörd & more"
HERE = certs.Subjects.of(["localhost"], ["127.0.0.1"])
AUTHORITY = certs.issue_authority("test", HERE)
LEAF = certs.issue_leaf(AUTHORITY, HERE, common_name="job_8000")
PAGE = """<!doctype html><form action="/search"><input name="q"></form>
<FORM method=post action="{action}">
  <input type="hidden" name="_xsrf" value="{token}">
  <input type="text" name="who"><input type="PASSWORD" name="password"><input type=submit>
</form>"""


@dataclass
class App:
    """What a server with a login form does; the defaults are what a job has to do."""

    refusal: int = 302
    """The answer to who has not logged in; 302 leads to the login."""
    anybody: bool = False
    any_password: bool = False
    no_password: bool = False
    right: int = 200
    action: str = "/login?next=%2F"
    page: str = PAGE
    location: str = "/login?next=%2Fstatus"
    unavailable: int = 0
    """How many requests are answered with 503 first."""
    asked: int = 0
    tokens: set[str] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)


class Handler(http.server.BaseHTTPRequestHandler):
    app: App

    def cookies(self) -> dict[str, str]:
        pairs = (pair.partition("=") for pair in self.headers.get("Cookie", "").split("; "))
        return {name: value for name, _, value in pairs}

    def answer(self, status: int, body: str = "", *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def do_GET(self) -> None:
        app = self.app
        app.asked += 1
        if app.asked <= app.unavailable:
            self.answer(503)
        elif self.path == "/login":
            token = secrets.token_hex(4)
            app.tokens.add(token)
            cookie = ("Set-Cookie", f"_xsrf={token}; Path=/; Secure")
            self.answer(200, app.page.format(action=app.action, token=token), cookie)
        elif app.anybody or self.cookies().get("session", "none") in app.sessions:
            self.answer(app.right)
        else:
            self.answer(app.refusal, "", ("Location", app.location))

    def do_POST(self) -> None:
        app = self.app
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        given = {name: values[0] for name, values in parse_qs(body).items()}
        token = given.get("_xsrf")
        if token not in app.tokens or self.cookies().get("_xsrf") != token:
            self.answer(403, "no token")
        elif self.path != app.action or given.get("who") != "test":
            self.answer(404)
        elif app.no_password or not (app.any_password or given.get("password") == PASSWORD):
            self.answer(401, app.page)
        else:
            session = f'"2|1:{secrets.token_hex(4)}|x="'
            app.sessions.add(session)
            cookie = ("Set-Cookie", f"session={session}; HttpOnly; Path=/")
            self.answer(302, "", ("Location", "/"), cookie)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(app: App, directory: Path) -> Iterator[int]:
    """Serve an app over TLS; yields its port."""
    (directory / "leaf.pem").write_bytes(LEAF.certificate + LEAF.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "leaf.pem")
    handler = type("Bound", (Handler,), {"app": app})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def wait(port: int, password: str | None = PASSWORD, *, timeout: float = 5) -> None:
    target = Target(
        address="127.0.0.1",
        port=port,
        trusted=AUTHORITY.certificate.decode(),
        fingerprint=certs.fingerprint(LEAF.certificate),
        auth=None,
        user="test",
        path="/status",
        login_path="/login",
    )
    probe.wait(target, Secret(password=password), timeout=timeout, check=lambda: None)


@pytest.mark.parametrize("refusal", [302, 401, 403])
def test_an_app_that_lets_in_with_the_password_alone_is_ready(tmp_path: Path, refusal: int) -> None:
    app = App(refusal=refusal)

    with serving(app, tmp_path) as port:
        wait(port)

    assert len(app.sessions) == 1


def test_without_the_password_at_hand_nobody_logs_in(tmp_path: Path) -> None:
    app = App()

    with serving(app, tmp_path) as port:
        wait(port, None)

    assert app.sessions == set()


def test_an_app_that_is_not_up_yet_is_asked_again(tmp_path: Path) -> None:
    with serving(App(unavailable=3), tmp_path) as port:
        wait(port)


@pytest.mark.parametrize(
    ("app", "message"),
    [
        (App(anybody=True), "the app is open: GET /status without a login answers 200"),
        (App(any_password=True), "the app is open: GET /status with a wrong password answers 200"),
        (App(no_password=True), "the right password is refused"),
        (App(location="/welcome"), "the app is open: GET /status without a login answers 302"),
        (App(action="https://else.where/login"), 'goes elsewhere: "https://else.where/login"'),
        (App(action="//else.where/login"), 'goes elsewhere: "//else.where/login"'),
    ],
)
def test_an_app_that_is_not_protected_is_told(tmp_path: Path, app: App, message: str) -> None:
    with serving(app, tmp_path) as port, pytest.raises(Unprotected, match=message):
        wait(port)


@pytest.mark.parametrize(
    ("app", "message"),
    [
        (App(right=500), "GET /status answers 500"),
        (App(refusal=404), "GET /status answers 404"),
        (App(page="<form><input name=q></form>"), "GET /login answers 200 and no form"),
        (App(unavailable=1000), "answers 503"),
    ],
)
def test_an_app_that_does_not_become_ready_is_told(tmp_path: Path, app: App, message: str) -> None:
    with serving(app, tmp_path) as port, pytest.raises(JobctlError, match=message) as caught:
        wait(port, timeout=0.3)

    assert not isinstance(caught.value, Unprotected)


# The form


@pytest.mark.parametrize(
    ("action", "target"),
    [
        ("", "/a/login"),
        ("?next=1", "/a/login?next=1"),
        ("in", "/a/in"),
        ("/in", "/in"),
        ("http://x/in", None),
        ("//x/in", None),
    ],
)
def test_a_form_goes_where_a_browser_would_send_it(action: str, target: str | None) -> None:
    form = find_form(f'<form action="{action}"><input type=password name=p></form>')

    assert form is not None
    assert form.target("/a/login") == target


def test_hidden_inputs_stay_and_the_others_are_filled_in() -> None:
    form = find_form(
        "<input name=outside value=1><form><input type=hidden name=h value='&lt;1&amp;'>"
        "<input name=u><input type=email name=e><input type=password name=p>"
        "<input type=checkbox name=c value=1><input type=submit name=s value=go></form>"
    )

    assert form is not None
    body = parse_qs(form.filled(user="me", password="a b&c").decode())
    assert body == {"h": ["<1&"], "u": ["me"], "e": ["me"], "p": ["a b&c"]}


@pytest.mark.parametrize("page", ["", "<form></form>", "<input type=password name=p>", "\0<form"])
def test_a_page_without_such_a_form_has_none(page: str) -> None:
    assert find_form(page) is None
