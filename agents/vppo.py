"""VPPO: update the steps whose action depends on the image, and trust rollouts that looked at it a little more.

    python agents/vppo.py --env credit/Charts-v0 --seed 3 --device cpu

    S_t  = k3(log π(a|text) − log π(a|text, image)): one more pass of the policy without the image
    mask = 1 on the `share` of a rollout's steps with the largest S;   α_i rises with a rollout's mean S
    Â    = α_i · mask · GRPO's advantage

For environments where only the image tells something: Charts, Gallery, or any with the cue dial
(`--env "credit/KeyRooms-v0?cue=0.5"`). A tabular policy has no image-free pass of its own: the Bayes-marginal one stands in.

Left out: DAPO's dynamic sampling, which the paper's runs have on top (`credit-envs train vppo_dapo`). Departure: steps that
depend equally are kept together. A policy that starts uniform looks at nothing, so all of its steps tie at S = 0; were the
first of them picked, only they would ever be learnt.

Source: Huang et al. 2025, arXiv 2510.09285; released code ``verl/workers/actor/dp_actor.py``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from credit_envs.credit.grpo import grpo
from credit_envs.losses.ppo import ppo
from credit_envs.recipes import recipe
from credit_envs.training import Options, Run, start
from credit_envs.weights.vppo import vppo


@dataclass
class Vppo(Options):
    """Trains a policy with VPPO.

    Attributes:
        share: Part of a rollout's steps that is updated (k).
        shaping: The smallest factor of a rollout (β); 1 leaves all alone.
        epochs: Updates per batch; from the second on, importance ratios are clipped.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
    """

    env: str = "credit/Charts-v0"
    share: float = 0.4
    shaping: float = 0.9
    epochs: int = 1
    low: float = 0.2
    high: float = 0.2


def train(options: Vppo) -> dict[str, Any]:
    """The whole loop."""
    run = Run("vppo", options)
    run.require(recipe("vppo"))
    clip = {"low": options.low, "high": options.high, "dual": None, "mode": "seq-mean-token-sum-norm"}
    clip["length"] = run.table.horizon
    while run.going():
        sample = run.groups()
        batch = sample.trajectories
        credit = grpo(batch)
        for index, own, provided in run.each(sample):
            blind = provided["blind_log_prob"]
            credit[index] *= vppo(own.trajectories, options.share, options.shaping, ties=True, blind_log_prob=blind)
        for _ in range(options.epochs):
            run.update(run.loss(ppo, batch, credit, **clip))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, Vppo))
