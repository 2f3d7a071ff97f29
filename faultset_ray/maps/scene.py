"""Where everything on a map is drawn, in pixels: what the page and the picture have in common.

The projection is Equal Earth (Šavrič, Patterson, Jenny 2018): areas are true, and poles are lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultset_ray.geohash import centers, strings_to_cells
from faultset_ray.maps.survey import FleetMap, State, StoreSite

Floats = NDArray[np.float64]

WIDTH: Final = 960.0
_NORTH, _SOUTH, _POLE = 84.0, -57.0, 90.0
_PARTS: Final = (1.340264, -0.081106, 0.000893, 0.003796)
_SPAN_MIN: Final = 0.5
"""The least that a map shows from side to side: some 28 degrees at the equator."""
_SPAN_WORLD: Final = 3.2
"""What is wider than this is shown on the whole world."""
FLAGGED: Final = frozenset({State.SHORT, State.PANIC})
"""States that are shown by a ring of their own."""
LEGEND: Final = (
    ("survivors", State.WHOLE, 0.0, 0.0),
    ("partly out", State.SOME_OUT, 0.35, 0.0),
    ("all out", State.EMPTY, 1.0, 0.0),
    ("no answer", State.NO_ANSWER, 0.0, 1.0),
    ("too few survivors", State.SHORT, 0.5, 0.0),
    ("in panic", State.PANIC, 0.7, 0.0),
)
"""Words, and what the circle beside them is of: its state, and what part is out and not known."""
_LABELS_MAX: Final = 14
_LABEL_HEIGHT: Final = 12.0
_LETTER_WIDTH: Final = 6.4


class Mark(NamedTuple):
    """A circle, with the number of the mark in the survey."""

    number: int
    x: float
    y: float
    radius: float


class Square(NamedTuple):
    """A site of stores."""

    site: StoreSite
    x: float
    y: float


class Label(NamedTuple):
    """A text that begins at a point, on the middle of its height."""

    text: str
    x: float
    y: float


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Everything in pixels, from the upper left."""

    width: float
    height: float
    sphere: Floats
    """float64[n, 2]: the edge of the world."""
    land: list[Floats]
    graticule: list[Floats]
    marks: list[Mark]
    """The largest first, so that none is hidden."""
    squares: list[Square]
    nowhere: list[StoreSite]
    """Sites that no place has a cell for."""
    labels: list[Label]


def scene(found: FleetMap) -> Scene:
    """Lay a map out."""
    here = [site for site in found.sites if site.cell]
    site_lat, site_lon = centers(strings_to_cells([site.cell for site in here]))
    marks_at = project(found.lat, found.lon)
    sites_at = project(site_lat, site_lon)
    lats = np.concatenate([found.lat, site_lat])
    south = _SOUTH if lats.min() >= _SOUTH else -_POLE
    north = _NORTH if lats.max() <= _NORTH else _POLE
    left, right, bottom, top = _window(np.concatenate([marks_at, sites_at]), south, north)
    scale = WIDTH / (right - left)

    def placed(points: Floats) -> Floats:
        return (points - (left, top)) * (scale, -scale)

    height = round((top - bottom) * scale, 1)
    size = (WIDTH, height)
    at = placed(marks_at)
    radii = _radii(at, found.nodes)
    order = np.argsort(-radii, kind="stable").tolist()
    tenths = np.column_stack([at, radii]).round(1).tolist()
    marks = [Mark(number, *tenths[number]) for number in order]
    squares = [_beside(site, point, marks) for site, point in zip(here, placed(sites_at).tolist(), strict=True)]
    return Scene(
        width=WIDTH,
        height=height,
        sphere=_seen([placed(_sphere())], size)[0],
        land=_seen([placed(ring) for ring in _land()], size),
        graticule=_seen([placed(line) for line in _graticule()], size),
        marks=marks,
        squares=squares,
        nowhere=[site for site in found.sites if not site.cell],
        labels=_labels(found, marks, squares, size),
    )


def shares(found: FleetMap, mark: int) -> tuple[float, float]:
    """What part of a mark's nodes is out, and not known."""
    nodes = int(found.nodes[mark])
    return int(found.out[mark]) / nodes, int(found.unknown[mark]) / nodes


def project(lat: Floats, lon: Floats) -> Floats:
    """Degrees to the plane: float64[n, 2], x to the east, y to the north."""
    a, b, c, d = _PARTS
    theta = np.arcsin(np.sqrt(3) / 2 * np.sin(np.radians(lat)))
    square = theta * theta
    sixth = square**3
    x = 2 * np.radians(lon) * np.cos(theta) / (np.sqrt(3) * (a + 3 * b * square + sixth * (7 * c + 9 * d * square)))
    return np.column_stack([x, theta * (a + b * square + sixth * (c + d * square))])


# -- Inside


def _window(points: Floats, south: float, north: float) -> tuple[float, float, float, float]:
    """What part of the plane is shown: around all points, or the world between two latitudes."""
    least, most = points.min(0), points.max(0)
    across, up = (1.3 * (most - least)).tolist()
    span = max(across, 2.0 * up, _SPAN_MIN)
    if span <= _SPAN_WORLD and (south, north) == (_SOUTH, _NORTH):
        x, y = ((least + most) / 2).tolist()
        return x - span / 2, x + span / 2, y - span / 4, y + span / 4
    edge = 1.01 * float(project(np.array([0.0]), np.array([180.0]))[0, 0])
    low, high = project(np.array([south, north]), np.zeros(2))[:, 1].tolist()
    return -edge, edge, low, high


def _radii(at: Floats, nodes: NDArray[np.int64]) -> Floats:
    """By the number of nodes, and so that neighbours leave each other room."""
    if len(at) < 2:
        return np.full(len(at), 12.0)
    apart = np.sqrt(((at[:, None] - at[None]) ** 2).sum(2))
    np.fill_diagonal(apart, np.inf)
    most = float(np.clip(np.quantile(apart.min(1), 0.4) / 1.6, 6.5, 14.0))
    share: Floats = np.sqrt(nodes / nodes.max())
    return most * (0.55 + 0.45 * share)


def _beside(site: StoreSite, point: list[float], marks: list[Mark]) -> Square:
    """A site of stores stands below and right of a mark that it would be on."""
    x, y = point
    for mark in marks:
        if abs(mark.x - x) < mark.radius + 4 and abs(mark.y - y) < mark.radius + 4:
            return Square(site, round(mark.x + mark.radius + 2.5, 1), round(mark.y + mark.radius + 2.5, 1))
    return Square(site, round(x, 1), round(y, 1))


def _labels(found: FleetMap, marks: list[Mark], squares: list[Square], size: tuple[float, float]) -> list[Label]:
    """Names of the worst marks, where they fit without covering anything."""
    taken = [(mark.x - mark.radius, mark.y - mark.radius, mark.x + mark.radius, mark.y + mark.radius) for mark in marks]
    taken += [(square.x - 4, square.y - 4, square.x + 4, square.y + 4) for square in squares]
    labels: list[Label] = []
    for mark in sorted(marks, key=lambda mark: (-found.state(mark.number), -found.out[mark.number], mark.number)):
        if len(labels) == _LABELS_MAX or found.state(mark.number) <= State.SOME_OUT:
            break
        text = found.cells[mark.number]
        width = _LETTER_WIDTH * len(text)
        aside = mark.radius + (6 if found.state(mark.number) in FLAGGED else 3)
        for x in (mark.x + aside, mark.x - aside - width):
            box = (x, mark.y - _LABEL_HEIGHT / 2, x + width, mark.y + _LABEL_HEIGHT / 2)
            inside = box[0] > 0 and box[1] > 0 and box[2] < size[0] and box[3] < size[1]
            if inside and not any(_overlap(box, other) for other in taken):
                labels.append(Label(text, round(x, 1), mark.y))
                taken.append(box)
                break
    return labels


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _seen(lines: list[Floats], size: tuple[float, float]) -> list[Floats]:
    """Those of which something may be seen, with a tenth of a pixel."""
    return [line.round(1) for line in lines if (line.max(0) >= 0).all() and (line.min(0) <= size).all()]


@cache
def _land() -> list[Floats]:
    """The coasts of the world, projected: rings of float64[n, 2]."""
    lines = files("faultset_ray.datasets").joinpath("land.txt").read_text(encoding="utf-8").splitlines()
    rings = []
    for line in lines:
        steps = np.array([pair.split(",") for pair in line.split()], np.int64)
        lon, lat = (steps.cumsum(0) / 10).T
        rings.append(project(lat, lon))
    return rings


def _sphere() -> Floats:
    up = np.linspace(-90.0, 90.0, 61)
    east = project(up, np.full(61, 180.0))
    return np.concatenate([east, project(up[::-1], np.full(61, -180.0))])


def _graticule() -> list[Floats]:
    up, along = np.linspace(-90.0, 90.0, 37), np.linspace(-180.0, 180.0, 37)
    meridians = [project(up, np.full(37, lon)) for lon in range(-150, 180, 30)]
    return meridians + [project(np.full(37, lat), along) for lat in (-60.0, -30.0, 0.0, 30.0, 60.0)]
