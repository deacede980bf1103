"""A user's authority can speak for this host alone: what clients make of a leaf for another.

Who steals ``ca.key``, or is its owner, can sign whatever they like; the clients that trust the
authority must not take it. Certificates as such are in ``test_certs``.
"""

from __future__ import annotations

import http.server
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Error

from jobctl import certs
from tests.browser import browsing
from tests.site import Site

pytestmark = [pytest.mark.engine, pytest.mark.browser]

GREETING = b"let in"


@dataclass(frozen=True)
class Place:
    """A server that shows a leaf of the user's authority, and for whom the leaf is."""

    name: str
    address: str
    port: int
    authority: str

    @property
    def url(self) -> str:
        return f"https://{self.name}:{self.port}/"


class _Greeter(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(GREETING)))
        self.end_headers()
        self.wfile.write(GREETING)

    def log_message(self, *_: object) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing: clients that hang up are what is wanted."""


@contextmanager
def served(site: Site, subjects: certs.Subjects, address: str) -> Iterator[Place]:
    """Serve a leaf for one name or address, which the site's authority signs."""
    ca = Path(site.authority())
    authority = certs.Pair(ca.read_bytes(), ca.with_suffix(".key").read_bytes())
    (name,) = map(str, [*subjects.names, *subjects.addresses])
    leaf = certs.issue_leaf(authority, subjects, common_name=name)
    pem = site.root / f"{name}.pem"
    pem.write_bytes(leaf.certificate + leaf.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with _Server((address, 0), _Greeter) as server:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Place(name, address, server.server_port, str(ca))
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def places(shared_site: Site) -> Iterator[dict[str, Place]]:
    """Serve on loopback what the authority may sign, a foreign name, a foreign address."""
    with ExitStack() as stack:
        yield {
            place.name: place
            for place in (
                stack.enter_context(served(shared_site, subjects, address))
                for subjects, address in (
                    (certs.Subjects.of(["localhost"], []), "127.0.0.1"),
                    (certs.Subjects.of(["example.org"], []), "127.0.0.1"),
                    (certs.Subjects.of([], ["127.0.0.2"]), "127.0.0.2"),
                )
            )
        }


def openssl(place: Place) -> str:
    """Return what ``openssl s_client`` says of the certificate."""
    kind = "-verify_ip" if place.name == place.address else "-verify_hostname"
    command = [
        *("openssl", "s_client", "-connect", f"{place.address}:{place.port}"),
        *("-CAfile", place.authority, "-verify_return_error", kind, place.name),
    ]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stderr


def curl(place: Place) -> str:
    """Return what curl does not like."""
    there = f"{place.name}:{place.port}:{place.address}:{place.port}"
    command = ["curl", "-sS", "--cacert", place.authority, "--connect-to", there, place.url]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.stdout == GREETING) == (done.returncode == 0)
    return done.stderr.decode()


def python(place: Place) -> str:
    """Return what Python's ssl does not like."""
    script = (
        "import socket, ssl, sys; address, port, name, ca = sys.argv[1:]\n"
        "context = ssl.create_default_context(cafile=ca)\n"
        "plain = socket.create_connection((address, int(port)), timeout=5)\n"
        "context.wrap_socket(plain, server_hostname=name)\n"
    )
    command = ["python3", "-c", script, place.address, str(place.port), place.name, place.authority]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


Client = Callable[[Place], str]


@pytest.fixture(params=[openssl, curl, python])
def client(request: pytest.FixtureRequest) -> Client:
    given: Client = request.param
    return given


def test_a_leaf_for_this_host_is_taken(places: dict[str, Place], client: Client) -> None:
    assert client(places["localhost"]) == ""


@pytest.mark.parametrize("name", ["example.org", "127.0.0.2"])
def test_a_leaf_for_another_is_refused(places: dict[str, Place], client: Client, name: str) -> None:
    assert "permitted subtree violation" in client(places[name])


def test_chromium_takes_the_one_and_refuses_the_others(
    shared_site: Site, places: dict[str, Place]
) -> None:
    # The browser alone is told where that name leads to.
    with browsing(shared_site, "--host-resolver-rules=MAP example.org 127.0.0.1") as browse:
        page = browse()
        page.goto(places["localhost"].url)
        assert page.locator("body").inner_text() == GREETING.decode()
        for name in ("example.org", "127.0.0.2"):
            with pytest.raises(Error, match="ERR_CERT_INVALID"):
                page.goto(places[name].url)
