"""Anchor-graph backup (ours): evaluate the policy on the graph of anchors that a group's rollouts share.

GiGPO compares raw returns at a shared anchor. Rollouts that pass through one anchor also share what follows, so every
return can inform every step upstream of it. For step t let t+k be the first later step at a shared anchor (or the end):

    y_t   = Σ_{j<k} γ^j r_{t+j} + γ^k [(1−λ) V̂(φ_{t+k}) + λ y_{t+k}]          target
    V̂(φ)  = Σ_i w_i y_i over the steps i at φ                                  w: observed shares, or the policy's
    b_t   = (m V̂_{−i}(φ_t) + κ (b_{t−1} − r_{t−1})/γ) / (m + κ)               baseline, b_0 = leave-one-out mean return
    Â_t   = y_t − b_t

An anchor is shared if at least two rollouts visit it; m counts the other rollouts at φ_t; V̂_{−i} leaves out rollout i's
own steps at φ_t and keeps downstream values. A sparse linear system over shared anchors, always solvable because every
rollout ends. Kin: certainty-equivalent policy evaluation; Graph Backup (Jiang et al. 2022, arXiv 2205.15824).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor

from credit_envs.arrays import Floats
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.sampling.anchors import scoped, timed
from credit_envs.sampling.statistics import compact, group_count, group_sum, recurrence, returns_to_go
from credit_envs.sampling.trajectories import Trajectories

_FLOOR = 1e-3
_ROUNDING = 1e-12


def anchor_graph(
    batch: Trajectories,
    gamma: float = 1.0,
    lam: float = 0.0,
    kappa: float = 1.0,
    weights: str = "counts",
    scope: str = "group",
    time: bool = False,
    loo: str = "local",
) -> Tensor:
    """Returns anchor-graph backup's credit with anchors by exact observation, float64 ``[N, T]``; see :func:`backup_on`.

    With ``time=True`` the step belongs to the anchor: fewer steps meet, but values no longer mix what remains of the
    horizon, which biases anchors that recur in tasks with a time limit.
    """
    return backup_on(batch, timed(batch.anchor) if time else batch.anchor, gamma, lam, kappa, weights, scope, loo)


def anchor_graph_state(
    batch: Trajectories, *, state: Tensor, gamma: float = 1.0, lam: float = 0.0, kappa: float = 1.0, time: bool = False
) -> Tensor:
    """Returns anchor-graph backup's credit with anchors by true state, with or without the step, float64 ``[N, T]``."""
    return backup_on(batch, timed(state) if time else state, gamma, lam, kappa)


def backup_on(
    batch: Trajectories,
    anchor: Tensor,
    gamma: float = 1.0,
    lam: float = 0.0,
    kappa: float = 1.0,
    weights: str = "counts",
    scope: str = "group",
    loo: str = "local",
) -> Tensor:
    """Returns anchor-graph backup's credit for given anchors, float64 ``[N, T]``.

    Args:
        batch: rollouts in groups.
        anchor: int64 ``[N, T]``, equal where steps share an anchor.
        gamma: discount in (0, 1].
        lam: λ in [0, 1]: 0 trusts the graph, 1 the rollout's own return.
        kappa: κ ≥ 0: how many visits the baseline carried over from the previous step is worth.
        weights: ``counts`` (observed shares) or ``policy`` (the policy's probabilities, renormalised over tried actions).
        scope: ``group``, or ``context`` to share anchors among all groups of one context.
        loo: V̂_{−i} leaves out rollout i's own steps at the anchor (``local``), or solves the graph again without rollout i
            (``full``: a reference to compare with, one solve per rollout).

    Raises:
        CreditEnvsError: for values out of range.
    """
    check_range("gamma", gamma, 0, 1, open_low=True)
    check_range("lam", lam, 0, 1)
    check_range("kappa", kappa, 0, 1e12)
    choices = {"weights": (weights, ("counts", "policy")), "scope": (scope, ("group", "context"))}
    for name, (chosen, allowed) in {**choices, "loo": (loo, ("local", "full"))}.items():
        if chosen not in allowed:
            raise CreditEnvsError(f"{name}={chosen!r}: expected one of {allowed}")
    mask = batch.mask
    to_go = returns_to_go(batch.reward, mask, gamma)
    graph = _evaluated(batch, anchor, to_go, gamma, lam, weights, scope)
    y, shared = graph.y, graph.shared
    others = torch.where(shared, graph.visitors[graph.ids] - 1, 0.0)
    if loo == "local":
        without = _without_own(batch, graph, weights)
    else:
        without = _without_rollout(batch, anchor, to_go, gamma, lam, weights, scope)

    owner = batch.group if scope == "group" else batch.context
    owner_ids, n_owners = compact(owner)
    size = group_count(owner_ids, n_owners)[owner_ids]
    first = to_go[:, 0]
    leave_one_out = (group_sum(first, owner_ids, n_owners)[owner_ids] - first) / (size - 1).clamp(min=1)

    trust, drive = to_go.new_zeros(mask.shape), to_go.new_zeros(mask.shape)
    total = others + kappa
    trust[mask] = torch.where(total > 0, kappa / total.clamp(min=1e-300), 1.0) / gamma
    drive[mask] = torch.where(total > 0, others / total.clamp(min=1e-300) * without, 0.0)
    drive[:, 1:] -= trust[:, 1:] * batch.reward[:, :-1]
    trust[:, 0], drive[:, 0] = 0.0, leave_one_out
    credit = -recurrence(trust, drive)
    credit[mask] += y
    noise = _ROUNDING * to_go.abs().max()  # what should cancel must not pass for a sign
    return torch.where(mask & (size > 1)[:, None] & (credit.abs() > noise), credit, 0.0)


class _Graph(NamedTuple):
    """The evaluated graph: anchors of steps ``[M]``, (anchor, rollout) pairs, visitors per anchor, and targets ``[M]``."""

    ids: Tensor
    n: int
    pair: Tensor
    n_pairs: int
    visitors: Tensor
    shared: Tensor
    y: Tensor


def _evaluated(
    batch: Trajectories, anchor: Tensor, to_go: Tensor, gamma: float, lam: float, weights: str, scope: str
) -> _Graph:
    """Finds the shared anchors and evaluates the policy on them."""
    mask = batch.mask
    ids, n = scoped(batch, anchor, scope)
    rollout, step = torch.nonzero(mask, as_tuple=True)
    pair, n_pairs = compact(ids * batch.n_rollouts + rollout)
    visitors = group_count(_first_of(ids, pair, n_pairs), n)
    shared = (visitors >= 2)[ids]
    following = _next_shared(mask, shared)
    has_next = following < len(ids)
    safe = following.clamp(max=len(ids) - 1)
    carry = torch.where(has_next, gamma ** (step[safe] - step).to(torch.float64), 0.0)
    flat = to_go[mask]
    inside = flat - torch.where(has_next, carry * flat[safe], 0.0)
    value = _solve(ids, n, shared, safe, inside, carry, _shares(batch, ids, n, weights), lam)
    return _Graph(ids, n, pair, n_pairs, visitors, shared, _targets(flat, value, ids, safe, inside, carry, lam))


def _without_rollout(
    batch: Trajectories, anchor: Tensor, to_go: Tensor, gamma: float, lam: float, weights: str, scope: str
) -> Tensor:
    """Returns V̂_{−i}(φ_t), float64 ``[M]``, from graphs solved without rollout i (0 if no other rollout was there)."""
    out = torch.zeros_like(to_go)
    top = int(anchor.max()) + 1
    owner = batch.group if scope == "group" else batch.context
    for i in range(batch.n_rollouts):
        rest = torch.nonzero((owner == owner[i]) & (torch.arange(len(owner), device=owner.device) != i)).squeeze(1)
        if not len(rest):
            continue
        others = batch.rows(rest)
        graph = _evaluated(others, anchor[rest], to_go[rest], gamma, lam, weights, scope)
        at = anchor[rest][others.mask]
        share = _shares(others, graph.ids, graph.n, weights)
        out[i] = group_sum(share * graph.y, at, top)[anchor[i]]
    return out[batch.mask]


def _first_of(ids: Tensor, pair: Tensor, n_pairs: int) -> Tensor:
    """Returns the anchor of each (anchor, rollout) pair."""
    out = torch.zeros(n_pairs, dtype=torch.int64, device=ids.device)
    out[pair] = ids
    return out


def _next_shared(mask: Tensor, shared: Tensor) -> Tensor:
    """Returns the flat index of the next step at a shared anchor in the same rollout, M where there is none; ``[M]``."""
    m = len(shared)
    place = torch.full(mask.shape, m, dtype=torch.int64, device=mask.device)
    place[mask] = torch.where(shared, torch.arange(m, device=mask.device), m)
    later = torch.full_like(place, m)
    later[:, :-1] = place[:, 1:].flip(1).cummin(dim=1).values.flip(1)
    return later[mask]


def _shares(batch: Trajectories, ids: Tensor, n: int, weights: str) -> Tensor:
    """Returns w, float64 ``[M]``: each step's share of its anchor's value; sums to one per anchor."""
    if weights == "counts":
        return 1 / group_count(ids, n)[ids]
    n_actions = batch.policy_table.shape[1]
    cell = ids * n_actions + batch.policy_action[batch.mask]
    chance = batch.log_prob[batch.mask].exp().clamp(min=_FLOOR)
    each = chance / group_count(cell, n * n_actions)[cell]
    return each / group_sum(each, ids, n)[ids]


def _solve(
    ids: Tensor, n: int, shared: Tensor, safe: Tensor, inside: Tensor, carry: Tensor, share: Tensor, lam: float
) -> Tensor:
    """Solves V̂ of the shared anchors, float64 ``[n]`` (0 elsewhere); at λ = 1 nothing reads it."""
    if lam == 1 or not bool(shared.any()):
        return inside.new_zeros(n)
    rows = torch.nonzero(shared).squeeze(1)
    k = len(rows)
    # Only shared anchors are unknowns; a carry of 0 makes the successor of a rollout's last one irrelevant.
    used = torch.zeros(n, dtype=torch.bool, device=ids.device).index_fill_(0, ids[rows], True)
    place = (used.cumsum(0) - 1).clamp(min=0)
    m = int(used.sum())
    number = torch.zeros(len(ids), dtype=torch.int64, device=ids.device)
    number[rows] = torch.arange(k, device=ids.device)
    at, upon = (place[x].cpu().numpy() for x in (ids[rows], ids[safe[rows]]))
    w, c, drive = (x.cpu().numpy() for x in (share[rows], carry[rows], inside[rows]))
    average = sparse.csr_array((w, (at, np.arange(k))), shape=(m, k))
    if lam == 0:
        onward = sparse.csr_array((w * c, (at, upon)), shape=(m, m))
        right = average @ drive
        solved: Floats = splu(sparse.csc_array(sparse.eye_array(m) - onward)).solve(right)
    else:
        up = sparse.csr_array(((1 - lam) * c, (np.arange(k), upon)), shape=(k, m))
        chained = sparse.csr_array((lam * c, (np.arange(k), number[safe[rows]].cpu().numpy())), shape=(k, k))
        system = sparse.block_array([[sparse.eye_array(k) - chained, -up], [-average, sparse.eye_array(m)]])
        solved = splu(sparse.csc_array(system)).solve(np.concatenate([drive, np.zeros(m)]))[k:]
    value = inside.new_zeros(n)
    value[used] = torch.from_numpy(solved).to(inside.device)
    return value


def _targets(
    to_go: Tensor, value: Tensor, ids: Tensor, safe: Tensor, inside: Tensor, carry: Tensor, lam: float
) -> Tensor:
    """Returns y of every step, float64 ``[M]``, following each rollout's chain of shared steps by doubling."""
    if lam == 1:
        return to_go
    y = inside + carry * (1 - lam) * value[ids[safe]]
    if lam == 0:
        return y
    hop, decay = safe, lam * carry
    while bool((decay != 0).any()):
        y = y + decay * y[hop]
        decay, hop = decay * decay[hop], hop[hop]
    return y


def _without_own(batch: Trajectories, graph: _Graph, weights: str) -> Tensor:
    """Returns V̂_{−i}(φ_t), float64 ``[M]``: the anchor's value without rollout i's own steps there (0 if not shared)."""
    ids, n, pair, n_pairs, _, shared, y = graph
    if weights == "counts":
        rest = group_sum(y, ids, n)[ids] - group_sum(y, pair, n_pairs)[pair]
        count = group_count(ids, n)[ids] - group_count(pair, n_pairs)[pair]
        return torch.where(shared, rest / count.clamp(min=1), 0.0)
    a = batch.policy_table.shape[1]
    action = batch.policy_action[batch.mask]
    at, own = ids * a + action, pair * a + action
    rest = group_sum(y, at, n * a).view(n, a)[ids] - group_sum(y, own, n_pairs * a).view(n_pairs, a)[pair]
    count = group_count(at, n * a).view(n, a)[ids] - group_count(own, n_pairs * a).view(n_pairs, a)[pair]
    chance = batch.policy_table[batch.policy_row[batch.mask]].clamp(min=_FLOOR) * (count > 0)
    mean = (chance * rest / count.clamp(min=1)).sum(dim=1) / chance.sum(dim=1).clamp(min=1e-300)
    return torch.where(shared, mean, 0.0)
