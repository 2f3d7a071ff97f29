"""What an installation brings: three packages with their data, one command, one version."""

import ast
import os
import subprocess
import sys
import tomllib
import zipfile
from configparser import ConfigParser
from email.parser import HeaderParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"actors", "faultset_ray", "jobs"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """That of ``FAULTSET_DIST``; else built as a release is, with the tools of this environment."""
    if given := os.environ.get("FAULTSET_DIST"):
        return opened(ROOT / given)
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out))
    return opened(out)


def run(*command: str) -> None:
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)


def opened(directory: Path) -> zipfile.ZipFile:
    (wheel,) = directory.glob("*.whl")
    return zipfile.ZipFile(wheel)


def version() -> str:
    tree = ast.parse((ROOT / "faultset_ray" / "_version.py").read_text())
    (value,) = [node.value for node in ast.walk(tree) if isinstance(node, ast.AnnAssign | ast.Assign)]
    assert isinstance(value, ast.Constant)
    return value.value


def tracked(suffix: str) -> set[str]:
    """The sources of the three packages, as git knows them or would on the next commit."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *sorted(PACKAGES)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    return {name for name in listed if name.endswith(suffix) and (ROOT / name).exists()}


def test_wheel_holds_exactly_the_three_packages(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == PACKAGES | {f"faultset_ray-{version()}.dist-info"}


def test_wheel_holds_every_source_and_nothing_compiled(wheel):
    names = set(wheel.namelist())
    assert {name for name in names if name.endswith(".py")} == tracked(".py")
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".nbi", ".nbc"))]


def test_wheel_holds_types_data_and_licence(wheel):
    names = set(wheel.namelist())
    assert "faultset_ray/py.typed" in names
    assert tracked(".csv") | tracked("ATTRIBUTION.md") | tracked(".css") | tracked(".js") | tracked("land.txt") <= names
    assert {"faultset_ray/datasets/azure_rtt_ms.csv", "faultset_ray/datasets/ATTRIBUTION.md"} <= names
    licence = wheel.read(f"faultset_ray-{version()}.dist-info/licenses/LICENSE")
    assert licence == (ROOT / "LICENSE").read_bytes()
    assert b"Apache License" in licence


def test_console_script(wheel):
    scripts = ConfigParser()
    scripts.read_string(wheel.read(f"faultset_ray-{version()}.dist-info/entry_points.txt").decode())
    assert dict(scripts["console_scripts"]) == {"faultset": "jobs.cli:main"}


def test_version_is_one_literal(wheel):
    metadata = HeaderParser().parsestr(wheel.read(f"faultset_ray-{version()}.dist-info/METADATA").decode())
    assert metadata["Version"] == version()
    assigned = [name for name in tracked(".py") if "__version__ =" in (ROOT / name).read_text().replace(": str", "")]
    assert assigned == ["faultset_ray/_version.py"]


def test_metadata_is_of_a_version_that_the_publishing_action_takes(wheel):
    metadata = HeaderParser().parsestr(wheel.read(f"faultset_ray-{version()}.dist-info/METADATA").decode())
    assert tuple(map(int, metadata["Metadata-Version"].split("."))) <= (2, 4)
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert {name: target["core-metadata-version"] for name, target in targets.items()} == {
        "wheel": "2.4",
        "sdist": "2.4",
    }


def test_editable_install_exposes_only_the_three_packages(tmp_path):
    editable = tmp_path / "site"
    run(sys.executable, "-c", f"import hatchling.build as b; b.build_editable({str(tmp_path)!r})")
    opened(tmp_path).extractall(editable)
    script = (
        f"import site; site.addsitedir({str(editable)!r})\n"
        "import importlib.util as u, sys\n"
        "for name in sys.argv[1:]: print(name, u.find_spec(name) is not None)\n"
        "import faultset_ray; print(faultset_ray.__file__)"
    )
    asked = [*sorted(PACKAGES), "tests", "benchmarks", "examples", "naive"]
    asking = subprocess.run(
        # -S: without the site-packages, where the project may be installed already; hence `editables` by path
        [sys.executable, "-S", "-E", "-c", f"import sys; sys.path.append({editables_home()!r})\n{script}", *asked],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    *found, home = asking.stdout.splitlines()
    assert found == [f"{name} {name in PACKAGES}" for name in asked]
    assert Path(home) == ROOT / "faultset_ray" / "__init__.py"


def editables_home() -> str:
    import editables

    return str(Path(editables.__file__).parents[1])
