"""Code specifications: ``rs:10+4,matrix=cauchy``.

``name:a[+b…][,key=value…]``. A spec is canonical when every parameter of its code is written and
keys are sorted: one code, one text. The text is stored in every shard.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from faultset_ray.errors import InvalidCodeSpec
from faultset_ray.errors.base import shown
from faultset_ray.limits import SPEC_BYTES_MAX

_SHAPE = r"[1-9][0-9]{0,5}|0"
_NAME = r"[a-z][a-z0-9_-]*"
_FORM = re.compile(rf"({_NAME}):((?:{_SHAPE})(?:\+(?:{_SHAPE}))*)((?:,[a-z_]+=[A-Za-z0-9_.-]+)*)")
_HELP = 'expected "name:k+m" and options, such as "rs:10+4" or "rs:10+4,matrix=cauchy"'


@dataclass(frozen=True, slots=True)
class Spec:
    """A parsed specification; ``str()`` gives its text, options sorted by key."""

    name: str
    shape: tuple[int, ...]
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        options = "".join(f",{key}={self.options[key]}" for key in sorted(self.options))
        return f"{self.name}:{'+'.join(map(str, self.shape))}{options}"

    def fail(self, reason: str) -> InvalidCodeSpec:
        """Return the error to raise about this spec."""
        return InvalidCodeSpec(str(self), reason)

    def complete(self, defaults: Mapping[str, str]) -> Spec:
        """Return this spec with every option written, and refuse those that its code does not have."""
        unknown = sorted(self.options.keys() - defaults.keys())
        if unknown:
            known = ", ".join(sorted(defaults)) or "none"
            raise self.fail(f"unknown option {unknown[0]!r}; options of {self.name} are: {known}")
        return Spec(self.name, self.shape, {**defaults, **self.options})


def is_name(text: str) -> bool:
    """Whether a code can be called so."""
    return re.fullmatch(_NAME, text) is not None


def parse(text: str) -> Spec:
    """Parse a specification.

    Raises
    ------
    InvalidCodeSpec
        If the text is not of the form, repeats an option, or is longer than 63 bytes.
    """
    if not isinstance(text, str):
        raise InvalidCodeSpec(shown(text), f"a specification is a str, not {type(text).__name__}; {_HELP}")
    if len(text) > SPEC_BYTES_MAX:
        raise InvalidCodeSpec(text[:SPEC_BYTES_MAX] + "…", f"{len(text)} characters; the limit is {SPEC_BYTES_MAX}")
    form = _FORM.fullmatch(text)
    if form is None:
        raise InvalidCodeSpec(text, _HELP)
    name, shape, rest = form.groups()
    options: dict[str, str] = {}
    for item in rest.split(",")[1:]:
        key, value = item.split("=")
        if key in options:
            raise InvalidCodeSpec(text, f"option {key!r} is given twice")
        options[key] = value
    return Spec(name, tuple(int(number) for number in shape.split("+")), options)
