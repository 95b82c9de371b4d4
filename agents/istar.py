"""iStar: implicit step rewards from a second policy that is trained to prefer won rollouts.

    python agents/istar.py --env credit/KeyRooms-v0 --seed 3 --device cpu

    L_φ = −mean log σ(β [log π_φ/π_old (won) − log π_φ/π_old (lost)])      all win × lose pairs of a group
    r_t = β log π_φ(a_t|o_t)/π_old(a_t|o_t),    Â = group advantage of R + α · group advantage of r

No label below the outcome is used: what tells won from lost rollouts is spread over their steps. The number of updates of π_φ
and their size set the scale of r, which is why both parts are normalised separately.

Left out: π_φ's weights are not carried from batch to batch (it starts at the policy that acted).

Source: Liu et al. 2025, arXiv 2509.19199; released code ``Tongyi-ConvAI/Qwen-Character``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from credit_envs.credit.istar import istar
from credit_envs.losses.ppo import ppo
from credit_envs.rewards.implicit import implicit
from credit_envs.sampling.trajectories import Trajectories
from credit_envs.training import Options, Run, start


@dataclass
class Istar(Options):
    """Trains a policy with iStar.

    Attributes:
        alpha: Weight of the step advantage.
        beta: Scale of the implicit rewards.
        updates: Gradient steps of the second policy.
        norm: z (deviation) or rloo (leave-one-out, the released default).
        epochs: Updates per batch; from the second on, importance ratios are clipped.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
    """

    alpha: float = 1.0
    beta: float = 0.05
    updates: int = 10
    norm: Literal["z", "rloo"] = "z"
    epochs: int = 1
    low: float = 0.2
    high: float = 0.2


def train(options: Istar) -> dict[str, Any]:
    """The whole loop."""
    run = Run("istar", options)
    clip = {"low": options.low, "high": options.high, "dual": None, "mode": "seq-mean-token-sum-norm"}
    clip["length"] = run.table.horizon

    def estimate(batch: Trajectories) -> Tensor:
        paid = implicit(batch, options.beta, options.updates)
        return istar(paid, options.alpha, options.norm)

    while run.going():
        batch = run.groups().trajectories
        credit = run.apart(batch, estimate)
        for _ in range(options.epochs):
            run.update(run.loss(ppo, batch, credit, **clip))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, Istar))
