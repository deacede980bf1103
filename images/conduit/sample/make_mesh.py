"""Write mesh.json: a small Blueprint 2-D mesh of a jet that rolls up into vortices.

Usage: python3 make_mesh.py > mesh.json
"""

import json
import math
import re
import textwrap

ELEMENTS = (64, 48)
ORIGIN = (0.0, -1.5)
SPACING = (0.0625, 0.0625)
CYCLE, TIME = 1200, 3.0
# Centre and strength of each vortex: one row above the jet, one below, turning against each other.
VORTICES = [(0.5 + k, 0.45, 1.0) for k in range(4)] + [(1.0 + k, -0.45, -1.0) for k in range(4)]


def vorticity(x: float, y: float) -> float:
    """Return a sum of vortices, each stretched along the flow as it is wound up."""
    total = 0.0
    for at_x, at_y, strength in VORTICES:
        dx, dy = (x - at_x + 2) % 4 - 2, y - at_y
        radius = math.hypot(dx, dy)
        swirl = math.atan2(dy, dx) * 2 - strength * 9 * radius
        total += strength * math.exp(-((radius / 0.38) ** 2)) * (1 + 0.45 * math.cos(swirl))
    return total


def pressure(x: float, y: float) -> float:
    """Return a pressure that is low in the middle of each vortex, above a gentle gradient."""
    wells = sum(
        math.exp(-((((x - at_x + 2) % 4 - 2) / 0.42) ** 2) - ((y - at_y) / 0.42) ** 2)
        for at_x, at_y, _ in VORTICES
    )
    return 101.3 + 0.4 * math.cos(math.pi * y / 3) - 1.8 * wells


def energy(steps: int) -> list[float]:
    """Return the kinetic energy over time: it decays, with the beat of vortices that merge."""
    return [
        round(8.5 * math.exp(-t / 90) * (1 + 0.06 * math.sin(t / 4) * math.exp(-t / 60)), 5)
        for t in range(steps)
    ]


def field(association: str, units: str, values: list[float]) -> dict[str, object]:
    """Return a Blueprint field on the one topology."""
    return {"association": association, "topology": "mesh", "units": units, "values": values}


def mesh() -> dict[str, object]:
    """Return the whole tree."""
    (nx, ny), (dx, dy) = ELEMENTS, SPACING
    vertices = [
        (ORIGIN[0] + i * dx, ORIGIN[1] + j * dy) for j in range(ny + 1) for i in range(nx + 1)
    ]
    centres = [
        (ORIGIN[0] + (i + 0.5) * dx, ORIGIN[1] + (j + 0.5) * dy)
        for j in range(ny)
        for i in range(nx)
    ]
    return {
        "state": {"cycle": CYCLE, "time": TIME, "title": "Jet rolling up into vortices"},
        "coordsets": {
            "coords": {
                "type": "uniform",
                "dims": {"i": nx + 1, "j": ny + 1},
                "origin": {"x": ORIGIN[0], "y": ORIGIN[1]},
                "spacing": {"dx": dx, "dy": dy},
            }
        },
        "topologies": {"mesh": {"type": "uniform", "coordset": "coords"}},
        "fields": {
            "vorticity": field("element", "1/s", [round(vorticity(*at), 4) for at in centres]),
            "pressure": field("vertex", "kPa", [round(pressure(*at), 3) for at in vertices]),
        },
        "history": {"time": [t / 40 for t in range(121)], "energy": energy(121)},
    }


def main() -> None:
    """Print the mesh, indented, with its arrays wrapped."""
    text = json.dumps(mesh(), indent=1)
    print(
        re.sub(r"\[[^\[\]]*\]", lambda array: textwrap.fill(" ".join(array[0].split()), 99), text)
    )


if __name__ == "__main__":
    main()
