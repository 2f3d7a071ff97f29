"""What a setting's value may be: checked where it is a value, read where it is a text."""

from __future__ import annotations

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from faultset_ray.columns import as_float, is_integer
from faultset_ray.errors import InputError
from faultset_ray.policy import Policy

_UNITS = {"": 1, "b": 1, **{f"{prefix}b": 10 ** (3 * power) for power, prefix in enumerate("kmgt", 1)}}
_UNITS |= {f"{prefix}ib": 1 << (10 * power) for power, prefix in enumerate("kmgt", 1)}
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")


class Unfit(ValueError):
    """Raised when a value can't be a setting's, with what is expected of it; or what is ``inside`` it, with why."""

    def __init__(self, reason: str, inside: str = "") -> None:
        super().__init__(reason)
        self.inside = inside


class Kind(ABC):
    """One kind of values."""

    @property
    @abstractmethod
    def expected(self) -> str:
        """What a value must be, for people."""

    @abstractmethod
    def check(self, value: Any) -> Any:
        """Return the value as its own type.

        Raises
        ------
        Unfit
        """

    def read(self, text: str) -> Any:
        """Return what a variable's or a flag's text means; raises as :meth:`check`."""
        return self.check(text)

    def _unfit(self) -> Unfit:
        return Unfit(f"expected {self.expected}")


class Text(Kind):
    """A text that is not empty; of certain letters, if so said."""

    def __init__(self, expected: str = "a text that is not empty", pattern: str = r"[^\0]+") -> None:
        self._expected = expected
        self._pattern = re.compile(pattern, re.DOTALL)

    @property
    def expected(self) -> str:
        """What was said."""
        return self._expected

    def check(self, value: Any) -> str:
        """A ``str`` that fits."""
        if not isinstance(value, str) or not self._pattern.fullmatch(value):
            raise self._unfit()
        return value


class Choice(Kind):
    """One of some words."""

    def __init__(self, *words: str) -> None:
        self.words = words

    @property
    def expected(self) -> str:
        """All of them."""
        return "one of " + ", ".join(f'"{word}"' for word in self.words)

    def check(self, value: Any) -> str:
        """The word."""
        if not isinstance(value, str) or value not in self.words:
            raise self._unfit()
        return value


class Flag(Kind):
    """Yes or no; as a text ``true``, ``yes``, ``on``, ``1`` and their opposites."""

    _TEXTS = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)

    @property
    def expected(self) -> str:
        """Both."""
        return "true or false"

    def check(self, value: Any) -> bool:
        """A ``bool``."""
        if not isinstance(value, bool):
            raise self._unfit()
        return value

    def read(self, text: str) -> bool:
        """See the class."""
        if text.strip().lower() not in self._TEXTS:
            raise self._unfit()
        return self._TEXTS[text.strip().lower()]


class Whole(Kind):
    """An integer within bounds."""

    def __init__(self, least: int, most: int) -> None:
        self.least = least
        self.most = most

    @property
    def expected(self) -> str:
        """The bounds."""
        return f"an integer from {self.least:,} to {self.most:,}"

    def check(self, value: Any) -> int:
        """An ``int``."""
        if not is_integer(value) or not self.least <= value <= self.most:
            raise self._unfit()
        return int(value)

    def read(self, text: str) -> int:
        """Decimal digits."""
        if not re.fullmatch(r"\s*[+-]?[0-9]{1,20}\s*", text):
            raise self._unfit()
        return self.check(int(text))


class Number(Kind):
    """A number within bounds; with ``above`` its lower bound is no value of it."""

    def __init__(self, least: float, most: float = math.inf, *, above: bool = False) -> None:
        self.least = least
        self.most = most
        self._above = above

    @property
    def expected(self) -> str:
        """The bounds."""
        least = f"above {self.least:g}" if self._above else f"of at least {self.least:g}"
        return f"a number {least}" + ("" if self.most == math.inf else f" and at most {self.most:,.12g}")

    def check(self, value: Any) -> float:
        """A ``float``; NaN is none."""
        number = as_float(value)
        if not self.least <= number <= self.most or (self._above and number == self.least):
            raise self._unfit()
        return number

    def read(self, text: str) -> float:
        """As Python writes numbers."""
        try:
            return self.check(float(text))
        except ValueError:
            raise self._unfit() from None


class Size(Number):
    """A number of bytes, or of bytes a second; also a text such as ``"64 MiB"``."""

    @property
    def expected(self) -> str:
        """The bounds, and an example."""
        most = "" if self.most == math.inf else f", at most {self.most:,.0f}"
        return f'a number of bytes from {self.least:,.0f}{most}, or a text such as "64 MiB"'

    def check(self, value: Any) -> float:
        """A ``float``."""
        number: float = super().check(self._bytes(value) if isinstance(value, str) else value)
        return number

    def read(self, text: str) -> float:
        """A number with a unit, or without."""
        return self.check(text)

    def _bytes(self, text: str) -> float:
        found = _SIZE.fullmatch(text)
        if not found or found[2].lower() not in _UNITS:
            raise self._unfit()
        unit: int = _UNITS[found[2].lower()]
        return float(found[1]) * unit


class WholeSize(Size):
    """A whole number of bytes."""

    def check(self, value: Any) -> int:
        """An ``int``."""
        nbytes: float = super().check(value)
        if nbytes != int(nbytes):
            raise self._unfit()
        return int(nbytes)


class Hosts(Kind):
    """Names of a server, without ports; in a file a list, as a text with commas between."""

    @property
    def expected(self) -> str:
        """What they are."""
        return "names without ports, * only as *.name"

    def check(self, value: Any) -> tuple[str, ...]:
        """A ``tuple`` of at least one."""
        if not isinstance(value, (list, tuple)) or not value or not all(map(self._fits, value)):
            raise self._unfit()
        return tuple(value)

    def read(self, text: str) -> tuple[str, ...]:
        """Names with commas between."""
        return self.check([name.strip() for name in text.split(",")])

    def _fits(self, name: object) -> bool:
        if not isinstance(name, str) or not name or name != name.strip():
            return False
        rest = name.removeprefix("*.")
        return bool(rest) and "*" not in rest and (":" not in rest or rest.startswith("["))


class _Table(Kind):
    """A mapping, in a file a table; as a text one JSON object."""

    def read(self, text: str) -> Any:
        """One JSON object."""
        try:
            return self.check(json.loads(text))
        except Unfit:
            raise
        except (ValueError, RecursionError):
            raise Unfit(f"expected {self.expected}, as a JSON object") from None

    def _pairs(self, value: Any) -> Mapping[str, Any]:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) and key for key in value):
            raise self._unfit()
        return value


class Texts(_Table):
    """Texts by name."""

    @property
    def expected(self) -> str:
        """Both are texts."""
        return "a table of texts"

    def check(self, value: Any) -> dict[str, str]:
        """A new ``dict``."""
        pairs = dict(self._pairs(value))
        if not all(isinstance(each, str) for each in pairs.values()):
            raise self._unfit()
        return pairs


class Policies(_Table):
    """Policies by the names of their fleets."""

    @property
    def expected(self) -> str:
        """Tables in a table."""
        return "a table of policies by the fleet's name, each a table of a policy's fields"

    def check(self, value: Any) -> dict[str, Policy]:
        """A new ``dict``; a mapping of its fields does for a policy."""
        return {name: self._policy(name, given) for name, given in self._pairs(value).items()}

    def _policy(self, name: str, given: Any) -> Policy:
        if isinstance(given, Policy):
            return given
        if not isinstance(given, Mapping):
            raise self._unfit()
        try:
            return Policy.of(given)
        except InputError as error:
            raise Unfit(str(error).removeprefix("policy").removeprefix(":").strip(), name) from None


class Plugins(_Table):
    """Options by the names of plug-ins: whatever JSON can hold, of any names."""

    @property
    def expected(self) -> str:
        """Tables in a table."""
        return "a table of options by the plug-in's name, each a table of texts, numbers, booleans, lists and tables"

    def check(self, value: Any) -> dict[str, dict[str, Any]]:
        """A new ``dict``, and new ones in it."""
        pairs = self._pairs(value)
        return {name: dict(self._pairs(self._plain(options))) for name, options in pairs.items()}

    def _plain(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: self._plain(each) for key, each in self._pairs(value).items()}
        if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
            return [self._plain(each) for each in value]
        if isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value)):
            return value
        raise self._unfit()
