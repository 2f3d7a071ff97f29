"""Files that become objects when they are closed: what :mod:`faultset_ray.filesystem` opens to be written.

Whoever leaves its block by an error, or only forgets it, leaves nothing.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

from faultset_ray.limits import MIB

_SPOOL_BYTES: Final = 16 * MIB
"""What a file that is being written holds in memory; more goes to a temporary file."""


class _New(io.RawIOBase):
    """A file that is written: whoever leaves its block by an error, or only forgets it, leaves nothing."""

    def writable(self) -> bool:
        return True

    def discard(self) -> None:
        """Close it without an object."""
        raise NotImplementedError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        (self.close if kind is None else self.discard)()

    def __del__(self) -> None:
        self.discard()


class WrittenFile(_New):
    """What is written here is put as one object when it is closed, and not at all if the block that wrote it failed.

    Nor if it is only forgotten: what nobody closed may be half of a file. In a transaction it is put by :meth:`commit`.
    A block failed if it is left by an exception, or if one that was not there when the file was opened is on its way
    while it is closed: of ``with`` blocks of wrappers around this, ``close`` is all that is seen here.
    """

    def __init__(self, put: Callable[[Any], None], autocommit: bool) -> None:
        super().__init__()
        self._put = put
        self._autocommit = autocommit
        self._before = sys.exception()
        self._spool = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 - closed with this

    def write(self, data: Any) -> int:
        """Take bytes; how many."""
        return self._spool.write(data)

    def tell(self) -> int:
        """How many bytes were written."""
        return self._spool.tell()

    def discard(self) -> None:
        """Close it without an object."""
        self._spool.close()
        super().close()

    def commit(self) -> None:
        """Put what was written; nothing where it was discarded."""
        if self._spool.closed:
            return
        try:
            self._spool.seek(0)
            self._put(self._spool)
        finally:
            self.discard()

    def close(self) -> None:
        """Put what was written, unless the block fails that ends with this."""
        if self.closed:
            return
        failing = sys.exception()
        if failing is not None and failing is not self._before:
            self.discard()
        elif self._autocommit:
            self.commit()
        else:
            super().close()  # and its transaction goes on


class PackedFile(_New):
    """Compresses into a :class:`WrittenFile`, and ends as it does."""

    def __init__(self, packer: Any, written: WrittenFile) -> None:
        super().__init__()
        self._packer = packer
        self._written = written

    def write(self, data: Any) -> int:
        """Take bytes; how many."""
        self._packer.write(data)
        return memoryview(data).nbytes

    def discard(self) -> None:
        """Close it without an object."""
        self._written.discard()
        super().close()

    def close(self) -> None:
        """Write the last bytes, and close the file below."""
        if not self.closed:
            super().close()
            self._packer.close()  # its last bytes
            self._written.close()


class TextFile(io.TextIOWrapper):
    """Text into a file that is put when it is closed; a block that failed, or one who forgets it, leaves nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.buffer.discard()  # type: ignore[attr-defined]  # it is one of ours
        else:
            self.close()

    def __del__(self) -> None:
        if not self.buffer.closed:
            self.buffer.discard()  # type: ignore[attr-defined]
