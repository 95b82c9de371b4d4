"""Immediate credit: a step's credit is what it is paid, or a fading sum of what it and the steps after it are paid.

    Â_t = Σ_{k ≥ t} (γλ)^{k−t} r_k,   λ = 0:  Â_t = r_t

Over rewards shaped by a potential V̂ the r_k are TD errors, r + γV̂(s') − V̂(s), and this is GAE: λ = 0 trusts V̂ fully and
gives A^π where V̂ = V^π, λ = 1 gives the return to go minus V̂(s_t). On the environment's own rewards λ = 0 is the contrast:
credit for nothing but what is paid at once. Sources: Schulman et al. 2016, arXiv 1506.02438, Eq. 16; Ng et al. 1999.
"""

from __future__ import annotations

from torch import Tensor

from credit_envs.errors import check_range
from credit_envs.sampling.statistics import returns_to_go
from credit_envs.sampling.trajectories import Trajectories


def immediate(batch: Trajectories, gamma: float = 1.0, lam: float = 0.0) -> Tensor:
    """Returns the credit, float64 ``[N, T]``.

    Args:
        batch: rollouts, as a reward model pays them.
        gamma: discount, in [0, 1].
        lam: λ, in [0, 1].

    Raises:
        CreditEnvsError: for an option out of range.
    """
    check_range("gamma", gamma, 0, 1)
    check_range("lam", lam, 0, 1)
    return returns_to_go(batch.reward, batch.mask, gamma * lam)
