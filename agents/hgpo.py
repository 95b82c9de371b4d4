"""HGPO: steps are compared with those that share their last k anchors, for several k at once.

    python agents/hgpo.py --env credit/KeyRooms-v0 --seed 3 --device cpu

    Â_t = Σ_k w_k a_k / Σ_k w_k,   a_k the z-score of G_t among steps that share k anchors,   w_k = (k + 1)^α

GiGPO's step groups under more and more history: deep groups are small and alike, shallow ones large and mixed. A group of
one has nothing to say and drops out.

Left out: the memory module of the language model whose context the levels follow: policies here see one observation.

Source: He et al. 2026, arXiv 2602.22817; released code verl-agent ``recipe/hgpo``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from credit_envs.credit.hgpo import hgpo
from credit_envs.losses.ppo import ppo
from credit_envs.training import Options, Run, start


@dataclass
class Hgpo(Options):
    """Trains a policy with HGPO.

    Attributes:
        gamma: Discount of the step returns.
        history: Anchors before the present one that the deepest level shares (K).
        alpha: How much deeper levels weigh.
        base: Add the episode's group advantage.
        epochs: Updates per batch; from the second on, importance ratios are clipped.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
    """

    gamma: float = 0.95
    history: int = 2
    alpha: float = 1.0
    base: bool = False
    epochs: int = 1
    low: float = 0.2
    high: float = 0.2


def train(options: Hgpo) -> dict[str, Any]:
    """The whole loop."""
    run = Run("hgpo", options)
    clip = {"low": options.low, "high": options.high, "dual": None, "mode": "seq-mean-token-sum-norm"}
    clip["length"] = run.table.horizon
    while run.going():
        batch = run.groups().trajectories
        credit = hgpo(batch, options.gamma, options.history, options.alpha, base=options.base)
        for _ in range(options.epochs):
            run.update(run.loss(ppo, batch, credit, **clip))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, Hgpo))
