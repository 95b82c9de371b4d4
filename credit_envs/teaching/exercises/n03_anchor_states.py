"""Notebook 3: anchors, how often rollouts meet at them, and GiGPO's step term."""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from credit_envs import oracle, registry
from credit_envs.credit.gigpo import gigpo
from credit_envs.evaluation import evaluate
from credit_envs.sampling.anchors import scoped, timed
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.statistics import centred, compact, returns_to_go
from credit_envs.sampling.trajectories import Trajectories
from credit_envs.teaching.check import Mistake, Question

GROUP, GAMMA, LAMPS = 8, 0.95, 3


def _game(**knobs: Any) -> Any:
    given = {"instance": 6, "stages": 1, "distractors": 0, "horizon_factor": 4, "slip": 0.1, **knobs}
    return registry.make_table("KeyRooms", **given)


@functools.cache
def _meeting(group: int) -> float:
    table = _game(distractors=LAMPS)
    return oracle.revisit_rate(table, oracle.ladder(table, (0.5,))[-1].policy, group).value


@functools.cache
def _enough() -> float:
    return float(2 + bisect_left(range(2, 1000), 0.9, key=_meeting))


@functools.cache
def _batch() -> Trajectories:
    table = _game()
    return Sampler(table, oracle.ladder(table, (0.5,))[-1].policy, seed=23).groups(6, GROUP).trajectories


def _step_term(gamma: float = GAMMA, whole_batch: bool = False, with_time: bool = False, std: bool = False) -> Tensor:
    """GiGPO's step term on the batch, right or with one thing wrong."""
    batch = _batch()
    anchor = timed(batch.anchor) if with_time else batch.anchor
    ids, n = compact(anchor[batch.mask]) if whole_batch else scoped(batch, anchor)
    out = torch.zeros(batch.mask.shape, dtype=torch.float64)
    out[batch.mask] = centred(returns_to_go(batch.reward, batch.mask, gamma)[batch.mask], ids, n, norm_by_std=std)
    return out


@functools.cache
def _worth(skin_rate: float) -> float:
    """GiGPO in GRPO-equivalents per sampled step, as the notebook measures it."""
    table = _game(skin_rate=skin_rate).replace(name=f"skin_rate {skin_rate}")
    found = evaluate("gigpo", table, budget=6000, seeds=8, levels=(0.5,), match_discount=False)
    return next(row.equivalents["simulator"].value for row in found.rows if row.estimator == "gigpo")


def _called(answer: Callable[..., Any]) -> Any:
    return answer(_batch(), GAMMA)


QUESTIONS = (
    Question(
        "3.1",
        truth=lambda: 1 - 0.7**7,
        mistakes=(
            Mistake(lambda: 1 - 0.7**8, "The rollout itself is there already: how many others are in its group?"),
            Mistake(lambda: 0.7**7, "That is the chance that nobody comes."),
            Mistake(
                lambda: 7 * 0.3, "Chances of several can't be added: they may all come, and a chance is at most 1."
            ),
        ),
        explanation="Averaged over all steps, weighted by how often each anchor is visited, this is the revisit rate ρ.",
        hint="The others come independently: all seven stay away with probability (1 − h)⁷.",
    ),
    Question(
        "3.2",
        truth=_enough,
        mistakes=(
            Mistake(lambda: _enough() - 1, "One rollout too few: there ρ is still below 0.9."),
            Mistake(lambda: _enough() + 1, "It can be one rollout less."),
        ),
        explanation="Meeting is bought with rollouts, and the price rises with everything that tells states apart for nothing.",
        hint="`oracle.revisit_rate(lamps, policy, G).value` for G = 2, 3, 4, …: where is it 0.9 first?",
    ),
    Question(
        "3.3",
        truth=_step_term,
        use=_called,
        mistakes=(
            Mistake(
                lambda: _step_term(whole_batch=True),
                "You compared across groups. An anchor's steps are those of one group.",
            ),
            Mistake(lambda: _step_term(gamma=1.0), "The returns are not discounted: G_t = Σ γ^(k−t) r_k."),
            Mistake(lambda: _step_term(std=True), "You divided by the deviation, which was not asked."),
            Mistake(
                lambda: _step_term(with_time=True),
                "You made the step number part of the anchor. An anchor is what is seen.",
            ),
            Mistake(lambda: gigpo(_batch(), GAMMA), "That is the whole of GiGPO; here only the step term is asked."),
            Mistake(
                lambda: returns_to_go(_batch().reward, _batch().mask, GAMMA),
                "Those are the returns from each step on. Compare each with the mean at its anchor.",
            ),
        ),
        explanation="Every step is compared with what followed the other visits of the same place, in the same group.",
        hint="Collect G_t under the key (group, anchor), then subtract each key's mean; masked steps stay 0.",
    ),
    Question(
        "3.4",
        truth=lambda: 0.0,
        mistakes=(
            Mistake(
                lambda: 1.0, "That is the return that follows each visit. What is left when the mean is subtracted?"
            ),
        ),
        explanation="All its visits were followed by the same return, so nothing is left: GiGPO is then exactly GRPO.",
        hint="Without discount and with one payment at the end, which G_t do the visits have?",
    ),
    Question(
        "3.5",
        truth=lambda: (_worth(1.0) - 1) / (_worth(0.0) - 1),
        tolerance=1e-3,
        mistakes=(
            Mistake(lambda: _worth(1.0) / _worth(0.0), "GRPO itself is worth 1. Compare the gains over 1."),
            Mistake(
                lambda: 1 - (_worth(1.0) - 1) / (_worth(0.0) - 1), "That is the share which is lost when nobody meets."
            ),
        ),
        explanation="Most of the gain is not from meeting others: it is the discount on a rollout's own second visits.",
        hint="gain = worth − 1, at skin_rate 1 and at skin_rate 0.",
    ),
)
