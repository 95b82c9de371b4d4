"""HiPER: advantages of actions, subgoals and switches, where the policy plans aloud and switches by itself.

Made for tables with the ``plan`` dial, whose policy says keep or switch, names a subgoal, and acts. The equations are those
of :mod:`credit_envs.credit.hae`; this file says what the critics are and where segments begin.

**Critics.** One table over anchors of mean returns of fresh rollouts holds all heads, because looks tell the fields apart: it
is V_high at the statement of a subgoal, V_low at an action under one, V_term at a decision. V_switch and V_keep at a decision
are its means over the fresh rollouts that switched or kept there. Exact critics read the oracle; then every part has mean A^π
for all λ, and the paper's switch term is one step of the exact values. (The released code reads V_high at the turn's first
token; the look there also holds the old subgoal, which a new one doesn't depend on.)

**Boundaries.** ``policy``: turns in which it switched; a missing word counts as keep. For experiments: ``label``, where the
task's own segments begin. ``shift`` moves either by turns, ``every`` = k puts one at every k-th turn instead. A rollout's first
turn always begins a segment. Without a plan see :mod:`credit_envs.credit.segments`.

Departures: no keep penalty (a reward, not an advantage). Source: Peng et al. 2026, arXiv 2602.16165, §4; released code
JonP07/HiPER-agent.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from credit_envs.credit.critics import fitted, predicted
from credit_envs.credit.hae import Layout, ahead, boundaries_at, hierarchical
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.piece import Fresh, Labels
from credit_envs.sampling.packing import Packing, earned, following
from credit_envs.sampling.statistics import centred
from credit_envs.sampling.tabular import fit_means
from credit_envs.sampling.trajectories import Trajectories

BOUNDARIES = ("policy", "label")
_DECIDE, _PLAN, _ACT = range(3)


class Plan(NamedTuple):
    """What a plan aloud looks like, packed ``[N, T]``: fields, layout, and turns that switched (at every step of theirs)."""

    field: Tensor
    layout: Layout
    switched: Tensor
    said: Tensor


def read_plan(labels: Labels, packing: Packing) -> Plan:
    """Reads fields, turns and switches.

    Args:
        labels: for ``field`` and ``subgoal``: no subgoal is in force while a new one is chosen.
        packing: of the batch's mask.
    """
    mask = packing.mask
    field = torch.where(mask, packing.pack(labels("field")[:, :-1]), -1)
    before = torch.full_like(field, -1)
    before[:, 1:] = field[:, :-1]
    decide, plan, act = ((field == f) & (before != f) for f in (_DECIDE, _PLAN, _ACT))
    layout = Layout(mask, torch.where(mask, decide.cumsum(dim=1), 0), decide, plan, act)
    free = packing.pack(labels("subgoal")[:, :-1]) == 0
    return Plan(field, layout, layout.over_turn(free, plan), (field == _DECIDE) & following(plan))


def hiper_on(
    batch: Trajectories,
    labels: Labels,
    value: Tensor,
    switch: Tensor | None,
    gamma: float = 1.0,
    lam: float = 1.0,
    lam_segment: float = 0.95,
    boundaries: str = "policy",
    shift: int = 0,
    every: int = 0,
    normalise: bool = False,
) -> Tensor:
    """Returns HiPER's credit for given critics, float64 ``[N, T]``.

    Args:
        batch: rollouts on a table with a plan.
        labels: what the environment verifies.
        value: float64 ``[N, T]``: V_term at decisions, V_high at subgoals, V_low at actions.
        switch: float64 ``[N, T]``, the paper's switch term at decisions (None: the released third head).
        gamma: discount per step of the table, in [0, 1].
        lam: λ between turns, in [0, 1].
        lam_segment: λ between segments, in [0, 1].
        boundaries: ``policy`` or ``label``.
        shift: see :func:`boundaries_at`.
        every: see :func:`boundaries_at`.
        normalise: each of the three to mean 0 and deviation 1 (ddof = 0) over the batch.

    Raises:
        CreditEnvsError: for values out of range.
    """
    if boundaries not in BOUNDARIES:
        raise CreditEnvsError(f"boundaries={boundaries!r}: expected one of {BOUNDARIES}")
    packing = Packing(batch.mask)
    field, layout, switched, _ = read_plan(labels, packing)
    marked = switched if boundaries == "policy" else packing.pack(labels("boundary")[:, :-1]) == 1
    starts = boundaries_at(marked, layout, shift, every)
    reward, heads = packing.pack(batch.reward), packing.pack(value)
    low, high, rest = hierarchical(reward, layout, starts, heads, heads, gamma, lam, lam_segment)
    term = torch.where(layout.decide, rest - heads, 0.0) if switch is None else packing.pack(switch)
    stated = layout.plan & layout.over_turn(starts, layout.decide)
    parts = ((low, layout.act, _ACT), (high, stated, _PLAN), (term, layout.decide, _DECIDE))
    out = torch.zeros_like(reward)
    for credit, at, kind in parts:
        if normalise and bool(at.any()):
            zero = torch.zeros(int(at.sum()), dtype=torch.int64, device=at.device)
            credit = credit.masked_scatter(at, centred(credit[at], zero, 1, norm_by_std=True, ddof=0))
        out += torch.where(field == kind, layout.over_turn(credit, at), 0.0)
    return packing.unpack(out)


def hiper(
    batch: Trajectories,
    *,
    labels: Labels,
    fresh: Fresh,
    gamma: float = 1.0,
    lam: float = 1.0,
    lam_segment: float = 0.95,
    released: bool = False,
    boundaries: str = "policy",
    shift: int = 0,
    every: int = 0,
    normalise: bool = False,
) -> Tensor:
    """Returns HiPER's credit with critics learned on fresh groups, float64 ``[N, T]``.

    Args:
        batch: rollouts on a table with a plan.
        labels: what the environment verifies.
        fresh: training data of the critics, as many groups as the batch has.
        gamma: discount per step of the table, in [0, 1].
        lam: λ between turns.
        lam_segment: λ between segments.
        released: the released code's third head in place of the paper's switch term.
        boundaries: see :func:`hiper_on`; likewise the rest.
        shift: turns by which boundaries come later.
        every: a boundary every k turns.
        normalise: each of the three parts over the batch.
    """
    check_range("gamma", gamma, 0, 1)
    data = fresh(batch.n_groups)
    value = predicted(fitted(data, data.anchor, gamma), batch.anchor)
    switch = None if released else switch_term(batch, labels, data, gamma)
    return hiper_on(batch, labels, value, switch, gamma, lam, lam_segment, boundaries, shift, every, normalise)


def switch_term(batch: Trajectories, labels: Labels, data: Trajectories, gamma: float = 1.0) -> Tensor:
    """Returns (q − β)(V_switch − V_keep) at decisions, float64 ``[N, T]``, both values learned on fresh rollouts.

    Words that switch are those after which, in the batch, no subgoal was in force. A decision at which the fresh rollouts
    always switched, or always kept, gets 0: the other word was never tried.

    Args:
        batch: rollouts on a table with a plan.
        labels: what the environment verifies.
        data: fresh rollouts.
        gamma: discount per step, in [0, 1].
    """
    packing = Packing(batch.mask)
    _, layout, switched, said = read_plan(labels, packing)
    words = torch.unique(packing.pack(batch.action)[said & switched])
    whole = Packing(data.mask)
    to_go = earned(whole, data.reward, gamma)[whole.mask]
    chose = torch.isin(data.action, words).long()
    critic = fit_means(data.anchor[data.mask], chose[data.mask], to_go, 2)
    anchor = packing.pack(batch.anchor)
    gap = critic.at(anchor, torch.ones_like(anchor)) - critic.at(anchor, torch.zeros_like(anchor))
    chance = layout.over_turn(packing.pack(batch.log_prob), said).exp()
    surprise = torch.where(switched, 1 - chance, chance - 1)  # q − β, with β = 1 − P(keep) where it kept
    return packing.unpack(torch.where(layout.decide, surprise * gap, 0.0))


def hiper_exact(
    batch: Trajectories,
    *,
    labels: Labels,
    value: Tensor,
    gamma: float = 1.0,
    lam: float = 1.0,
    lam_segment: float = 0.95,
    released: bool = False,
) -> Tensor:
    """Returns HiPER's credit with the exact values as critics, float64 ``[N, T]``; E[Â | s, a] = A if γ is the table's.

    The paper's switch term is then what the decision changed: the value at the subgoal that it led to, less that before.
    """
    packing = Packing(batch.mask)
    layout = read_plan(labels, packing).layout
    reward, heads = packing.pack(batch.reward), packing.pack(value)
    change = ahead(reward, layout.plan, heads, gamma) - heads
    switch = None if released else packing.unpack(torch.where(layout.decide, change, 0.0))
    return hiper_on(batch, labels, value, switch, gamma, lam, lam_segment)
