"""The gateway's configuration, as text and in a real lighttpd with a real app behind it."""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import docker
import pytest
import requests

from jobctl import certs, gateway, probe
from jobctl.engines.docker import DockerEngine
from jobctl.errors import JobctlError
from jobctl.gateway import Auth, Gateway, healthcheck_command, render_config
from tests.conftest import Traces, run_inside
from tests.gateway_site import (
    APP_PORT,
    MB,
    PASSWORD,
    REALM,
    USER,
    App,
    Running,
    each_scheme,
    read_to_end,
)

# Says what an app may see, on a raw socket so that nothing is tidied up on the way.
SERVER = r"""
import asyncio, json

async def answer(reader, writer):
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ")
    pairs = [line.split(": ", 1) for line in lines if line]
    seen = json.dumps({"method": method, "target": target, "headers": pairs})
    writer.write(b"HTTP/1.1 200 OK\r\nServer: the-app\r\nStrict-Transport-Security: max-age=9"
                 b"\r\nContent-Type: application/json\r\n\r\n" + seen.encode())
    await writer.drain()
    writer.close()

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", PORT)
    await server.serve_forever()

asyncio.run(main())
""".replace("PORT", str(APP_PORT))
APP = App(image="jobctl/base", command=["python3", "-c", SERVER])

SETTINGS = Gateway(
    certificate="/home/ada/job_8000.pem",
    private_key="/home/ada/job_8000.key",
    password_file="/home/ada/job_8000_htpasswd",
    auth="digest",
    realm="notebook",
    app_port=APP_PORT,
)


class TestRendering:
    def test_the_password_is_checked_before_it_is_removed(self) -> None:
        order = re.findall(r'"(mod_\w+)"', render_config(SETTINGS).splitlines()[0])
        assert order.index("mod_auth") < order.index("mod_setenv") < order.index("mod_proxy")

    @pytest.mark.parametrize(("auth", "backend"), [("digest", "htdigest"), ("basic", "htpasswd")])
    def test_the_scheme_chooses_the_password_file(self, auth: Auth, backend: str) -> None:
        config = render_config(replace(SETTINGS, auth=auth))
        assert f'auth.backend.{backend}.userfile = "/home/ada/job_8000_htpasswd"' in config

    def test_without_a_scheme_nothing_is_asked(self) -> None:
        config = render_config(replace(SETTINGS, auth=None, password_file=None))
        assert "mod_auth" not in config
        assert "auth.require" not in config

    @pytest.mark.parametrize(
        "changes", [{"auth": None}, {"password_file": None}], ids=["no scheme", "no file"]
    )
    def test_half_a_protection_is_refused(self, changes: dict[str, Any]) -> None:
        with pytest.raises(JobctlError, match="password"):
            render_config(replace(SETTINGS, **changes))

    @pytest.mark.parametrize("realm", ['a"b', "a\\", "a\nb", "a:b", "ä", ""])
    def test_a_realm_that_would_break_out_is_refused(self, realm: str) -> None:
        with pytest.raises(JobctlError, match="realm"):
            render_config(replace(SETTINGS, realm=realm))

    @pytest.mark.parametrize("path", ['/a\\"; x', "/a\\", "/a\nb", "/a\0b"])
    def test_a_path_that_would_break_out_is_refused(self, path: str) -> None:
        with pytest.raises(JobctlError, match="certificate"):
            render_config(replace(SETTINGS, certificate=path))

    @pytest.mark.parametrize(("app_port", "port"), [(9000, 8443), (8443, 8444), (8444, 8443)])
    def test_the_gateway_leaves_the_app_its_port(self, app_port: int, port: int) -> None:
        assert f"server.port = {port}\n" in render_config(replace(SETTINGS, app_port=app_port))


@pytest.fixture(scope="module")
def gateways(
    engine: DockerEngine, traces: Traces, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Running]]:
    """One gateway for each way to ask for the password, and an app behind each."""
    with each_scheme(engine, traces, tmp_path_factory, APP) as running:
        yield running


@pytest.mark.engine
class TestThePassword:
    def test_without_it_nothing_is_served(self, protected: Running) -> None:
        answer = protected.get(auth=None)
        assert answer.status_code == 401
        assert f'realm="{REALM}"' in answer.headers["WWW-Authenticate"]

    def test_a_wrong_one_is_refused(self, protected: Running) -> None:
        assert protected.get(auth=protected.login("wrong")).status_code == 401

    def test_the_right_one_lets_in(self, protected: Running) -> None:
        assert protected.get().json()["method"] == "GET"

    @pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"])
    def test_every_method_needs_it(self, protected: Running, method: str) -> None:
        answer = requests.request(
            method, protected.url + "/x", verify=str(protected.certificate), timeout=10
        )
        assert answer.status_code == 401

    @pytest.mark.parametrize(
        "line",
        [
            "OPTIONS * HTTP/1.1",
            "CONNECT localhost:9000 HTTP/1.1",
            "CONNECT 127.0.0.1:9000 HTTP/1.1",
            "GET //x HTTP/1.1",
            "GET /../x HTTP/1.1",
            "GET https://localhost/x HTTP/1.1",
            "GET /%2e%2e/x HTTP/1.1",
            "GET * HTTP/1.1",
        ],
    )
    def test_no_spelling_of_a_request_gets_around_it(self, protected: Running, line: str) -> None:
        with protected.connect() as connection:
            connection.sendall(f"{line}\r\nHost: localhost\r\n\r\n".encode())
            status = connection.recv(4096).split(b" ")[1]
        assert status in (b"400", b"401", b"405")

    def test_a_challenge_is_old_enough_for_the_clock_of_each_worker(
        self, gateways: dict[str, Running]
    ) -> None:
        challenge = gateways["digest"].get(auth=None).headers["WWW-Authenticate"]
        made = re.search('nonce="([0-9a-f]+):', challenge)
        assert made
        # One that lags a second takes a newer one for stale, and refuses the right password.
        assert 2 <= time.time() - int(made[1], 16) < 5

    def test_neither_it_nor_a_query_is_logged(self, protected: Running) -> None:
        protected.get("/?token=in-a-query")
        protected.get("/?token=in-a-query", auth=protected.login("a wrong one"))
        log = protected.log()
        assert USER in log, "nothing was logged at all"
        encoded = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        for secret in (PASSWORD, "a wrong one", "in-a-query", encoded):
            assert secret not in log

    def test_a_slow_hash_is_computed_once(self, basic: Running) -> None:
        basic.get()
        with requests.Session() as session:
            session.trust_env = False  # else the host's own certificates go before these
            session.auth, session.verify = basic.login(), str(basic.certificate)
            session.get(basic.url, timeout=10)
            began = time.monotonic()
            for _ in range(20):
                session.get(basic.url, timeout=10)
        # One bcrypt at passlib's cost of 12 alone takes some 200 ms.
        assert (time.monotonic() - began) / 20 < 0.1


@pytest.mark.engine
class TestWhatTheAppSees:
    def test_the_password_does_not_reach_it(self, protected: Running) -> None:
        names = {name.lower() for name, _ in protected.get().json()["headers"]}
        assert "authorization" not in names
        assert PASSWORD not in protected.get().text

    def test_a_client_can_not_pose_as_a_proxy(self, basic: Running) -> None:
        names = [name for name in gateway._CLIENT_MAY_NOT_SAY if name != "Authorization"]
        spoofed = dict.fromkeys([*names, *(name.replace("-", "_") for name in names)], "spoofed")
        spoofed |= {"x-forwarded-for": "spoofed", "X-Kept": "kept"}
        headers = dict(basic.get(headers=spoofed).json()["headers"])
        assert "spoofed" not in headers.values()
        assert headers["X-Kept"] == "kept"

    def test_the_gateway_says_who_asks_and_how(self, basic: Running) -> None:
        headers = dict(basic.get().json()["headers"])
        assert headers["X-Forwarded-Proto"] == "https"
        assert headers["X-Forwarded-Host"] == headers["Host"] == f"localhost:{basic.port}"
        assert re.fullmatch(r"[\d.]+", headers["X-Forwarded-For"])

    @pytest.mark.parametrize("target", ["/a%2Fb/../c?d=%2F+e", "/%7Eada//x", "/ä?%"])
    def test_urls_arrive_as_they_were_written(self, basic: Running, target: str) -> None:
        with basic.send(f"GET {target} HTTP/1.0") as connection:
            body = read_to_end(connection).split(b"\r\n\r\n", 1)[1]
        assert json.loads(body)["target"].encode("latin-1").decode() == target

    def test_nobody_pins_the_host_to_https_or_names_the_gateway(self, basic: Running) -> None:
        answer = basic.get()
        assert "Strict-Transport-Security" not in answer.headers
        assert answer.headers["Server"] == "the-app"
        assert "Server" not in basic.get(auth=None).headers
        assert "lighttpd" not in basic.get(auth=None).text


@pytest.mark.engine
class TestTls:
    def test_nothing_older_than_1_2(self, basic: Running) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            tls = lenient()
            tls.minimum_version = tls.maximum_version = ssl.TLSVersion.TLSv1_1
        tls.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
            basic.connect(tls)

    @pytest.mark.parametrize("ciphers", ["ECDHE-ECDSA-AES128-SHA256", "AES128-GCM-SHA256"])
    def test_no_cbc_and_nothing_without_forward_secrecy(self, basic: Running, ciphers: str) -> None:
        tls = lenient()
        tls.maximum_version = ssl.TLSVersion.TLSv1_2
        tls.set_ciphers(ciphers)
        with pytest.raises(ssl.SSLError, match=r"(?i)handshake.failure"):
            basic.connect(tls)

    def test_http_2_is_not_spoken(self, basic: Running) -> None:
        tls = lenient()
        tls.set_alpn_protocols(["h2", "http/1.1"])
        with basic.connect(tls) as connection:
            assert connection.version() == "TLSv1.3"
            assert connection.selected_alpn_protocol() == "http/1.1"


@pytest.mark.engine
class TestTheContainer:
    def test_it_runs_without_any_privilege(self, basic: Running) -> None:
        checks = (
            f"test $(id -u) = {os.getuid() or 65532}",
            "grep -q 'CapEff:.0*$' /proc/self/status",
            "grep -q 'NoNewPrivs:.1' /proc/self/status",
            "! touch /written",
        )
        for check in checks:
            assert basic.inside(check) == 0, check

    def test_it_stays_small(self, basic: Running) -> None:
        basic.get()
        api = docker.APIClient(base_url=basic.engine.endpoint)
        stats = api.stats(basic.containers[0], stream=False)["memory_stats"]
        api.close()
        files = stats["stats"].get("total_inactive_file", stats["stats"].get("inactive_file", 0))
        assert stats["usage"] - files < 24 * MB

    def test_an_app_that_comes_back_is_found_within_two_seconds(self, basic: Running) -> None:
        app = basic.containers[1]
        basic.engine.stop(app, grace=0)
        # Often enough for each worker to have noticed.
        assert {basic.get().status_code for _ in range(20)} == {503}
        assert run_inside(basic.containers[0], healthcheck_command(APP_PORT)) != 0
        basic.engine.start(app)
        basic.await_healthy()
        deadline = time.monotonic() + 2
        while (status := basic.get().status_code) != 200:
            assert time.monotonic() < deadline, f"still {status}"
            time.sleep(0.02)

    def test_once_verified_no_worker_is_without_the_app(self, basic: Running) -> None:
        """Also where each was asked while the app was away, which can't always be avoided."""
        app = basic.containers[1]
        basic.engine.stop(app, grace=0)
        target = probe.Target(
            address="localhost",
            port=basic.port,
            trusted=(trusted := basic.certificate.read_text()),
            fingerprint=certs.fingerprint(trusted.encode()),
            auth="basic",
            user=USER,
        )
        looks = count()

        def come_back() -> None:
            if next(looks) == 0:
                assert {basic.get().status_code for _ in range(20)} == {503}
                basic.engine.start(app)

        probe.wait(target, probe.Secret(password=PASSWORD), timeout=10, check=come_back)

        assert {basic.get().status_code for _ in range(20)} == {200}


def lenient() -> ssl.SSLContext:
    """Return a client that would accept any certificate: the test is about something else."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    return tls
