"""What is shown to be typed: somebody runs each block, or it says what it needs; every verb and option there is."""

import re
import shlex

import pytest
import typer
from console import HERE, ROOT, RUN_BY, Block, blocks
from typer.main import get_command

from jobs.cli import application

BLOCKS = list(blocks())
FAULTSET = sorted(
    {
        command
        for block in BLOCKS
        for line in block.commands
        for command in re.split(r"\s*(?:\||;|&&|&(?= |$))\s*", line)
        if re.match(r"(\w+=\S+ )*faultset ", command)
    }
)


def test_somebody_runs_every_block_or_it_says_what_it_needs():
    silent = [(block.page, block.lines[0]) for block in BLOCKS if block.run_by is None]
    assert silent == [], "say in tests/console.py who runs it, or what it needs that is outside of the machine"


def test_who_is_named_is_there():
    for who in {who for page in RUN_BY.values() for who in page.values()} - {HERE}:
        assert who.startswith("needs ") or (ROOT / who).is_file(), who


def test_no_entry_is_of_a_block_that_is_gone():
    named = {(page, start) for page, starts in RUN_BY.items() for start in starts}
    used = {
        (block.page, start)
        for block in BLOCKS
        for start in RUN_BY.get(block.page, {})
        if (block.commands or block.lines)[0].startswith(start)
    }
    assert named == used


@pytest.mark.parametrize("line", FAULTSET)
def test_verb_and_options_are_known(line):
    parse(line)


def parse(line: str) -> None:
    """Have a command line parsed, and nothing done."""
    words = shlex.split(line, comments=True)
    _, *arguments = words[words.index("faultset") :]
    group = get_command(application)
    while True:
        context = typer.Context(group)
        at = next(index for index, word in enumerate(arguments) if group.get_command(context, word) is not None)
        verb = group.get_command(context, arguments[at])
        arguments = arguments[:at] + arguments[at + 1 :]
        if not hasattr(verb, "get_command"):
            break
        group = verb
    if "--" not in arguments:
        arguments = [word for word in arguments if word != "…"]
    verb.make_parser(typer.Context(verb)).parse_args(arguments)


def test_a_wrong_one_is_seen():
    with pytest.raises(Exception, match="No such option: --nothing"):
        parse("faultset status --nothing")
    assert Block("README.md", ("$ nothing like it",)).run_by is None


def test_what_is_typed():
    block = Block("x", ("$ a \\", "    b", "told", "$ c  # why"))
    assert block.commands == ["a      b", "c  # why"]
