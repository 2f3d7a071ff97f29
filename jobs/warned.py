"""Warnings of ours as commands say them: one line of the log, without Python's place in the source."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_LOG = logging.getLogger(__name__)
_OURS = "faultset_ray."


@contextmanager
def warned_plainly() -> Iterator[None]:
    """Within the block, log warnings of this project's classes; those of others are shown as ever."""
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if category.__module__.startswith(_OURS):
                _LOG.warning("%s", message)
            else:
                shown(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield
