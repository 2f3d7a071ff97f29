"""Placement by definition: rendezvous ranks one site at a time, and losses tried one by one."""

import hashlib
import math
from functools import cache
from itertools import combinations, permutations

from naive import gf

MASK = (1 << 64) - 1


def mix(x):
    """The finalizer of MurmurHash3."""
    x ^= x >> 33
    x = x * 0xFF51AFD7ED558CCD & MASK
    x ^= x >> 33
    x = x * 0xC4CEB9FE1A85EC53 & MASK
    return x ^ x >> 33


def name(text):
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def score(key, site, weight):
    drawn = ((mix(key ^ site) >> 12) + 0.5) / 2**52
    return -math.log(drawn) / weight


@cache
def _decodes(generator, rows):
    matrix = [list(generator[row]) for row in rows]
    return len(rows) >= len(generator[0]) and gf.solve(matrix, [[0]] * len(rows)) is not None


def decodes(code, rows):
    """Whether these shards determine the data, by elimination."""
    return _decodes(tuple(map(tuple, code.generator.tolist())), tuple(sorted(rows)))


def survivable(code, held):
    """The largest number of names of which any may be lost; -1 if data is lost already."""
    names = sorted(set(held.values()))
    for losses in range(len(names) + 1):
        for lost in combinations(names, losses):
            if not decodes(code, [index for index, name in held.items() if name not in lost]):
                return losses - 1
    return len(names)


def fits(needs, rooms):
    """Whether each need finds a room of its own that is large enough, whichever way they are dealt."""
    return any(
        all(need <= room for need, room in zip(needs, dealt, strict=True)) for dealt in permutations(rooms, len(needs))
    )
