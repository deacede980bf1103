"""The HTTP server: routes, security headers, and the task that follows the data file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from conduit_relay import docroot
from conduit_relay.api import Api
from conduit_relay.live import Audience
from conduit_relay.node import NoSuchPath
from conduit_relay.source import Source

HEADERS = {
    # Plotly sets inline styles and draws into images; nothing comes from another host.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def create_app(source: Source, doc_root: Path) -> web.Application:
    """Put the server together; it starts to follow the file when it runs."""
    audience = Audience()
    api = Api(source)

    async def follow_file(_: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(_announce_changes(source, audience))
        yield
        task.cancel()
        await asyncio.wait([task])

    async def dismiss(_: web.Application) -> None:
        await audience.dismiss()

    async def websocket(request: web.Request) -> web.StreamResponse:
        return await audience.join(request, api.state())

    app = web.Application(client_max_size=16_384, middlewares=[_answer_no_such_path])
    app.on_response_prepare.append(_add_headers)
    app.cleanup_ctx.append(follow_file)
    app.on_shutdown.append(dismiss)
    app.add_routes([*api.routes(), web.get("/websocket", websocket)])
    app.router.add_get("/{path:.*}", docroot.serve(doc_root))
    return app


async def _announce_changes(source: Source, audience: Audience) -> None:
    async for change in source.changes():
        await audience.tell(
            {"version": change.version, "changed": change.paths, "error": change.error}
        )


@web.middleware
async def _answer_no_such_path(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except NoSuchPath as error:
        raise web.HTTPNotFound(text=f"{error}\n") from None


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    # Data is never cached; docroot says otherwise for the page's own files.
    response.headers.setdefault("Cache-Control", "no-store")
