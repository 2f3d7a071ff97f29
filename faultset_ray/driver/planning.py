"""What another policy would change: a dry run on the live fleet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.answer import Survivors
from faultset_ray.control.dryrun import DryRun
from faultset_ray.control.policy import Policy

Strings = NDArray[np.object_]


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
        return f"Plan({len(self):,} nodes change, {len(self.joins):,} join the survivors, {len(self.leaves):,} leave)"
