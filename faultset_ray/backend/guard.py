"""One rule for errors that cross a call: ours arrive as themselves, all others as RemoteFailure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from faultset_ray.errors import FaultsetError, RemoteFailure


@contextmanager
def typed_errors(target: str) -> Iterator[None]:
    """Let ``FaultsetError`` pass; turn any other ``Exception`` into ``RemoteFailure``, chained."""
    try:
        yield
    except FaultsetError:
        raise
    except Exception as error:
        raise RemoteFailure(target, f"{type(error).__name__}: {error}") from error
