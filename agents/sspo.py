"""SSPO: one weight per rollout from softly gated step ratios; nothing is clipped.

    python agents/sspo.py --env credit/KeyRooms-v0 --seed 3 --device cpu

    s_i = (Π_t g(ρ_{i,t}))^(1/|y_i|),   L = −(1/N) Σ_i s_i Ā_i,   log g = (1/τ) arctan(τ log ρ)

Variance control for reusing stale rollouts, not credit assignment: the credit is GRPO's, averaged over each rollout. On-policy
it is the baseline, so there is more than one epoch here.

Left out: the asynchronous rollouts that make ratios stale in the paper. Reconstruction: form and τ of the gate are ours.

Source: Glazyrina et al. 2026, arXiv 2602.19327.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Literal

from credit_envs.credit.grpo import grpo
from credit_envs.losses.sspo import sspo
from credit_envs.training import Options, Run, start


@dataclass
class Sspo(Options):
    """Trains a policy with SSPO.

    Attributes:
        gate: What softens a step's ratio.
        tau: How soon the gate bends.
        epochs: Updates per batch.
    """

    gate: Literal["arctan", "sigmoid", "none"] = "arctan"
    tau: float = 1.0
    epochs: int = 4


def train(options: Sspo) -> dict[str, Any]:
    """The whole loop."""
    run = Run("sspo", options)
    while run.going():
        batch = run.groups().trajectories
        credit = grpo(batch)
        for _ in range(options.epochs):
            run.update(run.loss(sspo, batch, credit, gate=options.gate, tau=options.tau))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, Sspo))
