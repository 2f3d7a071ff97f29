"""A catalog of COUNT objects: what a thousand commits and lookups cost as it grows, and its size on disk."""

import os
import time

import pytest

from faultset_ray.coordinator.objects import Commit, Intent
from faultset_ray.coordinator.servant import Coordinator

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]
BATCH = 1_000
SHARDS = 14
STORES = [f"store-{number:02}" for number in range(40)]


def test_long_catalog(large, tmp_path):
    coordinator = Coordinator("s", True, str(tmp_path))
    count = large.count(1_000_000)
    commits, lookups = [], []
    for first in range(0, count, BATCH):
        names = [f"bucket-{number % 7}/{number:09}" for number in range(first, first + BATCH)]
        layouts = [tuple(STORES[(number + index) % 40] for index in range(SHARDS)) for number in range(BATCH)]
        intents = [
            Intent(os.urandom(16), "put", name, "rs:10+4", 10, SHARDS, 65_536, 4, layout, "driver")
            for name, layout in zip(names, layouts, strict=True)
        ]
        start = time.perf_counter()
        coordinator.open_writes(intents)
        coordinator.commit_writes([Commit(intent.write_id, 100, bytes(32), intent.layout, 0) for intent in intents])
        between = time.perf_counter()
        found = coordinator.lookup(names[::-1])
        end = time.perf_counter()
        assert [entry.record.write_id for entry in found[::-1]] == [intent.write_id for intent in intents]
        commits.append(between - start)
        lookups.append(end - between)
    assert coordinator.tally().objects == count
    tenth = max(len(commits) // 10, 1)
    for what, seconds in (("commit", commits), ("lookup", lookups)):
        early, late = sorted(seconds[:tenth])[tenth // 2], sorted(seconds[-tenth:])[tenth // 2]
        large.notes.append(
            f"{what} of {BATCH:,}: {early * 1000:.0f} ms in the first tenth, {late * 1000:.0f} ms in the last"
        )
        assert late < 3 * early + 0.05, f"{what} grows with the catalog"
    start = time.perf_counter()
    page = coordinator.list_objects("bucket-3/", "bucket-3/000000500", 1_000)
    assert len(page) == min(1_000, len([n for n in range(501, count) if n % 7 == 3]))
    entries, _ = coordinator.by_store("store-00", 0, 500)
    assert len(entries) == min(500, count * SHARDS // 40)
    large.notes.append(f"a page of a list and of a store {1000 * (time.perf_counter() - start):.0f} ms")
    coordinator.close()
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    large.notes.append(f"{size / count:.0f} bytes an object")
