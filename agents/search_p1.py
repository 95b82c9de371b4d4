"""Search-P1: pay the path as well as the answer, by the rollout's own plan or by a reference, and wrong answers in part.

    python agents/search_p1.py --env credit/Lookup-v0 --seed 3 --device cpu

    R      = 0.3 · R_path + 0.6 · R_out + 0.1 · R_fmt,     R_path = max(S_self, S_ref);    Â = GRPO's advantage of R
    S_self = quality of the plan · (executed / planned) · (executed / actions)
    S_ref  = (covered / reference) · (covered / actions)
    R_out  = 1 if right, else 0.8 · what the answer is worth + 0.2 · what was known before it

One number per rollout: a better shaped reward, and no credit of its steps. The reference counts for tables that label what is
left of it (Lookup, Sums, Charts), the plan for tables with the `plan` dial; tables with neither are refused. What is
measured is the environment's return, whatever is paid.

Left out: extractors and judges (labels stand for them), the KL term (weight 0.001), and groups of 16: `--group-size 16`. No
code was released: a reconstruction; open points of the paper, and what was chosen, stand in credit_envs/rewards/search_p1.py.

Source: arXiv 2602.22576, §3.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from credit_envs.credit.grpo import grpo
from credit_envs.losses.ppo import ppo
from credit_envs.recipes import recipe
from credit_envs.rewards.search_p1 import search_p1
from credit_envs.training import Options, Run, start


@dataclass
class SearchP1(Options):
    """Trains a policy with Search-P1.

    Attributes:
        path: Weight of the path.
        outcome: Weight of the answer.
        form: Weight of the format.
        soft: Pay wrong answers in part.
        efficiency: Divide tracks by the number of actions.
        strict: Pay nothing for rollouts that were cut off.
        norm_by_std: Divide a group's advantages by their deviation.
        epochs: Updates per batch; from the second on, importance ratios are clipped.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
    """

    env: str = "credit/Lookup-v0"
    path: float = 0.3
    outcome: float = 0.6
    form: float = 0.1
    soft: bool = True
    efficiency: bool = True
    strict: bool = False
    norm_by_std: bool = True
    epochs: int = 1
    low: float = 0.2
    high: float = 0.28


def train(options: SearchP1) -> dict[str, Any]:
    """The whole loop."""
    run = Run("search_p1", options)
    run.require(recipe("search_p1"))
    pays = {name: getattr(options, name) for name in ("path", "outcome", "form", "soft", "efficiency", "strict")}
    clip = {"low": options.low, "high": options.high, "dual": None, "mode": "seq-mean-token-sum-norm"}
    clip["length"] = run.table.horizon
    while run.going():
        sample = run.groups()
        batch = sample.trajectories
        # the same rollouts with another reward, all of it with the last step
        paid = search_p1(batch, labels=run.provided(sample)["labels"], **pays)
        credit = grpo(paid, options.norm_by_std)
        for _ in range(options.epochs):
            run.update(run.loss(ppo, batch, credit, **clip))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, SearchP1))
