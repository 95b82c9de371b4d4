"""GSPO: one ratio per rollout, the geometric mean of its steps' ratios, clipped as a whole.

    s_i = exp( (1/|y_i|) Σ_t log ρ_{i,t} )
    L   = −(1/N) Σ_i (1/|y_i|) Σ_t min(s_i Â_{i,t}, clip(s_i, 1 − ε_l, 1 + ε_h) Â_{i,t})

``gspo_token`` keeps the value but lets each step's credit reach its own log-probability only, s_{i,t} = sg(s_i) π/sg(π). For
credit that is one number per rollout the two have the same gradient. They differ for step credit: GSPO then spreads the
*mean* credit of a rollout over all its steps, which throws step credit away; GSPO-token keeps it. verl's ``gspo`` is
GSPO-token.

The default bounds are the paper's, 3·10⁻⁴ and 4·10⁻⁴, made for answers of thousands of tokens: the geometric mean of few
ratios strays much further, so short rollouts need wide bounds. Source: Zheng et al. 2025, arXiv 2507.18071, §4.
"""

from __future__ import annotations

from torch import Tensor

from credit_envs.losses.surrogate import aggregate, clipped, log_ratio, masked, unit_sizes, unit_sums, units
from credit_envs.sampling.trajectories import Trajectories


def gspo(log_prob: Tensor, batch: Trajectories, credit: Tensor, low: float = 3e-4, high: float = 4e-4) -> Tensor:
    """Returns the loss, a float64 scalar.

    Args:
        log_prob: float64 ``[N, T]``, log-probabilities of the actions under the policy to be updated.
        batch: the rollouts.
        credit: float64 ``[N, T]``.
        low: ε_l, in [0, 1].
        high: ε_h, at least 0.

    Raises:
        CreditEnvsError: if a bound is out of range.
    """
    step = clipped(mean_ratio(log_prob, batch), masked(credit, batch), low, high)
    return aggregate(step, batch.mask, "seq-mean-token-mean")


def gspo_token(log_prob: Tensor, batch: Trajectories, credit: Tensor, low: float = 3e-4, high: float = 4e-4) -> Tensor:
    """Returns the loss of GSPO-token, a float64 scalar; arguments as in :func:`gspo`."""
    own = log_ratio(log_prob, batch)
    ratio = mean_ratio(log_prob, batch).detach() * (own - own.detach()).exp()
    return aggregate(clipped(ratio, credit, low, high), batch.mask, "seq-mean-token-mean")


def mean_ratio(log_prob: Tensor, batch: Trajectories, level: str = "trajectory") -> Tensor:
    """Returns the geometric mean of the ratios of each step's unit, ``[N, T]``."""
    unit = units(batch, level)
    return (unit_sums(log_ratio(log_prob, batch), unit) / unit_sizes(batch, unit)).exp()
