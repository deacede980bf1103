"""An app for the gateway to pass real traffic to: aiohttp on loopback, as many real ones are.

It runs inside a container and therefore imports nothing of this project.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from pathlib import Path
from urllib.parse import unquote_to_bytes

from aiohttp import web

MB = 1 << 20
FILE = Path("/tmp/file.bin")  # noqa: S108, inside the container
LINE_BYTES = 1 << 16

left: list[str] = []
"""The names of the clients of streams and sockets that went, in order."""
uploaded = [0]
"""How many bytes of uploads have arrived, in all."""


def block(number: int) -> bytes:
    """Return a megabyte that differs from every other one."""
    return number.to_bytes(8) * (MB // 8)


async def echo(request: web.Request) -> web.Response:
    """Answer with what arrived."""
    headers = [[name.decode(), value.decode()] for name, value in request.raw_headers]
    return web.json_response(
        {"method": request.method, "target": request.raw_path, "headers": headers}
    )


async def verbatim(request: web.Request) -> web.Response:
    """Answer with the bytes that the query holds, status line and all, and hang up."""
    assert request.transport is not None
    request.transport.write(unquote_to_bytes(request.rel_url.raw_query_string))
    request.transport.close()
    return web.Response()


async def upload(request: web.Request) -> web.Response:
    """Count and hash what comes; begin to read only after ``pause`` seconds."""
    await asyncio.sleep(float(request.query.get("pause", 0)))
    size, digest = 0, hashlib.sha256()
    async for data in request.content.iter_any():
        size += len(data)
        uploaded[0] += len(data)
        digest.update(data)
    return web.json_response({"size": size, "sha256": digest.hexdigest()})


async def download(request: web.Request) -> web.StreamResponse:
    """Send so many ``blocks``, in chunks unless ``length`` is asked for."""
    blocks = int(request.query["blocks"])
    response = web.StreamResponse()
    if "length" in request.query:
        response.content_length = blocks * MB
    await response.prepare(request)
    for number in range(blocks):
        await response.write(block(number))
    return response


async def broken(request: web.Request) -> web.StreamResponse:
    """Hang up in the middle of an answer of which the beginning has left."""
    assert request.transport is not None
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"half")
    await asyncio.sleep(0.2)
    request.transport.abort()
    return response


async def file(request: web.Request) -> web.FileResponse:
    """Serve a file with all that goes with it: ranges, validators, HEAD."""
    return web.FileResponse(FILE)


async def compressed(request: web.Request) -> web.Response:
    """Answer compressed, if that is what the client takes."""
    response = web.Response(text="squeeze " * 1000)
    response.enable_compression()
    return response


async def home(request: web.Request) -> web.Response:
    """Send the client to where it can reach the app, as the environment says."""
    raise web.HTTPFound(os.environ["JOBCTL_URL"] + "landed")


async def slow(request: web.Request) -> web.Response:
    """Take ``seconds`` to answer, after the whole request has come."""
    body = await request.read()
    await asyncio.sleep(float(request.query["seconds"]))
    return web.Response(text=f"after {len(body)} bytes")


async def events(request: web.Request) -> web.StreamResponse:
    """Send an event, then one more after ``silence`` seconds; note when the client goes."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(b"data: one\n\n")
    try:
        await asyncio.sleep(float(request.query["silence"]))
        await response.write(b"data: two\n\n")
    except asyncio.CancelledError:
        left.append(request.query["name"])
        raise
    return response


async def socket(request: web.Request) -> web.WebSocketResponse:
    """Send back what comes; close with the code of a message like ``close 4000 reason``."""
    websocket = web.WebSocketResponse(protocols=("chat.v2", "chat.v1"), max_msg_size=0)
    await websocket.prepare(request)
    try:
        async for message in websocket:
            if message.type is web.WSMsgType.BINARY:
                await websocket.send_bytes(message.data)
            elif message.data.startswith("close "):
                _, code, reason = message.data.split(" ", 2)
                await websocket.close(code=int(code), message=reason.encode())
            else:
                await websocket.send_str(message.data)
    finally:
        left.append(request.query.get("name", ""))
    return websocket


async def seen(request: web.Request) -> web.Response:
    """Say what has happened up to now."""
    return web.json_response({"left": left, "uploaded": uploaded[0]})


def main(port: int) -> None:
    """Serve on loopback; a handler is cancelled when its client goes."""
    FILE.write_bytes(bytes(range(256)) * (MB // 256))
    app = web.Application(client_max_size=0)
    app.add_routes(
        [
            web.route("*", "/verbatim", verbatim),
            web.post("/upload", upload),
            web.get("/download", download),
            web.get("/broken", broken),
            web.get("/file", file),
            web.get("/compressed", compressed),
            web.get("/home", home),
            web.route("*", "/slow", slow),
            web.get("/events", events),
            web.get("/socket", socket),
            web.get("/seen", seen),
            web.route("*", "/{path:.*}", echo),
        ]
    )
    web.run_app(
        app,
        host="127.0.0.1",
        port=port,
        access_log=None,
        handler_cancellation=True,
        max_line_size=LINE_BYTES,
        max_field_size=LINE_BYTES,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
