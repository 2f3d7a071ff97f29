"""Where something is to run: spread over all places, or packed onto few."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from faultset_ray.backend.protocol import At, Load, Place
from faultset_ray.errors import PlaceUnreachable

ROUNDING = 1e-6
"""CPU shares are sums of tenths."""


def choose_place(name: str, at: At, loads: Sequence[Load]) -> str:
    """The place that ``at`` names, else one to pack onto, else the one that hosts the fewest servants, first come.

    Raises
    ------
    PlaceUnreachable
        The named place is gone and ``at`` is not soft, or no place is left.
    """
    if at.place is not None:
        named = next((load for load in loads if load.place.id == at.place), None)
        if named is not None and (not at.soft or has_room(named, at.cpus)):
            return at.place
        if not at.soft:
            raise PlaceUnreachable(name, f"its place {at.place} is gone")
    loads = [load for load in loads if load.place.id not in at.avoid]
    if not loads:
        raise PlaceUnreachable(name, "there is no place left")
    if at.pack and (packed := to_pack_onto(loads, at.cpus)) is not None:
        return packed.place.id
    return min(loads, key=hosted).place.id


def list_loads(places: Collection[Place], hosting: Mapping[str, tuple[str, float]]) -> list[Load]:
    """The loads of places, from the place and the CPUs of each servant by name."""
    names: dict[str, set[str]] = {place.id: set() for place in places}
    free = {place.id: place.cpus for place in places}
    for name, (place, cpus) in hosting.items():
        if place in names:
            names[place].add(name)
            free[place] -= cpus
    return [Load(place, free[place.id], frozenset(names[place.id])) for place in places]


def to_pack_onto(loads: Iterable[Load], cpus: float) -> Load | None:
    """Of the places that have room for ``cpus``, the one that is least likely to become empty; None if all are full."""
    return min((load for load in loads if has_room(load, cpus)), key=pack_order, default=None)


def pack_order(load: Load) -> tuple[bool, int, str]:
    """A sort key: places that stay even if they are empty first, then those that host the most."""
    return load.place.elastic, -hosted(load), load.place.id


def hosted(load: Load) -> int:
    """How many servants are there, whoever's they are."""
    return len(load.servants) + load.others


def has_room(load: Load, cpus: float) -> bool:
    """Whether ``cpus`` more fit there; a place that is being drained takes nothing more."""
    return not load.place.draining and load.free_cpus >= cpus - ROUNDING
