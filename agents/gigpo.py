"""GiGPO: a rollout's group advantage, plus an advantage among all steps of the group that stand at the same anchor.

    python agents/gigpo.py --env credit/KeyRooms-v0 --seed 3 --device cpu

    Â_{i,t} = A^E_i + ω · A^S_{i,t}
    A^E_i     = (R_i − mean_group R) / F
    A^S_{i,t} = (G_{i,t} − mean_anchor G) / F,      G_{i,t} = Σ_{k≥t} γ^{k−t} r_{i,k}

Anchors are observations, compared exactly. F is 1, or the deviation with `--norm-by-std`. The step term needs no model and
no extra rollout: it lives on rollouts that meet. Where none do (revisit rate near 1/E[T]) GiGPO is GRPO.

Left out: the KL term and the penalty for inadmissible actions (admissible ones are all that the policy can say), and the
rollout machinery for language models. Added: everything that Run does around the loop.
Departure: losses are summed over a rollout's steps and divided by a constant, so that short rollouts don't weigh more.

Source: Feng et al. 2025, arXiv 2505.10978; released code ``gigpo/core_gigpo.py``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from credit_envs.credit.gigpo import gigpo
from credit_envs.losses.ppo import ppo
from credit_envs.training import Options, Run, start


@dataclass
class Gigpo(Options):
    """Trains a policy with GiGPO.

    Attributes:
        gamma: Discount of the step returns.
        omega: Weight of the step advantage.
        norm_by_std: Divide both terms by their deviations.
        epochs: Updates per batch; from the second on, importance ratios are clipped.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
    """

    gamma: float = 0.95
    omega: float = 1.0
    norm_by_std: bool = False
    epochs: int = 1
    low: float = 0.2
    high: float = 0.2


def train(options: Gigpo) -> dict[str, Any]:
    """The whole loop."""
    run = Run("gigpo", options)
    clip = {"low": options.low, "high": options.high, "dual": None, "mode": "seq-mean-token-sum-norm"}
    while run.going():
        # groups x group_size rollouts; those of a group begin in the same start state
        batch = run.groups().trajectories
        # float64 [rollouts, steps]: what a step gets depends on what the others of its group earned from the same place
        credit = gigpo(batch, options.gamma, options.omega, options.norm_by_std)
        for _ in range(options.epochs):
            run.update(run.loss(ppo, batch, credit, length=run.table.horizon, **clip))
        # from here on rollouts follow the new policy
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, Gigpo))
