"""Failover and its pipeline, one node at a time."""

from . import geohash


def failover(ids, latencies, threshold):
    survivors = [(latency, place) for place, latency in enumerate(latencies) if latency <= threshold]
    return [ids[place] for _, place in sorted(survivors, key=lambda survivor: survivor[0])]  # sorted is stable


def clusters(nodes, precision):
    """{cell: [(id, lat, lon, latency), …]}, both in input order."""
    found = {}
    for node in nodes:
        found.setdefault(geohash.encode(node[1], node[2], precision), []).append(node)
    return found


def faultset(nodes, threshold, precision):
    survivors = []
    for members in clusters(nodes, precision).values():
        survivors += failover([node[0] for node in members], [node[3] for node in members], threshold)
    return survivors
