"""RLOO: a rollout's baseline is the mean return of the others of its group.

    python agents/rloo.py --env credit/KeyRooms-v0 --seed 3 --device cpu

    Â_i = R_i − mean_{j≠i} R_j,      L = −(1/N) Σ_i Σ_t Â_i log π(a_t|o_t)

The one estimator of GRPO's kin whose gradient is unbiased without a factor. Plain REINFORCE: no clipping, no length anywhere.

Left out: the KL term in the reward. Departure: the loss is a sum over steps, as REINFORCE has it; with Adam a constant factor
makes no difference.

Source: Kool et al. 2019; Ahmadian et al. 2024, arXiv 2402.14740.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from credit_envs.credit.grpo import rloo
from credit_envs.losses.reinforce import reinforce
from credit_envs.training import Options, Run, start


@dataclass
class Rloo(Options):
    """Trains a policy with RLOO.

    Attributes:
        epochs: Updates per batch (more than one is off-policy and not corrected).
    """

    epochs: int = 1


def train(options: Rloo) -> dict[str, Any]:
    """The whole loop."""
    run = Run("rloo", options)
    while run.going():
        batch = run.groups().trajectories
        credit = rloo(batch)
        for _ in range(options.epochs):
            run.update(run.loss(reinforce, batch, credit))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, Rloo))
