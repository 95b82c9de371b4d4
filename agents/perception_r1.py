"""Perception-R1: pay the answer, and the key visual facts that a judge finds stated in the solution.

    python agents/perception_r1.py --env credit/Charts-v0 --seed 3 --accuracy 0.8

    R   = 0.9 · acc + 0.1 · format + 0.7 · r_v − 2 · (repeated n-grams / all n-grams),     n = 20 actions
    r_v = share of the key facts that the judge finds;    Â = GRPO's advantage of R

A part of one number per rollout, not a credit of the steps that state a fact. The judge turns each verdict round with
probability 1 − accuracy, by luck that is new in every batch; at 1/2 it says nothing. What is measured is the environment's
return, whatever is paid: a policy that states facts and answers wrong is paid here and worth nothing there.

For tables that label key facts (Charts); others are refused. There every fact must be stated right for the answer to be, so
acc contains r_v, and rollouts are too short for an n-gram to repeat.

Left out: extracting the facts (a stronger model's solutions), which the labels stand for; the format is always right.

Source: Xiao et al. 2025, arXiv 2506.07218, §3; released code ``tongxiao2002/Perception-R1``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import torch

from credit_envs.credit.grpo import grpo
from credit_envs.losses.ppo import ppo
from credit_envs.recipes import recipe
from credit_envs.rewards.perception import perception_r1
from credit_envs.training import Options, Run, start


@dataclass
class PerceptionR1(Options):
    """Trains a policy with Perception-R1.

    Attributes:
        accuracy: How often the judge is right about a fact.
        outcome: Weight of the answer.
        form: Weight of the format, a constant here.
        facts: Weight of the facts that the judge finds.
        repetition: Weight of the penalty for repeated n-grams.
        ngram: Actions of an n-gram.
        norm_by_std: Divide a group's advantages by their deviation.
        epochs: Updates per batch; from the second on, importance ratios are clipped.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
    """

    env: str = "credit/Charts-v0"
    accuracy: float = 1.0
    outcome: float = 0.9
    form: float = 0.1
    facts: float = 0.7
    repetition: float = 2.0
    ngram: int = 20
    norm_by_std: bool = True
    epochs: int = 1
    low: float = 0.2
    high: float = 0.2


def train(options: PerceptionR1) -> dict[str, Any]:
    """The whole loop."""
    run = Run("perception_r1", options)
    run.require(recipe("perception_r1"))
    pays = {name: getattr(options, name) for name in ("accuracy", "outcome", "form", "facts", "repetition", "ngram")}
    clip = {"low": options.low, "high": options.high, "dual": None, "mode": "seq-mean-token-sum-norm"}
    clip["length"] = run.table.horizon
    while run.going():
        sample = run.groups()
        batch = sample.trajectories
        credit = torch.zeros_like(batch.reward)
        # learner by learner: each has a judge of its own
        for index, own, provided in run.each(sample):
            paid = perception_r1(own.trajectories, labels=provided["labels"], noise=run.noise, **pays)
            credit[index] = grpo(paid, options.norm_by_std)
        for _ in range(options.epochs):
            run.update(run.loss(ppo, batch, credit, **clip))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, PerceptionR1))
