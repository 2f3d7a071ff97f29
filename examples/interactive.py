"""A driver to type along with: who survives in the real fleet, and what changes as measurements come in.

``python examples/interactive.py`` on Ray (a new one on this machine, or the one that RAY_ADDRESS names), with ``local``
in this process. Line by line it does the same in a Python shell or a notebook.
"""

from __future__ import annotations

import sys

import numpy as np

import faultset_ray as fs
from faultset_ray.datasets import azure_fleet

backend = sys.argv[1] if len(sys.argv) > 1 else "ray"

with fs.connect(backend=backend, region_actors=4) as driver:
    fleet = driver.register(azure_fleet("westeurope", per_region=20, seed=0), precision=3)
    answer = driver.survivors(threshold_ms=30.0, fleet=fleet.name)
    print(f"{len(answer)} of {len(fleet)} nodes answer within 30 ms, in {len(answer.by_region)} regions")
    for region, ids in answer.by_region.items():
        print(f"  {region}: {len(ids)}, nearest {ids[0]}")

    # a whole region stops answering: each silence is an observation
    silent = np.array([node_id.startswith("westeurope-") for node_id in fleet.ids])
    driver.observe(fleet.handles[silent], np.full(silent.sum(), np.nan), fleet=fleet.name)
    after = driver.survivors(threshold_ms=30.0, fleet=fleet.name)
    print(
        f"without westeurope: {len(after)}; gone are {', '.join(sorted(set(answer.by_region) - set(after.by_region)))}"
    )

    # it comes back, one node slower than before
    latency = fleet.latency_ms[silent]
    latency[0] = 31.0
    driver.observe(fleet.handles[silent], latency, fleet=fleet.name)
    print(f"back again: {len(driver.survivors(threshold_ms=30.0, fleet=fleet.name))}")
