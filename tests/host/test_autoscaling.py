"""Nodes join when region actors and tasks wait for room, and leave when ranges were packed onto fewer, or a store emptied.

With Ray's own autoscaler, both versions of it, and real raylets for the node types of ``cluster.yaml``.
"""

from __future__ import annotations

import pytest
from host.elastic import in_namespaces

pytestmark = [
    pytest.mark.host,
    pytest.mark.needs("root", "namespaces", "ip", "bash", "mount"),
    pytest.mark.timeout(900),
    pytest.mark.parametrize("version", ["v1", "v2"]),
]


@pytest.fixture
def report(request, capfd):
    """Show what was found, also where the test passes."""

    def show(found):
        with capfd.disabled():
            print(f"\n{request.node.name}: {', '.join(f'{name} {value:g}' for name, value in found.items())}")  # noqa: T201

    return show


def test_what_is_wanted_comes_and_goes_again(version, report, tmp_path):
    report(in_namespaces("hints", version, tmp_path / "found", 300))


def test_load_rises_and_falls_and_no_answer_is_wrong(version, report, tmp_path):
    found = in_namespaces("load_rises_and_falls", version, tmp_path / "found", 800)
    report(found)
    assert found["answers"] > 50


def test_a_store_holds_its_node_until_it_is_emptied(version, report, tmp_path):
    report(in_namespaces("stores_leave", version, tmp_path / "found", 400))
