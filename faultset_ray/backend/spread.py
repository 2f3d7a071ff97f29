"""Where an in-process backend runs something."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from faultset_ray.backend.protocol import At
from faultset_ray.errors import PlaceUnreachable


def choose_place(name: str, at: At, alive: Collection[str], hosting: Iterable[str]) -> str:
    """The place that ``at`` names, else the one that hosts the fewest servants, first come.

    Raises
    ------
    PlaceUnreachable
        The named place is gone and ``at`` is not soft, or no place is left.
    """
    if at.place is not None:
        if at.place in alive:
            return at.place
        if not at.soft:
            raise PlaceUnreachable(name, f"its place {at.place} is gone")
    if not alive:
        raise PlaceUnreachable(name, "there is no place left")
    loads = dict.fromkeys(alive, 0)
    for place in hosting:
        loads[place] += 1
    return min(loads, key=loads.__getitem__)
