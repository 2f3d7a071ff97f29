"""``import faultset_ray`` is light, and its lazy names all exist."""

import subprocess
import sys

import pytest

from jobs.cli import VERBS

SECONDS_MAX = 0.100
HEAVY = ("ray", "numba", "llvmlite", "numpy", "pandas", "polars", "pygeohash", "typer", "rich")
HEAVY_IN_COMMANDS = ("ray", "numba", "llvmlite", "numpy", "fastapi", "pandas", "polars", "pygeohash")
PROBE = f"""
import sys, time
before = time.perf_counter()
import faultset_ray
seconds = time.perf_counter() - before
print(seconds, *[name for name in {HEAVY!r} if name in sys.modules])
"""

FORKING = f"""
import io, os, sys
from jobs import cli, output

def main(arguments):
    sys.argv = ["faultset", *arguments]
    cli.main()

def complete(line, word):
    os.environ |= {{"_FAULTSET_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(word)}}
    main([])

for work in sys.stdin:
    child = os.fork()
    if not child:
        out, sys.stdout = sys.stdout, io.TextIOWrapper(io.BytesIO())
        code = 1
        try:
            eval(work)
            code = 0
        except SystemExit as ended:
            code = ended.code
        print(code, *[name for name in {HEAVY_IN_COMMANDS!r} if name in sys.modules], file=out, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


def probe() -> list[str]:
    return subprocess.run(
        [sys.executable, "-c", PROBE], check=True, capture_output=True, text=True, timeout=60
    ).stdout.split()


def test_import_is_light():
    """The best of several runs: what the import costs, not what else the machine does."""
    runs = [probe() for _ in range(5)]
    assert [heavy for run in runs for heavy in run[1:]] == []
    assert min(float(run[0]) for run in runs) < SECONDS_MAX


def exported() -> list[str]:
    import faultset_ray

    return faultset_ray.__all__


@pytest.mark.parametrize("name", exported())
def test_every_exported_name_loads_and_is_listed(name):
    import faultset_ray

    assert getattr(faultset_ray, name) is not None
    assert name in dir(faultset_ray)


def test_unknown_name_is_an_attribute_error():
    import faultset_ray

    with pytest.raises(AttributeError, match="no attribute 'failoverr'"):
        _ = faultset_ray.failoverr


@pytest.mark.parametrize(
    "work",
    [
        "main(['--version'])",
        "main(['--help'])",
        *(f"main(['{verb}', '--help'])" for verb in VERBS),
        "complete('faultset ', 1)",
        "complete('faultset put --co', 2)",
        "complete('faultset put a b --code rs', 5)",
    ],
)
def test_a_command_that_only_tells_of_itself_is_light(work, quiet):
    """numba and Ray take longer than all that it does; they are loaded where a verb works."""
    quiet(work)


@pytest.fixture(scope="module")
def quiet():
    """One process that does each piece of work in a child of its own, and says what that loaded."""
    with subprocess.Popen([sys.executable, "-c", FORKING], stdin=-1, stdout=-1, text=True) as forking:

        def call(work):
            forking.stdin.write(work + "\n")
            forking.stdin.flush()
            assert forking.stdout.readline().split() == ["0"], work

        yield call
        forking.stdin.close()
