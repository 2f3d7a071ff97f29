"""What is not ours: unmodified, with its licence and source, and fetched only as what it says it is."""

import hashlib
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VENDOR = ROOT / "tests" / "vendor"


def test_each_folder_says_its_source_and_licence():
    for folder in VENDOR.iterdir():
        assert "Licence" in (folder / "SOURCE.md").read_text() or (folder / "LICENSE").exists()
        assert "https://" in (folder / "SOURCE.md").read_text()


def test_kubernetes_schemas_are_those_of_their_source():
    said = re.search(r"SHA-256: `([0-9a-f]{64})`", (VENDOR / "kubernetes" / "SOURCE.md").read_text())[1]
    assert hashlib.sha256((VENDOR / "kubernetes" / "_definitions.json").read_bytes()).hexdigest() == said


@pytest.fixture
def repository(tmp_path):
    """Of someone who has the tag, on a commit of their own."""
    where = tmp_path / "repository"
    crds = where / "helm-chart" / "kuberay-operator" / "crds"
    crds.mkdir(parents=True)
    for name in ("rayclusters", "rayjobs", "rayservices"):
        (crds / f"ray.io_{name}.yaml").write_text(f"# {name}\n")
    (where / "LICENSE").write_text("Apache\n")
    git(where, "init", "--quiet")
    git(where, "add", ".")
    git(where, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "all")
    git(where, "tag", "v1.5.1")
    return where


def git(where, *command):
    return subprocess.run(["git", *command], cwd=where, check=True, capture_output=True, text=True).stdout.strip()


def fetch(repository, script, folder):
    folder.mkdir()
    (folder / "fetch").write_text(script)
    return subprocess.run(
        ["sh", folder / "fetch"],
        env={**os.environ, "KUBERAY": f"file://{repository}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_another_commit_under_the_same_tag_is_refused(repository, tmp_path):
    done = fetch(repository, (VENDOR / "kuberay" / "fetch").read_text(), tmp_path / "here")
    assert done.returncode == 1
    assert "not 9e8a2c0" in done.stderr
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["fetch"]


def test_what_the_tag_has_is_fetched_unmodified(repository, tmp_path):
    script = (VENDOR / "kuberay" / "fetch").read_text()
    assert "commit=9e8a2c0\n" in script
    script = script.replace("commit=9e8a2c0\n", f"commit={git(repository, 'rev-parse', 'HEAD')[:7]}\n")
    done = fetch(repository, script, tmp_path / "here")
    assert done.returncode == 0, done.stderr
    for name in ("rayclusters", "rayjobs", "rayservices"):
        assert (tmp_path / "here" / f"ray.io_{name}.yaml").read_text() == f"# {name}\n"
    assert (tmp_path / "here" / "LICENSE").read_text() == "Apache\n"
