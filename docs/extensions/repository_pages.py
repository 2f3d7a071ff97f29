"""Pages as they are in the repository, made fit for a site.

* The order of the site is that of the links in ``index.md``, where each heading is a part of the contents. So it is
  said once, and can be read without the site. A page that it does not name is a warning.
* ``ARCHITECTURE.md`` and its like stand above ``docs``; pages of the site include them, and links to them lead there.
* The tables that benchmarks have written stand at the end of their page.
* A link to another file of the repository becomes the file, to be downloaded; to a folder, its name.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # tests read this without Sphinx
    from sphinx.application import Sphinx

ABOVE = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "project/architecture.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
}
RESULTS = "benchmarks/results"
INCLUDES = {page: name for name, page in ABOVE.items() if page.startswith("project/")}

_FENCES = re.compile(r"^```.*?^```[^\S\n]*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def read(app: Sphinx, docname: str, content: list[str]) -> None:
    """Change a page's text before it is parsed."""
    root = Path(app.srcdir).parent
    page = f"{docname}.md"
    if not (Path(app.srcdir) / page).is_file():
        return
    text, folder = content[0], posixpath.dirname(f"docs/{page}")
    if page in INCLUDES:
        text, folder = (root / INCLUDES[page]).read_text(), ""
        app.env.note_dependency(str(root / INCLUDES[page]))
    if page == "index.md":
        text += contents(text)
    if page == "benchmarks.md":
        text += "".join(results(root))
        app.env.note_dependency(str(root / RESULTS))
    content[0] = outside_fences(text, lambda part: _LINK.sub(lambda link: relink(link, root, folder, page), part))


def outside_fences(text: str, change: Callable[[str], str]) -> str:
    """Apply a change to all that stands outside fenced blocks."""
    parts, at = [], 0
    for fence in _FENCES.finditer(text):
        parts += [change(text[at : fence.start()]), fence[0]]
        at = fence.end()
    return "".join([*parts, change(text[at:])])


def relink(link: re.Match[str], root: Path, folder: str, page: str) -> str:
    """One link as the site has it."""
    picture, text, target = link.groups()
    path, mark, anchor = target.partition("#")
    if not path or "://" in path:
        return link[0]
    there = posixpath.normpath(posixpath.join(folder, path))
    inside = ABOVE.get(there) or (there.removeprefix("docs/") if there.startswith("docs/") else None)
    if inside is not None:
        own = posixpath.dirname(page)
        return f"{picture}[{text}]({posixpath.relpath(inside, own or '.')}{mark}{anchor})"
    if (root / there).is_file():
        up = posixpath.relpath(there, posixpath.join("docs", posixpath.dirname(page)))
        return f"{picture}[{text}]({up})"
    return text if text.startswith("`") else f"{text} (`{there}`)"


def results(root: Path) -> list[str]:
    """What benchmarks have written, each file below its name."""
    return [f"\n## {path.stem}\n\n{path.read_text()}" for path in sorted((root / RESULTS).glob("*.md"))]


def contents(text: str) -> str:
    """The contents of the site: below each heading of the index, the pages that it links to."""
    parts = _HEADING.split(text)[1:]
    made = []
    for caption, part in zip(parts[::2], parts[1::2], strict=True):
        targets = [link[3].partition("#")[0] for link in _LINK.finditer(part)]
        pages = [ABOVE.get(target.removeprefix("../"), target) for target in targets if "://" not in target]
        names = dict.fromkeys(re.sub(r"\.(md|rst)$", "", page) for page in pages)
        made.append("\n".join(["", "```{toctree}", ":hidden:", f":caption: {caption}", "", *names, "```", ""]))
    return "\n" + "\n".join(made)
