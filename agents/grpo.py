"""GRPO: the group's own returns are the baseline, and every step of a rollout gets the same number.

    python agents/grpo.py --env credit/KeyRooms-v0 --seed 3 --device cpu

    Â_i = (R_i − mean_group R) / (std_group R + ε)
    L   = mean over rollouts of 1/H Σ_t max(−Â ρ_t, −Â clip(ρ_t, 1 − ε_low, 1 + ε_high)),     ρ_t = π(a_t|o_t) / b(a_t|o_t)

Left out: the KL term to a reference model. A policy that starts uniform has nothing worth staying near; `--beta 0.04` puts the
paper's back, measured from the policy that acted. Also left out: reward models and formats, because environments here
pay. Added: everything that Run does around the loop (exact evaluation, checkpoints, alarms, several learners at once).

Departure: the paper divides a rollout's loss by its own length, which pulls harder at short rollouts. Agents are compared by
their credit, so all of them divide by the horizon H; `--mode seq-mean-token-mean` is the paper's.

Where groups agree (all fail, or all succeed) the advantage is zero and nothing is learned: on tasks that are rarely solved at
first, larger groups find the first success sooner than more groups do.

Source: Shao et al. 2024 (DeepSeekMath), arXiv 2402.03300, §4.1. `--no-norm-by-std` is Dr.GRPO
(Liu et al. 2025, arXiv 2503.20783).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from credit_envs.credit.grpo import grpo
from credit_envs.losses.ppo import ppo
from credit_envs.training import Options, Run, start


@dataclass
class Grpo(Options):
    """Trains a policy with GRPO.

    Attributes:
        norm_by_std: Divide a group's advantages by their deviation (no: Dr.GRPO).
        epochs: Updates per batch; from the second on, importance ratios are clipped.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
        mode: How step losses become one number, see credit_envs.losses.surrogate.AGGREGATES.
        beta: Weight of the k3 estimate of the KL divergence from the policy that acted.
    """

    norm_by_std: bool = True
    epochs: int = 1
    low: float = 0.2
    high: float = 0.2
    mode: str = "seq-mean-token-sum-norm"
    beta: float = 0.0


def train(options: Grpo) -> dict[str, Any]:
    """The whole loop."""
    run = Run("grpo", options)
    clip = {"low": options.low, "high": options.high, "dual": None, "mode": options.mode, "beta": options.beta}
    clip["length"] = run.table.horizon
    while run.going():
        # groups x group_size rollouts; those of a group begin in the same start state
        batch = run.groups().trajectories
        # one number per rollout, spread over its steps: float64 [rollouts, steps]
        credit = grpo(batch, options.norm_by_std)
        for _ in range(options.epochs):
            run.update(run.loss(ppo, batch, credit, **clip))
        # from here on rollouts follow the new policy
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, Grpo))
