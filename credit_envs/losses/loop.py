"""LOOP: PPO's clip with a ratio per token, per turn or per trajectory, averaged over what has one.

    L = −(1/N) Σ_i (1/|U_i|) Σ_{u ∈ U_i} min(ρ_u Â, Â + ε|Â|),    ρ_u = Π_{t ∈ u} ρ_t

U_i are a rollout's steps (``step``, the paper's choice), turns (``turn``) or itself (``trajectory``, the paper's bandit).
Ratios are products, so they fan out with the length of a unit; that is what the paper finds to hurt. On-policy all three
have one gradient up to the weight 1/|U_i|. LOOP's advantage is the leave-one-out return, one number per rollout; credit that
differs within a unit counts by its mean wherever nothing is clipped. ε isn't in the paper; 0.1 is the released setting.
Released-code quirk as a flag: ``released`` clips at [1/(1 + ε), 1 + ε] instead of 1 ± ε. Source: Chen et al. 2025,
arXiv 2502.01600; released code apple/ml-loop.
"""

from __future__ import annotations

from torch import Tensor

from credit_envs.errors import check_range
from credit_envs.losses.surrogate import aggregate, bounded, clipped, log_ratio, masked, unit_sizes, unit_sums, units
from credit_envs.sampling.trajectories import Trajectories


def loop(
    log_prob: Tensor,
    batch: Trajectories,
    credit: Tensor,
    level: str = "step",
    epsilon: float = 0.1,
    released: bool = False,
) -> Tensor:
    """Returns the loss, a float64 scalar.

    Args:
        log_prob: float64 ``[N, T]``, log-probabilities of the actions under the policy to be updated.
        batch: the rollouts.
        credit: float64 ``[N, T]``.
        level: what has one ratio: ``step``, ``turn`` or ``trajectory``.
        epsilon: ε, in [0, 1].
        released: the released code's lower bound 1/(1 + ε).

    Raises:
        CreditEnvsError: for an unknown level or an ε out of range.
    """
    check_range("epsilon", epsilon, 0, 1)
    unit = units(batch, level)
    ratio = bounded(unit_sums(log_ratio(log_prob, batch), unit)).exp()
    low = epsilon / (1 + epsilon) if released else epsilon
    weight = batch.mask / unit_sizes(batch, unit)
    return aggregate(clipped(ratio, masked(credit, batch), low, epsilon), weight, "seq-mean-token-mean")
