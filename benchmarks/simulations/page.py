"""Where figures go: images of the documentation, and the block of a page that is written anew."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs" / "guides"
IMAGES = ROOT / "docs" / "images"


def style() -> None:
    """Small text, no frames, and the same file from the same figure."""
    mpl.rcParams.update(
        {"svg.hashsalt": "faultset-ray", "font.size": 8, "axes.spines.top": False, "axes.spines.right": False}
    )


def save(figure: plt.Figure, name: str) -> None:
    figure.savefig(IMAGES / name, metadata={"Date": None})
    plt.close(figure)


def write(page: str, lines: Sequence[str], block: str = "figures") -> None:
    """Put lines between ``<!-- BLOCK: … -->`` and ``<!-- end of BLOCK -->`` of a guide."""
    path = GUIDES / page
    made = "\n".join([f"<!-- {block}: made by make docs-plots -->", *lines, f"<!-- end of {block} -->"])
    path.write_text(
        re.sub(rf"<!-- {block}:.*<!-- end of {block} -->", lambda _: made, path.read_text(), flags=re.DOTALL)
    )
