"""One range's part of an answer, out of what is known of its nodes; pure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.alarms import Alarms
from faultset_ray.control.compose import RegionPart, Rest, narrow
from faultset_ray.control.decisions import live_survivors, plain_survivors
from faultset_ray.control.evidence import statistic
from faultset_ray.control.health import Health
from faultset_ray.control.ladder import rest_of
from faultset_ray.control.states import Mark
from faultset_ray.policy import Policy


def blank_part(epoch: int, version: int, roster: int, *, frozen_until_ms: int | None, ahead_ms: int = 0) -> RegionPart:
    """A part without nodes, to be filled by the functions below."""
    empty = np.empty(0, np.uint32)
    cells, counts = np.empty(0, np.uint64), np.empty(0, np.uint8)
    return RegionPart(
        epoch, version, roster, cells, empty, counts, empty, frozen_until_ms=frozen_until_ms, ahead_ms=ahead_ms
    )


def by_threshold(blank: RegionPart, health: Health, threshold_ms: float) -> RegionPart:
    """Who survives by the last latency alone."""
    return _filled(blank, health, *plain_survivors(health, threshold_ms))


def by_state(blank: RegionPart, health: Health, policy: Policy, alarms: Alarms, now_ms: int) -> RegionPart:
    """Who survives under a policy, the regions that are short and, for panic, all that these have.

    ``alarms`` know those that were short before.
    """
    slots, counts = live_survivors(health, policy.rules)
    part = _filled(blank, health, slots, counts)
    if policy.survivors_min == 0:
        return part
    groups, able = health.groups, health.mark != Mark.DRAIN
    eligible = np.bincount(health.group_of[able], minlength=len(counts))
    short, _ = alarms.flags(groups.cells, counts, eligible, policy, now_ms)
    rest = None
    if policy.panic == "all" and short.any():
        able[slots] = False
        badness = statistic(health, np.arange(len(health)), policy.rules)
        below = short & (counts < policy.survivors_min)
        others, numbers = rest_of(groups.order, groups.starts, below, able, badness)
        rest = Rest(narrow(numbers), health.handles[others])
    return replace(part, flagged=short, rest=rest)


def _filled(blank: RegionPart, health: Health, slots: NDArray[np.int64], counts: NDArray[np.int64]) -> RegionPart:
    groups = health.groups
    first = health.handles[groups.order[groups.starts[:-1]]]
    return replace(blank, cells=groups.cells, first=first, counts=narrow(counts), handles=health.handles[slots])
