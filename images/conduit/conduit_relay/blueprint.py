"""Finding what can be drawn as a heat map: the fields of 2-D Blueprint meshes.

The format is described in Conduit's documentation, chapter "Mesh Blueprint". Covered are `uniform`
and `rectilinear` coordinate sets with two dimensions, in one domain or several.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conduit_relay.node import Leaf, Node, NoSuchPath, children, fetch, join

# The names of the first and second coordinate, in Blueprint's order.
_AXES = (("x", "y"), ("z", "r"), ("r", "theta"))


class NotDrawable(Exception):
    """A field or coordinate set that the heat map does not cover; the message says why."""


@dataclass(frozen=True, eq=False)
class Axis:
    """One coordinate: its name and the positions of the vertices along it."""

    label: str
    vertices: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Field:
    """One component of a field: its values in rows of constant y, and the axes of its mesh."""

    path: str
    label: str
    association: str
    units: str | None
    x: Axis
    y: Axis
    grid: NDArray[Any]


def fields(root: Node) -> tuple[list[Field], list[str]]:
    """Return the fields that can be drawn, and why any others can't."""
    drawable: list[Field] = []
    problems: list[str] = []
    for domain, mesh in _domains(root):
        for name, field in children(_at(mesh, "fields", {})):
            path = join(join(domain, "fields"), name)
            try:
                drawable += _components(mesh, field, path, f"{domain}: {name}" if domain else name)
            except NotDrawable as reason:
                problems.append(f"{path}: {reason}")
    return drawable, problems


def _domains(root: Node) -> Iterator[tuple[str, Node]]:
    if _is_mesh(root):
        yield "", root
    else:
        yield from ((join("", name), child) for name, child in children(root) if _is_mesh(child))


def _is_mesh(node: Node) -> bool:
    return isinstance(node, dict) and {"coordsets", "topologies", "fields"} <= node.keys()


def _components(mesh: Node, field: Node, path: str, label: str) -> Iterator[Field]:
    coordset = _text(mesh, join("topologies", _text(field, "topology")) + "/coordset")
    x, y = _axes(_at(mesh, join("coordsets", coordset)))
    association = _text(field, "association")
    if association not in ("vertex", "element"):
        raise NotDrawable(f'association "{association}" is neither vertex nor element')
    cells = association == "element"
    shape = (len(y.vertices) - cells, len(x.vertices) - cells)
    units = _at(field, "units", Leaf(None))
    values = _at(field, "values")
    # A vector field has one array a component under values.
    named = [("", values)] if isinstance(values, Leaf) else list(children(values))
    for name, component in named:
        where = join(f"{path}/values", name) if name else f"{path}/values"
        yield Field(
            path=where,
            label=f"{label}/{name}" if name else label,
            association=association,
            units=units.data if isinstance(units, Leaf) and isinstance(units.data, str) else None,
            x=x,
            y=y,
            grid=_numbers(component, where, shape[0] * shape[1]).reshape(shape),
        )


def _axes(coordset: Node) -> tuple[Axis, Axis]:
    match kind := _text(coordset, "type"):
        case "uniform":
            return _uniform_axes(coordset)
        case "rectilinear":
            return _rectilinear_axes(coordset)
    raise NotDrawable(f'coordinate set type "{kind}" is neither uniform nor rectilinear')


def _uniform_axes(coordset: Node) -> tuple[Axis, Axis]:
    dims, origin = _at(coordset, "dims"), _at(coordset, "origin", {})
    spacing = _at(coordset, "spacing", {})
    names = {name for name, _ in children(origin)}
    names |= {name.removeprefix("d") for name, _ in children(spacing)}
    if _number(dims, "k", 1) > 1:
        raise NotDrawable("the mesh has three dimensions")

    def axis(label: str, dim: str) -> Axis:
        count = int(_number(dims, dim))
        # Bounded before anything is built: the file may say any number.
        if not 2 <= count <= 10_000_000:
            raise NotDrawable(f"dims/{dim} is {count}; expected 2 to 10,000,000")
        start, step = _number(origin, label, 0.0), _number(spacing, f"d{label}", 1.0)
        return Axis(label, start + step * np.arange(count, dtype=np.float64))

    first, second = _axis_names(names)
    return axis(first, "i"), axis(second, "j")


def _rectilinear_axes(coordset: Node) -> tuple[Axis, Axis]:
    values = dict(children(_at(coordset, "values")))
    first, second = _axis_names(set(values))
    if len(values) != 2:
        raise NotDrawable(f"the mesh has {len(values)} dimensions")

    def axis(label: str) -> Axis:
        if label not in values:
            raise NotDrawable(f"values/{label} is missing")
        return Axis(label, _numbers(values[label], label).astype(np.float64))

    return axis(first), axis(second)


def _axis_names(present: set[str]) -> tuple[str, str]:
    """Choose the pair that covers the names; a set that names none is Cartesian."""
    return next((pair for pair in _AXES if present <= set(pair)), _AXES[0])


def _at(node: Node, path: str, default: Node | None = None) -> Node:
    try:
        return fetch(node, path)
    except NoSuchPath:
        if default is None:
            raise NotDrawable(f"{path} is missing") from None
        return default


def _text(node: Node, path: str) -> str:
    found = _at(node, path)
    if not isinstance(found, Leaf) or not isinstance(found.data, str):
        raise NotDrawable(f"{path} is not a string")
    return found.data


def _numbers(node: Node, path: str, count: int | None = None) -> NDArray[Any]:
    if not isinstance(node, Leaf) or not isinstance(node.data, np.ndarray):
        raise NotDrawable(f"{path} is not an array of numbers")
    if count is not None and node.count != count:
        raise NotDrawable(f"{path} has {node.count} values; its mesh needs {count}")
    return node.data


def _number(node: Node, path: str, default: float | None = None) -> float:
    found = _at(node, path, None if default is None else Leaf(np.array([default])))
    return float(_numbers(found, path, 1)[0])
