"""Survivors and objects as steps of a Ray DAG: measurements go in, what the trusted nodes sent is kept.

``python examples/dag.py`` on Ray: a new one on this machine, or the one that RAY_ADDRESS names. Each step is an actor
with a driver of its own of one system, which it finds by its name; what passes between them is plain data.
"""

from __future__ import annotations

import json
from typing import Any

import ray
from ray.dag import InputNode

import faultset_ray as fs

SYSTEM = "dag-example"
NODES = [("fra-1", 50.11, 8.68, 12.5), ("fra-2", 50.12, 8.65, 24.0), ("par-1", 48.86, 2.35, 21.0)]


@ray.remote(num_cpus=0)
class Trust:
    """The first step: who of a fleet can be trusted, now that this was measured."""

    def __init__(self) -> None:
        self.driver = fs.connect(system=SYSTEM)
        self.handles = self.driver.register(NODES, precision=3).handles

    def judge(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Report the latencies of a batch, and keep what survivors sent."""
        self.driver.observe(self.handles, batch["latency_ms"])
        trusted = self.driver.survivors(threshold_ms=100.0).ids.tolist()
        return {"name": batch["name"], "rows": {name: batch["rows"][name] for name in trusted}}


@ray.remote(num_cpus=0)
class Keep:
    """The second: an object that outlives the loss of a store, where there is more than one."""

    def __init__(self) -> None:
        self.driver = fs.connect(system=SYSTEM)

    def put(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Store a batch under its name."""
        stored = self.driver.put(batch["name"], json.dumps(batch["rows"]).encode(), code="copy:2", tolerate=0)
        return {"name": stored.name, "generation": stored.generation, "nodes": sorted(batch["rows"])}


with fs.connect(system=SYSTEM) as driver:
    trust, keep = Trust.remote(), Keep.remote()
    with InputNode() as measured:
        graph = keep.put.bind(trust.judge.bind(measured))
    steps = graph.experimental_compile()
    for day, latency_ms in enumerate([[12.0, 25.0, 22.0], [13.0, 400.0, 21.0]], start=1):
        rows = {node[0]: [day] for node in NODES}
        told = ray.get(steps.execute({"name": f"batches/{day}", "latency_ms": latency_ms, "rows": rows}))
        print(f"{told['name']}: {', '.join(told['nodes'])}")
    steps.teardown()

    assert json.loads(driver.get("batches/1")).keys() == {"fra-1", "fra-2", "par-1"}
    assert json.loads(driver.get("batches/2")).keys() == {"fra-1", "par-1"}
    print(f"stored: {', '.join(info.name for info in driver.list('batches/'))}")
    driver.shutdown()
