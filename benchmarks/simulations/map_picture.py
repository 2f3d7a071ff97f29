"""The map in README and docs/guides/map.md: Azure's regions as West Europe sees them, drawn by the verb itself.

``make docs-map`` runs it.
"""

from __future__ import annotations

import csv
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.simulations import page
from faultset_ray.datasets import azure_fleet
from jobs.map import map as draw
from jobs.output import app

THRESHOLD_MS, PER_REGION = 150, 20


def main() -> None:
    with TemporaryDirectory() as scratch:
        nodes, out = Path(scratch) / "azure.csv", Path(scratch) / "map.html"
        with nodes.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("id", "lat", "lon", "latency_ms"))
            writer.writerows(azure_fleet(per_region=PER_REGION))
        picture = page.ROOT / "docs" / "images" / "map.png"
        arguments = [
            "--nodes-file",
            nodes,
            "--fleet",
            "azure",
            "--threshold",
            THRESHOLD_MS,
            "--out",
            out,
            "--png",
            picture,
        ]
        app(draw)([str(each) for each in arguments])


if __name__ == "__main__":
    main()
