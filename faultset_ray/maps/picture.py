"""A map as a picture: the same scene as the page's, drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from faultset_ray.errors import InputError
from faultset_ray.maps.page import TEXT_MAX, when
from faultset_ray.maps.scene import FLAGGED, LEGEND, Mark, scene, shares
from faultset_ray.maps.survey import FleetMap, State

_INK, _SOFT, _HALO = "#1d2327", "#5a656d", "#ffffff"
_GOOD, _BAD, _NONE = "#0072b2", "#d55e00", "#7d8489"
_HEAD: Final = 46.0
_FOOT: Final = 34.0
_POINTS: Final = 72 / 96
"""Of a pixel of the page."""


def draw(found: FleetMap, path: Path, width: int) -> None:
    """Write it; see :meth:`FleetMap.png <faultset_ray.maps.survey.FleetMap.png>`."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.collections import LineCollection, PolyCollection
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(f"a picture needs matplotlib ({error}): pip install 'faultset-ray[map]'") from None

    laid_out = scene(found)
    high = laid_out.height + _HEAD + _FOOT
    figure = Figure(figsize=(laid_out.width / 96, high / 96), dpi=96 * width / laid_out.width, facecolor=_HALO)
    FigureCanvasAgg(figure)
    axes: Any = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, laid_out.width), ylim=(laid_out.height + _FOOT, -_HEAD), aspect="equal")
    axes.axis("off")
    ground = [
        PolyCollection([laid_out.sphere], facecolor="#eaf1f6"),
        LineCollection(laid_out.graticule, color="#b9bfb8", linewidth=0.4 * _POINTS, alpha=0.6),
        PolyCollection(laid_out.land, facecolor="#d3d6d1", edgecolor="#b9bfb8", linewidth=0.5 * _POINTS),
    ]
    frame = _frame(axes, laid_out.width, laid_out.height)
    for each in ground:
        axes.add_collection(each)
        each.set_clip_path(frame)
    _draw_all(axes, [patch for mark in laid_out.marks for patch in _circle(found, mark)])
    for site, x, y in laid_out.squares:
        face = _INK if site.here == site.stores else _HALO
        edge = _HALO if site.here == site.stores else _INK
        axes.plot([x], [y], "s", ms=6.4 * _POINTS, mfc=face, mec=edge, mew=0.8)
    for text, x, y in laid_out.labels:
        _text(axes, x, y, text, 11, family="monospace", halo=True)
    _words(axes, found, laid_out.height)
    figure.savefig(path, metadata={"Software": None})


def _frame(axes: Any, width: float, height: float) -> Any:
    from matplotlib.patches import Rectangle

    frame = Rectangle((0, 0), width, height, facecolor="none", edgecolor="none")
    return axes.add_patch(frame)


def _draw_all(axes: Any, patches: Sequence[Any]) -> None:
    """Draw them as one, in this order: a thousand artists of their own take ten times as long."""
    from matplotlib.collections import PatchCollection

    axes.add_collection(PatchCollection(patches, match_original=True))


def _circle(found: FleetMap, mark: Mark) -> Iterator[Any]:
    return _shape(found.state(mark.number), *shares(found, mark.number), mark.x, mark.y, mark.radius)


def _shape(state: State, out: float, unknown: float, x: float, y: float, radius: float) -> Iterator[Any]:
    """As the page draws it: clockwise from the top, in axes whose y goes down."""
    from matplotlib.patches import Circle, PathPatch, Wedge
    from matplotlib.path import Path as Line

    begun = 0.0
    for colour, share in ((_GOOD, 1 - out - unknown), (_BAD, out), (_NONE, unknown)):
        if share > 0:
            first, last = 360 * begun - 90, 360 * (begun + share) - 90
            yield Wedge((x, y), radius, first, last, facecolor=colour, edgecolor="none")
            begun += share
    arm = 0.4 * radius
    cross = [(x - arm, y - arm), (x + arm, y + arm), (x - arm, y + arm), (x + arm, y - arm)]
    bar = [(x - arm, y), (x + arm, y)]
    sign = cross if out == 1 else bar if unknown == 1 else []
    if sign:
        line = Line(sign, [Line.MOVETO, Line.LINETO] * (len(sign) // 2))
        yield PathPatch(line, facecolor="none", edgecolor=_HALO, lw=1.8 * _POINTS)
    yield Circle((x, y), radius, facecolor="none", edgecolor=_HALO, lw=1.2 * _POINTS)
    if state in FLAGGED:
        style = (0, (1.6, 1.3)) if state is State.SHORT else "solid"
        yield Circle((x, y), radius + 2.2, facecolor="none", edgecolor=_INK, lw=1.6 * _POINTS, linestyle=style)


def _words(axes: Any, found: FleetMap, height: float) -> None:
    """What stands above the map, and what its signs mean, below it."""
    nodes, survivors = int(found.nodes.sum()), int(found.survivors.sum())
    name = found.fleet.encode("ascii", "backslashreplace").decode()[:TEXT_MAX]
    _text(axes, 8, -32, f"Fleet {name}: {survivors:,} of {nodes:,} nodes survive", 16, weight="bold")
    _text(axes, 8, -11, f"{when(found)}; {int(found.regions.sum()):,} regions", 11, color=_SOFT)
    x, y = 16.0, height + _FOOT / 2
    for words, state, out, unknown in LEGEND:
        _draw_all(axes, list(_shape(state, out, unknown, x, y, 6.5)))
        _text(axes, x + 13, y, words, 11, color=_SOFT)
        x += 40 + 6.2 * len(words)
    if found.sites:
        axes.plot([x], [y], "s", ms=6.4 * _POINTS, mfc=_INK, mec=_HALO, mew=0.8)
        _text(axes, x + 13, y, "stores", 11, color=_SOFT)
    _text(axes, 952, y, "Coasts: Natural Earth", 9, color=_SOFT, ha="right")


def _text(axes: Any, x: float, y: float, text: str, size: float, *, halo: bool = False, **style: Any) -> None:
    from matplotlib.patheffects import withStroke

    effects = [withStroke(linewidth=2.5 * _POINTS, foreground=_HALO)] if halo else []
    options = {"color": _INK, "va": "center", "path_effects": effects, "parse_math": False, **style}
    axes.text(x, y, text, fontsize=size * _POINTS, **options)
