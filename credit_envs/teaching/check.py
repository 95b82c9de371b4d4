"""Self-checks: an answer against the truth that the library computes, with feedback that knows the usual mistakes.

A question is plain data in ``exercises/nNN_NAME.py``; its truth and its mistakes are functions, so that no number is typed
twice and none goes stale. ``check("3.2", answer)`` in a notebook says what the answer is worth.
"""

from __future__ import annotations

import functools
import importlib
import math
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from credit_envs.arrays import Floats
from credit_envs.errors import CreditEnvsError, unknown

_EXERCISES = Path(__file__).parent / "exercises"

STRICT = "CREDIT_ENVS_STRICT_CHECKS"
"""Set this variable and a wrong answer raises; the site is built so, and a solution that went stale fails it."""


@dataclass(frozen=True, eq=False)
class Mistake:
    """An answer that is known to be wrong, and what to say to it.

    Attributes:
        value: computes the wrong answer, in the form of the truth (for a question with ``use``: already used).
        feedback: what the student should look at; it says what the answer is, not what it should be.
    """

    value: Callable[[], Any]
    feedback: str


@dataclass(frozen=True, eq=False)
class Question:
    """One exercise.

    Attributes:
        name: number of the notebook, a dot, number of the exercise: ``"3.2"``.
        truth: computes the right answer: a number, an array or tensor, a word, or a truth value.
        tolerance: largest deviation that counts as right, as a share of the truth's largest size (of 1 where that is 0).
        mistakes: known wrong answers; flipped signs, percentages and constant factors are recognised without being listed.
        explanation: said to a right answer: what it means.
        hint: said to a wrong answer that nobody knows.
        use: turns the answer into what is compared, such as calling a function that the student wrote.
    """

    name: str
    truth: Callable[[], Any]
    tolerance: float = 1e-6
    mistakes: tuple[Mistake, ...] = ()
    explanation: str = ""
    hint: str = ""
    use: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Verdict:
    """What an answer is worth. Its text is what a notebook prints; ``bool(verdict)`` says whether the answer is right."""

    question: str
    right: bool
    answered: bool
    feedback: str

    def __bool__(self) -> bool:
        return self.right

    def __str__(self) -> str:
        mark = "✓ right" if self.right else "✗ not yet" if self.answered else "not answered yet"
        return f"{self.question} {mark}{'. ' + self.feedback if self.feedback else ''}"


def check(question: str | Question, answer: Any) -> None:
    """Prints what an answer is worth.

    Args:
        question: name of an exercise, or a question of your own.
        answer: ``...`` counts as not answered. Numbers, arrays, tensors and words are compared as they are.

    Raises:
        CreditEnvsError: if there is no such question.
        AssertionError: for a wrong answer while :data:`STRICT` is set in the environment, as where solutions are tested.
    """
    verdict = judge(question, answer)
    print(verdict)
    if verdict.answered and not verdict.right and os.environ.get(STRICT):
        raise AssertionError(str(verdict))


def judge(question: str | Question, answer: Any) -> Verdict:
    """Compares an answer with the truth, as :func:`check` prints it."""
    asked = find(question) if isinstance(question, str) else question
    if answer is ...:
        return Verdict(asked.name, False, False, "Replace the three dots.")

    def wrong(feedback: str) -> Verdict:
        return Verdict(asked.name, False, True, feedback)

    try:
        given = answer if asked.use is None else asked.use(answer)
    except Exception as error:  # whatever a student's function raises is an answer
        return wrong(f"Your answer could not be used: {type(error).__name__}{_place(error)}: {error}")
    if given is ... or given is None:
        return Verdict(asked.name, False, False, "It returns nothing yet.")
    truth = _truth(asked)
    for mistake in asked.mistakes:
        if _same(given, mistake.value(), asked.tolerance) and not _same(given, truth, asked.tolerance):
            return wrong(mistake.feedback)
    if isinstance(truth, str | bool | np.bool_):
        right = _word(given) == _word(truth)
        return Verdict(asked.name, True, True, asked.explanation) if right else wrong(asked.hint)
    true, found = _numbers(truth), _numbers(given)
    if true is None:
        raise CreditEnvsError(f"question {asked.name}: its truth is {type(truth).__name__}, expected numbers or a word")
    if found is None:
        kind = "a number" if true.ndim == 0 else f"numbers of shape {true.shape}"
        return wrong(f"Expected {kind}, got {type(given).__name__}.")
    if found.shape != true.shape:
        return wrong(f"Expected shape {true.shape}, got {found.shape}.")
    if not np.isfinite(found).all():
        return wrong(f"{int((~np.isfinite(found)).sum())} of {found.size} numbers are NaN or infinite.")
    if _close(found, true, asked.tolerance):
        return Verdict(asked.name, True, True, asked.explanation)
    return wrong(_usual(found, true, asked.tolerance) or asked.hint)


def find(name: str) -> Question:
    """Returns the question of a name.

    Raises:
        CreditEnvsError: if there is none.
    """
    chapter, _, _ = name.partition(".")
    files = sorted(_EXERCISES.glob("n[0-9][0-9]_*.py"))
    known = {str(int(path.stem[1:3])): path.stem for path in files}
    if chapter not in known:
        raise unknown("notebook of question", name, known)
    questions = chapter_questions(known[chapter])
    if name not in questions:
        raise unknown("question", name, questions)
    return questions[name]


@functools.cache
def chapter_questions(module: str) -> dict[str, Question]:
    """Returns the questions of a file in ``exercises/`` by name.

    Raises:
        CreditEnvsError: if two of them share a name.
    """
    listed: tuple[Question, ...] = importlib.import_module(f"credit_envs.teaching.exercises.{module}").QUESTIONS
    out = {question.name: question for question in listed}
    if len(out) < len(listed):
        raise CreditEnvsError(f"exercises/{module}.py: expected distinct names, got {[q.name for q in listed]}")
    return out


@functools.cache
def _truth(question: Question) -> Any:
    return question.truth()


def _place(error: BaseException) -> str:
    """Says in which line of the student's own code an error arose."""
    ours = (str(Path(__file__).parents[1]), sys.prefix, sys.base_prefix)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(ours)]
    return f" in line {frames[-1].lineno}" if frames else ""


def _word(value: Any) -> str:
    return str(value).strip().casefold()


def _numbers(value: Any) -> Floats | None:
    """Returns numbers as an array, None for anything else."""
    value = value.detach().cpu().numpy() if hasattr(value, "detach") else value
    try:
        found: Floats = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return found


def _close(found: Floats, true: Floats, tolerance: float) -> bool:
    size = float(np.abs(true).max(initial=0.0))
    return bool(np.abs(found - true).max(initial=0.0) <= tolerance * (size or 1.0))


def _same(given: Any, other: Any, tolerance: float) -> bool:
    if isinstance(other, str | bool | np.bool_):
        return _word(given) == _word(other)
    found, numbers = _numbers(given), _numbers(other)
    if found is None or numbers is None or found.shape != numbers.shape or not np.isfinite(found).all():
        return False
    return _close(found, numbers, tolerance)


def _usual(found: Floats, true: Floats, tolerance: float) -> str:
    """Names mistakes that can happen to any number."""
    if _close(-found, true, tolerance):
        return "The size is right, the sign is the other way round."
    if true.ndim == 0 and _close(found / 100, true, tolerance):
        return "That is in percent; a share between 0 and 1 is asked."
    square = float((found * found).sum())
    if true.size > 2 and square > 0:
        scale = float((found * true).sum()) / square
        if _close(scale * found, true, tolerance):
            return f"Every number is the right one times {1 / scale:.4g}. Where does the factor come from?"
        offset = true - found
        if math.isclose(float(offset.min()), float(offset.max()), abs_tol=tolerance * float(np.abs(true).max())):
            return f"Every number is the right one plus {-float(offset.mean()):.4g}. Where does the constant come from?"
    return ""
