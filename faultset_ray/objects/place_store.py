"""The store of one place, as a servant: configured by the place's own environment, or its own file."""

from __future__ import annotations

from typing import ClassVar

from faultset_ray.backend.protocol import Servant
from faultset_ray.config.process import at_place
from faultset_ray.objects.store import Store


class PlaceStore(Store, Servant):
    """A :class:`~faultset_ray.objects.store.Store` below ``stores.dir`` as it is set at the place.

    Where it is not set, shards lie in a private temporary directory and are gone with the process.
    """

    concurrency: ClassVar[int] = 8

    def __init__(self, place: str, region: str, system: str, identity: bytes, private: bool) -> None:
        super().__init__(at_place("stores.dir"), place, region, system, identity, private=private)
