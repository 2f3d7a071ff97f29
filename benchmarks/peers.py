"""Inputs, and what others would write: the measure of our benchmarks. Every call of a maker draws new values."""

import numpy as np
import polars as pl
import pygeohash

from faultset_ray import Fleet, geohash

chance = np.random.default_rng(20)


def latencies(count: int) -> np.ndarray:
    return chance.gamma(4.0, 25.0, count)


def points(count: int) -> tuple[np.ndarray, np.ndarray]:
    return chance.uniform(-90.0, 90.0, count), chance.uniform(-180.0, 180.0, count)


def fleet(count: int) -> Fleet:
    """Nodes strewn over the earth: with a fine precision, hardly two share a cell."""
    return Fleet([f"node-{index}" for index in range(count)], *points(count), latencies(count))


def urban_fleet(count: int) -> Fleet:
    """Nodes around 300 cities, some 10 km about each."""
    cities = chance.integers(0, 300, count)
    lat, lon = (chance.uniform(-span, span, 300)[cities] for span in (60.0, 179.0))
    lat, lon = lat + chance.normal(0, 0.1, count), lon + chance.normal(0, 0.1, count)
    return Fleet([f"node-{index}" for index in range(count)], lat, lon, latencies(count))


def numpy_failover(latency_ms: np.ndarray, threshold: float) -> np.ndarray:
    """Mask and stable argsort."""
    kept = np.flatnonzero(latency_ms <= threshold)
    return kept[np.argsort(latency_ms[kept], kind="stable")]


def pygeohash_loop(lat: list[float], lon: list[float], precision: int) -> list[str]:
    return [pygeohash.encode(y, x, precision) for y, x in zip(lat, lon, strict=True)]


def python_faultset(nodes: list, threshold: float, precision: int) -> list[str]:
    """Plain Python, with pygeohash."""
    clusters: dict[str, list] = {}
    for node in nodes:
        clusters.setdefault(pygeohash.encode(node.lat, node.lon, precision), []).append(node)
    survivors = []
    for members in clusters.values():
        healthy = [node for node in members if node.latency_ms <= threshold]
        healthy.sort(key=lambda node: node.latency_ms)
        survivors += [node.id for node in healthy]
    return survivors


def numpy_faultset(nodes: Fleet, threshold: float, precision: int) -> list[str]:
    """Numpy and lexsort. Its cells are rectangles of a geohash's size; at their edges it does not care."""
    rows, columns = 2 ** (5 * precision // 2), 2 ** ((5 * precision + 1) // 2)
    row = ((nodes.lat + 90.0) * (rows / 180.0)).astype(np.int64)
    column = ((nodes.lon + 180.0) * (columns / 360.0)).astype(np.int64)
    _, first, region = np.unique(row * columns + column, return_index=True, return_inverse=True)
    kept = np.flatnonzero(nodes.latency_ms <= threshold)
    order = np.lexsort((nodes.latency_ms[kept], first[region[kept]]))
    return nodes.ids[kept[order]].tolist()


def with_cells(nodes: Fleet, precision: int) -> pl.DataFrame:
    """A frame as :func:`polars_faultset` takes it."""
    cells = geohash.encode_many(nodes.lat, nodes.lon, precision)
    return pl.DataFrame({"id": nodes.ids.tolist(), "cell": cells, "latency_ms": nodes.latency_ms})


def polars_faultset(nodes: pl.DataFrame, threshold: float) -> list[str]:
    """Polars, one thread or many as it likes, with the cells given."""
    numbered = nodes.with_row_index("row").with_columns(first=pl.col("row").min().over("cell"))
    kept = numbered.filter(pl.col("latency_ms") <= threshold)
    return kept.sort(["first", "latency_ms", "row"])["id"].to_list()
