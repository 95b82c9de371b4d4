"""The critique of Sums: solutions that are given, right or with one error, to be judged column by column."""

from __future__ import annotations

from typing import Any

import numpy as np

from credit_envs.arrays import AnyArray, Ints
from credit_envs.families.sums_question import Question
from credit_envs.table.build import from_outcomes
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.view import View, text_space

ERROR = 0.5
"""Probability that the solution given is wrong."""


def solutions(question: Question) -> tuple[Ints, Ints, Ints]:
    """Returns all solutions that may be given; the right one is the first.

    Returns:
        ``digit`` and ``carry``, int64 ``[N, n]``, as written in each column, and ``wrong``, int64 ``[N]``, the column of
        the error, n if there is none.
    """
    n, base, terms = question.columns, question.base, len(question.terms)
    pairs = base * terms
    right = question.carry * base + question.digit
    wrong, value = np.nonzero(np.arange(pairs) != right[:, None])
    wrong, value = np.append(n, wrong), np.append(0, value)
    digit, carry = np.zeros((2, wrong.size, n), dtype=np.int64)
    before = np.zeros(wrong.size, dtype=np.int64)
    for i in range(n):
        written = np.where(wrong == i, value, question.total(i, before))
        digit[:, i], carry[:, i] = written % base, written // base
        before = carry[:, i]
    return digit, carry, wrong


def compile_critique(question: Question, knobs: dict[str, Any]) -> TabularMDP:
    """Builds the table: state (column, solution), then the wrong and the right end."""
    n, base = question.columns, question.base
    digit, carry, wrong = solutions(question)
    many = wrong.size
    column, given = (part.ravel() for part in np.indices((n, many)))
    state, over = np.arange(n * many), n * many
    error, last = wrong[given], column == n - 1
    accept = np.where(last, over + (error == n), state + many)
    reject = over + (error == column)
    target = np.concatenate([accept, reject])
    action = np.repeat(question.order[base:], over)

    into = np.column_stack([np.zeros(many, dtype=np.int64), carry[:, :-1]])
    words = np.array([*question.symbols, "right", "wrong"])[np.argsort(question.order)]
    weight = np.full(many, ERROR / (many - 1))
    weight[0] = 1 - ERROR
    ends = np.array([0, 1])
    labels = {
        "turn": np.zeros(over + 2, dtype=np.int64),
        "segment": np.append(column, n + 0 * ends),
        "anchor": np.arange(over + 2),
        "written": np.append(column, n + 0 * ends),
        "right": np.append(error > column, ends),
        "carry": np.append(into[given, column], 0 * ends - 1),
        "reference_action": np.append(question.order[base + (error == column)], 0 * ends - 1),
    }

    # One judgement of two is right in each column up to the error, or in all of them.
    left = np.where(error < n, error + 1, n) - column
    share = np.where(error >= column, 2 ** np.maximum(n - left, 0), 0)
    labels["answer_share"] = np.append(share, 2**n * ends)

    choice = f"Tokens: [{question.order[base]}] right [{question.order[base + 1]}] wrong"

    def text(state: int) -> str:
        if state >= over:
            return f"{question.heading()}\nThe judgement is {'right' if state > over else 'wrong'}."
        i, which = divmod(state, many)
        lines = [question.heading()]
        for j in range(n):
            line = question.line(j, int(into[which, j]), int(digit[which, j]), int(carry[which, j]))
            lines.append(("> " if j == i else "  ") + line)
        return "\n".join([*lines, choice])

    def rows(states: AnyArray) -> list[str]:
        return [text(int(s)) for s in states]

    return from_outcomes(
        "Sums",
        over + 2,
        base + 2,
        {
            "state": np.tile(state, 2),
            "action": action,
            "successor": target,
            "probability": np.ones(2 * over),
            "reward": target == over + 1,
            "terminal": target >= over,
        },
        start=dict(enumerate(weight.tolist())),
        horizon=n,
        action_names=tuple(words.tolist()),
        labels=labels,
        views={"text": View(text_space(), rows)},
        knobs=knobs,
        validated=False,
    )
