"""Which servants to move so that places become empty, and an autoscaler can take them away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from faultset_ray.backend.protocol import Load
from faultset_ray.backend.spread import ROUNDING, pack_order


def plan_packing(loads: Sequence[Load], movable: Mapping[str, float]) -> dict[str, str]:
    """Empty as many elastic places as can be, each wholly or not at all, onto others that stay in use.

    First-fit decreasing: the emptiest places are emptied first, onto those that stay anyhow, then onto the
    fullest. A place is left alone where something is that can't be moved, or where tasks run: there the load
    has not fallen. One that is being drained is emptied before all others, elastic or not, of what can be
    moved, and onto empty places too if need be; nothing moves to it.

    Parameters
    ----------
    loads
        What every place carries.
    movable
        By name the CPUs that each servant asks for that may be moved. One that is nowhere is passed over.

    Returns
    -------
    dict
        The new place of each servant to be moved, by name. Each plan leaves fewer places in use, so planning
        again after the moves comes to an end.
    """
    order = sorted(loads, key=pack_order)
    host = {name: load.place.id for load in order for name in load.servants if name in movable}
    free = {load.place.id: load.free_cpus for load in order if not load.place.draining}
    stays = {load.place.id for load in order if _stays(load, movable)}
    moved: dict[str, str] = {}
    draining = [load for load in order if load.place.draining]
    for load in [*draining, *(load for load in reversed(order) if not load.place.draining)]:
        place = load.place.id
        guests = sorted((name for name, at in host.items() if at == place), key=lambda name: (-movable[name], name))
        if place in stays and not load.place.draining:
            continue
        allowed = free.keys() - {place}
        if not load.place.draining:
            allowed &= stays | set(host.values())
        room = {other.place.id: free[other.place.id] for other in order if other.place.id in allowed}
        targets = _fit([(name, movable[name]) for name in guests], room)
        if targets is None:
            continue
        free = {**free, **room}
        free.pop(place, None)
        host |= targets
        moved |= targets
    return moved


def _stays(load: Load, movable: Mapping[str, float]) -> bool:
    """Whether a place remains in use even if all that is movable leaves it."""
    ours = sum(movable[name] for name in load.servants if name in movable)
    return (
        not load.place.elastic
        or load.others > 0
        or not load.servants <= movable.keys()
        or load.place.cpus - load.free_cpus > ours + ROUNDING
    )


def _fit(guests: Sequence[tuple[str, float]], room: dict[str, float]) -> dict[str, str] | None:
    """Give each guest the first place that has room for it, taking it from ``room``; None if one finds none."""
    targets: dict[str, str] = {}
    for name, cpus in guests:
        target = next((place for place, free in room.items() if free >= cpus - ROUNDING), None)
        if target is None:
            return None
        room[target] -= cpus
        targets[name] = target
    return targets
