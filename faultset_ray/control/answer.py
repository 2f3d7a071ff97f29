"""The answer about one fleet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultset_ray import columns
from faultset_ray.control.compose import Composed, Shortage
from faultset_ray.control.ladder import Ladder, Tier
from faultset_ray.control.metering import count_spill
from faultset_ray.control.missing import Missing
from faultset_ray.control.versions import Version, Versions
from faultset_ray.errors import EmptyNodesError, InvalidGeohashError
from faultset_ray.geohash import cells_to_strings, precisions, strings_to_cells
from faultset_ray.kernels.objects import pick
from faultset_ray.policy import Policy

Strings = NDArray[np.object_]
Tiers = NDArray[np.uint8]


_COMPOSED = frozenset({"handles", "frozen_until_ms", "_cells", "_starts", "_shortage"})
"""What of an answer is worked out when it is first looked at."""
_NAMED = frozenset({"_missing", "_ages"})
"""What is named when it is first looked at: a lost range may have a hundred thousand regions."""


class Survivors:
    """Who can be trusted, and what is not known: one answer about one fleet, immutable.

    All arrays are read-only; lists and mappings are made anew each time they are asked for.

    Attributes
    ----------
    fleet : str
    threshold_ms : float
    at_ms : int
        When the question was asked.
    handles : uint32[s]
        The survivors: regions in order of first registration, each ascending by latency. In a region in
        panic the rest of its nodes follow.
    versions : Versions, a mapping of range to (epoch, version)
        Which state of each range that answered this is; its ``birth`` says of which history of the fleet.
    missing_regions : list of str
        Geohashes of the regions that did not answer in time. Their nodes are neither survivors nor dead. They borrow
        as a region without survivors does.
    missing_age_ms : mapping of str to int or None
        For each missing region, how old is what was last saved of it; None where nothing was.
    empty_regions : list of str
        Geohashes of the regions that answered, where no node survives.
    directory_age_ms : int
        Where the coordinator did not answer in time: how old what the driver knows of nodes and ranges is; else 0.
    clock_ahead_ms : int
        By how much this driver's clock was ahead of that of a machine with a region, where it was not believed; else 0.
    policy : Policy or None
        Under which nodes survive; None for the plain rule at ``threshold_ms``.
    short : mapping of str to (have, need)
        Regions below the policy's ``survivors_min``, or not yet well above it again: their own survivors,
        and the need. These borrow, as far as the policy's ``fallback`` goes.
    panic : mapping of str to str
        Regions for which the fallback found too few: all their other nodes are named too, and here is why.
    panic_withheld : mapping of str to str
        Regions that would be in panic, but that regions within reach of the fallback did not answer, which may have
        somebody to lend: why, and how many did not. Their other nodes are not named.
    frozen_until_ms : int or None
        Until when ejections are frozen; None if they are not.
    """

    fleet: str
    threshold_ms: float
    at_ms: int
    directory_age_ms: int
    clock_ahead_ms: int
    handles: NDArray[np.uint32]
    policy: Policy | None
    frozen_until_ms: int | None
    _versions: Versions
    _missing: tuple[str, ...]
    _ages: dict[str, int | None]
    _all_ids: Strings | None
    _cells: NDArray[np.uint64]
    _starts: NDArray[np.int64]
    _shortage: Shortage | None

    def __init__(
        self,
        fleet: str,
        threshold_ms: float,
        at_ms: int,
        ids: Strings,
        composed: Composed | Callable[[], Composed],
        versions: Mapping[int, Version],
        missing: Missing | Sequence[str],
        *,
        policy: Policy | None = None,
        directory_age_ms: int = 0,
        clock_ahead_ms: int = 0,
        birth: str = "",
    ) -> None:
        self.__setstate__(
            {
                "fleet": fleet,
                "threshold_ms": threshold_ms,
                "at_ms": at_ms,
                "directory_age_ms": directory_age_ms,
                "clock_ahead_ms": clock_ahead_ms,
                "policy": policy,
                "_versions": Versions(versions, birth),
                "_all_ids": ids,
            }
        )
        if isinstance(missing, Missing) and missing:
            self.__dict__["_naming"] = missing
        else:
            self.__setstate__({"_missing": () if isinstance(missing, Missing) else tuple(missing), "_ages": {}})
        if callable(composed):
            self.__dict__["_composing"] = composed
        else:
            self._compose(composed)

    def __getattr__(self, name: str) -> Any:
        """Put the parts together when something of the whole is first asked for."""
        if name in _NAMED:
            missing: Missing | None = self.__dict__.get("_naming")
            if missing is not None:
                self.__setstate__({"_missing": missing.regions, "_ages": missing.ages_ms})
                self.__dict__.pop("_naming", None)
        elif name not in _COMPOSED:
            raise AttributeError(name)
        composing = self.__dict__.get("_composing")  # gone where another thread was faster
        if name in _COMPOSED and composing is not None:
            self._compose(composing())
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(name) from None

    def _compose(self, composed: Composed) -> None:
        self.__setstate__(
            {
                "handles": composed.handles,
                "frozen_until_ms": composed.frozen_until_ms,
                "_cells": composed.cells,
                "_starts": composed.starts,
                "_shortage": composed.shortage,
            }
        )
        self.__dict__.pop("_composing", None)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Survivors are immutable; {name} can't be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"Survivors are immutable; {name} can't be deleted")

    @cached_property
    def ids(self) -> Strings:
        """object[s] of str: the survivors' ids, in the order of ``faultset()`` on registration order."""
        assert self._all_ids is not None
        ids = pick(self._all_ids, self.handles)
        ids.flags.writeable = False
        return ids

    @cached_property
    def tiers(self) -> Tiers:
        """uint8[s]: the :class:`~faultset_ray.control.ladder.Tier` of each: own, or named in panic."""
        tiers = np.zeros(len(self), np.uint8)
        if self._shortage is not None and self._shortage.panic.any():
            named_from = np.repeat(self._starts[:-1] + self._own, np.diff(self._starts))
            tiers[np.arange(len(self)) >= named_from] = Tier.PANIC
        tiers.flags.writeable = False
        return tiers

    @cached_property
    def by_region(self) -> Mapping[str, Strings]:
        """Ids by region (geohash), for regions that have any: own survivors, then borrowed, then those named in panic.

        Made as it is looked at: what a region borrows is found when it is asked for.
        """
        return _ByRegion(self)

    def tiers_of(self, region: str) -> Tiers:
        """Return uint8[m], the :class:`~faultset_ray.control.ladder.Tier` of each id in ``by_region[region]``.

        Raises
        ------
        KeyError
            The region has no id.
        """
        by_region = self.by_region
        assert isinstance(by_region, _ByRegion)
        return by_region.resolve(region)[1]

    @property
    def versions(self) -> Versions:
        """See the class."""
        return self._versions.copy()

    @property
    def missing_regions(self) -> list[str]:
        """See the class."""
        return list(self._missing)

    @property
    def missing_age_ms(self) -> dict[str, int | None]:
        """See the class."""
        return {region: self._ages.get(region) for region in self._missing}

    @property
    def empty_regions(self) -> list[str]:
        """See the class."""
        return [str(text) for text in cells_to_strings(self._cells[self._own == 0])]

    @property
    def short(self) -> dict[str, tuple[int, int]]:
        """See the class."""
        if self._shortage is None:
            return {}
        assert self.policy is not None
        regions = cells_to_strings(self._cells[self._shortage.groups]).tolist()
        return {
            region: (own, self.policy.survivors_min)
            for region, own in zip(regions, self._shortage.own.tolist(), strict=True)
        }

    @property
    def panic(self) -> dict[str, str]:
        """See the class."""
        return {} if self._shortage is None else self._reasons(self._shortage, self._shortage.panic)

    @property
    def panic_withheld(self) -> dict[str, str]:
        """See the class."""
        return {} if self._shortage is None else self._reasons(self._shortage, self._shortage.silent > 0)

    def _reasons(self, shortage: Shortage, which: NDArray[np.bool_]) -> dict[str, str]:
        """Why some of the flagged regions are in panic, or would be."""
        if not which.any():
            return {}
        assert self.policy is not None
        cells, own = self._cells[shortage.groups[which]], shortage.own[which]
        found = self._ladder.found(cells, own)
        counts = own.tolist(), found.tolist(), shortage.silent[which].tolist()
        regions = cells_to_strings(cells).tolist()
        return {region: _reason(self.policy, *row) for region, *row in zip(regions, *counts, strict=True)}

    @property
    def precision(self) -> int:
        """Geohash precision of the fleet's regions.

        Raises
        ------
        EmptyNodesError
            There is no region.
        """
        cells = self._cells[:1] if len(self._cells) else strings_to_cells(list(self._missing[:1]))
        if not len(cells):
            raise EmptyNodesError
        return int(precisions(cells)[0])

    @property
    def whole(self) -> bool:
        """Whether every region answered."""
        return "_naming" not in self.__dict__ and not self._missing

    def __len__(self) -> int:
        return len(self.handles)

    def __repr__(self) -> str:
        missing = f", {len(self._missing)} regions missing" if self._missing else ""
        panic = 0 if self._shortage is None else int(self._shortage.panic.sum())
        named = int(np.count_nonzero(self.tiers == Tier.PANIC)) if panic else 0
        panicking = f", {named:,} more named in {panic:,} regions in panic" if panic else ""
        survive = len(self) - named
        return f"Survivors({self.fleet!r}, {survive:,} of threshold {self.threshold_ms:g} ms{missing}{panicking})"

    @cached_property
    def _own(self) -> NDArray[np.int64]:
        """int64[g]: survivors of each region, without what is named in panic."""
        own = np.diff(self._starts)
        if self._shortage is not None:
            own[self._shortage.groups] = self._shortage.own
        return own

    def _own_if_flagged(self, group: int) -> int | None:
        """Survivors of a region if it is flagged, else None."""
        if self._shortage is None:
            return None
        place = np.searchsorted(self._shortage.groups, group)
        flagged = place < len(self._shortage.groups) and self._shortage.groups[place] == group
        return int(self._shortage.own[place]) if flagged else None

    @cached_property
    def _ladder(self) -> Ladder:
        assert self.policy is not None
        return Ladder(self._cells, self._own, self.policy)

    def __getstate__(self) -> dict[str, Any]:
        """Only the survivors' own ids travel, as one text if they can, not the fleet's."""
        state = {name: getattr(self, name) for name in Survivors.__annotations__}
        listed = self.ids.tolist()
        text = "\n".join(listed)
        return {**state, "_all_ids": None, "ids": text if text.count("\n") == len(listed) - 1 else listed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Fill the instance; an array that came by an older pickle protocol is writable, and is not kept so."""
        for name, value in state.items():
            self.__dict__[name] = _frozen(name, value)


def _frozen(name: str, value: Any) -> Any:
    if name == "ids":
        value = columns.objects(value.split("\n") if isinstance(value, str) else value)
        value.flags.writeable = False
    elif isinstance(value, Shortage):
        value = Shortage(*map(columns.frozen, value))
    elif isinstance(value, np.ndarray):
        value = columns.frozen(value)
    return value


def _reason(policy: Policy, own: int, found: int, silent: int) -> str:
    reason = f"{own} of the {policy.survivors_min} needed survive, fallback {policy.fallback!r} adds {found}"
    return reason if not silent else f"{reason}, and {silent:,} region{'s' * (silent > 1)} within reach did not answer"


class _ByRegion(Mapping[str, Strings]):
    """A region is looked up by its cell; names of all are made for who lists them."""

    def __init__(self, survivors: Survivors) -> None:
        self._survivors = survivors
        self._by_cell = np.argsort(survivors._cells)  # noqa: SLF001 - one value in two classes
        self._resolved: dict[int | str, tuple[Strings, Tiers]] = {}

    def __getitem__(self, region: str) -> Strings:
        return self.resolve(region)[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    @cached_property
    def _names(self) -> list[str]:
        answer = self._survivors
        some = np.diff(answer._starts) > 0  # noqa: SLF001
        if (shortage := answer._shortage) is not None:  # noqa: SLF001
            some[shortage.groups] |= answer._ladder.finds_some(answer._cells[shortage.groups], shortage.own)  # noqa: SLF001
        names: list[str] = cells_to_strings(answer._cells[some]).tolist()  # noqa: SLF001
        if self._missing:
            cells = strings_to_cells(list(answer._missing))  # noqa: SLF001
            lent = answer._ladder.finds_some(cells, np.zeros(len(cells), np.int64))  # noqa: SLF001
            names += [region for region, some in zip(answer._missing, lent.tolist(), strict=True) if some]  # noqa: SLF001
        return names

    @cached_property
    def _missing(self) -> frozenset[str]:
        """Missing regions, if they may borrow."""
        policy = self._survivors.policy
        borrows = policy is not None and policy.survivors_min > 0
        return frozenset(self._survivors._missing if borrows else ())  # noqa: SLF001

    def _group_of(self, region: str) -> int:
        """Which group a region is."""
        cells = self._survivors._cells  # noqa: SLF001
        try:
            cell = strings_to_cells([region])[0]
        except InvalidGeohashError:
            raise KeyError(region) from None
        at = int(np.searchsorted(cells, cell, sorter=self._by_cell))
        if at == len(cells) or cells[self._by_cell[at]] != cell or region != region.lower():
            raise KeyError(region)
        return int(self._by_cell[at])

    def resolve(self, region: str) -> tuple[Strings, Tiers]:
        """Ids of a region, and their tiers."""
        key = region if region in self._missing else self._group_of(region)
        found = self._resolved.get(key)
        if found is None:
            found = self._resolved[key] = self._lent(key) if isinstance(key, str) else self._resolve(key)
            count_spill(found[1])
        if len(found[0]) == 0:
            raise KeyError(region)
        return found

    def _lent(self, region: str) -> tuple[Strings, Tiers]:
        """What a missing region borrows."""
        answer = self._survivors
        loan = answer._ladder.borrow(strings_to_cells([region])[0], 0)  # noqa: SLF001
        firsts = answer._starts[loan.groups]  # noqa: SLF001
        lent = [answer.ids[first : first + count] for first, count in zip(firsts, loan.counts, strict=True)]
        ids, tiers = np.concatenate([answer.ids[:0], *lent]), np.repeat(loan.tiers, loan.counts)
        ids.flags.writeable = tiers.flags.writeable = False
        return ids, tiers

    def _resolve(self, group: int) -> tuple[Strings, Tiers]:
        answer = self._survivors
        begin, end = answer._starts[group : group + 2].tolist()  # noqa: SLF001
        own = answer._own_if_flagged(group)  # noqa: SLF001
        if own is None:
            return answer.ids[begin:end], answer.tiers[begin:end]
        loan = answer._ladder.borrow(answer._cells[group], own)  # noqa: SLF001
        firsts = answer._starts[loan.groups]  # noqa: SLF001
        lent = [answer.ids[first : first + count] for first, count in zip(firsts, loan.counts, strict=True)]
        ids = np.concatenate([answer.ids[begin : begin + own], *lent, answer.ids[begin + own : end]])
        tiers = np.repeat(
            np.array([Tier.OWN, *loan.tiers, Tier.PANIC], np.uint8), [own, *loan.counts, end - begin - own]
        )
        ids.flags.writeable = tiers.flags.writeable = False
        return ids, tiers
