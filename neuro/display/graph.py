"""A network as a graph in SVG: inputs to the left, each population behind those that reach it first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neuro.display.html import escape

WIDTH, HEIGHT, ACROSS, DOWN = 130, 44, 230, 84
_COLOURS = {"+": "#0072b2", "-": "#d55e00", None: "#7a7a7a"}
_LABELS = 12  # edges, above which only the mouse shows their names
_LETTERS = 17  # of a name in its box


def graph(network: Any) -> str:
    """A neuro.model.Network as SVG text. Excitatory projections are blue, inhibitory ones (Dale's sign) orange; what has no sign is grey."""
    edges = _edges(network)
    places = _places(network, edges)
    columns = max((c for c, _ in places.values()), default=0) + 1
    rows = max((r for _, r in places.values()), default=0) + 1
    bulge = max(
        (_bulge(places[a], places[b]) for a, b in edges if places[a][0] == places[b][0] == columns - 1), default=0
    )
    size = (ACROSS * columns - (ACROSS - WIDTH) + 40 + bulge, DOWN * rows + 70)
    drawn = [_edge(places, a, b, found) for (a, b), found in edges.items()]
    drawn += _labels(places, edges)
    boxes = [_box(places[i.name], i.name, f"{i.size} x {i.kind}", True) for i in network.inputs]
    boxes += [_box(places[p.name], p.name, f"{p.size} x {p.neuron.name}", False) for p in network.populations]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" viewBox="0 0 {size[0]} {size[1]}"'
        f' font-family="sans-serif" font-size="11" fill="currentColor">{"".join(drawn)}{"".join(boxes)}</svg>'
    )


def _edges(network: Any) -> dict[tuple[str, str], list[tuple[str, str, str | None]]]:
    """(from, to) -> name, description and sign of what goes there."""
    found: dict[tuple[str, str], list[tuple[str, str, str | None]]] = {}
    for p in network.projections:
        text = f"{p.name}: {p.synapse.name}, {type(p.connectivity).__name__}"
        found.setdefault((p.pre, p.post), []).append((p.name, text, p.sign))
    for item in network.inputs:
        if item.target:
            text = f"{item.name}: {item.kind} into {item.target}"
            found.setdefault((item.name, item.target.partition(".")[0]), []).append((item.target, text, None))
    return found


def _places(network: Any, edges: Mapping[tuple[str, str], Any]) -> dict[str, tuple[int, int]]:
    """Column and row of each box: a population stands behind the first that reaches it; one that nothing reaches, with the inputs."""
    names = [p.name for p in network.populations]
    depth = {i.name: 0 for i in network.inputs}
    waiting = [i.name for i in network.inputs] or names[:1]
    depth |= dict.fromkeys(waiting, 0)
    while waiting:
        reached = [b for a, b in edges if a in waiting and b not in depth]
        depth |= {b: 1 + min(depth[a] for a, other in edges if other == b and a in depth) for b in reached}
        waiting = list(dict.fromkeys(reached)) or [n for n in names if n not in depth][:1]
        depth |= {n: 0 for n in waiting if n not in depth}
    used: dict[int, int] = {}
    places = {}
    for name, column in sorted(depth.items(), key=lambda item: item[1]):
        places[name] = (column, used.get(column, 0))
        used[column] = used.get(column, 0) + 1
    return places


def _corner(place: tuple[int, int]) -> tuple[float, float]:
    return 20 + place[0] * ACROSS, 46 + place[1] * DOWN


def _box(place: tuple[int, int], name: str, below: str, source: bool) -> str:
    x, y = _corner(place)
    texts = ((y + 19, "600", name), (y + 34, "400", below))
    lines = "".join(
        f'<text x="{x + WIDTH / 2}" y="{at}" text-anchor="middle" font-weight="{weight}" fill="#222222">{escape(_short(text))}</text>'
        for at, weight, text in texts
    )
    corner = 20 if source else 4
    return (
        f'<g><title>{escape(name)}: {escape(below)}</title><rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="{corner}"'
        f' fill="#eef1f4" stroke="#7a7a7a"/>{lines}</g>'
    )


def _colour(found: Sequence[tuple[str, str, str | None]]) -> str:
    signs = {sign for _, _, sign in found}
    return _COLOURS[signs.pop() if len(signs) == 1 else None]


def _edge(places: Mapping[str, tuple[int, int]], a: str, b: str, found: Sequence[tuple[str, str, str | None]]) -> str:
    path, tip, _ = _curve(places[a], places[b], a == b)
    title, colour = "\n".join(description for _, description, _ in found), _colour(found)
    return (
        f'<g><title>{escape(title)}</title><path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        f'<path d="{tip}" fill="{colour}" stroke="none"/></g>'
    )


def _labels(places: Mapping[str, tuple[int, int]], edges: Mapping[tuple[str, str], Any]) -> list[str]:
    """Names of projections where they lie on no other; the mouse shows all of them."""
    taken: list[tuple[float, float, float]] = []
    drawn = []
    for (a, b), found in edges.items() if len(edges) <= _LABELS else ():
        text = _short(", ".join(name for name, _, _ in found), 15)
        x, y = _curve(places[a], places[b], a == b)[2]
        half = 2.9 * len(text)
        if all(abs(y - other) > 11 or abs(x - middle) > half + width for middle, other, width in taken):
            taken.append((x, y, half))
            drawn.append(
                f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="middle" font-size="9.5" fill="{_colour(found)}">{escape(text)}</text>'
            )
    return drawn


def _bulge(a: tuple[int, int], b: tuple[int, int]) -> int:
    """How far the curve between two boxes of a column leaves it."""
    return 0 if a == b else min(100, 26 + 12 * abs(b[1] - a[1]))


def _curve(a: tuple[int, int], b: tuple[int, int], same: bool) -> tuple[str, str, tuple[float, float]]:
    """Path, tip of its arrow, and the place of its label."""
    (x1, y1), (x2, y2) = _corner(a), _corner(b)
    if same:  # a loop above the box
        left, right = x1 + WIDTH * 0.35, x1 + WIDTH * 0.65
        path = f"M{left:.1f} {y1}C{left - 14:.1f} {y1 - 34} {right + 14:.1f} {y1 - 34} {right:.1f} {y1 - 6}"
        return path, _tip(right, y1, 0, 1), (x1 + WIDTH / 2, y1 - 31)
    if b[0] > a[0]:  # onwards, from the right side to the left one
        y1, y2 = y1 + HEIGHT / 2, y2 + HEIGHT / 2
        x1 += WIDTH
        bend = (x2 - x1) / 2
        path = f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2 - 6} {y2}"
        return path, _tip(x2, y2, 1, 0), ((x1 + x2) / 2, (y1 + y2) / 2 - 5)
    if a[0] == b[0]:  # within a column, down on its right and up on its left
        side, out = (x1 + WIDTH, 1) if b[1] > a[1] else (x1, -1)
        y1, y2 = y1 + HEIGHT * 0.6, y2 + HEIGHT * 0.4
        far = side + out * _bulge(a, b)
        path = f"M{side} {y1}C{far} {y1} {far} {y2} {side + out * 6} {y2}"
        return path, _tip(side, y2, -out, 0), (side + out * 30, (y1 + y2) / 2)
    y1, y2 = y1 + HEIGHT, y2 + HEIGHT  # back, below
    x1, x2 = x1 + WIDTH / 2, x2 + WIDTH / 2
    low = max(y1, y2) + 30
    return f"M{x1} {y1}C{x1} {low} {x2} {low} {x2} {y2 + 6}", _tip(x2, y2, 0, -1), ((x1 + x2) / 2, low + 4)


def _tip(x: float, y: float, dx: int, dy: int) -> str:
    """A triangle whose point lies at (x, y)."""
    return f"M{x:.1f} {y:.1f}l{-8 * dx - 4 * dy:.1f} {-8 * dy - 4 * dx:.1f}l{8 * dy:.1f} {8 * dx:.1f}z"


def _short(text: str, most: int = _LETTERS) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
