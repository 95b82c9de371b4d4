"""HGPO: groups of steps that share their last k anchors, for several k at once.

    φ^k_t = the last k anchors of the rollout, the present one included,   k = 1 … K + 1 (not before the k-th step)
    a_k   = (G_t − mean over φ^k of G) / (std over φ^k of G + ε)           std with ddof = 0
    Â_t   = Σ_k w_k a_k / Σ_k w_k over the a_k that are not zero,          w_k = (k + 1)^α

Steps are compared under more and more of the history that a policy with memory saw: deep groups are small and alike, shallow
ones large and mixed. A group of one has nothing to compare with and drops out. ``base`` adds the episode's group advantage
as k = 0; by the released default there is none. That exact zeros drop out is the released code's rule: a return that
happens to be its group's mean leaves the vote to the other levels.
Departures: float64, and what rounding leaves of a zero counts as zero. Source: He et al. 2026, arXiv 2602.22817, §4;
released code verl-agent ``recipe/hgpo``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.errors import check_range
from credit_envs.sampling.anchors import scoped
from credit_envs.sampling.packing import Packing, earned
from credit_envs.sampling.statistics import centred, compact
from credit_envs.sampling.trajectories import Trajectories

_ROUNDING = 1e-12


def hgpo_on(
    batch: Trajectories,
    anchor: Tensor,
    gamma: float = 0.95,
    history: int = 2,
    alpha: float = 1.0,
    norm_by_std: bool = True,
    base: bool = False,
    epsilon: float = 1e-6,
) -> Tensor:
    """Returns HGPO's credit for given anchors, float64 ``[N, T]``.

    Args:
        batch: rollouts in groups.
        anchor: int64 ``[N, T]``, equal where steps of a group share an anchor.
        gamma: discount of the step returns, in [0, 1].
        history: K ≥ 0, steps of history in the deepest key.
        alpha: α ≥ 0; 0 weighs all levels alike.
        norm_by_std: divide by deviations.
        base: add the episode's group advantage as level 0.
        epsilon: added to deviations.
    """
    check_range("gamma", gamma, 0, 1)
    check_range("history", history, 0, 1 << 20, integer=True)
    check_range("alpha", alpha, 0, 100)
    packing = Packing(batch.mask)
    taken = packing.mask
    to_go = earned(packing, batch.reward, gamma)
    own, n = torch.zeros_like(anchor), 0
    own[taken], n = scoped(batch, anchor)
    vote, weight = torch.zeros_like(to_go), torch.zeros_like(to_go)

    def add(level: int, deep: Tensor, credit: Tensor) -> None:
        counts = (credit.abs() > _ROUNDING * credit.abs().max()).to(torch.float64) * (level + 1) ** alpha
        vote[deep] += counts * credit
        weight[deep] += counts

    if base:
        score = centred(batch.returns, batch.group, batch.n_groups, norm_by_std=norm_by_std, epsilon=epsilon)
        add(0, taken, score[:, None].expand_as(taken)[taken])
    key, column = own, torch.arange(taken.shape[1], device=taken.device)
    for level in range(1, history + 2):
        deep = taken & (column >= level - 1)
        if not bool(deep.any()):
            break
        if level > 1:
            longer = own * n
            longer[:, 1:] += key[:, :-1]
            flat, n = compact(longer[deep])
            key = torch.zeros_like(own)
            key[deep] = flat
        add(level, deep, centred(to_go[deep], key[deep], n, norm_by_std=norm_by_std, epsilon=epsilon, ddof=0))
    return packing.unpack(torch.where(weight > 0, vote / weight.clamp(min=1e-300), 0.0))


def hgpo(
    batch: Trajectories,
    gamma: float = 0.95,
    history: int = 2,
    alpha: float = 1.0,
    norm_by_std: bool = True,
    base: bool = False,
) -> Tensor:
    """Returns HGPO's credit with anchors by exact observation, float64 ``[N, T]``; see :func:`hgpo_on`."""
    return hgpo_on(batch, batch.anchor, gamma, history, alpha, norm_by_std, base)
