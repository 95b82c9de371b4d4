"""HiPER: the policy plans aloud (keep or switch, a subgoal, an action), and each of the three has its own advantage.

    python agents/hiper.py --env "credit/KeyRooms-v0?plan=2" --seed 3 --device cpu

    segments run from switch to switch;  GAE over steps inside them (λ), GAE over segments between them (λ_segment)

With the `plan` dial the three heads are three kinds of step of one policy, told apart by what is seen. Critics are tables of
mean returns, fitted on fresh groups that are paid for.

Left out: the keep penalty (a reward, not an advantage) and the released third head (`credit-envs train hiper_released`).
Without a plan see credit_envs/credit/segments.py (`credit-envs train hiper_segments`).

Source: Peng et al. 2026, arXiv 2602.16165, §4; released code ``JonP07/HiPER-agent``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import torch

from credit_envs.credit.hiper import hiper
from credit_envs.losses.ppo import ppo
from credit_envs.recipes import recipe
from credit_envs.training import Options, Run, start


@dataclass
class Hiper(Options):
    """Trains a policy with HiPER.

    Attributes:
        gamma: Discount.
        lam: λ inside segments.
        lam_segment: λ between segments.
        normalise: Move each kind of advantage to mean 0 and variance 1.
        epochs: Updates per batch; from the second on, importance ratios are clipped.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
    """

    env: str = "credit/KeyRooms-v0?plan=2"
    groups: int = 8
    gamma: float = 1.0
    lam: float = 1.0
    lam_segment: float = 0.95
    normalise: bool = False
    epochs: int = 1
    low: float = 0.2
    high: float = 0.2


def train(options: Hiper) -> dict[str, Any]:
    """The whole loop."""
    run = Run("hiper", options)
    run.require(recipe("hiper"))
    weights = {name: getattr(options, name) for name in ("gamma", "lam", "lam_segment", "normalise")}
    clip = {"low": options.low, "high": options.high, "dual": None, "mode": "seq-mean-token-sum-norm"}
    clip["length"] = run.table.horizon
    while run.going():
        sample = run.groups()
        batch = sample.trajectories
        credit = torch.zeros_like(batch.reward)
        for index, own, provided in run.each(sample):
            given = {"labels": provided["labels"], "fresh": provided["fresh"]}
            credit[index] = hiper(own.trajectories, **given, **weights)
        for _ in range(options.epochs):
            run.update(run.loss(ppo, batch, credit, **clip))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, Hiper))
