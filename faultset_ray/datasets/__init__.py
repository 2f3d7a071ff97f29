"""Real fleets to begin with: Azure's regions and the round-trip times that are published between them.

Source, date and licence of the data stand in ``ATTRIBUTION.md`` beside this module.
"""

from __future__ import annotations

import csv
import difflib
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultset_ray.errors import InputError
from faultset_ray.model import Fleet

OWN_REGION_MS: Final = 1.0
"""Round trip inside the observer's own region, which is not published: a stated assumption."""
JITTER: Final = 0.05
"""A node's latency differs from its region's median by at most this part of it."""
SCATTER_DEG: Final = 0.03
"""A node stands at most this far from its region's published place, in each direction: 3.3 km."""


class Regions(NamedTuple):
    """Columns of regions, alphabetical by name; the arrays are shared and read-only."""

    names: tuple[str, ...]
    """Azure's short form, ``westeurope``."""
    titles: tuple[str, ...]
    """What people read, ``West Europe``."""
    lat: NDArray[np.float64]
    """Degrees north."""
    lon: NDArray[np.float64]
    """Degrees east."""


def _rows(filename: str) -> list[list[str]]:
    return list(csv.reader(files(__name__).joinpath(filename).read_text(encoding="utf-8").splitlines()))


def _column(values: list[str]) -> NDArray[np.float64]:
    column = np.array([float(value or "nan") for value in values])
    column.flags.writeable = False
    return column


@cache
def azure_regions() -> Regions:
    """Azure's regions with their published places."""
    names, titles, lat, lon = (list(column) for column in zip(*_rows("azure_regions.csv")[1:], strict=True))
    return Regions(tuple(names), tuple(titles), _column(lat), _column(lon))


@cache
def azure_rtt_ms() -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Published median round-trip times between Azure's regions.

    Returns
    -------
    names
        The regions, in the order of :func:`azure_regions`.
    rtt_ms
        float64[n, n], row = from, column = to, in milliseconds; NaN where no figure is published, as on
        the diagonal. Almost but not exactly symmetric, as published. Shared and read-only.
    """
    header, *rows = _rows("azure_rtt_ms.csv")
    rtt_ms = _column([value for row in rows for value in row[1:]]).reshape(len(rows), len(rows))
    return tuple(header[1:]), rtt_ms


def azure_fleet(observer: str = "westeurope", per_region: int = 4, seed: int = 0) -> Fleet:
    """A fleet of nodes in every Azure region, as one of these regions sees it.

    Parameters
    ----------
    observer
        The region that measures, by its short name.
    per_region
        Nodes in each region, at least 1; their ids are ``westeurope-01``, ``westeurope-02``, …
    seed
        Of the scatter and the jitter; equal arguments give equal fleets.

    Returns
    -------
    Fleet
        Region after region, alphabetical. A node stands at its region's published place, scattered by at
        most :data:`SCATTER_DEG`. Its latency is the published median from the observer to its region (or
        back, where only that is published), times 1 ± :data:`JITTER`, rounded to the microsecond;
        :data:`OWN_REGION_MS` in place of a median in the observer's own region; NaN, "no measurement",
        where neither direction is published.

    Raises
    ------
    InputError
        For an observer that is no region, fewer than one node a region, or a negative seed.
    """
    regions = azure_regions()
    if observer not in regions.names:
        near = difflib.get_close_matches(str(observer), regions.names, n=1)
        raise InputError(f"{observer!r} is not a region of the data" + (f"; did you mean {near[0]!r}?" if near else ""))
    for name, value, least in (("per_region", per_region, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"{name} is {value!r}; expected an integer of {least} or more")
    count = len(regions.names) * per_region
    draws = np.random.Generator(np.random.PCG64(seed)).uniform(-1.0, 1.0, (3, count))

    ids = [f"{name}-{number:02d}" for name in regions.names for number in range(1, per_region + 1)]
    lat = np.repeat(regions.lat, per_region) + SCATTER_DEG * draws[0]
    lon = np.repeat(regions.lon, per_region) + SCATTER_DEG * draws[1]
    latency_ms = np.repeat(_seen_from(observer), per_region) * (1.0 + JITTER * draws[2])
    return Fleet(ids, lat.round(4), lon.round(4), latency_ms.round(3))


def _seen_from(observer: str) -> NDArray[np.float64]:
    names, rtt_ms = azure_rtt_ms()
    at = names.index(observer)
    seen = np.where(np.isnan(rtt_ms[at]), rtt_ms[:, at], rtt_ms[at])
    seen[at] = OWN_REGION_MS
    return seen
