"""What the documentation shows works: links lead somewhere, blocks marked ``python`` and ``bash`` run.

The blocks of a page run in order, in one empty directory. A block that is only to be read is marked
``console`` or ``text``.
"""

import os
import re
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest
from doc_pages import DOCS, ROOT, sources

PAGES = [*sorted(ROOT.glob("*.md")), *sources(".md")]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|<img [^>]*src=\"([^\"]+)\"")
SHOWN = {"console", "text", "json", "toml", "yaml", ""}


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[tuple[str, str]]:
    return [(match[1], match[2]) for match in FENCE.finditer(page.read_text())]


def anchors(page: Path) -> set[str]:
    """Headings as GitHub makes them into anchors."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    broken = []
    for match in LINK.finditer(FENCE.sub("", page.read_text())):
        target, _, anchor = (match[1] or match[2]).partition("#")
        if target.startswith(("http://", "https://")):
            continue
        there = (page.parent / target).resolve() if target else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(match[0])
    return broken


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_resolve(page):
    assert broken_links(page) == []


def test_a_broken_link_is_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One thing\n[good](#one-thing) [bad](#two) [gone](gone.md) ![no](no.svg)\n")
    assert broken_links(page) == ["[bad](#two)", "[gone](gone.md)", "![no](no.svg)"]


def test_the_index_leads_to_every_page():
    """And so the contents of the site do, which are made of its links."""
    index = DOCS / "index.md"
    linked = {(index.parent / match[1]).resolve() for match in re.finditer(r"\]\(([^)#\s]+)", index.read_text())}
    pages = {path for path in sources(".md", ".rst") if path.parent.name != "project"}
    assert pages - {index} <= linked
    assert {ROOT / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")} <= linked


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_block_says_what_it_is(page):
    assert {language for language, _ in blocks(page)} <= SHOWN | {"python", "bash"}


RUN = [page for page in PAGES if {"python", "bash"} & {language for language, _ in blocks(page)}]
LATER = {"docs/recovery.md", *(f"docs/tutorials/{name}.md" for name in ("fleet", "codes", "region", "pipeline"))}
"""Pages that only `make test-docs` runs: other tests of `make test` have what they show."""


@pytest.mark.ray
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.docs if page_name(page) in LATER else ()) for page in RUN],
    ids=[page_name(page) for page in RUN],
)
def test_blocks_run(page, tmp_path):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for language, texts in groupby(blocks(page), key=lambda block: block[0]):
        if language in SHOWN:
            continue
        script = "\n".join(text for _, text in texts)
        command = [sys.executable, "-c"] if language == "python" else ["bash", "-euo", "pipefail", "-c"]
        run = subprocess.run(
            [*command, script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert run.returncode == 0, f"{script}\n{run.stdout[-3000:]}\n{run.stderr[-3000:]}"
