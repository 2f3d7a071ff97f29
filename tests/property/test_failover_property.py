"""failover against the plain rule, compiled and not."""

import math
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from naive.failover import failover as naive

import faultset_ray as fs
from faultset_ray.kernels.select import _bits, _lexsort, select_grouped

near = st.builds(lambda steps: 98.0 + steps * math.ulp(98.0), st.integers(0, 40))
special = st.sampled_from([0.0, -0.0, math.inf, math.nan])
latency = st.floats(0.0) | st.integers(0, 5).map(float) | near | special
threshold = st.floats(0.0) | st.sampled_from([0.0, -0.0, 98.0, math.inf])


@given(st.lists(latency, min_size=1, max_size=200), threshold)
def test_failover(latencies, limit):
    ids = [f"n{place}" for place in range(len(latencies))]
    assert fs.failover(ids, latencies, limit) == naive(ids, latencies, limit)


@given(st.data(), st.lists(st.integers(0, 30), max_size=12), threshold)
def test_groups(data, sizes, limit):
    starts = np.cumsum([0, *sizes])
    nodes = int(starts[-1]) + data.draw(st.integers(0, 5))
    column = np.array(data.draw(st.lists(latency, min_size=nodes, max_size=nodes)), np.float64)
    order = np.array(data.draw(st.permutations(range(nodes))), np.int64)[: starts[-1]]
    expected = [
        naive(order[begin:end].tolist(), column[order[begin:end]].tolist(), limit) for begin, end in pairwise(starts)
    ]
    positions, plain_counts = _lexsort(column[order], starts, np.uint64(0), _bits(limit))
    for indices, counts in (select_grouped(column, order, starts, limit), (order[positions], plain_counts)):
        assert indices.tolist() == [node for group in expected for node in group]
        assert counts.tolist() == [len(group) for group in expected]
