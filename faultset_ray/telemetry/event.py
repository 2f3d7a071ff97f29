"""What the library tells of itself while it works: a closed table of events, each with a name, a level and its fields.

An event goes through Python's ``logging``, to the logger ``faultset_ray.events``. Its fields are attributes of the
record, so that what writes JSON, such as Ray's ``LoggingConfig(encoding="JSON")``, has each as a key, beside ``event``
with the name; its message is ``name field=value …``. ``docs/logging.md`` lists the table.

Nothing is told for each node or shard on a path that many of them take: such events have counts. No field holds a
secret, or a payload.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from faultset_ray.errors import FaultsetError

_LOG: Final = logging.getLogger("faultset_ray.events")
_ITEMS_MAX: Final = 20
_BARE: Final = re.compile(r"[\w.:+/@-]+")

INFO: Final = logging.INFO
WARNING: Final = logging.WARNING
ERROR: Final = logging.ERROR
DEBUG: Final = logging.DEBUG

FIELDS: Final[Mapping[str, str]] = {
    "again_s": "seconds until the next attempt",
    "ahead_ms": "milliseconds",
    "aside": "where it is now",
    "bytes": "how many",
    "cell": "a geohash",
    "changes": "of nodes or regions, by the rule that made them: how many",
    "code": "an erasure code's spec",
    "count": "how many",
    "durability": "fsync or none",
    "epoch": "of the coordinator, or of a range's servant",
    "error": "what went wrong, in words",
    "error_code": "the stable code of that error, if it is one of this library",
    "example": "one of them",
    "fleet": "a fleet's name",
    "index": "of a shard",
    "lines": "numbers of lines",
    "object": "an object's name",
    "objects": "how many",
    "path": "of a file or directory",
    "place": "a Ray node's id",
    "places": "how many",
    "ranges": "ids of ranges",
    "range": "a range's id",
    "reached": "whether it answers",
    "reason": "why, in words",
    "records": "how many",
    "seen": "the newer epoch that was met",
    "servant": "an actor's name",
    "servers": "how many",
    "shards": "how many, or the numbers of some with why",
    "status": "of an HTTP answer",
    "store": "a store's UUID",
    "stores": "how many, or which",
    "survivable": "further losses that are borne",
    "system": "a system's name",
    "to": "ids of ranges that took over",
    "tolerate": "losses that are to be borne",
    "what": "the work that was being done",
    "write_id": "of one write of an object, in hex",
}
"""What each field is, wherever it stands."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens to a system."""

    name: str
    level: int
    fields: tuple[str, ...]
    meaning: str
    todo: str = ""
    """What an operator does about it; nothing, if it is only good to know."""

    @property
    def heard(self) -> bool:
        """Whether anybody listens: what is dear to find out is not found out for nobody."""
        return _LOG.isEnabledFor(self.level)

    def tell(self, *, exc_info: BaseException | None = None, quietly: bool = False, **fields: Any) -> None:
        """Log it.

        Parameters
        ----------
        fields
            Values of some or all of the event's fields: numbers and text, bytes (told in hex), errors, collections
            (of which the first twenty are told).
        exc_info
            An error whose traceback is to be logged too.
        quietly
            Log it as information, since it was told before.
        """
        level = INFO if quietly else self.level
        if not _LOG.isEnabledFor(level):
            return
        told: dict[str, Any] = {}
        for name, value in fields.items():
            told[name] = _plain(value)
            if name == "error" and isinstance(value, FaultsetError):
                told["error_code"] = value.code
        text = " ".join([self.name, *(f"{name}={_shown(value)}" for name, value in told.items())])
        _LOG.log(level, text, extra={"event": self.name, **told}, exc_info=exc_info, stacklevel=2)


def _plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, BaseException):
        return str(value) or type(value).__name__
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in list(value.items())[:_ITEMS_MAX]}
    if isinstance(value, Collection):
        more = [f"and {len(value) - _ITEMS_MAX:,} more"] if len(value) > _ITEMS_MAX else []
        return [*map(_plain, list(value)[:_ITEMS_MAX]), *more]
    return str(value)


def _shown(value: Any) -> str:
    """A value behind its name's ``=``: bare, or as JSON where that would be read as something else."""
    if isinstance(value, str) and _BARE.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=not str(value).isprintable())
