"""Where one is in the changes of a fleet: a version of each range, and of which history these versions are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

from faultset_ray.columns import is_integer
from faultset_ray.errors import InputError
from faultset_ray.errors.base import shown

Version = tuple[int, int]
"""Epoch and version of a range."""
_DIGITS_MAX = 19
"""Of a range's number."""
_BIRTH_MAX = 64


class Versions(dict[int, Version]):
    """By range, its epoch and version, as a dictionary, and the birth of the history that counts them.

    Attributes
    ----------
    birth : str
        Drawn when the fleet's state was first made, and kept with it. A fleet that is registered anew after its state
        was lost has another one, and its versions count anew.
    """

    __slots__ = ("birth",)
    birth: str

    def __init__(self, versions: Mapping[int, Version] | Iterable[tuple[int, Version]] = (), birth: str = "") -> None:
        super().__init__(versions)
        self.birth = birth

    def __repr__(self) -> str:
        return f"Versions({super().__repr__()}, birth={self.birth!r})"

    def copy(self) -> Self:
        """The same, which may be changed."""
        return type(self)(self, self.birth)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which would take a mere dictionary without its birth; ``since`` takes them too."""
        return {"birth": self.birth, "ranges": {str(range_id): [*version] for range_id, version in self.items()}}


def check_since(since: Any) -> Versions | None:
    """Where to begin: what ``answer.versions`` or ``watch.versions`` gave, also as :meth:`Versions.to_dict`."""
    if since is None:
        return None
    birth, ranges = getattr(since, "birth", None), since
    if isinstance(since, Mapping) and since.keys() == {"birth", "ranges"}:
        birth, ranges = since["birth"], since["ranges"]
    if not isinstance(ranges, Mapping) or not all(map(_is_version, ranges.items())):
        raise InputError(f"since is {shown(since)}; expected the versions of an answer or a watch")
    if not ranges:
        raise InputError("since names no range: no region answered; ask for survivors again, and watch from there")
    if not isinstance(birth, str) or not 0 < len(birth) <= _BIRTH_MAX:
        raise InputError(
            f"since has {'no birth' if not birth else f'the birth {shown(birth)}'}, so that it is not known of which "
            "history it is; as JSON keep versions.to_dict(). Ask for survivors, and watch since the versions of that "
            "answer"
        )
    return Versions({int(each): (int(epoch), int(version)) for each, (epoch, version) in ranges.items()}, birth)


def _is_version(item: tuple[Any, Any]) -> bool:
    """Whether this is a range, and its epoch and version; JSON has made the range's number a text."""
    range_id, version = item
    if isinstance(range_id, str) and range_id.isascii() and range_id.isdecimal() and len(range_id) <= _DIGITS_MAX:
        range_id = int(range_id)
    if not isinstance(version, (tuple, list)) or len(version) != 2:
        return False
    return all(is_integer(number) and 0 <= number < 1 << 63 for number in (range_id, *version))
