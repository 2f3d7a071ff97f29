"""What an operator wants to hear of regions, besides of nodes: shortage, panic and freeze, when they begin and end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.decisions import survives
from faultset_ray.control.health import Changes, Health
from faultset_ray.control.ladder import flag_regions
from faultset_ray.control.states import Mark, Rule, State
from faultset_ray.kernels.health import NEVER
from faultset_ray.policy import Policy
from faultset_ray.telemetry import events

Cells = NDArray[np.uint64]

NOBODY: Final = (1 << 32) - 1
"""Stands for a node's handle in changes that are not about one."""
_NONE: Final = np.empty(0, np.uint64)
_WHOLE_RANGE: Final = np.zeros(1, np.uint64)


@dataclass(frozen=True, slots=True, eq=False)
class Alarms:
    """What is going on in the regions of one range; a value. What makes another of it tells what began or ended."""

    flagged: Cells = field(default_factory=_NONE.copy)
    """uint64[f]: regions below their need, or not yet well above it again."""
    panicking: Cells = field(default_factory=_NONE.copy)
    """uint64[p], ascending: those of them that are in panic."""
    freeze: tuple[int, int] | None = None
    """Since and until when ejections are frozen; it may be over."""
    frozen: bool = False
    """Whether it was told that they are, and not yet that they are no more."""
    full: Cells = field(default_factory=_NONE.copy)
    """uint64[r]: those of the flagged that have what they need, and no node more that could survive."""
    full_ms: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """int64[r]: since when."""

    def freeze_under(self, policy: Policy, now_ms: int) -> tuple[int, int] | None:
        """The freeze that was advised, if it is not over and a policy knows freezes."""
        advised = self.freeze is not None and policy.freeze_at is not None and now_ms < self.freeze[1]
        return self.freeze if advised else None

    def looked(self, policy: Policy, now_ms: int) -> tuple[Self, Changes]:
        """See whether a freeze began, or is over."""
        frozen = self.freeze_under(policy, now_ms) is not None
        rule = Rule.FROZEN if frozen else Rule.THAWED
        return replace(self, frozen=frozen), _happened(_WHOLE_RANGE[: frozen != self.frozen], rule)

    def rested(self, policy: Policy, now_ms: int) -> bool:
        """Whether a flagged region has been full for so long that it is to be counted anew."""
        return bool(len(self.full_ms)) and now_ms - int(self.full_ms.min()) >= policy.rules.half_life_ms

    def flags(
        self, cells: Cells, own: NDArray[np.int64], eligible: NDArray[np.int64], policy: Policy, now_ms: int
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Which regions are flagged now, and since when they are full; see :func:`flag_regions`."""
        full_ms = np.full(len(cells), NEVER)
        _, mine, theirs = np.intersect1d(cells, self.full, assume_unique=True, return_indices=True)
        full_ms[mine] = self.full_ms[theirs]
        return flag_regions(np.isin(cells, self.flagged), full_ms, own, eligible, policy, now_ms)

    def counted(self, health: Health, policy: Policy, now_ms: int) -> tuple[Self, Changes]:
        """See which regions are short of survivors; see :func:`~faultset_ray.control.ladder.flag_regions`."""
        cells, need = health.groups.cells, policy.survivors_min
        own, eligible = (
            np.bincount(health.group_of[chosen], minlength=len(cells))
            for chosen in (survives(health), health.mark != Mark.DRAIN)
        )
        before = np.isin(cells, self.flagged)
        now, full_ms = self.flags(cells, own, eligible, policy, now_ms)
        full = full_ms != NEVER
        short, enough = now & ~before, before & ~now
        gone = self.flagged[~np.isin(self.flagged, cells)]
        panicking = self.panicking if policy.panic == "all" else _NONE
        counted = replace(self, flagged=cells[now], full=cells[full], full_ms=full_ms[full])
        calm, ended = counted.panicked(panicking)
        return calm, _joined(
            [
                ended,
                _happened(np.append(gone, cells[enough]), Rule.ENOUGH, np.append(gone * 0, own[enough]), need),
                _happened(cells[short], Rule.SHORT, own[short], need),
            ]
        )

    def panicked(self, cells: Cells) -> tuple[Self, Changes]:
        """Take which regions are in panic; one that is not short is in none."""
        cells = np.intersect1d(cells, self.flagged)
        ended, began = np.setdiff1d(self.panicking, cells), np.setdiff1d(cells, self.panicking)
        told = _joined([_happened(ended, Rule.CALM), _happened(began, Rule.PANIC)])
        return replace(self, panicking=cells), told

    def of(self, inside: Callable[[Cells], NDArray[np.bool_]]) -> Self:
        """Those of a range that takes over the cells that ``inside`` says are its own."""
        flagged, panicking, full = (inside(cells) for cells in (self.flagged, self.panicking, self.full))
        return replace(
            self,
            flagged=self.flagged[flagged],
            panicking=self.panicking[panicking],
            full=self.full[full],
            full_ms=self.full_ms[full],
        )

    def set_back(self, by_ms: int) -> Self:
        """The same so much earlier."""
        freeze = self.freeze and (self.freeze[0] - by_ms, self.freeze[1] - by_ms)
        return replace(self, freeze=freeze, full_ms=self.full_ms - by_ms)

    @classmethod
    def joined(cls, parts: Sequence[Alarms]) -> Self:
        """Those of several ranges."""
        latest = max(parts, key=lambda part: part.freeze or (0, 0))
        flagged = np.concatenate([part.flagged for part in parts])
        panicking = np.sort(np.concatenate([part.panicking for part in parts]))
        full, full_ms = (np.concatenate([getattr(part, name) for part in parts]) for name in ("full", "full_ms"))
        return cls(flagged, panicking, latest.freeze, latest.frozen, full, full_ms)

    def to_columns(self) -> dict[str, NDArray[Any]]:
        """Plain arrays by name."""
        freeze = () if self.freeze is None else (*self.freeze, int(self.frozen))
        columns = {name: getattr(self, name) for name in ("flagged", "panicking", "full", "full_ms")}
        return {**columns, "freeze": np.array(freeze, np.int64)}

    @classmethod
    def from_columns(cls, columns: Mapping[str, NDArray[Any]]) -> Self:
        """The opposite of :meth:`to_columns`; once there was only ``flagged``."""
        freeze = columns["freeze"].tolist() if "freeze" in columns else []
        return cls(
            np.asarray(columns["flagged"], np.uint64),
            np.asarray(columns.get("panicking", _NONE), np.uint64),
            (freeze[0], freeze[1]) if freeze else None,
            bool(freeze and freeze[2]),
            np.asarray(columns.get("full", _NONE), np.uint64),
            np.asarray(columns.get("full_ms", _NONE), np.int64),
        )


def tell(epoch: int, changes: Changes) -> None:
    """Log how many nodes or regions of a range changed by each rule, if anybody listens: there may be a million."""
    regional = changes.handles == NOBODY
    for event, chosen in ((events.REGIONS_CHANGED, regional), (events.NODES_CHANGED, ~regional)):
        if event.heard and chosen.any():
            count = np.bincount(changes.rule[chosen])
            event.tell(
                epoch=epoch, changes={Rule(rule).label: int(count[rule]) for rule in np.flatnonzero(count).tolist()}
            )


def _happened(cells: Cells, rule: Rule, value: Any = np.nan, threshold: float = np.nan) -> Changes:
    """Changes of regions rather than of nodes."""
    count = len(cells)

    def byte(number: int) -> NDArray[np.uint8]:
        return np.full(count, number, np.uint8)

    return Changes(
        np.full(count, NOBODY, np.uint32),
        byte(State.UNKNOWN),
        byte(State.UNKNOWN),
        byte(rule),
        np.zeros(count) + value,
        np.full(count, threshold, np.float64),
        np.zeros(count, np.bool_),
        np.zeros(count, np.bool_),
        byte(Mark.NONE),
        cells,
    )


def _joined(parts: Sequence[Changes]) -> Changes:
    return Changes(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
