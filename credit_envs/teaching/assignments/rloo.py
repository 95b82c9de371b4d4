"""RLOO: the return of a rollout above the mean return of the OTHER rollouts of its group (Ahmadian et al. 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.sampling.trajectories import Trajectories
from credit_envs.teaching.assignments.assignment import (
    BATCH,
    NEIGHBOURS,
    SIGN,
    Assignment,
    Slip,
    above,
    discounts,
    owners,
    paid,
)


def credit(
    batch: Trajectories,
    *,
    sign: float = 1.0,
    among: str = "group",
    baseline: str = "others",
    divide: str = "",
    when: str = "whole",
    gamma: float = 1.0,
    share: str = "",
) -> Tensor:
    """Returns Â_i = R_i − mean_{j≠i} R_j on every step of rollout i, float64 ``[N, T]``; switches make the known slips.

    Args:
        batch: rollouts in groups.
        sign: of the whole.
        among: see :func:`~credit_envs.teaching.assignments.assignment.owners`.
        baseline: see :func:`~credit_envs.teaching.assignments.assignment.above`; ``steps`` weighs rollouts by their length.
        divide: ``std``, or nothing.
        when: ``whole``, or what each step earned by another rule; the baseline stays that of whole returns.
        gamma: discount of the returns.
        share: ``length`` divides by the rollout's length, ``padded`` by the width of the batch.
    """
    ids, n = owners(batch, among)
    total = paid(batch, "whole", gamma)[:, 0]
    if baseline == "steps":
        weight = batch.lengths.to(torch.float64)
        top = torch.zeros(n, dtype=torch.float64).index_add_(0, ids, total * weight)
        score = total - (top / torch.zeros(n, dtype=torch.float64).index_add_(0, ids, weight).clamp(min=1))[ids]
    else:
        score = above(total, ids, n, baseline, divide)
    out = score[:, None].expand_as(batch.reward)
    if when != "whole":
        out = out + paid(batch, when, gamma) - total[:, None]
    if share:
        out = out / (batch.lengths[:, None] if share == "length" else batch.mask.shape[1])
    return sign * torch.where(batch.mask, out, 0.0)


ASSIGNMENT = Assignment(
    "rloo",
    "One number per rollout: leave-one-out returns",
    credit,
    (
        SIGN,
        Slip(
            "leave-one-out forgotten",
            {"baseline": "mean"},
            "The baseline contains the rollout's own return. That is Dr.GRPO: its mean gradient is (n−1)/n of the "
            "exact one, so a group of n loses 1/n of every update. Which rollouts may the baseline of rollout i "
            "know about?",
            0.6,
        ),
        Slip(
            "no baseline",
            {"baseline": "none"},
            "There is no baseline: this is plain REINFORCE. It is unbiased, but when every return is high every "
            "action is praised, and the noise of the common part drowns the differences.",
        ),
        Slip(
            "divided by the deviation",
            {"divide": "std"},
            "The credit is divided by the group's standard deviation. GRPO does that, RLOO doesn't: it weighs "
            "groups by how much their returns vary, and the gradient is no longer unbiased.",
            0.5,
        ),
        BATCH,
        NEIGHBOURS,
        Slip(
            "baseline over steps",
            {"baseline": "steps"},
            "The group's mean is taken over steps, so long rollouts count more than short ones. One rollout, one vote.",
        ),
        Slip(
            "return to go",
            {"when": "on"},
            "Each step gets its return to go, but the baseline is that of whole returns. Past rewards no longer "
            "cancel: late steps are blamed for what was paid before them. (Return to go is a good idea, with a "
            "baseline of its own: assignment step_returns.)",
            0.4,
        ),
        Slip(
            "past rewards",
            {"when": "past"},
            "Each step gets what was paid UP TO it. An action cannot change the past; it should be judged by what "
            "follows.",
            0.1,
        ),
        Slip(
            "the step's own reward only",
            {"when": "here"},
            "Each step gets its own reward only. What an action makes possible later doesn't count then, and nearly "
            "all of it comes later.",
            0.1,
        ),
        Slip(
            "divided by the rollout's length",
            {"share": "length"},
            "The credit is divided by the rollout's own length. Then a long failure is blamed less per step than a "
            "short one, which teaches to fail slowly.",
            0.4,
        ),
        Slip(
            "divided by the batch's width",
            {"share": "padded"},
            "The credit is divided by the number of columns of the batch (a mean over padded steps?). The scale "
            "then depends on the longest rollout that happened to be drawn.",
            0.4,
        ),
        *discounts(1.0),
    ),
)
