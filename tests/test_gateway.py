"""The gateway's configuration, as text and in a real lighttpd with a real app behind it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import ssl
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from passlib.apache import HtdigestFile, HtpasswdFile
from requests.auth import AuthBase, HTTPBasicAuth, HTTPDigestAuth

from jobctl import gateway
from jobctl.engines.base import Bind, ContainerSpec, Publish
from jobctl.engines.docker import DockerEngine
from jobctl.errors import JobctlError
from jobctl.gateway import PORT, Auth, Gateway, healthcheck_command, render_config
from jobctl.images import ensure_image, known_sources
from tests.conftest import Traces, run_inside

IMAGES = Path(__file__).parents[1] / "images"
USER, PASSWORD, REALM = "ada", "correct horse", "notebook"
APP_PORT = 9000
MB = 1 << 20
WEBSOCKET_KEY = base64.b64encode(b"0123456789abcdef").decode()
UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Key: {WEBSOCKET_KEY}\r\n"
)

# What an app may see and do, on a raw socket so that nothing is tidied up on the way.
APP = r"""
import asyncio, base64, hashlib, json
seen, released = {"uploaded": 0}, asyncio.Event()

async def read_body(headers, reader):
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readline(), 16):
            await reader.readexactly(size + 2)
            seen["uploaded"] += size
        await reader.readline()
    left = int(headers.get("content-length", 0))
    while left and (data := await reader.read(min(left, 1 << 16))):
        left -= len(data)
        seen["uploaded"] += len(data)

async def answer(reader, writer):
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    pairs = [line.split(": ", 1) for line in lines if line]
    headers = {name.lower(): value for name, value in pairs}
    method, target, _ = first.split(" ")
    def send(data, kind="application/json"):
        writer.write(b"HTTP/1.1 200 OK\r\nServer: the-app\r\nStrict-Transport-Security: max-age=9"
                     b"\r\nContent-Type: %s\r\n\r\n%s" % (kind.encode(), data))
    if target == "/socket":
        accept = base64.b64encode(hashlib.sha1(headers["sec-websocket-key"].encode()
            + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                     b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        while data := await reader.read(4096):
            writer.write(b"heard " + data)
    elif target == "/events":
        send(b"data: one\n\n", "text/event-stream")
        await writer.drain()
        await released.wait()
        writer.write(b"data: two\n\n")
    elif target == "/release":
        released.set()
        send(b"{}")
    elif target == "/drop?token=in-a-query":
        pass
    elif target == "/seen":
        send(json.dumps(seen).encode())
    else:
        await read_body(headers, reader)
        send(json.dumps({"method": method, "target": target, "headers": pairs} | seen).encode())
    await writer.drain()
    writer.close()

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", PORT)
    await server.serve_forever()

asyncio.run(main())
""".replace("PORT", str(APP_PORT))

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

    def test_the_app_can_not_have_the_gateways_port(self) -> None:
        with pytest.raises(JobctlError, match=str(PORT)):
            render_config(replace(SETTINGS, app_port=PORT))


@dataclass(frozen=True, kw_only=True)
class Running:
    """A gateway and an app on a real engine."""

    engine: DockerEngine
    containers: list[str]
    port: int
    certificate: Path
    auth: Auth

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def login(self, password: str = PASSWORD) -> AuthBase:
        return (HTTPDigestAuth if self.auth == "digest" else HTTPBasicAuth)(USER, password)

    def get(self, path: str = "/", **options: Any) -> requests.Response:
        options.setdefault("auth", self.login())
        return requests.get(self.url + path, verify=str(self.certificate), timeout=10, **options)

    def connect(self, tls: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        tls = tls or ssl.create_default_context(cafile=str(self.certificate))
        plain = socket.create_connection(("localhost", self.port), timeout=10)
        return tls.wrap_socket(plain, server_hostname="localhost")

    def send(self, head: str, *, headers: str = "") -> ssl.SSLSocket:
        """Send a request line as it is, with a basic login, and return the open connection."""
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        connection = self.connect()
        connection.sendall(
            f"{head}\r\nHost: localhost\r\nAuthorization: Basic {login}\r\n{headers}\r\n".encode()
        )
        return connection

    def log(self) -> str:
        return b"".join(self.engine.logs(self.containers[0])).decode()

    def inside(self, script: str) -> int:
        return run_inside(self.containers[0], ["/bin/busybox", "sh", "-c", script])


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost, with its key beside it as ``.key``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "jobctl test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "job.crt"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    path.with_suffix(".key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


def password_file(auth: Auth, directory: Path) -> Path:
    path = directory / "htpasswd"
    if auth == "digest":
        digests = HtdigestFile(str(path), new=True)
        digests.set_password(USER, REALM, PASSWORD)
        digests.save()
    else:
        hashed = HtpasswdFile(str(path), new=True, default_scheme="bcrypt")
        hashed.set_password(USER, PASSWORD)
        hashed.save()
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def launch(
    engine: DockerEngine,
    traces: Traces,
    stack: ExitStack,
    *,
    auth: Auth,
    certificate: Path,
    directory: Path,
    more: str = "",
) -> Running:
    """Start a gateway as jobs do, and an app that joins it; the stack removes both."""
    sources = known_sources([IMAGES])
    for tag in ("jobctl/base", "jobctl/gateway"):
        ensure_image(engine, tag, sources, print)
    uid = os.getuid() or 65532
    passwords = password_file(auth, directory)
    config = directory / "gateway.conf"
    config.write_text(
        render_config(
            Gateway(
                certificate=str(certificate),
                private_key=str(certificate.with_suffix(".key")),
                password_file=str(passwords),
                auth=auth,
                realm=REALM,
                app_port=APP_PORT,
            )
        )
        + more
    )
    files = [certificate, certificate.with_suffix(".key"), config, passwords]
    for path in files:
        path.chmod(0o600)
        os.chown(path, uid, -1)
    port = free_port()
    first = ContainerSpec(
        name=traces.new_name(),
        image="jobctl/gateway",
        command=gateway.command(str(config), APP_PORT),
        user=f"{uid}:{uid}",
        labels={},
        memory=64 * MB,
        cpus=2,
        pids=32,
        binds=[Bind(source=str(path), target=str(path)) for path in files],
        tmpfs={"/tmp": "size=1m,mode=1777"},  # noqa: S108, inside the container
        publish=Publish(address="127.0.0.1", host_port=port, container_port=PORT),
    )
    created = [engine.create(first)]
    stack.callback(engine.remove, created[0])
    engine.start(created[0])
    app = ContainerSpec(
        name=traces.new_name(),
        image="jobctl/base",
        command=["python3", "-c", APP],
        user=f"{uid}:{uid}",
        labels={},
        memory=64 * MB,
        cpus=2,
        pids=32,
        joins=created[0],
    )
    created.append(engine.create(app))
    stack.callback(engine.remove, created[1])
    engine.start(created[1])
    running = Running(
        engine=engine,
        containers=created,
        port=port,
        certificate=certificate,
        auth=auth,
    )
    await_healthy(running)
    return running


def await_healthy(running: Running) -> None:
    deadline = time.monotonic() + 15
    while run_inside(running.containers[0], healthcheck_command(APP_PORT)) != 0:
        assert time.monotonic() < deadline, running.log()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def gateways(
    engine: DockerEngine,
    traces: Traces,
    certificate: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Running]]:
    """One gateway for each way to ask for the password, and an app behind each."""
    schemes: tuple[Auth, ...] = ("digest", "basic")
    with ExitStack() as stack:
        yield {
            auth: launch(
                engine,
                traces,
                stack,
                auth=auth,
                certificate=certificate,
                directory=tmp_path_factory.mktemp(auth),
            )
            for auth in schemes
        }


@pytest.fixture(params=["digest", "basic"])
def protected(request: pytest.FixtureRequest, gateways: dict[str, Running]) -> Running:
    return gateways[request.param]


@pytest.fixture
def basic(gateways: dict[str, Running]) -> Running:
    return gateways["basic"]


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
class TestStreams:
    def test_a_websocket_is_passed_through(self, basic: Running) -> None:
        with basic.send("GET /socket HTTP/1.1", headers=UPGRADE) as connection:
            head = read_until(connection, b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 ")
            magic = f"{WEBSOCKET_KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()
            assert base64.b64encode(hashlib.sha1(magic).digest()) in head  # noqa: S324, RFC 6455
            for word in (b"one", b"two"):
                connection.sendall(word)
                assert read_until(connection, word).endswith(b"heard " + word)

    def test_a_websocket_outlives_the_time_for_a_request(
        self, engine: DockerEngine, traces: Traces, certificate: Path, tmp_path: Path
    ) -> None:
        with ExitStack() as stack:
            hurried = launch(
                engine,
                traces,
                stack,
                auth="basic",
                certificate=certificate,
                directory=tmp_path,
                more="server.max-read-idle = 1\n",
            )
            slow = stack.enter_context(hurried.connect())
            slow.sendall(b"GET / HT")
            quiet = stack.enter_context(hurried.send("GET /socket HTTP/1.1", headers=UPGRADE))
            read_until(quiet, b"\r\n\r\n")
            assert slow.recv(1) == b"", "lighttpd did not mind the time at all"
            time.sleep(1)
            quiet.sendall(b"still there")
            read_until(quiet, b"still there")

    def test_events_arrive_as_they_are_sent(self, basic: Running) -> None:
        with basic.send("GET /events HTTP/1.1") as connection:
            assert b"data: two" not in read_until(connection, b"data: one\n\n")
            basic.get("/release")
            read_until(connection, b"data: two\n\n")

    def test_uploads_are_passed_on_while_they_last(self, basic: Running) -> None:
        before = basic.get("/seen").json()["uploaded"]
        size = 30 * MB  # eight at once are more than the memory and the /tmp of the gateway
        with ExitStack() as stack:
            uploads = [
                stack.enter_context(
                    basic.send("POST /upload HTTP/1.1", headers=f"Content-Length: {size}\r\n")
                )
                for _ in range(8)
            ]
            for sent in range(size // MB):
                for upload in uploads:
                    upload.sendall(bytes(MB))
                if sent == 15:
                    assert basic.get("/seen").json()["uploaded"] > before
            for upload in uploads:
                assert b" 200 OK" in read_until(upload, b'"uploaded"')
        assert basic.get("/seen").json()["uploaded"] == before + 8 * size

    def test_a_chunked_upload_arrives_whole(self, basic: Running) -> None:
        before = basic.get("/seen").json()["uploaded"]
        answer = requests.post(
            basic.url + "/upload",
            data=iter([b"x" * 1000, b"y" * 70000]),
            auth=basic.login(),
            verify=str(basic.certificate),
            timeout=10,
        )
        assert answer.json()["uploaded"] == before + 71000


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

    def test_a_killed_worker_is_replaced(self, basic: Running) -> None:
        # All whose parent is not the init: the workers, not what started them.
        workers = "grep -l '^PPid:.*[^1]$' /proc/[0-9]*/status | xargs grep -l '^Name:.lighttpd'"
        assert basic.inside(f"kill -9 $({workers} | cut -d/ -f3)") == 0
        await_healthy(basic)
        assert basic.get().status_code == 200
        condition = basic.engine.condition(basic.containers[0])
        assert condition is not None
        assert condition.restarts == 0

    def test_an_app_that_comes_back_is_found_within_two_seconds(self, basic: Running) -> None:
        app = basic.containers[1]
        basic.engine.stop(app, grace=0)
        # Often enough for each worker to have noticed.
        assert {basic.get().status_code for _ in range(20)} == {503}
        assert run_inside(basic.containers[0], healthcheck_command(APP_PORT)) != 0
        basic.engine.start(app)
        await_healthy(basic)
        deadline = time.monotonic() + 2
        while (status := basic.get().status_code) != 200:
            assert time.monotonic() < deadline, f"still {status}"
            time.sleep(0.02)


def lenient() -> ssl.SSLContext:
    """Return a client that would accept any certificate: the test is about something else."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    return tls


def read_until(connection: ssl.SSLSocket, end: bytes) -> bytes:
    data = b""
    while end not in data:
        more = connection.recv(4096)
        assert more, f"closed after {data!r}"
        data += more
    return data


def read_to_end(connection: ssl.SSLSocket) -> bytes:
    data = b""
    while more := connection.recv(4096):
        data += more
    return data
