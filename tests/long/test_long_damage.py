"""A million damaged piles of shards, and millions of headers: never wrong bytes, never an error of another kind."""

import random

import pytest
from google_crc32c import value as crc32c
from large import COVERING
from property.test_damage import HEAD, compare, parse, run

pytestmark = pytest.mark.long


@pytest.mark.timeout(4 * 3600)
def test_damaged_piles(large):
    count = large.count(1_000_000)
    counts = run(count, large.seed)
    assert sum(counts.values()) - counts["stale told"] == count
    assert counts["decoded"] > count // 4 or count < COVERING


@pytest.mark.timeout(4 * 3600)
def test_all_paths_agree(large, tmp_path):
    count = large.count(1_000_000) // 100
    assert sum(compare(count, large.seed, tmp_path).values()) == count


@pytest.mark.timeout(4 * 3600)
def test_fuzzed_headers(large):
    rng = random.Random(large.seed)
    taken = 0
    count = large.count(1_000_000)
    for _ in range(count):
        head = bytearray(HEAD[:252])
        for _ in range(rng.randrange(1, 9)):
            at = rng.randrange(252)
            head[at : at + 4] = rng.randbytes(min(4, 252 - at))
        raw = bytes(head)
        taken += parse(raw + (crc32c(raw) if rng.random() < 0.9 else 0).to_bytes(4, "little"))
    assert 0 < taken < count or count < COVERING
