"""Attempts to get past a job's password below HTTP: without TLS, or with more of it than usual."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.attack_site import FAREWELL, Victim, exchange

pytestmark = pytest.mark.engine

LOGGED_IN = "GET {path} HTTP/1.1\nHost: {host}\nConnection: close\n{login:GET {path}}\n\n"


class TestWithoutTls:
    """Even who knows the password gets no answer, lest others learn it."""

    @pytest.mark.parametrize(
        "request_",
        [
            pytest.param(LOGGED_IN, id="a request"),
            pytest.param("GET {path} HTTP/1.0\n{login:GET {path}}\n\n", id="an old one"),
            pytest.param("PRI * HTTP/2.0\n\nSM\n\n", id="HTTP 2"),
            pytest.param("PROXY TCP4 127.0.0.1 127.0.0.1 1 2\n" + LOGGED_IN, id="by a proxy"),
            pytest.param("STARTTLS\n" + LOGGED_IN, id="to begin with TLS later"),
            pytest.param("\x16\x03\x01␀\x05" + LOGGED_IN, id="with the beginning of TLS"),
        ],
    )
    def test_there_is_no_answer(self, victim: Victim, request_: str) -> None:
        request = victim.wire(request_)
        with socket.create_connection(("127.0.0.1", victim.port), timeout=10) as plain:
            said = exchange(plain, request)
        assert not said.startswith((b"HTTP/1.1 2", b"HTTP/1.0 2", b"HTTP/1.1 3"))
        assert victim.let_in(said) == 0

    def test_what_was_said_before_tls_is_not_part_of_it(self, victim: Victim) -> None:
        with socket.create_connection(("127.0.0.1", victim.port), timeout=10) as plain:
            plain.sendall(victim.wire(LOGGED_IN))
            with pytest.raises((ssl.SSLError, OSError)):
                victim.tls().wrap_socket(plain, server_hostname="localhost")


def lenient(*protocols: str) -> ssl.SSLContext:
    """Return a client that takes any certificate, as somebody would who attacks."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    if protocols:
        tls.set_alpn_protocols(list(protocols))
    return tls


class TestNames:
    @pytest.mark.parametrize("name", ["elsewhere", "127.0.0.1", "x" * 63 + ".y", "LOCALHOST", None])
    def test_asked_for_by_another_name(self, victim: Victim, name: str | None) -> None:
        request = victim.wire(FAREWELL)
        with socket.create_connection(("127.0.0.1", victim.port), timeout=10) as plain:
            try:
                with lenient().wrap_socket(plain, server_hostname=name) as connection:
                    said = exchange(connection, request)
            except ssl.SSLError:
                return  # no name of ours, no connection
        assert victim.let_in(said) == 0
        assert b" 401 " in said or victim.kind.scheme == "form"

    @pytest.mark.parametrize(
        "protocols",
        [["h2"], ["h2", "http/1.1"], ["http/1.0"], ["h3"], ["acme-tls/1"], ["x", "h2c"]],
    )
    def test_asked_to_speak_another_protocol(self, victim: Victim, protocols: list[str]) -> None:
        preface = victim.wire("PRI * HTTP/2.0\n\nSM\n\n␀␀␀\x04␀␀␀␀␀")
        for request in (preface, victim.wire(FAREWELL)):
            try:
                connection = victim.connect(lenient(*protocols))
            except (ssl.SSLError, ConnectionError):
                continue  # it may insist on what it speaks
            with connection:
                assert connection.selected_alpn_protocol() in (None, "http/1.0", "http/1.1")
                said = exchange(connection, request)
            assert victim.let_in(said) == 0


class TestSessions:
    def openssl(self, victim: Victim, request: str, *options: str | Path) -> str:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{victim.port}", *options]
        done = subprocess.run(
            command, input=victim.wire(request), capture_output=True, check=False, timeout=20
        )
        return (done.stdout + done.stderr).decode(errors="replace")

    def test_a_login_is_not_part_of_them(self, victim: Victim) -> None:
        tls = victim.tls()
        with victim.connect(tls) as connection:
            assert victim.let_in(exchange(connection, victim.wire(LOGGED_IN))) == 1
            session = connection.session
        with socket.create_connection(("127.0.0.1", victim.port), timeout=10) as plain:
            again = tls.wrap_socket(plain, server_hostname="localhost", session=session)
            with again as connection:
                said = exchange(connection, victim.wire(FAREWELL))
                # Python's own TLS, which Jupyter has, may begin anew.
                assert connection.session_reused or victim.kind.scheme == "form"
        assert victim.let_in(said) == 0

    def test_nothing_is_taken_before_the_handshake(self, victim: Victim, tmp_path: Path) -> None:
        """Early data may be sent again by whoever overheard it (RFC 8446, 8)."""
        session, early = tmp_path / "session", tmp_path / "early"
        early.write_bytes(victim.wire(LOGGED_IN))
        options: list[str | Path] = ["-tls1_3", "-ign_eof"]
        before = self.openssl(victim, LOGGED_IN, *options, "-sess_out", session)
        assert "HTTP/1.1 200" in before
        options += ["-sess_in", session, "-early_data", early]
        after = self.openssl(victim, FAREWELL, *options)
        assert "Reused, TLSv1.3" in after or victim.kind.scheme == "form"
        assert "Early data was not sent" in after, "a session came with leave to send some"
        assert not re.search(r"HTTP/1\.[01] 2\d\d", after)

    def test_they_are_not_negotiated_anew(self, victim: Victim) -> None:
        said = self.openssl(victim, "R\n" + LOGGED_IN, "-tls1_2")
        assert "RENEGOTIATING" in said
        assert not re.search(r"HTTP/1\.[01] [23]\d\d", said), said
