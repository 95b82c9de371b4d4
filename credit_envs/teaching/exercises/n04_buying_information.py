"""Notebook 4: what continuations, trees, search and learned values cost, and what they buy."""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import ceil
from typing import Any

import torch
from torch import Tensor

from credit_envs import oracle, registry
from credit_envs.credit.monte_carlo import step_values
from credit_envs.evaluation.providers import Provided
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.statistics import returns_to_go
from credit_envs.sampling.trajectories import Trajectories
from credit_envs.teaching.check import Mistake, Question

K = 9


def _game(**knobs: Any) -> Any:
    return registry.make_table("Pivots", **{"instance": 0, **knobs})


@functools.cache
def _estimated() -> tuple[Trajectories, Tensor]:
    """Rollouts of different lengths with K-rollout values of their states, 0 where masked."""
    table = registry.make_table("KeyRooms", instance=6, stages=1, distractors=0, stage_reward=0.5, horizon_factor=2)
    sampler = Sampler(table, oracle.ladder(table, (0.5,))[-1].policy, seed=3)
    sample = sampler.groups(3, 4)
    batch = sample.trajectories
    return batch, step_values(batch, Provided(sampler, sample)["continuations"], 2, 1.0)


def _called(answer: Callable[..., Any]) -> Any:
    batch, value = _estimated()
    return answer(batch.reward, value, batch.mask)


def _credit(reward: bool = True) -> Tensor:
    """VinePPO's credit on the rollouts, or with something left out."""
    batch, value = _estimated()
    after = torch.nn.functional.pad(value[:, 1:], (0, 1))
    out = batch.reward * reward + after - value
    return torch.where(batch.mask, out, 0.0)


def _minus_mean() -> Tensor:
    batch, value = _estimated()
    return torch.where(batch.mask, value - (value.sum(dim=1) / batch.lengths)[:, None], 0.0)


def _return_minus_value() -> Tensor:
    batch, value = _estimated()
    return torch.where(batch.mask, returns_to_go(batch.reward, batch.mask, 1.0) - value, 0.0)


def _steps(rollouts: float) -> float:
    """Environment steps per sampled step, if so many whole rollouts of mean remaining length are played per state."""
    horizon: int = _game().horizon
    return 1 + rollouts * (horizon + 1) / 2


QUESTIONS = (
    Question(
        "4.1",
        truth=lambda: _steps(K),
        mistakes=(
            Mistake(lambda: _steps(K) - 1, "The sampled step itself must be played, too."),
            Mistake(
                lambda: 1.0 + K * _game().horizon,
                "Continuations start where the rollout is: on average half of it is left.",
            ),
            Mistake(
                lambda: 1 + K * (_game().horizon - 1) / 2,
                "Before the first step all 16 are left, before the last one 1: the mean of 1 … 16 is 8.5.",
            ),
            Mistake(lambda: _steps(1), "That is for one continuation per state."),
        ),
        explanation="Nearly eighty times the price of the plain rollouts. It had better buy something.",
        hint="A rollout has 16 states. Before step t there are 16 − t steps to play, K times; and the step itself.",
    ),
    Question(
        "4.2",
        truth=_credit,
        use=_called,
        mistakes=(
            Mistake(
                lambda: _credit(reward=False),
                "The reward of the step is missing: what it paid is gone from V of the next state.",
            ),
            Mistake(
                _minus_mean,
                "That says how good a state is, compared with the rollout's mean. What did the step *change*?",
            ),
            Mistake(
                _return_minus_value,
                "That is the rollout's own return minus V: unbiased, too, but all the rest of the rollout is in it as noise.",
            ),
            Mistake(lambda: -_credit(), "After minus before, not before minus after (and the reward with a plus)."),
        ),
        explanation="Whatever K is, its mean is the advantage: both values are means of unbiased draws.",
        hint="reward + (value one column to the right, 0 after the last column) − value, and 0 where the mask is False.",
    ),
    Question(
        "4.3",
        truth=lambda: float(ceil(0.3 * 0.7 / 0.05**2 - 1e-9)),
        mistakes=(
            Mistake(
                lambda: float(ceil(0.3 * 0.7 / 0.05)), "The deviation falls with the root of K, the variance with K."
            ),
            Mistake(
                lambda: float(ceil(0.3 / 0.05**2)),
                "The variance of a return that is 1 with probability p is p (1 − p).",
            ),
            Mistake(lambda: float(ceil(0.25 / 0.05**2)), "That is for p = 0.5, the worst case."),
        ),
        explanation="Halving the deviation costs four times as much. An advantage of 0.01 is out of reach that way.",
        hint="Var(mean of K) = p (1 − p) / K.",
    ),
    Question(
        "4.4",
        truth=lambda: "policy",
        mistakes=(
            Mistake(
                lambda: "uct",
                "UCT chooses what looks good, so its mean is that of a better and better player, or of explorers.",
            ),
            Mistake(lambda: "both", "Look at the left ends of the curves, and at the right ends."),
            Mistake(lambda: "neither", "One of the two plays exactly as π does, in the tree and below it."),
        ),
        explanation="It plays π throughout, so each Q is a mean of returns of π. Search that plays better has another target.",
        hint="The advantage of π needs Q of π. In which rule is every simulation a rollout of π?",
    ),
    Question(
        "4.5",
        truth=lambda: "data",
        mistakes=(
            Mistake(lambda: "simulator", "There each continuation's step costs as much as a sampled one; see 4.1."),
            Mistake(lambda: "language model", "There every generated token costs, those of continuations as well."),
        ),
        explanation="Where only trained steps are scarce, better credit at any price in play is a bargain.",
        hint="Find `vineppo` in the pictures, and the colours that lie right of 1.",
    ),
)
