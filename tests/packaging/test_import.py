"""``import faultset_ray`` is light, and its lazy names all exist."""

import subprocess
import sys

import pytest

SECONDS_MAX = 0.100
HEAVY = ("ray", "numba", "llvmlite", "numpy", "pandas", "polars", "pygeohash", "typer", "rich")
PROBE = f"""
import sys, time
before = time.perf_counter()
import faultset_ray
seconds = time.perf_counter() - before
print(seconds, *[name for name in {HEAVY!r} if name in sys.modules])
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


def test_commands_load_ray_only_where_they_use_it():
    """It takes longer than everything else that most of them do."""
    probe = (
        "import sys, jobs.cli; print(*[name for name in ('ray', 'fastapi', 'pandas', 'polars') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == []
