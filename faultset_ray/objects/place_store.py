"""The store of one place, as a servant: configured by the place's own environment."""

from __future__ import annotations

import os
from typing import ClassVar

from faultset_ray.backend.protocol import Servant
from faultset_ray.objects.store import Store

STORE_DIR = "FAULTSET_STORE_DIR"


class PlaceStore(Store, Servant):
    """A :class:`~faultset_ray.objects.store.Store` below ``FAULTSET_STORE_DIR`` as it is set at the place.

    Where it is not set, shards lie in a private temporary directory and are gone with the process.
    """

    concurrency: ClassVar[int] = 8

    def __init__(self, place: str, region: str, system: str, identity: bytes, private: bool) -> None:
        super().__init__(os.environ.get(STORE_DIR) or None, place, region, system, identity, private=private)
