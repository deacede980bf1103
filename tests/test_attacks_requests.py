"""Attempts to get past a job's password with requests that are not what they look like.

Whatever a request is, to who knows no password the app gives no answer, and a gateway does not
even connect to it.
"""

from __future__ import annotations

import pytest

from tests.attack_site import BEHIND_GATEWAY, FAREWELL, Victim

pytestmark = pytest.mark.engine


class TestTheDetector:
    """What could not be seen with the password would not be missed without."""

    def test_it_knows_the_app_s_answers(self, victim: Victim) -> None:
        request = "GET {path} HTTP/1.1\nHost: {host}\nConnection: close\n{login:GET {path}}\n\n"
        said, touched = victim.observe(lambda: victim.answers(victim.wire(request)))
        assert said.startswith(b"HTTP/1.1 200 ")
        assert victim.let_in(said) == 1, said
        assert touched or victim.kind.scheme == "form"

    def test_it_counts_them(self, victim: Victim) -> None:
        request = "GET {path} HTTP/1.1\nHost: {host}\n{login:GET {path}}\n\n"
        assert victim.let_in(victim.answers(victim.wire(request * 2 + FAREWELL))) == 2

    @BEHIND_GATEWAY
    def test_it_knows_an_error_of_the_app_s(self, victim: Victim) -> None:
        request = "GET /nowhere HTTP/1.1\nHost: {host}\n{login:GET /nowhere}\n\n"
        said = victim.answers(victim.wire(request + FAREWELL))
        assert victim.let_in(said) == 1, said

    def test_it_knows_refusals(self, victim: Victim) -> None:
        assert victim.assert_refused(victim.wire(FAREWELL))


# All that stands in the first line of a request, the version included.
LINES = {
    "two slashes": "GET /{path} HTTP/1.1",
    "many slashes": "GET ///////{path} HTTP/1.1",
    "a dot": "GET /.{path} HTTP/1.1",
    "two dots": "GET /x/..{path} HTTP/1.1",
    "above the root": "GET /../../..{path} HTTP/1.1",
    "dots at the end": "GET {path}/.. HTTP/1.1",
    "encoded dots": "GET /x/%2e%2e{path} HTTP/1.1",
    "dots encoded twice": "GET /x/%252e%252e{path} HTTP/1.1",
    "an encoded slash": "GET /%2f{path} HTTP/1.1",
    "an encoded backslash": "GET /%5c..{path} HTTP/1.1",
    "a backslash": "GET \\{path} HTTP/1.1",
    "backslashes and dots": "GET /x\\..{path} HTTP/1.1",
    "a parameter": "GET /;x{path} HTTP/1.1",
    "dots and a parameter": "GET /..;{path} HTTP/1.1",
    "an encoded NUL": "GET {path}%00 HTTP/1.1",
    "an encoded line end": "GET {path}%0d%0aX:%20y HTTP/1.1",
    "an encoded space": "GET {path}%20HTTP/1.1 HTTP/1.1",
    "half an escape": "GET {path}% HTTP/1.1",
    "an escape that is none": "GET {path}%zz HTTP/1.1",
    "an overlong encoding": "GET /%c0%af..{path} HTTP/1.1",
    "a wide encoding": "GET /%uff0e%uff0e{path} HTTP/1.1",
    "a byte beyond ASCII": "GET {path}ä HTTP/1.1",
    "a NUL": "GET {path}␀ HTTP/1.1",
    "a tab": "GET {path}\tx HTTP/1.1",
    "a fragment": "GET {path}#x HTTP/1.1",
    "nothing but a fragment": "GET # HTTP/1.1",
    "nothing but a query": "GET ?x HTTP/1.1",
    "no slash": "GET x{path} HTTP/1.1",
    "no path": "GET HTTP/1.1",
    "an empty path": "GET  HTTP/1.1",
    "an asterisk": "GET * HTTP/1.1",
    "capitals": "GET /X/..{path} HTTP/1.1",
    "a very long path": "GET {path}" + "x" * 8000 + " HTTP/1.1",
    "a path too long": "GET {path}" + "x" * 80000 + " HTTP/1.1",
    "a file to be upgraded": "GET {path}/.well-known/acme-challenge/x HTTP/1.1",
    "the whole address": "GET https://{host}{path} HTTP/1.1",
    "an address without TLS": "GET http://{host}{path} HTTP/1.1",
    "an address elsewhere": "GET https://elsewhere{path} HTTP/1.1",
    "the app's own address": "GET http://127.0.0.1:9000{path} HTTP/1.1",
    "an address without a path": "GET https://{host} HTTP/1.1",
    "an address without a host": "GET https://{path} HTTP/1.1",
    "an address of another kind": "GET file:///etc/passwd HTTP/1.1",
    "an address in two forms": "GET https:{path} HTTP/1.1",
    "an authority": "GET {host} HTTP/1.1",
    "options of all": "OPTIONS * HTTP/1.1",
    "options": "OPTIONS {path} HTTP/1.1",
    "a tunnel to the app": "CONNECT 127.0.0.1:9000 HTTP/1.1",
    "a tunnel to the job": "CONNECT {host} HTTP/1.1",
    "a tunnel to a path": "CONNECT {path} HTTP/1.1",
    "trace": "TRACE {path} HTTP/1.1",
    "track": "TRACK {path} HTTP/1.1",
    "head": "HEAD {path} HTTP/1.1",
    "delete": "DELETE {path} HTTP/1.1",
    "patch": "PATCH {path} HTTP/1.1",
    "a post of nothing": "POST {path} HTTP/1.1",
    "propfind": "PROPFIND {path} HTTP/1.1",
    "debug": "DEBUG {path} HTTP/1.1",
    "purge": "PURGE {path} HTTP/1.1",
    "an upgrade by method": "PRI * HTTP/2.0",
    "a method in lower case": "get {path} HTTP/1.1",
    "a method in mixed case": "Get {path} HTTP/1.1",
    "a method nobody knows": "LETMEIN {path} HTTP/1.1",
    "a method that begins well": "GETS {path} HTTP/1.1",
    "a method that is a number": "0 {path} HTTP/1.1",
    "no method": "{path} HTTP/1.1",
    "a very long method": "G" * 10000 + " {path} HTTP/1.1",
    "no version": "GET {path}",
    "half a version": "GET {path} HTTP/",
    "version 0.9": "GET {path} HTTP/0.9",
    "version 1.0": "GET {path} HTTP/1.0",
    "version 1.2": "GET {path} HTTP/1.2",
    "version 2": "GET {path} HTTP/2",
    "version 2.0": "GET {path} HTTP/2.0",
    "version 3": "GET {path} HTTP/3",
    "a version of more digits": "GET {path} HTTP/1.10",
    "a version in lower case": "GET {path} http/1.1",
    "another protocol": "GET {path} RTSP/1.0",
    "two blanks": "GET  {path}  HTTP/1.1",
    "a tab for a blank": "GET\t{path}\tHTTP/1.1",
    "a leading blank": " GET {path} HTTP/1.1",
    "a leading line": "\nGET {path} HTTP/1.1",
    "a leading LF": "␊GET {path} HTTP/1.1",
    "a leading NUL": "␀GET {path} HTTP/1.1",
    "a CR for a blank": "GET␍{path}␍HTTP/1.1",
    "two paths": "GET /login {path} HTTP/1.1",
    "two lines": "GET /login HTTP/1.1␊GET {path} HTTP/1.1",
}
# Who asks, for what, and how, as a proxy before the app would say it.
HEADERS = {
    "another host": "Host: elsewhere\n",
    "the app's own host": "Host: 127.0.0.1:9000\n",
    "a host with a path": "Host: {host}{path}\n",
    "a host with a user": "Host: {user}@{host}\n",
    "a host of blanks": "Host: \t\n",
    "no host": "",
    "two hosts": "Host: {host}\nHost: elsewhere\n",
    "one host twice": "Host: {host}\nHost: {host}\n",
    "two hosts in one": "Host: {host}, elsewhere\n",
    "an address of the gateway": "Host: [::1]:8443\n",
    "from here": "Host: {host}\nX-Forwarded-For: 127.0.0.1\nX-Real-IP: 127.0.0.1\n",
    "from here in the new way": 'Host: {host}\nForwarded: for=127.0.0.1;host="{host}"\n',
    "by a user": "Host: {host}\nX-Remote-User: {user}\nRemote-User: {user}\nREMOTE_USER: {user}\n",
    "by a proxy's user": "Host: {host}\nX-Forwarded-User: {user}\nX-Auth-Request-User: {user}\n",
    "by a user with underscores": "Host: {host}\nX_Forwarded_User: {user}\nX_Remote_User: {user}\n",
    "over TLS": "Host: {host}\nX-Forwarded-Proto: https\nX-SSL-Client-Verify: SUCCESS\n",
    "for another path": "Host: {host}\nX-Original-URL: {path}\nX-Rewrite-URL: {path}\n",
    "below another path": "Host: {host}\nX-Forwarded-Prefix: {path}\nX-Script-Name: {path}\n",
    "for another host": "Host: {host}\nX-Forwarded-Host: elsewhere\nX-Host: elsewhere\n",
    "with another method": "Host: {host}\nX-HTTP-Method-Override: OPTIONS\nX-HTTP-Method: HEAD\n",
    "without a login, hop by hop": "Host: {host}\nConnection: close, Authorization\n",
    "without a host, hop by hop": "Host: {host}\nConnection: close, Host, X-Forwarded-For\n",
    "from the app's own page": "Host: {host}\nOrigin: https://{host}\nReferer: https://{host}\n",
    "from the app's script": "Host: {host}\nX-Requested-With: XMLHttpRequest\nX-XSRFToken: a\n",
    "as a preflight": "Host: {host}\nOrigin: https://x\nAccess-Control-Request-Method: GET\n",
    "as a go-ahead": "Host: {host}\nExpect: 100-continue\n",
    "for a part": "Host: {host}\nRange: bytes=0-9\nIf-Range: x\n",
    "if it changed": "Host: {host}\nIf-None-Match: *\n",
    "as a health check": "Host: {host}\nUser-Agent: kube-probe/1.30\nX-Health-Check: 1\n",
    "as a file to send": "Host: {host}\nX-Sendfile: /etc/passwd\nX-Accel-Redirect: {path}\n",
    "a script's name": "Host: {host}\nProxy: http://elsewhere\n",
}
PREFACE = "PRI * HTTP/2.0\n\nSM\n\n␀␀␀\x04␀␀␀␀␀"
UPGRADE = "GET {socket} HTTP/1.1\nHost: {host}\nConnection: Upgrade\n"
KEY = "Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n"
PING = b"\x89\x80\0\0\0\0"
"""An empty one (RFC 6455, 5.5.2), to be masked with zeros."""


class TestRequests:
    @pytest.mark.parametrize("line", LINES.values(), ids=LINES.keys())
    def test_lines(self, victim: Victim, line: str) -> None:
        request = line + "\nHost: {host}\nConnection: close\n\n"
        victim.assert_refused(victim.wire(request + FAREWELL))

    def test_nothing_but_a_line(self, victim: Victim) -> None:
        """As before there were headers."""
        victim.assert_refused(victim.wire("GET {path}\n"))

    def test_an_old_request_without_a_host(self, victim: Victim) -> None:
        victim.assert_refused(victim.wire("GET {path} HTTP/1.0\n\n"))

    @pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS.keys())
    def test_headers(self, victim: Victim, headers: str) -> None:
        request = "GET {path} HTTP/1.1\nConnection: close\n" + headers + "\n"
        victim.assert_refused(victim.wire(request + FAREWELL))

    @pytest.mark.parametrize(
        "request_",
        [
            pytest.param(PREFACE, id="as known"),
            pytest.param(FAREWELL.replace("close", "keep-alive") + PREFACE, id="after a request"),
            pytest.param(
                "GET {path} HTTP/1.1\nHost: {host}\nConnection: Upgrade, HTTP2-Settings\n"
                "Upgrade: h2c\nHTTP2-Settings: AAMAAABkAAQAAP__\n\n" + PREFACE,
                id="by an upgrade",
            ),
            pytest.param(
                "GET {path} HTTP/1.1\nHost: {host}\nConnection: Upgrade\nUpgrade: h2\n\n" + PREFACE,
                id="by an upgrade of TLS",
            ),
            pytest.param(
                "CONNECT {path} HTTP/1.1\nHost: {host}\n:protocol: websocket\n:scheme: https\n\n",
                id="a tunnel for a WebSocket",
            ),
        ],
    )
    def test_http_2(self, victim: Victim, request_: str) -> None:
        victim.assert_refused(victim.wire(request_))


class TestWebSockets:
    def upgrade(self, victim: Victim, headers: str) -> bytes:
        path = victim.kind.socket or victim.kind.path
        return victim.wire(UPGRADE.replace("{socket}", path) + headers + "\n") + PING

    def test_with_the_password_there_is_one(self, victim: Victim) -> None:
        path = victim.kind.socket or victim.kind.path
        headers = f"Upgrade: websocket\n{KEY}{{login:GET {path}}}\n"
        said = victim.answers(self.upgrade(victim, headers))
        assert victim.let_in(said) == 1
        assert said.startswith(b"HTTP/1.1 101 " if victim.kind.socket else b"HTTP/1.1 200 ")

    @pytest.mark.parametrize(
        "headers",
        [
            pytest.param("Upgrade: websocket\n" + KEY, id="by nobody"),
            pytest.param(
                "Upgrade: websocket\nAuthorization: Basic bm9ib2R5Ondyb25n\n" + KEY, id="wrong"
            ),
            pytest.param(
                'Upgrade: websocket\nAuthorization: Digest username="{user}", realm="{realm}"\n'
                + KEY,
                id="half a digest",
            ),
            pytest.param(
                "Upgrade: websocket\nOrigin: https://{host}\n" + KEY, id="from the app's page"
            ),
            pytest.param(
                "Upgrade: websocket\nSec-WebSocket-Protocol: v1.kernel.websocket.jupyter.org\n"
                + KEY,
                id="for a kernel",
            ),
            pytest.param("Upgrade: WebSocket\n" + KEY, id="in capitals"),
            pytest.param("Upgrade: websocket, h2c\n" + KEY, id="or another"),
            pytest.param("Upgrade: websocket\n", id="without a key"),
            pytest.param("Upgrade: TLS/1.0\n", id="to TLS"),
        ],
    )
    def test_without_there_is_none(self, victim: Victim, headers: str) -> None:
        victim.assert_refused(self.upgrade(victim, headers) + victim.wire(FAREWELL))

    def test_none_for_a_query(self, victim: Victim) -> None:
        request = self.upgrade(victim, "Upgrade: websocket\n" + KEY) + victim.wire(FAREWELL)
        for query in (b"?token=", b"?session_id=s1&file=x.py", b"?access_token=x"):
            victim.assert_refused(request.replace(b" HTTP/1.1", query + b" HTTP/1.1", 1))
