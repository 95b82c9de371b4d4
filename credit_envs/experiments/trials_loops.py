"""Trials with a loop of their own: what no agent's file has."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from credit_envs import registry
from credit_envs.credit.gigpo import gigpo
from credit_envs.credit.grpo import dr_grpo, grpo
from credit_envs.credit.klong import klong as centred_score
from credit_envs.credit.mig import mig
from credit_envs.experiments.names import named
from credit_envs.experiments.trials import Figures
from credit_envs.experiments.trials_learn import apart, readings
from credit_envs.losses.ppo import ppo
from credit_envs.oracle.control import optimal
from credit_envs.oracle.evaluation import expected_return
from credit_envs.oracle.policy import uniform
from credit_envs.plans.klong import klong
from credit_envs.plans.uncertainty import uncertainty
from credit_envs.policies.tabular import Tabular
from credit_envs.rewards.bootstrap import bootstrap
from credit_envs.rewards.information import answer_probability, gains
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Sample
from credit_envs.table.build import union
from credit_envs.table.mdp import TabularMDP
from credit_envs.training import Options, Run, results

Credit = Callable[[Run, Sample], Tensor]


def trained(
    table: TabularMDP,
    environment: str,
    seeds: range,
    budget: int,
    credit: Credit,
    plan: Callable[..., Sample] | None = None,
    player: Any = None,
    after: Callable[[Run, Sample], None] | None = None,
    beside: Callable[[Sample], Tensor] | None = None,
    groups: int = 4,
    **options: Any,
) -> tuple[Run, results.Learning]:
    """Trains all seeds at once by clipped policy gradients; returns the run and its curve.

    Args:
        table: the environment.
        environment: its id.
        seeds: of the learners.
        budget: environment steps per learner.
        credit: function (run, sample) → float64 ``[N, T]``.
        plan: which rollouts are drawn.
        player: the policy (default: what ``options`` name).
        after: told about every update.
        beside: a term added to the loss, for one learner.
        groups: per update and learner.
        **options: further fields of :class:`~credit_envs.training.Options`.
    """
    with TemporaryDirectory() as folder:
        sizes: dict[str, Any] = {"seed": seeds.start, "learners": len(seeds), "budget": budget, "groups": groups}
        chosen = Options(env=environment, output=Path(folder), tensorboard=False, quiet=True, **sizes, **options)
        run = Run("trial", chosen, table, player)
        while run.going():
            sample = run.groups(plan)
            batch, found = sample.trajectories, credit(run, sample)
            loss = run.loss(ppo, batch, found, mode="seq-mean-token-sum-norm", length=table.horizon)
            run.update(loss if beside is None else loss + beside(sample))
            run.next(batch)
            if after is not None:
                after(run, sample)
        return run, results.learning(run.finish())


def told(curve: results.Learning) -> dict[str, list[float]]:
    """Returns ``final`` and ``speed`` of a curve."""
    return {"final": curve.final.tolist(), "speed": curve.speed.tolist()}


def watched(
    environment: str, seeds: range, estimator: str, budget: int, read: Sequence[str], groups: int = 4
) -> Figures:
    """Trains a table with any estimator that has arguments, and measures the policies it ends with.

    Args:
        environment: id.
        seeds: of the learners.
        estimator: a name as :func:`~credit_envs.experiments.names.named` reads it.
        budget: environment steps per learner.
        read: names in :data:`credit_envs.experiments.readings.READINGS`.
        groups: per update and learner.
    """
    table, chosen = registry.make_table(environment), named(estimator)

    def credit(run: Run, sample: Sample) -> Tensor:
        out = torch.zeros_like(sample.trajectories.reward)
        for index, own, provided in run.each(sample):
            out[index] = chosen.credit(own.trajectories, provided)[1]
        return out

    run, curve = trained(table, environment, seeds, budget, credit, groups=groups)
    starts = apart(Tabular(table, len(seeds), seeds.start), table)
    ends = apart(run.policy, table)  # type: ignore[arg-type]
    return {**told(curve), **readings(table, starts, ends, read, seeds)}


def watermark(environment: str, seeds: range, gain: str, budget: int, floor: float = 1e-6) -> Figures:
    """Trains with MIG's trajectory score beside the outcome, with the watermark, without it, or with no gain at all.

    Args:
        environment: id.
        seeds: of the learners.
        gain: ``levels`` (the watermark), ``rises`` (every rise of the answer's probability counts, however often it fell
            before) or ``none`` (GRPO).
        budget: environment steps per learner.
        floor: what probability 0 is read as.
    """
    table = registry.make_table(environment)

    def credit(run: Run, sample: Sample) -> Tensor:
        batch = sample.trajectories
        if gain == "none":
            return grpo(batch)
        labels = run.provided(sample)["labels"]
        kind = "levels" if gain == "levels" else "log_difference"
        found = gains(batch, answer_probability(labels), kind, "step", answer=False, floor=floor).clamp(min=0)
        return mig(batch.replace(step_reward=found), labels=labels, level="step", answer=False)

    run, curve = trained(table, environment, seeds, budget, credit)
    ends = apart(run.policy, table)  # type: ignore[arg-type]
    return {**told(curve), **readings(table, ends, ends, ("repeats",), seeds)}


def windows(environment: str, seeds: range, window: int, way: str, budget: int, stages: int = 3) -> Figures:
    """Trains on a task longer than what a learner can take in at once.

    Args:
        environment: id.
        seeds: of the learners.
        window: steps that fit.
        way: ``one`` (rollouts end where the window does), ``split`` (whole rollouts in overlapping windows), ``growing``
            (likewise, with a time limit that grows from the window to the horizon) or ``whole`` (everything fits).
        budget: environment steps per learner.
        stages: time limits of ``growing``.
    """
    table = registry.make_table(environment)
    share = min(1.0, window / table.horizon)
    length = table.horizon if way == "whole" else window
    now = {"limit": share if way in ("one", "growing") else 1.0}

    def plan(sampler: Sampler, groups: int, size: int) -> Sample:
        return klong(sampler, groups, size, window=length, limit=now["limit"])

    def after(run: Run, _: Sample) -> None:
        if way == "growing":
            stage = min(stages - 1, int(run.share * stages))
            now["limit"] = share + (1 - share) * stage / (stages - 1)

    credit = lambda _, sample: centred_score(sample.trajectories)  # noqa: E731
    return told(trained(table, environment, seeds, budget, credit, plan, after=after)[1])


def curriculum(
    environment: str, seeds: range, others: tuple[str, ...], choose: str, budget: int, floor: float = 0.1
) -> Figures:
    """Trains on a pool of tasks, each group's task drawn evenly or by how much returns vary there.

    Args:
        environment: id of the first task.
        seeds: of the learners.
        others: ids of the others.
        choose: ``even``, or ``variance``: in proportion to a running mean of the in-group deviation of returns.
        budget: environment steps per learner.
        floor: share of the groups that is drawn evenly all the same.
    """
    table = union([registry.make_table(one) for one in (environment, *others)])
    learners, contexts = len(seeds), table.n_contexts
    luck, spread = np.random.default_rng(seeds.start), np.full((learners, contexts), 0.5)

    def plan(sampler: Any, groups: int, size: int) -> Sample:
        going = sampler.going.numpy()
        owner = going[np.arange(groups) % len(going)]
        weight = np.full((learners, contexts), 1 / contexts)
        if choose == "variance":
            share = spread / np.maximum(spread.sum(axis=1, keepdims=True), 1e-9)
            weight = floor * weight + (1 - floor) * share
        where = (luck.random(groups)[:, None] > weight[owner].cumsum(axis=1)[:, :-1]).sum(axis=1)
        drawn: Sample = sampler.groups(groups, size, context=torch.from_numpy(owner * contexts + where))
        return drawn

    def after(_: Run, sample: Sample) -> None:
        batch = sample.trajectories
        of = torch.zeros(batch.n_groups, dtype=torch.int64).scatter_(0, batch.group, batch.context).numpy()
        for place, value in zip(of, uncertainty(batch).numpy(), strict=True):
            spread[place // contexts, place % contexts] += 0.2 * (value - spread[place // contexts, place % contexts])

    credit = lambda _, sample: dr_grpo(sample.trajectories)  # noqa: E731
    return told(trained(table, environment, seeds, budget, credit, plan, after=after)[1])


def bootstrapped(
    environment: str,
    seeds: range,
    groups: int,
    rounds: int,
    beta: float,
    tilts: int = 1,
    outcome_rounds: int | None = None,
) -> Figures:
    """Runs AgentPRM's loop from uniform play.

    Args:
        environment: id.
        seeds: of the runs.
        groups: of 8 rollouts per round.
        rounds: fits of the reward model.
        beta: weight of the KL term.
        tilts: how often a round tilts the policy by its model.
        outcome_rounds: rounds in which outcomes are seen, see :func:`credit_envs.rewards.bootstrap.bootstrap`.

    Returns:
        ``final``, the normalised return, and ``drop``, its fall since round 1.
    """
    table = registry.make_table(environment)
    low, high = expected_return(table, uniform(table)), float(optimal(table).J)
    J = np.array(
        [
            bootstrap(table, uniform(table), rounds, groups, 8, beta / tilts, 1.0, outcome_rounds, seed).J
            for seed in seeds
        ]
    )
    return {"final": ((J[:, -1] - low) / (high - low)).tolist(), "drop": ((J[:, 1] - J[:, -1]) / (high - low)).tolist()}


def overhead(environment: str, seeds: range, policy: str, updates: int = 12, groups: int = 16) -> Figures:
    """Times GiGPO's credit and the whole update that it is part of: ``share`` is (GiGPO − GRPO) / update, medians."""
    table = registry.make_table(environment)
    out = []
    for seed in seeds:
        spent: list[tuple[float, float, float]] = []
        began = [time.perf_counter()]

        def credit(_: Run, sample: Sample, spent: list[Any] = spent) -> Tensor:
            start = time.perf_counter()
            grpo(sample.trajectories)
            middle = time.perf_counter()
            found = gigpo(sample.trajectories)
            spent.append((middle - start, time.perf_counter() - middle, 0.0))
            return found

        def after(_: Run, __: Sample, spent: list[Any] = spent, began: list[float] = began) -> None:
            now = time.perf_counter()
            spent[-1] = (*spent[-1][:2], now - began[0])
            began[0] = now

        budget = updates * groups * 8 * table.horizon
        one = range(seed, seed + 1)
        trained(table, environment, one, budget, credit, after=after, groups=groups, policy=policy)
        plain, step, whole = np.median(np.array(spent[1:]), axis=0)
        out.append((step - plain) / (whole - plain))
    return {"share": out}
