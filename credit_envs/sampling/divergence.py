"""How far two policies are apart, exactly and from samples: KL divergences and the k3 estimate.

    KL(p‖q) = Σ_a p(a) log(p(a)/q(a)),    k3 = e^d − d − 1 with d = log q(a) − log p(a), a ∼ p

k3 is unbiased for KL(p‖q) and never negative. Source: Schulman 2020, "Approximating KL divergence".
"""

from __future__ import annotations

import torch
from torch import Tensor


def k3(log_ratio: Tensor, bound: float = 20.0) -> Tensor:
    """Returns e^d − d − 1, of the shape of d.

    Args:
        log_ratio: d = log q(a) − log p(a).
        bound: d is clamped to ± this first, which bends the estimate only where p and q differ e^bound-fold.
    """
    d = log_ratio.clamp(-bound, bound)
    return d.exp() - d - 1


def kl(p: Tensor, q: Tensor) -> Tensor:
    """Returns KL(p‖q) of distributions float64 ``[..., A]`` along the last axis, ``[...]``; infinite where q lacks p."""
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(dim=-1).clamp(min=0)


def entropy(p: Tensor) -> Tensor:
    """Returns the entropy in nats of distributions float64 ``[..., A]`` along the last axis, ``[...]``."""
    return -torch.xlogy(p, p).sum(dim=-1)
