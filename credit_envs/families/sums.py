"""Sums: add numbers by writing a solution token by token; paid once, for a right solution.

## Description

A miniature of reasoning in tokens with a verifiable answer. The question is an addition of `terms` numbers of `columns`
digits. The solution is written from the right, one column per step, in three tokens: the column's digit, the carry
into the next column, and a marker that closes the step. The answer is read off the digits and the last carry.

What is written cannot be taken back, except by the token `redo` in place of a marker, which starts the column afresh;
a solution may use it `repairs` times. Once a step is closed, its errors stay: the next column is shown with the carry
that was written, so whoever adds correctly from there carries the error on. With `paid="working"` the solution is right
only if all digits and all carries are. With `paid="answer"` the carries between columns are notes: they are not checked,
and matter exactly as much as the policy that reads them makes them matter (nothing under uniform play).

No state is ever visited twice: the number of tokens written is a function of the state.

With `task="critique"` a finished solution is given instead, with probability 1/2 a wrong one: in one column, uniformly
chosen, a wrong pair of digit and carry is written, and later columns follow from it. The policy goes through the columns
and says `right` or `wrong` to each; `wrong` ends the episode and is paid if this is the column of the error. Saying
`right` to all columns is paid if there is none. With `task="both"` an episode is one or the other, and each solution with
at most one error that can be written can also be given, so that critiques of one's own solutions are contexts too.

Numbers differ between instances, and actions are shuffled per instance.

## Action Space

`Discrete(base + 2)`. `task="solve"`: the digits, `;` (closes a step) and `redo`. Admissible are all digits where a digit
is due, the digits below `terms` where a carry is due, `;` after it, and there `redo` while repairs are left.
`task="critique"`: `right` and `wrong`; the digits are never admissible.

## Observation Space

- `text`: the question, the current column with the carry that was written into it and what is written in it. For
  `task="critique"` the whole solution and a sign at the current column.
- `state`: the number of what `text` shows.

While solving, closed columns are out of sight: whether they are right is hidden. (It changes no choice.) Labels:
`segment` (column), `turn` (token of the step, 0 digit, 1 carry, 2 marker; 0 in a critique), `written` (tokens so far),
`right` (1 while nothing wrong has been closed; in a critique, whether the solution given is right up to here; in the
end, whether it was paid), `carry` (into the column, as written), `reference_action` (goes on correctly from what is
written, and redoes a column that does not follow from its carry if it can; in a critique, the right judgement; −1 in the
end), `reference_left` (tokens of the right solution that don't stand there yet, all of them once something wrong has been
closed; in the end 0 if none is missing, else −1), `answer_share` (the share of all ways to go on, without `redo`, that are
paid; its unit is one over `answer_whole`). In a critique `error` is the column of the error (their number if there is
none) and `given` what stands there, as number of the digit's action · A + number of the carry's (−1 if there is none);
with `task="both"` both are −1 while solving, and `task` is 0 or 1. `anchor` is what `text` shows.

## Rewards

1 with the last token if the solution (the judgement) is right, else 0.

## Starting State

Nothing written. In a critique the given solution is a context: the right one has probability 1/2, each wrong one an
equal share of the rest of its column's. With `task="both"` a critique has probability 1/2.

## Episode End

With the marker of the last column; in a critique with `wrong` or after the last column. The horizon is the length of
the longest solution, `3·(columns + repairs)`, and `columns` where there are only critiques.

## Arguments

- `terms` (default 2): numbers to add.
- `columns` (default 3): digits of each number, the steps of a solution.
- `base` (default 10): base of the number system.
- `repairs` (default 1): how often a column may be redone. Without effect on a critique.
- `paid` (default `"working"`): what must be right, see Description. Without effect on a critique.
- `task` (default `"solve"`): write a solution (`"solve"`), judge one (`"critique"`), or either (`"both"`).
- `permute` (default False): write digits with letters that differ between instances; the text says which.

## References

Verifiable answers follow Cobbe et al., "Training Verifiers to Solve Math Word Problems", 2021; the critique follows
Zheng et al., "ProcessBench: Identifying Process Errors in Mathematical Reasoning", ACL 2025.

## Version History

- v0: first version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from credit_envs.arrays import AnyArray, Floats, Ints
from credit_envs.errors import TableError, check_range
from credit_envs.families.family import Knob
from credit_envs.families.sums_critique import compile_critique, join_critique
from credit_envs.families.sums_question import Question, make_question, numbered
from credit_envs.table.build import from_outcomes
from credit_envs.table.emission import Emission
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.view import View, text_space

if TYPE_CHECKING:
    from credit_envs.oracle.policy import PolicyLike

KNOBS = {
    "terms": Knob(2, 2, 4, "numbers to add"),
    "columns": Knob(3, 1, 8, "digits of each number, the steps of a solution"),
    "base": Knob(10, 4, 16, "base of the number system"),
    "repairs": Knob(1, 0, 3, "how often a column may be redone"),
    "paid": Knob("working", choices=("working", "answer"), doc="what must be right: answer and carries, or the answer"),
    "task": Knob("solve", choices=("solve", "critique", "both"), doc="write a solution, judge one, or either"),
    "permute": Knob(False, choices=(False, True), doc="write digits with letters that differ between instances"),
}


def build(
    instance_seed: int, *, terms: int, columns: int, base: int, repairs: int, paid: str, task: str, permute: bool
) -> TabularMDP:
    """Builds one instance; states are numbered by the tokens written."""
    knobs = {name: value for name, value in locals().items() if name in KNOBS}
    question = make_question(instance_seed, terms, columns, base, permute, extra=2)
    if task == "critique":
        return compile_critique(question, knobs)
    solve = _compile(question, repairs, paid == "working", knobs)
    return solve if task == "solve" else join_critique(solve, compile_critique(question, knobs), knobs)


def answer_probability(table: TabularMDP, policy: PolicyLike) -> Floats:
    """Returns the probability that a policy will be paid, given the tokens written so far, float64 ``[S]``.

    It is V^π where each state is met (discount 1), and 0 or 1 in the end. The change from one state to the next is the
    information that a token gives about the outcome. For Sums tables whose number of steps no dial has changed.

    Args:
        table: the table.
        policy: see :data:`~credit_envs.oracle.policy.PolicyLike`; it names admissible actions only.

    Raises:
        TableError: if the table has no labels ``written`` and ``right``.
    """
    from credit_envs.oracle.evaluation import evaluate

    _need(table, "written", "right")
    values = evaluate(table, policy).V[np.minimum(table.labels["written"], table.horizon), np.arange(table.n_states)]
    return np.where(table.n_admissible > 0, values, table.labels["right"])


def careless(table: TabularMDP, slip: float) -> Floats:
    """Returns the policy that goes on correctly from what is written, but with probability ``slip`` picks any token.

    It reads the carries it wrote, so its errors propagate. float64 ``[S, A]``.

    Args:
        table: a Sums table.
        slip: probability in [0, 1] of a uniformly drawn admissible token.

    Raises:
        TableError: if the table has no label ``reference_action``.
        CreditEnvsError: if slip is out of its range.
    """
    _need(table, "reference_action")
    check_range("slip", slip, 0, 1)
    rows: Floats = slip * table.mask / np.maximum(table.n_admissible, 1)[:, None]
    playing = np.flatnonzero(table.n_admissible > 0)
    rows[playing, table.labels["reference_action"][playing]] += 1 - slip
    return rows


def _need(table: TabularMDP, *names: str) -> None:
    for name in names:
        if name not in table.labels:
            raise TableError(f"table={table.name!r}: expected a Sums table, with the label {name}")


def _compile(question: Question, repairs: int, working: bool, knobs: dict[str, Any]) -> TabularMDP:
    n, base, terms = question.columns, question.base, len(question.terms)
    next_token, redo = base, base + 1
    # The factor that the text hides comes last, so that code // 2 is what is shown.
    sizes = (n, 3, repairs + 1, terms, base, terms, 2)
    over = int(np.prod(sizes))
    horizon = 3 * (n + repairs)

    layers = [_pack(sizes, 0, 0, repairs, 0, 0, 0, 1)]
    rows: list[tuple[AnyArray, AnyArray, AnyArray]] = []
    for _ in range(horizon):
        here = layers[-1]
        column, turn, left, carry, digit, out, right = np.unravel_index(here, sizes)
        moves = []
        i, token = np.nonzero((turn == 0)[:, None] & np.ones(base, dtype=bool))
        moves.append((i, token, _pack(sizes, column[i], 1, left[i], carry[i], token, 0, right[i])))
        i, token = np.nonzero((turn == 1)[:, None] & np.ones(terms, dtype=bool))
        moves.append((i, token, _pack(sizes, column[i], 2, left[i], carry[i], digit[i], token, right[i])))
        i = np.flatnonzero((turn == 2) & (left > 0))
        moves.append((i, np.full(i.size, redo), _pack(sizes, column[i], 0, left[i] - 1, carry[i], 0, 0, right[i])))
        i = np.flatnonzero(turn == 2)
        last = column[i] == n - 1
        fits = (out[i] == question.carry[column[i]]) | (~last & (not working))
        still = right[i] * ((digit[i] == question.digit[column[i]]) & fits)
        onward = _pack(sizes, np.minimum(column[i] + 1, n - 1), 0, left[i], out[i], 0, 0, still)
        moves.append((i, np.full(i.size, next_token), np.where(last, over + still, onward)))
        state, token, following = (np.concatenate(part) for part in zip(*moves, strict=True))
        rows.append((here[state], token, following))
        layers.append(np.unique(following[following < over]))

    code = np.concatenate([*layers, [over, over + 1]])
    sorter = np.argsort(code)
    source, token, target = (np.concatenate(part) for part in zip(*rows, strict=True))
    state, successor = (sorter[np.searchsorted(code, part, sorter=sorter)] for part in (source, target))
    written = np.repeat(np.arange(len(layers)), [part.size for part in layers])
    labels = _labels(question, sizes, code[:-2], written, working)
    names = _names(question, (";", "redo"))
    return from_outcomes(
        "Sums",
        code.size,
        base + 2,
        {
            "state": state,
            "action": question.order[token],
            "successor": successor,
            "probability": np.ones(state.size),
            "reward": target == over + 1,
            "terminal": target >= over,
        },
        start={0: 1.0},
        horizon=horizon,
        action_names=names,
        labels=labels,
        emission=Emission(labels["anchor"].astype(np.int32)),
        views={"text": View(text_space(), _printer(question, sizes, code, names, working))},
        knobs=knobs,
        validated=False,
    )


def _pack(sizes: tuple[int, ...], *factors: AnyArray | int) -> Ints:
    """Returns the codes of states, int64 ``[n]``."""
    return np.atleast_1d(np.ravel_multi_index(factors, sizes)).astype(np.int64)


def _names(question: Question, extra: tuple[str, ...]) -> tuple[str, ...]:
    words = np.array([*question.symbols, *extra])
    return tuple(words[np.argsort(question.order)].tolist())


def _labels(question: Question, sizes: tuple[int, ...], code: Ints, written: Ints, working: bool) -> dict[str, Ints]:
    """Returns the labels of the states in play, and of the wrong and the right end after them."""
    column, turn, left, carry, digit, out, right = np.unravel_index(code, sizes)
    n, base, terms = question.columns, question.base, len(question.terms)
    checked = (column == n - 1) | working
    sound = (turn < 1) | (digit == question.digit[column])
    sound &= (turn < 2) | (out == question.carry[column]) | ~checked
    carries = column * working + (checked & (turn == 2))
    share = right * sound * base ** (column + (turn > 0)) * terms**carries
    standing = right * (3 * column + turn * sound)
    whole = base**n * terms ** (n if working else 1)
    total = question.total(column, carry)
    slipped = (digit != total % base) | (out != total // base)
    close = base + (slipped & (left > 0))
    # The carry out of a column is due even where its digit is wrong already.
    token = np.select([turn == 0, turn == 1], [total % base, total // base], close)
    shown, first, look = np.unique(np.append(code // 2, [-2, -1]), return_index=True, return_inverse=True)
    rank = np.empty(shown.size, dtype=np.int64)
    rank[np.argsort(first)] = np.arange(shown.size)
    end = int(written.max())
    return {
        "turn": np.append(turn, [0, 0]),
        "segment": np.append(column, [n, n]),
        "anchor": rank[look],
        "written": np.append(written, [end + 1, end + 1]),
        "right": np.append(right, [0, 1]),
        "carry": np.append(carry, [-1, -1]),
        "reference_action": np.append(question.order[token], [-1, -1]),
        "reference_left": np.append(3 * n - standing, [-1, 0]),
        "answer_share": np.append(share, [0, whole]),
        "answer_whole": np.full(code.size + 2, whole),
    }


def _printer(question: Question, sizes: tuple[int, ...], code: Ints, names: tuple[str, ...], working: bool) -> Any:
    """Returns the function from states to texts."""
    over, what = int(np.prod(sizes)), "solution" if working else "answer"
    digits, carries = (numbered(question, names, count) for count in (question.base, len(question.terms)))
    close, redo = (f"[{question.order[question.base + i]}] {name}" for i, name in enumerate((";", "redo")))

    def text(state: int) -> str:
        if code[state] >= over:
            return f"{question.heading()}\nThe {what} is {'right' if code[state] > over else 'wrong'}."
        column, turn, left, carry, digit, out, _ = (int(x) for x in np.unravel_index(code[state], sizes))
        line = question.line(column, carry, digit if turn else None, out if turn == 2 else None)
        tokens = (digits, carries, f"Tokens: {close} {redo}" if left else f"Tokens: {close}")[turn]
        repairs = f"\nRepairs left: {left}" if sizes[2] > 1 else ""
        return f"{question.heading()}\n{line}{repairs}\n{tokens}"

    return lambda states: [text(int(s)) for s in states]
