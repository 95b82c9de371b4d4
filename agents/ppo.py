"""PPO: a learned critic, generalised advantage estimation (GAE) and the clipped surrogate.

    python agents/ppo.py --env credit/KeyRooms-v0 --seed 3 --device cpu

    δ_t = r_t + γ V̂(s_{t+1}) − V̂(s_t),   Â_t = δ_t + γλ Â_{t+1},   whitened over the batch

The critic is a table over observations: mean returns to go of earlier batches, in which old ones fade. It never saw the batch
that it judges, and costs no environment step of its own. What was never seen is valued at the mean of what was.

Left out: the KL term and the entropy bonus, and the clipped value loss: a table has no gradient steps to clip.
Departure: groups of one, since PPO compares with no other rollout; 128 rollouts per update as the other agents have.

Source: Schulman et al. 2017, arXiv 1707.06347; Schulman et al. 2016, arXiv 1506.02438 (GAE).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from credit_envs.credit.gae import gae
from credit_envs.losses.ppo import ppo
from credit_envs.training import Options, Run, start
from credit_envs.training.critic import Critic, white


@dataclass
class Ppo(Options):
    """Trains a policy with PPO and a tabular critic.

    Attributes:
        gamma: Discount.
        lam: λ of GAE.
        memory: How much of the critic's weight stays from one batch to the next.
        whiten: Move the advantages of a batch to mean 0 and variance 1.
        epochs: Updates per batch; from the second on, importance ratios are clipped.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
    """

    groups: int = 128
    group_size: int = 1
    gamma: float = 1.0
    lam: float = 0.95
    memory: float = 0.5
    whiten: bool = True
    epochs: int = 4
    low: float = 0.2
    high: float = 0.2


def train(options: Ppo) -> dict[str, Any]:
    """The whole loop."""
    run = Run("ppo", options)
    critic = Critic(options.learners * run.table.n_obs, options.learners).to(options.device)
    run.register("critic", critic)
    while run.going():
        batch = run.groups().trajectories
        credit = gae(batch.reward, critic.values(batch), batch.mask, options.gamma, options.lam)
        if options.whiten:
            credit = run.apart(batch.replace(step_reward=credit), white)
        critic.learn(batch, options.gamma, options.memory)
        for _ in range(options.epochs):
            run.update(run.loss(ppo, batch, credit, low=options.low, high=options.high))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, Ppo))
