"""What every backend checks at its border: errors are ours, and so is the version on the other side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from faultset_ray._version import __version__
from faultset_ray.errors import FaultsetError, RemoteFailure, VersionSkew


@contextmanager
def typed_errors(target: str) -> Iterator[None]:
    """Let ``FaultsetError`` pass; turn any other ``Exception`` into ``RemoteFailure``, chained."""
    try:
        yield
    except FaultsetError:
        raise
    except Exception as error:
        raise RemoteFailure(target, f"{type(error).__name__}: {error}") from error


def check_version(target: str, theirs: str) -> None:
    """Refuse a servant of another version of faultset-ray.

    Raises
    ------
    VersionSkew
        ``theirs`` is not this process's version.
    """
    if theirs != __version__:
        raise VersionSkew(target, theirs, __version__)
