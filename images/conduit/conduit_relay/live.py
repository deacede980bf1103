"""The WebSocket side: who may connect, who is connected, and telling them about changes."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

from aiohttp import WSCloseCode, web

_DEFAULT_PORTS = {"http": ":80", "https": ":443", "ws": ":80", "wss": ":443"}
_SEND_SECONDS = 5.0
# Pings find dead peers and keep proxies from closing a quiet connection.
_HEARTBEAT_SECONDS = 20.0


def same_origin(origin: str | None, host: str) -> bool:
    """Tell whether a handshake comes from a page of this server, or from no page at all.

    Browsers send cached passwords with WebSocket handshakes of any site, and the same-origin policy
    does not cover these: the server must compare Origin with Host (RFC 6455, section 10.2).
    """
    if origin is None:
        return True
    parts = urlsplit(origin)
    default = _DEFAULT_PORTS.get(parts.scheme, "")
    return bool(default and parts.netloc) and (
        parts.netloc.lower().removesuffix(default) == host.lower().removesuffix(default)
    )


class Audience:
    """The WebSockets that are open."""

    def __init__(self) -> None:
        self._sockets: set[web.WebSocketResponse] = set()

    async def join(self, request: web.Request, greeting: dict[str, Any]) -> web.WebSocketResponse:
        """Accept a client, greet it, and keep it until it leaves; whatever it sends is ignored.

        Raises:
            HTTPForbidden: the handshake comes from another site's page.
        """
        if not same_origin(origin := request.headers.get("Origin"), request.host):
            raise web.HTTPForbidden(
                text=f'WebSocket refused: Origin "{origin}" is not this server, "{request.host}"\n'
            )
        socket = web.WebSocketResponse(heartbeat=_HEARTBEAT_SECONDS, max_msg_size=4096)
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            await socket.send_json(greeting)
            async for _ in socket:
                pass
        except ConnectionError:
            pass  # it left while being greeted
        finally:
            self._sockets.discard(socket)
        return socket

    async def tell(self, message: dict[str, Any]) -> None:
        """Send a message to all; a client that can't take it in time is dropped."""
        await asyncio.gather(*(self._send(socket, message) for socket in self._sockets))

    async def dismiss(self) -> None:
        """Close all sockets; clients see an orderly end."""
        closing = [asyncio.create_task(_close(socket)) for socket in self._sockets]
        if closing:
            # Closing waits for the peer's answer: not longer than a second, whoever it is.
            await asyncio.wait(closing, timeout=1)

    async def _send(self, socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                await socket.send_json(message)
        except (TimeoutError, ConnectionError):
            self._sockets.discard(socket)
            if transport := socket.get_extra_info("transport"):
                transport.abort()


async def _close(socket: web.WebSocketResponse) -> None:
    await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the server is stopping")
