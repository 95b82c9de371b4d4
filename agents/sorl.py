"""SORL (SO-GRPO): one ratio per turn, and smaller updates where clipping has cut much off.

    python agents/sorl.py --env credit/KeyRooms-v0 --seed 3 --device cpu

    w_k = exp(mean log ρ over turn k),   g = ∇L / max(1, ‖C‖),   C the part of the gradient that clipping removed

The credit is GRPO's. Turns are single steps here unless commands are spelt (`--env credit/Shop-v0?spell=1`).

Left out: SO-PPO's critic. Reconstruction: notes on the paper agree on ‖C‖ and differ on its use; one divides, as here.
Several learners at once share one ‖C‖ each: losses are taken learner by learner.

Source: Li et al. 2025, arXiv 2511.20718.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from credit_envs.credit.grpo import grpo
from credit_envs.losses.sorl import sorl
from credit_envs.training import Options, Run, start


@dataclass
class Sorl(Options):
    """Trains a policy with SO-GRPO.

    Attributes:
        epsilon: Ratios are clipped at 1 ± epsilon.
        epochs: Updates per batch.
    """

    epsilon: float = 0.2
    epochs: int = 4


def train(options: Sorl) -> dict[str, Any]:
    """The whole loop."""
    run = Run("sorl", options)
    while run.going():
        batch = run.groups().trajectories
        credit = grpo(batch)
        for _ in range(options.epochs):
            parameters = tuple(run.policy.parameters())
            run.update(run.loss(sorl, batch, credit, epsilon=options.epsilon, parameters=parameters))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, Sorl))
