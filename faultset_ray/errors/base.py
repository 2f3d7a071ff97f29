"""The root of the tree of errors."""

from __future__ import annotations

import re
from collections.abc import Iterable
from reprlib import Repr
from typing import Any, ClassVar

_LISTED_MAX = 8
_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 120
_LOGIN = re.compile(r"(?<=//)[^/@\s]+@")


def shown(value: object) -> str:
    """A value of any kind as a message shows it: short, and also where Python refuses to write it."""
    try:
        return _SHORT.repr(value)
    except Exception:  # noqa: BLE001 - a number of 4,300 digits, or an object of anyone's
        return f"some {type(value).__name__}"


def without_login(text: str) -> str:
    """A text with what stands for a name and a password in its URLs hidden."""
    return _LOGIN.sub("***@", text)


def listed(items: Iterable[object]) -> str:
    """``2, 5 and 9``; a long list is cut, and says by how much."""
    texts = [str(item) for item in items]
    if not texts:
        return "none"
    if len(texts) > _LISTED_MAX:
        return f"{', '.join(texts[:_LISTED_MAX])} and {len(texts) - _LISTED_MAX} more"
    if len(texts) == 1:
        return texts[0]
    return f"{', '.join(texts[:-1])} and {texts[-1]}"


class FaultsetError(Exception):
    """Raised as the base of every error that faultset-ray raises on purpose."""

    code: ClassVar[str] = "faultset_error"
    """Stable identifier: log it, match on it, never on the text."""
    exit_code: ClassVar[int] = 70
    """What a command that ends with this error exits with."""

    def fields(self) -> dict[str, Any]:
        """The error's numbers by name, for logs and JSON."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}
