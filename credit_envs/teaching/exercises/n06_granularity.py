"""Notebook 6: one number for g steps, what noise and cost it leaves, and the map of the best grain."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from credit_envs import oracle, registry
from credit_envs.arrays import Floats
from credit_envs.credit.grpo import dr_grpo
from credit_envs.evaluation.providers import Provided
from credit_envs.evaluation.scores import GradientFrame
from credit_envs.experiments import granular
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Sample, Trajectories
from credit_envs.table.mdp import TabularMDP
from credit_envs.teaching.check import Mistake, Question

STEPS, GROUP = 32, 8
UNITS, GRAINS, BUDGETS = (1, 4, 16), (1, 2, 4, 8, 16, 32), (4, 64, 1024)
_SEEDS, _GROUPS = 6, 40


@functools.cache
def game(unit: int) -> TabularMDP:
    """Returns 32 steps of Pivots in which one step of every ``unit`` decides, and each right decision pays its share."""
    return registry.make_table("Pivots", length=STEPS // unit, fillers=unit - 1, actions=2, credit="each")


@functools.cache
def drawn(unit: int, seed: int, groups: int = _GROUPS) -> tuple[Sampler, Sample, Provided]:
    """Draws groups of a policy halfway to optimal play."""
    table = game(unit)
    sampler = Sampler(table, oracle.ladder(table, (0.5,))[-1].policy, seed)
    sample = sampler.groups(groups, GROUP)
    return sampler, sample, Provided(sampler, sample)


class Measured(NamedTuple):
    """Noise and cost of one grain per seed, float64 ``[seeds]`` each.

    Attributes:
        a: variance of a group's gradient with exact values at the boundaries.
        b: what one continuation per boundary adds to it.
        c: environment steps of a group.
        d: environment steps of one continuation from each of its boundaries.
        unit: variance of mean-centred GRPO's gradient, brought to the exact one's length.
    """

    a: Floats
    b: Floats
    c: Floats
    d: Floats
    unit: Floats


@functools.cache
def measured(unit: int, grain: int) -> Measured:
    """Measures one grain at one causal unit, 6 seeds of 40 groups."""
    rows = []
    for seed in range(_SEEDS):
        sampler, sample, provided = drawn(unit, seed)
        batch = sample.trajectories
        frame = GradientFrame(sample, torch.zeros_like(batch.policy_table))

        def variance(credit: Tensor, frame: GradientFrame = frame) -> float:
            g, m = frame.gradient(credit), frame.n_groups
            return float((g**2).sum() - (frame.total(g) ** 2).sum() / m) / (m - 1)

        a = variance(granular.value(batch, grain, value=provided["value"]))
        before = sampler.meter.env_steps
        one = variance(granular.mc(batch, grain, 1, continuations=provided["continuations"]))
        spent = (sampler.meter.env_steps - before) / _GROUPS
        short = GROUP / (GROUP - 1)
        rows.append((a, max(one - a, 0.0), GROUP * STEPS, spent, short**2 * variance(dr_grpo(batch))))
    return Measured(*np.array(rows, dtype=np.float64).T)


def worth_of_rollouts(found: Measured) -> float:
    """Returns the GRPO-equivalents per environment step of one continuation per boundary and as many groups as can be paid."""
    m = Measured(*(x.mean() for x in found))
    return float(m.unit * GROUP * STEPS / ((m.a + m.b) * (m.c + m.d)))


def worth_of_continuations(found: Measured, budget: int) -> float:
    """Returns the GRPO-equivalents of one group whose boundaries get all continuations that ``budget`` groups' steps can pay.

    NaN where that is less than one.
    """
    m = Measured(*(x.mean() for x in found))
    k = (budget * GROUP * STEPS - m.c) / m.d
    return float(m.unit / (m.a + m.b / k) / budget) if k >= 1 else math.nan


def _best(worths: list[float]) -> int:
    return GRAINS[int(np.nanargmax(worths))]


def _best_with(unit: int, budget: int) -> int:
    return _best([worth_of_continuations(measured(unit, g), budget) for g in GRAINS])


@functools.cache
def _slices() -> float:
    """In how many of the slices with k > 1 is g = k the best grain?"""
    hits = 0
    for unit in UNITS[1:]:
        hits += _best([worth_of_rollouts(measured(unit, g)) for g in GRAINS]) == unit
        hits += sum(_best_with(unit, budget) == unit for budget in BUDGETS)
    return float(hits)


def _shared(grain: int = 4, form: str = "right") -> Tensor:
    """Credit of the exercise's batch, right or with one thing wrong."""
    _, sample, provided = drawn(4, 9, 4)
    batch: Trajectories = sample.trajectories
    value: Tensor = provided["value"]
    if form == "right":
        return granular.value(batch, grain, value=value)
    found = granular.cut(batch, grain)
    start = value.gather(1, found.start)
    if form == "next step":
        return granular.value(batch, 1, value=value)
    if form == "no next":
        return found.spread(found.total(batch.reward) - torch.where(found.present, start, 0.0))
    return granular.shared(batch.replace(reward=torch.zeros_like(batch.reward)), found, start)


def _called(answer: Callable[..., Any]) -> Any:
    _, sample, provided = drawn(4, 9, 4)
    return answer(sample.trajectories.reward, provided["value"], 4)


def _best_k() -> float:
    m = Measured(*(x.mean() for x in measured(4, 8)))
    return math.sqrt(m.b * m.c / (m.a * m.d))


QUESTIONS = (
    Question(
        "6.1",
        truth=_shared,
        use=_called,
        mistakes=(
            Mistake(
                lambda: _shared(form="no next"),
                "The value at the next boundary is missing: a part is blamed for the whole value of the state it "
                "began in.",
            ),
            Mistake(
                lambda: _shared(form="no reward"),
                "What is paid inside the part is missing: V at the next boundary counts only what comes later.",
            ),
            Mistake(
                lambda: _shared(form="next step"),
                "That is the credit of every single step. Values count at boundaries only.",
            ),
            Mistake(lambda: _shared(8), "Your parts are twice as long as asked."),
        ),
        explanation="With g = 1 it is the exact advantage (here, where nothing is left to luck), with g = 32 the "
        "return above V.",
        hint="Cut the columns into blocks of g; a block's credit is its rewards + V at the next block's start (0 at "
        "the end) − V at its own.",
    ),
    Question(
        "6.2",
        truth=lambda: float(sum(range(8, 33, 8))),
        tolerance=1e-9,
        mistakes=(
            Mistake(lambda: 32.0 * 4, "A continuation goes on from its boundary; from step 24 only 8 steps are left."),
            Mistake(lambda: float(sum(range(8, 25, 8))), "Step 0 is a boundary, too."),
            Mistake(lambda: float(sum(range(1, 33))), "That is a continuation from every step, g = 1."),
        ),
        explanation="At g = 1 it is 528 steps, for a rollout of 32: continuations, not rollouts, are what you pay for.",
        hint="Boundaries at steps 0, 8, 16, 24; from step t on, 32 − t steps are left.",
    ),
    Question(
        "6.3",
        truth=_best_k,
        tolerance=1e-3,
        mistakes=(
            Mistake(lambda: _best_k() ** 2, "Nearly: the derivative gives K², so take the root."),
            Mistake(lambda: 1 / _best_k(), "Turned over: more noise from continuations (b) asks for more of them."),
            Mistake(
                lambda: math.sqrt(float(measured(4, 8).b.mean() / measured(4, 8).a.mean())),
                "That would be right if a continuation cost as much as a group: the prices c and d belong under the "
                "root.",
            ),
        ),
        explanation="Below 1: not even one continuation per boundary pays for itself here; one more rollout is the "
        "better buy.",
        hint="Worth is proportional to 1 / ((a + b/K)(c + d·K)). Multiply out, and set the derivative by K to zero.",
    ),
    Question(
        "6.4",
        truth=lambda: [float(_best_with(4, budget)) for budget in BUDGETS],
        tolerance=1e-9,
        mistakes=(
            Mistake(
                lambda: [4.0, 4.0, 4.0], "That is k for every budget: what the sentence claims, not what the map says."
            ),
            Mistake(
                lambda: [float(_best_with(16, budget)) for budget in BUDGETS],
                "That is the line of k = 16; k = 4 is asked.",
            ),
        ),
        explanation="The more continuations can be bought, the finer the best grain; the game has not changed.",
        hint="Look along the line k = 4 of each panel with continuations: which grain has the largest number?",
    ),
    Question(
        "6.5",
        truth=_slices,
        tolerance=1e-9,
        mistakes=(Mistake(lambda: 8.0, "That is the number of slices, not the number in which g = k wins."),),
        explanation="In none: here the best grain follows what the budget buys, not the unit. docs/principle.md has "
        "the whole surface.",
        hint="Two units (4 and 16), four panels each: count the panels in which the best grain is the unit.",
    ),
)
