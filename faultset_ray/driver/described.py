"""Results as plain values for JSON: one shape each, for commands and for the HTTP API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from faultset_ray.control.answer import Survivors
from faultset_ray.control.ladder import Tier
from faultset_ray.driver.object_values import ObjectStat, Receipt
from faultset_ray.driver.scrubbing import Cursor
from faultset_ray.driver.upkeep import SystemStatus


def told_survivors(answer: Survivors, regions: Sequence[str] | None = None) -> dict[str, Any]:
    """An answer, or what it says of some regions; those without an id are left out of ``by_region``."""
    wanted = list(answer.by_region) if regions is None else regions
    by_region = {name: answer.by_region[name].tolist() for name in wanted if name in answer.by_region}
    surviving, in_panic = _told_apart(answer, None if regions is None else list(by_region))
    short = answer.short
    return {
        "survivors": surviving,
        "named_in_panic": in_panic,
        "by_region": by_region,
        "tiers": {name: answer.tiers_of(name).tolist() for name in by_region if name in short},
        "short": short,
        "panic": answer.panic,
        "panic_withheld": answer.panic_withheld,
        "missing_regions": answer.missing_age_ms,
        "directory_age_ms": answer.directory_age_ms,
        "clock_ahead_ms": answer.clock_ahead_ms,
        "frozen_until_ms": answer.frozen_until_ms,
        "at_ms": answer.at_ms,
        "versions": answer.versions.to_dict(),
    }


def _told_apart(answer: Survivors, regions: list[str] | None) -> tuple[list[str], list[str]]:
    """Who survives, and who is only named since a region is in panic: of all, or for some regions, each once."""
    given = [(answer.ids, answer.tiers)]
    if regions is not None:
        given = [(answer.by_region[name], answer.tiers_of(name)) for name in regions]
    surviving = dict.fromkeys(each for ids, tiers in given for each in ids[tiers != Tier.PANIC].tolist())
    in_panic = dict.fromkeys(each for ids, tiers in given for each in ids[tiers == Tier.PANIC].tolist())
    return list(surviving), list(in_panic)


def told_receipt(receipt: Receipt) -> dict[str, Any]:
    """What was stored."""
    return {
        "name": receipt.name,
        "generation": receipt.generation,
        "size": receipt.size,
        "code": receipt.spec,
        "n_durable": receipt.n_durable,
        "survivable": receipt.survivable,
        "durability": receipt.durability,
    }


def told_stat(found: ObjectStat) -> dict[str, Any]:
    """How an object is."""
    locations = {
        index: {"store": store, "place": place, "path": path}
        for index, (store, place, path) in sorted(found.locations.items())
    }
    return {**asdict(found), "locations": locations}


def told_status(found: SystemStatus) -> dict[str, Any]:
    """How the objects of a system fare."""
    return {
        **asdict(found.tally),
        "healthy": found.healthy,
        "margins": found.margins,
        "lost": found.lost,
        "leaving": found.leaving,
        "orphans": found.orphans,
        "scrub": {"light": _pass(found.light), "deep": _pass(found.deep)},
        "stores": [
            {**asdict(store.row), "here": store.here, "unseen_s": store.unseen_s, "leaving": store.leaving}
            for store in found.stores
        ],
    }


def _pass(cursor: Cursor | None) -> Mapping[str, Any] | None:
    return None if cursor is None else {"began_ms": cursor.began_ms, "done_ms": cursor.done_ms}
