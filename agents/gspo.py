"""GSPO: GRPO's advantage with one importance ratio per rollout, the geometric mean of its steps' ratios.

    python agents/gspo.py --env credit/KeyRooms-v0 --seed 3 --device cpu

    s_i = (Π_t ρ_{i,t})^(1/|y_i|),   L = −mean_i min(s_i Â_i, clip(s_i, 1 − ε_low, 1 + ε_high) Â_i)

The credit is GRPO's; what changes is how stale rollouts count, so there is more than one epoch here. The paper's bounds
(3e-4, 4e-4) are for thousands of tokens per rollout, where a mean of ratios hardly moves; for short ones take PPO's.

Left out: the KL term. Departure: bounds of 0.2.

Source: Zheng et al. 2025, arXiv 2507.18071.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from credit_envs.credit.grpo import grpo
from credit_envs.losses.gspo import gspo
from credit_envs.training import Options, Run, start


@dataclass
class Gspo(Options):
    """Trains a policy with GSPO.

    Attributes:
        epochs: Updates per batch.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
    """

    epochs: int = 4
    low: float = 0.2
    high: float = 0.2


def train(options: Gspo) -> dict[str, Any]:
    """The whole loop."""
    run = Run("gspo", options)
    while run.going():
        batch = run.groups().trajectories
        credit = grpo(batch)
        for _ in range(options.epochs):
            run.update(run.loss(gspo, batch, credit, low=options.low, high=options.high))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, Gspo))
