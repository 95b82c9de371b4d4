"""MT-GRPO: a segment has the group advantage of what it earned itself, and that of the outcome.

    python agents/mt_grpo.py --env credit/Lookup-v0 --seed 3 --device cpu

    A_(k) = Σ_{l ≥ k} α^(l−k) coef · A^I_(l) + α^(K−k) A^O

Turn rewards are what the environment verifies (a subgoal reached, an answer found): tables that label none are refused.
Independent rollouts are compared turn by turn, which for more than two turns is a reconstruction: their states differ.

Left out: forking G actions in each turn's state, which the formula demands for more than two turns
(`credit-envs train mt_grpo_forked`).

Source: Zeng et al. 2025, arXiv 2505.11821; released code ``mt_grpo_env_trainer.py``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Literal

import torch

from credit_envs.credit.mt_grpo import mt_grpo
from credit_envs.losses.ppo import ppo
from credit_envs.recipes import recipe
from credit_envs.training import Options, Run, start


@dataclass
class MtGrpo(Options):
    """Trains a policy with MT-GRPO.

    Attributes:
        alpha: How much later turns count for an earlier one.
        coef: Weight of turn advantages.
        level: What a turn is: segment or turn.
        epochs: Updates per batch; from the second on, importance ratios are clipped.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
    """

    env: str = "credit/Lookup-v0"
    alpha: float = 1.0
    coef: float = 1.0
    level: Literal["segment", "turn"] = "segment"
    epochs: int = 1
    low: float = 0.2
    high: float = 0.2


def train(options: MtGrpo) -> dict[str, Any]:
    """The whole loop."""
    run = Run("mt_grpo", options)
    run.require(recipe("mt_grpo"))
    among = {"alpha": options.alpha, "coef": options.coef, "level": options.level, "turns": None}
    clip = {"low": options.low, "high": options.high, "dual": None, "mode": "seq-mean-token-sum-norm"}
    clip["length"] = run.table.horizon
    while run.going():
        sample = run.groups()
        batch = sample.trajectories
        credit = torch.zeros_like(batch.reward)
        for index, own, provided in run.each(sample):
            credit[index] = mt_grpo(own.trajectories, labels=provided["labels"], **among)
        for _ in range(options.epochs):
            run.update(run.loss(ppo, batch, credit, **clip))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, MtGrpo))
