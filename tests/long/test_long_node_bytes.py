"""What a node takes up in its range, whatever happens: at most 200 bytes, ids apart, of a million nodes."""

import pytest
from region_bytes import a_day

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


def test_a_node_takes_at_most_200_bytes_at_any_time(large):
    found = dict(a_day(large.count(1_000_000)))
    large.notes.append(", ".join(f"{what} {number:.1f}" for what, number in found.items()))
    assert max(found.values()) <= 200
