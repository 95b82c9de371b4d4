"""MIG: a group advantage of the information gained, on the reasoning, beside that of the outcome.

    Â_i = α z(R_MIG,i) on reasoning steps + β z(R_i) on all steps [+ γ_SFT · gate_i]        R_MIG = Σ_k g_k

with g_k the gains of :mod:`credit_envs.rewards.information`, or what a reward model has put beside the reward. One number
per rollout, as in the paper: gains are summed before they are normalised, and the sum is max_k ℓ_k − ℓ_0, however finely
the reasoning is cut. α = 0 without SFT is GRPO.

Reasoning is all but the last turn, which is the answer (``answer=False``: all). Gated SFT on the policy's own samples adds
γ_SFT Σ_t log π to the objective of rollouts that are right and gained something; on-policy that is a constant credit. The
gate's "well structured" is left out: here all rollouts are. The paper's weights α, β, γ are not known to us, and no code
was released: a reconstruction [R].

Ours, beside it: ``mig_stepwise`` leaves g_k with its turn, z-scored among all turns of the group; with gains by the watermark
on increments that is MIG as it is often told. Source: arXiv 2602.01034, §4.1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.credit.grpo import grpo
from credit_envs.errors import check_range
from credit_envs.piece import Labels
from credit_envs.rewards.information import answer_probability, counting, gains
from credit_envs.sampling.spans import spans
from credit_envs.sampling.statistics import centred
from credit_envs.sampling.trajectories import Trajectories


def mig(
    batch: Trajectories,
    *,
    labels: Labels,
    alpha: float = 1.0,
    beta: float = 1.0,
    sft: float = 0.0,
    right: float = 1.0,
    level: str = "turn",
    answer: bool = True,
    epsilon: float = 1e-6,
) -> Tensor:
    """Returns MIG's credit, float64 ``[N, T]``.

    Args:
        batch: rollouts in groups.
        labels: what the environment verifies.
        alpha: weight of the gain's advantage.
        beta: weight of the outcome's.
        sft: weight of gated SFT.
        right: smallest return of a rollout that counts as right.
        level: what gains in one: ``step``, ``turn`` or ``segment``.
        answer: whether the last turn is the answer, no reasoning.
        epsilon: added to deviations.
    """
    _check(alpha, beta, sft)
    parts = spans(batch, level)
    total = torch.where(batch.mask, _gains(batch, labels, level, answer), 0.0).sum(dim=1)
    score = centred(total, batch.group, batch.n_groups, norm_by_std=True, epsilon=epsilon)
    reasoning = parts.spread(counting(parts, answer))
    gate = (batch.returns >= right) & (total > 0)
    out = alpha * score[:, None] * reasoning + beta * grpo(batch, epsilon=epsilon)
    return torch.where(batch.mask, out + sft * gate[:, None], 0.0)


def mig_stepwise(
    batch: Trajectories,
    *,
    labels: Labels,
    alpha: float = 1.0,
    beta: float = 1.0,
    kind: str = "levels",
    level: str = "turn",
    answer: bool = True,
    epsilon: float = 1e-6,
) -> Tensor:
    """Returns the credit with each turn's own gain, float64 ``[N, T]`` (ours).

    Args:
        batch: rollouts in groups.
        labels: what the environment verifies.
        alpha: weight of the gain's advantage.
        beta: weight of the outcome's.
        kind: see :func:`credit_envs.rewards.information.gains`.
        level: likewise.
        answer: likewise.
        epsilon: added to deviations.
    """
    _check(alpha, beta, 0)
    return alpha * gain_score(batch, labels, kind, level, answer, epsilon) + beta * grpo(batch, epsilon=epsilon)


def gain_score(
    batch: Trajectories,
    labels: Labels,
    kind: str = "levels",
    level: str = "turn",
    answer: bool = True,
    epsilon: float = 1e-6,
) -> Tensor:
    """Returns the z-score of each turn's gain among all turns of the group, float64 ``[N, T]``; 0 for answers."""
    parts = spans(batch, level)
    gain, counted = parts.total(_gains(batch, labels, level, answer, kind)), counting(parts, answer)
    owner = batch.group[:, None].expand_as(counted)[counted]
    score = torch.zeros_like(gain)
    score[counted] = centred(gain[counted], owner, batch.n_groups, norm_by_std=True, epsilon=epsilon)
    return parts.spread(score)


def _gains(batch: Trajectories, labels: Labels, level: str, answer: bool, kind: str = "levels") -> Tensor:
    if batch.step_reward is not None:
        return batch.step_reward
    return gains(batch, answer_probability(labels), kind, level, answer)


def _check(alpha: float, beta: float, sft: float) -> None:
    for name, value in (("alpha", alpha), ("beta", beta), ("sft", sft)):
        check_range(name, value, 0, 1e9)
