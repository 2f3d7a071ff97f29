"""The ``faultset`` commands of the runbooks in ``docs/operations.md``, as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "operations.md"


def commands_by_heading() -> dict[str, list[list[str]]]:
    """The arguments of each runbook's commands, in order, by its heading."""
    text = PAGE.read_text()
    text = text[text.index("## Runbooks") : text.index("## What a named system remembers")]
    sections = re.split(r"^### (.*)$", text, flags=re.MULTILINE)[1:]
    return {
        heading: [
            shlex.split(line, comments=True)[1:] for line in re.findall(r"^\$ (faultset .*)$", body, re.MULTILINE)
        ]
        for heading, body in zip(sections[::2], sections[1::2], strict=True)
    }
