"""Tree-GRPO: rollouts fork at random steps, and leaves are compared inside their tree and among the trees of a prompt.

    python agents/tree_grpo.py --env credit/KeyRooms-v0 --seed 3 --device cpu

    M trees per prompt; L rounds, in each of which every tree is forked at N of its nodes, uniformly at random
    Â(leaf) = (R − mean of its tree)/(std + ε) + (R − mean of its prompt)/(std + ε)

A leaf's number stands for its whole way from the root, so a step that several leaves share is trained once for each of them.
A fork is paid for from where it leaves its tree (`restore`: states are stored here for nothing).

`group_size` is the budget of a prompt in chains, from which M follows: 2, 4, 8, 16 give the paper's (M, N, L) of (1, 2, 1),
(2, 2, 1), (4, 2, 1), (8, 2, 1). Leaves of a tree are not independent rollouts, and their gradient is biased even without the
division (credit_envs/credit/tree.py says by how much).

Left out: the KL term, the format reward and the retrieval tools of the released code. Departure: the loss is divided by the
horizon, as in the other agents. `--credit value` is ours: V̂(child) − V̂(parent) read off the tree, step by step.

Source: Ji et al. 2025, arXiv 2509.21240 (ICLR 2026), §3; released code ``search_r1/llm_agent/generation_ts.py``.
"""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from typing import Any, Literal

from credit_envs.credit.tree import tree_grpo, tree_value
from credit_envs.losses.ppo import ppo
from credit_envs.plans.tree import trees
from credit_envs.training import Options, Run, start


@dataclass
class TreeGrpo(Options):
    """Trains a policy with Tree-GRPO.

    Attributes:
        forks: Forks per tree and round (N).
        rounds: Rounds of forking (L).
        credit: leaf, the paper's; value, what the tree says of each step (ours).
        norm_by_std: Divide both terms by their deviations.
        epochs: Updates per batch; from the second on, importance ratios are clipped.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
    """

    forks: int = 2
    rounds: int = 1
    credit: Literal["leaf", "value"] = "leaf"
    norm_by_std: bool = True
    epochs: int = 1
    low: float = 0.2
    high: float = 0.2


def train(options: TreeGrpo) -> dict[str, Any]:
    """The whole loop."""
    run = Run("tree_grpo", options)
    plan = functools.partial(trees, forks=options.forks, rounds=options.rounds)
    clip = {"low": options.low, "high": options.high, "dual": None, "mode": "seq-mean-token-sum-norm"}
    while run.going():
        # leaves are rows; batch.tree says whose, batch.node which steps they share
        batch = run.groups(plan).trajectories
        leaf = options.credit == "leaf"
        credit = tree_grpo(batch, options.norm_by_std) if leaf else tree_value(batch, leave_one_out=True)
        for _ in range(options.epochs):
            run.update(run.loss(ppo, batch, credit, length=run.table.horizon, **clip))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, TreeGrpo))
