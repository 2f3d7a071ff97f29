"""What a layout bears: losses of stores, places or regions, by what the code can really decode."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, combinations, pairwise
from math import ceil, comb
from typing import Final

from faultset_ray.codes.base import Code

_PATTERNS_MAX: Final = 3_000

Parts = tuple[tuple[int, ...], ...]


def survivable(code: Code, held: Mapping[int, str]) -> int:
    """How many stores, places or regions may be lost, whichever they are, without losing data.

    Exact where the code bears any n - k losses, and where no more than three thousand patterns must be tried; else what
    follows from ``code.tolerance``, which may be less than is true.

    Parameters
    ----------
    code
        Of the object.
    held
        Where each shard is that is there, by index: names of whatever may be lost as one.

    Returns
    -------
    int
        -1 if data may be lost already.
    """
    together: dict[str, list[int]] = {}
    for index in sorted(held):
        together.setdefault(held[index], []).append(index)
    return _survivable(code, tuple(sorted(map(tuple, together.values()))))


@lru_cache(4096)
def _survivable(code: Code, parts: Parts) -> int:
    missing = sorted(set(range(code.n)).difference(*parts))
    least = _largest([len(part) for part in parts], code.tolerance - len(missing))
    if code.tolerance in {0, code.n - code.k}:  # it bears no loss for sure, or any that leaves k
        return least
    tried = 0
    for losses in range(len(parts) + 1):
        tried += comb(len(parts), losses)
        if tried > _PATTERNS_MAX:
            return max(least, losses - 1)
        if not all(code.bears(chain(missing, *lost)) for lost in combinations(parts, losses)):
            return losses - 1
    raise AssertionError("unreachable: no code bears the loss of everything")


def _largest(sizes: Sequence[int], spare: int) -> int:
    """How many of the largest parts hold no more than ``spare`` shards together."""
    if spare < 0:
        return -1
    lost = 0
    for size in sorted(sizes, reverse=True):
        if size > spare:
            return lost
        spare -= size
        lost += 1
    return lost


@lru_cache(256)
def partitions(code: Code) -> tuple[Parts, ...]:
    """Ways to cut a code's local groups, and its other shards, into pieces that may be lost; the fewest first.

    Each piece is to lie in one region, apart from the others: then a region's loss loses no data, and what repairs one
    shard of a group comes from as few regions as that allows. None for a code without groups.
    """
    if not code.groups:
        return ()
    rest = tuple(sorted(set(range(code.n)).difference(*code.groups)))
    whole = [*code.groups, rest] if rest else list(code.groups)
    found: dict[Parts, None] = {}
    for most in range(max(map(len, whole)), 1, -1):
        pieces = tuple(chain.from_iterable(_cut(group, ceil(len(group) / most)) for group in whole))
        if all(map(code.bears, pieces)):
            found[pieces] = None
    return tuple(found)


def by_group(code: Code) -> list[int]:
    """All shards, those of a group beside each other."""
    order = dict.fromkeys(chain.from_iterable(code.groups))
    return list(order | dict.fromkeys(range(code.n)))


def _cut(group: Sequence[int], pieces: int) -> Iterable[tuple[int, ...]]:
    bounds = [len(group) * piece // pieces for piece in range(pieces + 1)]
    return (tuple(group[low:high]) for low, high in pairwise(bounds))
