"""What a map shows, in numbers: a fleet and an answer about it, put together for each mark on the map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.answer import Survivors
from faultset_ray.control.ladder import Tier
from faultset_ray.geohash import cells_to_strings, encode_many, group, parents, strings_to_cells
from faultset_ray.kernels.group import numbers_of
from faultset_ray.model import Fleet

MARKS_MAX: Final = 1024
"""Marks on a map: where a fleet has more regions, those of one larger cell are shown as one."""
EXAMPLES_MAX: Final = 3
"""Ids of nodes that are out, of each mark."""

Counts = NDArray[np.int64]
Degrees = NDArray[np.float64]
Flags = NDArray[np.bool_]


class State(IntEnum):
    """How a mark's regions are: the worst that holds for any of them, the worst last."""

    WHOLE = 0
    SOME_OUT = 1
    SHORT = 2
    EMPTY = 3
    PANIC = 4
    NO_ANSWER = 5


_WORDS: Final = {
    State.WHOLE: "all survive",
    State.SOME_OUT: "some are out",
    State.SHORT: "too few survivors",
    State.EMPTY: "without survivors",
    State.PANIC: "in panic",
    State.NO_ANSWER: "no answer",
}


class StoreSite(NamedTuple):
    """The stores of one region of places."""

    region: str
    cell: str
    """Geohash of where it is; empty where no place of it says so."""
    stores: int
    here: int
    """How many of them answer."""
    shards: int
    used_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class FleetMap:
    """A fleet by the marks of a map, in columns of one length m, at most ``MARKS_MAX``.

    Made by :meth:`AsyncDriver.map <faultset_ray.driver.asynchronous.AsyncDriver.map>`.
    """

    fleet: str
    at_ms: int
    threshold_ms: float
    precision: int
    """Geohash precision of the fleet's regions."""
    cells: tuple[str, ...]
    """Geohash of each mark: of a region, or of a larger cell with several."""
    lat: Degrees
    """float64[m]: the middle of the mark's nodes."""
    lon: Degrees
    """float64[m]"""
    regions: Counts
    """int64[m]: regions in one mark."""
    nodes: Counts
    """int64[m]"""
    survivors: Counts
    """int64[m]: own survivors, without what is named in panic."""
    unknown: Counts
    """int64[m]: nodes of regions that did not answer."""
    states: NDArray[np.uint8]
    """uint8[m]: :class:`State`."""
    examples: tuple[tuple[str, ...], ...]
    """Some ids of nodes that are out, of each mark."""
    sites: tuple[StoreSite, ...] = ()

    @property
    def out(self) -> Counts:
        """int64[m]: nodes that are known not to survive."""
        return self.nodes - self.survivors - self.unknown

    def state(self, mark: int) -> State:
        """How a mark is."""
        return State(int(self.states[mark]))

    def words(self, mark: int) -> str:
        """The same for people; of a mark for several regions it may be one of them that is so."""
        state = self.state(mark)
        partly = self.regions[mark] > 1 and state > State.SOME_OUT
        return f"in part: {_WORDS[state]}" if partly else _WORDS[state]

    def html(self) -> str:
        """The map as one page that needs nothing else; at most some 2 MB, whatever the fleet."""
        from faultset_ray.maps.page import page

        return page(self)

    def png(self, path: str | PathLike[str], *, width: int = 1440) -> None:
        """Write the same map as a picture, ``width`` pixels wide.

        Raises
        ------
        InputError
            It needs ``matplotlib``: the extra ``map``.
        OSError
            The file can't be written.
        """
        from faultset_ray.maps.picture import draw

        draw(self, Path(path), width)

    def described(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        columns = zip(
            self.cells,
            self.lat.round(4).tolist(),
            self.lon.round(4).tolist(),
            self.regions.tolist(),
            self.nodes.tolist(),
            self.survivors.tolist(),
            self.unknown.tolist(),
            self.states.tolist(),
            strict=True,
        )
        return {
            "fleet": self.fleet,
            "at_ms": self.at_ms,
            "precision": self.precision,
            "nodes": int(self.nodes.sum()),
            "survivors": int(self.survivors.sum()),
            "out": int(self.out.sum()),
            "unknown": int(self.unknown.sum()),
            "regions": int(self.regions.sum()),
            "marks": [
                {
                    "cell": cell,
                    "lat": lat,
                    "lon": lon,
                    "regions": regions,
                    "nodes": nodes,
                    "survivors": survivors,
                    "out": nodes - survivors - unknown,
                    "unknown": unknown,
                    "state": State(state).name.lower(),
                }
                for cell, lat, lon, regions, nodes, survivors, unknown, state in columns
            ],
            "stores": [site._asdict() for site in self.sites],
        }


def survey(fleet: Fleet, answer: Survivors, sites: Sequence[StoreSite] = ()) -> FleetMap:
    """Put a fleet, with its handles, and an answer about it together."""
    assert fleet.handles is not None, "a fleet that is registered"
    precision = answer.precision
    fine = group(encode_many(fleet.lat, fleet.lon, precision))
    shown = precision
    marks = group(fine.cells)
    while len(marks.cells) > MARKS_MAX:
        shown -= 1
        marks = group(parents(fine.cells, shown))
    region_of = numbers_of(fine, np.int64)
    mark_of_region = numbers_of(marks, np.int64)
    mark_of = mark_of_region[region_of]

    own = np.isin(fleet.handles, answer.handles[answer.tiers == Tier.OWN])
    silent = _flagged(fine.cells, answer.missing_regions)
    unknown = silent[region_of] & ~own
    out = ~own & ~unknown
    count = len(marks.cells)

    def summed(which: Flags) -> Counts:
        return np.bincount(mark_of[which], minlength=count)

    def some(regions: Flags) -> Flags:
        return np.bincount(mark_of_region[regions], minlength=count) > 0

    nodes = np.bincount(mark_of, minlength=count)
    empty = (np.bincount(region_of[own], minlength=len(fine.cells)) == 0) & ~silent
    states = np.full(count, State.WHOLE, np.uint8)
    for state, holds in (
        (State.SOME_OUT, summed(out) > 0),
        (State.SHORT, some(_flagged(fine.cells, list(answer.short)))),
        (State.EMPTY, some(empty)),
        (State.PANIC, some(_flagged(fine.cells, list(answer.panic)))),
        (State.NO_ANSWER, some(silent)),
    ):
        states[holds] = state
    return FleetMap(
        fleet=fleet.name,
        at_ms=answer.at_ms,
        threshold_ms=answer.threshold_ms,
        precision=precision,
        cells=tuple(cells_to_strings(marks.cells).tolist()),
        lat=np.bincount(mark_of, fleet.lat, count) / nodes,
        lon=np.bincount(mark_of, fleet.lon, count) / nodes,
        regions=np.diff(marks.starts),
        nodes=nodes,
        survivors=summed(own),
        unknown=summed(unknown),
        states=states,
        examples=_examples(fleet, mark_of, out, count),
        sites=tuple(sites),
    )


def _flagged(cells: NDArray[np.uint64], regions: Sequence[str]) -> Flags:
    """Which cells are among some regions."""
    return np.isin(cells, strings_to_cells(regions))


def _examples(fleet: Fleet, mark_of: Counts, out: Flags, count: int) -> tuple[tuple[str, ...], ...]:
    """The first ids of each mark that are out."""
    rows = np.flatnonzero(out)
    rows = rows[np.argsort(mark_of[rows], kind="stable")]
    starts = np.searchsorted(mark_of[rows], np.arange(count + 1))
    few = [rows[begin : min(begin + EXAMPLES_MAX, end)] for begin, end in pairwise(starts.tolist())]
    return tuple(tuple(fleet.ids[each].tolist()) for each in few)
