"""What drivers tell as metrics: what was answered and, of the one with the lease, how the system is.

All gauges are told by that driver: only it sees the whole. Beside them it tells when it last looked, and 0 when it
looks no more; so whoever reads a gauge knows whether it is of now.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Literal

from faultset_ray.backend.protocol import Backend
from faultset_ray.control.messages import Census
from faultset_ray.coordinator.objects import Tally
from faultset_ray.driver.inventory import Inventory
from faultset_ray.objects.needs import Needs
from faultset_ray.telemetry import metric_table as table
from faultset_ray.telemetry.metrics import count, listened, observe, put


@asynccontextmanager
async def told_answer(backend: Backend, fleet: str) -> AsyncIterator[Callable[..., None]]:
    """Have a question for survivors count; what is given is told whether the answer is ``whole``."""
    begun_s, outcome = backend.uptime_s(), "failed"

    def answered(*, whole: bool) -> None:
        nonlocal outcome
        outcome = "whole" if whole else "partial"

    try:
        yield answered
    finally:
        count(table.ANSWERS, 1, fleet, outcome)
        observe(table.ANSWER_SECONDS, backend.uptime_s() - begun_s, fleet)


def tell_observed(fleet: str, taken: int, given: int) -> None:
    """Tell how many of the samples that were given ranges took."""
    count(table.OBSERVATIONS, taken, fleet, "taken")
    count(table.OBSERVATIONS, given - taken, fleet, "passed_over")


# -- How the system is


def tell_looked(what: Literal["ranges", "stores", "objects"], now_ms: int) -> None:
    """Tell that this driver has the lease, and that its gauges of these are of now."""
    put(table.UPKEEP_TIMESTAMP, now_ms / 1000, what)


def tell_left() -> None:
    """Tell that it has not, or no longer: none of its gauges counts."""
    for what in table.WHAT.values:
        put(table.UPKEEP_TIMESTAMP, 0, what)


def tell_ranges(fleet: str, found: Sequence[Census | None], now_ms: int) -> None:
    """Tell how one fleet is: what each of its ranges said, None where it did not."""
    if not listened():
        return
    there = [census for census in found if census is not None]
    put(table.RANGES, len(there), fleet, "answering")
    put(table.RANGES, len(found) - len(there), fleet, "silent")
    heads = [census.headcount for census in there]
    for at, state in enumerate(table.STATES):
        put(table.NODES, sum(head.states[at] for head in heads), fleet, state)
    put(table.SURVIVORS, sum(head.survivors for head in heads), fleet)
    put(table.REGIONS_SHORT, sum(census.short for census in there), fleet)
    put(table.REGIONS_PANIC, sum(head.panicking for head in heads), fleet)
    newest = [head.newest_ms for head in heads if head.newest_ms is not None]
    oldest = [head.oldest_ms for head in heads if head.oldest_ms is not None]
    if newest:
        put(table.OBSERVATION_AGE, _seconds(now_ms, max(newest)), fleet, "newest")
    put(table.OBSERVATION_AGE, _seconds(now_ms, min(oldest, default=now_ms)), fleet, "oldest")
    dirty = [census.dirty_ms for census in there if census.dirty_ms is not None]
    put(table.CHECKPOINT_LAG, _seconds(now_ms, min(dirty, default=now_ms)), fleet)
    put(table.UNSAVED_CHANGES, sum(max(0, census.version - max(census.saved, 0)) for census in there), fleet)


def tell_stores(inventory: Inventory, regions: set[str]) -> None:
    """Tell how the stores are; ``regions`` are those that were told of before, to which this adds.

    A region whose last store was let go of is told with 0, as is the free share where no store answers.
    """
    if not listened():
        return
    infos = [info for uuid, info in inventory.here.items() if uuid in inventory.rows]
    put(table.STORES, len(infos) - len(inventory.leaving & inventory.here.keys()), "here")
    put(table.STORES, len(inventory.leaving), "leaving")
    put(table.STORES, len(inventory.away - inventory.gone), "away")
    put(table.STORES, len(inventory.gone), "gone")
    regions |= {info.region for info in infos} | {row.region for row in inventory.rows.values()}
    held, free = dict.fromkeys(regions, 0), dict.fromkeys(regions, 0)
    for info in infos:
        held[info.region] += info.used_bytes
        free[info.region] += info.free_bytes
    for region in sorted(regions):
        put(table.STORE_BYTES, held[region], region, "held")
        put(table.STORE_BYTES, free[region], region, "free")
    shares = (info.free_bytes / max(info.capacity_bytes, 1) for info in infos)
    put(table.STORE_FREE_RATIO, min(shares, default=0.0))


def tell_objects(tally: Tally, needs: Needs, scrubbed_ms: Mapping[str, int]) -> None:
    """Tell how the objects are, what waits, and by depth when the newest scrub began, 0 before the first."""
    lacking = dict.fromkeys(table.MARGINS, 0)
    for margin, objects in needs.margins.items():
        lacking["lost" if margin < 0 else str(margin) if margin < 3 else "3+"] += objects
    lacking["whole"] = max(0, tally.objects - sum(needs.margins.values()))
    for name, objects in lacking.items():
        put(table.OBJECTS, objects, name)
    put(table.OBJECT_BYTES, tally.bytes)
    waiting: Mapping[str, int] = {
        "repair": needs.count,
        "damage": tally.damage,
        "writes": tally.open_writes,
        "garbage": tally.garbage,
        "moves": tally.moves,
    }
    for queue, waits in waiting.items():
        put(table.QUEUE_DEPTH, waits, queue)
    for depth, began_ms in scrubbed_ms.items():
        put(table.SCRUB_TIMESTAMP, began_ms / 1000, depth)


def _seconds(now_ms: int, then_ms: int) -> float:
    return max(0, now_ms - then_ms) / 1000
