"""A store whose disk refuses system calls, SQLite's too. Run by test_failing_disk, with failing_disk.c preloaded."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from stores import FENCE, crash, store_at

from faultset_ray.errors import StoreFailure
from faultset_ray.objects.record import Record
from faultset_ray.objects.store import Store
from faultset_ray.objects.store_values import SealReceipt, Whole
from faultset_ray.shards.format import Header


def whole(number: int) -> Whole:
    return Whole(Header(0, 2, 3, 64, number.to_bytes(16, "big"), "xor:2+1").pack(), None, None, 0, bytes(32))


def record(number: int) -> bytes:
    fields = (f"object {number}", 1, number.to_bytes(16, "big"), 0, bytes(32), "xor:2+1", 2, 3, 64, 1, 5, "fsync")
    return Record("put", *fields).pack()


def act(store: Store, numbers: range) -> tuple[set[int], set[int], list[str]]:
    """Write shards and their records; those of both that were acknowledged, and what was said of the others."""
    sealed, kept, refused = set(), set(), []
    try:
        for number, result in zip(numbers, store.write([whole(number) for number in numbers], FENCE), strict=True):
            if isinstance(result, SealReceipt):
                sealed.add(number)
            else:
                refused.append(str(result))
        answers = store.record([record(number) for number in sorted(sealed)], FENCE)
        assert answers == [None] * len(sealed), answers
        kept = set(sealed)
    except StoreFailure as error:
        refused.append(str(error))
    return sealed, kept, refused


def check(store: Store, sealed: set[int], kept: set[int]) -> None:
    page = store.scan(b"", 1000)
    assert not any(page.fault), page.fault
    assert {int.from_bytes(row.tobytes(), "big") for row in page.write_id} == sealed
    assert sorted(store.scan_records(b"", 1000)[0]) == sorted(map(record, kept))


def main(root: str, how: str) -> None:
    flag = Path(os.environ["FAIL_FLAG"])
    store = store_at(root)
    sealed, kept, refused = act(store, range(10))
    assert (len(sealed), len(kept), refused) == (10, 10, [])

    flag.write_text(how)
    fails = [act(store, range(start, start + 5)) for start in (100, 200)]
    flag.unlink()
    for more_sealed, more_kept, refused in fails:
        assert refused, "nothing failed"
        assert all("EIO" in why or "ENOSPC" in why for why in refused), refused
        sealed |= more_sealed
        kept |= more_kept
    check(store, sealed, kept)

    more_sealed, more_kept, refused = act(store, range(300, 305))
    assert (len(more_sealed), len(more_kept), refused) == (5, 5, [])
    crash(store)
    again = store_at(root)
    check(again, sealed | more_sealed, kept | more_kept)
    again.close()
    sys.stdout.write(f"{len(sealed)} shards, {len(kept)} records: {fails[0][2][0]}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
