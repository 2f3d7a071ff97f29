"""Points at which a test can make the system fail: between two steps of an operation, nothing in production.

An action that raises is a crash of who runs the operation; one that kills a simulated place, or the process, is a
crash of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from faultset_ray.errors import InputError

NAMES: Final = frozenset(
    f"{operation}.{step}"
    for operation, steps in {
        "put": ("opened", "shards", "sealed", "one_record", "recorded", "committed"),
        "delete": ("opened", "one_record", "recorded", "committed"),
        "undelete": ("opened", "one_record", "recorded", "committed"),
        "move": ("opened", "copied", "recorded", "committed", "dropped"),
        "return": ("dropped", "forgotten"),
        "rebuild": ("scanned", "written"),
    }.items()
    for step in steps
)
"""``operation.step``: reached when that step is done."""

_armed: dict[str, Callable[[], None]] = {}


def reach(name: str) -> None:
    """Run the action that is armed here, if one is."""
    if _armed and (action := _armed.get(name)) is not None:
        action()


@contextmanager
def arm(name: str, action: Callable[[], None]) -> Iterator[None]:
    """Have an action run each time that a point is reached, within this context.

    Raises
    ------
    InputError
        If there is no such point, or it is armed already.
    """
    if name not in NAMES or name in _armed:
        raise InputError(f"failpoint {name!r} is armed already, or none of {', '.join(sorted(NAMES))}")
    _armed[name] = action
    try:
        yield
    finally:
        del _armed[name]
