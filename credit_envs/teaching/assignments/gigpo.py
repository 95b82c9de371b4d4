"""GiGPO: the group's advantage of the episode plus a comparison of all steps taken at the same anchor (Feng et al. 2025)."""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.sampling.statistics import compact
from credit_envs.sampling.trajectories import Trajectories
from credit_envs.teaching.assignments.assignment import SIGN, Assignment, Slip, above, discounts, owners, paid

GAMMA = 0.95
"""GiGPO's own discount of step returns; the environments are undiscounted."""


def credit(
    batch: Trajectories,
    *,
    sign: float = 1.0,
    among: str = "group",
    scope: str = "group",
    anchor: str = "anchor",
    baseline: str = "mean",
    step_baseline: str = "mean",
    divide: str = "",
    when: str = "on",
    gamma: float = GAMMA,
    episode: float = 1.0,
    step: float = 1.0,
    padding: bool = False,
    faded: bool = False,
) -> Tensor:
    """Returns (R_i − mean_group R) + (G_{i,t} − mean_anchor G), float64 ``[N, T]``; switches make the known slips.

    Args:
        batch: rollouts in groups.
        sign: of the whole.
        among: whose returns the episode term is compared with.
        scope: whose steps the step term is compared with: ``group``, ``batch``, ``neighbours`` or ``rollout``.
        anchor: what steps must share: ``anchor``, ``step`` (the step's number), ``timed`` (both), ``action`` (and action).
        baseline: of the episode term.
        step_baseline: of the step term.
        divide: ``std``, or nothing.
        when: see :func:`~credit_envs.teaching.assignments.assignment.paid`, for the step term.
        gamma: discount of the step term.
        episode: weight of the episode term.
        step: weight of the step term.
        padding: whether padded steps count as visits of anchor 0.
        faded: whether the episode term is discounted, too.
    """
    ids, n = owners(batch, among)
    total = paid(batch, "whole", gamma if faded else 1.0)[:, 0]
    flat = above(total, ids, n, baseline, divide)[:, None].expand_as(batch.reward)
    used = torch.ones_like(batch.mask) if padding else batch.mask
    steps = torch.arange(batch.mask.shape[1])
    own = torch.arange(batch.n_rollouts) if scope == "rollout" else owners(batch, scope)[0]
    key = {
        "anchor": batch.anchor,
        "step": steps.expand_as(batch.anchor),
        "timed": batch.anchor * len(steps) + steps,
        "action": batch.anchor * (int(batch.action.max()) + 1) + batch.action,
    }[anchor]
    place, visited = compact((own[:, None] * (int(key.max()) + 1) + key)[used])
    local = torch.zeros_like(batch.reward)
    local[used] = above(paid(batch, when, gamma)[used], place, visited, step_baseline, divide)
    return sign * torch.where(batch.mask, episode * flat + step * local, 0.0)


ASSIGNMENT = Assignment(
    "gigpo",
    "Two levels: episodes in a group, steps at an anchor",
    credit,
    (
        SIGN,
        Slip(
            "no episode term",
            {"episode": 0.0},
            "The episode term is missing. Steps whose anchor nobody else visited then get no credit at all.",
            0.4,
        ),
        Slip(
            "no step term",
            {"step": 0.0},
            "The step term is missing (or always 0): what is left is Dr.GRPO, one number per rollout.",
        ),
        Slip(
            "the two terms averaged",
            {"episode": 0.5, "step": 0.5},
            "The two terms are averaged instead of added. The direction is right; every update is half as large.",
            0.8,
        ),
        Slip(
            "anchors across groups",
            {"scope": "batch"},
            "Steps are compared with steps of OTHER groups that show the same anchor. Groups may start from "
            "different places, and the paper's groups are closed; include the group in what two steps must share.",
        ),
        Slip(
            "anchors within one rollout",
            {"scope": "rollout"},
            "A step is compared only with steps of its own rollout at the same anchor. The comparison that teaches "
            "is with the other rollouts of the group, which did something else there.",
        ),
        Slip(
            "groups by position",
            {"scope": "neighbours", "among": "neighbours"},
            "Rollouts are grouped by where they stand in the batch (a reshape?). `batch.group` says who belongs "
            "together.",
        ),
        Slip(
            "episode term over the whole batch",
            {"among": "batch"},
            "The episode term compares with the whole batch instead of the rollout's group.",
        ),
        Slip(
            "the step's number as anchor",
            {"anchor": "step"},
            "Steps are grouped by their number instead of by what was seen (`batch.anchor`). At the same step, "
            "rollouts can be in quite different situations.",
        ),
        Slip(
            "the step's number in the anchor",
            {"anchor": "timed"},
            "Two steps are compared only if they share the anchor AND the step's number. Fewer steps meet then; "
            "GiGPO compares visits at any time. (It can be the better idea where time matters, but was not asked "
            "for.)",
            0.6,
        ),
        Slip(
            "the action in the anchor",
            {"anchor": "action"},
            "Steps are grouped by anchor and ACTION, so actions are only compared with themselves. The baseline of "
            "a state must mix what was done there.",
        ),
        Slip(
            "padding counted",
            {"padding": True},
            "Padded steps take part: they all show anchor 0 and a return of 0, and pull down the mean of whatever "
            "anchor 0 is. Use `batch.mask`.",
            0.5,
        ),
        Slip(
            "leave-one-out among episodes",
            {"baseline": "others"},
            "The episode term leaves the rollout itself out of its mean. That is RLOO's way; GiGPO's mean is over "
            "the whole group.",
            0.7,
        ),
        Slip(
            "leave-one-out among steps",
            {"step_baseline": "others"},
            "The step term leaves the step itself out of its mean; GiGPO's mean is over all steps at the anchor.",
            0.7,
        ),
        Slip(
            "divided by the deviation",
            {"divide": "std"},
            "Both terms are divided by standard deviations. The paper has that as an option; here it was not asked "
            "for.",
            0.6,
        ),
        Slip(
            "no baseline at anchors",
            {"step_baseline": "none"},
            "The step term has no baseline: every step gets its return to go, wherever it was taken.",
        ),
        Slip(
            "the step's own reward left out",
            {"when": "after"},
            "The step returns start one step too late: the reward of the step itself is missing.",
            0.5,
        ),
        Slip(
            "past rewards",
            {"when": "past"},
            "The step term uses what was paid UP TO the step, instead of what follows.",
            0.1,
        ),
        Slip(
            "the whole return at anchors",
            {"when": "whole"},
            "The step term uses the whole return; what was paid before the step is no doing of its action.",
        ),
        Slip(
            "discounted from the start",
            {"when": "absolute"},
            "Step returns are discounted from the first step of the rollout instead of from the step that is judged.",
            0.5,
        ),
        Slip(
            "episode term discounted",
            {"faded": True},
            "The episode term uses discounted returns; GiGPO's R is the plain sum of rewards.",
            0.7,
        ),
        *discounts(GAMMA),
    ),
    unbiased=False,
)
