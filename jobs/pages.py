"""The pages that end with what is made of the code: ``python -m jobs.pages cli docs/cli.md``, and so on."""

from __future__ import annotations

import inspect
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

from faultset_ray.config import page as configuration
from faultset_ray.telemetry import events, metric_page
from faultset_ray.telemetry.event import FIELDS, Event
from jobs.cli import VERBS, application, command
from jobs.settings import settings_options

MARK: Final = "<!-- What follows is made of the code: make docs-cli -->\n"
"""Stands in the pages of verbs and of events before what is made."""

_KINDS: Final = {str: "TEXT", int: "N", float: "NUMBER", Path: "PATH"}


def logging_page() -> str:
    """What ``docs/logging.md`` has behind its mark: every event, and every field."""
    lines = ["", "## Events", ""]
    lines += ["| Event | Level | Fields | What it means | What to do |", "| --- | --- | --- | --- | --- |"]
    for event in table():
        fields = ", ".join(f"`{name}`" for name in event.fields)
        level = logging.getLevelName(event.level).lower()
        lines.append(f"| `{event.name}` | {level} | {fields} | {event.meaning} | {event.todo} |")
    lines += ["", "## Fields", "", "| Field | What it is |", "| --- | --- |"]
    lines += [f"| `{name}` | {meaning[:1].upper()}{meaning[1:]}. |" for name, meaning in FIELDS.items()]
    return "\n".join(lines) + "\n"


def table() -> list[Event]:
    """Every event, in the order of the table."""
    return [event for event in vars(events).values() if isinstance(event, Event)]


def cli_page() -> str:
    """What ``docs/cli.md`` has behind its mark: every verb, with its arguments and options."""
    lines = ["", "## Options of every verb", "", *_options(_with_settings())]
    for verb in VERBS:
        made = command(verb)
        several = getattr(made, "commands", None)
        if several is None:
            lines += _verb(f"faultset {verb}", made)
            continue
        lines += ["", f"## `faultset {verb}`", "", _prose(made.help), ""]
        for name, own in several.items():
            lines += _verb(f"faultset {verb} {name}", own)
    return "\n".join(lines) + "\n"


def _with_settings() -> list[Any]:
    from typer.main import get_command

    return [each for each in get_command(application).params if each.name in settings_options()]


def _verb(name: str, made: Any) -> Iterator[str]:
    arguments = [each for each in made.params if each.param_type_name == "argument"]
    options = [each for each in made.params if each.param_type_name == "option" and each.name not in settings_options()]
    wanted = "".join(f" {_metavar(each) if each.required else f'[{_metavar(each)}]'}" for each in arguments)
    yield from ("", f"## `{name}`", "", "```console", f"$ {name}{wanted} [OPTIONS]", "```", "", _prose(made.help), "")
    if arguments:
        yield from ("| Argument | What it is |", "| --- | --- |")
        yield from (f"| `{_metavar(each)}` | {_cell(each.help)} |" for each in arguments)
        yield ""
    yield from _options(options)


def _options(options: list[Any]) -> Iterator[str]:
    yield from ("| Option | Default | What it does |", "| --- | --- | --- |")
    for each in options:
        names = ", ".join(f"`{name}`" for name in each.opts)
        value = "" if each.is_flag or each.count else f" `{_cell(_metavar(each))}`"
        default = "must be given" if each.required else _default(each)
        yield f"| {names}{value} | {default} | {_cell(each.help)} |"


def _default(option: Any) -> str:
    if option.is_flag or option.count or option.default is None or option.default == []:
        return ""
    return f"`{option.default}`"


def _metavar(parameter: Any) -> str:
    if parameter.metavar:
        return str(parameter.metavar)
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper().rstrip("_") + ("..." if parameter.nargs == -1 else "")
    kind = parameter.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return "|".join(kind)
    return _KINDS.get(kind, str(getattr(kind, "__name__", kind)).upper())


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _prose(text: str | None) -> str:
    """Help as Markdown: paragraphs stay, and what is set off is no code."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(text or ""))
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


class Page(NamedTuple):
    """What a page has of the code: all that stands behind its mark."""

    mark: str
    made: Callable[[], str]

    def write(self, path: Path) -> None:
        """Make that part anew."""
        before, mark, _ = path.read_text(encoding="utf-8").partition(self.mark)
        path.write_text(before + mark + self.made(), encoding="utf-8")


PAGES: Final[Mapping[str, Page]] = {
    "cli": Page(MARK, cli_page),
    "configuration": Page(configuration.MARK, configuration.made),
    "logging": Page(MARK, logging_page),
    "metrics": Page(metric_page.MARK, metric_page.made),
}
"""By the name of the file in ``docs``."""

if __name__ == "__main__":
    PAGES[sys.argv[1]].write(Path(sys.argv[2]))
