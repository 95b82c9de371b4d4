"""The site: hand-written pages here, and what `made/` writes from the code and its measurements on every build.

pip install -c constraints.txt -e '.[docs]' && sphinx-build -W --keep-going -q docs docs/_build
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from made import autodoc, write_pages  # noqa: E402

import credit_envs  # noqa: E402

project = "credit_envs"
author = "credit_envs maintainers"
copyright = f"2026, {author}"
version = release = credit_envs.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "made", "data"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]
nitpicky = False

default_role = "code"  # docstrings mark code with single backticks
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_mock_imports = ["textworld", "jericho"]
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = "credit_envs"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_theme_options = {"source_edit_link": "", "top_of_page_buttons": []}
html_show_sourcelink = False
suppress_warnings = ["myst.header"]  # measured pages begin their sections at the third level


def setup(app):
    """Writes the generated pages before anything is read, and readies docstrings for autodoc."""
    write_pages(HERE / "_generated")
    app.connect("autodoc-process-docstring", autodoc.ready)
