"""The bytes of whatever holds bytes, where they lie."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultset_ray.errors import InputError


def as_bytes(what: str, buffer: Any, expected: str) -> NDArray[np.uint8]:
    """View a buffer's memory, read-only if the buffer is.

    Parameters
    ----------
    what, expected
        How errors name it, and what they ask for.
    buffer
        Bytes, a bytearray, memoryview, or an array of any dtype and shape.

    Returns
    -------
    uint8[n]
        No copy.

    Raises
    ------
    InputError
        It has no memory of its own to view, refers to Python objects, or is not C-contiguous.
    """
    try:
        array = np.asarray(buffer if isinstance(buffer, np.ndarray) else memoryview(buffer))
    except (TypeError, ValueError):
        raise InputError(f"{what} is {type(buffer).__name__}; expected {expected}") from None
    if array.dtype.hasobject:
        raise InputError(f"{what} is an array of Python objects; expected {expected}")
    if not array.flags.c_contiguous:
        raise InputError(f"{what} is not contiguous; pass numpy.ascontiguousarray of it")
    return array.reshape(-1).view(np.uint8)


def is_fixed(data: Any) -> bool:
    """Whether nobody can write to the memory that a buffer shows: that of ``bytes``, or of a read-only exporter."""
    while isinstance(data, (np.ndarray, memoryview)):
        if data.flags.writeable if isinstance(data, np.ndarray) else not data.readonly:
            return False
        data = data.base if isinstance(data, np.ndarray) else data.obj
    return data is not None and not isinstance(data, mmap.mmap) and memoryview(data).readonly
