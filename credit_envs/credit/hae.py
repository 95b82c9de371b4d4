"""Hierarchical advantage estimation (HAE): actions inside segments, subgoals across them, and the switches between.

A turn decides to keep or switch, states a subgoal, and acts; turns between two boundaries form a segment. With V_high at the
statement of a segment's subgoal, V_low at an action and V_term at the decision, and b_{k+1} the next segment's start:

    low     δ = r + γ V_next − V_low,   V_next = V_low of the next turn, V_high(b_{k+1}) at a segment's last one, 0 at the end
            A^low = δ + γ λ A^low of the next turn, started anew at each segment's end
    high    δ_k = Σ_{in segment k} γ^j r + γ^d V_high(b_{k+1}) − V_high(b_k),   A^high_k = δ_k + γ^d λ_seg A^high_{k+1}
    term    (q − β)(V_switch − V_keep): what the decision q was worth against the chance β of switching     (paper)
            [what the rest of the segment pays + γ^d V_high(b_{k+1})] − V_term                               (released code)

A^low goes to action tokens, A^high to subgoal tokens of boundary turns, the last to decision tokens. Here γ acts per step of
the table, of which a turn takes several (γ = 1 by default, where that makes no difference), and a rollout's end is an end:
the horizon terminates, so nothing is bootstrapped there (the released code bootstraps truncated rollouts).
Source: Peng et al. 2026, arXiv 2602.16165, §4; released code ``hiper_hae/core_hae.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from credit_envs.errors import check_range
from credit_envs.sampling.packing import following
from credit_envs.sampling.statistics import recurrence


class Layout(NamedTuple):
    """Where a rollout's turns decide, plan and act; all of it packed: the next column is the next step.

    Attributes:
        mask: bool ``[N, T]``, steps that were taken.
        turn: int64 ``[N, T]``, number of the turn, from 1; 0 before the first decision.
        decide: bool ``[N, T]``, a turn's first step.
        plan: bool ``[N, T]``, its first step of the subgoal.
        act: bool ``[N, T]``, its first step of the action.
    """

    mask: Tensor
    turn: Tensor
    decide: Tensor
    plan: Tensor
    act: Tensor

    def over_turn(self, values: Tensor, at: Tensor) -> Tensor:
        """Gives all steps of a turn the value that stands at its marked step, 0 (False) where there is none; ``[N, T]``."""
        out = torch.zeros((len(values), values.shape[1] + 1), dtype=values.dtype, device=values.device)
        rows = torch.nonzero(at, as_tuple=True)[0]
        out[rows, self.turn[at]] = values[at]
        return torch.where(self.mask, out.gather(1, self.turn), torch.zeros_like(values))


class Advantages(NamedTuple):
    """Advantages where they arise, 0 elsewhere.

    Attributes:
        low: float64 ``[N, T]``, at actions.
        high: float64 ``[N, T]``, at subgoals of boundary turns.
        rest: float64 ``[N, T]``, at decisions: what the rest of the segment is worth, the next start's V_high included; an
            advantage once V_term is taken off.
    """

    low: Tensor
    high: Tensor
    rest: Tensor


def hierarchical(
    reward: Tensor,
    layout: Layout,
    boundary: Tensor,
    high: Tensor,
    low: Tensor,
    gamma: float = 1.0,
    lam: float = 1.0,
    lam_segment: float = 0.95,
) -> Advantages:
    """Returns the advantages of actions and subgoals, and the worth of the rest of the segment.

    Args:
        reward: float64 ``[N, T]``, packed.
        layout: where turns decide, plan and act.
        boundary: bool ``[N, T]``, decisions of turns that begin a segment; what comes before the first belongs to none.
        high: float64 ``[N, T]``, V_high; read at subgoals of boundary turns.
        low: float64 ``[N, T]``, V_low; read at actions.
        gamma: discount per step, in [0, 1].
        lam: λ between turns, in [0, 1].
        lam_segment: λ between segments, in [0, 1].
    """
    for name, number in (("gamma", gamma), ("lam", lam), ("lam_segment", lam_segment)):
        check_range(name, number, 0, 1)
    starts = layout.decide & boundary
    stated = layout.plan & layout.over_turn(boundary, layout.decide)
    opening = ahead(reward, stated, high, gamma)

    rest = reward + gamma * following(ahead(reward, starts, opening, gamma))
    error = torch.where(stated, rest - high, 0.0)
    upper = _traces(error, torch.where(stated, gamma * lam_segment, torch.full_like(reward, gamma)))

    value = torch.where(starts, opening, low)
    error = reward + gamma * following(ahead(reward, layout.act | starts, value, gamma)) - low
    decay = torch.where(layout.act, gamma * lam, torch.full_like(reward, gamma))
    lower = _traces(torch.where(layout.act, error, 0.0), torch.where(starts, 0.0, decay))
    return Advantages(
        torch.where(layout.act, lower, 0.0),
        torch.where(stated, upper, 0.0),
        torch.where(layout.decide, rest, 0.0),
    )


def boundaries_at(marked: Tensor, layout: Layout, shift: int = 0, every: int = 0) -> Tensor:
    """Returns the decisions at which segments begin, bool ``[N, T]``.

    Args:
        marked: bool ``[N, T]``, marks at decisions.
        layout: the turns.
        shift: turns by which marks come later, at least 0.
        every: k ≥ 1: a segment every k turns whatever is marked; 0: as marked.
    """
    check_range("shift", shift, 0, 1 << 30, integer=True)
    check_range("every", every, 0, 1 << 30, integer=True)
    at = layout.decide
    if every:
        return at & ((layout.turn - 1) % every == 0)
    rows = torch.nonzero(at, as_tuple=True)[0]
    by_turn = torch.zeros((len(at), at.shape[1] + 1), dtype=torch.bool, device=at.device)
    by_turn[rows, layout.turn[at]] = marked[at]
    moved = by_turn.gather(1, (layout.turn - shift).clamp(min=0))
    return at & (moved | (layout.turn == 1))


def ahead(reward: Tensor, stop: Tensor, value: Tensor, gamma: float) -> Tensor:
    """Returns each step's worth as seen from the step before: V at a stop, else r + γ · what follows; float64 ``[N, T]``."""
    decay = torch.where(stop, 0.0, torch.full_like(reward, gamma))
    return recurrence(decay.flip(-1), torch.where(stop, value, reward).flip(-1)).flip(-1)


def _traces(error: Tensor, decay: Tensor) -> Tensor:
    """Returns z_t = error_t + decay_{t+1} z_{t+1}, float64 ``[N, T]``."""
    return recurrence(following(decay).flip(-1), error.flip(-1)).flip(-1)
