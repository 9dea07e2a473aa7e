"""Sphinx configuration. Pages that would repeat the code are written by `_generate.py` from the code itself."""

from __future__ import annotations

import sys
from pathlib import Path

here = Path(__file__).parent
sys.path.insert(0, str(here))

import _generate  # noqa: E402
import _pictures  # noqa: E402

import stack3d  # noqa: E402

project = "stack3d"
author = "The stack3d developers"
copyright = "The stack3d developers"
version = release = stack3d.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "api/generated/vocabulary.md"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
root_doc = "index"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = f"stack3d {version}"
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}

# Before Sphinx looks for pages, so that it finds these.
_generate.write_pages(here / "api" / "generated")
_pictures.write_pictures(here / "operations" / "generated")
