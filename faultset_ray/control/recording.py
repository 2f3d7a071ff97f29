"""What a driver was told, written down as it comes: a trace of a live fleet, to be replayed."""

from __future__ import annotations

import fcntl
import json
import math
import threading
from contextlib import suppress
from os import SEEK_END, PathLike
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from faultset_ray import columns
from faultset_ray.errors import InputError
from faultset_ray.errors.base import shown
from faultset_ray.geohash import cells_to_strings
from faultset_ray.plain import check_path, finite
from faultset_ray.telemetry import events


class Recording:
    """A ``.jsonl`` trace that grows with each batch of observations; a context manager.

    Where one before was cut off within a line, this one begins on the next; who reads passes over the torn one.

    One recording has a file alone, also among processes: another is refused (``InputError``) until it is closed.

    It is made by ``driver.record``, and may be closed from any thread. Each batch is on its way to the disk
    when ``observe`` returns. A disk that fails ends the recording, not the observing: :meth:`close` then raises.
    """

    def __init__(self, path: str | PathLike[str], fleet: str) -> None:
        self.path = check_path("a recording goes to", path, ".jsonl")
        if self.path.suffix != ".jsonl":
            raise InputError(f"a recording goes to {shown(path)}; expected the path of a .jsonl file")
        self.fleet = columns.check_name("fleet", fleet)
        """Whose observations are written."""
        self.samples = 0
        """How many were written."""
        self._file = self.path.open("a", encoding="utf-8")
        try:
            _lock(self._file.fileno(), self.path)
            torn = _ends_within_a_line(self.path)
        except BaseException:
            self._file.close()
            raise
        if torn:
            events.RECORDING_TORN.tell(path=self.path)
            self._file.write("\n")
        self._lock = threading.Lock()
        self._error: OSError | None = None

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._file.closed

    def take(
        self,
        ids: columns.Strings,
        cells: NDArray[np.uint64],
        latency_ms: NDArray[np.float64],
        ok: NDArray[np.bool_],
        at_ms: NDArray[np.int64],
    ) -> None:
        """Write a batch, one line for each sample; the arrays are of one length."""
        rows = zip(
            *(ids.tolist(), cells_to_strings(cells).tolist(), latency_ms.tolist(), ok.tolist(), at_ms.tolist()),
            strict=True,
        )
        with self._lock:
            if self.closed:
                return
            lines = [_line(*row) for row in rows]
            try:
                self._file.writelines(lines)
                self._file.flush()
            except OSError as error:
                events.RECORDING_ENDED.tell(path=self.path, error=error)
                self._error = error
                with suppress(OSError):
                    self._file.close()
            else:
                self.samples += len(lines)

    def close(self) -> None:
        """End it; a second time does nothing.

        Raises
        ------
        OSError
            The file could not be written to its end.
        """
        with self._lock:
            self._file.close()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _lock(file: int, path: Path) -> None:
    """Have the file alone until it is closed: batches of two recordings would lie between each other, out of order."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"{path} is written by another recording; close that one, or name another file") from None
    except OSError as error:
        events.RECORDING_UNLOCKED.tell(path=path, error=error)


def _ends_within_a_line(path: Path) -> bool:
    if not path.is_file():  # none yet, or nothing that could be read from its end
        return False
    with path.open("rb") as file:
        if file.seek(0, SEEK_END) == 0:
            return False
        file.seek(-1, SEEK_END)
        return file.read(1) != b"\n"


def _line(node: str, region: str, latency_ms: float, ok: bool, at_ms: int) -> str:
    known = None if math.isnan(latency_ms) else finite(latency_ms)
    return json.dumps({"at_ms": at_ms, "node": node, "region": region, "latency_ms": known, "ok": ok}) + "\n"
