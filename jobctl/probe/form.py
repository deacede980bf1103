"""Jobs that have a login form and know by a cookie who has been through it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin, urlsplit

from jobctl.probe.client import Answer, Client, NotReady, Secret, Target, Unprotected

_PASSWORD = "password"  # noqa: S105, the type of an input
_USER = ("text", "email", "")


@dataclass
class LoginForm:
    """A form as it stands in a page; ``inputs`` are name, type and value of each input."""

    action: str = ""
    inputs: list[tuple[str, str, str]] = field(default_factory=list)

    def asks_for_password(self) -> bool:
        """Tell whether there is an input for a password in it."""
        return any(kind == _PASSWORD for _, kind, _ in self.inputs)

    def target(self, page: str) -> str | None:
        """Return the path that the form on ``page``, a path, is sent to; ``None``: elsewhere."""
        joined = urlsplit(urljoin(f"//here{page}", self.action))
        if joined.netloc != "here":
            return None
        return joined.path + (f"?{joined.query}" if joined.query else "")

    def filled(self, *, user: str, password: str) -> bytes:
        """Return the body that logs in: hidden inputs as they are, the others filled in."""
        values = {name: value for name, kind, value in self.inputs if kind == "hidden"}
        values |= {name: user for name, kind, _ in self.inputs if kind in _USER}
        values |= {name: password for name, kind, _ in self.inputs if kind == _PASSWORD}
        return urlencode(values).encode()


def find_form(page: str) -> LoginForm | None:
    """Return the first form of an HTML page that asks for a password."""
    parser = _Forms()
    parser.feed(page)
    parser.close()
    return next((form for form in parser.forms if form.asks_for_password()), None)


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[LoginForm] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._inside = True
            self.forms.append(LoginForm(values.get("action", "")))
        elif tag == "input" and self._inside and values.get("name"):
            found = (values["name"], values.get("type", "").lower(), values.get("value", ""))
            self.forms[-1].inputs.append(found)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False


def verify(client: Client, target: Target, secret: Secret, login_path: str) -> None:
    """Make sure that nobody gets in but by the form at ``login_path``, with the password.

    Raises:
        NotReady: the answers are not yet what they should be.
        Unprotected: they will not be.
    """
    _shut_out(client.get(target.path), target, login_path, "without a login")
    wrong = _log_in(client, target, login_path, secrets.token_urlsafe(16))
    _shut_out(client.get(target.path, **wrong), target, login_path, "with a wrong password")
    if secret.password is None:
        return
    right = _log_in(client, target, login_path, secret.password)
    answer = client.get(target.path, **right)
    if answer.refused or _leads_to(answer, login_path):
        raise Unprotected(
            "the right password is refused; the app uses another than the job's; make it use that"
        )
    if answer.failed:
        raise NotReady.answered(target.path, answer.status)


def _log_in(client: Client, target: Target, login_path: str, password: str) -> dict[str, str]:
    """Fill in the login form as a browser would, and return the headers of who has done so."""
    page = client.page(login_path)
    form = find_form(page.body.decode(errors="replace"))
    if page.failed or form is None:
        raise NotReady(f"GET {login_path} answers {page.status} and no form with a password")
    action = form.target(login_path)
    if action is None:
        raise Unprotected(
            f'the login form of {login_path} goes elsewhere: "{form.action}"; have it stay in '
            "the app"
        )
    cookies = _cookies(page)
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        # Forms of some frameworks are refused without.
        "Referer": f"https://{target.address}:{target.port}{login_path}",
        **_cookie_header(cookies),
    }
    answer = client.send("POST", action, headers, form.filled(user=target.user, password=password))
    return _cookie_header(cookies | _cookies(answer))


def _cookies(answer: Answer) -> dict[str, str]:
    found: SimpleCookie = SimpleCookie()
    for line in answer.headers.get_all("Set-Cookie", []):
        found.load(line)
    return {name: morsel.coded_value for name, morsel in found.items()}


def _cookie_header(cookies: Mapping[str, str]) -> dict[str, str]:
    pairs = "; ".join(f"{name}={value}" for name, value in cookies.items())
    return {"Cookie": pairs} if pairs else {}


def _shut_out(answer: Answer, target: Target, login_path: str, how: str) -> None:
    """Make sure that an answer is a refusal, or the way to the login form."""
    if answer.refused or _leads_to(answer, login_path):
        return
    if answer.failed:
        raise NotReady.answered(target.path, answer.status)
    raise Unprotected(
        f"the app is open: GET {target.path} {how} answers {answer.status} instead of 401, 403 or "
        f"a redirect to {login_path}; have it ask for the password"
    )


def _leads_to(answer: Answer, login_path: str) -> bool:
    return urlsplit(answer.location).path == login_path
