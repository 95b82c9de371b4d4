"""Anchor-graph backup at several resolutions, mixed by what the batch itself says of each (ours).

Values on a graph of anchors are wrong where anchors hide something: the remaining time, most of all. With the step in the
anchor nothing is hidden, and little is shared. In between, steps may be rounded down to multiples of a width. Which
resolution is best depends on the task, the policy and the number of rollouts; so does whether to trust the graph at all.

Let ĝ_c be the mean gradient that candidate c's credit gives, g the true one. The mix Σ_c w_c Â_c with w ≥ 0 that comes
closest to g minimises wᵀ S w − 2 wᵀ p with S_cd = E⟨ĝ_c, ĝ_d⟩ and p_c = ⟨E ĝ_c, g⟩, and both can be seen without knowing g:

    S_cd = ⟨ĝ_c, ĝ_d⟩                                              on this batch
    p_c  = 1/(M(M−1)) Σ_{i≠j} ⟨g_c^(i), r^(j)⟩                     groups i, j; r an unbiased reference

The reference is the return minus the leave-one-out mean at the anchor (λ = 1), unbiased whatever anchors hide. Candidates
are it, RLOO, and the graph (λ = 0) at widths 1, 4, 16, 64 and ∞, at 16 and ∞ with the policy's own weights as well. RLOO is
among them, so that with few repeats little can be lost. Weights are then scaled to sum to one, because each candidate is an
advantage. With fewer than four groups nothing can be compared across groups, and all weights are equal.

Kin: stacking (Wolpert 1992; Breiman 1996, non-negative weights). A group's credit depends on the other groups, through w.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from credit_envs.credit.anchor_graph import backup_on
from credit_envs.credit.grpo import rloo
from credit_envs.errors import check_range
from credit_envs.sampling.statistics import compact
from credit_envs.sampling.trajectories import Trajectories

WIDTHS = (1, 4, 16, 64)
"""Numbers of steps that share an anchor, beside all of them."""

POLICY_WIDTHS = (16, None)
"""Widths at which values are also averaged with the policy's probabilities instead of observed shares."""

_FEWEST = 4
_RIDGE = 1e-3


def anchor_graph_mix(batch: Trajectories, gamma: float = 1.0, kappa: float = 1.0) -> Tensor:
    """Returns the mix's credit with anchors by exact observation, float64 ``[N, T]``; see :func:`mix_on`."""
    return mix_on(batch, batch.anchor, gamma, kappa)


def mix_on(batch: Trajectories, anchor: Tensor, gamma: float = 1.0, kappa: float = 1.0) -> Tensor:
    """Returns the mix's credit for given anchors, float64 ``[N, T]``.

    Args:
        batch: rollouts in groups.
        anchor: int64 ``[N, T]``, equal where steps share an anchor.
        gamma: discount in (0, 1].
        kappa: κ of :func:`~credit_envs.credit.anchor_graph.backup_on`.

    Raises:
        CreditEnvsError: for values out of range.
    """
    check_range("gamma", gamma, 0, 1, open_low=True)
    credit = candidates(batch, anchor, gamma, kappa)
    return torch.einsum("c,cnt->nt", mixing_weights(batch, credit), credit)


def candidates(batch: Trajectories, anchor: Tensor, gamma: float, kappa: float) -> Tensor:
    """Returns the credit of every candidate, float64 ``[C, N, T]``: first the unbiased reference, then RLOO."""
    longest = batch.mask.shape[1]
    widths: list[int | None] = [*(width for width in WIDTHS if width < longest), None]
    found = [backup_on(batch, anchor, gamma, lam=1.0, kappa=kappa), rloo(batch)]
    for width in widths:
        at = rounded(anchor, width)
        found.append(backup_on(batch, at, gamma, kappa=kappa))
        if width in POLICY_WIDTHS:
            found.append(backup_on(batch, at, gamma, kappa=kappa, weights="policy"))
    return torch.stack(found)


def rounded(anchor: Tensor, width: int | None) -> Tensor:
    """Makes the step, rounded down to a multiple of a width, part of the anchor; None leaves it out. int64 ``[N, T]``."""
    if width is None:
        return anchor
    block = torch.arange(anchor.shape[1], device=anchor.device) // width
    return anchor * (int(block[-1]) + 1) + block


def mixing_weights(batch: Trajectories, credit: Tensor) -> Tensor:
    """Returns the weights of candidates, float64 ``[C]``, non-negative with sum one.

    Args:
        batch: rollouts in groups.
        credit: float64 ``[C, N, T]``, the unbiased reference first.
    """
    n = len(credit)
    mask, actions = batch.mask, batch.policy_table.shape[1]
    group, groups = compact(batch.group)
    even = torch.full((n,), 1 / n, dtype=torch.float64, device=mask.device)
    if groups < _FEWEST:
        return even
    row = batch.policy_row[mask]
    pair, pairs = compact(group[:, None].expand_as(mask)[mask] * len(batch.policy_table) + row)
    pair_row = torch.zeros(pairs, dtype=torch.int64, device=mask.device)
    pair_row[pair] = row
    cell = pair * actions + batch.policy_action[mask]
    taken = credit.new_zeros(n, pairs * actions).index_add_(1, cell, credit[:, mask]).view(n, pairs, actions)
    each = taken - taken.sum(dim=2, keepdim=True) * batch.policy_table[pair_row]
    total = each.new_zeros(n, *batch.policy_table.shape).index_add_(1, pair_row, each).view(n, -1)
    each = each.view(n, -1)
    products = total @ total.T
    agreement = (products[:, 0] - each @ each[0]) / (groups * (groups - 1))
    return _nearest(products / groups**2, agreement, even)


def _nearest(square: Tensor, agreement: Tensor, even: Tensor) -> Tensor:
    """Minimises wᵀ S w − 2 wᵀ p over w ≥ 0, on candidates scaled to unit size; a small ridge keeps copies apart."""
    size = square.diagonal().sqrt().cpu().numpy()
    if not np.any(size > 0):
        return even
    use = size > 0
    scaled = square.cpu().numpy()[np.ix_(use, use)] / np.outer(size[use], size[use])
    root = np.linalg.cholesky(scaled + _RIDGE * np.eye(int(use.sum())))
    found = np.zeros(len(size))
    found[use] = nnls(root.T, np.linalg.solve(root, agreement.cpu().numpy()[use] / size[use]))[0] / size[use]
    if found.sum() <= 0:
        return even
    return torch.from_numpy(found / found.sum()).to(even)
