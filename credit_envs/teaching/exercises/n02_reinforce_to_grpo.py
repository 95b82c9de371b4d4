"""Notebook 2: skill and luck, baselines, and what groups can teach."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from credit_envs import oracle, registry
from credit_envs.credit.grpo import dr_grpo, grpo, rloo
from credit_envs.evaluation.providers import Provided
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Sample, Trajectories
from credit_envs.teaching.check import Mistake, Question

GROUP = 8


@functools.cache
def _game() -> Any:
    return registry.make_table("KeyRooms", instance=6, stages=1, distractors=0, horizon_factor=4, slip=0.2)


@functools.cache
def _policy() -> oracle.Policy:
    return oracle.ladder(_game(), (0.5,))[-1].policy


@functools.cache
def _drawn() -> tuple[Sample, Provided]:
    sampler = Sampler(_game(), _policy(), seed=17)
    sample = sampler.groups(12, GROUP)
    return sample, Provided(sampler, sample)


def _batch() -> Trajectories:
    return _drawn()[0].trajectories


def _parts() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Reward, V_t(s_t), V_{t+1}(s_{t+1}) and A_t on the batch, each float64 ``[N, T]``, 0 where masked."""
    batch, provided = _batch(), _drawn()[1]
    value = torch.where(batch.mask, provided["value"], 0.0)
    after = torch.nn.functional.pad(value[:, 1:], (0, 1))
    return batch.reward, value, after, torch.where(batch.mask, provided["advantage"], 0.0)


def _luck(answer: Callable[..., Any]) -> Any:
    reward, value, _, advantage = _parts()
    return answer(reward, value, advantage)


def _spread() -> Any:
    return oracle.spread(_game(), _policy())


def _everywhere(score: Tensor) -> Tensor:
    return score[:, None].expand(_batch().mask.shape)


def _batch_mean() -> Tensor:
    batch = _batch()
    return (batch.returns - batch.returns.mean())[:, None] * batch.mask


def _others() -> Tensor:
    """The mean of the others alone, without the own return."""
    batch = _batch()
    total = torch.zeros(batch.n_groups, dtype=torch.float64).index_add_(0, batch.group, batch.returns)
    return ((total[batch.group] - batch.returns) / (GROUP - 1))[:, None] * batch.mask


def _win() -> float:
    return oracle.ladder(_game(), (0.9,))[-1].J


_PADDED = "Beyond the end of an episode there are no steps, so there is no credit: multiply with batch.mask."

QUESTIONS = (
    Question(
        "2.1",
        truth=lambda: _parts()[0] + _parts()[2] - _parts()[1] - _parts()[3],
        use=_luck,
        mistakes=(
            Mistake(
                lambda: _parts()[0] + _parts()[2] - _parts()[1],
                "That is r + V_{t+1} − V_t, all that changed in the step: skill and luck together. Take the skill A off.",
            ),
            Mistake(
                lambda: _parts()[0] - _parts()[3],
                "You used V of the same step twice. After the step the walker stands in the next column of `value`.",
            ),
            Mistake(lambda: _parts()[2] - _parts()[1] - _parts()[3], "The reward of the step is missing."),
        ),
        explanation="What the world did, after the choice was made: its mean is 0 whatever was chosen.",
        hint="Q_t = V_t + A_t. V of the next step is `value` one column to the right, and 0 after the last column.",
    ),
    Question(
        "2.2",
        truth=lambda: _spread().luck / _spread().variance,
        mistakes=(
            Mistake(lambda: _spread().luck, "That is the variance that luck makes; which share of the whole is it?"),
            Mistake(lambda: _spread().luck / _spread().skill, "Luck against skill is not luck against the whole."),
            Mistake(lambda: _spread().skill / _spread().variance, "That is the share of skill."),
        ),
        explanation="No credit that follows the return can avoid this part of the noise; exact credit has none of it.",
        hint="`parts.variance` is the whole, `parts.luck` what the world's draws make of it.",
    ),
    Question(
        "2.3",
        truth=lambda: dr_grpo(_batch()),
        use=lambda answer: answer(_batch()),
        mistakes=(
            Mistake(_batch_mean, "You took the mean over the whole batch. Each group is compared with itself."),
            Mistake(lambda: _batch().returns[:, None] * _batch().mask, "That is REINFORCE without a baseline."),
            Mistake(
                lambda: grpo(_batch()),
                "You divided by the group's deviation, which was not asked (that is GRPO's own form).",
            ),
            Mistake(
                lambda: rloo(_batch()),
                "You left the own return out of the mean. Good, and asked for in 2.4; here it is in.",
            ),
            Mistake(lambda: _everywhere(dr_grpo(_batch())[:, 0]), _PADDED),
        ),
        explanation="GRPO without its division, also known as Dr.GRPO: one number for all that a rollout did.",
        hint="`batch.returns.view(-1, 8).mean(dim=1)` are the groups' means: rollouts of a group stand beside each other.",
    ),
    Question(
        "2.4",
        truth=lambda: rloo(_batch()),
        use=lambda answer: answer(_batch()),
        mistakes=(
            Mistake(lambda: dr_grpo(_batch()), "The own return is still in the mean."),
            Mistake(_others, "That is the mean of the others. Subtract it from the own return."),
            Mistake(
                lambda: _batch().returns[:, None] * _batch().mask - _others() * (GROUP - 1) / GROUP,
                "You divided the sum of the others by n; there are n − 1 of them.",
            ),
            Mistake(lambda: _everywhere(rloo(_batch())[:, 0]), _PADDED),
        ),
        explanation="The baseline of a rollout no longer depends on what the rollout did, so the gradient is unbiased.",
        hint="The mean of the others is (sum of the group − own return) / (n − 1).",
    ),
    Question(
        "2.5",
        truth=lambda: (GROUP - 1) / GROUP,
        mistakes=(
            Mistake(lambda: 1.0, "With the own return in the mean, part of the credit is subtracted from itself."),
            Mistake(lambda: 1 / GROUP, "That is the part which is lost."),
            Mistake(
                lambda: GROUP / (GROUP - 1),
                "The other way round: the mean-centred gradient is too short, not too long.",
            ),
        ),
        explanation="A constant factor: it rescales the learning rate and changes no direction.",
        hint="Of R_i − (1/n) Σ_j R_j only the own return depends on the own actions. What is its weight?",
    ),
    Question(
        "2.6",
        truth=lambda: 1 - _win() ** GROUP - (1 - _win()) ** GROUP,
        mistakes=(
            Mistake(
                lambda: 1 - (1 - _win()) ** GROUP - 0 * _win(),
                "Almost: groups in which all succeed teach nothing, either.",
            ),
            Mistake(lambda: _win() ** GROUP + (1 - _win()) ** GROUP, "That is the share of groups that teach nothing."),
            Mistake(_win, "That is the chance of one rollout; a group has eight."),
        ),
        tolerance=1e-9,
        explanation="The others cost as many steps, and no method that only compares returns in a group learns from them.",
        hint="A group teaches nothing if all its n returns are equal: all 1 or all 0.",
    ),
)
