"""The Conduit relay server of `images/conduit`: the real program, over real HTTP and WebSockets."""

from __future__ import annotations

import asyncio
import base64
import gzip
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import numpy as np
import pytest

IMAGE = Path(__file__).parents[1] / "images" / "conduit"
WEB_CLIENT = IMAGE / "web_clients" / "node_viewer"
SAMPLE = IMAGE / "sample" / "mesh.json"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(IMAGE), "PYTHONDONTWRITEBYTECODE": "1"}
PATIENCE = 10.0


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is not JSON: no browser would parse it")

        return json.loads(self.body, parse_constant=refuse)

    def floats(self, dtype: str = "<f8") -> np.ndarray[Any, Any]:
        return np.frombuffer(self.body, dtype)


@dataclass
class Server:
    process: subprocess.Popen[str]
    port: int

    def get(self, path: str, headers: dict[str, str] | None = None, /, **query: object) -> Answer:
        return self.request("GET", f"{path}?{urlencode(query)}" if query else path, headers)

    def request(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: str | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def talk(self, conversation: Callable[[Socket], Awaitable[None]], **headers: str) -> None:
        """Open a WebSocket and hold a conversation on it."""

        async def run() -> None:
            url = f"ws://127.0.0.1:{self.port}/websocket"
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(url, headers=headers) as websocket,
            ):
                await conversation(websocket)

        asyncio.run(run())


Socket = aiohttp.ClientWebSocketResponse


async def told(websocket: Socket) -> Any:
    return await websocket.receive_json(timeout=PATIENCE)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(data: Path | str, *options: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "conduit_relay",
        "--doc-root",
        str(WEB_CLIENT),
        *options,
        str(data),
    ]


def refused(data: Path | str, *options: str) -> tuple[int, str]:
    """Run a server that is expected not to start; return its exit code and what it said."""
    done = subprocess.run(
        command(data, *options), env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@contextmanager
def serving(data: Path, *options: str) -> Iterator[Server]:
    port = free_port()
    process = subprocess.Popen(
        command(data, "--port", str(port), *options),
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stderr is not None
            first = process.stderr.readline()
            assert "serving" in first, first + process.stderr.read()
            yield Server(process, port)
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def sample() -> Iterator[Server]:
    with serving(SAMPLE) as server:
        yield server


def serve_json(directory: Path, document: object, name: str = "data.json") -> Path:
    path = directory / name
    path.write_text(json.dumps(document))
    return path


class TestCommandLine:
    def test_port_and_doc_root_can_be_given(self, tmp_path: Path) -> None:
        (tmp_path / "index.html").write_text("my own page")
        with serving(SAMPLE, "--address", "127.0.0.1", "--doc-root", str(tmp_path)) as server:
            assert server.get("/").body == b"my own page"

    @pytest.mark.parametrize("option", ["--htpasswd", "--cert"])
    def test_tls_and_passwords_are_left_to_the_gateway(self, option: str) -> None:
        code, said = refused(SAMPLE, option, "file")
        assert code == 2
        assert f"{option} is not supported: the gateway" in said

    @pytest.mark.parametrize("port", ["0", "65536", "ninety"])
    def test_a_port_that_is_none_is_wrong_usage(self, port: str) -> None:
        code, said = refused(SAMPLE, "--port", port)
        assert code == 2
        assert f'got "{port}"' in said

    def test_a_port_in_use_is_named(self, sample: Server) -> None:
        code, said = refused(SAMPLE, "--port", str(sample.port))
        assert code == 1
        assert f"cannot listen on 127.0.0.1 port {sample.port}" in said

    def test_a_doc_root_without_a_page_is_refused(self, tmp_path: Path) -> None:
        code, said = refused(SAMPLE, "--doc-root", str(tmp_path))
        assert code == 1
        assert f"no index.html in the document root {tmp_path}" in said

    def test_a_missing_file_points_at_mounts(self, tmp_path: Path) -> None:
        code, said = refused(tmp_path / "gone.json")
        assert code == 1
        assert f"cannot read {tmp_path}/gone.json: no such file" in said
        assert "--mount" in said
        assert len(said.splitlines()) == 1

    def test_a_directory_is_refused(self, tmp_path: Path) -> None:
        code, said = refused(tmp_path)
        assert code == 1
        assert "it is a directory" in said

    def test_an_unknown_protocol_is_refused_with_the_known_ones(self) -> None:
        code, said = refused(SAMPLE, "--protocol", "sidre_hdf5")
        assert code == 1
        assert 'protocol "sidre_hdf5" is not supported' in said
        assert "conduit_base64_json" in said

    @pytest.mark.parametrize(
        ("name", "content", "reason"),
        [
            ("cut.json", b'{"a": [1, 2', "is not valid JSON"),
            ("data.yaml", b"a: 1\n", 'protocol "yaml" is not supported'),
            ("data.bin", b"plain text", "cannot tell the protocol"),
            ("latin.json", b'{"a": "\xe9"}', "it is not UTF-8 text"),
            ("deep.json", b"[" * 500 + b"]" * 500, "nested deeper than 200 levels"),
            ("deeper.json", b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
            ("big.json", b'{"a": 1' + b"0" * 400 + b"}", "too large for float64"),
            ("bad.conduit_json", b'{"a": {"dtype": "int99", "value": 1}}', 'unknown dtype "int99"'),
            ("schema.conduit_json", b'{"a": "float64"}', "a schema without its data"),
            ("range.conduit_json", b'{"a": {"dtype": "uint8", "value": 300}}', "not uint8"),
        ],
    )
    def test_a_file_that_cannot_be_shown_gives_one_line(
        self, tmp_path: Path, name: str, content: bytes, reason: str
    ) -> None:
        (tmp_path / name).write_bytes(content)
        code, said = refused(tmp_path / name)
        assert code == 1
        assert reason in said
        assert len(said.splitlines()) == 1


TYPED = {
    "ints": {"dtype": "int32", "number_of_elements": 3, "value": [1, 2, 3]},
    "odd": {"dtype": "float32", "number_of_elements": 3, "value": [0.5, "nan", "-inf"]},
    "name": {"dtype": "char8_str", "number_of_elements": 4, "value": "abc"},
    "list": [{"dtype": "uint8", "value": 7}, {"dtype": "empty"}],
}


class TestProtocols:
    def test_json_gets_the_types_conduit_gives_it(self, tmp_path: Path) -> None:
        tree = {
            "i": 1,
            "f": [1, 2.5],
            "b": True,
            "s": "x",
            "n": None,
            "mixed": [1, "a"],
            "u": 2**63,
        }
        with serving(serve_json(tmp_path, tree)) as server:
            schema = server.get("/api/get-schema").json
        assert {name: schema[name]["dtype"] for name in "ifbsnu"} == {
            "i": "int64",
            "f": "float64",
            "b": "uint8",
            "s": "char8_str",
            "n": "empty",
            "u": "uint64",
        }
        assert [leaf["dtype"] for leaf in schema["mixed"]] == ["int64", "char8_str"]

    @pytest.mark.parametrize("name", ["data.conduit_json", "data.json"])
    def test_conduit_json_is_known_by_name_or_content(self, tmp_path: Path, name: str) -> None:
        with serving(serve_json(tmp_path, TYPED, name)) as server:
            assert server.get("/api/state").json["protocol"] == "conduit_json"
            assert server.get("/api/get-schema").json["ints"] == {
                "dtype": "int32",
                "number_of_elements": 3,
            }
            assert server.get("/api/get-value", cpath="odd").json == {
                "datavalue": [0.5, "nan", "-inf"]
            }
            assert server.get("/api/get-value", cpath="list/[0]").json == {"datavalue": 7}

    def test_the_protocol_option_wins_over_the_content(self, tmp_path: Path) -> None:
        with serving(serve_json(tmp_path, TYPED), "--protocol", "json") as server:
            assert server.get("/api/get-value", cpath="ints/dtype").json == {"datavalue": "int32"}

    def test_conduit_base64_json_is_read_by_offset_stride_and_endianness(
        self, tmp_path: Path
    ) -> None:
        buffer = (
            np.array([1, 99, 2, 99], "<i4").tobytes() + np.array([2.5], ">f8").tobytes() + b"hi\0"
        )
        document = {
            "schema": {
                "ints": {"dtype": "int32", "number_of_elements": 2, "offset": 0, "stride": 8},
                "big": {"dtype": "float64", "offset": 16, "endianness": "big"},
                "text": {"dtype": "char8_str", "number_of_elements": 3, "offset": 24},
            },
            "data": {"base64": base64.b64encode(buffer).decode()},
        }
        with serving(serve_json(tmp_path, document)) as server:
            assert server.get("/api/get-value").json == {
                "datavalue": {"ints": [1, 2], "big": 2.5, "text": "hi"}
            }

    def test_a_leaf_outside_the_base64_buffer_is_refused(self, tmp_path: Path) -> None:
        leaf = {"dtype": "float64", "number_of_elements": 10**9, "offset": 0}
        document = {"schema": {"a": leaf}, "data": {"base64": "AAAA"}}
        code, said = refused(serve_json(tmp_path, document))
        assert code == 1
        assert "lie outside the 3 bytes" in said

    def test_nan_and_infinity_in_plain_json_are_tolerated(self, tmp_path: Path) -> None:
        (tmp_path / "nan.json").write_text('{"a": [1.0, NaN, Infinity, 3.0]}')
        with serving(tmp_path / "nan.json") as server:
            facts = server.get("/api/node", path="a").json["statistics"]
        assert facts == {"min": 1.0, "max": 3.0, "mean": 2.0, "not_finite": 2}


class TestReading:
    def test_conduits_own_client_posts_the_path(self, sample: Server) -> None:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = sample.request("POST", "/api/get-value", form, "cpath=state%2Fcycle")
        assert answer.json == {"datavalue": 1200}

    def test_children_are_described_a_level_at_a_time(self, sample: Server) -> None:
        answer = sample.get("/api/children", path="fields/pressure").json
        assert answer["total"] == 4
        assert answer["rows"][-1] | {"value": None} == {
            "name": "values",
            "path": "fields/pressure/values",
            "kind": "leaf",
            "dtype": "float64",
            "count": 65 * 49,
            "value": None,
        }

    def test_search_returns_matches_with_their_ancestors(self, sample: Server) -> None:
        rows = sample.get("/api/search", query="ENERGY").json["rows"]
        assert [(row["path"], row["level"], row["matches"]) for row in rows] == [
            ("history", 1, False),
            ("history/energy", 2, True),
        ]

    def test_names_with_slashes_and_markup_are_addressable(self, tmp_path: Path) -> None:
        names = ["<img src=x onerror=alert(1)//>", "a/b", "~", "~1", "", "[0]"]
        with serving(serve_json(tmp_path, {name: {"": name} for name in names})) as server:
            for row in server.get("/api/children").json["rows"]:
                inside = server.get("/api/children", path=row["path"]).json["rows"]
                assert [child["value"] for child in inside] == [row["name"]]

    def test_big_integers_keep_every_digit(self, tmp_path: Path) -> None:
        with serving(serve_json(tmp_path, {"ids": [2**53 + 1, 2**63 - 1]})) as server:
            values = server.get("/api/values", path="ids", offset=0, count=10).json["values"]
        assert values == [str(2**53 + 1), str(2**63 - 1)]

    def test_an_array_comes_as_it_is(self, sample: Server) -> None:
        answer = sample.get("/api/array", path="history/energy")
        assert answer.headers["X-Dtype"] == "float64"
        assert answer.headers["X-Shape"] == "121"
        assert answer.floats().tolist() == json.loads(SAMPLE.read_text())["history"]["energy"]

    def test_a_long_line_is_reduced_and_keeps_its_peaks(self, tmp_path: Path) -> None:
        values = [0.0] * 100_000
        values[54_321] = 9.0
        with serving(serve_json(tmp_path, {"a": values})) as server:
            answer = server.get("/api/array", path="a", points=400)
        index, reduced = answer.floats().reshape(2, -1)
        assert len(index) <= 400
        assert index[reduced.argmax()] == 54_321

    @pytest.mark.parametrize(
        ("path", "query", "status"),
        [
            ("/api/node", {"path": "no/such"}, 404),
            ("/api/get-value", {"cpath": "state/[0]"}, 404),
            ("/api/array", {"path": "state/title"}, 400),
            ("/api/field", {"path": "history/energy"}, 404),
            ("/api/values", {"path": "history/energy", "offset": "-1"}, 400),
            ("/api/array", {"path": "history/energy", "points": "²"}, 400),
        ],
    )
    def test_wrong_requests_are_answered_not_crashed_on(
        self, sample: Server, path: str, query: dict[str, object], status: int
    ) -> None:
        answer = sample.get(path, **query)
        assert answer.status == status
        assert any(str(value) in answer.body.decode() for value in query.values())


class TestMesh:
    def test_the_fields_of_a_blueprint_mesh_are_listed(self, sample: Server) -> None:
        mesh = sample.get("/api/mesh").json
        assert mesh["problems"] == []
        assert [(f["label"], f["association"], f["shape"]) for f in mesh["fields"]] == [
            ("vorticity", "element", [48, 64]),
            ("pressure", "vertex", [49, 65]),
        ]

    def test_an_element_field_comes_with_its_edges(self, sample: Server) -> None:
        answer = sample.get("/api/field", path="fields/vorticity/values")
        x = np.frombuffer(answer.body, "<f8", 65)
        y = np.frombuffer(answer.body, "<f8", 49, 65 * 8)
        grid = np.frombuffer(answer.body, "<f4", -1, (65 + 49) * 8)
        assert (x[0], x[-1], y[0], y[-1]) == (0.0, 4.0, -1.5, 1.5)
        expected = json.loads(SAMPLE.read_text())["fields"]["vorticity"]["values"]
        assert grid.tolist() == np.array(expected, "f4").tolist()

    def test_a_field_larger_than_asked_for_is_averaged(self, sample: Server) -> None:
        answer = sample.get("/api/field", path="fields/vorticity/values", points=16)
        assert answer.headers["X-Block"] == "3,4"
        assert answer.headers["X-Shape"] == "16,16"
        grid = np.frombuffer(answer.body, "<f4", -1, (17 + 17) * 8)
        values = np.array(json.loads(SAMPLE.read_text())["fields"]["vorticity"]["values"])
        assert grid[0] == pytest.approx(values.reshape(48, 64)[:3, :4].mean(), abs=1e-6)

    def test_rectilinear_meshes_and_vectors_are_drawn_and_the_rest_explained(
        self, tmp_path: Path
    ) -> None:
        mesh = {
            "coordsets": {
                "c": {"type": "rectilinear", "values": {"x": [0, 1, 10], "y": [0, 5]}},
                "e": {"type": "explicit", "values": {"x": [0, 1], "y": [0, 1]}},
            },
            "topologies": {"t": {"coordset": "c"}, "u": {"coordset": "e"}},
            "fields": {
                "v": {
                    "topology": "t",
                    "association": "element",
                    "values": {"u": [1, 2], "v": [3, 4]},
                },
                "w": {"topology": "u", "association": "vertex", "values": [1, 2]},
                "z": {"topology": "t", "association": "vertex", "values": [1, 2]},
            },
        }
        with serving(serve_json(tmp_path, mesh)) as server:
            told = server.get("/api/mesh").json
        assert [field["label"] for field in told["fields"]] == ["v/u", "v/v"]
        assert told["problems"] == [
            'fields/w: coordinate set type "explicit" is neither uniform nor rectilinear',
            "fields/z: fields/z/values has 2 values; its mesh needs 6",
        ]


class TestLive:
    def test_a_rename_and_a_rewrite_in_place_are_announced(self, tmp_path: Path) -> None:
        data = serve_json(tmp_path, {"a": {"b": 1}, "c": [1, 2]})

        async def follow(websocket: Socket) -> None:
            greeting = await told(websocket)
            assert (greeting["version"], greeting["file"]) == (1, "data.json")
            serve_json(tmp_path, {"a": {"b": 2}, "c": [1, 2]}, "new").rename(data)
            assert await told(websocket) == {"version": 2, "changed": ["a/b"], "error": None}
            serve_json(tmp_path, {"a": {"b": 2}, "c": [1, 2, 3], "d": 0})
            assert await told(websocket) == {"version": 3, "changed": [""], "error": None}

        with serving(data) as server:
            server.talk(follow)
            assert server.get("/api/get-value", cpath="c").json == {"datavalue": [1, 2, 3]}

    def test_a_half_written_file_keeps_the_last_good_version(self, tmp_path: Path) -> None:
        data = serve_json(tmp_path, {"a": 1})

        async def follow(websocket: Socket) -> None:
            await told(websocket)
            data.write_text('{"a": ')
            broken = await told(websocket)
            assert broken["version"] == 1
            assert broken["changed"] == []
            assert "is not valid JSON" in broken["error"]
            assert server.get("/api/get-value", cpath="a").json == {"datavalue": 1}
            assert server.get("/api/state").json["error"] == broken["error"]
            data.unlink()
            assert "no such file" in (await told(websocket))["error"]
            serve_json(tmp_path, {"a": 2})
            assert await told(websocket) == {"version": 2, "changed": ["a"], "error": None}

        with serving(data) as server:
            server.talk(follow)

    def test_a_symbolic_link_is_followed_to_its_new_target(self, tmp_path: Path) -> None:
        serve_json(tmp_path, {"run": 1}, "run1.json")
        serve_json(tmp_path, {"run": 2}, "run2.json")
        latest = tmp_path / "latest.json"
        latest.symlink_to("run1.json")

        async def follow(websocket: Socket) -> None:
            await told(websocket)
            (tmp_path / "next").symlink_to("run2.json")
            (tmp_path / "next").rename(latest)
            assert (await told(websocket))["changed"] == ["run"]

        with serving(latest) as server:
            server.talk(follow)

    def test_writing_the_same_data_again_is_no_new_version(self, tmp_path: Path) -> None:
        data = tmp_path / "data.json"
        data.write_text('{"a": [1.0, NaN]}')

        async def follow(websocket: Socket) -> None:
            await told(websocket)
            data.write_text('{ "a": [1.0, NaN] }')
            await asyncio.sleep(0.5)
            data.write_text('{"a": [2.0, NaN]}')
            assert (await told(websocket))["version"] == 2

        with serving(data) as server:
            server.talk(follow)


class TestSecurity:
    @pytest.mark.parametrize(
        ("origin", "host"),
        [
            ("https://evil.example", "jobs.example:8000"),
            ("https://jobs.example:8001", "jobs.example:8000"),
            ("null", "jobs.example:8000"),
            ("https://jobs.example:8000.evil.example", "jobs.example:8000"),
        ],
    )
    def test_pages_of_other_sites_get_no_websocket(
        self, sample: Server, origin: str, host: str
    ) -> None:
        async def never(_: Socket) -> None:
            raise AssertionError("the handshake was accepted")

        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            sample.talk(never, Origin=origin, Host=host)
        assert refusal.value.status == 403

    @pytest.mark.parametrize(
        ("origin", "host"),
        [
            ("https://jobs.example:8000", "jobs.example:8000"),
            ("https://JOBS.example", "jobs.example:443"),
        ],
    )
    def test_the_servers_own_page_gets_one(self, sample: Server, origin: str, host: str) -> None:
        async def greeted(websocket: Socket) -> None:
            assert (await told(websocket))["version"] == 1

        sample.talk(greeted, Origin=origin, Host=host)

    @pytest.mark.parametrize(
        "path", ["/", "/js/main.js", "/api/state", "/nothing", "/api/node?path=x"]
    )
    def test_every_answer_has_the_security_headers(self, sample: Server, path: str) -> None:
        headers = sample.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-eval" not in policy
        assert "//" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"

    def test_data_is_never_cached_and_pages_are_revalidated(self, sample: Server) -> None:
        assert sample.get("/api/state").headers["Cache-Control"] == "no-store"
        page = sample.get("/style.css")
        assert page.headers["Cache-Control"] == "no-cache"
        again = sample.get("/style.css", {"If-None-Match": page.headers["ETag"]})
        assert again.status == 304

    def test_nothing_outside_the_doc_root_is_served(self, tmp_path: Path) -> None:
        root = tmp_path / "root"
        root.mkdir()
        (root / "index.html").write_text("page")
        (tmp_path / "secret").write_text("secret")
        (root / "link").symlink_to(tmp_path / "secret")
        (root / "inside").symlink_to(root / "index.html")
        with serving(SAMPLE, "--doc-root", str(root)) as server:
            for path in (
                "/../secret",
                "/%2e%2e/secret",
                "/..%2fsecret",
                "/link",
                "//etc/passwd",
                "/%00",
            ):
                assert server.get(path).status == 404, path
            assert server.get("/inside").body == b"page"

    def test_files_stored_compressed_reach_every_client(self, tmp_path: Path) -> None:
        (tmp_path / "index.html").write_text("page")
        (tmp_path / "big.js").with_suffix(".js.gz").write_bytes(gzip.compress(b"let big;"))
        with serving(SAMPLE, "--doc-root", str(tmp_path)) as server:
            packed = server.get("/big.js", {"Accept-Encoding": "gzip"})
            plain = server.get("/big.js")
        assert packed.headers["Content-Encoding"] == "gzip"
        assert packed.headers["Content-Type"].startswith("text/javascript")
        assert gzip.decompress(packed.body) == plain.body == b"let big;"

    def test_the_page_names_no_other_host_and_no_absolute_path(self, sample: Server) -> None:
        page = sample.get("/").body.decode()
        addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
        assert "js/main.js" in addresses
        assert [url for url in addresses if ":" in url or url.startswith("/")] == []


class TestStopping:
    def test_sigterm_ends_it_at_once_although_a_websocket_is_open(self) -> None:
        async def stop(websocket: Socket) -> None:
            await told(websocket)
            server.process.send_signal(signal.SIGTERM)
            farewell = await websocket.receive(timeout=PATIENCE)
            assert farewell.type is aiohttp.WSMsgType.CLOSE
            assert farewell.data == aiohttp.WSCloseCode.GOING_AWAY

        with serving(SAMPLE) as server:
            started = time.monotonic()
            server.talk(stop)
            assert server.process.wait(PATIENCE) == 0
            assert time.monotonic() - started < 3

    def test_sigterm_while_the_data_loads_ends_it_too(self, tmp_path: Path) -> None:
        pipe = tmp_path / "slow.json"
        os.mkfifo(pipe)
        process = subprocess.Popen(command(pipe, "--port", str(free_port())), env=ENVIRONMENT)
        # Opening for writing returns once the server has opened the pipe to read its data.
        with process, pipe.open("w"):
            process.terminate()
            assert process.wait(PATIENCE) == 0
