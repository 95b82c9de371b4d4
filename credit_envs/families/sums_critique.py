"""The critique of Sums: given solutions, right or with one error, are judged column by column; alone or beside solving."""

from __future__ import annotations

from typing import Any

import numpy as np

from credit_envs.arrays import AnyArray, Ints
from credit_envs.families.sums_question import Question
from credit_envs.table.build import from_outcomes, union
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
        "error": np.append(error, 0 * ends - 1),
        "given": np.append(_given(question, digit, carry, wrong)[given], 0 * ends - 1),
    }

    # One judgement of two is right in each column up to the error, or in all of them.
    left = np.where(error < n, error + 1, n) - column
    share = np.where(error >= column, 2 ** np.maximum(n - left, 0), 0)
    labels["answer_share"] = np.append(share, 2**n * ends)
    labels["answer_whole"] = np.full(over + 2, 2**n)
    missing = np.minimum(error + 1, n) - np.where(error >= column, column, 0)
    labels["reference_left"] = np.append(missing, ends - 1)

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


def _given(question: Question, digit: Ints, carry: Ints, wrong: Ints) -> Ints:
    """Returns what stands in the wrong column as ``digit · A + carry`` in numbers of actions, −1 without an error."""
    n, last = question.columns, np.minimum(wrong, question.columns - 1)
    row, order = np.arange(wrong.size), question.order
    return np.where(wrong < n, order[digit[row, last]] * order.size + order[carry[row, last]], -1)


def join_critique(solve: TabularMDP, critique: TabularMDP, knobs: dict[str, Any]) -> TabularMDP:
    """Puts both tasks of one question into one table: writing a solution is one context, judging the others.

    Each task has probability 1/2. The shared action names are ``written name|name in a critique`` where they differ. The
    label ``task`` is 0 or 1; ``error`` and ``given`` are −1 in the first task.
    """
    blank = np.full(solve.n_states, -1)
    names = [a if a == b else f"{a}|{b}" for a, b in zip(solve.action_names, critique.action_names, strict=True)]
    both = union(
        [
            solve.replace(labels={**solve.labels, "error": blank, "given": blank}),
            critique.replace(horizon=solve.horizon),
        ]
    )
    labels = {"task" if name == "instance" else name: values for name, values in both.labels.items()}
    return both.replace(name=solve.name, labels=labels, action_names=tuple(names), knobs=knobs)
