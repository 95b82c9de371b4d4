"""Trials that need a network: a table shares nothing between observations, has no size, and no picture to look away from."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from credit_envs import registry
from credit_envs.credit.gigpo import gigpo
from credit_envs.credit.grpo import dr_grpo
from credit_envs.experiments.trials import Figures
from credit_envs.experiments.trials_learn import apart
from credit_envs.experiments.trials_loops import told, trained
from credit_envs.oracle.evaluation import expected_return
from credit_envs.plans.gc_rl import gc_rl
from credit_envs.policies.features import default_view
from credit_envs.policies.network import Network
from credit_envs.policies.phase import Phase
from credit_envs.policies.routing import balance, diversity, switches, switching, temperature
from credit_envs.rewards.critique import critique_reward
from credit_envs.sampling.divergence import entropy, k3
from credit_envs.sampling.trajectories import Sample
from credit_envs.table.mdp import TabularMDP
from credit_envs.training import Run
from credit_envs.weights.selection import top


def critique(
    environment: str, seeds: range, way: str, budget: int, points: int = 8, groups: int = 4, view: str = "text"
) -> Figures:
    """Trains a network to solve, with or without critiques of its own solutions beside; only solving is measured.

    Args:
        environment: id of a table that holds both tasks (``Sums`` with ``task="both"``).
        seeds: of the learners.
        way: ``solve`` or ``critique``.
        budget: environment steps per learner.
        points: measurements along the way.
        groups: of solutions per update and learner.
        view: what the network reads.

    Returns:
        ``final`` and ``speed``: exact share of right solutions in the end, and its mean over the budget.
    """
    table = registry.make_table(environment)
    solving = alone(table, table.labels["task"][table.start_state] == 0)
    curve: list[list[float]] = []

    def plan(sampler: Any, groups: int, size: int) -> Sample:
        if way == "critique":
            return gc_rl(sampler, groups, size)
        probability = solving.start_probability / solving.start_probability.sum()
        luck = np.random.default_rng([seeds.start, sampler.meter.policy_calls])
        where = luck.choice(table.n_contexts, groups, p=probability)
        owner = sampler.going.numpy()[np.arange(groups) % len(sampler.going)]
        drawn: Sample = sampler.groups(groups, size, context=torch.from_numpy(owner * table.n_contexts + where))
        return drawn

    def credit(run: Run, sample: Sample) -> Tensor:
        batch = sample.trajectories
        return dr_grpo(critique_reward(batch, labels=run.provided(sample)["labels"]) if way == "critique" else batch)

    def after(run: Run, _: Sample) -> None:
        if run.share * points >= len(curve):
            curve.append([expected_return(solving, one) for one in apart(run.policy, table)])  # type: ignore[arg-type]

    options: dict[str, Any] = {"policy": "text" if view == "text" else "mlp", "view": view}
    run, _ = trained(table, environment, seeds, budget, credit, plan, after=after, groups=groups, **options)
    curve.append([expected_return(solving, one) for one in apart(run.policy, table)])  # type: ignore[arg-type]
    return {"final": curve[-1], "speed": np.mean(curve, axis=0).tolist()}


def alone(table: TabularMDP, wanted: Any) -> TabularMDP:
    """Returns a table that starts in some of its contexts only, bool ``[contexts]``."""
    probability = np.where(wanted, table.start_probability, 0.0)
    return dataclasses.replace(table, start_probability=probability / probability.sum(), allow_unreachable=True)


def sized(environment: str, seeds: range, estimator: str, budget: int, log2_width: int, groups: int = 8) -> Figures:
    """Trains a network of one hidden width with GRPO's or GiGPO's credit, on the view that suits the environment."""
    table = registry.make_table(environment)
    view = default_view(table, registry.parse(environment)[0].observation)
    network = Network(table, len(seeds), seeds.start, view=view, width=2**log2_width)

    def credit(_: Run, sample: Sample) -> Tensor:
        return dr_grpo(sample.trajectories) if estimator == "grpo" else gigpo(sample.trajectories, gamma=1.0)

    return told(trained(table, environment, seeds, budget, credit, player=network, groups=groups, lr=0.005)[1])


def experts(
    environment: str, seeds: range, number: int, budget: int, width: int = 32, rank: int = 4, groups: int = 16
) -> Figures:
    """Trains PA-MoE with GiGPO's credit, or one expert that has at least as many weights.

    Args:
        environment: id.
        seeds: of the learners, which train one after the other.
        number: experts.
        budget: environment steps per learner.
        width: of the experts' policy; one expert is as much wider as makes up for the missing ones.
        rank: of the experts.
        groups: per update.

    Returns:
        ``final``, ``speed``, ``weights`` (number of parameters) and ``switches`` per rollout at the end.
    """
    table = registry.make_table(environment)
    size = functools.partial(_weights, table)
    if number == 1:
        wanted = size(experts=4, width=width, rank=rank)
        width = next(w for w in range(width, 64 * width) if size(experts=1, width=w, rank=rank) >= wanted)
    out: dict[str, list[float]] = {"final": [], "speed": [], "weights": [], "switches": []}
    for seed in seeds:
        policy = Phase(table, 1, seed, experts=number, width=width, rank=rank)
        moved = [0.0]

        def credit(run: Run, sample: Sample, policy: Phase = policy) -> Tensor:
            policy.temperature = temperature(int(3000 * run.share))
            return gigpo(sample.trajectories)

        def kept(sample: Sample, policy: Phase = policy, moved: list[float] = moved) -> Tensor:
            batch = sample.trajectories
            said = policy.outputs(batch)
            moved[0] = float(switches(said.routed.detach(), batch.mask).double().mean())
            routed, mask = said.routed, batch.mask
            return diversity(said.each, routed, mask) + balance(routed, mask) + switching(routed, mask)

        _, curve = trained(
            table, environment, range(seed, seed + 1), budget, credit, player=policy, groups=groups, lr=0.003,
            beside=kept if number > 1 else None, points=10, rollouts=512,
        )  # fmt: skip
        for name, values in told(curve).items():
            out[name] += values
        out["weights"].append(float(sum(p.numel() for p in policy.parameters())))
        out["switches"].append(moved[0])
    return out


def _weights(table: TabularMDP, experts: int, width: int, rank: int) -> int:
    return sum(p.numel() for p in Phase(table, 1, 0, experts=experts, width=width, rank=rank).parameters())


def dependence(environment: str, seeds: range, budget: int, share: float = 0.25, groups: int = 8) -> Figures:
    """Trains a network that sees, and asks how well measures of visual dependence find the steps that need the picture.

    A measure keeps the ``share`` of each rollout's steps where it is largest, and is scored by the share of the steps with the
    label ``visual`` that it keeps: 1 if it finds all, ``share`` if it is blind.

    Returns:
        ``recall_NAME`` for ``k3`` (VPPO's: the picture black), ``patches`` (half of its patches black),
        ``gap`` (|log-ratio|), ``entropy`` and ``chance``; and ``final``.
    """
    table = registry.make_table(environment)
    run, curve = trained(
        table, environment, seeds, budget, lambda _, s: dr_grpo(s.trajectories), groups=groups, policy="fusion"
    )
    network: Any = run.policy
    out: dict[str, list[float]] = {"final": curve.final.tolist()}
    visual = torch.from_numpy(table.labels["visual"].copy())
    sampler = run.sampler
    sampler.going = torch.arange(len(seeds))
    sample = sampler.groups(32 * len(seeds), 8)
    batch, needs = sample.trajectories, visual[sample.truth.state % table.n_states] == 1
    luck = torch.Generator().manual_seed(seeds.start)
    with torch.no_grad():
        black = network.blind_log_prob(batch) - batch.log_prob
        patched = network.blind_log_prob(batch, "patches") - batch.log_prob
    scores = {
        "k3": k3(black).clamp(0, 10),
        "patches": k3(patched).clamp(0, 10),
        "gap": black.abs(),
        "entropy": entropy(batch.policy_table)[batch.policy_row],
        "chance": torch.rand(batch.mask.shape, generator=luck, dtype=torch.float64),
    }
    owner = sampler.owner(batch.context)
    for name, score in scores.items():
        found = top(score, batch.mask, share) & needs & batch.mask
        out[f"recall_{name}"] = [
            float(found[owner == k].sum() / (needs & batch.mask)[owner == k].sum()) for k in range(len(seeds))
        ]
    return out
