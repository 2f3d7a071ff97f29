"""What settings are made of: dataclasses whose fields say what they take, who reads them, and from where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any, Final, Literal, get_type_hints

from faultset_ray.config.kinds import Kind, Unfit
from faultset_ray.errors import InvalidConfig
from faultset_ray.errors.base import shown

PREFIX: Final = "FAULTSET_"
_METADATA: Final = "setting"

Reader = Literal["driver", "process", "place", "command"]
"""Who goes by a setting. ``driver``: the driver that was given the config. ``process``: it too, and it hands it on to
the processes that it starts. ``place``: each machine for itself, by its own environment and its own file. ``command``:
the command line."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value comes from."""

    kind: Literal["default", "file", "variable", "flag", "argument"] = "default"
    name: str = ""
    """The file, with the line where it is known; the variable; the flag."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting."""

    key: str
    """Such as ``codes.put``: section and field."""
    kind: Kind
    default: Any
    help: str
    reader: Reader
    variables: tuple[str, ...]
    """Environment variables that set it; the first that is set counts."""
    secret: bool
    """Its value is never shown."""
    in_file: bool
    """Whether a file may set it."""

    def checked(self, value: Any, where: str = "") -> Any:
        """Return the value as its own type; None where that is the default.

        Raises
        ------
        InvalidConfig
        """
        if value is None and self.default is None:
            return None
        try:
            return self.kind.check(value)
        except Unfit as error:
            raise self._refused(value, error, where) from None

    def read(self, text: str, where: str) -> Any:
        """Return what the text of a variable or flag means; raises as :meth:`checked`."""
        try:
            return self.kind.read(text)
        except Unfit as error:
            raise self._refused(text, error, where) from None

    def _refused(self, value: object, error: Unfit, where: str) -> InvalidConfig:
        if error.inside:
            return InvalidConfig(where, f"{self.key}.{error.inside}", str(error))
        what = "is not what it can be" if self.secret or self.key == "plugins" else f"is {shown(value)}"
        return InvalidConfig(where, self.key, f"{what}; {error}")


def setting(
    default: Any,
    kind: Kind,
    help: str,  # noqa: A002 - as everywhere where options are declared
    *,
    reader: Reader = "driver",
    variables: tuple[str, ...] = (),
    secret: bool = False,
    in_file: bool = True,
    in_repr: bool = True,
) -> Any:
    """Declare a setting as a field of a :class:`Section`; its variable is made of its key by default.

    A secret, and what may have one in it (``in_repr=False``), is not in the text of its section.
    """
    metadata = {
        _METADATA: {
            "kind": kind,
            "help": help,
            "reader": reader,
            "variables": variables,
            "secret": secret,
            "in_file": in_file,
        }
    }
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata, repr=in_repr)
    return field(default=default, metadata=metadata, repr=in_repr and not secret)


def section(kind: type[Section], help: str) -> Any:  # noqa: A002 - as above
    """Declare a section of settings as a field of another."""
    return field(default_factory=kind, metadata={"help": help})


class Section:
    """A frozen dataclass of settings and of further sections; what can't be is refused when it is made."""

    __slots__ = ()

    def __post_init__(self) -> None:
        """Take every value as its own type.

        Raises
        ------
        InvalidConfig
        """
        for name, own in settings(type(self)).items():
            if "." not in name:
                object.__setattr__(self, name, own.checked(getattr(self, name)))
        for name, kind in sections(type(self)).items():
            if not isinstance(getattr(self, name), kind):
                found = shown(getattr(self, name))
                raise InvalidConfig("", name, f"is {found}; expected a {kind.__qualname__}")


def sections(of: type[Section]) -> Mapping[str, type[Section]]:
    """The sections right within one, by name."""
    kind: Any = of  # to mypy, a class of these can't be hashed
    return _sections(kind)


@cache
def _sections(of: Any) -> Mapping[str, type[Section]]:
    hints = get_type_hints(of)
    return {each.name: hints[each.name] for each in fields(of) if _is_section(hints[each.name])}


def settings(of: type[Section], prefix: str = "") -> Mapping[str, Setting]:
    """All settings of a section and those within it, by key, in order."""
    kind: Any = of
    return _settings(kind, prefix)


@cache
def _settings(of: Any, prefix: str) -> Mapping[str, Setting]:
    return {own.key: own for own in _declared(of, prefix)}


def _declared(of: Any, prefix: str) -> Iterator[Setting]:
    inner = sections(of)
    for each in fields(of):
        key = prefix + each.name
        if each.name in inner:
            yield from _declared(inner[each.name], f"{key}.")
        elif _METADATA in each.metadata:
            default = each.default if each.default_factory is MISSING else each.default_factory()
            given = each.metadata[_METADATA]
            variables = given["variables"] or (PREFIX + key.upper().replace(".", "_"),)
            yield Setting(key=key, default=default, **{**given, "variables": variables})


def help_of(of: Any) -> Mapping[str, str]:
    """What is said of each section right within one."""
    return {each.name: each.metadata["help"] for each in fields(of) if each.name in sections(of)}


def value_of(of: Section, key: str) -> Any:
    """The value of a setting by its key."""
    value: Any = of
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _is_section(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Section)
