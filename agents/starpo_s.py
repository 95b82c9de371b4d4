"""StarPO-S: roll out many groups, train on the quarter whose returns vary most.

    python agents/starpo_s.py --env credit/KeyRooms-v0 --seed 3 --device cpu

    U(group) = deviation of its returns;  the `keep` part of all groups with the largest U is trained on by GRPO

Against the echo trap (RAGEN): where groups agree, entropy falls, gradients spike, and the policy repeats itself. Run's alarms
watch the same three signs. Groups that are dropped are paid for, so an update costs 1/keep times its batch.

Left out: the critic of the paper's PPO variant (see ppo.py). Departure: 4 groups are kept of 16, so that an update costs what
the other agents' does.

Source: Wang et al. 2025 (RAGEN), arXiv 2504.20073, §4; released code ``ragen/trainer/rollout_filter.py``.
"""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from typing import Any

from credit_envs.credit.grpo import grpo
from credit_envs.losses.ppo import ppo
from credit_envs.plans.uncertainty import uncertainty_filter
from credit_envs.training import Options, Run, start


@dataclass
class StarpoS(Options):
    """Trains a policy with StarPO-S.

    Attributes:
        groups: Groups per update and learner that are kept.
        keep: Share of the groups that is trained on.
        epochs: Updates per batch; from the second on, importance ratios are clipped.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
    """

    groups: int = 4
    keep: float = 0.25
    epochs: int = 1
    low: float = 0.2
    high: float = 0.28


def train(options: StarpoS) -> dict[str, Any]:
    """The whole loop."""
    run = Run("starpo_s", options)
    while run.going():
        # learner by learner: the filter must not compare groups of different learners
        batch = run.groups(run.alone(functools.partial(uncertainty_filter, value=options.keep))).trajectories
        credit = grpo(batch)
        for _ in range(options.epochs):
            run.update(run.loss(ppo, batch, credit, low=options.low, high=options.high, dual=10.0))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, StarpoS))
