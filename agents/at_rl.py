"""AT-RL: update the steps that attend to the image, and those alone.

    python agents/at_rl.py --env credit/Charts-v0 --seed 3 --device cpu

    Â_{i,t} = W_t · Â_i,      W_t = 1 where c_t is among the `share` of a batch's steps with the largest c, else w_low

c_t is how much step t attends to the image. `--policy transformer` has an attention of its own, and that is used. Other
policies attend to nothing: for them c is read off the label that says which steps only the image tells, through a channel
that is right with probability `accuracy` (1/2 says nothing); steps that it rates alike are ordered by chance. So a table is
told something that no real system knows.

For environments where only the image tells something: Charts, Gallery, or any with the cue dial
(`--env "credit/KeyRooms-v0?cue=0.5"`). With w_low at 0 the other steps learn nothing, whatever they decide.

Left out: the clustering. The paper partitions a graph of tokens where this takes a threshold, and no code was released: a
reconstruction. Summaries disagree on whether other steps are dropped or damped: `--rest 0.5` damps them.

Source: Jiao et al. 2026, arXiv 2602.11455.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from credit_envs.credit.grpo import grpo
from credit_envs.losses.ppo import ppo
from credit_envs.policies import Transformer
from credit_envs.recipes import recipe
from credit_envs.training import Options, Run, start
from credit_envs.weights.at_rl import at_rl, at_rl_attention


@dataclass
class AtRl(Options):
    """Trains a policy with AT-RL.

    Attributes:
        accuracy: How often the label that stands for attention is right; of no effect on a transformer.
        share: Part of a batch's steps that is updated.
        rest: Weight of the other steps (w_low).
        renormalise: Scale weights to mean 1.
        complement: Update the other steps instead (the paper's control).
        epochs: Updates per batch; from the second on, importance ratios are clipped.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
    """

    env: str = "credit/Charts-v0"
    accuracy: float = 0.9
    share: float = 0.15
    rest: float = 0.0
    renormalise: bool = False
    complement: bool = False
    epochs: int = 1
    low: float = 0.2
    high: float = 0.2


def train(options: AtRl) -> dict[str, Any]:
    """The whole loop."""
    run = Run("at_rl", options)
    run.require(recipe("at_rl"))
    chosen = {"share": options.share, "low": options.rest}
    chosen |= {"renormalise": options.renormalise, "complement": options.complement}
    clip = {"low": options.low, "high": options.high, "dual": None, "mode": "seq-mean-token-sum-norm"}
    clip["length"] = run.table.horizon
    while run.going():
        sample = run.groups()
        batch = sample.trajectories
        credit = grpo(batch)
        # learner by learner: the share is one of a learner's own batch
        for index, own, provided in run.each(sample):
            if isinstance(run.policy, Transformer):
                weight = at_rl_attention(own.trajectories, run.policy.attention(own.trajectories, "picture"), **chosen)
            else:
                told = {"visual": provided["visual"], "noise": run.noise}
                weight = at_rl(own.trajectories, options.accuracy, **chosen, **told)
            credit[index] *= weight
        for _ in range(options.epochs):
            run.update(run.loss(ppo, batch, credit, **clip))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, AtRl))
