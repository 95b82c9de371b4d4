"""Anchor-graph backup at several resolutions, mixed by what the batch itself says of each (ours).

Values on a graph of anchors are wrong where anchors hide something: the remaining time, most of all. With the step in the
anchor nothing is hidden, and little is shared. In between, steps may be rounded down to multiples of a width. Which
resolution is best depends on the task, the policy and the number of rollouts; so does whether to trust the graph at all.

Let ĝ_c be the mean gradient that candidate c's credit gives, g the true one. The mix Σ_c w_c Â_c with w ≥ 0 that comes
closest to g minimises wᵀ S w − 2 wᵀ p with S_cd = E⟨ĝ_c, ĝ_d⟩ and p_c = ⟨E ĝ_c, g⟩, and both can be seen without knowing g:

    S_cd = ⟨ĝ_c, ĝ_d⟩
    p_c  = 1/(M(M−1)) Σ_{i≠j} ⟨g_c^(i), r^(j)⟩         groups i, j; r the mean of the two unbiased candidates

Unbiased are RLOO, and the return minus the leave-one-out mean at the anchor (λ = 1), whatever anchors hide; both have the
same p. The others, the graph (λ = 0) at widths 1, 4, 16, 64 and ∞, at 16 and ∞ with the policy's own weights as well, count
with their p less ``caution`` standard errors (jackknife over groups) of its difference from the unbiased ones: where the
batch cannot tell, the mix leans towards RLOO. Weights come from the other groups than those they are used on (5 folds), so
that they fit no noise, and are scaled to sum to one, because each candidate is an advantage. With fewer than four groups
nothing can be compared across groups, and all weights are equal.

Kin: stacking (Wolpert 1992; Breiman 1996, non-negative weights). A group's credit depends on the others, through w.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from credit_envs.credit.anchor_graph import backup_on
from credit_envs.errors import check_range
from credit_envs.sampling.statistics import compact
from credit_envs.sampling.trajectories import Trajectories

WIDTHS = (1, 4, 16, 64)
"""Numbers of steps that share an anchor, beside all of them."""

POLICY_WIDTHS = (16, None)
"""Widths at which values are also averaged with the policy's probabilities instead of observed shares."""

UNBIASED = 2
"""The first candidates, whose gradients are unbiased."""

_FOLDS = 5
_FEWEST = 4
_RIDGE = 1e-3


def anchor_graph_mix(batch: Trajectories, gamma: float = 1.0, kappa: float = 1.0, caution: float = 0.15) -> Tensor:
    """Returns the mix's credit with anchors by exact observation, float64 ``[N, T]``; see :func:`mix_on`."""
    return mix_on(batch, batch.anchor, gamma, kappa, caution)


def mix_on(
    batch: Trajectories, anchor: Tensor, gamma: float = 1.0, kappa: float = 1.0, caution: float = 0.15
) -> Tensor:
    """Returns the mix's credit for given anchors, float64 ``[N, T]``.

    Args:
        batch: rollouts in groups.
        anchor: int64 ``[N, T]``, equal where steps share an anchor.
        gamma: discount in (0, 1].
        kappa: κ of :func:`~credit_envs.credit.anchor_graph.backup_on`.
        caution: standard errors by which biased candidates are taken to agree less than they seem to.

    Raises:
        CreditEnvsError: for values out of range.
    """
    check_range("gamma", gamma, 0, 1, open_low=True)
    check_range("caution", caution, 0, 100)
    credit = candidates(batch, anchor, gamma, kappa)
    group, groups = compact(batch.group)
    fold, weights = mixing_weights(batch, credit, caution)
    each = weights[fold[group]] if groups >= _FEWEST else weights.expand(len(group), -1)
    return torch.einsum("nc,cnt->nt", each, credit)


def candidates(batch: Trajectories, anchor: Tensor, gamma: float, kappa: float) -> Tensor:
    """Returns the credit of every candidate, float64 ``[C, N, T]``, the unbiased ones first."""
    longest = batch.mask.shape[1]
    widths: list[int | None] = [*(width for width in WIDTHS if width < longest), None]
    alone = batch.node - batch.node.min()
    found = [backup_on(batch, x, gamma, lam=1.0, kappa=kappa) for x in (anchor, alone)]
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


def mixing_weights(batch: Trajectories, credit: Tensor, caution: float = 0.15) -> tuple[Tensor, Tensor]:
    """Returns the fold of each group, int64 ``[groups]``, and the weights used on each fold, float64 ``[folds, C]``.

    Weights are non-negative and sum to one.

    Args:
        batch: rollouts in groups.
        credit: float64 ``[C, N, T]``, the unbiased candidates first.
        caution: see :func:`mix_on`.
    """
    n, mask, actions = len(credit), batch.mask, batch.policy_table.shape[1]
    group, groups = compact(batch.group)
    even = torch.full((n,), 1 / n, dtype=torch.float64, device=mask.device)
    if groups < _FEWEST:
        return torch.zeros_like(group[:groups]), even[None]
    row, owner = batch.policy_row[mask], group[:, None].expand_as(mask)[mask]
    pair, pairs = compact(owner * len(batch.policy_table) + row)
    pair_row, pair_group = torch.zeros((2, pairs), dtype=torch.int64, device=mask.device)
    pair_row[pair], pair_group[pair] = row, owner
    cell = pair * actions + batch.policy_action[mask]
    taken = credit.new_zeros(n, pairs * actions).index_add_(1, cell, credit[:, mask]).view(n, pairs, actions)
    each = taken - taken.sum(dim=2, keepdim=True) * batch.policy_table[pair_row]
    reference = each[:UNBIASED].mean(dim=0)

    def by_group(products: Tensor) -> Tensor:
        return products.new_zeros(n, groups).index_add_(1, pair_group, products.sum(dim=2))

    same = by_group(each * reference)
    folds = min(_FOLDS, groups // 2)
    fold = torch.arange(groups, device=mask.device) % folds
    weights = []
    for f in range(folds):
        rest = fold != f
        use = rest[pair_group]
        total = each.new_zeros(n, *batch.policy_table.shape).index_add_(1, pair_row[use], each[:, use])
        goal = total[:UNBIASED].mean(dim=0)
        both = (by_group(each * goal[pair_row]) + by_group(reference * total[:, pair_row])) / 2 - same
        count = int(rest.sum())
        flat = total.view(n, -1)
        weights.append(_nearest(flat @ flat.T / count**2, _agreement(both[:, rest] / (count - 1), caution), even))
    return fold, torch.stack(weights)


def _agreement(each: Tensor, caution: float) -> Tensor:
    """Estimates p from what each group contributes ``[C, groups]``: one value for the unbiased, cautious for the others."""
    mean = each[:UNBIASED].mean(dim=0)
    error = 2 * (each - mean).std(dim=1) / each.shape[1] ** 0.5
    p: Tensor = each.mean(dim=1) - caution * error
    p[:UNBIASED] = mean.mean()
    return p


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
