"""What a call of the hook for metrics costs: where nobody listens, and with a recorder."""

import pytest

from faultset_ray.telemetry import metric_table as table
from faultset_ray.telemetry import metrics

CALLS = 1000


def count_often():
    for _ in range(CALLS):
        metrics.count(table.OPERATIONS, 1, "put", "ok")


@pytest.mark.parametrize("listened", [False, True], ids=["nobody", "recorder"])
def test_count(benchmark, listened):
    """Time of ``CALLS`` calls: in microseconds, it is that of one in nanoseconds."""
    benchmark.group = f"{CALLS:,} counts"
    if listened:
        with metrics.recording():
            benchmark(count_often)
    else:
        benchmark(count_often)
