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
from .base import Code, by_cost, price, total_cost
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
_DENSE_MAX = 1_024
"""Symbols left by peeling beyond which a choice of shards is passed over, as not likely to suffice and slow to try."""
_VERIFY_BYTES = 1 << 22
"""What :meth:`Staircase.verify` recomputes at a time, and how many columns of it at the least."""
_VERIFY_COLUMNS_MIN = 64


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
        self._reads = lru_cache(_PROGRAMS_MAX)(self._find_reads)
        self._agreement = lru_cache(_PROGRAMS_MAX)(self._agreement_mask)

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

    def reads(  # noqa: D102
        self, lost: Iterable[int], have: Iterable[int], cost: Mapping[int, float] | None = None
    ) -> tuple[int, ...]:
        wanted = check.shard_indices(lost, self.n)
        cheapest = tuple(by_cost(check.shard_indices(have, self.n), cost))
        priced = None if cost is None else tuple(price(cost, index) for index in cheapest)
        return self._reads(wanted, cheapest, priced)

    def plan(self, lost: Iterable[int], have: Iterable[int], cost: Mapping[int, float] | None = None) -> Plan:
        """As every code's; its matrix is dense. Of large codes :meth:`reads` is by far the cheaper question."""
        wanted = check.shard_indices(lost, self.n)
        reads = self.reads(wanted, have, cost)
        units = np.zeros((len(reads), -(-len(reads) // 8)), dtype=np.uint8)  # the identity, a bit a column
        place = np.arange(len(reads))
        units[place, place // 8] = 0x80 >> place % 8
        columns = self.reconstruct(dict(zip(reads, units, strict=True)), wanted)
        matrix = np.unpackbits(columns, axis=1, count=len(reads))
        matrix.setflags(write=False)
        return Plan(wanted, reads, matrix)

    def _find_reads(
        self, wanted: tuple[int, ...], cheapest: tuple[int, ...], priced: tuple[float, ...] | None
    ) -> tuple[int, ...]:
        """Choose what to read, of shards in the order of their prices.

        The best is taken of: one check, where one shard is lost; what the steps from all shards
        read; the cheapest shards that suffice; the first by index that do. Each with the wanted ones first
        that are there, since they are made of themselves, and without.
        """
        present, goal = set(cheapest), set(wanted)
        orders = [cheapest, tuple(sorted(cheapest))]
        if goal & present:
            orders = [tuple(sorted(some, key=lambda index: index not in goal)) for some in orders] + orders
        choices = [goal] if goal <= present else []
        program = self._program(wanted, cheapest)
        choices.append(present & (goal | program.read()))
        for order in dict.fromkeys(orders):
            enough = self._shortest(wanted, order)
            choices.append(set(enough) & (goal | self._program(wanted, enough).read()))
        if len(wanted) == 1:
            checks = (set(self.checks.rows[at].tolist()) for at in self.checks.of(wanted[0]))
            choices += [some for row in checks if (some := row - goal) <= present]
        cost = None if priced is None else dict(zip(cheapest, priced, strict=True))
        best = min(choices, key=lambda some: (total_cost(some, cost), len(some)))
        return tuple(index for index in cheapest if index in best)

    def _shortest(self, wanted: tuple[int, ...], order: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shortest beginning of ``order`` that is seen to suffice; all of it does."""
        goal, low, high = list(wanted), 0, len(order)
        while low < high:
            middle = (low + high) // 2
            known = np.zeros(self.n, dtype=np.bool_)
            known[list(order[:middle])] = True
            if self.checks.closure(known, _DENSE_MAX)[goal].all():
                high = middle
            else:
                low = middle + 1
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
        known = np.zeros(self.n, dtype=np.bool_)
        known[list(checked)] = True
        program, sums = self._agreement(known.tobytes())
        if not sums:
            raise NotEnoughShards(len(checked), len(checked) + 1, check.not_enough(checked, 0, self.n).missing)
        columns = max(_VERIFY_COLUMNS_MIN, min(length, _VERIFY_BYTES // len(program.targets)))
        for begin in range(0, length, columns):
            part = {index: row[begin : begin + columns] for index, row in checked.items()}
            totals = np.empty((len(sums), min(columns, length - begin)), dtype=np.uint8)
            self._run(program, part, dict(zip(sums, totals, strict=True)), totals.shape[1], 1)
            if totals.any():
                return False
        return True

    def _agreement_mask(self, present: bytes) -> tuple[Program, tuple[int, ...]]:
        return self.checks.agreement(np.frombuffer(present, dtype=np.bool_))


def _number(spec: Spec, key: str) -> int:
    text = spec.options[key]
    if not text.isdecimal() or str(int(text)) != text:
        raise spec.fail(f"{key} is {text!r}; expected a whole number without leading zeros")
    return int(text)
