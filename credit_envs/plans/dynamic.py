"""DAPO's dynamic sampling: groups whose rollouts all fare alike are thrown away and replaced.

A group stays iff std(acc) > 0, with acc = the return, or whether the return exceeds a threshold; further batches are
drawn until B groups stay. Dropped groups are paid for. For success probability p and n rollouts per group a kept one
costs on average

    1 / (1 − pⁿ − (1−p)ⁿ)

groups. Groups with equal returns have zero GRPO credit anyway, so for mean-centred credit the expected gradient is that
of plain groups times the same factor: what changes is what an update holds, not where it points. The filter looks at acc,
the advantage at the reward, which a penalty may have changed since.

Departures: each try draws as many groups as are still missing, so that none is drawn in vain (the released recipe draws
three batches at a time: ``oversample=3``); when the tries run out the last places go to dropped groups, where the
released code stops with an error. Source: Yu et al. 2025, arXiv 2503.14476, §3.2; verl ``recipe/dapo``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.errors import check_range
from credit_envs.plans.joining import chosen, joined
from credit_envs.plans.uncertainty import uncertainty
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Sample, Trajectories


def informative(batch: Trajectories, threshold: float | None = None) -> Tensor:
    """Returns which groups have std(acc) > 0, bool ``[groups]``.

    Args:
        batch: rollouts in groups.
        threshold: acc is whether a return exceeds it (default: acc is the return).
    """
    returns = batch.returns
    return uncertainty(batch, returns if threshold is None else (returns > threshold).to(returns.dtype)) > 0


def expected_overhead(p: float, group_size: int) -> float:
    """Returns the expected number of groups drawn per group kept, at success probability p; infinite at 0 and 1."""
    check_range("p", p, 0, 1)
    kept = 1 - p**group_size - (1 - p) ** group_size
    return 1 / kept if kept > 0 else float("inf")


def dynamic_sampling(
    sampler: Sampler,
    groups: int,
    group_size: int,
    tries: int = 10,
    oversample: int = 0,
    threshold: float | None = None,
) -> Sample:
    """Draws groups until enough of them are informative.

    Args:
        sampler: metered; dropped groups are charged too.
        groups: number of groups B to return.
        group_size: rollouts per group; with one rollout no group can be informative, so all are kept.
        tries: batches drawn at most.
        oversample: groups per try, as a multiple of B (0: what is still missing).
        threshold: see :func:`informative`.

    Raises:
        CreditEnvsError: for arguments out of range.
    """
    check_range("tries", tries, 1, 1 << 20, integer=True)
    check_range("oversample", oversample, 0, 1 << 20, integer=True)
    check_range("groups", groups, 1, 1 << 40, integer=True)
    kept: list[Sample] = []
    spare: list[Sample] = []
    missing, unfilled = groups, groups
    for _ in range(tries):
        drawn = sampler.groups(oversample * groups if oversample else missing, group_size)
        batch = drawn.trajectories
        good = (
            informative(batch, threshold)
            if group_size > 1
            else torch.ones(batch.n_groups, dtype=torch.bool, device=batch.mask.device)
        )
        own, other = torch.nonzero(good).squeeze(1)[:missing], torch.nonzero(~good).squeeze(1)[:unfilled]
        kept += [chosen(drawn, own)] if len(own) else []
        spare += [chosen(drawn, other)] if len(other) else []
        missing, unfilled = missing - len(own), unfilled - len(other)
        if not missing:
            break
    if missing:
        kept.append(chosen(joined(spare), torch.arange(missing, device=good.device)))
    return joined(kept)
