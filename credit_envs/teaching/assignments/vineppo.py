"""VinePPO: what a step changed in the value, with values estimated by K fresh continuations (Kazemnejad et al. 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.credit.monte_carlo import step_values
from credit_envs.piece import Continuations
from credit_envs.sampling.statistics import returns_to_go
from credit_envs.sampling.trajectories import Trajectories
from credit_envs.teaching.assignments.assignment import SIGN, Assignment, Slip, discounts

K = 4
"""Continuations per state that the assignment asks for."""


def credit(
    batch: Trajectories,
    *,
    continuations: Continuations,
    sign: float = 1.0,
    k: int = K,
    gamma: float = 1.0,
    reward: float = 1.0,
    following: str = "next",
    baseline: str = "own",
) -> Tensor:
    """Returns r_t + V̂(s_{t+1}) − V̂(s_t), float64 ``[N, T]``, V̂ of an ended rollout 0; switches make the known slips.

    Args:
        batch: rollouts.
        continuations: see :class:`~credit_envs.piece.Continuations`.
        sign: of the whole.
        k: continuations per state.
        gamma: discount.
        reward: weight of the step's own reward.
        following: ``next``, ``wrapped`` (after the last column comes the first), ``held`` (the last value stays), ``to go``
            (the rollout's own return from the next step on), or ``none``.
        baseline: ``own``, ``none``, ``rollout`` (mean over the rollout) or ``earlier`` (the state before).
    """
    value = step_values(batch, continuations, k, gamma)
    after = torch.zeros_like(value)
    after[:, :-1] = value[:, 1:]
    before = torch.zeros_like(value)
    before[:, 1:] = value[:, :-1]
    last = batch.mask & (torch.arange(value.shape[1]) == batch.lengths[:, None] - 1)
    if following == "wrapped":
        after = torch.where(last, value[:, :1], after)
    elif following == "held":
        after = torch.where(last, value, after)
    elif following == "to go":
        after = returns_to_go(batch.reward, batch.mask, gamma)
        after = torch.cat([after[:, 1:], torch.zeros_like(after[:, :1])], dim=1)
    elif following == "none":
        after = torch.zeros_like(value)
    base = {
        "own": value,
        "none": torch.zeros_like(value),
        "rollout": (value.sum(1) / batch.lengths.clamp(min=1))[:, None].expand_as(value),
        "earlier": before,
    }[baseline]
    if baseline == "earlier":
        after = value
    return sign * torch.where(batch.mask, reward * batch.reward + gamma * after - base, 0.0)


ASSIGNMENT = Assignment(
    "vineppo",
    f"Buying information: values from {K} continuations per state",
    credit,
    (
        SIGN,
        Slip(
            "the step's own reward left out",
            {"reward": 0.0},
            "The step's own reward is missing: V̂ counts only what comes after a state. Wherever a step is paid, "
            "its credit is short by just that; a last step that wins looks like a loss.",
            0.5,
        ),
        Slip(
            "wrapped around",
            {"following": "wrapped"},
            "After the last step you take the value of the FIRST (a `roll`?). An ended rollout has nothing more to "
            "earn: its value is 0.",
            0.5,
        ),
        Slip(
            "the last value held",
            {"following": "held"},
            "After the last step you keep the last value. An ended rollout has nothing more to earn: its value is "
            "0, and the last step is just the one that often decides.",
            0.5,
        ),
        Slip(
            "the rollout's own future",
            {"following": "to go"},
            "Behind the step you use the rollout's own return instead of V̂(s_{t+1}). That is unbiased, but all the "
            "luck of the rest of the rollout is in it; the assignment asks for values on both sides.",
            0.6,
        ),
        Slip(
            "no next value",
            {"following": "none"},
            "V̂(s_{t+1}) is missing: a step is blamed for the whole value of the state that it was taken in.",
            0.2,
        ),
        Slip(
            "no baseline",
            {"baseline": "none"},
            "V̂(s_t) is not subtracted: this is an estimate of Q, not of the advantage. Unbiased as a gradient, but "
            "with the value of the state as noise on every action.",
            0.4,
        ),
        Slip(
            "mean over the rollout as baseline",
            {"baseline": "rollout"},
            "The baseline is the mean value along the rollout. Then a step is credited for how good its state is, "
            "not for what the step changed.",
            0.2,
        ),
        Slip(
            "one step early",
            {"baseline": "earlier"},
            "You subtract V̂(s_{t−1}) from V̂(s_t): that is what the step BEFORE changed.",
            0.4,
        ),
        *(
            Slip(
                f"K = {k}",
                {"k": k},
                f"You drew {k} continuation{'s' if k > 1 else ''} per state; the assignment says {K}. The mean is "
                "the same, the noise and the price are not.",
                0.7,
            )
            for k in (1, 2, 8, 9)
        ),
        *discounts(1.0),
    ),
    needs=("continuations",),
    continuations=K,
)
