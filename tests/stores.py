"""Stores for tests, without a backend."""

from __future__ import annotations

import itertools

from faultset_ray.objects.entry import Fence
from faultset_ray.objects.store import Store
from faultset_ray.shards.reader import ShardFile

FENCE = Fence(b"c" * 16, 1)
_numbers = itertools.count(1)


def store_at(root, place="place-1", region="eu", system="system", *, private=False) -> Store:
    """A store below a directory, or (None) in the temporary one."""
    identity = next(_numbers).to_bytes(16, "big")
    return Store(root and str(root), place, region, system, identity, private=private)


def crash(store: Store) -> None:
    """Let go of a store's directory as the end of its process would: nothing is closed or tidied up."""
    for file in store._home._files:
        file.close()


def shard_files(store: Store) -> list[ShardFile]:
    """Every shard that a store tells of, sound or not."""
    page = store.scan(b"", 1_000_000)
    assert page.next == b""
    rows = zip(page.write_id, page.index.tolist(), strict=True)
    return [store.stat(write_id.tobytes(), index) for write_id, index in rows]
