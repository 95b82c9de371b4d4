"""MCTS → PRM: tree search labels actions, a reward model is fitted on the labels, and its change is the credit.

    python agents/mcts_prm.py --env credit/KeyRooms-v0 --seed 3 --device cpu

    labels   Q(s, a) of the nodes of trees grown from visited states, by UCT, PUCT or the policy itself
    model    Q̂(s, a) = mean label of the pair, weighted by visits;   V̂(s) = Σ_a π(a|s) Q̂(s, a)
    reward   r'_t = r_t + γ V̂(s_{t+1}) − V̂(s_t),  V̂ = 0 after the end      (no policy's rank changes)
    credit   Â_t = Σ_{k ≥ t} (γλ)^{k−t} r'_k:  λ = 0 trusts the model, λ = 1 the rollout against V̂(s_t)

A search costs `--simulations` playouts to the end per root, all charged to the budget. Under UCT Q is neither Q^π nor Q* at a
finite budget, so V̂ is off by more than noise; `--rule policy` searches by the policy, and every label is an unbiased
estimate of Q^π. Where V̂ = V^π and λ = 0 the credit's mean is the exact advantage.

A batch of 32 rollouts with 12 searches of 8 playouts costs about what 16 × 8 plain rollouts cost, as in the other agents.

Left out: language-model proposals and critics of nodes, and the search at test time: what is trained is the policy alone.
Reconstruction: no single paper gives this recipe. The loss is divided by the horizon, as in the other agents.

Source: Kocsis and Szepesvári 2006 (UCT); Ng, Harada and Russell 1999 (potential-based shaping); Agent Q (arXiv 2408.07199)
and ReST-MCTS* (arXiv 2406.03816) for search as a source of process rewards.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Literal

import torch

from credit_envs.credit.immediate import immediate
from credit_envs.losses.ppo import ppo
from credit_envs.rewards.mcts import mcts_shaped
from credit_envs.training import Options, Run, start


@dataclass
class MctsPrm(Options):
    """Trains a policy with a process reward model fitted on tree search.

    Attributes:
        simulations: Playouts per search.
        roots: Searches per rollout, on average.
        rule: How trees are searched: uct, puct or policy.
        c: Weight of exploration.
        n_min: Simulations that a label must rest on.
        gamma: Discount of the potential.
        lam: How far a step's credit looks ahead over shaped rewards.
        epochs: Updates per batch; from the second on, importance ratios are clipped.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
    """

    groups: int = 4
    simulations: int = 8
    roots: float = 0.375
    rule: Literal["uct", "puct", "policy"] = "uct"
    c: float = 2**0.5
    n_min: int = 2
    gamma: float = 1.0
    lam: float = 0.95
    epochs: int = 1
    low: float = 0.2
    high: float = 0.2


def train(options: MctsPrm) -> dict[str, Any]:
    """The whole loop."""
    run = Run("mcts_prm", options)
    grow = {"simulations": options.simulations, "roots": options.roots, "rule": options.rule, "c": options.c}
    clip = {"low": options.low, "high": options.high, "dual": None, "mode": "seq-mean-token-sum-norm"}
    while run.going():
        sample = run.groups()
        batch = sample.trajectories
        credit = torch.zeros_like(batch.reward)
        for index, own, provided in run.each(sample):
            # a model for each learner; searching restores visited states and is charged step by step
            search = provided["search"]
            paid = mcts_shaped(own.trajectories, search=search, gamma=options.gamma, n_min=options.n_min, **grow)
            credit[index] = immediate(paid, options.gamma, options.lam)
        for _ in range(options.epochs):
            run.update(run.loss(ppo, batch, credit, length=run.table.horizon, **clip))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, MctsPrm))
