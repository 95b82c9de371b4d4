"""PA-MoE: experts of one policy take turns, step by step as a router sees fit, and learn from GiGPO's credit.

    python agents/pa_moe.py --env credit/KeyRooms-v0 --seed 3 --device cpu

    expert z_t = argmax_k p_t,    p_t = router(observation, goal, last 5 steps) / τ,     τ falls from 2 to 1/2
    L = L_GiGPO + L_div + L_bal + L_switch

    L_div      experts that are active together differ by at least 0.3 nats
    L_bal      on average all experts are used alike
    L_switch   0.05 · (1 − Σ_k p_{t,k} p_{t+1,k}), averaged over steps: a turn lasts

An architecture, not a credit: which parameters a step trains. The credit is gigpo.py's, for experts and router alike. The
policy remembers five steps and trains one learner at a time (`credit-envs compare pa_moe --policy phase_moe --seeds 5`); its
returns are simulated. `credit-envs train gigpo --policy phase_moe` is the same without the three terms, at τ = 1.

Left out: the language model under the experts: all weights start at random and learn, where the paper freezes the base. τ
falls over the budget, where the paper's falls over 3000 updates; the shape is ours. Departure: a choice has no gradient, so
the backward pass mixes the experts. A reconstruction, see credit_envs/policies/phase_moe.py and routing.py.

Source: Yang et al. 2026, arXiv 2602.17038; released code ``YsTvT/PA-MoE``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from credit_envs.credit.gigpo import gigpo
from credit_envs.errors import CreditEnvsError
from credit_envs.losses.ppo import ppo
from credit_envs.policies.phase import Phase
from credit_envs.policies.routing import balance, diversity, switching, temperature
from credit_envs.registry import make_table
from credit_envs.training import Options, Run, start

_FALL = 1000  # τ is set in so many steps over the budget


@dataclass
class PaMoe(Options):
    """Trains a mixture of experts with PA-MoE.

    Attributes:
        experts: Number of experts K; with one, the policy is a plain network.
        diversity: Weight of L_div.
        balance: Weight of L_bal.
        switching: Weight of L_switch.
        hot: Temperature of the router at first.
        cold: Temperature of the router at the end of the budget.
        gamma: Discount of the step returns.
        omega: Weight of the step advantage.
        epochs: Updates per batch; from the second on, importance ratios are clipped.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
    """

    policy: str = "phase_moe"
    experts: int = 4
    diversity: float = 0.1
    balance: float = 0.01
    switching: float = 0.05
    hot: float = 2.0
    cold: float = 0.5
    gamma: float = 0.95
    omega: float = 1.0
    epochs: int = 1
    low: float = 0.2
    high: float = 0.2


def train(options: PaMoe) -> dict[str, Any]:
    """The whole loop."""
    options.check()
    if options.policy != "phase_moe":
        raise CreditEnvsError(
            f"policy={options.policy!r}: pa_moe trains 'phase_moe', the policy whose experts take turns"
        )
    table = make_table(options.env)
    run = Run("pa_moe", options, table, Phase(table, options.learners, options.seed, experts=options.experts))
    clip = {"low": options.low, "high": options.high, "dual": None, "mode": "seq-mean-token-sum-norm"}
    clip["length"] = run.table.horizon
    while run.going():
        # from what is spent, which a resumed run knows
        run.policy.temperature = temperature(int(_FALL * run.share), options.hot, options.cold, _FALL)
        batch = run.groups().trajectories
        credit = gigpo(batch, options.gamma, options.omega)
        for _ in range(options.epochs):
            said = run.policy.outputs(batch)
            shape = diversity(said.each, said.routed, batch.mask, options.diversity)
            shape = shape + balance(said.routed, batch.mask, options.balance)
            shape = shape + switching(said.routed, batch.mask, options.switching)
            run.update(run.loss(ppo, batch, credit, **clip) + shape)
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, PaMoe))
