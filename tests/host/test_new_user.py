"""A newcomer's way from a clone, against the clock: every command of the quickstart as the page has it, in its order.

``make new-user`` runs it and tells the seconds of each section. It needs a package index to set up.
"""

import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import schemas

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "quickstart.md"
SURVIVORS, KILLED = "Survivors of your own nodes", "Lose a machine"
SECONDS_MAX = {SURVIVORS: 300.0, KILLED: 600.0}
"""From the clone to the end of a section."""
BLOCK = re.compile(r"^```(console|bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OURS = ("VIRTUAL_ENV", "PYTHON", "MAKE", "MFLAGS", "FAULTSET_", "RAY_", "PYTEST")

pytestmark = [pytest.mark.host, pytest.mark.timeout(1200)]


def commands(language: str, text: str) -> str:
    """A block as a shell takes it."""
    if language == "python":
        return f"python - <<'END_OF_BLOCK'\n{text}END_OF_BLOCK\n"
    if language == "bash":
        return text
    lines, typed = [], False
    for line in text.splitlines():
        typed = line.startswith("$ ") or (typed and lines[-1].endswith("\\"))
        lines += [line.removeprefix("$ ")] if typed else []
    return "\n".join(lines) + "\n"


def sections() -> dict[str, str]:
    """The commands below each heading, in order."""
    _, *parts = re.split(r"^#+ (.+)$", PAGE.read_text(), flags=re.MULTILINE)
    found = {
        title: "".join(commands(*block) for block in BLOCK.findall(text))
        for title, text in zip(parts[::2], parts[1::2], strict=True)
    }
    return {title: text for title, text in found.items() if text}


def test_the_page_has_what_is_timed():
    found = sections()
    first, *_, last = found
    assert (first, last) == ("Quickstart", KILLED)
    assert "make setup && source .venv/bin/activate" in found["Quickstart"]
    assert "faultset failover --nodes-file" in found[SURVIVORS]
    killed = found[KILLED]
    order = [
        "faultset up demo --local 5",
        "faultset put ledger data.bin",
        "pkill -9 --session",
        "faultset get ledger",
        "cmp data.bin",
    ]
    places = [killed.index(each) for each in order]
    assert places == sorted(places), "what is got is got after the kill"
    assert commands("console", "$ a \\\n    b\nsaid\n$ c\n") == "a \\\n    b\nc\n"


def end_nodes(home, environ):
    """End what `faultset up --local` has started, if it still runs."""
    faultset = home / "clone" / ".venv" / "bin" / "faultset"
    if (home / ".local" / "state" / "faultset-ray-local" / "demo").exists():
        subprocess.run([faultset, "down", "demo", "--local", "--force"], cwd=home, env=environ, timeout=120, check=True)


@pytest.mark.needs("git", "make", "pkill")
def test_from_a_clone_to_what_survives(tmp_path, capsys):
    times = tmp_path / "times"
    script = f"""
        set -euo pipefail
        mark() {{ printf '%s %s\\n' "$EPOCHREALTIME" "$1" >> {times}; }}
        mark clone
        git clone --quiet {ROOT} clone
        cd clone
    """
    for title, text in sections().items():
        script += f"\nmark '{title}'\n{text}"
    script += "\nmark end\n"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    environ = {**inherited, "HOME": str(tmp_path)}
    log = tmp_path / "log"
    try:
        with log.open("w") as out:
            done = subprocess.run(
                ["bash", "-c", script],
                cwd=tmp_path,
                env=environ,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=1100,
                check=False,
            )
    finally:
        end_nodes(tmp_path, environ)
    said = log.read_text()
    assert done.returncode == 0, said[-5000:]
    assert '"survivors": ["fra-1", "par-1"]' in said
    told = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    [up] = [each for each in told if "attended" in each]
    schemas.check("up", up)
    [stat] = [each for each in told if "locations" in each]
    schemas.check("stat", stat)
    killed = {store["uuid"] for store in up["stores"]} - {at["store"] for at in stat["locations"].values()}
    assert (len(stat["locations"]), len(stat["missing"]), len(killed)) == (4, 1, 1), "one shard went with its store"
    assert stat["durability"] == "fsync"
    marks = [line.split(" ", 1) for line in times.read_text().splitlines()]
    begun = float(marks[0][0])
    ends = {title: float(end) - begun for (_, title), (end, _) in pairwise(marks)}
    lines = []
    for (at, title), (end, _) in pairwise(marks):
        bound = f", of {SECONDS_MAX[title]:g}" if title in SECONDS_MAX else ""
        lines.append(f"{float(end) - float(at):8.1f} s  {title} ({ends[title]:.1f} s since the beginning{bound})\n")
    with capsys.disabled():
        sys.stdout.write("\n" + "".join(lines))
    late = {title: (round(ends[title], 1), most) for title, most in SECONDS_MAX.items() if ends[title] > most}
    assert late == {}
