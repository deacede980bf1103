"""A gateway with an app behind it on the real engine, and clients that tidy nothing up."""

from __future__ import annotations

import base64
import http.client
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

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
from jobctl.gateway import Auth, Gateway, healthcheck_command, own_port, render_config
from jobctl.images import ensure_image, known_sources
from tests.conftest import Traces, run_inside

IMAGES = Path(__file__).parents[1] / "images"
USER, PASSWORD, REALM = "ada", "correct horse", "notebook"
APP_PORT = 9000
MB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class App:
    """What runs behind a gateway, on ``APP_PORT`` of its loopback."""

    image: str
    command: Sequence[str]
    binds: Sequence[Bind] = field(default_factory=list)


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
        return self.request("GET", path, **options)

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        options.setdefault("auth", self.login())
        options.setdefault("verify", str(self.certificate))
        return requests.request(method, self.url + path, timeout=10, **options)

    def http(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("localhost", self.port, timeout=60, context=self.tls())

    def connect(self, tls: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        tls = tls or self.tls()
        plain = socket.create_connection(("localhost", self.port), timeout=10)
        return tls.wrap_socket(plain, server_hostname="localhost")

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))

    def authorization(self, method: str = "GET", path: str = "/") -> str:
        """Return the header that lets one request in."""
        if self.auth == "basic":
            return "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        login = HTTPDigestAuth(USER, PASSWORD)
        self.get(auth=login)
        request = requests.Request(method, self.url + path, auth=login).prepare()
        return request.headers["Authorization"]

    def head(self, line: str, *, headers: str = "") -> bytes:
        """Return a request, without a body, as it goes over the wire."""
        method, target, _ = line.split(" ")
        login = self.authorization(method, target)
        host = f"Host: localhost:{self.port}"
        return f"{line}\r\n{host}\r\nAuthorization: {login}\r\n{headers}\r\n".encode()

    def send(self, line: str, *, headers: str = "") -> ssl.SSLSocket:
        """Send a request as it is and return the open connection."""
        request = self.head(line, headers=headers)
        connection = self.connect()
        connection.sendall(request)
        return connection

    def log(self) -> str:
        return b"".join(self.engine.logs(self.containers[0])).decode()

    def inside(self, script: str) -> int:
        return run_inside(self.containers[0], ["/bin/busybox", "sh", "-c", script])

    def output(self, script: str) -> str:
        command = ["docker", "exec", self.containers[0], "/bin/busybox", "sh", "-c", script]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def await_healthy(self) -> None:
        deadline = time.monotonic() + 15
        while run_inside(self.containers[0], healthcheck_command(APP_PORT)) != 0:
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)


@contextmanager
def launched(
    engine: DockerEngine, traces: Traces, directory: Path, *, auth: Auth, app: App, more: str = ""
) -> Iterator[Running]:
    """Start a gateway as jobs do, ``more`` in its configuration, and an app that joins it."""
    sources = known_sources([IMAGES])
    for tag in ("jobctl/base", "jobctl/gateway", app.image):
        ensure_image(engine, tag, sources, print)
    uid = os.getuid() or 65532
    certificate = _certificate(directory / "job.crt")
    passwords = _password_file(auth, directory / "htpasswd")
    config = directory / "gateway.conf"
    settings = Gateway(
        certificate=str(certificate),
        private_key=str(certificate.with_suffix(".key")),
        password_file=str(passwords),
        auth=auth,
        realm=REALM,
        app_port=APP_PORT,
    )
    config.write_text(render_config(settings) + more)
    files = [certificate, certificate.with_suffix(".key"), config, passwords]
    for path in files:
        path.chmod(0o600)
        os.chown(path, uid, -1)
    port = _free_port()
    # Half of the memory that a job's gateway has, and of its /tmp next to nothing.
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
        publish=Publish(address="127.0.0.1", host_port=port, container_port=own_port(APP_PORT)),
    )
    with ExitStack() as stack:
        created = [engine.create(first)]
        stack.callback(engine.remove, created[0])
        engine.start(created[0])
        second = ContainerSpec(
            name=traces.new_name(),
            image=app.image,
            command=app.command,
            user=f"{uid}:{uid}",
            labels={},
            memory=128 * MB,
            cpus=2,
            pids=32,
            binds=app.binds,
            tmpfs={"/tmp": "size=16m,mode=1777"},  # noqa: S108, inside the container
            joins=created[0],
        )
        created.append(engine.create(second))
        stack.callback(engine.remove, created[1])
        engine.start(created[1])
        running = Running(
            engine=engine, containers=created, port=port, certificate=certificate, auth=auth
        )
        running.await_healthy()
        yield running


@contextmanager
def each_scheme(
    engine: DockerEngine, traces: Traces, directories: pytest.TempPathFactory, app: App
) -> Iterator[dict[str, Running]]:
    """Start one gateway for each way to ask for the password, and an app behind each."""
    schemes: tuple[Auth, ...] = ("digest", "basic")
    with ExitStack() as stack:
        yield {
            auth: stack.enter_context(
                launched(engine, traces, directories.mktemp(auth), auth=auth, app=app)
            )
            for auth in schemes
        }


def _certificate(path: Path) -> Path:
    """Write a certificate for localhost, with its key beside it as ``.key``."""
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
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    path.with_suffix(".key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


def _password_file(auth: Auth, path: Path) -> Path:
    if auth == "digest":
        digests = HtdigestFile(str(path), new=True)
        digests.set_password(USER, REALM, PASSWORD)
        digests.save()
    else:
        hashed = HtpasswdFile(str(path), new=True, default_scheme="bcrypt")
        hashed.set_password(USER, PASSWORD)
        hashed.save()
    return path


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def read_until(connection: ssl.SSLSocket, end: bytes) -> bytes:
    """Read up to ``end`` and what came with it."""
    data = b""
    while end not in data:
        more = connection.recv(4096)
        assert more, f"closed after {data!r}"
        data += more
    return data


def read_to_end(connection: ssl.SSLSocket) -> bytes:
    """Read until the other side closes."""
    data = bytearray()
    while more := connection.recv(1 << 16):
        data += more
    return bytes(data)
