"""The claims, as data. Adding one: an entry in :data:`CLAIMS`.

All are about gradients and credit of a given policy (halfway to optimal play; in the full sweep also at 0 and 90 %), so what a
paper reports after training may differ: a method can learn better than its gradient at one policy suggests, and the reverse.
"""

from __future__ import annotations

from collections.abc import Mapping

from credit_envs.errors import unknown
from credit_envs.experiments import claims_groups, claims_looks, claims_rewards, claims_values
from credit_envs.experiments.ledger import Claim

CLAIMS: tuple[Claim, ...] = (
    *claims_groups.CLAIMS,
    *claims_values.CLAIMS,
    *claims_looks.CLAIMS,
    *claims_rewards.CLAIMS,
)
"""Every claim that is measured here."""

UNMEASURED: Mapping[str, str] = {
    "anchors grow during training": "needs training runs",
    "GC-RL's critique helps generation": "needs training runs",
    "the echo trap and StarPO-S": "needs training runs",
    "PA-MoE's routed experts beat one policy of equal size": "needs training runs with networks",
    "KLong's windows learn horizons beyond the context": "needs training runs",
    "gains grow with the policy's size": "needs training runs with networks",
    "answer-only reward leaves perception errors": "needs training runs",
    "LOOP's learnt habits in Apps": "needs training runs",
    "MIG's watermark against repetition": "needs training runs",
    "Perception-R1 with a noisy judge": "measurable here, not entered yet",
    "which combinations add up": "measurable here, not entered yet",
    "regret of the usual selection advice": "needs the ledger's full sweeps first",
    "Agent Q against pure RL per environment step": "needs training runs (pairs have no on-policy gradient)",
    "credit-variance curricula": "needs training runs",
    "PRM bootstrapping from an improved policy": "needs training runs",
}
"""Claims of the list that have no verdict, and why."""


def claim(name: str) -> Claim:
    """Returns a claim by name.

    Raises:
        CreditEnvsError: if there is none; the message names the nearest ones.
    """
    found = {one.name: one for one in CLAIMS}
    if name not in found:
        raise unknown("claim", name, found)
    return found[name]
