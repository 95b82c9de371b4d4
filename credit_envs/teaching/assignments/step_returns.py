"""REINFORCE with a baseline, per step: the return to go above that of the other rollouts of the group at the same step."""

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

GAMMA = 0.95
"""The discount of the assignment, and of the environments on which it is graded."""


def credit(
    batch: Trajectories,
    *,
    sign: float = 1.0,
    among: str = "group",
    baseline: str = "others",
    divide: str = "",
    when: str = "on",
    gamma: float = GAMMA,
    running: bool = False,
    column: bool = True,
) -> Tensor:
    """Returns Â_{i,t} = G_{i,t} − mean_{j≠i} G_{j,t} with G_t = Σ_{k≥t} γ^{k−t} r_k, float64 ``[N, T]``; switches make slips.

    An ended rollout earns nothing more, so its G is 0 and counts.

    Args:
        batch: rollouts in groups.
        sign: of the whole.
        among: see :func:`~credit_envs.teaching.assignments.assignment.owners`.
        baseline: see :func:`~credit_envs.teaching.assignments.assignment.above`; ``rollout`` is the mean of its own G.
        divide: ``std``, or nothing.
        when: see :func:`~credit_envs.teaching.assignments.assignment.paid`.
        gamma: discount.
        running: whether the baseline leaves out rollouts that have ended.
        column: whether rollouts are compared at the same step; else all steps of the set share one baseline.
    """
    ids, n = owners(batch, among)
    earned = paid(batch, when, gamma)
    width = batch.mask.shape[1]
    own = ids[:, None].expand_as(batch.mask)
    place = own * width + torch.arange(width) if column else own
    used = batch.mask if running or not column else torch.ones_like(batch.mask)
    out = torch.zeros_like(earned)
    if baseline == "rollout":
        out = earned - (earned.sum(1) / batch.lengths.clamp(min=1))[:, None]
    else:
        out[used] = above(earned[used], place[used], n * width, baseline, divide)
    return sign * torch.where(batch.mask, out, 0.0)


ASSIGNMENT = Assignment(
    "step_returns",
    "One number per step: return to go above the other rollouts'",
    credit,
    (
        SIGN,
        Slip(
            "no baseline",
            {"baseline": "none"},
            "There is no baseline. The credit is unbiased, but most of it is the same for every action and only "
            "adds noise.",
        ),
        Slip(
            "leave-one-out forgotten",
            {"baseline": "mean"},
            "The baseline contains the rollout's own return to go, so part of every credit cancels itself: the mean "
            "gradient shrinks to (n−1)/n. Which rollouts may the baseline of rollout i know about?",
            0.6,
        ),
        Slip(
            "baseline along the rollout",
            {"baseline": "rollout"},
            "The baseline is the mean of the rollout's OWN returns to go. It depends on the very action that is "
            "judged, so it biases the gradient, and a rollout that does well throughout gets no praise at all.",
        ),
        Slip(
            "one baseline for all steps",
            {"column": False},
            "All steps of the group share one baseline. Returns to go change along an episode for reasons that no "
            "action is responsible for; compare each step with the same step of the other rollouts.",
            0.4,
        ),
        BATCH,
        NEIGHBOURS,
        Slip(
            "ended rollouts left out",
            {"running": True},
            "The baseline counts only rollouts that still run. That is unbiased, too, but not what was asked: an "
            "ended rollout has a return to go, 0, and leaving it out makes the baseline noisier late in the "
            "episode.",
            0.8,
        ),
        Slip(
            "the step's own reward left out",
            {"when": "after"},
            "The return to go starts one step too late: the reward of the step itself is missing, and that is the "
            "first thing an action causes. Check the index of your sum (or of your backward loop).",
            0.4,
        ),
        Slip(
            "one step early",
            {"when": "before"},
            "The return to go starts one step too early: step t is paid for what step t−1 earned.",
            0.4,
        ),
        Slip(
            "past rewards",
            {"when": "past"},
            "Each step gets what was paid UP TO it, instead of what follows. An action cannot change the past.",
            0.1,
        ),
        Slip(
            "the whole return",
            {"when": "whole"},
            "Each step gets the whole return of its rollout. What was paid before step t is no doing of its action: "
            "it adds noise only.",
            0.4,
        ),
        Slip(
            "the step's own reward only",
            {"when": "here"},
            "Each step gets its own reward only; nothing that comes later counts.",
            0.1,
        ),
        Slip(
            "discounted from the start",
            {"when": "absolute"},
            "Rewards are discounted from the first step of the rollout, γ^k, instead of from the step that is "
            "judged, γ^(k−t). Late steps then hardly learn.",
            0.5,
        ),
        Slip(
            "divided by the deviation",
            {"divide": "std"},
            "The credit is divided by a standard deviation, which was not asked for: it changes how much each step "
            "counts.",
            0.5,
        ),
        *discounts(GAMMA),
    ),
    gamma=GAMMA,
)
