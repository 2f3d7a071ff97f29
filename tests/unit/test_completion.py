"""Completion as bash asks for it, by the script that the command makes; of zsh and fish see ``tests/host``."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from faultset_ray.codes import get
from jobs.cli import VERBS, main
from jobs.completing import CODES

ROOT = Path(__file__).parents[2]
COMMAND = f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom jobs.cli import main\nmain()\n"
CONFIG = "[policies.edge]\nthreshold_ms = 9.0\n[policies.core]\nthreshold_ms = 8.0\n"


@pytest.fixture(scope="module")
def asking(tmp_path_factory):
    """Ask a shell: it is given a script, and has the command on its path and a config where it stands."""
    folder = tmp_path_factory.mktemp("completion")
    command = folder / "faultset"
    command.write_text(COMMAND)
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    (folder / "faultset.toml").write_text(CONFIG)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("FAULTSET", "_"))}
    environment |= {"PATH": f"{folder}:{environment['PATH']}", "HOME": str(folder), "TERM": "dumb"}

    def ask(shell, script):
        if shutil.which(shell[0]) is None:
            pytest.skip(f"{shell[0]} is not installed")
        done = subprocess.run(
            [*shell, script], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), script
        return done.stdout.splitlines()

    return ask


BASH = """
eval "$(_FAULTSET_COMPLETE=source_bash faultset)"
complete -p faultset >/dev/null
ask() {
  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
  _faultset_completion faultset
  printf '%s ' "${COMPREPLY[@]}"; echo
}
"""


def test_bash(asking):
    """Words are cut as bash cuts them: at colons and equals signs, too."""
    questions = {
        ("faultset", ""): [*VERBS],
        ("faultset", "put", "a", "b", "--code", "rs", ":", "1"): ["10+4", "16+4"],
        ("faultset", "ls", "--set", "log.level", "=", "w"): ["warning"],
        ("faultset", "survivors", "--fleet", ""): ["default", "edge", "core"],
    }
    lines = [f"ask {' '.join(map(repr, words))}" for words in questions]
    answers = asking(["bash", "--norc", "-c"], BASH + "\n".join(lines))
    assert dict(zip(questions, map(str.split, answers), strict=True)) == questions


@pytest.mark.parametrize("code", CODES)
def test_codes_that_are_put_in_are_codes(code):
    assert get(code).spec


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["re"], [verb for verb in VERBS if verb.startswith("re")]),
        (["config", ""], ["show", "check"]),
        (["put", "a", "b", "--code", "rs"], [code for code in CODES if code.startswith("rs")]),
        (["put", "a", "b", "--code", "rs", ":"], ["4+2", "6+3", "10+4", "16+4"]),
        (["put", "a", "b", "--code=rs:1"], ["rs:10+4", "rs:16+4"]),
        (["put", "a", "b", "--code", "=", "rs", ":", "1"], ["10+4", "16+4"]),
        (["ls", "--set", "log.le"], [f"log.level={level}" for level in ("debug", "info", "warning", "error")]),
        (["ls", "--set", "codes.p"], ["codes.put="]),
        (["mark", "p"], ["pin"]),
        (["put", "name", "fau"], []),
    ],
)
def test_words_as_bash_cuts_them(words, answer, monkeypatch, capsys):
    """The same as ``test_bash``, without a process for each."""
    monkeypatch.setattr(sys, "argv", ["faultset"])
    monkeypatch.setenv("_FAULTSET_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "\n".join(["faultset", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    main()
    assert capsys.readouterr().out.split() == answer
