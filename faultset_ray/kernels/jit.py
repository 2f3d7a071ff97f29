"""``@kernel``: numba's ``njit`` where numba is present and wanted, else the plain function.

``FAULTSET_DISABLE_NUMBA=1`` (or an environment without numba) gives the same results from the same
source, slower. Where a plain loop would be too slow to use, the wrapper of a kernel asks
:data:`HAVE_NUMBA` and takes a numpy expression instead.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def _numba_wanted() -> bool:
    return os.environ.get("FAULTSET_DISABLE_NUMBA", "").strip().lower() in ("", "0", "false", "no", "off")


HAVE_NUMBA: bool = False
"""True when kernels are compiled in this process."""

if _numba_wanted():
    try:
        import numba
    except ImportError:
        pass
    else:
        HAVE_NUMBA = True

_HERE = Path(__file__).parent


@cache
def _sources_digest() -> bytes:
    digest = hashlib.sha256()
    for path in sorted(_HERE.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.digest()


def _cache_path() -> Path:
    """``NUMBA_CACHE_DIR`` or the user's cache directory, and there a directory for this text of the kernels."""
    chosen = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(chosen, "faultset-ray", f"kernels-{_sources_digest().hex()[:16]}")


def cache_state() -> tuple[str, str]:
    """Where compiled kernels are kept, and why that can't be: empty if it can. Makes the directory if need be."""
    try:
        path = _cache_path()
        _make_writable(path)
    except (OSError, RuntimeError) as error:  # no home, or none that may be written to
        return "", str(error)
    return str(path), ""


def _make_writable(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=path).close()


class _KernelCache:
    """Where numba keeps our compiled kernels: a cache locator, as in ``numba.core.caching``.

    It goes by the text of all kernels, not by where they lie. So a worker finds what another process of
    this machine compiled, though the code was shipped to a directory of its own. And a kernel is compiled
    anew when one that it calls has changed, which numba, looking at single files, would not notice.
    """

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self._py_file = file  # named in numba's warnings
        self._disambiguator = f"{Path(file).stem}-{function.__code__.co_firstlineno}"
        self._path = _cache_path()

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> Self | None:
        """A locator for a kernel of this package; None leaves the function to numba's own."""
        if Path(file).parent != _HERE:
            return None
        try:
            found = cls(function, file)
            found.ensure_cache_path()
        except (OSError, RuntimeError):  # no home, or none that may be written to
            return None
        return found

    def ensure_cache_path(self) -> None:
        _make_writable(self._path)

    def get_cache_path(self) -> str:
        return str(self._path)

    def get_source_stamp(self) -> bytes:
        return _sources_digest()

    def get_disambiguator(self) -> str:
        return self._disambiguator


if HAVE_NUMBA:
    from numba.core.caching import FunctionCache

    FunctionCache._impl_class._locator_classes.insert(0, _KernelCache)  # noqa: SLF001 - it has no public way


def kernel(*, inline: bool = False) -> Callable[[F], F]:
    """Compile a function lazily, without the GIL and cached on disk.

    Lazy, since arrays from Ray's object store are read-only and an eager signature refuses them.
    No fastmath: results are the same bits with and without numba.
    """

    def decorate(function: F) -> F:
        if not HAVE_NUMBA:
            return function
        options: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
        if inline:
            options["inline"] = "always"
        compiled: F = numba.njit(**options)(function)
        return compiled

    return decorate
