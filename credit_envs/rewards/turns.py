"""Turn-level verifiable rewards: what the environment can check about a turn is paid to it.

    R^I_t = Σ_l pay_l · max(0, l_{t+1} − l_t) − penalty · (searches so far, on searches)        turns before the last
    R^O   = what the task pays

over labels l that the environment verifies, chosen by :data:`TURN_PAYS`: the answer has been read, a fact was stated
right, a door was opened. The last turn has the outcome and no turn reward. Three places to put R^I:

* on its step (:func:`turn_rewards`): MT-PPO, GiGPO with turn rewards;
* all in one at the end (:func:`turn_rewards_merged`): GRPO-MR and PPO-MR, R = Σ_k γ^k R_k with turn number k;
* beside the reward (:func:`turn_rewards_beside`): MT-GRPO.

A rise is paid as often as it happens, as in the paper: a label that can fall again can be milked. ``potential=True`` pays
γ l_{t+1} − l_t instead, with l = 0 after the end; these differences add up to minus the first level and leave the optimal
policy alone. Amounts: 0.3 for the answer in what was retrieved and −0.1 per search so far are the paper's (v2), the
others are ours. The paper's +0.1 for a turn of valid format is ``valid``; here every turn is valid, so it pays length.
Source: Zeng et al. 2025, arXiv 2505.11821.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.piece import Labels
from credit_envs.sampling.spans import spans
from credit_envs.sampling.trajectories import Trajectories


class TurnPay(NamedTuple):
    """One label that pays.

    Attributes:
        label: its name; what counts is how much it rises, values below 0 being "none".
        pay: reward for each unit.
        unless_0: label that must not be 0 after the step, if any.
    """

    label: str
    pay: float
    unless_0: str | None = None


TURN_PAYS: tuple[tuple[TurnPay, ...], ...] = (
    (TurnPay("answer_seen", 0.3), TurnPay("gold_listed", 0.1)),  # Lookup
    (TurnPay("facts", 0.1),),  # Charts
    (TurnPay("documented", 0.05), TurnPay("logged_in", 0.05), TurnPay("stage", 0.05)),  # Apps
    (TurnPay("met", 0.05),),  # Shop
    (TurnPay("stage", 0.1),),  # Household
    (TurnPay("progress", 0.1),),  # KeyRooms, Team
    (TurnPay("key", 0.3),),  # KeyToDoor
    (TurnPay("segment", 0.1, unless_0="right"),),  # Sums: a column was closed, and nothing wrong so far
)
"""What pays where: the first entry counts all of whose labels the table has."""

REQUIRES = "answer_seen|facts|documented|met|stage|progress|key|right"
"""Labels of which a table must have one, as a piece states it."""


def offered(labels: Labels, name: str) -> Tensor | None:
    """Returns a label ``[N, T + 1]``, None if the table does not have it."""
    try:
        return labels(name)
    except CreditEnvsError:
        return None


def turn_reward(
    batch: Trajectories,
    labels: Labels,
    search_penalty: float = 0.0,
    valid: float = 0.0,
    potential: bool = False,
    gamma: float = 1.0,
    scale: float = 1.0,
) -> Tensor:
    """Returns the turn rewards R^I, float64 ``[N, T]``, each on the step that earned it.

    Args:
        batch: rollouts.
        labels: what the environment verifies.
        search_penalty: subtracted on each search, times the number of searches so far (tables with the label ``about``).
        valid: paid on the last step of each turn.
        potential: pay potential differences instead of rises.
        gamma: their discount.
        scale: factor on the pays.

    Raises:
        CreditEnvsError: if the table has no label that pays, or no searches to be charged.
    """
    for name, value in (("search_penalty", search_penalty), ("valid", valid), ("scale", scale)):
        check_range(name, value, -1e9, 1e9)
    check_range("gamma", gamma, 0, 1)
    mask = batch.mask
    turns = spans(batch)
    last = turns.at_end(turns.final.to(batch.reward.dtype)) > 0
    out = torch.zeros_like(batch.reward)
    for pay, level, allowed in _paying(labels):
        before, after = level[:, :-1], level[:, 1:]
        rise, shaping = (after - before).clamp(min=0) * allowed[:, 1:], gamma * torch.where(last, 0.0, after) - before
        out = out + scale * pay * (shaping if potential else rise)
    closing = turns.at_end(torch.ones_like(turns.present, dtype=out.dtype))
    out = out + valid * closing
    if search_penalty:
        about = offered(labels, "about")
        if about is None:
            raise CreditEnvsError(f"search_penalty={search_penalty}: expected 0, as the table has no searches (about)")
        search = closing * (about[:, 1:] >= 0)
        out = out - search_penalty * search.cumsum(dim=1) * search
    paid = mask if potential else mask & ~turns.spread(turns.final)
    return torch.where(paid, out, 0.0)


def turn_rewards(batch: Trajectories, *, labels: Labels, **options: Any) -> Trajectories:
    """Adds turn rewards to the reward, each on its step; options as for :func:`turn_reward`."""
    return batch.replace(reward=batch.reward + turn_reward(batch, labels, **options))


def turn_rewards_merged(
    batch: Trajectories, *, labels: Labels, turn_gamma: float = 1.0, **options: Any
) -> Trajectories:
    """Pays rewards and turn rewards in one with the last step, discounted by turn numbers; options likewise."""
    check_range("turn_gamma", turn_gamma, 0, 1)
    turns = spans(batch)
    total = turns.total(batch.reward + turn_reward(batch, labels, **options))
    factor = turn_gamma ** torch.arange(total.shape[1], dtype=total.dtype, device=total.device)
    merged = (total * factor).sum(dim=1, keepdim=True)
    return batch.replace(reward=turns.at_end(torch.where(turns.final, merged, 0.0)))


def turn_rewards_beside(batch: Trajectories, *, labels: Labels, **options: Any) -> Trajectories:
    """Puts turn rewards beside the reward, into ``step_reward``; options likewise."""
    return batch.replace(step_reward=turn_reward(batch, labels, **options))


def _paying(labels: Labels) -> list[tuple[float, Tensor, Tensor]]:
    """Returns pay, level float64 ``[N, T + 1]`` and where it counts, of the labels that pay on this table."""
    for entry in TURN_PAYS:
        names = [name for pay in entry for name in (pay.label, pay.unless_0) if name]
        found = {name: offered(labels, name) for name in names}
        if any(label is None for label in found.values()):
            continue
        out = []
        for pay in entry:
            level = found[pay.label]
            guard = found[pay.unless_0] if pay.unless_0 else None
            assert level is not None
            counts = torch.ones_like(level, dtype=torch.bool) if guard is None else guard != 0
            out.append((pay.pay, level.clamp(min=0).to(torch.float64), counts))
        return out
    raise CreditEnvsError(f"turn rewards: expected a table with one of the labels {REQUIRES.replace('|', ', ')}")
