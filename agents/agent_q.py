"""Agent Q: tree search with a critic from the start of a task, siblings of clearly different value as pairs, DPO.

    python agents/agent_q.py --env credit/KeyRooms-v0 --seed 3 --device cpu

    search   K proposals of the policy per node, ranked by a critic;  Q = α Q̃ + (1 − α) Q_critic
    pairs    tried siblings with |Q(w) − Q(l)| > θ
    update   DPO from the policy that acted

The AI critic is simulated by an oracle that is right with probability `--accuracy`: what it costs, and the truth in it, are
no real system's. `--alpha 1` leaves it out.

Left out: the plan, thought and explanation tokens, and the search at test time. α, θ and most settings of the search are not
stated in the paper; the defaults are a third party's.

Source: Putta et al. 2024, arXiv 2408.07199; LOOP (arXiv 2502.01600), App. C.4.
"""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from typing import Any

from credit_envs.losses.dpo import dpo
from credit_envs.plans.agent_q import agent_q
from credit_envs.training import Options, Run, start


@dataclass
class AgentQ(Options):
    """Trains a policy with Agent Q.

    Attributes:
        alpha: Weight of what the search found, beside the critic.
        theta: Values at most this far apart make no pair.
        proposals: Actions that a node may branch to.
        c: Weight of exploration.
        accuracy: How often the critic picks the best of what remains.
        simulations: Searches cost this many playouts, times the group size.
        beta: How far DPO may move the policy from the one that acted.
        epochs: Updates per batch.
    """

    groups: int = 4
    alpha: float = 0.5
    theta: float = 0.1
    proposals: int = 4
    c: float = 1.414
    accuracy: float = 0.8
    simulations: int = 4
    beta: float = 0.1
    epochs: int = 4


def train(options: AgentQ) -> dict[str, Any]:
    """The whole loop."""
    run = Run("agent_q", options)
    names = ("alpha", "theta", "proposals", "c", "accuracy", "simulations")
    plan = functools.partial(agent_q, **{name: getattr(options, name) for name in names})
    while run.going():
        batch = run.groups(plan).trajectories
        for _ in range(options.epochs):
            run.update(run.loss(dpo, batch, batch.reward, beta=options.beta))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, AgentQ))
