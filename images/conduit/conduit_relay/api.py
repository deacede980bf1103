"""The web API: requests in, descriptions and arrays of the current snapshot out.

`get-schema` and `get-value` are Conduit's own; the others exist so that no client needs a big file
whole.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from aiohttp import web

from conduit_relay import blueprint, describe
from conduit_relay.arrays import Array, block_means, envelope
from conduit_relay.node import Leaf, fetch
from conduit_relay.source import Source

_MOST_ROWS = 500
_MOST_MATCHES = 500
_MOST_VALUES = 1000


class Api:
    """The handlers, for one source."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def routes(self) -> list[web.RouteDef]:
        """Return every route of the API."""
        return [
            # Conduit's own client posts the path as a form.
            web.post("/api/get-schema", self._get_schema),
            web.post("/api/get-value", self._get_value),
            web.get("/api/get-schema", self._get_schema),
            web.get("/api/get-value", self._get_value),
            web.get("/api/state", self._state),
            web.get("/api/children", self._children),
            web.get("/api/search", self._search),
            web.get("/api/node", self._node),
            web.get("/api/values", self._values),
            web.get("/api/array", self._array),
            web.get("/api/mesh", self._mesh),
            web.get("/api/field", self._field),
        ]

    def state(self) -> dict[str, Any]:
        """Say what is being shown and whether the file has a problem."""
        snapshot = self._source.snapshot
        return {
            "version": snapshot.version,
            "changed": None,
            "error": self._source.error,
            "file": self._source.path.name,
            "protocol": snapshot.protocol,
            "loaded_at": snapshot.loaded_at,
        }

    async def _get_schema(self, _: web.Request) -> web.Response:
        tree = self._source.snapshot.tree
        return web.json_response(await asyncio.to_thread(describe.schema, tree))

    async def _get_value(self, request: web.Request) -> web.Response:
        form = await request.post() if request.method == "POST" else request.query
        node = fetch(self._source.snapshot.tree, str(form.get("cpath", "")))
        return web.json_response({"datavalue": await asyncio.to_thread(describe.value, node)})

    async def _state(self, _: web.Request) -> web.Response:
        return web.json_response(self.state())

    async def _children(self, request: web.Request) -> web.Response:
        path, offset = request.query.get("path", ""), _count(request, "offset", 0)
        node = fetch(self._source.snapshot.tree, path)
        return web.json_response(
            {
                "rows": describe.child_rows(node, path, offset, _MOST_ROWS),
                "total": 0 if isinstance(node, Leaf) else len(node),
            }
        )

    async def _search(self, request: web.Request) -> web.Response:
        tree, query = self._source.snapshot.tree, request.query.get("query", "")
        rows = await asyncio.to_thread(describe.search, tree, query, _MOST_MATCHES)
        matches = sum(row["matches"] for row in rows)
        return web.json_response({"rows": rows, "matches": matches, "limit": _MOST_MATCHES})

    async def _node(self, request: web.Request) -> web.Response:
        snapshot, path = self._source.snapshot, request.query.get("path", "")
        told = await asyncio.to_thread(describe.details, snapshot.tree, path)
        return web.json_response(told | {"version": snapshot.version})

    async def _values(self, request: web.Request) -> web.Response:
        offset = _count(request, "offset", 0)
        count = min(_count(request, "count", _MOST_VALUES), _MOST_VALUES)
        leaf = fetch(self._source.snapshot.tree, request.query.get("path", ""))
        texts = describe.texts(leaf, offset, count) if isinstance(leaf, Leaf) else []
        return web.json_response({"offset": offset, "values": texts})

    async def _array(self, request: web.Request) -> web.Response:
        """Send an array as it is or, given `points`, as the indices and values of a line."""
        path = request.query.get("path", "")
        leaf = fetch(self._source.snapshot.tree, path)
        if not isinstance(leaf, Leaf) or not isinstance(leaf.data, np.ndarray):
            raise web.HTTPBadRequest(text=f'"{path}" is not an array of numbers\n')
        if "points" not in request.query:
            return _binary(leaf.data)
        return _binary(
            await asyncio.to_thread(envelope, leaf.data, _count(request, "points", 4000))
        )

    async def _mesh(self, _: web.Request) -> web.Response:
        tree = self._source.snapshot.tree
        fields, problems = blueprint.fields(tree)
        state = tree.get("state", {}) if isinstance(tree, dict) else {}
        listed = [
            {
                "path": field.path,
                "label": field.label,
                "association": field.association,
                "units": field.units,
                "axes": [field.x.label, field.y.label],
                "shape": list(field.grid.shape),
            }
            for field in fields
        ]
        return web.json_response(
            {
                "fields": listed,
                "problems": problems,
                "state": describe.child_rows(state, "state", 0, _MOST_ROWS),
            }
        )

    async def _field(self, request: web.Request) -> web.Response:
        """Send x, y (float64) and the field (float32, rows of constant y), averaged to `points`.

        x and y are the vertices for a vertex field, else the edges of the elements; of averaged
        blocks, their middles and their edges.
        """
        path, points = request.query.get("path", ""), _count(request, "points", 600)
        fields, _ = blueprint.fields(self._source.snapshot.tree)
        field = next((field for field in fields if field.path == path), None)
        if field is None:
            raise web.HTTPNotFound(text=f'no 2-D field with its values at path "{path}"\n')
        rows, columns = (-(-size // max(1, points)) for size in field.grid.shape)
        means = await asyncio.to_thread(block_means, field.grid, (rows, columns))
        vertex = field.association == "vertex"
        x = _positions(field.x.vertices, columns, vertex)
        y = _positions(field.y.vertices, rows, vertex)
        response = _binary(means, x.tobytes() + y.tobytes())
        response.headers["X-Block"] = f"{rows},{columns}"
        response.headers["X-Full-Shape"] = ",".join(map(str, field.grid.shape))
        return response


def _positions(vertices: Array, block: int, vertex: bool) -> Array:
    if vertex:
        ends = np.minimum(np.arange(block - 1, len(vertices) + block - 1, block), len(vertices) - 1)
        return (vertices[::block] + vertices[ends]) / 2
    last = len(vertices) - 1
    return vertices[[*range(0, last, block), last]]


def _binary(values: Array, prefix: bytes = b"") -> web.Response:
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return web.Response(
        body=prefix + little.tobytes(),
        content_type="application/octet-stream",
        headers={"X-Dtype": values.dtype.name, "X-Shape": ",".join(map(str, values.shape))},
    )


def _count(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise web.HTTPBadRequest(text=f'{name} must be a whole number, got "{text}"\n')
    return int(text)
