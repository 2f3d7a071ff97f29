"""The command in a real terminal, under tmux: bars, colours, a window that changes its size, Ctrl-C; and completion by TAB."""

import os
import shlex
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom jobs.cli import main\nmain()\n"
SECONDS = 60.0
SIZE = 120_000_000

pytestmark = [pytest.mark.host, pytest.mark.timeout(300)]


class Terminal:
    """A window of tmux with a shell in it, on a server of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = ["tmux", "-S", str(folder / "tmux")]

    def open(self) -> None:
        folder = self.folder
        command = folder / "bin" / "faultset"
        command.parent.mkdir()
        command.write_text(COMMAND)
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("FAULTSET", "TMUX"))}
        for forced in ("NO_COLOR", "FORCE_COLOR", "RAY_ADDRESS"):
            environment.pop(forced, None)
        environment |= {"PATH": f"{command.parent}:{environment['PATH']}", "HOME": str(folder)}
        shell = "bash --norc --noprofile"
        subprocess.run(
            [*self.base, "-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", "-c", str(folder), shell],
            check=True,
            env=environment,
        )
        self.wait_for("bash-")

    def type(self, *keys: str) -> None:
        subprocess.run([*self.base, "send-keys", *keys], check=True)

    def run(self, line: str) -> None:
        self.type("-l", line)
        self.type("Enter")

    def screen(self, *, colours: bool = False) -> str:
        options = ["-e"] if colours else []
        done = subprocess.run(
            [*self.base, "capture-pane", "-p", "-S", "-200", *options], check=True, capture_output=True, text=True
        )
        return done.stdout

    def wait_for(self, text: str, *, colours: bool = False) -> str:
        ends = time.monotonic() + SECONDS
        while text not in (screen := self.screen(colours=colours)):
            assert time.monotonic() < ends, f"no {text!r} on the screen:\n{screen}"
            time.sleep(0.02)
        return screen

    def close(self) -> None:
        subprocess.run([*self.base, "kill-server"], check=False, capture_output=True)


@pytest.fixture
def terminal(tmp_path):
    with (tmp_path / "data").open("wb") as file:
        file.truncate(SIZE)
    terminal = Terminal(tmp_path)
    try:
        terminal.open()
        yield terminal
    finally:
        terminal.close()


ENCODE = "faultset encode data -o shards --code rs:2+1 --force"


@pytest.mark.needs("tmux", "bash")
def test_a_bar_is_drawn_and_goes_away_also_where_the_window_changes(terminal):
    terminal.run(f"{ENCODE}; echo ended $?")
    terminal.wait_for("━")
    subprocess.run([*terminal.base, "resize-window", "-x", "60", "-y", "20"], check=True)
    screen = terminal.wait_for("ended 0")
    assert "━" not in screen.partition("ended 0")[0].rpartition("shards in shards")[2], "nothing of it is left"
    assert "3 shards in shards" in screen.replace("\n", " ")


@pytest.mark.needs("tmux", "bash")
def test_programs_and_files_get_no_bar(terminal):
    terminal.run(f"{ENCODE} --json; echo ended $?")
    assert "━" not in terminal.wait_for("ended 0")
    terminal.run("clear; tmux clear-history")
    terminal.run(f"{ENCODE} 2>told >out; echo done $?")
    terminal.wait_for("done 0")
    assert (terminal.folder / "told").read_text() == ""
    assert "\x1b" not in (terminal.folder / "out").read_text()


@pytest.mark.needs("tmux", "bash")
def test_an_interrupt_leaves_the_terminal_as_it_was(terminal):
    terminal.run("stty -a >before; tput cnorm >/dev/null")
    terminal.run(ENCODE)
    terminal.wait_for("━")
    terminal.type("C-c")
    terminal.run("echo ended $?")
    terminal.wait_for("ended 130")
    terminal.run("stty -a >after; echo compared $?")
    terminal.wait_for("compared 0")  # what was typed does not say so
    assert (terminal.folder / "after").read_text() == (terminal.folder / "before").read_text()
    shown = subprocess.run(
        [*terminal.base, "display-message", "-p", "#{cursor_flag}"], check=True, capture_output=True, text=True
    )
    assert shown.stdout.strip() == "1", "the cursor is there again"
    assert "Traceback" not in terminal.screen()


@pytest.mark.needs("tmux", "bash")
def test_colours(terminal):
    terminal.run("faultset verify nowhere; echo ended $?")
    assert "\x1b[1m\x1b[31merror" in terminal.wait_for("ended 2", colours=True).replace("\x1b[1;31m", "\x1b[1m\x1b[31m")
    terminal.run("clear; NO_COLOR=1 faultset verify nowhere; echo again $?")
    screen = terminal.wait_for("again 2", colours=True)
    assert "\x1b[31m" not in screen.rpartition("NO_COLOR")[2]


@pytest.mark.needs("tmux", "bash")
def test_tab_completes_in_bash(terminal):
    terminal.run('eval "$(_FAULTSET_COMPLETE=source_bash faultset)"')
    terminal.type("-l", "faultset put a b --code rs:1")
    terminal.type("Tab", "Tab")
    assert "10+4  16+4" in terminal.wait_for("16+4")
    terminal.type("-l", "0")
    terminal.type("Tab")
    terminal.wait_for("--code rs:10+4")
    terminal.type("C-u")
    terminal.type("-l", "faultset decom")
    terminal.type("Tab")
    terminal.wait_for("faultset decommission")


ZSH = """
compdef() { echo "compdef $*" }
_arguments() { print -l -- "$@" }
eval "$(_FAULTSET_COMPLETE=source_zsh faultset)"
words=(faultset mark p); CURRENT=3
_faultset_completion
words=(faultset put a b --code rs:1); CURRENT=6
_faultset_completion
"""
FISH = """
eval (env _FAULTSET_COMPLETE=source_fish faultset)
complete --do-complete 'faultset mark p'
complete --do-complete 'faultset put a b --code rs:1'
complete --do-complete 'faultset ver'
"""


def asked(terminal: Terminal, command: list[str], script: str) -> list[str]:
    """What a shell answers, with the command on its path."""
    (terminal.folder / "script").write_text(script)
    terminal.run(f"{shlex.join(command)} script >answers 2>&1; echo asked $?")
    terminal.wait_for("asked 0")
    return (terminal.folder / "answers").read_text().splitlines()


@pytest.mark.needs("tmux", "zsh")
def test_zsh(terminal):
    compdef, *answers = asked(terminal, ["zsh", "-f"], ZSH)
    assert compdef == "compdef _faultset_completion faultset"
    text = "\n".join(answers)
    assert "pin" in text
    assert "drain" not in text
    assert "10+4" in text
    assert "6+3" not in text


@pytest.mark.needs("tmux", "fish")
def test_fish(terminal):
    answers = [line.partition("\t")[0] for line in asked(terminal, ["fish", "--no-config"], FISH)]
    assert answers == ["pin", "rs:10+4", "rs:16+4", "verify"]
