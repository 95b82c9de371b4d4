"""Anchor-graph backup (ours): rollouts of a group that meet form a graph, and values are solved on it instead of averaged.

    python agents/anchor_graph.py --env credit/KeyRooms-v0 --seed 3 --device cpu

GiGPO compares returns of steps that stand at one anchor; each such return carries the luck of everything that follows. Here
what follows is taken from all rollouts that pass by: V̂ is the policy's value on the graph of shared anchors (one sparse linear
solve), a step's target is what it collected up to the next shared anchor plus V̂ there, its baseline the anchor's
value without its own rollout. No model, no extra rollout.

    mix     several resolutions (the step rounded to multiples of 1, 4, 16, 64, ∞ is part of the anchor) weighted by what the
            batch itself says of each: credit_envs/credit/anchor_mix.py
    graph   anchors as they look
    time    the step is part of the anchor

What anchors hide (the remaining time, aliased states) biases `graph`; `time` hides nothing and shares little; `mix` decides by
an unbiased reference and so needs at least four groups.

Left out: nothing; departure from GiGPO's loop: none but the credit. The loss is divided by the horizon, as in the other agents.

Source: ours; kin are GiGPO (arXiv 2505.10978), LSTD (Bradtke & Barto 1996) and stacking (Wolpert 1992).
"""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from typing import Any, Literal

from credit_envs.credit.anchor_graph import anchor_graph
from credit_envs.credit.anchor_mix import anchor_graph_mix
from credit_envs.losses.ppo import ppo
from credit_envs.training import Options, Run, start


@dataclass
class AnchorGraph(Options):
    """Trains a policy with anchor-graph backup.

    Attributes:
        kind: mix, graph or time, see the head of this file.
        gamma: Discount.
        kappa: How many visits the baseline carried over from the previous step is worth.
        epochs: Updates per batch; from the second on, importance ratios are clipped.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
    """

    kind: Literal["mix", "graph", "time"] = "mix"
    gamma: float = 1.0
    kappa: float = 1.0
    epochs: int = 1
    low: float = 0.2
    high: float = 0.2


def train(options: AnchorGraph) -> dict[str, Any]:
    """The whole loop."""
    run = Run("anchor_graph", options)
    kinds = {
        "mix": functools.partial(anchor_graph_mix, gamma=options.gamma, kappa=options.kappa),
        "graph": functools.partial(anchor_graph, gamma=options.gamma, kappa=options.kappa),
        "time": functools.partial(anchor_graph, gamma=options.gamma, kappa=options.kappa, time=True),
    }
    clip = {"low": options.low, "high": options.high, "dual": None, "mode": "seq-mean-token-sum-norm"}
    while run.going():
        batch = run.groups().trajectories
        # the mix weighs resolutions by all groups of a batch, so learners that train beside each other are kept apart
        credit = run.apart(batch, kinds[options.kind])
        for _ in range(options.epochs):
            run.update(run.loss(ppo, batch, credit, length=run.table.horizon, **clip))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, AnchorGraph))
