"""What the drill compares with: the survivors by plain Python and pygeohash, without our own kernels."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faultset_ray.model import Node


def survivors(nodes: Iterable[Node], threshold_ms: float, precision: int) -> list[str]:
    """Ids as ``faultset()`` orders them; a node without a measurement never survives."""
    import pygeohash

    regions: dict[str, list[Node]] = {}
    for node in nodes:
        regions.setdefault(pygeohash.encode(node.lat, node.lon, precision), []).append(node)
    return [
        node.id
        for members in regions.values()
        for node in sorted(members, key=lambda node: node.latency_ms)
        if not math.isnan(node.latency_ms) and node.latency_ms <= threshold_ms
    ]
