"""A driver on the head of three hosts, one of which is cut off and healed; leaves what it saw as JSON.

Run by ``test_places_cut_off.py``, in the head's namespaces.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import ray
from host.hosts import ADDRESS, addresses, cable

import faultset_ray as fs
from faultset_ray.control.prober import PLACES

FOUND, *HOSTS = sys.argv[1:]
SECONDS = 120.0


def until(condition):
    begun = time.monotonic()
    while not (answer := condition()):
        if time.monotonic() - begun > SECONDS:
            raise TimeoutError(f"not within {SECONDS:g} s")
        time.sleep(0.02)
    return answer, time.monotonic() - begun


def node_of(address):
    return next(node for node in ray.nodes() if node["NodeManagerAddress"] == address)


def main():
    ips = addresses(HOSTS)
    with fs.connect(ADDRESS) as driver:
        until(lambda: len(driver.places()) == 1 + len(HOSTS))
        place_of = {host: node_of(address)["NodeID"] for host, address in ips.items()}

        def survive(host):
            answer, _ = until(lambda: (found := driver.survivors(fleet=PLACES)).whole and found)
            return place_of[host] in answer.ids

        def timed(action):
            begun = time.monotonic()
            return action(), time.monotonic() - begun

        with driver.probe() as probing:
            probing.measured()
            until(lambda: all(map(survive, HOSTS)))
            pairs = [(a, b) for a in place_of.values() for b in place_of.values() if a != b]
            until(lambda: all(probing.round_trips().get(pair) for pair in pairs))
            payload = bytes(range(256)) * 2000
            shards = driver.encode(payload, "rs:2+1")
            decoded = [driver.decode(shards) == payload]

            cut = next(host for host in HOSTS if place_of[host] == shards.shards[0].place)
            cable(cut, "down")
            _, seen_s = until(lambda: not survive(cut))
            ray_thinks_alive = node_of(ips[cut])["Alive"]
            others = [survive(host) for host in HOSTS if host != cut]
            right, read_s = timed(lambda: driver.decode(shards) == payload)
            decoded.append(right)
            written, write_s = timed(lambda: driver.encode(payload, "rs:1+1"))
            avoided = place_of[cut] not in {held.place for held in written.shards.values()}

            cable(cut, "up")
            _, healed_s = until(lambda: survive(cut))
            decoded.append(driver.decode(shards) == payload)
            found = {
                "seen_s": seen_s,
                "ray_thinks_alive": ray_thinks_alive,
                "others": others,
                "read_s": read_s,
                "write_s": write_s,
                "avoided": avoided,
                "healed_s": healed_s,
                "same_node": node_of(ips[cut])["NodeID"] == place_of[cut] and node_of(ips[cut])["Alive"],
                "decoded": decoded,
            }
            Path(FOUND).write_text(json.dumps(found))


main()
