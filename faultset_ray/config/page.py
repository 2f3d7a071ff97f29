"""The part of docs/configuration.md that lists every setting; ``jobs.pages`` writes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from faultset_ray.config.sections import Root
from faultset_ray.config.tree import Section, Setting, help_of, sections, settings

MARK: Final = "<!-- What follows is made of the types: make docs-config -->\n"
"""Stands in the page before what is made."""


def made() -> str:
    """What stands behind the mark."""
    return "\n" + "\n".join([*_sections(Root, ""), *_tables()]).rstrip() + "\n"


def _sections(of: type[Section], prefix: str) -> Iterator[str]:
    told = help_of(of)
    for name, kind in sections(of).items():
        key = prefix + name
        own = [each for each in settings(kind, f"{key}.").values() if "." not in each.key.removeprefix(f"{key}.")]
        yield f"## `[{key}]`\n\n{told[name]}\n"
        if own:
            yield "| Setting | Value | Default | Variable | Reader |\n| --- | --- | --- | --- | --- |"
            yield from map(_row, own)
            yield ""
        yield from _sections(kind, f"{key}.")


def _tables() -> Iterator[str]:
    for own in settings(Root).values():
        if "." not in own.key:
            variable = f"As a variable, `{own.variables[0]}`: {own.kind.expected}, as JSON."
            yield f"## `[{own.key}.NAME]`\n\n{own.help} {variable} Reader: {own.reader}.\n"


def _row(own: Setting) -> str:
    name = own.key.rpartition(".")[2]
    default = "" if own.default is None else f"`{json.dumps(own.default)}`"
    variables = ", ".join(f"`{each}`" for each in own.variables)
    expected = own.kind.expected.replace("|", "\\|")
    return f"| `{name}` | {own.help} {expected[:1].upper()}{expected[1:]}. | {default} | {variables} | {own.reader} |"
