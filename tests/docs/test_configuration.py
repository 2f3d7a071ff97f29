"""The pages that are made of the code are what it says, and what that of settings shows can be read."""

import re
from pathlib import Path

import pytest

from faultset_ray.config import Config
from faultset_ray.config.loading import known
from faultset_ray.config.page import made
from jobs.pages import PAGES

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_pages_that_are_made_of_the_code_are_up_to_date(name):
    _, mark, behind = (DOCS / f"{name}.md").read_text().partition(PAGES[name].mark)
    assert mark, "the page has no mark"
    assert behind == PAGES[name].made(), f"it is to be written anew: {mark}"


@pytest.mark.parametrize("name", PAGES)
def test_a_stale_page_is_written_anew(name, tmp_path):
    path, page = tmp_path / "page.md", PAGES[name]
    path.write_text(f"by hand\n{page.mark}old\n")
    page.write(path)
    assert path.read_text() == f"by hand\n{page.mark}{page.made()}"


def test_every_setting_and_variable_is_on_it():
    text = made()
    for own in known().values():
        assert f"`{own.key.rpartition('.')[2]}`" in text or f"[{own.key}.NAME]" in text, own.key
        for variable in own.variables:
            assert f"`{variable}`" in text


def test_the_files_that_the_docs_show_can_be_read():
    blocks = [
        block
        for path in DOCS.rglob("*.md")
        for block in re.findall(r"^```toml\n(\[cluster\].*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)
    ]
    assert blocks
    for block in blocks:
        assert Config.from_toml(block) != Config()
