"""Damage to shards, by seed: what disks, networks, people and mixed-up directories do to them."""

import random

from google_crc32c import value as crc32c  # the naive one takes too long for a million


def spoil(random: random.Random, shards: list[bytes], others: list[bytes], stale: list[bytes]) -> list[bytes]:
    """Some kinds of damage to a pile of shards, then the pile in another order.

    ``others`` are shards of another object, ``stale`` those of an older write of the same one.
    """
    pile = list(shards)
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4, 6))):
        kind = random.choice(KINDS)
        at = random.randrange(len(pile))
        pile[at : at + 1] = kind(random, pile[at], pile, others, stale)
        if not pile:
            return pile
    random.shuffle(pile)
    return pile


def flip(random, shard, pile, others, stale):
    return [_put(shard, _somewhere(random, shard), lambda byte: byte ^ 1 << random.randrange(8), 1)]


def burst(random, shard, pile, others, stale):
    return [_put(shard, _somewhere(random, shard), lambda byte: random.randrange(256), random.randrange(2, 65))]


def zero(random, shard, pile, others, stale):
    return [_put(shard, _somewhere(random, shard), lambda byte: 0, random.randrange(1, 600))]


def truncate(random, shard, pile, others, stale):
    return [shard[: random.randrange(len(shard) + 1)]]


def extend(random, shard, pile, others, stale):
    return [shard + random.randbytes(random.choice((1, 4, 64, 160, 256)))]


def swap(random, shard, pile, others, stale):
    """Two stretches of one shard, or of two, change places."""
    other = random.choice(pile)
    size = random.choice((64, 160, 256, 320))
    if min(len(shard), len(other)) <= size:
        return [shard]
    to, of = random.randrange(len(shard) - size), random.randrange(len(other) - size)
    return [shard[:to] + other[of : of + size] + shard[to + size :]]


def duplicate(random, shard, pile, others, stale):
    return [shard, flip(random, shard, pile, others, stale)[0] if random.random() < 0.5 else shard]


def lose(random, shard, pile, others, stale):
    return []


def wrong_index(random, shard, pile, others, stale):
    """The header says another index; with its CRC made right, and perhaps that of the trailer."""
    if len(shard) < 416:
        return [shard]
    head = bytearray(shard[:252])
    head[16:20] = random.randrange(int.from_bytes(head[24:28], "little") or 1).to_bytes(4, "little")
    return [_sealed(bytes(head), shard, trailer=random.random() < 0.8)]


def other_object(random, shard, pile, others, stale):
    return [shard, random.choice(others)] if random.random() < 0.5 else [random.choice(others)]


def outdated(random, shard, pile, others, stale):
    return [shard, random.choice(stale)] if random.random() < 0.5 else [random.choice(stale)]


def garbage(random, shard, pile, others, stale):
    return [random.randbytes(random.choice((0, 1, 255, 256, 500)))]


def header_field(random, shard, pile, others, stale):
    """Any field of the header is anything, with all CRCs made right."""
    if len(shard) < 416:
        return [shard]
    head = bytearray(shard[:252])
    at = random.randrange(8, 252)
    head[at] = random.randrange(256)
    return [_sealed(bytes(head), shard, trailer=True)]


def trailer_field(random, shard, pile, others, stale):
    """Any field of the trailer is anything, with its CRC made right."""
    if len(shard) < 416:
        return [shard]
    at = len(shard) - 160 + random.randrange(8, 156)
    changed = shard[:at] + bytes([random.randrange(256)]) + shard[at + 1 :]
    return [_sealed(shard[:252], changed, trailer=True)]


KINDS = (
    flip, flip, burst, zero, truncate, extend, swap, duplicate, lose, lose, wrong_index, other_object, outdated,
    garbage, header_field, trailer_field,
)  # fmt: skip


def _somewhere(random, shard):
    """Anywhere, the two ends as often as all between them."""
    if not shard:
        return 0
    place = random.randrange(3)
    if place == 0:
        return random.randrange(min(256, len(shard)))
    if place == 1:
        return len(shard) - 1 - random.randrange(min(160, len(shard)))
    return random.randrange(len(shard))


def _put(shard, at, change, count):
    damaged = bytearray(shard)
    for place in range(at, min(at + count, len(damaged))):
        damaged[place] = change(damaged[place])
    return bytes(damaged)


def _sealed(head: bytes, shard: bytes, *, trailer: bool) -> bytes:
    made = head + crc32c(head).to_bytes(4, "little") + shard[256:]
    if trailer:
        made = made[:-4] + crc32c(head + made[-160:-4]).to_bytes(4, "little")
    return made
