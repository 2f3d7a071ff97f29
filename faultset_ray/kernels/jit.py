"""``@kernel``: numba's ``njit`` where numba is present and wanted, else the plain function.

``FAULTSET_DISABLE_NUMBA=1`` (or an environment without numba) gives the same results from the same
source, slower. Where a plain loop would be too slow to use, the wrapper of a kernel asks
:data:`HAVE_NUMBA` and takes a numpy expression instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def _numba_wanted() -> bool:
    return os.environ.get("FAULTSET_DISABLE_NUMBA", "") in ("", "0")


HAVE_NUMBA: bool = False
"""True when kernels are compiled in this process."""

if _numba_wanted():
    try:
        import numba
    except ImportError:
        pass
    else:
        HAVE_NUMBA = True


def kernel(*, parallel: bool = False, inline: bool = False) -> Callable[[F], F]:
    """Compile a function lazily, without the GIL and cached on disk.

    Lazy, since arrays from Ray's object store are read-only and an eager signature refuses them.
    No fastmath: results are the same bits with and without numba.
    """

    def decorate(function: F) -> F:
        if not HAVE_NUMBA:
            return function
        options: dict[str, Any] = {"nogil": True, "cache": True, "parallel": parallel, "error_model": "numpy"}
        if inline:
            options["inline"] = "always"
        compiled: F = numba.njit(**options)(function)
        return compiled

    return decorate
