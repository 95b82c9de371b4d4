"""MIG: credit the reasoning for how far it pushed the right answer's likelihood above the best it had been before.

    python agents/mig.py --env credit/Lookup-v0 --seed 3 --device cpu

    ℓ_k = log P(right answer | the first k turns);   h_0 = ℓ_0,  h_k = max(h_{k−1}, ℓ_k)            the watermark
    g_k = max(0, ℓ_k − h_{k−1}),     R_MIG = Σ_k g_k = max_k ℓ_k − ℓ_0
    Â   = α z(R_MIG) on reasoning + β z(R) on all steps [+ γ on rollouts that are right and gained something]

One number per rollout: gains are summed before they are compared, and the sum doesn't depend on how finely the reasoning is
cut. Up, down and up again to the same level gains nothing; `--gain log_difference` drops the watermark and pays net rises,
`--gain increments` is MIG as it is often told (increments compared, not levels).

Reasoning is all but the last turn. P is what the environment knows: the exact posterior of the answer (Lookup), or the share of
the ways to go on that are right (Sums, Charts); tables without it are refused.

Left out: the policy's own p_θ(y*) by teacher forcing, T + 1 passes per rollout (`credit-envs train mig_policy` takes exact
values for it). The paper's weights are not known to us, and no code was released: a reconstruction; gated SFT (γ, `--sft`) is
off.

Source: arXiv 2602.01034, §4.1.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Literal

from credit_envs.credit.mig import mig
from credit_envs.losses.ppo import ppo
from credit_envs.recipes import recipe
from credit_envs.rewards.information import answer_probability, gains
from credit_envs.training import Options, Run, start


@dataclass
class Mig(Options):
    """Trains a policy with MIG.

    Attributes:
        alpha: Weight of the gain's advantage.
        beta: Weight of the outcome's.
        sft: Weight of gated SFT.
        gain: levels (the watermark), increments, difference or log_difference.
        level: What gains in one: turn, step or segment.
        answer: Whether the last of them is the answer, which gains nothing.
        epochs: Updates per batch; from the second on, importance ratios are clipped.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
    """

    env: str = "credit/Lookup-v0"
    alpha: float = 1.0
    beta: float = 1.0
    sft: float = 0.0
    gain: Literal["levels", "increments", "difference", "log_difference"] = "levels"
    level: Literal["turn", "step", "segment"] = "turn"
    answer: bool = True
    epochs: int = 1
    low: float = 0.2
    high: float = 0.2


def train(options: Mig) -> dict[str, Any]:
    """The whole loop."""
    run = Run("mig", options)
    run.require(recipe("mig"))
    weights = {name: getattr(options, name) for name in ("alpha", "beta", "sft", "level", "answer")}
    clip = {"low": options.low, "high": options.high, "dual": None, "mode": "seq-mean-token-sum-norm"}
    clip["length"] = run.table.horizon
    while run.going():
        sample = run.groups()
        batch, labels = sample.trajectories, run.provided(sample)["labels"]
        # float64 [rollouts, steps]: what each turn gained, on its last step
        gained = gains(batch, answer_probability(labels), options.gain, options.level, options.answer)
        credit = mig(batch.replace(step_reward=gained), labels=labels, **weights)
        for _ in range(options.epochs):
            run.update(run.loss(ppo, batch, credit, **clip))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, Mig))
