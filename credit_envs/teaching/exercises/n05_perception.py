"""Notebook 5: what can be answered without the picture, and which tokens read it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from credit_envs import oracle, registry
from credit_envs.arrays import Floats, Ints
from credit_envs.oracle.masked import image_free
from credit_envs.teaching.check import Mistake, Question

PRIOR, VALUES, FACTS = 0.8, 3, 2


@functools.cache
def _game() -> Any:
    return registry.make_table("Charts", question="sum", bars=3, values=VALUES, prior=PRIOR)


@functools.cache
def _reader() -> tuple[Ints, Floats, Floats]:
    """What is seen without the picture ``[S]``, expected visits ``[S]`` and the policy ``[S, A]`` of a fair reader."""
    table = _game()
    policy = oracle.ladder(table, (0.8,))[-1].policy
    visits = oracle.occupancy(table, policy)[:-1].sum(axis=0) * (table.n_admissible > 0)
    rows = policy.rows(table, np.arange(table.n_states))
    return np.asarray(table.labels["blind"]), visits, policy.probability[rows]


def _seen(rows: Any) -> Any:
    """Rows per text ``[texts, A]`` as one number per visited state and action."""
    blind, visits, _ = _reader()
    return None if rows is None or rows is ... else np.asarray(rows, dtype=np.float64)[blind[visits > 0]]


def _averaged(weight: Floats) -> Floats:
    blind, _, pi = _reader()
    total, out = np.bincount(blind, weight), np.zeros((int(blind.max()) + 1, pi.shape[1]))
    np.add.at(out, blind, weight[:, None] * pi)
    return out / np.where(total > 0, total, 1)[:, None]


def _blind() -> Floats:
    """π(·|text) in every visited state, float64 ``[n, A]``."""
    free = image_free(_game(), oracle.ladder(_game(), (0.8,))[-1].policy)
    return free.probability[free.look[_reader()[1] > 0]]


def _sighted() -> Floats:
    return _reader()[2][_reader()[1] > 0]


def _kl(p: Floats, q: Floats) -> Floats:
    both = (p > 0) & (q > 0)
    return np.asarray(np.where(both, p * np.log(np.where(both, p, 1) / np.where(both, q, 1)), 0).sum(axis=1))


def _entropy(p: Floats) -> Floats:
    return np.asarray(-np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(axis=1))


def _averages(answer: Callable[..., Any]) -> Any:
    return _seen(answer(*_reader()))


def _divergences(answer: Callable[..., Any]) -> Any:
    return answer(_sighted(), _blind())


QUESTIONS = (
    Question(
        "5.1",
        truth=lambda: PRIOR**FACTS,
        mistakes=(
            Mistake(lambda: PRIOR, "That is right for one fact. Both must be stated right to be paid."),
            Mistake(
                lambda: (1 / VALUES) ** FACTS,
                "The player may guess better than by chance: last year's heights are in the text.",
            ),
            Mistake(lambda: FACTS * PRIOR, "Both must be right at once: chances multiply."),
        ),
        explanation="That is the height of the plateau that a learner reaches without ever looking: the language shortcut.",
        hint="The best guess about a bar is last year's height. With which chance are two of them right?",
    ),
    Question(
        "5.2",
        truth=lambda: FACTS / _game().horizon,
        mistakes=(
            Mistake(
                lambda: (FACTS + 1) / _game().horizon,
                "The answer follows from what is written by then, whether that was read or guessed: no picture needed.",
            ),
            Mistake(lambda: float(FACTS), "That many tokens; which share of all tokens of a solution?"),
            Mistake(lambda: 2 * FACTS / _game().horizon, "Which bar to name next, the question says."),
        ),
        explanation="Two tokens in nine. Credit that spreads over all nine spends most of its noise elsewhere.",
        hint="Go through the nine tokens: for which of them must one have seen the picture?",
    ),
    Question(
        "5.3",
        truth=lambda: _seen(_averaged(_reader()[1])),
        use=_averages,
        mistakes=(
            Mistake(
                lambda: _seen(_averaged(np.ones_like(_reader()[1]))),
                "You took the plain mean over states. Some charts are likelier than others: weigh with the visits.",
            ),
        ),
        explanation="That is the policy with the picture masked: what it would do, knowing itself and the text.",
        hint="For each text: the sum of visits[s] · pi[s] over its states, divided by the sum of visits[s].",
    ),
    Question(
        "5.4",
        truth=lambda: _kl(_sighted(), _blind()),
        use=_divergences,
        mistakes=(
            Mistake(
                lambda: _kl(_blind(), _sighted()),
                "The other way round: expectations are over what the policy with picture does.",
            ),
            Mistake(
                lambda: _entropy(_blind()) - _entropy(_sighted()),
                "That is the difference of entropies; it equals the divergence only on average.",
            ),
            Mistake(
                lambda: _kl(_sighted(), _blind()) / np.log(2), "Those are bits; nats (natural logarithms) are asked."
            ),
        ),
        explanation="0 where the picture changes nothing, however unsure the policy is: uncertainty is not perception.",
        hint="Σ_a p(a) log(p(a) / q(a)), where p(a) = 0 contributes nothing.",
    ),
    Question(
        "5.5",
        truth=lambda: "late",
        mistakes=(
            Mistake(
                lambda: "early",
                "Early the policy hardly reads, so its measured dependence says little about what should be read.",
            ),
        ),
        explanation="The mask finds the tokens that the policy reads already. It sharpens perception; it does not start it.",
        hint='Compare the left end and the right end of the blue curve with 1. Answer "early" or "late".',
    ),
)
