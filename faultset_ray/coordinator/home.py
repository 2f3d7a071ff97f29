"""The directory in which a coordinator keeps its state, served by one process at a time.

::

    ROOT/SYSTEM/          0700
      lock                flock held for as long as the state is served
      coordinator.db      SQLite, with coordinator.db-wal beside it
      checkpoints/        one file for each range
"""

from __future__ import annotations

import fcntl
import io
import os
import stat
from pathlib import Path

from faultset_ray.config.process import at_place
from faultset_ray.errors import StateFailure, StateInUse
from faultset_ray.shards.disk import fsync_directory

_DATABASE = "coordinator.db"


def state_root(given: str | None) -> Path:
    """Where systems keep their state at this place: as given, else its ``cluster.state_dir``, else the user's own."""
    named = given or at_place("cluster.state_dir")
    if named:
        return Path(os.path.realpath(named))
    of_user = os.environ.get("XDG_STATE_HOME")
    try:
        base = Path(of_user) if of_user else Path.home() / ".local" / "state"
    except RuntimeError as error:
        raise StateFailure("~", "be found", f"{error}; set FAULTSET_STATE_DIR") from error
    return Path(os.path.realpath(base / "faultset-ray"))


def is_state_named(given: object) -> bool:
    """Whether a caller, or ``cluster.state_dir`` of this machine, says where state is kept."""
    return given is not None or bool(at_place("cluster.state_dir"))


def systems_at(root: Path) -> list[str]:
    """The names of the systems that keep their state under a root, in order."""
    return sorted(path.parent.name for path in root.glob(f"*/{_DATABASE}"))


class StateHome:
    """One system's directory, locked until this object is closed or gone."""

    def __init__(self, root: Path, system: str) -> None:
        self.root = root
        self.path = root / system
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in (self.path, self.checkpoints):
                path.mkdir(mode=0o700, exist_ok=True)
                _check_own(path)
            self._lock = _open_private(self.path / "lock")
        except OSError as error:
            raise StateFailure(str(self.path), "be opened", error.strerror or str(error)) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Only now: in a process that serves it, a close of the file would undo SQLite's own locks on it.
            if not self.database.exists():
                _open_private(self.database).close()  # SQLite gives its other files the mode of this one
                fsync_directory(self.path)
                fsync_directory(root)
        except BlockingIOError:
            self._lock.close()
            raise StateInUse(str(self.path)) from None
        except OSError as error:
            self._lock.close()
            raise StateFailure(str(self.path), "be opened", error.strerror or str(error)) from error

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.path / _DATABASE

    @property
    def checkpoints(self) -> Path:
        """The directory of checkpoints."""
        return self.path / "checkpoints"

    def close(self) -> None:
        """Unlock it."""
        self._lock.close()


def _check_own(path: Path) -> None:
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise StateFailure(str(path), "be used", "it is not a directory of this user's")
    path.chmod(0o700)


def _open_private(path: Path) -> io.FileIO:
    return io.FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "r+")
