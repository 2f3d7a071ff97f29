"""Where the stores of a system are, region by region, as a map shows them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from faultset_ray.backend.protocol import Place
from faultset_ray.driver.upkeep import StoreStatus
from faultset_ray.errors import InvalidGeohashError
from faultset_ray.geohash import strings_to_cells
from faultset_ray.maps.survey import StoreSite


def sites_of(stores: Iterable[StoreStatus], places: Sequence[Place]) -> list[StoreSite]:
    """Stores by the region of their place, in the order of the regions' names; without those that were let go of.

    A region is where a place of it that is here says it is.
    """
    cells: dict[str, str] = {}
    for place in places:
        if _is_geohash(place.cell):
            cells.setdefault(place.region, place.cell)
    by_region: defaultdict[str, list[StoreStatus]] = defaultdict(list)
    for store in stores:
        if store.row.state != "retired":
            by_region[store.row.region].append(store)
    return [
        StoreSite(
            region,
            cells.get(region, ""),
            len(found),
            sum(store.here for store in found),
            sum(store.row.shards for store in found),
            sum(store.row.used_bytes for store in found),
        )
        for region, found in sorted(by_region.items())
    ]


def _is_geohash(text: str) -> bool:
    """Whether a label says where a place is: anyone may have written it."""
    try:
        strings_to_cells([text])
    except InvalidGeohashError:
        return False
    return True
