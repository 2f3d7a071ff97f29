"""Moves that were begun, and what is left of ranges that gave way, in the catalog."""

from __future__ import annotations

import json
from dataclasses import replace

from faultset_ray.control.checkpoint import Checkpoint
from faultset_ray.coordinator import roster
from faultset_ray.coordinator.catalog import Catalog
from faultset_ray.coordinator.moves import Move, Retired
from faultset_ray.limits import RETIRED_RANGES_MAX


class Shelf:
    """Rows about ranges that come and go; all that writes is called inside a transaction."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def begin(self, fleet: int, move: Move) -> Move:
        """Write an intent down; it gets its id."""
        plan = move.to_json()
        move_id = self._catalog.do("INSERT INTO moves (fleet, state, plan) VALUES (?, 'open', ?)", fleet, plan)
        return replace(move, id=move_id)

    def end(self, move_id: int, state: str) -> None:
        """Note how a move ended, and forget old ones."""
        self._catalog.do("UPDATE moves SET state = ? WHERE id = ?", state, move_id)
        self._catalog.do("DELETE FROM moves WHERE state <> 'open' AND id <= ?", move_id - RETIRED_RANGES_MAX)

    def state(self, fleet: int, move_id: int) -> str:
        """``open``, ``committed`` or ``aborted``; empty where it is not known (any more)."""
        [state] = self._catalog.one("SELECT state FROM moves WHERE fleet = ? AND id = ?", fleet, move_id) or ("",)
        return str(state)

    def open(self, fleet: int, name: str) -> dict[int, Move]:
        """A fleet's moves that are not ended."""
        query = "SELECT id, plan FROM moves WHERE fleet = ? AND state = 'open' ORDER BY id"
        return {move_id: Move.from_json(move_id, name, plan) for move_id, plan in self._catalog.all(query, fleet)}

    def retire(self, fleet: int, range_id: int, retired: Retired) -> None:
        """Keep what is left of a range, and forget the oldest."""
        body = roster.to_bytes(retired.last.to_columns())
        children = json.dumps(retired.children)
        self._catalog.do(
            "INSERT INTO retired (fleet, range, children, body) VALUES (?, ?, ?, ?)", fleet, range_id, children, body
        )
        self._catalog.do(
            "DELETE FROM retired WHERE fleet = ? AND seq NOT IN "
            "(SELECT seq FROM retired WHERE fleet = ? ORDER BY seq DESC LIMIT ?)",
            *(fleet, fleet, RETIRED_RANGES_MAX),
        )

    def retired(self, fleet: int, range_id: int) -> Retired | None:
        """What is left of a range; None where nothing is."""
        row = self._catalog.one("SELECT children, body FROM retired WHERE fleet = ? AND range = ?", fleet, range_id)
        if not row:
            return None
        return Retired(tuple(json.loads(row[0])), Checkpoint.from_columns(roster.from_bytes(row[1])))
