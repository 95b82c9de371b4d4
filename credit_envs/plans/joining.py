"""Samples put below each other as further groups, and groups picked out of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from credit_envs.sampling.statistics import compact
from credit_envs.sampling.trajectories import Sample, stack


def joined(samples: Sequence[Sample]) -> Sample:
    """Puts samples below each other; the numbers of groups and trees go on from one sample to the next.

    Args:
        samples: at least one, from one sampler.
    """
    numbered, group, tree = [], 0, 0
    for sample in samples:
        batch = sample.trajectories
        numbered.append(Sample(batch.replace(group=batch.group + group, tree=batch.tree + tree), sample.truth))
        group, tree = group + batch.n_groups, tree + batch.n_trees
    return stack(numbered)


def chosen(sample: Sample, group: Tensor) -> Sample:
    """Returns some groups of a sample whose groups are equally large and adjacent, numbered anew in the order given.

    Args:
        sample: rollouts in groups.
        group: int64 ``[B]``, numbers of groups, each once.
    """
    batch = sample.trajectories
    size = batch.n_rollouts // batch.n_groups
    rows = group[:, None] * size + torch.arange(size, device=group.device)
    kept = sample.rows(rows.flatten())
    number = torch.arange(len(group), device=group.device).repeat_interleave(size)
    return Sample(kept.trajectories.replace(group=number, tree=compact(kept.trajectories.tree)[0]), kept.truth)
