"""What another policy would change: a dry run on the live fleet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.answer import Survivors
from faultset_ray.control.dryrun import DryRun
from faultset_ray.control.ladder import Tier
from faultset_ray.policy import Policy

Strings = NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Served:
    """What an answer gives to one region."""

    ids: tuple[str, ...]
    """As ``by_region`` has them; none where it has none."""
    tiers: tuple[Tier, ...]
    """How each came to be named."""
    short: tuple[int, int] | None
    """Its own survivors, and its need, where it is short."""
    panic: str | None
    """The reason, where it is in panic."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, tiers by their labels."""
        tiers = [tier.name.lower() for tier in self.tiers]
        return {"ids": list(self.ids), "tiers": tiers, "short": self.short, "panic": self.panic}


@dataclass(frozen=True, slots=True)
class RegionDifference:
    """A region that is short now, or would be, and is given others then, or for another reason."""

    region: str
    live: Served
    planned: Served


class Plan:
    """The difference that a policy would make now; nothing was changed.

    Attributes
    ----------
    policy : Policy
        What was proposed.
    live, planned : Survivors
        The answer as it is, and as it would be.
    ids : object[k] of str
        Nodes whose state, or whether they survive, would change; the arrays below are beside it.
    before, after : uint8[k]
        Their states (:class:`~faultset_ray.control.states.State`).
    survived, survives : bool[k]
    rule : uint8[k]
        Why (:class:`~faultset_ray.control.states.Rule`).
    value, threshold : float64[k]
        What the rule looked at, and what it compared that with.
    """

    def __init__(
        self, policy: Policy, live: Survivors, planned: Survivors, all_ids: Strings, runs: Sequence[DryRun]
    ) -> None:
        self.policy = policy
        self.live = live
        self.planned = planned
        handles = np.concatenate([np.empty(0, np.uint32), *(run.handles for run in runs)])
        order = np.argsort(handles)

        def column(name: str, dtype: type[np.generic]) -> NDArray[Any]:
            joined = np.concatenate([np.empty(0, dtype), *(getattr(run, name) for run in runs)])[order]
            joined.flags.writeable = False
            return joined

        self.ids: Strings = all_ids[handles[order]]
        self.before: NDArray[np.uint8] = column("before", np.uint8)
        self.after: NDArray[np.uint8] = column("after", np.uint8)
        self.survived: NDArray[np.bool_] = column("survived", np.bool_)
        self.survives: NDArray[np.bool_] = column("survives", np.bool_)
        self.rule: NDArray[np.uint8] = column("rule", np.uint8)
        self.value: NDArray[np.float64] = column("value", np.float64)
        self.threshold: NDArray[np.float64] = column("threshold", np.float64)

    def shortages(self) -> Iterator[RegionDifference]:
        """Yield the regions whose shortage, panic or loans would change, in the order of the answer.

        Each is worked out when it is asked for, since who lends to whom is: there may be very many. What becomes
        of other regions is in ``ids`` and the arrays beside it.
        """
        short, panic = (self.live.short, self.planned.short), (self.live.panic, self.planned.panic)
        for region in dict.fromkeys([*short[0], *short[1]]):
            live, planned = (
                _served(answer, region, short[which].get(region), panic[which].get(region))
                for which, answer in enumerate((self.live, self.planned))
            )
            if live != planned:
                yield RegionDifference(region, live, planned)

    @property
    def joins(self) -> list[str]:
        """Ids of the nodes that would survive and don't now."""
        return [str(node_id) for node_id in self.ids[self.survives & ~self.survived]]

    @property
    def leaves(self) -> list[str]:
        """Ids of the nodes that survive and would not."""
        return [str(node_id) for node_id in self.ids[self.survived & ~self.survives]]

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        missing = len(self.live.missing_regions)
        unknown = f"; {missing:,} regions did not answer" if missing else ""
        changes = f"{len(self):,} nodes change, {len(self.joins):,} join the survivors, {len(self.leaves):,} leave"
        return f"Plan({changes}{unknown})"


def _served(answer: Survivors, region: str, short: tuple[int, int] | None, panic: str | None) -> Served:
    try:
        ids, tiers = answer.by_region[region], answer.tiers_of(region)
    except KeyError:
        return Served((), (), short, panic)
    return Served(tuple(ids.tolist()), tuple(map(Tier, tiers.tolist())), short, panic)
