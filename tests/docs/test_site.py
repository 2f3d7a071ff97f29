"""The site that ``make docs`` has built: every link in it leads somewhere, and it needs nothing from outside."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from doc_pages import DOCS, sources

pytestmark = pytest.mark.site

SITE = DOCS / "_build" / "html"
LOADED = {
    ("script", "src"),
    ("link", "href"),
    ("img", "src"),
    ("iframe", "src"),
    ("source", "srcset"),
    ("object", "data"),
}


class Page(HTMLParser):
    """What a page defines, links to and loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id":
                self.ids.add(value)
            elif (tag, name) in LOADED:
                self.loads.append(value)
            elif (tag, name) == ("a", "href"):
                self.links.append(value)


@cache
def page(path: Path) -> Page:
    return Page(path.read_text())


def pages(site: Path) -> list[Path]:
    return sorted(path for path in site.rglob("*.html") if "_static" not in path.parts)


def dangling(site: Path) -> list[tuple[str, str]]:
    """Links and pictures that lead nowhere: page and target."""
    found = []
    for path in pages(site):
        for target in [*page(path).links, *page(path).loads]:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            gone = not there.is_file()
            if gone or (parts.fragment and there.suffix == ".html" and unquote(parts.fragment) not in page(there).ids):
                found.append((str(path.relative_to(site)), target))
    return found


def outside(site: Path) -> list[tuple[str, str]]:
    """What a reader's browser would fetch from elsewhere: file and address."""
    found = [
        (str(path.relative_to(site)), target)
        for path in pages(site)
        for target in page(path).loads
        if urlsplit(target).netloc
    ]
    for path in [*site.rglob("*.css"), *site.rglob("*.svg")]:
        addresses = re.findall(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')]+)""", path.read_text())
        addresses += re.findall(r"""\bhref=["'](https?://[^"']+)""", path.read_text())
        found += [(str(path.relative_to(site)), address) for address in addresses]
    return found


def test_it_was_built_of_every_page():
    written = {str(path.relative_to(DOCS).with_suffix("")) for path in sources(".md", ".rst")}
    built = {str(path.relative_to(SITE).with_suffix("")) for path in pages(SITE)}
    assert written <= built, "make docs builds it"
    assert built - written == {"genindex", "py-modindex", "search"}


def test_links_and_anchors_lead_somewhere():
    assert dangling(SITE) == []


def test_nothing_comes_from_outside():
    assert outside(SITE) == []


def test_the_reference_has_every_public_name():
    import faultset_ray as fs

    ids = page(SITE / "api.html").ids
    names = set(fs.__all__) - {"__version__", "codes", "errors", "geohash", "FaultsetError", "CodingError"}
    verbs = {
        f"AsyncDriver.{name}"
        for name in dir(fs.AsyncDriver)
        if callable(getattr(fs.AsyncDriver, name)) and not name.startswith("_")
    }
    below = {f"errors.{name}" for name in fs.errors.__all__} | {f"codes.{name}" for name in ("get", "Code", "Plan")}
    assert {f"faultset_ray.{name}" for name in names | verbs | below} <= ids
    assert {"module-faultset_ray.errors", "module-faultset_ray.geohash"} <= ids


def test_what_is_wrong_is_seen_in_a_built_site(tmp_path):
    (tmp_path / "a.html").write_text(
        '<h1 id="one"></h1><a href="#one"></a><a href="b.html#two"></a><a href="#three"></a><a href="https://x.org"></a>'
        '<img src="no.svg"><script src="https://x.org/y.js"></script>'
    )
    (tmp_path / "b.html").write_text('<p id="two"><a href="c.html">')
    (tmp_path / "s.css").write_text("@import '//x.org/font.css'; a {background: url(https://x.org/p.png)}")
    assert dangling(tmp_path) == [("a.html", "#three"), ("a.html", "no.svg"), ("b.html", "c.html")]
    assert [address for _, address in outside(tmp_path)] == [
        "https://x.org/y.js", "//x.org/font.css", "https://x.org/p.png",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"index.md": "# I\n## P\n[a](a.md)\n", "a.md": "# A\n[b](#b)\n"}, "b"),
        ({"index.md": "# I\n## P\n[a](a.md)\n", "a.md": "# A\n[b](b.md)\n"}, "b.md"),
        ({"index.md": "# I\n## P\n[a](a.md)\n", "a.md": "# A\n![b](b.svg)\n"}, "b.svg"),
        ({"index.md": "# I\n## P\n[a](a.md)\n", "a.md": "# A\n", "c.md": "# C\n"}, "isn't included in any toctree"),
        ({"index.md": "# I\n## P\n[a](a.rst)\n", "a.rst": "A\n=\n\n:func:`faultset_ray.nothing`\n"}, "nothing"),
        ({"index.md": "# I\n## P\n[a](a.md)\n", "a.md": "# A\n```python\na = $\n```\n"}, "python"),
    ],
    ids=["anchor", "page", "picture", "contents", "name", "block"],
)
def test_a_mistake_fails_the_build(tmp_path, files, words):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "conf.py").write_bytes(
        (DOCS / "conf.py").read_bytes().replace(b"Path(__file__).parent", f"Path({str(DOCS)!r})".encode())
    )
    command = [sys.executable, "-m", "sphinx", "-nWq", "--keep-going", "-b", "html", tmp_path, tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert "WARNING" in done.stderr
    assert words in done.stderr
