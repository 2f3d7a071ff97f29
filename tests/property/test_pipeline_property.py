"""faultset against the plain pipeline."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import failover as naive

import faultset_ray as fs
from faultset_ray.errors import NoSurvivorsError

crowded = st.integers(-3, 3).map(lambda step: step * 0.7)
coordinates = st.tuples(st.floats(-90, 90) | crowded, st.floats(-180, 180) | crowded)
latencies = st.floats(0, 300) | st.integers(0, 3).map(float) | st.sampled_from([math.nan, math.inf])
thresholds = st.floats(0, 300) | st.sampled_from([0.0, 2.0, math.inf])


@given(st.lists(st.tuples(coordinates, latencies), min_size=1, max_size=60), thresholds, st.integers(1, 12))
def test_faultset(places, threshold, precision):
    nodes = [(f"n{index}", lat, lon, latency) for index, ((lat, lon), latency) in enumerate(places)]
    expected = naive.faultset(nodes, threshold, precision)
    for source in (nodes, fs.Fleet.of(nodes)):
        if expected:
            assert fs.faultset(source, threshold, precision) == expected
        else:
            with pytest.raises(NoSurvivorsError) as caught:
                fs.faultset(source, threshold, precision)
            clusters = naive.clusters(nodes, precision)
            assert caught.value.by_region == {cell: len(members) for cell, members in clusters.items()}
