"""``ldpc:k+m``: LDPC-Staircase of RFC 5170, a binary code for many shards.

Where Reed–Solomon ends at 255 shards and costs k·m products, this one takes thousands and costs a few
XORs a shard. It is not MDS: slightly more than k shards are needed, see the parameter guide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from typing import ClassVar, Final

import numpy as np

from faultset_ray.errors import NotEnoughShards
from faultset_ray.kernels.gf_tables import Bytes

from . import check
from .base import Code, by_cost, total_cost
from .checks import Checks, Program
from .engine import xor_program
from .plan import Plan, Rows
from .spec import Spec

SHARDS_MAX: Final = 20_000
SHARDS_EACH_MAX: Final = 64
"""n at most for each of the k data shards: to have a matrix made, one must have shards in proportion to it."""
DEGREE_MAX: Final = 10
"""The left degree that RFC 5170 can name."""
_PROGRAMS_MAX = 16


class _ParkMiller:
    """The "minimal standard" generator that RFC 5170 section 5.7 prescribes."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def below(self, bound: int) -> int:
        self._state = self._state * 16807 % 0x7FFFFFFF
        return int(float(self._state) * float(bound) / float(0x7FFFFFFF))


def _left_side(k: int, m: int, degree: int, seed: int) -> list[list[int]]:
    """Data symbols of each check: ``degree`` ones a column, spread evenly over rows (RFC 5170, section 6.2)."""
    rng = _ParkMiller(seed)
    rows: list[set[int]] = [set() for _ in range(m)]
    choices = [position % m for position in range(degree * k)]
    taken = 0
    for column in range(k):
        for _ in range(degree):
            if any(column not in rows[choices[at]] for at in range(taken, len(choices))):
                place = taken + rng.below(len(choices) - taken)
                while column in rows[choices[place]]:
                    place = taken + rng.below(len(choices) - taken)
                rows[choices[place]].add(column)
                choices[place] = choices[taken]
                taken += 1
            else:
                row = rng.below(m)
                while column in rows[row]:
                    row = rng.below(m)
                rows[row].add(column)
    for members in rows:
        while len(members) < min(2, k):
            members.add(rng.below(k))
    return [sorted(members) for members in rows]


class Staircase(Code):
    """LDPC-Staircase. Options: ``left_degree``, checks that each data shard is in; ``seed`` of the matrix."""

    options: ClassVar[Mapping[str, str]] = {"left_degree": "7", "seed": "1"}

    def __init__(self, spec: str, k: int, m: int, degree: int, seed: int) -> None:
        self.spec = spec
        self.k = k
        self.n = k + m
        self._degree = degree
        self._seed = seed
        self._solve = lru_cache(_PROGRAMS_MAX)(self._solve_mask)

    @cached_property
    def checks(self) -> Checks:
        """The matrix; made when it is first needed, since anyone can name a large one."""
        k, m = self.k, self.n - self.k
        left = _left_side(k, m, self._degree, self._seed)
        stairs = [[k] if row == 0 else [k + row - 1, k + row] for row in range(m)]
        return Checks(self.n, [data + step for data, step in zip(left, stairs, strict=True)])

    @cached_property
    def _encoder(self) -> Program:
        sources = tuple(row[row != self.k + index] for index, row in enumerate(self.checks.rows))
        return Program(tuple(range(self.k, self.n)), sources)

    @classmethod
    def from_spec(cls, spec: Spec) -> Staircase:  # noqa: D102 - the contract's
        full = spec.complete(cls.options)
        if len(spec.shape) != 2:
            raise spec.fail('expected two numbers, "ldpc:k+m"')
        k, m = spec.shape
        most = min(SHARDS_MAX, SHARDS_EACH_MAX * k)
        if k < 1 or m < 1 or k + m > most:
            raise spec.fail(
                f"k = {k} and m = {m}; expected 1 or more of each and k + m up to {SHARDS_MAX} and {SHARDS_EACH_MAX}·k"
            )
        degree, seed = (_number(full, key) for key in ("left_degree", "seed"))
        if not 1 <= degree <= min(m, DEGREE_MAX):
            raise spec.fail(f"left_degree is {degree}; expected 1 to {DEGREE_MAX} and to m = {m}")
        if not 1 <= seed < 0x7FFFFFFF:
            raise spec.fail(f"seed is {seed}; expected 1 to {0x7FFFFFFE}")
        return cls(str(full), k, m, degree, seed)

    @property
    def tolerance(self) -> int:  # noqa: D102 - the contract's
        return 0  # whichever and how many are lost, it is likely to decode, and never sure to

    def encode(self, data: Bytes, out: Bytes | None = None, *, threads: int = 1) -> Bytes:  # noqa: D102
        rows = check.blocks("data", data, self.k)
        target = check.output(out, (self.n - self.k, rows.shape[1]), [rows])
        slots = {**dict(enumerate(rows)), **dict(enumerate(target, self.k))}
        xor_program(self._encoder, slots, threads)
        return target

    def _solve_mask(self, present: bytes) -> tuple[Program, bytes]:
        known = np.frombuffer(present, dtype=np.bool_)
        program, found = self.checks.solve(known)
        return program, found.tobytes()

    def _program(self, wanted: tuple[int, ...], present: Iterable[int]) -> Program:
        """Return the steps that make ``wanted`` of ``present``."""
        known = np.zeros(self.n, dtype=np.bool_)
        here = list(present)
        known[here] = True
        program, found = self._solve(known.tobytes())
        lost = [index for index in wanted if not found[index]]
        if lost:
            raise check.not_enough(here, self.k, self.n, lost)
        return program.only(wanted)

    def plan(self, lost: Iterable[int], have: Iterable[int], cost: Mapping[int, float] | None = None) -> Plan:
        """As every code's, but only near to the cheapest, which is hard to find for a sparse code.

        The best is taken of: one check, where one shard is lost; what the steps from all shards
        read; the cheapest shards that suffice; the first by index that do.
        """
        wanted = check.shard_indices(lost, self.n)
        present = check.shard_indices(have, self.n)
        orders = [
            sorted(some, key=lambda index: index not in wanted) for some in (by_cost(present, cost), sorted(present))
        ]
        choices = [
            self._needed(wanted, orders[0]),
            *(self._needed(wanted, self._shortest(wanted, some)) for some in orders),
        ]
        if len(wanted) == 1:
            for row in self.checks.rows:
                others = [index for index in row.tolist() if index != wanted[0]]
                if len(others) < len(row) and set(others) <= set(present):
                    choices.append(others)
        reads = min(choices, key=lambda some: (total_cost(some, cost), len(some)))
        unit = np.eye(len(reads), dtype=np.uint8)
        matrix = self.reconstruct(dict(zip(reads, unit, strict=True)), wanted)
        matrix.setflags(write=False)
        return Plan(wanted, tuple(reads), matrix)

    def _needed(self, wanted: tuple[int, ...], present: list[int]) -> list[int]:
        """Return which of ``present`` the steps to ``wanted`` read, in its order."""
        program = self._program(wanted, present)
        used = set(wanted).union(*(step.tolist() for step in program.sources))
        return [index for index in present if index in used]

    def _shortest(self, wanted: tuple[int, ...], order: list[int]) -> list[int]:
        """Return the shortest beginning of ``order`` that suffices."""
        low, high = 0, len(order)
        while low < high:
            middle = (low + high) // 2
            try:
                self._program(wanted, order[:middle])
            except NotEnoughShards:
                low = middle + 1
            else:
                high = middle
        return order[:high]

    def reconstruct(  # noqa: D102
        self, rows: Rows, wanted: Iterable[int], out: Bytes | None = None, *, threads: int = 1
    ) -> Bytes:
        checked, length = check.shard_rows(rows, self.n)
        indices = check.shard_indices(wanted, self.n)
        program = self._program(indices, checked)
        target = check.output(out, (len(indices), length), checked.values())
        self._run(program, checked, dict(zip(indices, target, strict=True)), length, threads)
        return target

    def decode(self, rows: Rows, out: Bytes | None = None, *, threads: int = 1) -> Bytes:  # noqa: D102
        checked, length = check.shard_rows(rows, self.n)
        program = self._program(tuple(range(self.k)), checked)
        target = check.output(out, (self.k, length), checked.values())
        self._run(program, checked, dict(enumerate(target)), length, threads)
        return target

    def _run(self, program: Program, rows: Rows, targets: dict[int, Bytes], length: int, threads: int) -> None:
        made = [slot for slot in program.targets if slot not in targets]
        scratch = np.empty((len(made), length), dtype=np.uint8)
        slots = {**rows, **dict(zip(made, scratch, strict=True))}
        slots.update({index: row for index, row in targets.items() if index not in rows})
        xor_program(program, slots, threads)
        for index in targets.keys() & rows.keys():
            targets[index][...] = rows[index]

    def verify(self, rows: Rows) -> bool:  # noqa: D102
        checked, length = check.shard_rows(rows, self.n)
        whole = [row for row in self.checks.rows if all(int(index) in checked for index in row)]
        if not whole:
            raise check.not_enough(checked, self.n, self.n)
        total = np.empty((1, length), dtype=np.uint8)
        for row in whole:
            xor_program(Program((self.n,), (row,)), {**checked, self.n: total[0]}, 1)
            if total.any():
                return False
        return True


def _number(spec: Spec, key: str) -> int:
    text = spec.options[key]
    if not text.isdecimal() or str(int(text)) != text:
        raise spec.fail(f"{key} is {text!r}; expected a whole number without leading zeros")
    return int(text)
