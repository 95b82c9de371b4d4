"""VinePPO: the value of every visited state from fresh rollouts that begin there, instead of a critic.

    python agents/vineppo.py --env credit/KeyRooms-v0 --seed 3 --device cpu

    V̂(s_t) = mean return of K fresh continuations from s_t
    Â_t     = r_t + γ V̂(s_{t+1}) − V̂(s_t),      V̂(terminal) = 0

The credit is unbiased for any K: E[Â_t | s_t, a_t] is the exact advantage. It is paid for step by step: T visited states cost
about K · T²/2 environment steps more, all charged to the budget, so this agent draws
small batches: by default as many rollouts as make an update cost what 16 × 8 plain rollouts cost (of uniform play, which has
T steps), which is what the other agents spend, so that agents differ by their credit and not by how often they update. On
long tasks that is one pair. K is 1 for the same reason; the paper has 9, on tasks of few steps.

Left out: PPO's value network (that is the point), the KL term, and the paper's splitting of text into steps (a step is
one action here). States are restored for nothing; what is charged is every step that the continuations take. Departure:
the loss is divided by the horizon, as in the other agents.

Source: Kazemnejad et al. 2024, arXiv 2410.01679, §4; released code ``McGill-NLP/VinePPO``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any

from credit_envs.credit.monte_carlo import vineppo
from credit_envs.losses.ppo import ppo
from credit_envs.oracle import uniform
from credit_envs.oracle.measure import spread
from credit_envs.registry import make_table
from credit_envs.training import Options, Run, start

SPENT = 128
"""Rollouts that an update costs, continuations included."""


@dataclass
class Vineppo(Options):
    """Trains a policy with VinePPO: Monte-Carlo rollouts from every step.

    Attributes:
        groups: Groups per update and learner; 0 for as many as cost what 128 plain rollouts do.
        continuations: Fresh rollouts per visited state (K).
        gamma: Discount.
        epochs: Updates per batch; from the second on, importance ratios are clipped.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
    """

    groups: int = 0
    group_size: int = 2
    continuations: int = 1
    gamma: float = 1.0
    epochs: int = 1
    low: float = 0.2
    high: float = 0.2


def train(options: Vineppo) -> dict[str, Any]:
    """The whole loop."""
    if options.groups == 0:
        table = make_table(options.env)
        steps = spread(table, uniform(table)).expected_steps
        each = 1 + options.continuations * (steps + 1) / 2
        options = replace(options, groups=max(1, round(SPENT / (options.group_size * each))))
    run = Run("vineppo", options)
    clip = {"low": options.low, "high": options.high, "dual": None, "mode": "seq-mean-token-sum-norm"}
    while run.going():
        sample = run.groups()
        batch = sample.trajectories
        # metered: (rollout, step, K, gamma) -> returns of fresh rollouts of the same policy from those very states
        continuations = run.provided(sample)["continuations"]
        credit = vineppo(batch, continuations=continuations, k=options.continuations, gamma=options.gamma)
        for _ in range(options.epochs):
            run.update(run.loss(ppo, batch, credit, length=run.table.horizon, **clip))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, Vineppo))
