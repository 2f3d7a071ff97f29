"""Every node and the head end, and start again on the same disks; then the catalog is deleted, and made again."""

from __future__ import annotations

import pytest

from cluster.disks import Hosts
from cluster.kept_objects import CRASHED
from cluster.support import result_of, verb

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture
def hosts(tmp_path):
    with Hosts(tmp_path, "abcd") as running:
        yield running


def test_a_full_stop_loses_nothing_and_a_lost_catalog_is_made_again_as_it_was(hosts):
    before = hosts.drive("write")
    assert len(before["objects"]) == 13
    hosts.stop_and_start()
    assert hosts.drive("show") == before

    hosts.drive("crash", "put.sealed", "never acknowledged", code=CRASHED)
    hosts.drive("crash", "put.one_record", "recorded", code=CRASHED)
    hosts.lose_catalog()
    refused = verb(hosts.environ, "ls", code=2)
    assert result_of(refused)["error"]["code"] == "unknown_system"
    for what in ("put", "get"):
        refused = verb(hosts.environ, what, "twice", "-", data=b"something else", code=5)
        assert result_of(refused)["error"]["code"] == "catalog_lost"
    rebuilt = result_of(verb(hosts.environ, "rebuild"))
    assert (rebuilt["objects"], rebuilt["deleted"], rebuilt["lost"]) == (14, 1, [])
    found = result_of(verb(hosts.environ, "scrub", "--drop-orphans"))
    assert (found["missing"], found["corrupt"], len(found["orphans"])) == (0, 0, rebuilt["orphans"])
    assert rebuilt["orphans"] == 4, "of the write that was never acknowledged"
    assert result_of(verb(hosts.environ, "scrub", "--deep"))["orphans"] == []
    after = hosts.drive("show")
    rolled_forward = after["objects"].pop("recorded")
    assert (rolled_forward["health"], rolled_forward["survivable"]) == ("healthy", 2)
    assert after == before
    verb(hosts.environ, "rm", "gone", "--undo")
