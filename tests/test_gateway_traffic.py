"""What real clients and apps say to each other, through a real gateway."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import requests
from requests.auth import HTTPBasicAuth, HTTPDigestAuth

from jobctl.engines.base import Bind
from jobctl.engines.docker import DockerEngine
from tests import traffic_app
from tests.conftest import Traces
from tests.gateway_site import (
    APP_PORT,
    MB,
    App,
    Running,
    each_scheme,
    launched,
    read_to_end,
    read_until,
)
from tests.profile import NIGHTLY
from tests.site import Site
from tests.traffic_app import block
from tests.waiting import eventually

pytestmark = pytest.mark.engine

GB = 1024
MUCH = 2 * GB if NIGHTLY else GB // 2
"""In megabytes, which is what one block holds."""
# An interpreter with aiohttp, in an image that there is anyway.
AIOHTTP = App(
    image="jobctl/conduit",
    command=["/opt/conduit/venv/bin/python", "/traffic_app.py", str(APP_PORT)],
    binds=[Bind(source=traffic_app.__file__, target="/traffic_app.py")],
)
Session = aiohttp.ClientSession
Socket = aiohttp.ClientWebSocketResponse


@pytest.fixture(scope="module")
def gateways(
    engine: DockerEngine, traces: Traces, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Running]]:
    """One gateway for each way to ask for the password, and an app behind each."""
    with each_scheme(engine, traces, tmp_path_factory, AIOHTTP) as running:
        yield running


@pytest.fixture(scope="module")
def hurried(
    engine: DockerEngine, traces: Traces, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A gateway that waits a second for clients, where others wait a minute."""
    directory = tmp_path_factory.mktemp("hurried")
    more = "server.max-read-idle = 1\n"
    with launched(engine, traces, directory, auth="basic", app=AIOHTTP, more=more) as running:
        yield running


def talk(running: Running, conversation: Callable[[Session], Awaitable[None]]) -> None:
    """Hold a conversation over connections that are not limited in number."""

    async def run() -> None:
        connector = aiohttp.TCPConnector(ssl=running.tls(), limit=0)
        async with Session(running.url, connector=connector) as session:
            await conversation(session)
        await asyncio.sleep(0.25)  # TLS connections take that to close, says aiohttp's manual

    asyncio.run(run())


def on_socket(
    running: Running, conversation: Callable[[Socket], Awaitable[None]], **options: Any
) -> None:
    """Hold a conversation on a WebSocket."""
    headers = {"Authorization": running.authorization("GET", "/socket")}

    async def run(session: Session) -> None:
        async with session.ws_connect(
            "/socket", headers=headers, max_msg_size=0, **options
        ) as socket:
            await conversation(socket)

    talk(running, run)


def answer_with(text: str) -> str:
    """Return the path at which the app answers with this, line ends added."""
    return "/verbatim?" + quote(text.replace("\n", "\r\n"), safe="")


def redirected(running: Running, location: str, host: str = "") -> str:
    """Return where a client ends up that the app sends to a location."""
    path = answer_with(f"HTTP/1.1 302 Found\nLocation: {location}\nContent-Length: 0\n\n")
    headers = {"Authorization": running.authorization("GET", path)}
    connection = running.http()
    connection.request("GET", path, headers=headers | ({"Host": host} if host else {}))
    answer = connection.getresponse()
    connection.close()
    assert answer.status == 302
    return answer.headers["Location"]


def leavers(running: Running) -> list[str]:
    """Return the names of the clients of which the app knows that they went."""
    left: list[str] = running.get("/seen").json()["left"]
    return left


class TestBigBodies:
    """More than the gateway could hold: its memory and its /tmp are an eighth of it, or less."""

    @pytest.mark.parametrize(("scheme", "chunked"), [("digest", False), ("basic", True)])
    def test_a_lot_goes_up(self, gateways: dict[str, Running], scheme: str, chunked: bool) -> None:
        running, sent = gateways[scheme], hashlib.sha256()

        def blocks() -> Iterator[bytes]:
            for number in range(MUCH):
                data = block(number)
                sent.update(data)
                yield data

        headers = {"Authorization": running.authorization("POST", "/upload")}
        if not chunked:
            headers["Content-Length"] = str(MUCH * MB)
        connection = running.http()
        connection.request("POST", "/upload", blocks(), headers, encode_chunked=chunked)
        answer = connection.getresponse().read().decode()
        connection.close()
        assert f'"size": {MUCH * MB}' in answer
        assert sent.hexdigest() in answer
        assert_small(running)

    @pytest.mark.parametrize(("scheme", "length"), [("digest", "&length"), ("basic", "")])
    def test_a_lot_comes_down(self, gateways: dict[str, Running], scheme: str, length: str) -> None:
        running, path = gateways[scheme], f"/download?blocks={MUCH}{length}"
        connection = running.http()
        headers = {"Authorization": running.authorization("GET", path)}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        assert (answer.getheader("Transfer-Encoding") == "chunked") == (not length)
        for number in range(MUCH):
            assert answer.read(MB) == block(number)
        assert answer.read() == b""
        connection.close()
        assert_small(running)

    @pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
    def test_an_app_may_begin_to_read_late(self, basic: Running, chunked: bool) -> None:
        headers = {"Authorization": basic.authorization("POST", "/upload?pause=1")}
        if not chunked:
            headers["Content-Length"] = str(200 * MB)
        connection = basic.http()
        blocks = (block(number) for number in range(200))
        connection.request("POST", "/upload?pause=1", blocks, headers, encode_chunked=chunked)
        assert f'"size": {200 * MB}' in connection.getresponse().read().decode()
        connection.close()
        assert_small(basic)

    def test_slow_clients_get_all_that_the_app_left_behind(self, basic: Running) -> None:
        close = "Connection: close\r\n"
        with ExitStack() as stack:
            clients = [
                stack.enter_context(basic.send("GET /download?blocks=12 HTTP/1.1", headers=close))
                for _ in range(12)
            ]
            time.sleep(1)
            for client in clients:
                answer = read_to_end(client)
                assert len(answer) > 12 * MB
                assert answer.endswith(b"\r\n0\r\n\r\n")
        assert_small(basic)

    def test_the_password_is_asked_for_before_a_body_is_sent(self, protected: Running) -> None:
        with protected.connect() as connection:
            connection.sendall(
                b"POST /upload HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
                b"Content-Length: %d\r\n\r\n" % (2 * GB * MB)
            )
            assert read_until(connection, b"\r\n").startswith(b"HTTP/1.1 401 ")

    def test_a_client_that_waits_for_a_go_ahead_gets_it(self, protected: Running) -> None:
        headers = "Expect: 100-continue\r\nContent-Length: 5\r\n"
        with protected.send("POST /upload HTTP/1.1", headers=headers) as connection:
            assert read_until(connection, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(b"hello")
            assert b'"size": 5' in read_until(connection, b"}")

    def test_who_does_not_wait_is_answered_meanwhile(self, protected: Running) -> None:
        with protected.connect() as connection:
            connection.sendall(
                b"POST /upload HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Length: %d\r\n\r\n" % (2 * GB * MB)
            )
            with suppress(OSError):  # to hang up on who goes on is allowed, once all is said
                connection.sendall(bytes(MB))
            answer = read_until(connection, b"</html>")
            assert answer.startswith(b"HTTP/1.1 401 ")
            assert b"\r\nConnection: close\r\n" in answer

    def test_uploads_are_passed_on_while_they_last(self, basic: Running) -> None:
        before = basic.get("/seen").json()["uploaded"]
        size = 30 * MB  # eight at once are more than the memory of the gateway
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
                assert b'"size": %d' % size in read_until(upload, b"}")


class TestAnswers:
    def test_part_of_a_file(self, protected: Running) -> None:
        whole = protected.get("/file")
        part = protected.get("/file", headers={"Range": "bytes=1000-1999"})
        assert part.status_code == 206
        assert part.headers["Content-Range"] == f"bytes 1000-1999/{MB}"
        assert part.content == whole.content[1000:2000]

    def test_a_download_can_be_resumed(self, basic: Running) -> None:
        whole = basic.get("/file")
        for validator, status, length in (
            (whole.headers["Last-Modified"], 206, MB // 2),
            ("Wed, 01 Jan 2020 00:00:00 GMT", 200, MB),
        ):
            rest = basic.get("/file", headers={"Range": f"bytes={MB // 2}-", "If-Range": validator})
            assert rest.status_code == status
            assert rest.content == whole.content[-length:]

    def test_an_app_without_ranges_sends_the_whole(self, basic: Running) -> None:
        answer = basic.get(
            answer_with("HTTP/1.1 200 OK\nContent-Length: 10\n\n0123456789"),
            headers={"Range": "bytes=2-4"},
        )
        assert (answer.status_code, answer.content) == (200, b"0123456789")
        assert "Accept-Ranges" not in answer.headers

    def test_the_head_alone(self, protected: Running) -> None:
        answer = protected.request("HEAD", "/file")
        assert answer.headers["Content-Length"] == str(MB)
        assert answer.headers["ETag"]
        assert answer.content == b""

    def test_what_has_not_changed(self, basic: Running) -> None:
        etag = basic.get("/file").headers["ETag"]
        answer = basic.get("/file", headers={"If-None-Match": etag})
        assert (answer.status_code, answer.headers["ETag"]) == (304, etag)
        assert answer.content == b""

    def test_no_content(self, basic: Running) -> None:
        answer = basic.get(answer_with("HTTP/1.1 204 No Content\nX-Kept: kept\n\n"))
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["X-Kept"] == "kept"

    def test_a_body_that_ends_with_the_connection(self, basic: Running) -> None:
        assert basic.get(answer_with("HTTP/1.1 200 OK\n\nto the end")).text == "to the end"
        assert basic.get(answer_with("HTTP/1.0 200 OK\n\nof old")).text == "of old"

    def test_a_body_that_breaks_off_does_not_look_whole(self, basic: Running) -> None:
        # Once its beginning has left: to one that ends before, lighttpd may give a wrong length.
        for _ in range(10):
            with pytest.raises(requests.RequestException, match=r"(?i)prematurely"):
                basic.get("/broken")

    def test_trailers(self, basic: Running) -> None:
        answer = "HTTP/1.1 200 OK\nTrailer: X-Sum\nTransfer-Encoding: chunked\n\n"
        answer += "4\nbody\n0\nX-Sum: 4711\n\n"
        with basic.send(
            f"GET {answer_with(answer)} HTTP/1.1", headers="TE: trailers\r\n"
        ) as client:
            assert b"4711" in read_until(client, b"4711")

    def test_a_hint_before_the_answer_is_not_passed_on(self, basic: Running) -> None:
        answer = "HTTP/1.1 103 Early Hints\nLink: </style.css>; rel=preload\n\n"
        answer += "HTTP/1.1 200 OK\nContent-Length: 4\n\ndone"
        with basic.send(f"GET {answer_with(answer)} HTTP/1.1") as client:
            seen = read_until(client, b"done")
        assert seen.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"103" not in seen

    def test_compressed_once_and_only_if_asked(self, protected: Running) -> None:
        for accepted, encoding in (("gzip", "gzip"), ("identity", None)):
            answer = protected.get(
                "/compressed", headers={"Accept-Encoding": accepted}, stream=True
            )
            body = answer.raw.read(decode_content=False)
            assert answer.headers.get("Content-Encoding") == encoding
            text = gzip.decompress(body) if encoding else body
            assert text == b"squeeze " * 1000

    @pytest.mark.parametrize(
        "pin",
        [
            "Strict-Transport-Security: max-age=9",
            "strict-transport-security: max-age=9; includeSubDomains",
            "Strict-Transport-Security: max-age=9\nStrict-Transport-Security: max-age=8",
            "Strict-Transport-Security:\tmax-age=9\n ; preload",
        ],
        ids=["one", "in lower case", "two", "folded"],
    )
    @pytest.mark.parametrize(
        "answer",
        [
            "HTTP/1.1 200 OK\nPIN\nContent-Length: 3\n\nend",
            "HTTP/1.0 200 OK\nPIN\n\nend",
            "HTTP/1.1 302 Found\nLocation: /x\nPIN\nContent-Length: 3\n\nend",
            "HTTP/1.1 404 Not Found\nPIN\nContent-Length: 3\n\nend",
            "HTTP/1.1 500 Oh\nPIN\nContent-Length: 3\n\nend",
            "HTTP/1.1 401 Unauthorized\nPIN\nContent-Length: 3\n\nend",
            "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: upgrade\nPIN\n\nend",
            "HTTP/1.1 103 Early Hints\nPIN\n\nHTTP/1.1 200 OK\nContent-Length: 3\n\nend",
            "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n3\nend\n0\nPIN\n\n",
        ],
        ids=lambda text: "with trailers" if "chunked" in text else text.split()[1],
    )
    def test_an_app_can_not_pin_the_host_to_https(
        self, basic: Running, answer: str, pin: str
    ) -> None:
        """All jobs of a host, and others, share its name; some may speak plain HTTP."""
        path = answer_with(answer.replace("PIN", pin))
        upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        headers = upgrade if " 101 " in answer else "Connection: close\r\nTE: trailers\r\n"
        with basic.send(f"GET {path} HTTP/1.1", headers=headers) as client:
            said = read_until(client, b"end")
            client.settimeout(0.2)
            with suppress(OSError):
                said += read_to_end(client)
        status = answer.split()[1].replace("103", "200")
        assert said.startswith(f"HTTP/1.1 {status} ".encode()), said
        assert b"strict-transport" not in said.lower()

    def test_cookies_are_kept_apart(self, basic: Running) -> None:
        wanted = [
            f"c{n}={n:01000d}; Path=/; Expires=Wed, 01 Jan 2031 00:00:00 GMT" for n in range(20)
        ]
        lines = "\n".join(f"Set-Cookie: {cookie}" for cookie in wanted)
        answer = basic.get(answer_with(f"HTTP/1.1 200 OK\n{lines}\nContent-Length: 0\n\n"))
        assert answer.raw.headers.getlist("Set-Cookie") == wanted


class TestRedirects:
    @pytest.mark.parametrize(
        "location", ["/x", "x/y?z", "?next=http://elsewhere/", "//elsewhere/x", "#x"]
    )
    def test_a_relative_one_stays(self, basic: Running, location: str) -> None:
        assert redirected(basic, location) == location

    @pytest.mark.parametrize("path", ["", "/", "/x?y=http%3A//z#f", "?x", "#x"])
    def test_one_to_plain_http_at_our_port_leads_to_us(self, protected: Running, path: str) -> None:
        host = f"localhost:{protected.port}"
        assert redirected(protected, f"http://{host}{path}") == f"https://{host}{path}"
        assert redirected(protected, f"HTTP://LOCALHOST:{protected.port}{path}").startswith(
            "https://"
        )

    def test_whatever_name_the_client_knows_us_by(self, basic: Running) -> None:
        for host in ("tunnel.example:8443", "[::1]:9", "10.0.0.1"):
            assert redirected(basic, f"http://{host}/x", host) == f"https://{host}/x"

    @pytest.mark.parametrize(
        "location",
        [
            "http://localhost:1/x",
            "http://localhost/x",
            "http://localhost:{port}0/x",
            "http://localhost:{port}@elsewhere/x",
            "http://localhost:{port}.elsewhere/x",
            "http://elsewhere/?http://localhost:{port}/",
            "https://localhost:{port}/x",
            "ftp://localhost:{port}/x",
        ],
    )
    def test_one_to_elsewhere_stays(self, basic: Running, location: str) -> None:
        location = location.format(port=basic.port)
        assert redirected(basic, location) == location

    def test_clients_end_on_https(self, protected: Running) -> None:
        answer = protected.get(
            answer_with(
                f"HTTP/1.1 302 Found\nLocation: http://localhost:{protected.port}/landed\n"
                "Content-Length: 0\n\n"
            )
        )
        assert answer.url == f"{protected.url}/landed"
        assert answer.json()["target"] == "/landed"

    @pytest.mark.parametrize("algorithm", ["apache_md5_digest", "bcrypt"])
    def test_an_app_finds_its_address_in_its_environment(self, site: Site, algorithm: str) -> None:
        (bind,) = AIOHTTP.binds
        site.configure(
            "traffic",
            image=AIOHTTP.image,
            command=[*AIOHTTP.command[:2], "{port}"],
            mounts=[f"{bind.source}:{bind.target}"],
            hash_algorithm=algorithm,
        )
        job = site.run_json("run", "traffic", "--generate-password", "--json")
        scheme = HTTPBasicAuth if algorithm == "bcrypt" else HTTPDigestAuth
        with requests.Session() as session:
            session.trust_env = False  # else the host's own certificates go before these
            session.auth = scheme(job["owner"], job["password"])
            session.verify = site.authority()
            answer = session.get(job["url"] + "home", timeout=10)
        assert answer.url == job["url"] + "landed"
        assert answer.json()["target"] == "/landed"


class TestRequests:
    def test_what_guards_against_forgery_arrives_as_it_was(self, protected: Running) -> None:
        sent = {
            "Origin": protected.url,
            "Referer": f"{protected.url}/page?q",
            "Sec-Fetch-Site": "same-origin",
        }
        headers = dict(protected.get(headers=sent).json()["headers"])
        assert sent.items() <= headers.items()
        assert headers["Host"] == f"localhost:{protected.port}"

    def test_a_strange_host_arrives_as_it_was(self, basic: Running) -> None:
        for host in ("tunnel.example:8443", "[::1]:9", "10.0.0.1"):
            headers = dict(basic.get(headers={"Host": host}).json()["headers"])
            assert headers["Host"] == headers["X-Forwarded-Host"] == host

    def test_thirty_kilobytes_of_cookies(self, protected: Running) -> None:
        cookies = "; ".join(f"cookie{n}={'v' * 285}" for n in range(103))
        assert len(cookies) > 30_000
        headers = dict(protected.get(headers={"Cookie": cookies}).json()["headers"])
        assert headers["Cookie"] == cookies

    def test_a_long_url(self, protected: Running) -> None:
        target = "/" + "long/" * 1600 + "?q=" + "x" * 200
        assert protected.get(target).json()["target"] == target

    @pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "REPORT"])
    def test_every_method(self, protected: Running, method: str) -> None:
        assert protected.request(method, "/x").json()["method"] == method


class TestEvents:
    def test_they_arrive_as_they_are_sent(self, protected: Running) -> None:
        began = time.monotonic()
        with protected.send("GET /events?silence=1&name=x HTTP/1.1") as connection:
            assert b"data: two" not in read_until(connection, b"data: one\n\n")
            assert time.monotonic() - began < 1
            read_until(connection, b"data: two\n\n")

    def test_the_app_learns_that_a_client_left(self, protected: Running) -> None:
        path = "/events?silence=3600&name=events"
        for _ in range(3):
            with protected.send(f"GET {path} HTTP/1.1") as connection:
                read_until(connection, b"data: one\n\n")
        assert eventually(lambda: leavers(protected).count("events") == 3, timeout=5)


class TestWebSockets:
    def test_subprotocol_and_compression_are_agreed_with_the_app(self, protected: Running) -> None:
        async def agree(socket: Socket) -> None:
            assert socket.protocol == "chat.v2"
            assert socket.compress == 15
            await socket.send_str("compress me " * 1000)
            assert await socket.receive_str() == "compress me " * 1000

        on_socket(protected, agree, protocols=("chat.v3", "chat.v2"), compress=15)

    def test_large_messages(self, protected: Running) -> None:
        message = b"".join(block(number) for number in range(16))

        async def send(socket: Socket) -> None:
            await socket.send_bytes(message)
            assert await socket.receive_bytes(timeout=20) == message

        on_socket(protected, send)
        assert_small(protected)

    def test_ping(self, basic: Running) -> None:
        async def ping(socket: Socket) -> None:
            await socket.ping(b"anyone?")
            answer = await socket.receive(timeout=5)
            assert (answer.type, answer.data) == (aiohttp.WSMsgType.PONG, b"anyone?")

        on_socket(basic, ping, autoping=False)

    def test_a_reason_to_close(self, basic: Running) -> None:
        async def close(socket: Socket) -> None:
            await socket.send_str("close 4321 enough said")
            farewell = await socket.receive(timeout=5)
            assert (farewell.type, farewell.data) == (aiohttp.WSMsgType.CLOSE, 4321)
            assert farewell.extra == "enough said"

        on_socket(basic, close)

    def test_the_app_learns_that_a_client_left(self, protected: Running) -> None:
        headers = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        headers += "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
        for _ in range(3):
            with protected.send("GET /socket?name=socket HTTP/1.1", headers=headers) as connection:
                assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        assert eventually(lambda: leavers(protected).count("socket") == 3, timeout=5)

    def test_without_the_password_there_is_none(self, protected: Running) -> None:
        async def knock(session: Session) -> None:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                await session.ws_connect("/socket")
            assert refusal.value.status == 401

        talk(protected, knock)


class TestPatience:
    """What may take longer than lighttpd waits for a client: here a second, else a minute."""

    def test_a_client_that_does_not_finish_its_request_is_cut(self, hurried: Running) -> None:
        with hurried.connect() as slow:
            slow.sendall(b"GET / HT")
            assert slow.recv(1) == b"", "lighttpd did not mind the time at all"

    def test_a_silent_websocket(self, hurried: Running) -> None:
        async def wait(socket: Socket) -> None:
            await asyncio.sleep(3)
            await socket.send_str("still there")
            assert await socket.receive_str(timeout=5) == "still there"

        on_socket(hurried, wait)

    @pytest.mark.parametrize("body", [b"", b"x" * MB], ids=["no body", "a body"])
    def test_an_app_that_thinks(self, hurried: Running, body: bytes) -> None:
        method = "POST" if body else "GET"
        answer = hurried.request(method, "/slow?seconds=3", data=body)
        assert answer.text == f"after {len(body)} bytes"

    def test_silent_events(self, hurried: Running) -> None:
        with hurried.send("GET /events?silence=3&name=x HTTP/1.1") as connection:
            read_until(connection, b"data: two\n\n")


class TestConnections:
    def test_a_client_of_old(self, protected: Running) -> None:
        with protected.send("GET /download?blocks=1 HTTP/1.0") as connection:
            head, _, body = read_to_end(connection).partition(b"\r\n\r\n")
        assert b"chunked" not in head
        assert body == block(0)

    def test_one_serves_many_requests(self, protected: Running) -> None:
        request = protected.head("GET /x HTTP/1.1")
        with protected.connect() as connection:
            for _ in range(20):
                connection.sendall(request)
                assert read_until(connection, b"}").startswith(b"HTTP/1.1 200 ")

    def test_requests_may_be_sent_ahead(self, basic: Running) -> None:
        paths = [f"/ahead{n}" for n in range(5)]
        with basic.connect() as connection:
            connection.sendall(b"".join(basic.head(f"GET {path} HTTP/1.1") for path in paths))
            answers = read_until(connection, b"/ahead4")
        assert re.findall(rb'"target": "([^"]*)"', answers + b'"') == [p.encode() for p in paths]

    def test_a_hundred_at_once(self, basic: Running) -> None:
        headers = {"Authorization": basic.authorization()}

        async def ask(session: Session) -> str:
            async with session.get("/slow?seconds=1", headers=headers) as answer:
                return await answer.text()

        async def ask_all(session: Session) -> None:
            began = time.monotonic()
            answers = await asyncio.gather(*(ask(session) for _ in range(100)))
            assert answers == ["after 0 bytes"] * 100
            assert time.monotonic() - began < 5

        talk(basic, ask_all)
        assert_small(basic)


def assert_small(running: Running) -> None:
    """Make sure that no process of the gateway ever was big, and that it left no file behind."""
    peaks = running.output("grep -h VmHWM $(grep -l ^Name:.lighttpd /proc/[0-9]*/status)")
    sizes = [int(line.split()[1]) // 1024 for line in peaks.splitlines()]
    assert len(sizes) == 3, peaks
    assert max(sizes) < 24
    assert running.output("find /tmp /var/spool -name 'lighttpd-*'") == ""
