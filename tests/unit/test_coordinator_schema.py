"""A state directory of schema 1, as the first versions wrote it, is taken over in place."""

import sqlite3

import numpy as np
import pytest
from killed import checkpoint

from faultset_ray.coordinator import catalog
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.errors import StateFailure
from faultset_ray.geohash import encode_many
from faultset_ray.model import Fleet

# The text of the first version; it never changes.
SCHEMA_1 = """
CREATE TABLE system (name TEXT NOT NULL, epoch INTEGER NOT NULL, holder TEXT NOT NULL, until_ms INTEGER NOT NULL);
CREATE TABLE fleets (
    key INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, precision INTEGER NOT NULL,
    version INTEGER NOT NULL, next_range INTEGER NOT NULL, policy TEXT NOT NULL, policy_version INTEGER NOT NULL
);
CREATE TABLE ranges (
    fleet INTEGER NOT NULL, id INTEGER NOT NULL, lower BLOB NOT NULL, epoch INTEGER NOT NULL, roster INTEGER NOT NULL,
    PRIMARY KEY (fleet, id)
);
CREATE TABLE log (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, fleet INTEGER NOT NULL, kind TEXT NOT NULL, rows INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX log_of_fleet ON log (fleet, seq);
CREATE TABLE requests (seq INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE);
CREATE TABLE moves (
    id INTEGER PRIMARY KEY AUTOINCREMENT, fleet INTEGER NOT NULL, state TEXT NOT NULL, plan TEXT NOT NULL
);
CREATE TABLE checkpoints (
    fleet INTEGER NOT NULL, range INTEGER NOT NULL, version INTEGER NOT NULL, epoch INTEGER NOT NULL,
    since INTEGER NOT NULL, file TEXT, body BLOB, PRIMARY KEY (fleet, range, version)
);
CREATE TABLE retired (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, fleet INTEGER NOT NULL, range INTEGER NOT NULL, children TEXT NOT NULL,
    body BLOB NOT NULL, UNIQUE (fleet, range)
);
"""
TABLES = ("fleets", "ranges", "log", "requests", "moves", "checkpoints", "retired")


@pytest.fixture
def old_state(tmp_path):
    """The directory of a system with a fleet and a checkpoint, its database of schema 1."""
    coordinator = Coordinator("s", True, str(tmp_path), bytes(16))
    lat = np.linspace(-80, 80, 40)
    fleet = Fleet([f"n{i}" for i in range(40)], lat, lat, np.ones(40), name="f")
    coordinator.register(fleet, encode_many(lat, lat, 2), 2, 4, 1000, request=b"once")
    coordinator.save("f", 0, 1, checkpoint(1, 3))
    before = coordinator.directory("f")
    coordinator.close()
    path = tmp_path / "s" / "coordinator.db"
    newer = path.rename(tmp_path / "newer.db")
    with sqlite3.connect(path) as old:
        old.executescript(SCHEMA_1)
        old.execute("ATTACH ? AS newer", (str(newer),))
        old.execute("INSERT INTO system SELECT name, epoch, holder, until_ms FROM newer.system")
        for table in TABLES:
            old.execute(f"INSERT INTO {table} SELECT * FROM newer.{table}")
        old.execute(f"PRAGMA application_id = {catalog.APPLICATION}")
        old.execute("PRAGMA user_version = 1")
    old.close()
    newer.unlink()
    return tmp_path, before


def schema_of(path):
    with sqlite3.connect(path) as other:
        rows = other.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()
        version = other.execute("PRAGMA user_version").fetchone()[0]
    other.close()
    return rows, version


def test_it_is_taken_over_in_place(old_state, tmp_path_factory):
    root, before = old_state
    coordinator = Coordinator("s", True, str(root), b"i" * 16)
    after = coordinator.directory("f")
    assert (after.version, after.ranges, list(after.fleet)) == (before.version, before.ranges, list(before.fleet))
    assert coordinator.checkpoint("f", 0).version == 3
    assert coordinator.about().epoch == 2
    assert (coordinator.fence().catalog, coordinator.fence().epoch) == (b"i" * 16, 2)
    assert coordinator.list_objects() == []
    coordinator.close()
    fresh = tmp_path_factory.mktemp("fresh")
    Coordinator("s", True, str(fresh)).about()
    assert schema_of(root / "s" / "coordinator.db") == schema_of(fresh / "s" / "coordinator.db")
    coordinator = Coordinator("s", True, str(root), b"other id of 16 b")
    assert coordinator.fence().catalog == b"i" * 16, "a catalog has its id for life"


def test_a_step_that_fails_leaves_what_was(old_state, monkeypatch):
    root, before = old_state
    path = root / "s" / "coordinator.db"
    was = schema_of(path)
    monkeypatch.setattr(catalog, "STEPS", (catalog.STEPS[0], f"{catalog.STEPS[1]}; CREATE TABLE system (a)"))
    with pytest.raises(StateFailure, match="already exists"):
        Coordinator("s", True, str(root)).about()
    assert schema_of(path) == was
    monkeypatch.undo()
    assert list(Coordinator("s", True, str(root)).directory("f").fleet) == list(before.fleet)
