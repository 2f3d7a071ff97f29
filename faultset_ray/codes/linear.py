"""Codes that are a generator matrix over GF(2^8): all they do is to apply some matrix to rows.

Calls with plain arguments go straight to the kernel, which checks them itself; what it doesn't
understand is checked here, step by step, to copy it into shape or to say what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from operator import is_
from typing import Any

import numpy as np

from faultset_ray.errors import CodingError, InputError, InvalidShardIndex, NotEnoughShards, ShardSizeError
from faultset_ray.kernels.gf_tables import Bytes, matmul
from faultset_ray.kernels.solve import eliminate, express

from . import check
from .base import Code, by_cost, total_cost
from .engine import Choice, Folder
from .plan import Plan, Rows

_PLANS_MAX = 128
"""Plans kept per code; the largest is some 150 KB."""
_VERIFY_BYTES = 1 << 16
"""Columns that :meth:`LinearCode.verify` recomputes at a time."""


class LinearCode(Code):
    """A systematic linear code; subclasses build its parity matrix.

    Parameters
    ----------
    spec : str
        Canonical.
    parity : uint8[n-k, k]
        What stands below the identity in the generator.
    """

    def __init__(self, spec: str, parity: Bytes) -> None:
        self.spec = spec
        self.k = parity.shape[1]
        self.n = parity.shape[0] + self.k
        self.generator: Bytes = np.concatenate([np.eye(self.k, dtype=np.uint8), parity])
        """uint8[n, k], read-only: shard i is ``generator[i] · data``."""
        self.generator.setflags(write=False)
        self._combine = lru_cache(_PLANS_MAX)(self._solve)
        self._updater = lru_cache(self.k)(self._make_updater)
        self._ready: dict[tuple[Any, ...], Choice] = {}
        self._last: tuple[tuple[int, ...], Any, Choice | None] = (), None, None

    @cached_property
    def _encoder(self) -> Folder:
        return Folder(self.generator[self.k :])

    def encode(self, data: Bytes, out: Bytes | None = None, *, threads: int = 1) -> Bytes:  # noqa: D102 - the contract's
        if out is None and isinstance(data, np.ndarray) and data.ndim == 2:
            out = np.empty((self.n - self.k, data.shape[1]), dtype=np.uint8)
        if out is not None and self._encoder.try_fold(data, out, threads):
            return out
        rows = check.blocks("data", data, self.k)
        target = check.output(out, (self.n - self.k, rows.shape[1]), [rows])
        self._encoder.fold(list(rows), list(target), threads)
        return target

    def plan(self, lost: Iterable[int], have: Iterable[int], cost: Mapping[int, float] | None = None) -> Plan:  # noqa: D102
        wanted = check.shard_indices(lost, self.n)
        present = check.shard_indices(have, self.n)
        orders = self._orders(wanted, by_cost(present, cost), cost)
        plans = [self._combine(wanted, order) for order in dict.fromkeys(map(tuple, orders))]
        return min(plans, key=lambda plan: (total_cost(plan.reads, cost), len(plan.reads)))

    def _orders(
        self, wanted: tuple[int, ...], present: list[int], _cost: Mapping[int, float] | None
    ) -> list[list[int]]:
        """Return orders in which to try shards, given them by cost; of dependent ones the first are read.

        Wanted ones that are there first, since each is made from itself alone; and just by cost, since
        the others may be cheaper all the same.
        """
        return [sorted(present, key=lambda index: index not in wanted), present]

    def _solve(self, wanted: tuple[int, ...], order: tuple[int, ...]) -> Plan:
        basis, targets = self.generator[list(order)], self.generator[list(wanted)]
        matrix = express(basis, targets)
        if matrix is None:
            raise check.not_enough(order, self.k, self.n, wanted)
        used = np.flatnonzero(matrix.any(axis=0))
        matrix = np.ascontiguousarray(matrix[:, used])
        matrix.setflags(write=False)
        if not np.array_equal(matmul(matrix, basis[used]), targets):
            raise CodingError(f"{self.spec}: wrong inverse for shards {wanted} from {order}; nothing was decoded")
        return Plan(wanted, tuple(order[column] for column in used), matrix)

    def reconstruct(self, rows: Rows, wanted: Iterable[int], out: Bytes | None = None, *, threads: int = 1) -> Bytes:  # noqa: D102
        ready = self._quick(rows, wanted)
        if ready is not None:
            given = tuple(rows.values())
            if out is None and isinstance(given[0], np.ndarray):
                out = np.empty((len(wanted), given[0].size), dtype=np.uint8)  # type: ignore[arg-type]
            if ready.try_fold(given, out, threads):
                return out
        checked, length = check.shard_rows(rows, self.n)
        plan = self.plan(wanted, checked)
        target = check.output(out, (len(plan.wanted), length), checked.values())
        plan.folder().fold([checked[index] for index in plan.reads], list(target), threads)
        return target

    def _quick(self, rows: Rows, wanted: Iterable[int] | _AllData) -> Choice | None:
        """Return what makes ``wanted``, or all data, of ``rows`` if their indices are plain."""
        keys, goal, found = self._last
        # the very objects of the last call: no other check costs as little, and True is not 1
        if wanted is goal and type(rows) is dict and len(rows) == len(keys) and all(map(is_, rows, keys)):
            return found
        if type(rows) is not dict or type(wanted) not in _SEQUENCES:
            return None
        if {
            *map(type, rows),
            *map(type, () if isinstance(wanted, _AllData) else wanted),
        } != _INT:  # True equals 1 as a key
            return None
        key = tuple(rows) if isinstance(wanted, _AllData) else (*rows, None, *wanted)
        found = self._ready.get(key)
        if found is None:
            try:
                found = self._choice(tuple(rows), wanted)
            except (CodingError, InputError):
                return None  # raised again, with the rows checked
            if len(self._ready) >= _PLANS_MAX:
                self._ready.clear()
            self._ready[key] = found
        if type(wanted) is not list:  # a list may be another one next time
            self._last = tuple(rows), wanted, found
        return found

    def _choice(self, given: tuple[int, ...], wanted: Iterable[int] | _AllData) -> Choice:
        places = {index: place for place, index in enumerate(given)}
        if isinstance(wanted, _AllData):
            plan = self.plan([index for index in range(self.k) if index not in places], given)
            copies = [(places[index], index) for index in range(self.k) if index in places]
            made, targets = self.k, list(plan.wanted)
        else:
            plan = self.plan(wanted, given)
            copies, made, targets = [], len(plan.wanted), list(range(len(plan.wanted)))
        return Choice(plan.folder(), len(given), made, [places[index] for index in plan.reads], targets, copies)

    def decode(self, rows: Rows, out: Bytes | None = None, *, threads: int = 1) -> Bytes:  # noqa: D102
        ready = self._quick(rows, _ALL_DATA)
        if ready is not None:
            given = tuple(rows.values())
            if out is None and isinstance(given[0], np.ndarray):
                out = np.empty((self.k, given[0].size), dtype=np.uint8)
            if ready.try_fold(given, out, threads):
                return out
        checked, length = check.shard_rows(rows, self.n)
        plan = self.plan([index for index in range(self.k) if index not in checked], checked)
        target = check.output(out, (self.k, length), checked.values())
        check.thread_count(threads)
        for index in range(self.k):
            if index in checked:
                target[index] = checked[index]
        if plan.wanted:
            made = [target[index] for index in plan.wanted]
            plan.folder().fold([checked[index] for index in plan.reads], made, threads)
        return target

    def encode_batch(self, data: Bytes, out: Bytes | None = None, *, threads: int = 1) -> Bytes:  # noqa: D102
        if out is None and isinstance(data, np.ndarray) and data.ndim == 3:
            out = np.empty((data.shape[0], self.n - self.k, data.shape[2]), dtype=np.uint8)
        if out is not None and self._encoder.try_fold(data, out, threads, batched=True):
            return out
        stripes = check.array("data", data, 3)
        if stripes.shape[1] != self.k:
            raise ShardSizeError("number of rows of data", stripes.shape[1], f"{self.k}")
        target = check.output(out, (stripes.shape[0], self.n - self.k, stripes.shape[2]), [stripes])
        for stripe, parity in zip(stripes, target, strict=True):
            self.encode(stripe, parity, threads=threads)
        return target

    def reconstruct_batch(  # noqa: D102
        self, rows: Rows, wanted: Iterable[int], out: Bytes | None = None, *, threads: int = 1
    ) -> Bytes:
        ready = self._quick(rows, wanted)
        if ready is not None:
            given = tuple(rows.values())
            if out is None and isinstance(given[0], np.ndarray) and given[0].ndim == 2:
                out = np.empty((given[0].shape[0], len(wanted), given[0].shape[1]), dtype=np.uint8)  # type: ignore[arg-type]
            if out is not None and ready.try_fold(given, out, threads, batched=True):
                return out
        stripes, count, length = check.stripe_rows(rows, self.n)
        plan = self.plan(wanted, stripes)
        target = check.output(out, (count, len(plan.wanted), length), stripes.values())
        check.thread_count(threads)
        folder = plan.folder()
        if not folder.try_fold(tuple(stripes[index] for index in plan.reads), target, threads, batched=True):
            for stripe in range(count):
                plan.fold({index: stripes[index][stripe] for index in plan.reads}, target[stripe], threads=threads)
        return target

    def verify(self, rows: Rows) -> bool:  # noqa: D102
        checked, length = check.shard_rows(rows, self.n)
        basis = self._independent(tuple(sorted(checked)))
        extra = [index for index in checked if index not in basis]
        if not extra:
            raise NotEnoughShards(len(checked), len(basis) + 1, check.not_enough(checked, 0, self.n).missing)
        plan = self.plan(extra, basis)
        made = np.empty((len(extra), min(length, _VERIFY_BYTES)), dtype=np.uint8)
        for begin in range(0, length, _VERIFY_BYTES):
            part = {index: checked[index][begin : begin + _VERIFY_BYTES] for index in plan.reads}
            expected = plan.fold(part, made[:, : min(_VERIFY_BYTES, length - begin)])
            for index, row in zip(extra, expected, strict=True):
                if not np.array_equal(row, checked[index][begin : begin + _VERIFY_BYTES]):
                    return False
        return True

    def _independent(self, present: tuple[int, ...]) -> tuple[int, ...]:
        """Return the lowest shards of ``present`` that determine all of them."""
        pivots = eliminate(np.ascontiguousarray(self.generator[list(present)].T), len(present))
        return tuple(present[int(pivot)] for pivot in pivots)

    def update(self, index: int, old: Bytes, new: Bytes, parity: Bytes) -> None:  # noqa: D102
        if check.shard_index(index, self.n) >= self.k:
            raise InvalidShardIndex(index, self.k, "not a data shard")
        before, after = check.row("old", old), check.row("new", new)
        if after.size != before.size:
            raise ShardSizeError("size of new in bytes", after.size, f"{before.size}, the size of old")
        if parity is None:
            raise InputError("parity is None; expected the rows to bring up to date")
        target = check.output(parity, (self.n - self.k, before.size), [before, after], "parity")
        self._updater(int(index)).fold([before, after], list(target), accumulate=True)

    def _make_updater(self, index: int) -> Folder:
        return Folder(np.ascontiguousarray(np.repeat(self.generator[self.k :, index, None], 2, axis=1)))


_INT = {int}


class _AllData:
    """In place of the shards wanted: all data, those that are there copied."""


_ALL_DATA = _AllData()
_SEQUENCES = {tuple, list, _AllData}
