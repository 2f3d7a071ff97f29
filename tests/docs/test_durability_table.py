"""The table of durability in the guide is what the code says."""

from pathlib import Path

from benchmarks.simulations import durability

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "placement.md"


def test_the_table_is_up_to_date():
    lines = durability.table()
    assert len(lines) == 5 + len(durability.CODES)
    assert "\n".join(lines) in PAGE.read_text(), "make docs-plots writes it anew"
