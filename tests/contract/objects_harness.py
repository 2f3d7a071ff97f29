"""Backends for the suites of objects: seven places with stores in four regions, lost and damaged at will."""

from __future__ import annotations

import os
from pathlib import Path

from contract.harnesses import harness_of
from faultset_ray.backend.protocol import Place

LABELS = [{"faultset.io/region": f"r{index % 4}", "faultset.io/store": "true"} for index in range(7)]
PLACES = [Place("home"), *(Place(f"p{index}", labels) for index, labels in enumerate(LABELS))]


def objects_harness(kind):
    return harness_of(kind, PLACES, LABELS, "objects", store_dir=os.environ["FAULTSET_STORE_DIR"])


def shard_path(stat, index):
    return Path(stat.locations[index][2])
