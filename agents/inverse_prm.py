"""InversePRM: a reward model that tells an expert's steps from the policy's, then online DPO; outcomes are never seen.

    python agents/inverse_prm.py --env credit/KeyRooms-v0 --seed 3 --device cpu

    1. rollouts of the policy, and as many demonstrations of stated skill (both are paid for in environment steps)
    2. f fitted to tell them apart
    3. two actions drawn at stored states, the one of higher f preferred: DPO

Demonstrations come from the oracle's ladder: `--skill 1` is optimal play.

Left out: language models, and the supervised start. Several learners share one fit, in which each has rows of its own.

Source: Choudhury 2025, arXiv 2502.10325 (reconstruction).
"""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from typing import Any

from credit_envs.losses.dpo import dpo
from credit_envs.plans.inverse_prm import inverse_prm_pairs
from credit_envs.training import Options, Run, start


@dataclass
class InversePrm(Options):
    """Trains a policy with InversePRM.

    Attributes:
        gamma: Discount.
        skill: Of the demonstrator: 0 uniform, 1 optimal.
        states: States per rollout at which two actions are compared, at most.
        beta: How far DPO may move the policy from the one that acted.
        epochs: Updates per batch.
    """

    groups: int = 8
    gamma: float = 1.0
    skill: float = 0.9
    states: int = 32
    beta: float = 0.1
    epochs: int = 4


def train(options: InversePrm) -> dict[str, Any]:
    """The whole loop."""
    run = Run("inverse_prm", options)
    plan = functools.partial(inverse_prm_pairs, gamma=options.gamma, skill=options.skill, states=options.states)
    while run.going():
        batch = run.groups(plan).trajectories
        for _ in range(options.epochs):
            run.update(run.loss(dpo, batch, batch.reward, beta=options.beta))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, InversePrm))
