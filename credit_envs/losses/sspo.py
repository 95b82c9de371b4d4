"""SSPO: one weight per rollout, the geometric mean of its steps' softly gated ratios; nothing is clipped.

    s_i = ( Π_t g(ρ_{i,t}) )^{1/|y_i|},    L = −(1/N) Σ_i s_i Ā_i

Gates have slope 1 at ρ = 1 and grow ever more slowly away from it:

``arctan``   log g = (1/τ) arctan(τ log ρ): one step moves s_i by at most exp(π / (2 τ |y_i|))   (later versions' default)
``sigmoid``  g = (4/τ) σ(τ (ρ − 1)), SAPO's, τ by the sign of the rollout's credit               (first version)
``none``     g = ρ: GSPO without its clip

At ρ ≡ 1 the factor g(1) cancels out of ∇s_i = s_i · mean_t(g'/g ∇ρ), so that every gate with g'(1) = 1 has the gradient of
the geometric mean, whatever its value there. Ā_i is the rollout's mean credit: step credit is averaged away. This is variance
control for reusing stale rollouts, not credit assignment; on-policy it is the baseline.

Reconstruction: form and τ of the arctan gate are ours, the abstract and notes name the gate only. Source: Glazyrina et al.
2026, arXiv 2602.19327.
"""

from __future__ import annotations

from torch import Tensor

from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.losses.sapo import log_sigmoid_gate
from credit_envs.losses.surrogate import aggregate, log_ratio, masked, unit_sizes, unit_sums, units
from credit_envs.sampling.trajectories import Trajectories

GATES = ("arctan", "sigmoid", "none")


def sspo(
    log_prob: Tensor,
    batch: Trajectories,
    credit: Tensor,
    gate: str = "arctan",
    tau: float = 1.0,
    negative: float | None = None,
) -> Tensor:
    """Returns the loss, a float64 scalar.

    Args:
        log_prob: float64 ``[N, T]``, log-probabilities of the actions under the policy to be updated.
        batch: the rollouts.
        credit: float64 ``[N, T]``.
        gate: one of :data:`GATES`.
        tau: τ, above 0.
        negative: the sigmoid gate's τ where the rollout's credit isn't positive (default: SAPO's 1.05 · τ).

    Raises:
        CreditEnvsError: for an unknown gate, or a τ out of range.
    """
    if gate not in GATES:
        raise CreditEnvsError(f"gate={gate!r}: expected one of {', '.join(GATES)}")
    check_range("tau", tau, 0, float("inf"), open_low=True)
    credit = masked(credit, batch)
    log_rho, unit = log_ratio(log_prob, batch), units(batch, "trajectory")
    size = unit_sizes(batch, unit)
    if gate == "arctan":
        gated = (tau * log_rho).arctan() / tau
    elif gate == "sigmoid":
        mean = unit_sums(credit, unit) / size
        gated = log_sigmoid_gate(log_rho, mean, tau, 1.05 * tau if negative is None else negative)
    else:
        gated = log_rho
    weight = (unit_sums(masked(gated, batch), unit) / size).exp()
    return aggregate(-weight * credit, batch.mask, "seq-mean-token-mean")
