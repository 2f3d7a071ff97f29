"""The page of metrics has the whole table."""

from faultset_ray.telemetry.metric_page import made
from faultset_ray.telemetry.metric_table import METRICS


def test_every_metric_is_on_it_once():
    text = made()
    for metric in METRICS.values():
        assert text.count(f"| `{metric.series[0].removesuffix('_bucket')}` |") == 1
