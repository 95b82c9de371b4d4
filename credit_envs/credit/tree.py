"""Tree-GRPO: a leaf's return against its own tree and against all trees of the prompt.

    Â_intra(j) = (R_j − mean of its tree)   / (std + ε)
    Â_inter(j) = (R_j − mean of its prompt) / (std + ε)        all leaves of all trees
    Â(j)       = Â_intra(j) + Â_inter(j)

One number for everything on the way from the root to a leaf. Leaves are rows, so a step that m leaves share is trained m
times and gets Σ Â(leaf) = m · (mean below − mean of the tree)/σ + the same for the prompt: credit by repetition. Without
forks it is GRPO, with one tree twice GRPO.

As a gradient it is biased even without the division, because siblings in the baseline share the steps before the fork: in
a tree of m leaves that last T steps each, N = m − 1 of them forked once, step t enters the intra part with weight

    (m − 1) − (1/m) · (2N q_t + N(N−1) q_t²),        q_t = (T−1−t)/T

per tree instead of m, so that early steps count least (checked in the tests, and likewise for the inter part).

Ours, beside it: ``tree_value`` reads a credit per step off the tree. With V̂(node) = mean return of the leaves below,

    Â_t = V̂(child) − V̂(parent)

where the first step's parent is the prompt, whose trees all start in one state. It sums along a path to what Dr.GRPO gives
the leaf, and puts all of it where the tree branches. ``leave_one_out`` takes a child's own leaves out of its parent's
mean, which makes it an unbiased estimate of the advantage wherever siblings were forked by chance alone. ``along`` gives
a step that does not branch what the last branching before it got, so that the credit of a stretch of the tree is shared by
its steps.

Departures: a tree of one leaf has Â_intra = 0; ``lone="value"`` gives it its own return, as the released code does.
Source: Ji et al. 2025, arXiv 2509.21240 (ICLR 2026), §3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.credit.grpo import grpo
from credit_envs.sampling.statistics import centred, compact, group_count, group_sum
from credit_envs.sampling.trajectories import Trajectories

_ROUNDING = 1e-12


def tree_intra(batch: Trajectories, norm_by_std: bool = True, epsilon: float = 1e-6, lone: str = "zero") -> Tensor:
    """Returns the credit inside trees, float64 ``[N, T]``.

    Args:
        batch: leaves as rows.
        norm_by_std: divide by the tree's deviation.
        epsilon: added to the deviation.
        lone: ``zero`` or ``value``, for trees of one leaf.
    """
    score = centred(batch.returns, batch.tree, batch.n_trees, norm_by_std=norm_by_std, epsilon=epsilon, lone=lone)
    return score[:, None] * batch.mask


def tree_inter(batch: Trajectories, norm_by_std: bool = True, epsilon: float = 1e-6) -> Tensor:
    """Returns the credit among all leaves of a prompt, float64 ``[N, T]``: GRPO over the leaves."""
    return grpo(batch, norm_by_std, epsilon)


def tree_grpo(batch: Trajectories, norm_by_std: bool = True, epsilon: float = 1e-6, lone: str = "zero") -> Tensor:
    """Returns Tree-GRPO's credit, float64 ``[N, T]``: the sum of both; arguments as for :func:`tree_intra`."""
    return tree_intra(batch, norm_by_std, epsilon, lone) + tree_inter(batch, norm_by_std, epsilon)


def tree_value(batch: Trajectories, leave_one_out: bool = False, along: bool = False) -> Tensor:
    """Returns V̂(child) − V̂(parent) of every step, float64 ``[N, T]`` (ours).

    Args:
        batch: leaves as rows.
        leave_one_out: take the child's own leaves out of the parent's mean; 0 where nothing is left.
        along: whether steps up to the next branching share the credit.
    """
    mask = batch.mask
    apart = centred(batch.returns, batch.group, batch.n_groups)
    ids, n = compact(batch.node[mask])
    per_step = apart[:, None].expand_as(mask)[mask]
    size = group_count(ids, n)
    value, below = torch.zeros_like(batch.reward), torch.zeros_like(batch.reward)
    value[mask], below[mask] = (group_sum(per_step, ids, n) / size)[ids], size[ids]
    prompt = group_count(batch.group, batch.n_groups)
    parent, leaves = torch.zeros_like(value), torch.zeros_like(below)
    parent[:, 1:], leaves[:, 1:] = value[:, :-1], below[:, :-1]
    first = mask.clone()
    first[:, 1:] &= ~mask[:, :-1]
    parent = torch.where(first, 0.0, parent)
    leaves = torch.where(first, prompt[batch.group][:, None], leaves)
    scale = leaves / (leaves - below).clamp(min=1) if leave_one_out else 1.0
    noise = _ROUNDING * apart.abs().max()  # what should cancel must not pass for a sign
    branched = mask & (leaves > below)
    out = torch.where(branched & ((value - parent).abs() > noise), scale * (value - parent), 0.0)
    if not along:
        return out
    column = torch.arange(mask.shape[1], device=mask.device)
    place = torch.where(branched, column, 0).cummax(dim=1).values
    return torch.where(mask, out.gather(1, place), 0.0)
