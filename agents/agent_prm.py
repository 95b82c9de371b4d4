"""AgentPRM: a process reward model fitted on how rollouts turned out, and the policy moved towards it by online DPO.

    python agents/agent_prm.py --env credit/KeyRooms-v0 --seed 3 --device cpu

    1. rollouts from the start; every step labelled ½ (γ^{T−1−t} (2 y − 1) + 1), y the outcome in [0, 1]
    2. Q_φ(s, a) = mean label of the pair (the minimum of the paper's cross-entropy in a table)
    3. two actions drawn at stored states, the one of higher Q_φ preferred:
       L = −mean log σ(β [log π/b (preferred) − log π/b (rejected)]),  b the policy that acted

Nothing is rolled out from inside: Q_φ lives on rollouts that share a pair (s, a). With the paper's key, the whole history,
hardly any two rollouts share one after the first steps, all actions of a history tie, and next to nothing is learned
(`--identity history` shows it). So the key is the observation here: what a model that generalises over histories would see.
And γ is 1: at the paper's 0.95 labels of a long task are ½ far from its end and fall only near a failure, so that an action
looks the better the earlier it was taken, and on KeyRooms (224 steps) the policy gets worse than uniform (`--gamma 0.95`).

Left out: the supervised start from demonstrations, the language model as Q_φ, and the sampling temperature of 0.3. The loop
refits Q_φ on every batch, as the paper's iterations do. No step is weighed by a return, so the loss has no horizon in it.

Source: Choudhury 2025, arXiv 2502.10325, §3; released code ``sanjibanc/agent_prm``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Literal

from credit_envs.losses.dpo import dpo
from credit_envs.plans.preferences import preferences
from credit_envs.rewards.agent_prm import fit
from credit_envs.training import Options, Run, start


@dataclass
class AgentPrm(Options):
    """Trains a policy with AgentPRM.

    Attributes:
        gamma: Discount of the labels.
        identity: What a pair's state is: history (the paper's), anchor (the observation) or row (of the policy).
        states: States per rollout at which two actions are compared, at most.
        margin: Values at most this far apart make no pair.
        beta: How far DPO may move the policy from the one that acted.
        epochs: Updates per batch.
    """

    gamma: float = 1.0
    identity: Literal["history", "anchor", "row"] = "anchor"
    states: int = 32
    margin: float = 0.0
    beta: float = 0.1
    epochs: int = 4


def train(options: AgentPrm) -> dict[str, Any]:
    """The whole loop."""
    run = Run("agent_prm", options)
    while run.going():
        # stage 1 and 2: rollouts, and a model of how they turned out; keys name the learner, so one table holds all learners'
        sample = run.groups()
        model = fit(sample.trajectories, options.gamma, options.identity)
        # stage 3: rows 2p preferred and 2p + 1 rejected, one column
        batch = preferences(
            run.sampler, sample, model, options.identity, options.states, options.margin, narrow=True
        ).trajectories
        for _ in range(options.epochs):
            run.update(run.loss(dpo, batch, batch.reward, beta=options.beta))
        run.next(sample.trajectories)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, AgentPrm))
