"""MT-PPO: what the environment can verify about a turn is paid to that turn, and a critic with GAE does the rest.

    python agents/mt_ppo.py --env credit/Lookup-v0 --seed 3 --device cpu

    r_t = what the task pays + R^I_t,       R^I_t = Σ_l pay_l · (rise of label l at step t), none in the last turn
    δ_t = r_t + γ V̂(s_{t+1}) − V̂(s_t),      Â_t = δ_t + γλ Â_{t+1},   whitened over the batch

PPO (ppo.py) in an environment that pays more, with the same critic, which learns what is really paid. Turn rewards are what
the environment verifies (the answer was read, a column is right, a door stands open); tables that label none are refused. What
is measured is the environment's return, whatever is paid.

Rises are no potential differences, so what is best under them need not be best for the task: a label that can fall and rise
again can be milked. On Household it is, where all seeds end by undoing and redoing a stage until time is up.
`--potential` pays differences, which leave the best policy alone; with it all seeds solve Household.

Left out: the KL term, the entropy bonus and the clipped value loss, as in ppo.py, and the reward for a valid format (every turn
is valid here). The paper charges 0.1 per search so far: `--search-penalty 0.1` where there are searches (Lookup).

Source: Zeng et al. 2025, arXiv 2505.11821 (v2); Schulman et al. 2017, arXiv 1707.06347.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from credit_envs.credit.gae import gae
from credit_envs.losses.ppo import ppo
from credit_envs.recipes import recipe
from credit_envs.rewards.turns import turn_rewards
from credit_envs.training import Options, Run, start
from credit_envs.training.critic import Critic, white


@dataclass
class MtPpo(Options):
    """Trains a policy with MT-PPO and a tabular critic.

    Attributes:
        scale: Factor on the turn rewards; 0 is PPO.
        search_penalty: Charged on each search, times the searches so far.
        potential: Pay potential differences instead of rises.
        gamma: Discount.
        lam: λ of GAE.
        memory: How much of the critic's weight stays from one batch to the next.
        whiten: Move the advantages of a batch to mean 0 and variance 1.
        epochs: Updates per batch; from the second on, importance ratios are clipped.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
    """

    env: str = "credit/Lookup-v0"
    groups: int = 128
    group_size: int = 1
    scale: float = 1.0
    search_penalty: float = 0.0
    potential: bool = False
    gamma: float = 1.0
    lam: float = 0.95
    memory: float = 0.5
    whiten: bool = True
    epochs: int = 4
    low: float = 0.2
    high: float = 0.2


def train(options: MtPpo) -> dict[str, Any]:
    """The whole loop."""
    run = Run("mt_ppo", options)
    run.require(recipe("mt_ppo"))
    critic = Critic(options.learners * run.table.n_obs, options.learners).to(options.device)
    run.register("critic", critic)
    pays = {name: getattr(options, name) for name in ("scale", "search_penalty", "potential", "gamma")}
    while run.going():
        sample = run.groups()
        batch = sample.trajectories
        paid = turn_rewards(batch, labels=run.provided(sample)["labels"], **pays)
        credit = gae(paid.reward, critic.values(batch), batch.mask, options.gamma, options.lam)
        if options.whiten:
            credit = run.apart(batch.replace(step_reward=credit), white)
        critic.learn(paid, options.gamma, options.memory)
        for _ in range(options.epochs):
            run.update(run.loss(ppo, batch, credit, low=options.low, high=options.high))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, MtPpo))
