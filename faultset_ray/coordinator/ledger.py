"""The state of a coordinator while it serves: the fleets in memory, as the catalog has them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import Clock
from faultset_ray.control.census import Freeze
from faultset_ray.control.ranges import plan_bounds, range_of
from faultset_ray.coordinator.catalog import Catalog
from faultset_ray.coordinator.claims import Claims
from faultset_ray.coordinator.directory import Directory, RangeInfo, first_ranges
from faultset_ray.coordinator.home import StateHome
from faultset_ray.coordinator.keeping import Keeping
from faultset_ray.coordinator.moves import Move
from faultset_ray.coordinator.object_ledger import ObjectLedger
from faultset_ray.coordinator.roster import Columns, Kind, Roster
from faultset_ray.coordinator.shelf import Shelf
from faultset_ray.errors import StateFailure, UnknownFleet
from faultset_ray.policy import Policy
from faultset_ray.telemetry import events


@dataclass(slots=True)
class Known:
    """One fleet in memory."""

    key: int
    """In the catalog."""
    roster: Roster
    directory: Directory
    next_range: int
    moves: dict[int, Move] = field(default_factory=dict)
    """Those that are not ended."""
    freeze: Freeze | None = None
    claims: Claims = field(default_factory=Claims)


class Ledger:
    """Every fleet of one system. A change is in the catalog, and so on the disk, before it is in memory.

    Raises
    ------
    StateInUse, UnsupportedState, StateFailure
    """

    def __init__(self, system: str, home: StateHome | None, identity: bytes, clock: Clock) -> None:
        try:
            self.catalog = Catalog(home, system, identity)
            self.keeping = Keeping(self.catalog)
            self.shelf = Shelf(self.catalog)
            self.objects = ObjectLedger(self.catalog, clock)
            self.fleets = {known.directory.fleet.name: known for known in self._loaded()}
        except BaseException:
            if home is not None:
                home.close()
            raise
        if home is not None:
            events.COORDINATOR_STARTED.tell(system=system, epoch=self.catalog.epoch, path=home.path)

    def known(self, fleet: str) -> Known:
        """A fleet by its name."""
        known = self.fleets.get(fleet)
        if known is None:
            raise UnknownFleet(fleet, sorted(self.fleets))
        return known

    def found(
        self,
        name: str,
        batch: Columns,
        precision: int,
        ranges_max: int,
        policy: Policy | None,
        request: bytes | None,
    ) -> Known:
        """A fleet's first registration."""
        bounds = plan_bounds(batch["cells"], ranges_max)
        ranges = first_ranges(bounds)
        with self.catalog.transaction():
            self.catalog.note(request)
            key = self.catalog.put_fleet(name, precision, len(ranges))
            self.catalog.put_policy(key, 1, policy or Policy())
            self.catalog.put_ranges(key, 1, ranges)
            self.catalog.log(key, Kind.REGISTER, batch)
        roster = Roster()
        roster.apply(Kind.REGISTER, batch, 1)
        birth = self.catalog.birth(key)
        directory = _directory(name, roster, precision, ranges, 1, policy or Policy(), 1, birth)
        known = self.fleets[name] = Known(key, roster, directory, len(ranges))
        return known

    def change(
        self,
        known: Known,
        kind: Kind,
        batch: Columns,
        touched: tuple[int, ...],
        request: bytes | None,
        policy: Policy | None = None,
    ) -> None:
        """Write a batch down, then do what it says."""
        now = known.directory
        version = now.version + 1
        ranges = tuple(replace(info, roster=version) if info.id in touched else info for info in now.ranges)
        with self.catalog.transaction():
            self.catalog.note(request)
            self.catalog.log(known.key, kind, batch)
            self.catalog.put_ranges(known.key, version, ranges)
            if policy is not None:
                self.catalog.put_policy(known.key, version, policy)
        known.roster.apply(kind, batch, version)
        if kind is Kind.REGISTER:
            decided = (now.policy, now.policy_version) if policy is None else (policy, version)
            known.directory = _directory(
                now.fleet.name, known.roster, now.precision, ranges, version, *decided, now.birth
            )
        else:
            living, marks = known.roster["living"].copy(), known.roster["marks"].copy()
            known.directory = replace(now, ranges=ranges, version=version, living=living, marks=marks)
        if self.catalog.log_is_long(known.key, len(known.roster)):
            try:
                self.catalog.compact(known.key, known.roster.whole())
            except StateFailure as error:
                events.FLEET_LOG_LONG.tell(fleet=now.fleet.name, error=error)

    def put_ranges(self, known: Known, ranges: tuple[RangeInfo, ...]) -> None:
        """Write a fleet's ranges down as they are from now on."""
        version = known.directory.version + 1
        with self.catalog.transaction():
            self.catalog.put_ranges(known.key, version, ranges)
        known.directory = replace(known.directory, ranges=ranges, version=version)

    # -- Inside

    def _loaded(self) -> Iterator[Known]:
        """The fleets as the catalog has them."""
        for row in self.catalog.fleets():
            roster = Roster()
            for kind, batch in self.catalog.batches(row.key):
                roster.apply(kind, batch, row.version)
            directory = _directory(
                row.name,
                roster,
                row.precision,
                self.catalog.ranges(row.key),
                row.version,
                Policy.from_json(row.policy),
                row.policy_version,
                self.catalog.birth(row.key),
            )
            yield Known(row.key, roster, directory, row.next_range, self.shelf.open(row.key, row.name))


def touched_by(directory: Directory, cells: NDArray[np.uint64]) -> tuple[int, ...]:
    """The ids of the ranges that some cells are in."""
    positions = np.unique(range_of(directory.bounds, cells))
    return tuple(directory.ranges[position].id for position in positions)


def leaving_of(
    directory: Directory, handles: NDArray[np.uint32], before: NDArray[np.uint64], after: NDArray[np.uint64]
) -> dict[int, NDArray[np.uint32]]:
    """By range, which nodes leave it for another one as their cells change."""
    source = range_of(directory.bounds, before)
    leaves = source != range_of(directory.bounds, after)
    return {
        directory.ranges[position].id: handles[leaves & (source == position)] for position in np.unique(source[leaves])
    }


def _directory(
    name: str,
    roster: Roster,
    precision: int,
    ranges: tuple[RangeInfo, ...],
    version: int,
    policy: Policy,
    policy_version: int,
    birth: str,
) -> Directory:
    return Directory(
        roster.fleet(name),
        roster["cells"].copy(),
        precision,
        ranges,
        version,
        roster["registered_ms"].copy(),
        roster["living"].copy(),
        roster["marks"].copy(),
        policy,
        policy_version,
        birth,
    )
