"""REINFORCE++: the return to go, moved to mean 0 and variance 1 over the whole batch; no groups.

    python agents/reinforce_pp.py --env credit/KeyRooms-v0 --seed 3 --device cpu

    Â_t = (G_t − mean over the batch) / (std over the batch)          `--baseline`: R_i − mean_group R, whitened likewise

One mean and one deviation for all steps of all prompts: cheap, and blind to which start a rollout began from.

Left out: the KL term inside the reward (a uniform start has nothing worth staying near).

Source: Hu et al. 2025, arXiv 2501.03262 (reconstruction: versions of the paper differ).
"""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from typing import Any

from credit_envs.credit.reinforce_pp import reinforce_pp, reinforce_pp_baseline
from credit_envs.losses.ppo import ppo
from credit_envs.training import Options, Run, start


@dataclass
class ReinforcePp(Options):
    """Trains a policy with REINFORCE++.

    Attributes:
        baseline: Subtract the group's mean first.
        gamma: Discount of the return to go.
        epochs: Updates per batch; from the second on, importance ratios are clipped.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
    """

    baseline: bool = False
    gamma: float = 1.0
    epochs: int = 1
    low: float = 0.2
    high: float = 0.2


def train(options: ReinforcePp) -> dict[str, Any]:
    """The whole loop."""
    run = Run("reinforce_pp", options)
    estimator = reinforce_pp_baseline if options.baseline else functools.partial(reinforce_pp, gamma=options.gamma)
    clip = {"low": options.low, "high": options.high, "dual": None, "mode": "seq-mean-token-sum-norm"}
    clip["length"] = run.table.horizon
    while run.going():
        batch = run.groups().trajectories
        credit = run.apart(batch, estimator)
        for _ in range(options.epochs):
            run.update(run.loss(ppo, batch, credit, **clip))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, ReinforcePp))
