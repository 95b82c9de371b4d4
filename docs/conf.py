"""The site: hand-written pages here, and what `made/` writes from the code and its measurements on every build.

pip install -c constraints.txt -e '.[docs]' && sphinx-build -W --keep-going -q docs docs/_build
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from course.notebooks import files as notebooks  # noqa: E402
from made import autodoc, formulas, write_pages  # noqa: E402

import credit_envs  # noqa: E402

project = "credit_envs"
author = "credit_envs maintainers"
copyright = f"2026, {author}"
version = release = credit_envs.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["jupyter_execute", ".jupyter_cache", "_build", "made", "data", "_generated/course"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]

# The course's notebooks run while the site is built: an error, or a solution that its own check calls wrong, fails the build.
os.environ |= {"CREDIT_ENVS_STRICT_CHECKS": "1", "OMP_NUM_THREADS": "1"}
nb_execution_mode = "cache"
nb_execution_timeout = 600  # of one cell, on a busy machine
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_code_prompt_show, nb_code_prompt_hide = "Solution", "Hide the solution"
html_math_renderer = "mathml"
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
# Measured pages begin their sections at the third level; a signature that names a Policy need not say which of the two.
suppress_warnings = ["myst.header", "ref.python"]


def setup(app):
    """Writes the generated pages before anything is read, and readies docstrings for autodoc."""
    write_pages(HERE / "_generated")
    (HERE / "_generated" / "course").mkdir(exist_ok=True)
    for name, content in notebooks():
        (HERE / "_generated" / "course" / name).write_text(content, encoding="utf-8")
    app.connect("autodoc-process-docstring", autodoc.ready)
    app.connect("autodoc-skip-member", autodoc.skip)
    app.add_html_math_renderer("mathml", (formulas.inline, None), (formulas.block, None))
