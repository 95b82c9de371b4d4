"""GraphGPO: how much closer to success a step leads, on the graph that a group's rollouts walked.

    python agents/graph_gpo.py --env credit/KeyRooms-v0 --seed 3 --device cpu

    g_t = 10 · decay^d(φ_{t+1}),  d = fewest observed steps to success;   Â_t = z-score of g among its anchor + z-score of R

Best distances that were seen, not values of the policy: a step that nearly always fails is praised for the one time it didn't.
Compare anchor_graph.py, which solves for the policy's values on the same graph.

Left out: similarity of observations as anchors. `--success best` is for tasks that pay or charge along the way.

Source: Cheng et al. 2026, arXiv 2605.26684; released code verl-agent ``recipe/GraphGPO``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Literal

from credit_envs.credit.graph_gpo import graph_gpo
from credit_envs.losses.ppo import ppo
from credit_envs.training import Options, Run, start


@dataclass
class GraphGpo(Options):
    """Trains a policy with GraphGPO.

    Attributes:
        decay: What a step of distance costs.
        success: What counts: a positive return, or the group's best.
        progress: Credit the change of distance.
        episode_weight: Weight of the episode's advantage.
        epochs: Updates per batch; from the second on, importance ratios are clipped.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
    """

    decay: float = 0.1
    success: Literal["positive", "best"] = "positive"
    progress: bool = False
    episode_weight: float = 1.0
    epochs: int = 1
    low: float = 0.2
    high: float = 0.2


def train(options: GraphGpo) -> dict[str, Any]:
    """The whole loop."""
    run = Run("graph_gpo", options)
    clip = {"low": options.low, "high": options.high, "dual": None, "mode": "seq-mean-token-sum-norm"}
    clip["length"] = run.table.horizon
    while run.going():
        batch = run.groups().trajectories
        credit = graph_gpo(batch, options.decay, options.success, options.progress, options.episode_weight)
        for _ in range(options.epochs):
            run.update(run.loss(ppo, batch, credit, **clip))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, GraphGpo))
