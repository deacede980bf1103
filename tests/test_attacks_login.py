"""Attempts to get past a job's password with another, or with what somebody else was let in by."""

from __future__ import annotations

import re
import time

import pytest

from tests.attack_site import DIGESTS, Victim, basic

pytestmark = pytest.mark.engine

REQUEST = "GET {path} HTTP/1.1\nHost: {host}\nConnection: close\n"

# What is said with a request for what only the owner may have. The right password is in some of
# them, but not where or not as the job asks for it.
CREDENTIALS = {
    "nothing": "",
    "an empty header": "Authorization:\n",
    "a blank header": "Authorization: \t \n",
    "a scheme alone": "Authorization: Basic\n",
    "a digest alone": "Authorization: Digest\n",
    "a scheme and a blank": "Authorization: Basic \n",
    "a digest and a blank": "Authorization: Digest \n",
    "a digest of commas": "Authorization: Digest ,,,=,\n",
    "garbage": "Authorization: \x01\x02 =,;\n",
    "the password alone": "Authorization: {password}\n",
    "a bearer": "Authorization: Bearer {password}\n",
    "a token": "Authorization: token {password}\n",
    "an empty token": "Authorization: token \n",
    "a ticket": "Authorization: Negotiate YIIGhgYGKwYBBQUCoIIGejCCBnagMDAuBgkqhkiC9xIBAgI=\n",
    "an NT hash": "Authorization: NTLM TlRMTVNTUAABAAAAB4IIogAAAAAAAAAAAAAAAAAAAAAGAbEdAAAADw==\n",
    "a scheme nobody knows": "Authorization: Open sesame\n",
    "two schemes": "Authorization: Open sesame, Bearer {password}\n",
    "two headers": "Authorization: Bearer {password}\nAuthorization: Basic Og==\n",
    "a NUL": "Authorization: Basic ␀{basic}\n",
    "a very long one": "Authorization: Basic " + "QUFB" * 5000 + "\n",
    "a very long digest": 'Authorization: Digest username="' + "a" * 20000 + '"\n',
    "one too long": "Authorization: Basic " + "QUFB" * 20000 + "\n",
    "the header of a proxy": "Proxy-Authorization: {basic}\n",
    "a header with an underscore": "Proxy_Authorization: {basic}\n",
    "a header that a proxy renamed": "X-Authorization: {basic}\n",
    "a cookie": "Cookie: Authorization={basic}; password={password}; token={password}\n",
    "cookies as apps make them": 'Cookie: session=a; access_token="2|1:0|10:1|a"; _xsrf=a\n',
    "a cookie of Jupyter's": 'Cookie: username-localhost-{port}="2|1:0|10:1|23:u|44:e30=|a"\n',
}
# What a job that asks for a digest, or shows a form, is told; and one that asks for the password.
NOT_ASKED_FOR = {
    "digest": "Authorization: {basic}\n",
    "basic": "Authorization: {digest:GET {path}}\n",
    "form": "Authorization: {basic}\n",
}
# Requests whose first line tries to say it.
IN_THE_LINE = {
    "before the host": "GET https://{user}:{password}@{host}{path} HTTP/1.1\nHost: {host}\n",
    "before the host header": "GET {path} HTTP/1.1\nHost: {user}:{password}@{host}\n",
    "as a token": "GET {path}?token={password} HTTP/1.1\nHost: {host}\n",
    "as an empty token": "GET {path}?token= HTTP/1.1\nHost: {host}\n",
    "as parameters": "GET {path}?username={user}&password={password} HTTP/1.1\nHost: {host}\n",
    "as a header": "GET {path}?Authorization={basic} HTTP/1.1\nHost: {host}\n",
    "as another line": "GET {path}%0d%0aAuthorization:%20{basic} HTTP/1.1\nHost: {host}\n",
}


class TestCredentials:
    @pytest.mark.parametrize("headers", CREDENTIALS.values(), ids=CREDENTIALS.keys())
    def test_of_no_use(self, victim: Victim, headers: str) -> None:
        victim.assert_refused(victim.wire(REQUEST + headers + "\n"))

    @pytest.mark.parametrize("lines", IN_THE_LINE.values(), ids=IN_THE_LINE.keys())
    def test_in_the_request_s_line(self, victim: Victim, lines: str) -> None:
        victim.assert_refused(victim.wire(lines + "Connection: close\n\n"))

    def test_of_another_scheme(self, victim: Victim) -> None:
        victim.assert_refused(victim.wire(REQUEST + NOT_ASKED_FOR[victim.kind.scheme] + "\n"))

    @pytest.mark.parametrize(
        ("user", "password"),
        [
            pytest.param("{user}", "wrong", id="a wrong password"),
            pytest.param("{user}", "", id="no password"),
            pytest.param("{user}", "{password}x", id="a longer password"),
            pytest.param("{user}", "{PASSWORD}", id="a password in capitals"),
            pytest.param("{user}", "{hash}", id="the hash"),
            pytest.param("nobody", "{password}", id="a wrong user"),
            pytest.param("", "{password}", id="no user"),
            pytest.param("", "", id="nothing"),
            pytest.param("{user}␀", "{password}", id="a user and a NUL"),
            pytest.param("{user}:{realm}", "{password}", id="a user and a realm"),
            pytest.param("*", "{password}", id="any user"),
            pytest.param("{user}", "wrong" * 200, id="a very long password"),
        ],
    )
    def test_wrong(self, victim: Victim, user: str, password: str) -> None:
        known = {"user": victim.user, "realm": victim.app, "password": victim.password}
        known |= {"PASSWORD": victim.password.swapcase(), "hash": victim.password_hash}
        user = user.format(**known).replace("␀", "\0")
        password = password.format(**known)
        header = basic(user, password)
        if victim.kind.scheme == "digest":
            header = victim.digest("GET", victim.kind.path, {"username": user}, password=password)
        victim.assert_refused(victim.wire(REQUEST) + f"Authorization: {header}\r\n\r\n".encode())


@DIGESTS
class TestWrongDigests:
    """By who knows nothing but what a challenge says."""

    @pytest.mark.parametrize(
        ("made_with", "changes"),
        [
            pytest.param("md5", {}, id="as asked for"),
            pytest.param("md5", {"algorithm": None}, id="no algorithm"),
            pytest.param("md5", {"algorithm": ""}, id="an empty algorithm"),
            pytest.param("md5", {"algorithm": "MD5-sess"}, id="MD5-sess"),
            pytest.param("sha256", {"algorithm": "SHA-256"}, id="SHA-256"),
            pytest.param("sha256", {"algorithm": "SHA-256-sess"}, id="SHA-256-sess"),
            pytest.param("sha512_256", {"algorithm": "SHA-512-256"}, id="SHA-512-256"),
            pytest.param("md5", {"algorithm": "none"}, id="an algorithm nobody knows"),
            pytest.param("md5", {"qop": None}, id="no qop"),
            pytest.param("md5", {"qop": ""}, id="an empty qop"),
            pytest.param("md5", {"qop": "auth-int"}, id="auth-int"),
            pytest.param("md5", {"qop": "none"}, id="a qop nobody knows"),
            pytest.param("md5", {"response": None}, id="no response"),
            pytest.param("md5", {"response": ""}, id="an empty response"),
            pytest.param("md5", {"response": "0" * 32}, id="a response of zeros"),
            pytest.param("md5", {"response": "0"}, id="a short response"),
            pytest.param("md5", {"response": "0" * 33}, id="a long response"),
            pytest.param("md5", {"response": "g" * 32}, id="a response that is no number"),
            pytest.param("md5", {"username": None}, id="no user"),
            pytest.param("md5", {"userhash": "true"}, id="a hashed user"),
            pytest.param(
                "md5", {"username": None, "username*": "UTF-8''root"}, id="an encoded user"
            ),
            pytest.param("md5", {"username*": "UTF-8''root"}, id="two users"),
            pytest.param("md5", {"realm": None}, id="no realm"),
            pytest.param("md5", {"realm": ""}, id="an empty realm"),
            pytest.param("md5", {"realm": "elsewhere"}, id="another realm"),
            pytest.param("md5", {"nonce": None}, id="no nonce"),
            pytest.param("md5", {"nonce": ""}, id="an empty nonce"),
            pytest.param("md5", {"nonce": "made up"}, id="a nonce that was made up"),
            pytest.param("md5", {"uri": None}, id="no uri"),
            pytest.param("md5", {"nc": None}, id="no count"),
            pytest.param("md5", {"cnonce": None}, id="no client nonce"),
        ],
    )
    def test_refused(self, victim: Victim, made_with: str, changes: dict[str, str | None]) -> None:
        header = victim.digest(
            "GET", victim.kind.path, changes, password="wrong", made_with=made_with
        )
        victim.assert_refused(victim.wire(REQUEST) + f"Authorization: {header}\r\n\r\n".encode())


def moved(nonce: str, seconds: int) -> str:
    """Return a nonce as it would have been made earlier or later: it begins with the time."""
    return f"{int(time.time()) + seconds:x}:" + nonce.partition(":")[2]


@DIGESTS
class TestReusedDigests:
    """By who got hold of a header that let somebody in."""

    def sent(self, victim: Victim, header: str, line: str = "GET {path}") -> bytes:
        lines = f"{line} HTTP/1.1\nHost: {{host}}\nConnection: close\n"
        return victim.wire(lines) + f"Authorization: {header}\r\n\r\n".encode()

    @pytest.mark.parametrize(
        "line",
        [
            "GET {path}/other",
            "GET {path}?query",
            "GET {path}?",
            "GET {path}/",
            "GET /{path}",
            "GET {path}%20",
            "HEAD {path}",
            "POST {path}",
            "DELETE {path}",
            "OPTIONS {path}",
            "OPTIONS *",
        ],
    )
    def test_for_another_request(self, victim: Victim, line: str) -> None:
        victim.assert_refused(self.sent(victim, victim.digest("GET", victim.kind.path), line))

    @pytest.mark.parametrize("uri", ["/other", "*", "", "/?query"])
    def test_saying_that_it_is_for_this_one(self, victim: Victim, uri: str) -> None:
        stolen = victim.digest("GET", victim.kind.path)
        said = f'uri="{victim.kind.path}"'
        assert said in stolen
        victim.assert_refused(self.sent(victim, stolen.replace(said, f'uri="{uri}"'), f"GET {uri}"))

    @pytest.mark.parametrize("seconds", [-602, -86400, 30, 86400])
    def test_out_of_its_time(self, victim: Victim, seconds: int) -> None:
        header = victim.digest("GET", victim.kind.path, {"nonce": moved(victim.nonce, seconds)})
        assert b"stale=true" in victim.assert_refused(self.sent(victim, header))

    @pytest.mark.parametrize("seconds", [-550, -300])
    def test_in_its_time_it_would_have_let_in(self, victim: Victim, seconds: int) -> None:
        header = victim.digest("GET", victim.kind.path, {"nonce": moved(victim.nonce, seconds)})
        assert victim.let_in(victim.answers(self.sent(victim, header))) == 1

    def test_put_forward_in_time(self, victim: Victim) -> None:
        """A later time in a header does not make it last longer: it is part of what is signed."""
        nonce = moved(victim.nonce, -602)
        header = victim.digest("GET", victim.kind.path, {"nonce": nonce})
        header = header.replace(nonce, moved(nonce, -10))
        victim.assert_refused(self.sent(victim, header))

    @pytest.mark.parametrize("name", ["nc", "cnonce", "qop", "realm", "username", "algorithm"])
    def test_changed(self, victim: Victim, name: str) -> None:
        header = victim.digest("GET", victim.kind.path)
        changed = re.sub(rf'\b{name}="[^"]*"', f'{name}="00000002"', header)
        assert changed != header
        victim.assert_refused(self.sent(victim, changed))

    def test_of_another_job(self, victim: Victim) -> None:
        """The nonce, user and realm of this one; the password is each job's own."""
        stolen = victim.digest("GET", victim.kind.path, password="generated for another")
        victim.assert_refused(self.sent(victim, stolen))

    def test_as_it_was(self, victim: Victim) -> None:
        """lighttpd counts no requests: the very same one is let in again, for ten minutes."""
        request = self.sent(victim, victim.digest("GET", victim.kind.path))
        assert [victim.let_in(victim.answers(request)) for _ in range(3)] == [1, 1, 1]
