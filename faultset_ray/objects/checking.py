"""A shard read back where it lies, some stripes at a time: every byte against its digest."""

from __future__ import annotations

from faultset_ray.backend.protocol import Net
from faultset_ray.limits import CHECK_BYTES, SEAL_SECONDS
from faultset_ray.objects.bucket import Bucket
from faultset_ray.objects.encode import StoreRef
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.store_values import Check


async def check_shard(
    net: Net,
    store: StoreRef,
    write_id: bytes,
    index: int,
    file_bytes: int,
    bucket: Bucket | None = None,
    *,
    beside: bool = False,
) -> str:
    """Have a store read all of a shard; in a few words what is wrong with it, empty if it is sound.

    Parameters
    ----------
    file_bytes
        About how long the shard's file is: it is read in pieces of ``CHECK_BYTES``.
    bucket
        What the bytes wait for.
    beside
        Whether it is the one that is made beside the shard in its place.
    """
    first, stripes = 0, 1
    while True:
        if bucket is not None:
            await bucket.take(min(file_bytes, CHECK_BYTES))
        within = net.within(SEAL_SECONDS)
        check = await within.call(store.addr, PlaceStore.check, write_id, index, first, stripes, beside)
        fault = _fault(check)
        if fault or check.done:
            return fault
        first = check.next_stripe
        stripes = max(1, CHECK_BYTES * check.stripes // max(file_bytes, 1))


def _fault(check: Check) -> str:
    if check.fault:
        return check.fault
    for stripe, granules in check.corrupt.items():
        more = f" and {len(check.corrupt) - 1} stripes more" if len(check.corrupt) > 1 else ""
        return f"corrupt: stripe {stripe}, granules {', '.join(map(str, granules[:8]))}{more}"
    return ""
