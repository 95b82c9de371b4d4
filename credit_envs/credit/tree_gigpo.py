"""Tree-GRPO with GiGPO's step term, in which a step that several leaves share counts once.

    Â_{j,t} = Â_tree(j) + ω · (Ḡ(node) − mean over the nodes at its anchor of Ḡ) / F,    Ḡ(node) = mean over leaves below of G_t

Leaves are rows, so GiGPO by itself would find one and the same step once per leaf below it at an anchor and take these
copies for rollouts that agree: the baseline of an anchor would be dragged towards steps near the root. Without forks it
is GiGPO with GRPO's episode term. The rule is a reconstruction of how the two would be combined (specification, section
29); one switch decides on the division in both terms. Sources: Ji et al. 2025, arXiv 2509.21240; Feng et al. 2025, arXiv
2505.10978.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.credit.tree import tree_grpo
from credit_envs.errors import check_range
from credit_envs.sampling.anchors import scoped
from credit_envs.sampling.statistics import centred, compact, group_count, group_sum, returns_to_go
from credit_envs.sampling.trajectories import Trajectories


def tree_gigpo(
    batch: Trajectories, gamma: float = 0.95, omega: float = 1.0, norm_by_std: bool = True, epsilon: float = 1e-6
) -> Tensor:
    """Returns the combined credit, float64 ``[N, T]``.

    Args:
        batch: leaves as rows.
        gamma: discount of the step returns, in [0, 1].
        omega: weight of the step term; 0 leaves Tree-GRPO.
        norm_by_std: divide both terms by their deviations.
        epsilon: added to deviations.

    Raises:
        CreditEnvsError: for a discount out of range.
    """
    check_range("gamma", gamma, 0, 1)
    out = tree_grpo(batch, norm_by_std, epsilon)
    if not omega:
        return out
    anchor, n_anchors = scoped(batch, batch.anchor)
    node, n = compact(batch.node[batch.mask])
    to_go = returns_to_go(batch.reward, batch.mask, gamma)[batch.mask]
    mean = group_sum(to_go, node, n) / group_count(node, n)
    at = torch.zeros(n, dtype=torch.int64, device=node.device)
    at[node] = anchor
    step = centred(mean, at, n_anchors, norm_by_std=norm_by_std, epsilon=epsilon)
    out[batch.mask] += omega * step[node]
    return out
