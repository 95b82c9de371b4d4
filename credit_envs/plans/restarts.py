"""Restarts: a part of the groups starts where the returns of earlier rollouts parted most (a curriculum of states).

Some groups start as usual. Each anchor that they visited at least twice has a spread, the deviation of the returns-to-go
of its visits in the group. The other groups start from the anchors with the largest spread: each enters the state of one
visit, drawn at random, and plays `group_size` rollouts on from there; steps before are masked. Entering costs what the
sampler charges for restoring a state, once per rollout.

What it does to the gradient: a restarted group is on-policy and compares rollouts from one state, so what it gives is the
policy gradient of V_t(s), with (n−1)/n for a mean baseline (checked in the tests). But states are weighed by where
returns part, not by how often the policy is there, so the sum is the gradient of the return from another distribution of
starts, not of J. Such a distribution has the same optimum where the policy is a table (Kakade and Langford 2002, "Approximately
optimal approximate reinforcement learning", restart distributions). Returns at an anchor also part by luck and by hidden
state, which no choice of the agent's is to blame for. Ours, after Florensa et al. 2017, arXiv 1707.05300 (starts of
intermediate difficulty).
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.errors import check_range
from credit_envs.plans.joining import joined
from credit_envs.sampling.anchors import scoped
from credit_envs.sampling.draws import draws, mix_words, streams
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.statistics import group_count, group_sum, returns_to_go
from credit_envs.sampling.trajectories import Sample
from credit_envs.table.draws import Purpose

_ROUNDING = 1e-12
_NEVER = 1 << 62
_VISIT = 0x76697369
"""Word that keeps these draws apart from a search's."""


def restarts(sampler: Sampler, groups: int, group_size: int, share: float = 0.5) -> Sample:
    """Draws groups from the start, then groups from inside them.

    Args:
        sampler: metered; restarts are charged as it says.
        groups: number of groups of both kinds; at least one starts as usual.
        group_size: rollouts per group.
        share: part of the groups that is restarted, in [0, 1).

    Returns:
        ``groups · group_size`` rows, the usual groups first. A group whose earlier rollouts never met again with
        different returns starts from the start.

    Raises:
        CreditEnvsError: for arguments out of range, or where states cannot be restored.
    """
    check_range("groups", groups, 1, 1 << 40, integer=True)
    check_range("share", share, 0, 1)
    again = min(int(share * groups), groups - 1)
    first = sampler.groups(groups - again, group_size)
    if not again:
        return first
    rollout, step = where_returns_part(first, again, sampler.seed)
    rollout, step = rollout.repeat_interleave(group_size), step.repeat_interleave(group_size)
    forked = sampler.branches(first, rollout, step)
    batch = forked.trajectories
    own = torch.arange(batch.mask.shape[1], device=step.device) >= step[:, None]
    row = torch.arange(len(step), device=step.device)
    fresh = batch.replace(mask=batch.mask & own, group=row // group_size, tree=row)
    return joined([first, Sample(fresh, forked.truth)])


def where_returns_part(sample: Sample, n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Chooses states inside rollouts: the anchors of each group in the order of their spread, groups taking turns.

    Args:
        sample: rollouts in groups.
        n: number of states.
        seed: first word of the draws that choose among the visits of an anchor.

    Returns:
        ``(rollout, step)``, int64 ``[n]``; step 0 of a group's first rollout where it has no anchor left.
    """
    batch, device = sample.trajectories, sample.trajectories.mask.device
    anchor, n_anchors = scoped(batch, batch.anchor)
    rollout, step = torch.nonzero(batch.mask, as_tuple=True)
    to_go = returns_to_go(batch.reward, batch.mask, 1.0)[batch.mask]
    count = group_count(anchor, n_anchors)
    apart = to_go - (group_sum(to_go, anchor, n_anchors) / count)[anchor]
    spread = (group_sum(apart**2, anchor, n_anchors) / count).sqrt()
    owner = torch.zeros(n_anchors, dtype=torch.int64, device=device)
    owner[anchor] = batch.group[rollout]

    # One visit per anchor: the one with the smallest draw; visits at the start don't count.
    key = mix_words(streams(seed, Purpose.SEARCH, batch.context, sample.truth.rollout), _VISIT)
    luck = torch.where(step > 0, draws(key[rollout], step), _NEVER)
    least = torch.full((n_anchors,), _NEVER, dtype=torch.int64, device=device).scatter_reduce(0, anchor, luck, "amin")
    visit = torch.zeros(n_anchors, dtype=torch.int64, device=device)
    hit = torch.nonzero((luck == least[anchor]) & (step > 0)).squeeze(1)
    visit[anchor[hit]] = hit

    useful = (spread > _ROUNDING * to_go.abs().max()) & (least < _NEVER)
    rank_first = torch.argsort(torch.where(useful, spread, -1.0), descending=True, stable=True)
    ranked = rank_first[torch.argsort(owner[rank_first], stable=True)]
    size = group_count(owner, batch.n_groups).to(torch.int64)
    number = torch.arange(n, device=device)
    group, rank = number % batch.n_groups, number // batch.n_groups
    begin = size.cumsum(0) - size
    pick = ranked[(begin[group] + rank).clamp(max=n_anchors - 1)]
    there = (rank < size[group]) & useful[pick]
    lead = torch.full((batch.n_groups,), batch.n_rollouts, device=device, dtype=torch.int64)
    lead = lead.scatter_reduce(0, batch.group, torch.arange(batch.n_rollouts, device=device), "amin")
    return torch.where(there, rollout[visit[pick]], lead[group]), torch.where(there, step[visit[pick]], 0)
