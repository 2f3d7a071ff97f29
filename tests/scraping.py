"""What the nodes of a Ray cluster tell Prometheus, read by its own parser."""

from __future__ import annotations

import json
import time
from pathlib import Path
from urllib.request import urlopen

import ray
from prometheus_client.parser import text_string_to_metric_families

from faultset_ray.telemetry.metric_table import METRICS

PREFIX = "ray_faultset_"
SERIES = [name for metric in METRICS.values() for name in metric.series]
WITHIN_SECONDS = 90.0
"""Processes tell their node's agent every ten seconds, and objects are counted every thirty."""


def attached_nodes():
    """Where those nodes tell that are alive, of the cluster that this process is attached to."""
    return [f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}" for node in ray.nodes() if node["Alive"]]


def discovered(temporary):
    """Where all tell of the cluster with this directory of Ray's, as Prometheus is told it."""
    found = json.loads(Path(temporary, "prom_metrics_service_discovery.json").read_text())
    return [target for each in found for target in each["targets"]]


class Scraped:
    """The samples of all nodes that are alive, or of those at some addresses."""

    def __init__(self, targets=None):
        self.samples = []
        for target in attached_nodes() if targets is None else targets:
            with urlopen(f"http://{target}/metrics", timeout=10) as page:
                families = list(text_string_to_metric_families(page.read().decode()))
            self.samples += [each for family in families for each in family.samples if each.name.startswith(PREFIX)]

    def names(self):
        """Of all series that are ours."""
        return {sample.name for sample in self.samples if not sample.name.endswith("_created")}

    def total(self, name, **labels):
        """The sum over all series of a name that have some labels."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == PREFIX + name and labels.items() <= sample.labels.items()
        )


def scraped_until(check, targets=None):
    """Scrape until ``check(scraped)`` holds; what did not hold last is raised when it takes too long."""
    deadline = time.monotonic() + WITHIN_SECONDS
    while True:
        try:
            return check(Scraped(targets))
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)
