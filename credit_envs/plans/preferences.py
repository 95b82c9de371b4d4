"""Preference pairs from a process reward model: two actions drawn at stored states, the one of higher Q_φ preferred.

The states are those that rollouts of the policy passed through, each step counting once. Actions that are equal, or that
the model values alike (within 1e-9, as means of equal numbers differ in their last bits), make no pair. So whatever is added
to Q_φ at a state changes nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.errors import check_range
from credit_envs.sampling.draws import draws, streams
from credit_envs.sampling.pairs import pairs, redrawn
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.statistics import compact, group_count
from credit_envs.sampling.tabular import ActionTable, keys
from credit_envs.sampling.trajectories import Sample
from credit_envs.table.draws import Purpose

_ROUNDING = 1e-9


def preferences(
    sampler: Sampler,
    sample: Sample,
    model: ActionTable,
    identity: str,
    states: int = 8,
    margin: float = 0.0,
    *,
    narrow: bool = False,
) -> Sample:
    """Draws two actions at each stored state and pairs them by the model.

    Args:
        sampler: where the sample came from; charged two policy calls per state and no environment step.
        sample: the rollouts.
        model: Q_φ.
        identity: the rule behind the model's keys.
        states: at most this many states per rollout of a group, drawn uniformly among the group's steps.
        margin: values at most this far apart make no pair.
        narrow: rows of one column, see :func:`~credit_envs.sampling.pairs.single_steps`.

    Returns:
        Rows 2p (preferred) and 2p + 1 (rejected), groups adjacent. A group without pairs keeps one that is masked out, so
        that it still counts as a group whose gradient is zero.

    Raises:
        CreditEnvsError: for an option out of range.
    """
    check_range("states", states, 1, 1 << 20, integer=True)
    check_range("margin", margin, 0, float("inf"))
    batch = sample.trajectories
    rollout, step = _thinned(sampler, sample, states)
    both = redrawn(sampler, sample, rollout, step, 2)
    key = keys(batch, identity)[rollout, step]
    value = torch.gather(model.rows(key), 1, both)
    gap = value[:, 0] - value[:, 1]
    differ = (both[:, 0] != both[:, 1]) & (gap.abs() > max(margin, _ROUNDING))
    group, n_groups = compact(batch.group[rollout])
    place = torch.arange(len(group), device=group.device)
    # The first state of a group without pairs stands for the group.
    first = torch.full((n_groups,), len(group), device=group.device).scatter_reduce(0, group, place, "amin")
    empty = torch.ones(n_groups, dtype=torch.bool, device=group.device).index_fill_(0, group[differ], False)
    kept = torch.nonzero(differ.index_fill(0, first[empty], True)).squeeze(1)
    better = torch.where(gap > 0, both[:, 0], both[:, 1])[kept]
    worse = torch.where(gap > 0, both[:, 1], both[:, 0])[kept]
    made = pairs(sampler, sample, rollout[kept], step[kept], better, worse, narrow=narrow)
    rows = made.trajectories
    mask = rows.mask & differ[kept].repeat_interleave(2)[:, None]
    return Sample(rows.replace(mask=mask), made.truth)


def _thinned(sampler: Sampler, sample: Sample, states: int) -> tuple[Tensor, Tensor]:
    """Draws steps uniformly from each group, at most ``states`` per rollout of it; sorted by group and rollout."""
    batch = sample.trajectories
    order = torch.argsort(batch.group, stable=True)
    who, step = torch.nonzero(batch.mask[order], as_tuple=True)
    rollout = order[who]
    group, n = compact(batch.group)
    allowed = group_count(group, n).long() * states
    owner = group[rollout]
    luck = draws(streams(sampler.seed, Purpose.JUDGE, batch.context[rollout], sample.truth.rollout[rollout]), step)
    ranked = torch.argsort(luck)
    ranked = ranked[torch.argsort(owner[ranked], stable=True)]
    steps = torch.bincount(owner, minlength=n)
    rank = torch.empty_like(ranked)
    rank[ranked] = torch.arange(len(ranked), device=ranked.device) - (steps.cumsum(0) - steps)[owner[ranked]]
    kept = rank < allowed[owner]
    return rollout[kept], step[kept]
