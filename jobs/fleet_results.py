"""The results of verbs of fleets; see :mod:`jobs.results`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypedDict

from faultset_ray.control.explain import Verdict
from faultset_ray.control.tally import Report
from faultset_ray.policy import Policy

Pair = tuple[int, int]


class Versions(TypedDict):
    """Where one is in the changes of a fleet, as ``since`` of a watch takes it."""

    birth: str
    ranges: Mapping[str, Pair]


class Failover(TypedDict):
    """What ``faultset failover`` tells."""

    survivors: list[str]
    regions: Mapping[str, int]
    empty_regions: list[str]
    nodes: int
    threshold_ms: float
    precision: int
    seconds: float


class Register(TypedDict):
    """What ``faultset register`` tells."""

    fleet: str
    system: str
    nodes: int
    precision: int
    policy: Policy | None
    seconds: float


class Observe(TypedDict):
    """What ``faultset observe`` tells."""

    fleet: str
    system: str
    observations: int
    taken: int
    missing_regions: list[str]
    torn_lines: list[int]


class Survivors(TypedDict):
    """What ``faultset survivors`` tells."""

    survivors: list[str]
    named_in_panic: list[str]
    by_region: Mapping[str, list[str]]
    tiers: Mapping[str, list[int]]
    short: Mapping[str, Pair]
    panic: Mapping[str, str]
    panic_withheld: Mapping[str, str]
    missing_regions: Mapping[str, int | None]
    directory_age_ms: int
    clock_ahead_ms: int
    frozen_until_ms: int | None
    at_ms: int
    versions: Versions


class Why(TypedDict):
    """What ``faultset why`` tells."""

    fleet: str
    system: str
    verdicts: list[Verdict]


class ServedRegion(TypedDict):
    """Whom a region is given."""

    ids: list[str]
    tiers: list[str]
    short: Pair | None
    panic: str | None


class Shortage(TypedDict):
    """A short region, now and under the policy that is planned."""

    live: ServedRegion
    planned: ServedRegion


class Plan(TypedDict):
    """What ``faultset plan`` tells."""

    fleet: str
    system: str
    policy: Policy
    applied: bool
    joins: list[str]
    leaves: list[str]
    survivors_live: int
    named_in_panic_live: int
    survivors_planned: int
    named_in_panic_planned: int
    shortages: Mapping[str, Shortage]
    missing_regions: list[str]


class Watch(TypedDict):
    """What ``faultset watch`` tells."""

    fleet: str
    system: str
    changes: int
    versions: Versions


class Mark(TypedDict):
    """What ``faultset mark`` tells."""

    fleet: str
    system: str
    mark: Literal["drain", "pin"] | None
    marked: int
    missing_regions: list[str]


class RegionRow(TypedDict):
    """One region; survivors are null where it did not answer."""

    nodes: int
    survivors: int | None


class Regions(TypedDict):
    """What ``faultset regions`` tells."""

    fleet: str
    system: str
    regions: Mapping[str, RegionRow]
    short: Mapping[str, Pair]
    panic: Mapping[str, str]
    panic_withheld: Mapping[str, str]
    missing_regions: Mapping[str, int | None]


class Replay(TypedDict):
    """What ``faultset replay`` tells."""

    trace: str
    policies: Mapping[str, Report]
    torn_lines: list[int]


class MapMark(TypedDict):
    """One mark of a map: a region, or several that are drawn as one."""

    cell: str
    lat: float
    lon: float
    regions: int
    nodes: int
    survivors: int
    out: int
    unknown: int
    state: str


class MapStores(TypedDict):
    """The stores of one region of places."""

    region: str
    cell: str
    stores: int
    here: int
    shards: int
    used_bytes: int


class Map(TypedDict):
    """What ``faultset map`` tells."""

    fleet: str
    at_ms: int
    precision: int
    nodes: int
    survivors: int
    out: int
    unknown: int
    regions: int
    marks: list[MapMark]
    stores: list[MapStores]
    page: str
    page_bytes: int
    png: str | None
