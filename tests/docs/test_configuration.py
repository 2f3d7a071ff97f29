"""The page of settings is what the types say, and what it shows can be read."""

import re
from pathlib import Path

import pytest

from faultset_ray.config import Config
from faultset_ray.config.loading import known
from faultset_ray.config.page import MARK, made, write
from jobs import pages
from jobs.pages import PAGES

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_up_to_date():
    _, mark, behind = PAGE.read_text().partition(MARK)
    assert mark, "the page has no mark"
    assert behind == made(), "make docs-config writes it anew"


def test_every_setting_and_variable_is_on_it():
    text = made()
    for own in known().values():
        assert f"`{own.key.rpartition('.')[2]}`" in text or f"[{own.key}.NAME]" in text, own.key
        for variable in own.variables:
            assert f"`{variable}`" in text


def test_a_stale_page_is_written_anew(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"by hand\n{MARK}old\n")
    write(page)
    assert page.read_text() == f"by hand\n{MARK}{made()}"


def test_the_files_that_the_docs_show_can_be_read():
    blocks = [
        block
        for path in PAGE.parent.rglob("*.md")
        for block in re.findall(r"^```toml\n(\[cluster\].*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)
    ]
    assert blocks
    for block in blocks:
        assert Config.from_toml(block) != Config()


@pytest.mark.parametrize("name", PAGES)
def test_pages_that_are_made_of_the_code_are_up_to_date(name):
    _, mark, behind = (PAGE.parent / f"{name}.md").read_text().partition(pages.MARK)
    assert mark, "the page has no mark"
    assert behind == PAGES[name](), "make docs-cli writes it anew"
