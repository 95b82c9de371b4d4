"""What an assignment is: a credit with switches. All off, it is the right one; each slip is a switch thrown the wrong way.

Slips are what students do, so a wrong credit can be compared with what each slip, or two of them together, would give.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from credit_envs.sampling.statistics import compact, group_count, group_sum
from credit_envs.sampling.trajectories import Trajectories


@dataclass(frozen=True)
class Slip:
    """One known way to go wrong.

    Attributes:
        name: a few words.
        switches: keyword arguments of the assignment's credit that make it.
        feedback: what the student should think about; it explains what goes wrong, and leaves the repair to them.
        keeps: share of the points for the formula that remains.
    """

    name: str
    switches: Mapping[str, Any]
    feedback: str
    keeps: float = 0.3


@dataclass(frozen=True)
class Assignment:
    """One assignment.

    Attributes:
        name: as on the command line; the template is ``templates/NAME.py``.
        title: one line.
        credit: ``credit(batch, *, needs, **switches)`` → float64 ``[N, T]``; without switches the right one.
        slips: known ways to go wrong.
        unbiased: whether the right credit's gradient has the exact gradient as its mean.
        gamma: discount of the environments on which it is graded.
        needs: what the student's function may ask for.
        continuations: K that the text asks for, 0 without.
    """

    name: str
    title: str
    credit: Callable[..., Tensor]
    slips: tuple[Slip, ...]
    unbiased: bool = True
    gamma: float = 1.0
    needs: tuple[str, ...] = ()
    continuations: int = 0

    def candidates(self) -> Iterator[tuple[Slip, ...]]:
        """Yields every slip, then every pair of slips that can be made together."""
        yield from ((slip,) for slip in self.slips)
        for first, second in itertools.combinations(self.slips, 2):
            if not first.switches.keys() & second.switches.keys():
                yield first, second


def owners(batch: Trajectories, among: str) -> tuple[Tensor, int]:
    """Returns which rollouts are compared, int64 ``[N]``, and in how many sets.

    Args:
        batch: rollouts.
        among: ``group`` (right), ``batch`` (all at once), or ``neighbours``: equal parts of rollouts that stand side by side,
            as ``returns.view(groups, -1)`` makes them.
    """
    if among == "batch":
        return torch.zeros_like(batch.group), 1
    own, n = compact(batch.group)
    if among == "neighbours":
        size = max(1, batch.n_rollouts // n)
        return compact(torch.arange(batch.n_rollouts, device=own.device) // size)
    return own, n


def above(values: Tensor, ids: Tensor, n: int, baseline: str, divide: str = "") -> Tensor:
    """Returns values float64 ``[M]`` above a baseline of their set, and divided by the set's deviation if asked.

    Args:
        values: numbers.
        ids: int64 ``[M]``, their sets.
        n: number of sets.
        baseline: ``others`` (the mean without oneself; 0 for those who are alone), ``mean``, ``none``.
        divide: ``std``, or nothing.
    """
    count = group_count(ids, n)
    total = group_sum(values, ids, n)
    mean = total / count.clamp(min=1)
    if baseline == "others":
        out = (values - (total[ids] - values) / (count[ids] - 1).clamp(min=1)) * (count[ids] > 1)
    else:
        out = values - mean[ids] if baseline == "mean" else values
    if divide:
        spread = group_sum((values - mean[ids]) ** 2, ids, n) / (count - 1).clamp(min=1)
        out = out / (spread.sqrt() + 1e-6)[ids]
    return out


def paid(batch: Trajectories, when: str, gamma: float) -> Tensor:
    """Returns what each step is said to have earned, float64 ``[N, T]``, 0 where masked.

    Args:
        batch: rollouts.
        when: ``on`` (from the step on: the return to go), ``after`` (without the step's own reward), ``before`` (one step
            early), ``past`` (all up to the step), ``whole`` (the whole return), ``here`` (the step's own reward), ``absolute``
            (from the step on, discounted from the first step of the rollout).
        gamma: discount.
    """
    reward = torch.where(batch.mask, batch.reward, 0.0)
    steps = torch.arange(reward.shape[1], device=reward.device)
    fading = reward * gamma**steps
    absolute = fading.flip(1).cumsum(1).flip(1)
    later = torch.zeros_like(reward)
    if when == "whole":
        out = absolute[:, :1].expand_as(reward)
    elif when == "past":
        out = fading.cumsum(1)
    elif when == "here":
        out = reward
    elif when == "absolute":
        out = absolute
    else:
        out = absolute / gamma**steps
        if when == "after":
            later[:, :-1] = out[:, 1:]
            out = later
        elif when == "before":
            later[:, 1:], later[:, 0] = out[:, :-1], out[:, 0]
            out = later
    return torch.where(batch.mask, out, 0.0)


SIGN = Slip(
    "sign",
    {"sign": -1.0},
    "Every credit has the wrong sign: actions that led to more than the baseline are made less likely. Which of the "
    "two is subtracted from which?",
    0.5,
)
"""A slip of every assignment."""

BATCH = Slip(
    "baseline over the whole batch",
    {"among": "batch"},
    "The baseline is taken over the whole batch, not over the rollout's group. Groups start from different places; a hard "
    "start then looks like bad play.",
)
NEIGHBOURS = Slip(
    "groups by position",
    {"among": "neighbours"},
    "Rollouts are grouped by where they stand in the batch (a reshape?). Groups need not stand side by side, nor be equally "
    "large: `batch.group` says who belongs together.",
)
"""Slips of every assignment whose baseline is a group's."""


def discounts(right: float, keeps: float = 0.4) -> tuple[Slip, ...]:
    """Returns the slips of using another discount than the right one."""
    usual = (1.0, 0.99, 0.97, 0.95, 0.9, 0.8, 0.5)
    return tuple(
        Slip(
            f"discount {gamma:g}",
            {"gamma": gamma},
            f"Your returns are discounted by γ = {gamma:g}; the assignment's γ is {right:g}. A discount below the "
            "truth's makes a decision look better or worse by how late its reward comes, and one above it adds "
            "noise from rewards that don't count.",
            keeps,
        )
        for gamma in usual
        if gamma != right
    )
