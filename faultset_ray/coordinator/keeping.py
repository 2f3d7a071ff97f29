"""Checkpoints of ranges: a whole one in a file of its own, and the increments since in the catalog."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faultset_ray.control.checkpoint import Checkpoint, folded
from faultset_ray.coordinator import roster
from faultset_ray.coordinator.catalog import Catalog
from faultset_ray.errors import StateFailure
from faultset_ray.shards.disk import fsync_directory, replace_file
from faultset_ray.telemetry import events


class Keeping:
    """The checkpoints of one system; without a directory they are all in the catalog's memory."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._made_ms: dict[tuple[int, int], int] = {}
        self._directory = catalog.home.checkpoints if catalog.home else None
        self._sweep()

    def save(self, fleet: int, range_id: int, given: Checkpoint) -> int:
        """Keep a checkpoint on top of what is kept of its range; the version that is kept now.

        One that is older than what is kept, or builds on a version that is not, is passed over: the
        answer then differs from its version.
        """
        version, epoch = self.version(fleet, range_id)
        if given.whole:
            fits = given.epoch >= epoch and given.version >= version  # measurements may be newer, changes are not
        else:
            fits = given.epoch >= epoch and given.since <= version < given.version
        if not fits:
            return version
        body = roster.to_bytes(given.to_columns())
        before = self._files(fleet, range_id)
        name = None
        if given.whole and self._directory is not None:
            name = f"{fleet}-{range_id}-{given.epoch}-{given.version}.npz"
            self._write(self._directory / name, body)
        with self._catalog.transaction():
            if given.whole:
                self._catalog.do("DELETE FROM checkpoints WHERE fleet = ? AND range = ?", fleet, range_id)
            self._catalog.do(
                "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?)",
                *(fleet, range_id, given.version, given.epoch, given.since),
                *(name, None if name else body),
            )
        if given.whole:
            self._remove(before - {name})
        self._made_ms[fleet, range_id] = given.at_ms
        return given.version

    def made_ms(self, fleet: int) -> dict[int, int]:
        """When the newest checkpoint of each range was made, of those that this coordinator was given."""
        return {range_id: at_ms for (key, range_id), at_ms in self._made_ms.items() if key == fleet}

    def version(self, fleet: int, range_id: int) -> tuple[int, int]:
        """Version and epoch of what is kept of a range; (-1, 0) where there is nothing."""
        query = "SELECT version, epoch FROM checkpoints WHERE fleet = ? AND range = ? ORDER BY version DESC LIMIT 1"
        version, epoch = self._catalog.one(query, fleet, range_id) or (-1, 0)
        return version, epoch

    def versions(self, fleet: int) -> dict[int, tuple[int, int]]:
        """Epoch and version of what is kept of each range."""
        query = "SELECT range, epoch, version FROM checkpoints WHERE fleet = ? ORDER BY version"  # the last one counts
        return {range_id: (epoch, version) for range_id, epoch, version in self._catalog.all(query, fleet)}

    def load(self, fleet: int, range_id: int) -> Checkpoint | None:
        """The state of a range as a whole; None where there is none, or it can't be read, and so is let go.

        Raises
        ------
        StateFailure
            The disk refused to read it.
        """
        query = "SELECT file, body FROM checkpoints WHERE fleet = ? AND range = ? ORDER BY version"
        try:
            kept = [self._read(name, body) for name, body in self._catalog.all(query, fleet, range_id)]
            return folded(kept) if kept else None
        except (FileNotFoundError, ValueError, KeyError, zipfile.BadZipFile) as error:
            events.CHECKPOINT_UNREADABLE.tell(range=range_id, error=error)
        except OSError as error:
            raise StateFailure(str(self._directory), "be read", error.strerror or str(error)) from error
        with self._catalog.transaction():  # versions begin anew: nothing may be compared with those of what is lost
            after = self.forgetting(fleet, (range_id,))
        after()
        return None

    def forgetting(self, fleet: int, ranges: tuple[int, ...]) -> Callable[[], None]:
        """Inside a transaction: let go of the checkpoints of some ranges; call what returns when it has ended."""
        gone = {name for range_id in ranges for name in self._files(fleet, range_id)}
        for range_id in ranges:
            self._catalog.do("DELETE FROM checkpoints WHERE fleet = ? AND range = ?", fleet, range_id)
        return lambda: self._remove(gone)

    # -- Inside

    def _files(self, fleet: int, range_id: int) -> set[str]:
        query = "SELECT file FROM checkpoints WHERE fleet = ? AND range = ? AND file IS NOT NULL"
        return {name for (name,) in self._catalog.all(query, fleet, range_id)}

    def _read(self, name: str | None, body: bytes | None) -> Checkpoint:
        if name is not None:
            assert self._directory is not None
            body = (self._directory / name).read_bytes()
        assert body is not None
        return Checkpoint.from_columns(roster.from_bytes(body))

    def _write(self, path: Path, body: bytes) -> None:
        try:
            replace_file(path, body, path.with_name(f"{path.name}.tmp"))
        except OSError as error:
            raise StateFailure(str(path), "be written", error.strerror or str(error)) from error

    def _remove(self, names: set[Any]) -> None:
        for name in names:
            assert self._directory is not None
            (self._directory / name).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove files that no transaction took up."""
        if self._directory is not None:
            kept = {name for (name,) in self._catalog.all("SELECT file FROM checkpoints WHERE file IS NOT NULL")}
            for path in self._directory.iterdir():
                if path.name not in kept:
                    path.unlink()
            fsync_directory(self._directory)
