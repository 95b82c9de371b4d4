"""One replicate: an environment, a policy and a seed; every estimator on the same sample, scored against the truth."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from credit_envs.credit.grpo import rloo
from credit_envs.credit.method import Method
from credit_envs.evaluation.prices import Spending
from credit_envs.evaluation.providers import Provided
from credit_envs.evaluation.scores import Control, GradientFrame, score_credit, score_gradient
from credit_envs.oracle.evaluation import Values, evaluate
from credit_envs.oracle.gradient import exact_gradient
from credit_envs.oracle.policy import Policy
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Meter, Sample, Truth
from credit_envs.table.mdp import TabularMDP

_FEWEST = 2
"""Groups on which a method is scored at least, whatever they cost."""

_PROBE_SEED = 1 << 52


class Subject:
    """A table and a policy with their exact values, prepared once for all seeds.

    Args:
        table: the table.
        policy: the policy under which credit is measured.
        device: ``cpu`` or ``cuda``.
        restore: ``free``, ``replay`` or ``none``.
    """

    def __init__(self, table: TabularMDP, policy: Policy, device: str = "cpu", restore: str = "free") -> None:
        self.table, self.policy, self.device, self.restore = table, policy, device, restore
        self.values: Values = evaluate(table, policy)
        self.gradient = torch.from_numpy(exact_gradient(table, policy)).to(device)
        steady = table.discount == 1
        plain = self.gradient if steady else torch.from_numpy(exact_gradient(table, policy, discounted_visits=False))
        self.plain_gradient = plain.to(device)
        self._costs: dict[tuple[str, float | None, int], float] = {}

    def replicate(
        self, methods: Mapping[str, Method], seed: int, groups: int, group_size: int, extra_steps: int
    ) -> list[dict[str, Any]]:
        """Scores methods on one seed.

        Args:
            methods: label → method.
            seed: seed of the sample; also of the continuations.
            groups: number of groups.
            group_size: rollouts per group, at least 2.
            extra_steps: environment steps that one method may spend beyond the sample; one that needs more is scored on
                as many of the groups as it can afford.

        Returns:
            One flat record per method.
        """
        sampler = Sampler(self.table, self.policy, seed, self.device, self.restore)
        sample = sampler.groups(groups, group_size)
        whole = self._scene(sampler, sample)
        scenes = {groups: whole}
        records = []
        for label, method in methods.items():
            count = groups
            if "continuations" in method.needs:
                count = int(min(groups, max(_FEWEST, extra_steps // max(self._cost(method, group_size), 1))))
            if count not in scenes:
                scenes[count] = self._scene(sampler, first_groups(sample, count, group_size))
            records.append({"estimator": label, "seed": seed, **self._score(sampler, scenes[count], method)})
        return records

    def _scene(self, sampler: Sampler, sample: Sample) -> tuple[Sample, Provided, GradientFrame, list[Control]]:
        provided = Provided(sampler, sample, self.values)
        frame = GradientFrame(sample, self.gradient)
        controls = [Control(frame.gradient(provided["advantage"]), self.plain_gradient)]
        if self.table.discount == 1:
            controls.append(Control(frame.gradient(rloo(sample.trajectories)), self.plain_gradient))
        return sample, provided, frame, controls

    def _cost(self, method: Method, group_size: int) -> float:
        """Returns the environment steps that a method spends on one group beyond sampling it, from a sample of its own."""
        key = (method.name, method.gamma, group_size)
        if key not in self._costs:
            sampler = Sampler(self.table, self.policy, _PROBE_SEED, self.device, self.restore)
            probe = sampler.groups(_FEWEST, group_size)
            before = sampler.meter.copy()
            method(probe.trajectories, Provided(sampler, probe, self.values))
            self._costs[key] = sampler.meter.since(before).env_steps / _FEWEST
        return self._costs[key]

    def _score(
        self, sampler: Sampler, scene: tuple[Sample, Provided, GradientFrame, list[Control]], method: Method
    ) -> dict[str, Any]:
        sample, provided, frame, controls = scene
        for name in method.needs:
            _ = provided[name]  # made outside the clock: a real system would have it already
        before, began = sampler.meter.copy(), time.perf_counter()
        credit = method(sample.trajectories, provided)
        seconds = time.perf_counter() - began
        extra: Meter = sampler.meter.since(before)
        steps = int(sample.trajectories.mask.sum())
        spent = Spending(steps + extra.env_steps, steps + extra.policy_calls, steps, seconds)
        return {
            **asdict(spent),
            **asdict(score_gradient(frame, credit, controls)),
            **asdict(score_credit(sample, credit, provided["advantage"], self.table.n_edges)),
        }


def first_groups(sample: Sample, groups: int, group_size: int) -> Sample:
    """Returns the first groups of a sample."""
    n = groups * group_size

    def cut(part: Any) -> dict[str, Tensor]:
        return {name: value[:n] for name, value in vars(part).items() if name != "policy_table"}

    return Sample(sample.trajectories.replace(**cut(sample.trajectories)), Truth(**cut(sample.truth)))


def labelled(methods: Sequence[Method], discount: float, *, match_discount: bool) -> dict[str, Method]:
    """Labels methods for a table: as they come, and again with γ matched to the environment's where that differs."""
    out = {method.name: method for method in methods}
    if match_discount:
        for method in methods:
            if method.gamma is not None and method.gamma != discount:
                out[f"{method.name} γ={discount:g}"] = method.with_gamma(discount)
    return out
