"""DAPO: GRPO on groups that disagree, with room to raise unlikely actions, and a price on overlong rollouts.

    python agents/dapo.py --env credit/KeyRooms-v0 --seed 3 --device cpu

    1. dynamic sampling: groups whose returns are all equal are thrown away and replaced (both are paid for)
    2. clip-higher: ratios in [1 − 0.2, 1 + 0.28]
    3. the loss is averaged over all steps of the batch, not rollout by rollout
    4. soft overlong punishment: the last fifth of the longest length costs up to `--penalty`

The filter looks at returns as the environment paid them, the advantage at the punished ones.

Left out: nothing of the four. The punishment is off by default: at the horizon a rollout ends here anyway, and what that
means is part of the task; 1 is the paper's.

Source: Yu et al. 2025, arXiv 2503.14476; verl ``recipe/dapo``.
"""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from typing import Any

from credit_envs.credit.grpo import grpo
from credit_envs.losses.ppo import ppo
from credit_envs.plans.dynamic import dynamic_sampling
from credit_envs.rewards.overlong import overlong
from credit_envs.training import Options, Run, start


@dataclass
class Dapo(Options):
    """Trains a policy with DAPO.

    Attributes:
        tries: Batches drawn at most to fill the places of groups that agree.
        penalty: What the longest rollout loses, in units of the return.
        epochs: Updates per batch; from the second on, importance ratios are clipped.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
        dual: Where credit is negative, the loss is at most this many times it.
    """

    tries: int = 10
    penalty: float = 0.0
    epochs: int = 1
    low: float = 0.2
    high: float = 0.28
    dual: float = 10.0


def train(options: Dapo) -> dict[str, Any]:
    """The whole loop."""
    run = Run("dapo", options)
    while run.going():
        # learner by learner, so that each fills its own places
        plan = run.alone(functools.partial(dynamic_sampling, tries=options.tries))
        batch = run.groups(plan).trajectories
        paid = overlong(batch, run.table.horizon, penalty=options.penalty)
        credit = grpo(paid)
        for _ in range(options.epochs):
            run.update(run.loss(ppo, paid, credit, low=options.low, high=options.high, dual=options.dual))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, Dapo))
