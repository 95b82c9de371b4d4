"""MT-GRPO: every turn has a group advantage of its own, and those of later turns add to it.

    A_(k) = Σ_{l=k}^{K−1} α^{l−k} coef · A^I_(l) + α^{K−k} A^O          A^I, A^O: z-scores over rollouts
    K = 2:  A_(1) = coef · A^I + α A^O,   A_(2) = A^O

R^I_(l) is what turn l < K earned of the turn rewards, R^O the return and what the last turn earned of them. They are what
a reward model has put beside the reward (``step_reward``), else those of :mod:`credit_envs.rewards.turns`.

For two turns all rollouts take turn 1 in the same state, which the formula demands. For more it demands G actions in each
turn's state, which takes a tree of G^{K−1} rollouts (:mod:`credit_envs.plans.turn_forks`): with ``among="siblings"`` the
z-score runs over those that branch off one state, each of them counted once however many rollouts share it. On
independent rollouts ``among="group"`` compares turn l of one rollout with turn l of all others that have one before
their last turn. That is a reconstruction: their states differ, so A^I carries the luck so far.

With α = 0 a turn sees its own reward only; without turn rewards and with α = 1 this is GRPO. ``norm_by_std=False`` leaves
out the division, for comparisons with the truth.

Departures: rollouts may differ in their number of turns K. What a turn is, is a level: segments, so that the boundary of
the two-turn form lies where the first subgoal is reached, as in the paper it lies where the tool's result comes in.
The released code (:func:`mt_grpo_released`) puts its weight on A^I (``coef``; the paper's α stands on A^O, the same at
1), counts in R^I what was earned in all turns, compares it among all rollouts, and gives those without a second turn the
z-score of R^I + R^O. As told: Σ_k γ^k r_{t+k}, without any baseline (:func:`turn_return_as_told`).
Source: Zeng et al. 2025, arXiv 2505.11821, v1 and v2; released code ``mt_grpo_env_trainer.py``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.piece import Labels
from credit_envs.rewards.turns import turn_reward
from credit_envs.sampling.spans import Spans, spans
from credit_envs.sampling.statistics import centred, compact, returns_to_go
from credit_envs.sampling.trajectories import Trajectories

AMONG = ("group", "siblings")


def mt_grpo_on(
    batch: Trajectories,
    earned_by_step: Tensor,
    alpha: float = 1.0,
    coef: float = 1.0,
    level: str = "segment",
    turns: int | None = 2,
    among: str = "group",
    norm_by_std: bool = True,
    epsilon: float = 1e-6,
) -> Tensor:
    """Returns MT-GRPO's credit for given turn rewards, float64 ``[N, T]``.

    Args:
        batch: rollouts in groups.
        earned_by_step: float64 ``[N, T]``, turn rewards on their steps.
        alpha: α in [0, 1], weight of what comes one turn later.
        coef: released-code quirk: weight of the turns' own advantages.
        level: what a turn is: ``step``, ``turn`` or ``segment``.
        turns: K; later turns join the last one (None: no limit).
        among: over what a turn's z-score runs: ``group`` or ``siblings``.
        norm_by_std: divide by deviations.
        epsilon: added to deviations.

    Raises:
        CreditEnvsError: for an option out of its range.
    """
    check_range("alpha", alpha, 0, 1)
    if among not in AMONG:
        raise CreditEnvsError(f"among={among!r}: expected one of {', '.join(AMONG)}")
    parts = spans(batch, level, turns)
    earned, final = parts.total(earned_by_step), parts.final

    def z(score: Tensor, ids: Tensor, n: int) -> Tensor:
        return centred(score, ids, n, norm_by_std=norm_by_std, epsilon=epsilon)

    outcome = z(batch.returns + torch.where(final, earned, 0.0).sum(dim=1), batch.group, batch.n_groups)
    row, place, ids, back = _members(batch, parts, among)
    own = torch.zeros_like(earned)
    if len(back):
        own[parts.present & ~final] = z(earned[row, place], ids, int(ids.max()) + 1)[back]
    score = torch.where(final, outcome[:, None], coef * own)
    return parts.spread(returns_to_go(score, parts.present, alpha))


def mt_grpo(batch: Trajectories, *, labels: Labels, **options: Any) -> Tensor:
    """Returns MT-GRPO's credit, float64 ``[N, T]``; options as for :func:`mt_grpo_on`."""
    return mt_grpo_on(batch, beside(batch, labels), **options)


def mt_grpo_released(
    batch: Trajectories, *, labels: Labels, coef: float = 1.0, level: str = "segment", epsilon: float = 1e-4
) -> Tensor:
    """Returns the credit of the released two-turn code, float64 ``[N, T]``; arguments as for :func:`mt_grpo_on`."""
    parts = spans(batch, level, 2)
    earned = torch.where(batch.mask, beside(batch, labels), 0.0).sum(dim=1)

    def z(score: Tensor) -> Tensor:
        return centred(score, batch.group, batch.n_groups, norm_by_std=True, epsilon=epsilon)[:, None]

    before = parts.spread(parts.present & ~parts.final)
    alone = parts.final[:, :1]
    score = torch.where(alone, z(earned + batch.returns), z(batch.returns) + coef * z(earned) * before)
    return torch.where(batch.mask, score, 0.0)


def turn_return_as_told(batch: Trajectories, *, labels: Labels, gamma: float = 1.0) -> Tensor:
    """Returns Σ_k γ^k r_{t+k} over rewards and turn rewards, float64 ``[N, T]``; no baseline."""
    check_range("gamma", gamma, 0, 1)
    return returns_to_go(batch.reward + beside(batch, labels), batch.mask, gamma)


def beside(batch: Trajectories, labels: Labels) -> Tensor:
    """Returns what stands beside the reward, float64 ``[N, T]``, or turn rewards where nothing does."""
    return turn_reward(batch, labels) if batch.step_reward is None else batch.step_reward


def _members(batch: Trajectories, parts: Spans, among: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the turns before the last, each once, and whom they are compared with.

    Returns:
        rollout and number of each turn that counts, int64 ``[M]``; whom it is compared with, int64 ``[M]``; and for all
        turns before the last, row by row, which of the M they are.
    """
    inner = parts.present & ~parts.final
    row, place = torch.nonzero(inner, as_tuple=True)
    # Rollouts of a tree share what their turn has in common with others: one and the same last node.
    same, count = compact(batch.node[row, parts.end[inner]])
    order = torch.arange(len(same), device=same.device)
    first = torch.full((count,), len(same), dtype=torch.int64, device=same.device).scatter_reduce(
        0, same, order, "amin"
    )
    if among == "group":
        key = batch.group[row] * parts.present.shape[1] + place
    else:
        start = parts.start[inner]
        before = batch.node[row, (start - 1).clamp(min=0)]
        key = torch.where(start > 0, before, -1 - batch.group[row])
    return row[first], place[first], compact(key[first])[0], same
