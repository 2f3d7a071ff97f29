"""How ``make docs`` builds the site: the pages of this folder, and the reference from the docstrings."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS / "extensions")]

from faultset_ray import __version__  # noqa: E402 - found only now

project = "faultset-ray"
author = "The faultset-ray authors"
copyright = author  # noqa: A001 - Sphinx's own name
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "repository_pages", "documented_names"]
exclude_patterns = ["_build", "extensions"]
nitpicky = True

myst_heading_anchors = 4  # as GitHub makes them
myst_links_external_new_tab = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True}
napoleon_google_docstring = False
napoleon_numpy_docstring = True
napoleon_use_rtype = False
napoleon_use_ivar = True  # a field is described once, where it stands or in its class

# everything that a reader needs is in the site: no fonts, scripts or pictures from elsewhere
html_theme = "furo"
html_title = f"faultset-ray {release}"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"top_of_page_buttons": []}
