"""A store on a disk of a few MiB: filled to the brim with shards, then with records, then emptied. Run by test_disk_full."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from stores import FENCE, crash

from faultset_ray.errors import StoreFailure
from faultset_ray.objects.record import Record
from faultset_ray.objects.store import Store
from faultset_ray.objects.store_values import SealReceipt, Whole
from faultset_ray.shards.digest import granule_digests
from faultset_ray.shards.format import Header

SIZE = 100_000


def whole(number: int) -> Whole:
    header = Header(0, 1, 2, SIZE + 64 - SIZE % 64, number.to_bytes(16, "big"), "copy:2")
    block = np.full(header.layout.block_len(0, SIZE), number % 251, np.uint8)
    return Whole(header.pack(), block, granule_digests(header, 0, block), SIZE, bytes(32))


def tombstone(number: int) -> bytes:
    write_id = (number + (1 << 64)).to_bytes(16, "big")
    fields = (f"{number}" * 100, 1, write_id, 0, bytes(32), "", 0, 0, 0, 0, 5, "fsync")
    return Record("delete", *fields).pack()


def opened(root: str) -> Store:
    return Store(root, "here", "r", "system", bytes(16))


def failed(results: list[object]) -> list[StoreFailure]:
    return [result for result in results if isinstance(result, StoreFailure)]


def main(root: str) -> None:
    store = opened(root)
    held = fill_with_shards(store)
    check_shards(store, held)
    assert not list(Path(store.info().path, "tmp").iterdir())
    assert store.info().free_bytes > 0, "records have room of their own"

    kept = fill_with_records(store)
    assert kept, "not one batch of records"
    check_records(store, kept)
    check_shards(store, held)

    # The end of the process on a full disk, and a start on it, while some other program holds the last bytes.
    ballast = Path(root, "ballast")
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    assert store.info().free_bytes == 0
    crash(store)
    store = opened(root)
    check_shards(store, held)
    check_records(store, kept)
    error = refusal(lambda: store.record([tombstone(kept)], FENCE))
    assert error.errno_name == "ENOSPC", error

    # Deletions make room again.
    gone = sorted(held)[: len(held) // 2]
    assert all(store.drop([(number.to_bytes(16, "big"), None) for number in gone], FENCE))
    held -= set(gone)
    assert not failed(store.write([whole(number) for number in range(20_000, 20_003)], FENCE))
    assert store.record([tombstone(kept)], FENCE) == [None]
    check_shards(store, held | {20_000, 20_001, 20_002})
    check_records(store, kept + 1)
    store.close()
    sys.stdout.write(f"{len(held) + len(gone)} shards, {kept} records\n")


def fill_with_shards(store: Store) -> set[int]:
    """Shards until there is no room for more; those that were acknowledged."""
    held: set[int] = set()
    while True:
        batch = list(range(len(held), len(held) + 7))
        try:
            results = store.write([whole(number) for number in batch], FENCE)
        except StoreFailure as error:
            check_full([error])
            return held
        held |= {number for number, result in zip(batch, results, strict=True) if isinstance(result, SealReceipt)}
        if failed(results):
            check_full(failed(results))
            return held


def fill_with_records(store: Store) -> int:
    """Records until there is no room for more; how many were acknowledged."""
    kept = 0
    while True:
        try:
            assert store.record([tombstone(number) for number in range(kept, kept + 50)], FENCE) == [None] * 50
        except StoreFailure as error:
            check_full([error])
            return kept
        kept += 50


def check_full(errors: Sequence[StoreFailure]) -> None:
    assert {error.errno_name for error in errors} == {"ENOSPC"}


def refusal(act: Callable[[], object]) -> StoreFailure:
    try:
        act()
    except StoreFailure as error:
        return error
    raise AssertionError("there was room")


def check_shards(store: Store, held: set[int]) -> None:
    page = store.scan(b"", 100_000)
    assert not any(page.fault), page.fault
    assert {int.from_bytes(row.tobytes(), "big") for row in page.write_id} == held
    assert store.info().shards == len(held)
    for number in held:
        found = store.check(number.to_bytes(16, "big"), 0)
        assert found.done and not found.corrupt and not found.fault  # noqa: PT018


def check_records(store: Store, kept: int) -> None:
    found, _ = store.scan_records(b"", 1_000_000)
    assert sorted(found) == sorted(tombstone(number) for number in range(kept))


if __name__ == "__main__":
    main(sys.argv[1])
