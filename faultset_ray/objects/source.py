"""Where an object's bytes come from: memory or a file, read once, stripe by stripe, and hashed on the way."""

from __future__ import annotations

import hashlib
import os
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from faultset_ray.errors import InputError
from faultset_ray.objects.buffers import as_bytes, is_fixed
from faultset_ray.shards.memory import empty

Bytes = NDArray[np.uint8]
Data = bytes | bytearray | memoryview | NDArray[Any] | str | os.PathLike[str]
"""Bytes, a bytearray, memoryview or array of any dtype; or a path as str or PathLike."""


class Source:
    """Bytes of known size, to be read once in order; a context manager.

    Raises
    ------
    InputError
        Neither a path nor a contiguous buffer, or no regular file.
    OSError
        The file can't be opened.
    """

    def __init__(self, data: Data) -> None:
        self.file: FileIO | None = None
        self._memory: Bytes | None = None
        self._fixed = False
        if isinstance(data, (str, os.PathLike)):
            path = Path(data)
            if not path.exists():
                raise InputError(f"there is no file {path}")
            if not path.is_file():
                raise InputError(f"{path} is {'a directory' if path.is_dir() else 'no regular file'}; expected a file")
            self.file = path.open("rb", buffering=0)
            self.size = os.fstat(self.file.fileno()).st_size
            self.name = path.name
        else:
            self._memory = as_bytes("data", data, "bytes, an array, or the path of a file")
            self._fixed = is_fixed(data)
            self.size = len(self._memory)
            self.name = f"{self.size:,} bytes"
        self._at = 0
        self._hash = hashlib.sha256()

    def read(self, nbytes: int) -> Bytes:
        """The next bytes: uint8[nbytes]; a view of memory that nobody can write to, else a copy.

        What is hashed is what is encoded, also where the caller changes its memory meanwhile.

        Raises
        ------
        InputError
            The file became shorter than it was.
        """
        if self._memory is not None:
            piece = self._memory[self._at : self._at + nbytes]
            if not self._fixed:
                copy = empty(piece.size)
                copy[:] = piece
                piece = copy
        else:
            assert self.file is not None
            piece = empty(nbytes)
            piece = piece[: self._fill(piece)]
            if piece.size != nbytes:
                ended = self._at + piece.size
                raise InputError(f"{self.name} ended at byte {ended:,} of {self.size:,}: it changed while it was read")
        self._at += nbytes
        self._hash.update(piece.data)
        return piece

    def _fill(self, piece: Bytes) -> int:
        """Read into memory; how many bytes is told, fewer than fit only at the file's end."""
        assert self.file is not None
        at = 0
        while at < piece.size and (count := self.file.readinto(piece.data[at:])):
            at += count
        return at

    def sha256(self) -> bytes:
        """Digest of what was read so far."""
        return self._hash.digest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.file is not None:
            self.file.close()
