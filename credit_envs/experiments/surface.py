"""The granularity surface as data: causal unit k × grain g × budget × estimator family × causal structure × price list.

The sweeps (``sweeps/granularity*.toml``) stretch tasks by the dial ``unit``: one deciding step per unit (``first``), all steps
must agree (``all``), only their parity counts (``parity``). Pivots keep 32 steps whatever k is; KeyRooms grow with it. Other
tasks have grains with names: token or step, turn, segment, trajectory (:data:`PREDICTED`). Budgets are in groups of the unit
(GRPO, n = 8): B = M · 8 · E[T] steps, M = 4 … 1024.

**How a budget is spent** decides more than anything else, so it is an axis for ``mc``:

    rollouts        K = 1, more groups
    continuations   one group, K as large as the budget allows
    best split      the K in 1, 2, 4, …, 1024 that is best for this g and budget, the rest in groups

The variance of a group's gradient is exactly a + b/K, its cost exactly c + d·K; exact values give a, two measured K the rest.

**Known means.** ``mc`` and ``value`` are unbiased and GRPO without deviation has mean (n − 1)/n ∇J (tests hold that), so their
mean gradients are taken as known, which leaves only variances to estimate. ``learned`` at budget M learns from M/2 groups,
anew for every seed, so that what the model gets wrong counts as squared mean and not as noise to be averaged away.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from credit_envs.arrays import Floats, Ints
from credit_envs.evaluation.prices import PRICE_LISTS, Prices
from credit_envs.evaluation.summary import Replicates
from credit_envs.experiments.cells import Sweep
from credit_envs.experiments.dataset import finished
from credit_envs.experiments.granular import Grain

GROUP = 8
BUDGETS = (4, 16, 64, 256, 1024)
STRUCTURES = ("first", "all", "parity")
SPENDINGS = ("rollouts", "continuations", "best split")
LOW_K, HIGH_K = 1, 4
"""The two numbers of continuations that are measured."""

_SPLITS = tuple(2.0**i for i in range(11))

PREDICTED: Mapping[str, Grain] = {
    **dict.fromkeys(("Household tokens", "Lookup tokens", "Apps tokens", "Shop tokens", "Chat tokens"), "turn"),
    **dict.fromkeys(("Sums", "Charts", "KeyRooms rooms", "Charts network", "Gallery network"), "segment"),
    "Household long": "step",
}
"""The grain that the principle predicts on tasks whose grains are named."""


def predicted_grain(task: str, unit: int) -> Grain:
    """Returns the grain that the principle predicts: the causal unit, where that is a number of steps."""
    return PREDICTED.get(task, unit)


def numbered(found: Sequence[Slice]) -> list[Slice]:
    """Returns the slices whose causal unit is a number of steps."""
    return [one for one in found if one.task not in PREDICTED]


@dataclass(frozen=True, eq=False)
class Slice:
    """One line of the surface: all grains at one unit, budget, family, way of spending and price list.

    Attributes:
        task, structure, unit, level, family, spending, price: where on the surface.
        budget: M, groups of the unit that the budget would buy.
        steps: B, environment steps.
        grains: the grains, from fine to coarse.
        worth: GRPO-equivalents ``[R, grains]``, row 0 of the sample, the others of resampled seeds.
    """

    task: str
    structure: str
    unit: int
    level: float
    family: str
    spending: str
    price: str
    budget: int
    steps: float
    grains: tuple[Grain, ...]
    worth: Floats

    @property
    def predicted(self) -> Grain:
        """The grain that the principle predicts."""
        return predicted_grain(self.task, self.unit)

    @functools.cached_property
    def best(self) -> Ints:
        """Index of the best grain ``[R]``; −1 where nothing is defined."""
        defined = np.isfinite(self.worth)
        return np.where(defined.any(axis=1), np.where(defined, self.worth, -np.inf).argmax(axis=1), -1)

    @functools.cached_property
    def agreement(self) -> float:
        """Share of the resampled seeds in which the predicted grain is best; NaN where it was not measured."""
        if self.predicted not in self.grains:
            return float("nan")
        return float((self.best[1:] == self.grains.index(self.predicted)).mean())

    @property
    def loss(self) -> tuple[float, float, float]:
        """How much of the best grain's worth the predicted grain gives away, with its 95 % interval."""
        if self.predicted not in self.grains:
            return (float("nan"),) * 3
        with np.errstate(invalid="ignore"):
            lost = 1 - self.worth[:, self.grains.index(self.predicted)] / np.nanmax(
                np.where(np.isfinite(self.worth), self.worth, -np.inf), axis=1
            )
        drawn = lost[1:][np.isfinite(lost[1:])]
        low, high = np.quantile(drawn, [0.025, 0.975]) if drawn.size else (np.nan, np.nan)
        return float(lost[0]), float(low), float(high)

    @property
    def verdict(self) -> str:
        """The stated test of "argmax over g equals k" at 5 %: ``k``, ``not k``, or ``open`` where seeds disagree."""
        share = self.agreement
        return "undefined" if not np.isfinite(share) else "k" if share >= 0.95 else "not k" if share <= 0.05 else "open"


def slices(sweep: Sweep, folder: Path, resamples: int = 400, seed: int = 0) -> list[Slice]:
    """Computes the surface from finished cells; cells that differ in their seeds alone are pooled.

    All slices with equally many seeds share one bootstrap over seeds, so they can be compared.
    """
    out: list[Slice] = []
    for (task, structure, unit, level), (by_name, steps) in pooled(sweep, folder).items():
        n = len(by_name["unit"])
        draw = np.random.default_rng(seed).integers(0, n, (resamples, n))
        draw = np.concatenate([np.arange(n)[None], draw])
        for (family, spending, price, budget), (grains, worth) in _surface(by_name, draw).items():
            place = (task, structure, unit, level, family, spending, price, budget, budget * GROUP * steps)
            out.append(Slice(*place, grains, worth))
    return out


Records = Mapping[str, list[Mapping[str, Any]]]


def pooled(sweep: Sweep, folder: Path) -> Mapping[tuple[str, str, int, float], tuple[Records, float]]:
    """Returns the records of each point by estimator, in the order of seeds, and its rollouts' mean length."""
    out: dict[tuple[str, str, int, float], tuple[dict[str, list[Mapping[str, Any]]], float]] = {}
    for cell, found in finished(sweep, folder):
        axes = dict(cell.axes)
        place = (axes["task"], axes["structure"], axes["unit"], cell.level)
        by_name, _ = out.setdefault(place, ({}, float(found["about"]["expected_steps"])))
        for record in found["records"]:
            by_name.setdefault(record["estimator"], []).append(record)
    for by_name, _ in out.values():
        for records in by_name.values():
            records.sort(key=lambda record: int(record["seed"]))
    return out


_Place = tuple[str, str, str, int]


def _surface(by_name: Records, draw: Ints) -> dict[_Place, tuple[tuple[Grain, ...], Floats]]:
    grains = [name.split("@")[1] for name in by_name if name.startswith("value@")]
    named = tuple(int(g) if g.isdecimal() else g for g in grains)
    every = {name: _Drawn(Replicates(records).columns) for name, records in by_name.items()}
    unit = _known(every["unit"], (GROUP - 1) / GROUP)
    each = {name: _known(one) if name.startswith(("mc@", "value@")) else one for name, one in every.items()}
    ends = [(each[f"mc@{g}(k={LOW_K})"], each[f"mc@{g}(k={HIGH_K})"], each[f"value@{g}"]) for g in grains]
    known = [_Values(low, high, limit) for low, high, limit in ends]
    out: dict[_Place, tuple[tuple[Grain, ...], Floats]] = {}
    for price, prices in PRICE_LISTS.items():
        per_group = np.asarray(prices.cost(unit.spending(draw)))
        for m in BUDGETS:
            reference, money = unit.quality(m, draw), m * per_group
            found: dict[tuple[str, str], list[Floats]] = {}
            splits = [three.splits(prices, money, draw) for three in known]
            found["mc", "rollouts"] = [split[0] for split in splits]
            found["mc", "best split"] = [np.fmax.reduce(split) for split in splits]
            if price != "data":  # continuations cost nothing there, so K would be infinite: that is `value`
                found["mc", "continuations"] = [three.deep(prices, money, draw) for three in known]
            for family in ("value", "anchor", "tree"):
                own = [each[f"{family}@{g}"] for g in grains]
                found[family, "rollouts"] = [one.quality(money / prices.cost(one.spending(draw)), draw) for one in own]
            if f"learned@{grains[0]}(data={m // 2})" in each:
                own = [each[f"learned@{g}(data={m // 2})"] for g in grains]
                found["learned", "rollouts"] = [one.quality(_trained(one, unit, prices, m, draw), draw) for one in own]
            for (family, spending), columns in found.items():
                out[family, spending, price, m] = (named, np.stack([one / reference for one in columns], axis=1))
    return out


class _Drawn(Replicates):
    """Replicates under one draw of seeds: each mean is computed once.

    Args:
        columns: name → one number per seed.
    """

    def __init__(self, columns: dict[str, Floats]) -> None:
        self.columns = columns
        self._means: dict[str, Floats] = {}

    def mean(self, name: str, draw: Ints) -> Floats:
        """Mean of a column over drawn seeds."""
        if name not in self._means:
            self._means[name] = super().mean(name, draw)
        return self._means[name]


def _known(own: Replicates, factor: float = 1.0) -> _Drawn:
    """Replaces the estimated mean of a gradient by ``factor`` times the exact one."""
    target = own.columns["exact_square"]
    return _Drawn({**own.columns, "projection": factor * target, "mean_square": factor**2 * target})


def at_k(low: Replicates, high: Replicates, limit: Replicates, k: float) -> _Drawn:
    """Returns what K continuations would have given: per group, variance is a + b/K and cost c + d·K.

    Args:
        low: K = 1, which gives b (averaged with the other estimate), c and d.
        high: K = 4, likewise.
        limit: exact values, K = ∞, which give a.
        k: K ≥ 1.
    """
    first, second = low.columns, high.columns
    a = limit.columns["variance"]
    b = (LOW_K * (first["variance"] - a) + HIGH_K * (second["variance"] - a)) / 2
    columns = dict(first)
    columns["variance"] = a + b / k
    # What is trained does not depend on K; that it was measured on other groups must not be extrapolated.
    for name in ("model_calls", "trained_steps"):
        columns[name] = first[name] / first["groups"]
    for name in ("env_steps", "policy_calls", "seconds"):
        one, four = first[name] / first["groups"], second[name] / second["groups"]
        columns[name] = one + (k - LOW_K) / (HIGH_K - LOW_K) * (four - one)
    columns["groups"] = np.ones_like(first["groups"])
    return _Drawn(columns)


class _Values:
    """Monte-Carlo values at one grain, for any K.

    Args:
        low: measured with K = 1.
        high: measured with K = 4.
        limit: exact values.
    """

    def __init__(self, low: Replicates, high: Replicates, limit: Replicates) -> None:
        self._limit = limit
        self._at = {k: at_k(low, high, limit, k) for k in _SPLITS}

    def splits(self, prices: Prices, money: Floats, draw: Ints) -> list[Floats]:
        """Returns the quality of each K that is tried, the rest of the money in groups; NaN where it buys no rollout."""
        out = []
        for k, one in self._at.items():
            groups = money / prices.cost(one.spending(draw))
            quality = one.quality(groups, draw)
            out.append(np.where(groups * GROUP >= 1, quality, np.nan) if k > 1 else quality)
        return out

    def deep(self, prices: Prices, money: Floats, draw: Ints) -> Floats:
        """Returns the quality of one group with as many continuations as the money buys; NaN where not one per boundary."""
        single, four = (prices.cost(self._at[k].spending(draw)) for k in (1.0, 4.0))
        k = 1 + (money - single) / ((four - single) / 3)
        # Variance is linear in 1/K, so its mean over drawn seeds is, too.
        limit, once = self._limit.mean("variance", draw), self._at[1.0].mean("variance", draw)
        variance = limit + np.maximum(once - limit, 0) / np.maximum(k, 1)
        target = self._limit.mean("exact_square", draw)
        return np.where((k >= 1) & (target > 0) & (variance > 0), target / np.where(variance > 0, variance, 1), np.nan)


def _trained(own: Replicates, unit: Replicates, prices: Prices, m: int, draw: Ints) -> Floats:
    """Groups that are trained on where a budget of m groups of the unit pays for m/2 groups of training data first."""
    data = prices.env_step + prices.policy_call
    steps = unit.mean("steps", draw) / unit.mean("groups", draw)
    money = m * prices.cost(unit.spending(draw)) - (m / 2) * steps * data
    calls = own.mean("model_calls", draw) / own.mean("trained_steps", draw)
    each = steps * (prices.env_step + prices.policy_call + prices.trained_step + prices.model_call * calls)
    return money / each
