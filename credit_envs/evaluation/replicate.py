"""One replicate: an environment, a policy and a seed; every recipe on rollouts of its plan, scored against the truth."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import torch

from credit_envs.credit.grpo import rloo
from credit_envs.evaluation.prices import Spending
from credit_envs.evaluation.providers import METERED, Provided
from credit_envs.evaluation.scores import Control, GradientFrame, score_credit, score_gradient
from credit_envs.oracle.evaluation import Values, evaluate
from credit_envs.oracle.gradient import exact_gradient
from credit_envs.oracle.policy import Policy
from credit_envs.recipes import Recipe
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.statistics import compact
from credit_envs.sampling.trajectories import Meter, Sample
from credit_envs.table.draws import draws, mix_words
from credit_envs.table.mdp import TabularMDP

_FEWEST = 2
"""Groups on which a recipe is scored at least, whatever they cost."""

_PROBE_SEED = 1 << 52
_STALE_SEED = 1 << 51


class Scene(NamedTuple):
    """Rollouts with what scoring them needs."""

    sampler: Sampler
    sample: Sample
    provided: Provided
    frame: GradientFrame
    controls: list[Control]
    spent: Meter


class Subject:
    """A table and a policy with their exact values, prepared once for all seeds.

    Args:
        table: the table.
        policy: the policy whose gradient is estimated.
        device: ``cpu`` or ``cuda``.
        restore: ``free``, ``replay`` or ``none``.
        staleness: σ; rollouts are drawn by :func:`stale`, and credit is that policy's.
    """

    def __init__(
        self, table: TabularMDP, policy: Policy, device: str = "cpu", restore: str = "free", staleness: float = 0.0
    ) -> None:
        self.table, self.policy, self.device, self.restore = table, policy, device, restore
        self.behaviour = stale(policy, staleness)
        self.values: Values = evaluate(table, self.behaviour)
        self.gradient = torch.from_numpy(exact_gradient(table, policy)).to(device)
        steady = table.discount == 1
        plain = self.gradient if steady else torch.from_numpy(exact_gradient(table, policy, discounted_visits=False))
        self.plain_gradient = plain.to(device)
        self.target = torch.from_numpy(policy.probability).to(device)
        self._costs: dict[tuple[str, float | None, int], tuple[float, float]] = {}

    def replicate(
        self, recipes: Mapping[str, Recipe], seed: int, groups: int, group_size: int, extra_steps: int
    ) -> list[dict[str, Any]]:
        """Scores recipes on one seed.

        Args:
            recipes: label → recipe.
            seed: seed of the sample; also of everything that a recipe draws beyond it.
            groups: number of groups of independent rollouts; other plans draw as many as cost the same.
            group_size: rollouts per group, at least 2.
            extra_steps: environment steps that one recipe may spend beyond the sample; one that needs more is scored on
                as many of the groups as it can afford.

        Returns:
            One flat record per recipe that the table offers all it needs.
        """
        sampler = self._sampler(seed)
        sample = sampler.groups(groups, group_size)
        whole = self._scene(sampler, sample, Meter())
        budget = int(sample.trajectories.mask.sum())
        scenes = {("groups", groups): whole}
        records = []
        for label, recipe in recipes.items():
            if recipe.missing(self.table) is not None:
                continue
            count, key = groups, recipe.plan.name
            if key != "groups" or METERED & set(recipe.needs):
                drawn, extra = self._cost(recipe, group_size)
                if key != "groups":
                    count = round(budget / max(drawn, 1))
                count = int(max(_FEWEST, min(count, extra_steps // max(extra, 1))))
            if (key, count) not in scenes:
                if key == "groups":
                    cut = sample.rows(torch.arange(count * group_size, device=whole.frame.mask.device))
                    scenes[key, count] = self._scene(sampler, cut, Meter())
                else:
                    own = self._sampler(seed)
                    found = recipe.sample(own, count, group_size)
                    scenes[key, count] = self._scene(own, found, own.meter.copy())
            records.append({"estimator": label, "seed": seed, **self._score(scenes[key, count], recipe)})
        return records

    def _sampler(self, seed: int) -> Sampler:
        return Sampler(self.table, self.behaviour, seed, self.device, self.restore)

    def _scene(self, sampler: Sampler, sample: Sample, spent: Meter) -> Scene:
        provided = Provided(sampler, sample, self.values)
        frame = GradientFrame(sample, self.gradient, self.target)
        controls = []
        # Where rollouts are independent plays of the policy itself, the means of two gradients are known.
        if spent.env_steps == 0 and self.behaviour is self.policy:
            controls.append(Control(frame.gradient(provided["advantage"]), self.plain_gradient))
            if self.table.discount == 1:
                controls.append(Control(frame.gradient(rloo(sample.trajectories)), self.plain_gradient))
        return Scene(sampler, sample, provided, frame, controls, spent)

    def _cost(self, recipe: Recipe, group_size: int) -> tuple[float, float]:
        """Returns the environment steps per group that a recipe's plan draws, and those that it spends beyond."""
        key = (recipe.name, recipe.gamma, group_size)
        if key not in self._costs:
            sampler = self._sampler(_PROBE_SEED)
            probe = recipe.sample(sampler, _FEWEST, group_size)
            found = max(1, compact(probe.trajectories.group)[1])
            drawn = sampler.meter.copy()
            recipe.credit(probe.trajectories, Provided(sampler, probe, self.values))
            self._costs[key] = drawn.env_steps / found, sampler.meter.since(drawn).env_steps / found
        return self._costs[key]

    def _score(self, scene: Scene, recipe: Recipe) -> dict[str, Any]:
        batch, provided = scene.sample.trajectories, scene.provided
        for name in recipe.needs:
            _ = provided[name]  # made outside the clock: a real system would have it already
        before, began = scene.sampler.meter.copy(), time.perf_counter()
        paid, credit = recipe.credit(batch, provided)
        seconds = time.perf_counter() - began
        pull = credit if recipe.loss.name == "reinforce" else recipe.pull(paid, credit, self.target, provided)
        extra: Meter = scene.sampler.meter.since(before)
        steps = int(batch.mask.sum())
        drawn = scene.spent.env_steps or steps
        spent = Spending(
            env_steps=drawn + extra.env_steps,
            policy_calls=(scene.spent.policy_calls or steps) + extra.policy_calls + steps * recipe.policy_calls,
            model_calls=steps * recipe.model_calls,
            trained_steps=steps,
            seconds=seconds,
        )
        return {
            **asdict(spent),
            **asdict(score_gradient(scene.frame, pull, scene.controls)),
            **asdict(score_credit(scene.sample, pull, provided["advantage"], self.table.n_edges)),
        }


def stale(policy: Policy, sigma: float) -> Policy:
    """Returns an older policy: logits moved by independent normal noise of deviation σ (the same for equal shapes)."""
    if sigma == 0:
        return policy
    probability = policy.probability
    key = mix_words(mix_words(0, _STALE_SEED), np.arange(probability.size))
    uniform = [(draws(key, i) + 0.5) / 2.0**53 for i in (0, 1)]
    normal = (np.sqrt(-2 * np.log(uniform[0])) * np.cos(2 * np.pi * uniform[1])).reshape(probability.shape)
    moved = probability * np.exp(sigma * normal)
    return Policy(policy.kind, moved / np.maximum(moved.sum(axis=1, keepdims=True), 1e-300))


def labelled(recipes: Sequence[Recipe], discount: float, *, match_discount: bool) -> dict[str, Recipe]:
    """Labels recipes for a table: as they come, and again with γ matched to the environment's where that differs."""
    out = {recipe.name: recipe for recipe in recipes}
    if match_discount:
        for recipe in recipes:
            if recipe.gamma is not None and recipe.gamma != discount:
                out[f"{recipe.name} γ={discount:g}"] = recipe.with_gamma(discount)
    return out
