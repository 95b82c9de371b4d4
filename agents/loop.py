"""LOOP: leave-one-out returns, PPO's clip per step, and several epochs on the same rollouts.

    python agents/loop.py --env credit/KeyRooms-v0 --seed 3 --device cpu

    Â_i = R_i − mean_{j≠i} R_j,  0 where it is nearly that;   ratios per `--level`: step, turn or trajectory

The paper's finding is about the ratio: one per token learns best, one for the whole rollout (a product that fans out with its
length) worst. On-policy all three agree, so there is more than one epoch here.

Left out: the KL term (the paper has none either) and rollouts in parallel with the update.

Source: Chen et al. 2025, arXiv 2502.01600; released code ``apple/ml-loop``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Literal

from credit_envs.credit.loop import loop as leave_one_out
from credit_envs.losses.loop import loop
from credit_envs.training import Options, Run, start


@dataclass
class Loop(Options):
    """Trains a policy with LOOP.

    Attributes:
        level: What shares one importance ratio.
        rw_norm: Divide by the group's deviation.
        epsilon: Ratios are clipped at 1 ± epsilon.
        epochs: Updates per batch.
    """

    level: Literal["step", "turn", "trajectory"] = "step"
    rw_norm: bool = False
    epsilon: float = 0.1
    epochs: int = 4


def train(options: Loop) -> dict[str, Any]:
    """The whole loop."""
    run = Run("loop", options)
    while run.going():
        batch = run.groups().trajectories
        credit = leave_one_out(batch, options.rw_norm)
        for _ in range(options.epochs):
            run.update(run.loss(loop, batch, credit, level=options.level, epsilon=options.epsilon))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, Loop))
