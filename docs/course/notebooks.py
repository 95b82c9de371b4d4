"""Writes the course's notebooks as .ipynb files: `NAME.ipynb` for students, `NAME-solved.ipynb` with the solutions.

python docs/course/notebooks.py FOLDER

The sources are the Markdown pages beside this file, which the site executes when it is built.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbformat

HERE = Path(__file__).parent
PAGES = tuple(sorted(HERE.glob("[0-9][0-9]-*.md")))


def files() -> Iterator[tuple[str, str]]:
    """Yields name and content of both versions of every notebook."""
    for page in PAGES:
        for solved in (False, True):
            yield f"{page.stem}{'-solved' if solved else ''}.ipynb", nbformat.writes(notebook(page, solved))


def notebook(page: Path, solved: bool) -> nbformat.NotebookNode:
    """Returns a page as a notebook: without its solutions, or with them folded away."""
    made = jupytext.read(page, fmt="md:myst")
    made.metadata.pop("jupytext", None)
    made.cells = [cell for cell in made.cells if solved or not is_solution(cell)]
    for number, cell in enumerate(made.cells):
        cell.id = f"cell-{number}"
        if is_solution(cell):
            cell.metadata["jupyter"] = {"source_hidden": True}
        if cell.cell_type == "markdown":
            cell.source = "\n".join(line for line in cell.source.splitlines() if "{download}" not in line)
    return made


def is_solution(cell: nbformat.NotebookNode) -> bool:
    """Tells whether a cell is a solution."""
    return "solution" in cell.metadata.get("tags", ())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write them")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files():
        (folder / name).write_text(content, encoding="utf-8")
        print(folder / name)
