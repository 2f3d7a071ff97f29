"""Codes that are a generator matrix over GF(2^8): all they do is :func:`fold` with some matrix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

import numpy as np

from faultset_ray.errors import CodingError
from faultset_ray.kernels.gf_fold import fold
from faultset_ray.kernels.gf_tables import Bytes, matmul
from faultset_ray.kernels.solve import express

from . import check
from .base import Code, Plan, Rows, by_cost

_PLANS_MAX = 128
"""Plans kept per code; the largest is some 150 KB."""


class LinearCode(Code):
    """A systematic linear code; subclasses build :attr:`generator`.

    Parameters
    ----------
    spec : str
        Canonical.
    parity : uint8[n-k, k]
        What stands below the identity in the generator. Owned by the code from here on.
    """

    def __init__(self, spec: str, parity: Bytes) -> None:
        self.spec = spec
        self.k = parity.shape[1]
        self.n = parity.shape[0] + self.k
        self.generator: Bytes = np.concatenate([np.eye(self.k, dtype=np.uint8), parity])
        """uint8[n, k], read-only: shard i is ``generator[i] · data``."""
        self.generator.setflags(write=False)
        self._parity = self.generator[self.k :]
        self._combine = lru_cache(_PLANS_MAX)(self._solve)

    def encode(self, data: Bytes, out: Bytes | None = None) -> Bytes:  # noqa: D102 - the contract's
        rows = check.blocks("data", data, self.k)
        target = check.output(out, (self.n - self.k, rows.shape[1]), [rows])
        fold(self._parity, list(rows), target)
        return target

    def plan(self, lost: Iterable[int], have: Iterable[int], cost: Mapping[int, float] | None = None) -> Plan:  # noqa: D102
        wanted = check.shard_indices(lost, self.n)
        present = check.shard_indices(have, self.n)
        return self._combine(wanted, tuple(self._candidates(wanted, by_cost(present, cost))))

    def _candidates(self, wanted: tuple[int, ...], present: list[int]) -> list[int]:
        """Order shards that may be read by how gladly they are, given them by cost.

        Wanted ones that are there first, since each is made from itself alone.
        """
        return sorted(present, key=lambda index: index not in wanted)

    def _solve(self, wanted: tuple[int, ...], order: tuple[int, ...]) -> Plan:
        basis, targets = self.generator[list(order)], self.generator[list(wanted)]
        matrix = express(basis, targets)
        if matrix is None:
            raise check.not_enough(order, self.k, self.n)
        used = np.flatnonzero(matrix.any(axis=0))
        matrix = np.ascontiguousarray(matrix[:, used])
        matrix.setflags(write=False)
        if not np.array_equal(matmul(matrix, basis[used]), targets):
            raise CodingError(f"{self.spec}: wrong inverse for shards {wanted} from {order}; nothing was decoded")
        return Plan(wanted, tuple(order[column] for column in used), matrix)

    def reconstruct(self, rows: Rows, wanted: Iterable[int], out: Bytes | None = None) -> Bytes:  # noqa: D102
        checked, length = check.shard_rows(rows, self.n)
        plan = self.plan(wanted, checked)
        target = check.output(out, (len(plan.wanted), length), checked.values())
        fold(plan.matrix, [checked[index] for index in plan.reads], target)
        return target

    def decode(self, rows: Rows, out: Bytes | None = None) -> Bytes:  # noqa: D102
        checked, length = check.shard_rows(rows, self.n)
        plan = self.plan([index for index in range(self.k) if index not in checked], checked)
        target = check.output(out, (self.k, length), checked.values())
        for index in range(self.k):
            if index in checked:
                target[index] = checked[index]
        fold(plan.matrix, [checked[index] for index in plan.reads], [target[index] for index in plan.wanted])
        return target
