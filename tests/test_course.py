"""The course: pages and exercises belong together; every known mistake is told apart; .ipynb files come out whole.

The pages run when the site is built (docs/conf.py), where a solution that its own check calls wrong is an error.
"""

import ast
import builtins
import dataclasses
import importlib
import re
import sys
from pathlib import Path

import pytest

from credit_envs.teaching import drawing
from credit_envs.teaching.check import chapter_questions, judge

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "course").glob("[0-9][0-9]-*.md"))
EXERCISES = sorted((ROOT / "credit_envs" / "teaching" / "exercises").glob("n[0-9][0-9]_*.py"))
QUESTIONS = [question for path in EXERCISES for question in chapter_questions(path.stem).values()]


@pytest.fixture(scope="module")
def notebooks():
    pytest.importorskip("jupytext")
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        yield importlib.import_module("course.notebooks")
    finally:
        sys.path.remove(str(ROOT / "docs"))


def test_every_page_has_its_exercises():
    assert PAGES
    assert [path.stem[:2] for path in PAGES] == [path.stem[1:3] for path in EXERCISES]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_page(path, notebooks):
    """Each exercise stands once as a question with a check and once as a solution with the same check, in order."""
    chapter = path.stem[:2]
    names = [question.name for question in QUESTIONS if question.name.split(".")[0] == str(int(chapter))]
    asked, solved = [], []
    for cell in notebooks.notebook(path, solved=True).cells:
        found = re.findall(r'^check\("([\d.]+)"', cell.source, re.MULTILINE)
        tags = cell.metadata.get("tags", [])
        assert bool(found) == bool({"exercise", "solution"} & set(tags)), (path.stem, cell.source)
        if "exercise" in tags:
            asked += found
            assert "..." in cell.source, cell.source
        elif "solution" in tags:
            solved += found
            assert "hide-cell" in tags, cell.source
            assert "..." not in cell.source, cell.source
    assert asked == solved == names
    text = path.read_text()
    for wanted in (
        f"\n# {int(chapter)}. ",
        "**You will learn**",
        "\n## Going further",
        *(f"### Exercise {n}: " for n in names),
    ):
        assert text.count(wanted) == 1, (path.stem, wanted)


def test_students_get_no_solutions(notebooks):
    files = dict(notebooks.files())
    assert len(files) == 2 * len(PAGES)
    for path in PAGES:
        whole, bare = (notebooks.notebook(path, solved) for solved in (True, False))
        solutions = [cell.source for cell in whole.cells if notebooks.is_solution(cell)]
        assert len(bare.cells) == len(whole.cells) - len(solutions)
        assert not any(solution in cell.source for solution in solutions for cell in bare.cells)
        assert "{download}" not in files[f"{path.stem}.ipynb"] + files[f"{path.stem}-solved.ipynb"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_pages_run_without_their_solutions(path, notebooks):
    """Whatever a student's version uses, it defines itself."""
    cells = [cell.source for cell in notebooks.notebook(path, solved=False).cells if cell.cell_type == "code"]
    names = [node for cell in cells for node in ast.walk(ast.parse(cell))]
    defined = {*dir(builtins), *drawing.__all__}
    for node in names:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.alias):
            defined.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
    assert not {node.id for node in names if isinstance(node, ast.Name)} - defined


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_mistakes_are_told_apart(question, monkeypatch):
    """The truth passes, with something said to it; each known mistake fails with its own feedback."""
    monkeypatch.delenv("CREDIT_ENVS_STRICT_CHECKS", raising=False)
    plain = dataclasses.replace(question, use=None)
    right = judge(plain, question.truth())
    assert right.right, right
    assert question.explanation
    assert question.hint
    for mistake in question.mistakes:
        verdict = judge(plain, mistake.value())
        assert not verdict.right, mistake.feedback
        assert verdict.feedback == mistake.feedback


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("1.1", ..., "Replace the three dots"),
        ("1.2", lambda table, V, t, edge: None, "returns nothing yet"),
        ("1.6", lambda d, pi, A: pi * A.sum(axis=0), "weigh with d_t(s)"),
        ("2.3", lambda batch: (batch.returns - batch.returns.mean())[:, None] * batch.mask, "over the whole batch"),
        ("2.4", lambda batch: batch.returns, "Expected shape"),
        ("4.2", lambda reward, value, mask: (value.roll(-1, dims=1) - value) * mask, "value one column to the right"),
        ("5.3", lambda blind, visits, pi: pi[blind.max() + 1, :, :], "could not be used: IndexError"),
    ],
)
def test_students_functions_are_answered(name, answer, said, monkeypatch):
    monkeypatch.delenv("CREDIT_ENVS_STRICT_CHECKS", raising=False)
    verdict = judge(name, answer)
    assert not verdict.right
    assert said in verdict.feedback


def test_intervals_cover():
    """Student's intervals cover the mean in 95 % of samples of normal numbers."""
    import numpy as np

    samples = np.random.default_rng(0).normal(size=(5, 4000))
    mean = drawing.mean_interval(samples)
    assert abs(float(((mean.low < 0) & (mean.high > 0)).mean()) - 0.95) < 0.015
