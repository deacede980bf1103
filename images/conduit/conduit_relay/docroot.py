"""Serving the web client: files of one directory, and nothing outside it."""

from __future__ import annotations

import gzip
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}


def serve(root: Path) -> Handler:
    """Return a handler for GET {path} under a document root; symbolic links must stay inside it."""
    root = root.resolve()

    async def handle(request: web.Request) -> web.StreamResponse:
        name = request.match_info["path"] or "index.html"
        if (found := _inside(root, name)) is not None:
            response: web.StreamResponse = web.FileResponse(found)
        elif (packed := _inside(root, f"{name}.gz")) is not None:
            response = _unpacked(packed, "gzip" in request.headers.get("Accept-Encoding", ""))
        else:
            raise web.HTTPNotFound(text=f'nothing at "{request.path}"\n')
        response.content_type = _TYPES.get(Path(name).suffix, "application/octet-stream")
        if response.content_type.startswith("text/"):
            response.charset = "utf-8"
        # Revalidated on each load, so that a new image is seen at once.
        response.headers["Cache-Control"] = "no-cache"
        return response

    return handle


def _inside(root: Path, name: str) -> Path | None:
    try:
        path = (root / name).resolve()
        return path if path.is_relative_to(root) and path.is_file() else None
    except (ValueError, OSError):  # a NUL byte, a name that is too long, a loop of links
        return None


def _unpacked(packed: Path, accepts_gzip: bool) -> web.StreamResponse:
    """Answer with a file that is stored compressed only, which keeps the image small."""
    if accepts_gzip:
        return web.FileResponse(
            packed, headers={"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        )
    return web.Response(
        body=gzip.decompress(packed.read_bytes()), headers={"Vary": "Accept-Encoding"}
    )
