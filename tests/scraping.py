"""What the nodes of a Ray cluster tell Prometheus, read by its own parser."""

from __future__ import annotations

import time
from urllib.request import urlopen

import ray
from prometheus_client.parser import text_string_to_metric_families

from faultset_ray.telemetry.metric_table import METRICS

PREFIX = "ray_faultset_"
SERIES = [name for metric in METRICS.values() for name in metric.series]
WITHIN_SECONDS = 90.0
"""Processes tell their node's agent every ten seconds, and objects are counted every thirty."""


class Scraped:
    """The samples of all nodes that are alive."""

    def __init__(self):
        self.samples = []
        for node in ray.nodes():
            if node["Alive"]:
                with urlopen(
                    f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics", timeout=10
                ) as page:
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


def scraped_until(check):
    """Scrape until ``check(scraped)`` holds; what did not hold last is raised when it takes too long."""
    deadline = time.monotonic() + WITHIN_SECONDS
    while True:
        try:
            return check(Scraped())
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)
