"""``lrc:k+l+g``: a local reconstruction code, which repairs one loss from its group alone.

After Huang et al., "Erasure coding in Windows Azure Storage" (USENIX ATC 2012). The k data shards
form l groups, each with a local parity, the XOR of its data; g global parities cover all data. Order
of shards: data, local parities by group, global parities. Groups are contiguous ranges of data.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from faultset_ray.kernels.gf_tables import EXP, LOG, Bytes
from faultset_ray.limits import CODE_SHARDS_MAX as N_MAX

from .base import price, total_cost
from .linear import LinearCode
from .spec import Spec


class LocalReconstruction(LinearCode):
    """Global parity p of data j is the power p + 1 of its point x_j; local parities are the power 0.

    Where they fit, the points of each group span bits of their own, so that no sum of points of one
    group is one of another: with two groups and two global parities that is the condition under
    which every loss that any such code could survive is survived.
    """

    def __init__(self, spec: str, k: int, locals_: int, globals_: int) -> None:
        bounds = [k * group // locals_ for group in range(locals_ + 1)]
        groups = [range(low, high) for low, high in pairwise(bounds)]
        super().__init__(spec, _parity(k, groups, globals_))
        self.groups = tuple((*group, k + number) for number, group in enumerate(groups))
        """Shards of each group, its local parity last."""

    @classmethod
    def from_spec(cls, spec: Spec) -> LocalReconstruction:  # noqa: D102 - the contract's
        full = spec.complete(cls.options)
        if len(spec.shape) != 3:
            raise spec.fail('expected three numbers, "lrc:k+l+g": data, local groups, global parities')
        k, locals_, globals_ = spec.shape
        if locals_ < 1 or globals_ < 1 or k < locals_ or sum(spec.shape) > N_MAX:
            raise spec.fail(
                f"k = {k}, l = {locals_}, g = {globals_} give n = {sum(spec.shape)}; "
                f"expected 1 or more of each, k of at least l, and n up to {N_MAX}"
            )
        return cls(str(full), k, locals_, globals_)

    def _orders(self, wanted: tuple[int, ...], present: list[int], cost: Mapping[int, float] | None) -> list[list[int]]:
        """Besides the cheapest shards first: those first whose group misses just one of the wanted.

        Where the rest of its group is cheaper than a wanted one that is there, that one may count as missing too.
        """
        first, plain = super()._orders(wanted, present, cost)
        near, dear = self._near(wanted, present), set[int]()
        for group in self.groups:
            here = [index for index in group if index in wanted and index in present]
            worst = max(here, key=lambda index: (price(cost or {}, index), index), default=None)
            if worst is not None and set(group) <= set(present):
                others = [index for index in group if index not in wanted]
                if total_cost(others, cost) < total_cost([worst], cost):
                    dear.add(worst)
        orders = [first, plain]
        if near:
            orders.append(sorted(first, key=lambda index: (index not in wanted, index not in near)))
        if dear:
            near = self._near(wanted, [index for index in present if index not in dear])
            orders.append(sorted(first, key=lambda index: (index in dear, index not in wanted, index not in near)))
        return orders

    def _near(self, wanted: tuple[int, ...], present: list[int]) -> set[int]:
        """Return the shards of all groups that miss just one, a wanted one."""
        near = set[int]()
        for group in self.groups:
            missing = set(group) - set(present)
            if len(missing) == 1 and missing <= set(wanted):
                near.update(group)
        return near


def _points(k: int, groups: list[range]) -> list[int]:
    """Return distinct points other than 0, of each group in bits of its own if they suffice."""
    bits = 8 // len(groups)
    if max(map(len, groups)) >= 1 << bits:
        return list(range(1, k + 1))
    return [(1 + place) << (bits * number) for number, group in enumerate(groups) for place in range(len(group))]


def _parity(k: int, groups: list[range], globals_: int) -> Bytes:
    points = _points(k, groups)
    local = np.array([[index in group for index in range(k)] for group in groups], dtype=np.uint8)
    shared = EXP[np.arange(1, globals_ + 1)[:, None] * LOG[points][None, :] % 255]
    return np.concatenate([local, shared])
