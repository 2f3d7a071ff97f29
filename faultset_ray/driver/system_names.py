"""Systems by name: private ones that end with their driver, and named ones."""

from __future__ import annotations

import re
import secrets

from faultset_ray.errors import InputError
from faultset_ray.errors.base import shown

_PRIVATE = "private-"
_NAMESPACE = "faultset:"
_SYSTEM = re.compile(r"(?!\.\.?$)[A-Za-z0-9._-]{1,64}")  # it becomes the name of a directory


def system_name(system: str | None) -> str:
    """Check the name of a system; None gives a private one a name of its own.

    Raises
    ------
    InputError
        Not a name of 1 to 64 letters, digits, dots, dashes and underscores.
    """
    if system is None:
        return _PRIVATE + secrets.token_hex(8)
    if not isinstance(system, str) or not _SYSTEM.fullmatch(system):
        raise InputError(f"system is {shown(system)}; expected 1 to 64 letters, digits, dots, dashes and underscores")
    if system.startswith(_PRIVATE):
        raise InputError(f"system is {system!r}; names that begin with {_PRIVATE!r} are for private systems")
    return system


def namespace_of(system: str) -> str:
    """The namespace of a system's servants."""
    return _NAMESPACE + system


def is_private(system: str) -> bool:
    """Whether a system ends with its driver."""
    return system.startswith(_PRIVATE)


def system_of(namespace: str) -> str:
    """The system whose namespace it is; empty for a private one, whose name nobody chose."""
    system = namespace.removeprefix(_NAMESPACE)
    return "" if is_private(system) else system
