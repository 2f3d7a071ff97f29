"""What was logged, as events with their fields."""

import logging
from typing import Any

STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime"}


def told(caplog: Any, name: str) -> list[dict[str, Any]]:
    """The fields of each event of a name, in the order in which they were told."""
    return [
        {
            key: value
            for key, value in vars(record).items()
            if key not in STANDARD and key != "event" and not key.startswith("_ray")
        }
        for record in caplog.records
        if getattr(record, "event", None) == name
    ]
