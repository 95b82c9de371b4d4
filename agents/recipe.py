"""Any recipe by name: rollout plan → reward model → advantage estimator → token weighting → policy loss.

    python agents/recipe.py --recipe gigpo+vppo --env credit/KeyRooms-v0?cue=0.5 --seed 3 --device cpu

Names are those of `credit-envs algorithms`, alone or joined with +. The five slots are visible in the loop below; what a piece
needs beyond the rollouts (fresh groups for a critic, continuations, demonstrations, labels, the image-free pass) is made by
`run.each` for each learner by itself, and charged to it.

Left out: whatever only one method does. The files beside this one (gigpo.py, agent_prm.py, ...) show methods with their own
options; here every piece has its defaults, except γ. Losses are those of the recipe, REINFORCE where it names none.

A piece that hands out truth no real system has (`exact`, `ppo_exact`, ...) is allowed: it is the ceiling to compare with.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import torch

from credit_envs.recipes import recipe
from credit_envs.training import Options, Run, start


@dataclass
class RecipeOptions(Options):
    """Trains a policy with any recipe.

    Attributes:
        recipe: Name of the recipe, or names joined with +.
        gamma: Discount of the advantage estimator (default: its paper's).
        epochs: Updates per batch.
    """

    recipe: str = "gigpo"
    gamma: float | None = None
    epochs: int = 1


def train(options: RecipeOptions) -> dict[str, Any]:
    """The whole loop."""
    chosen = recipe(options.recipe)
    if options.gamma is not None:
        chosen = chosen.with_gamma(options.gamma)
    run = Run(options.recipe, options)
    run.require(chosen)
    while run.going():
        sample = run.groups(lambda sampler, groups, size: chosen.plan(sampler, groups, size, provided={}))
        every = []
        for _, own, provided in run.each(sample):
            # rewards replace or join what the environment paid; weights multiply the advantage
            batch, credit = chosen.credit(own.trajectories, provided)
            every.append((batch, credit, provided))
        for _ in range(options.epochs):
            losses = []
            for batch, credit, provided in every:
                given = {**provided, "parameters": tuple(run.policy.parameters())} if chosen.loss.needs else {}
                losses.append(chosen.loss(run.policy.log_prob(batch), batch, credit, provided=given))
            run.update(torch.stack(losses).mean())
        run.next(sample.trajectories)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, RecipeOptions))
