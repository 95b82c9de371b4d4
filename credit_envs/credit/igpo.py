"""IGPO: turns are paid the information that they gain and, the last one, the outcome; z-scores summed forward.

    r_{i,k} = p_k − p_{k−1}  for k < K_i,      r_{i,K} = R_i
    r̂ = (r − mean) / std      over all turns of all rollouts of the group
    Â_{i,k} = Σ_{l ≥ k} γ^{l−k} r̂_{i,l}        for every step of turn k

Gains come from :mod:`credit_envs.rewards.information`, or are what a reward model has put beside the reward. Without the
normalisation and with γ = 1 the sum telescopes to R − p_{k−1} plus what the answer turn does to p: a return minus a value
wherever p is the policy's own probability. The normalisation takes the same mean off every turn, so longer rollouts pay it
more often; that is in the paper's formula, and no flag.

Released code: options for separate statistics of gains and outcomes (``separate``) and for differences of log-probabilities
(``igpo_gain`` with ``log=True``); a turn whose gain is exactly 0 is no turn of its own (``skip_zeros``): it is left out of
the statistics and takes the credit of the next one undiscounted. Source: Wang et al. 2025, arXiv 2510.14967, §3; released
code GuoqingWang1/IGPO, ``verl/trainer/ppo/core_algos.py``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from credit_envs.errors import check_range
from credit_envs.piece import Labels
from credit_envs.rewards.information import answer_probability, gains
from credit_envs.sampling.spans import spans
from credit_envs.sampling.statistics import centred, recurrence
from credit_envs.sampling.trajectories import Trajectories


def igpo_on(
    batch: Trajectories,
    gain: Tensor,
    gamma: float = 1.0,
    level: str = "turn",
    normalise: bool = True,
    separate: bool = False,
    skip_zeros: bool = False,
    epsilon: float = 1e-6,
) -> Tensor:
    """Returns IGPO's credit for given gains, float64 ``[N, T]``.

    Args:
        batch: rollouts in groups.
        gain: float64 ``[N, T]``, gains on steps of their turns.
        gamma: discount per turn, in [0, 1].
        level: what a turn is: ``step``, ``turn`` or ``segment``.
        normalise: False leaves rewards as they are.
        separate: released option: statistics of gains and of outcomes apart.
        skip_zeros: released-code quirk, see above.
        epsilon: added to deviations.
    """
    check_range("gamma", gamma, 0, 1)
    parts = spans(batch, level)
    paid = torch.where(parts.final, batch.returns[:, None], parts.total(gain))
    counts = parts.present & (parts.final | (paid != 0)) if skip_zeros else parts.present
    score = torch.where(counts, paid, 0.0)
    if normalise:
        owner = batch.group[:, None].expand_as(counts)
        for pool in (counts & parts.final, counts & ~parts.final) if separate else (counts,):
            score[pool] = centred(paid[pool], owner[pool], batch.n_groups, norm_by_std=True, epsilon=epsilon)
    decay = 1 - (1 - gamma) * counts.to(score.dtype)
    return parts.spread(recurrence(decay.flip(1), score.flip(1)).flip(1))


def igpo(batch: Trajectories, *, labels: Labels, gamma: float = 1.0, level: str = "turn", **options: Any) -> Tensor:
    """Returns IGPO's credit, float64 ``[N, T]``; options as for :func:`igpo_on`."""
    gain = batch.step_reward
    if gain is None:
        gain = gains(batch, answer_probability(labels), "difference", level)
    return igpo_on(batch, gain, gamma, level, **options)
