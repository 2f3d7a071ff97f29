"""The tables of a coordinator's database, as the steps from each schema to the next (``docs/formats.md``)."""

from typing import Final

_FLEETS: Final = """
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

_OBJECTS: Final = """
ALTER TABLE system ADD COLUMN catalog BLOB NOT NULL DEFAULT x'';
CREATE TABLE stores (
    key INTEGER PRIMARY KEY AUTOINCREMENT, uuid TEXT NOT NULL UNIQUE, place TEXT NOT NULL, region TEXT NOT NULL,
    path TEXT NOT NULL, durability TEXT NOT NULL, state TEXT NOT NULL, seen_ms INTEGER NOT NULL,
    capacity_bytes INTEGER NOT NULL, used_bytes INTEGER NOT NULL, free_bytes INTEGER NOT NULL, shards INTEGER NOT NULL
);
CREATE TABLE intents (
    generation INTEGER PRIMARY KEY, write_id BLOB NOT NULL UNIQUE, name BLOB NOT NULL, kind TEXT NOT NULL,
    state TEXT NOT NULL, alone INTEGER NOT NULL, driver TEXT NOT NULL, until_ms INTEGER NOT NULL,
    grace_ms INTEGER NOT NULL, owner INTEGER NOT NULL, spec TEXT NOT NULL, k INTEGER NOT NULL, n INTEGER NOT NULL,
    block_bytes INTEGER NOT NULL, tolerate INTEGER NOT NULL, durability TEXT NOT NULL, layout BLOB NOT NULL,
    former BLOB NOT NULL
);
CREATE INDEX intents_of_name ON intents (name);
CREATE TABLE generations (
    generation INTEGER PRIMARY KEY, write_id BLOB NOT NULL UNIQUE, name BLOB NOT NULL, kind TEXT NOT NULL,
    state TEXT NOT NULL, owner INTEGER NOT NULL, purge_ms INTEGER,
    size INTEGER NOT NULL, sha256 BLOB NOT NULL, spec TEXT NOT NULL, k INTEGER NOT NULL, n INTEGER NOT NULL,
    block_bytes INTEGER NOT NULL, tolerate INTEGER NOT NULL, durability TEXT NOT NULL, created_ms INTEGER NOT NULL,
    layout BLOB NOT NULL, layout_version INTEGER NOT NULL
);
CREATE UNIQUE INDEX visible ON generations (name) WHERE state = 'visible';
CREATE INDEX others ON generations (name, generation) WHERE state <> 'visible';
CREATE INDEX due ON generations (purge_ms) WHERE purge_ms IS NOT NULL;
CREATE INDEX undeleted ON generations (owner) WHERE kind = 'undelete';
CREATE TABLE shards (
    store INTEGER NOT NULL, generation INTEGER NOT NULL, idx INTEGER NOT NULL, PRIMARY KEY (store, generation, idx)
) WITHOUT ROWID;
CREATE TABLE garbage (
    store INTEGER NOT NULL, generation INTEGER NOT NULL, idx INTEGER NOT NULL, PRIMARY KEY (store, generation, idx)
) WITHOUT ROWID;
CREATE INDEX garbage_of_generation ON garbage (generation);
CREATE TABLE damage (
    generation INTEGER NOT NULL, idx INTEGER NOT NULL, store INTEGER NOT NULL, reason TEXT NOT NULL,
    at_ms INTEGER NOT NULL, PRIMARY KEY (generation, idx)
) WITHOUT ROWID;
CREATE TABLE shard_moves (
    generation INTEGER NOT NULL, idx INTEGER NOT NULL, source INTEGER NOT NULL, target INTEGER NOT NULL,
    opened_ms INTEGER NOT NULL, PRIMARY KEY (generation, idx)
) WITHOUT ROWID;
CREATE TABLE notes (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
"""

STEPS: Final = (_FLEETS, _OBJECTS)
"""Step s makes a database of schema s into one of schema s + 1; 0 is an empty file."""
