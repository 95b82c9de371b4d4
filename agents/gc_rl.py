"""GC-RL: solve, then judge solutions that the policy wrote itself, and train on both.

    python agents/gc_rl.py --env "credit/Sums-v0?task=both" --seed 3 --device cpu

    first order    groups of solutions, paid by the task
    cache          one right and one wrong solution of each mixed group (it lasts for one update)
    second order   a group of critiques of each solution in the cache:  R(c) = 0.7 · 1[right and wrong told apart]
    Â              GRPO's advantage within each group of either order

For tables that hold both tasks (`Sums` with `task=both`); others are refused. A right verdict for a wrong reason scores, as in
the paper, and a policy trained so tells that something is wrong rather than where. `--place` asks for the column of the error
too, which is what the task itself pays. The environment's return is measured over both tasks as the table draws them:
half of it is critiques, of solutions that the policy didn't write.

A table of logits shares nothing between observations, so its critiques cannot help its solutions: `--policy text` reads words.

Left out: the cold start by supervised fine-tuning on a stronger model's critiques. `--no-second` leaves solving alone, by GRPO.

Source: arXiv 2602.22765, §3 (no code).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import torch

from credit_envs.credit.grpo import grpo
from credit_envs.losses.ppo import ppo
from credit_envs.plans.gc_rl import mixed_cache
from credit_envs.plans.joining import joined
from credit_envs.recipes import recipe
from credit_envs.rewards.critique import critique_reward
from credit_envs.sampling.trajectories import Sample
from credit_envs.training import Options, Run, start
from credit_envs.training.learners import Learners


@dataclass
class GcRl(Options):
    """Trains a policy with GC-RL.

    Attributes:
        second: Draw critiques of the policy's own solutions.
        weight: What a right verdict earns.
        balanced: Weigh verdicts on right and on wrong solutions equally.
        place: Pay a verdict only if it finds the error's place too.
        norm_by_std: Divide a group's advantages by their deviation.
        epochs: Updates per batch; from the second on, importance ratios are clipped.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
    """

    env: str = "credit/Sums-v0?task=both"
    second: bool = True
    weight: float = 0.7
    balanced: bool = False
    place: bool = False
    norm_by_std: bool = True
    epochs: int = 1
    low: float = 0.2
    high: float = 0.2


def train(options: GcRl) -> dict[str, Any]:
    """The whole loop."""
    run = Run("gc_rl", options)
    run.require(recipe("gc_rl"))
    solving = torch.from_numpy(run.table.labels["task"][run.table.start_state] == 0)
    pays = {"weight": options.weight, "balanced": options.balanced, "place": options.place}
    clip = {"low": options.low, "high": options.high, "dual": None, "mode": "seq-mean-token-sum-norm"}
    clip["length"] = run.table.horizon

    def both_orders(sampler: Learners, groups: int, size: int) -> Sample:
        first = sampler.groups(groups, size, context=sampler.starts(groups, among=solving))
        judged = mixed_cache(first, sampler.table).context
        if not options.second or not len(judged):
            return first
        return joined([first, sampler.groups(len(judged), size, context=judged)])

    while run.going():
        sample = run.groups(both_orders)
        batch = sample.trajectories
        credit = torch.zeros_like(batch.reward)
        # learner by learner: balanced weights are those of a learner's own critiques
        for index, own, provided in run.each(sample):
            paid = critique_reward(own.trajectories, labels=provided["labels"], **pays)
            credit[index] = grpo(paid, options.norm_by_std)
        for _ in range(options.epochs):
            run.update(run.loss(ppo, batch, credit, **clip))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, GcRl))
