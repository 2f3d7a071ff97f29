"""How long the catalog takes to be made anew from what many stores hold."""

import time

import numpy as np
from hand_clock import by_hand

from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.objects.record import Record
from faultset_ray.objects.store_values import ScanPage, StoreInfo


def test_ten_thousand_objects_are_rebuilt_in_a_few_seconds():
    """The work grows with the records alone: shards are sorted as columns."""
    count, n = 10_000, 14
    rng = np.random.default_rng(1)
    ids = rng.integers(0, 256, (count, 16), np.uint8)
    layout = [f"t{number}" for number in range(20)]
    records = [
        Record(
            *("put", f"o{number}", 1 << 32 | number + 1, ids[number].tobytes(), 10, bytes(32), "rs:10+4", 10, n, 64),
            *(4, 5, "fsync"),
        ).pack()
        for number in range(count)
    ]
    infos = [
        StoreInfo(uuid, "p", "r", "fsync", "/there", 5, 50, catalog=(b"a" * 16).hex(), epoch=1, used_bytes=7, shards=2)
        for uuid in layout
    ]
    coordinator = by_hand(Coordinator("s", identity=b"a" * 16))
    start = time.perf_counter()
    coordinator.rebuild_begin(infos)
    for store, uuid in enumerate(layout):
        mine = np.flatnonzero((store - np.arange(count)) % len(layout) < n)
        page = ScanPage(
            ids[mine],
            ((store - mine) % len(layout)).astype(np.uint16),
            (mine + 1 + (1 << 32)).astype(np.uint64),
            np.zeros((len(mine), 32), np.uint8),
            np.full(len(mine), 10, np.uint64),
            np.full(len(mine), 100, np.uint64),
            [""] * len(mine),
            b"",
        )
        coordinator.rebuild_shards(uuid, b"", page)
        coordinator.rebuild_records(uuid, [records[at] for at in mine.tolist()])
    found = coordinator.rebuild_end()
    seconds = time.perf_counter() - start
    assert (found.objects, found.orphans, found.lost, found.damage, found.garbage) == (count, (), (), 0, 0)
    [entry] = coordinator.lookup(["o7"])
    assert entry.layout == tuple(f"t{(7 + index) % 20}" for index in range(n))
    assert seconds < 15, "about one on a quiet machine"
    coordinator.close()
