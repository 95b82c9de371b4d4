"""From records to numbers that people read: GRPO-equivalents, share of headroom and credit fidelity, with intervals.

At budget B an estimator affords m groups; f = ⟨E g, g*⟩² / (‖g*‖² E‖g‖²) with E‖g‖² of a mean of m groups, q = f/(1−f),
and its GRPO-equivalents are q(estimator, B) / q(unit, B). Replicates are seeds: intervals are percentile bootstraps over
seeds, paired across estimators, of statistics pooled over the drawn seeds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from credit_envs.arrays import AnyArray, Floats, Ints
from credit_envs.evaluation.config import CEILING
from credit_envs.evaluation.prices import PRICE_LISTS, Prices, Spending

CEILING_MIN = 1.1
"""Shares of headroom are given where the ceiling is worth more than this."""

_DEFINED = 0.95
"""Share of bootstrap draws that must be defined for an interval to be given."""


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        spec = spec or ".2f"
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]" if np.isfinite(self.value) else "–"


@dataclass(frozen=True)
class Row:
    """One estimator on one environment under one policy.

    Attributes:
        environment: id.
        policy: rung of the ladder.
        estimator: label.
        seeds: number of replicates.
        groups: groups per replicate that the estimator was scored on.
        equivalents: GRPO-equivalents by price list.
        headroom: share of the way from GRPO to the exact advantage on the same trajectories, by price list.
        cosine: cosine of the mean gradient to the exact one.
        pearson: correlation of credit and advantage over steps.
        rank: Kendall's concordance of actions within states, in [−1, 1].
        sign: share of right signs.
        top: share of the most decisive steps found.
        error: mean squared error after the best single scale, over the mean squared advantage.
        bias: the part of ``error`` that is bias.
        variance: the part of ``error`` that is variance given (step, state, action).
        steps_ratio: environment steps spent per step of the sample.
        seconds: wall time of the credit per million sampled steps.
    """

    environment: str
    policy: str
    estimator: str
    seeds: int
    groups: float
    equivalents: Mapping[str, Interval]
    headroom: Mapping[str, Interval]
    cosine: Interval
    pearson: Interval
    rank: Interval
    sign: Interval
    top: Interval
    error: Interval
    bias: float
    variance: float
    steps_ratio: float
    seconds: float


class Replicates:
    """The records of one estimator in one cell as arrays over seeds, and statistics of resampled seeds.

    Args:
        records: one per seed, in the order of seeds.
    """

    def __init__(self, records: Sequence[Mapping[str, Any]]) -> None:
        names = [key for key, value in records[0].items() if isinstance(value, int | float)]
        self.columns = {name: np.array([record[name] for record in records], dtype=np.float64) for name in names}

    def mean(self, name: str, draw: Ints) -> Floats:
        """Mean of a column over drawn seeds ``[R, n]``; returns ``[R]``."""
        return np.asarray(self.columns[name][draw].mean(axis=1))

    def ratio(self, top: str, bottom: str, draw: Ints) -> Floats:
        """Ratio of sums over drawn seeds, NaN where the bottom is 0."""
        below = self.mean(bottom, draw)
        return np.where(below > 0, self.mean(top, draw) / np.where(below > 0, below, 1), np.nan)

    def spending(self, draw: Ints) -> Spending:
        """What one group costs, over drawn seeds."""
        groups = self.mean("groups", draw)
        parts = {field.name: self.mean(field.name, draw) / groups for field in fields(Spending)}
        return Spending(**parts)  # type: ignore[arg-type]

    def moments(self, draw: Ints) -> tuple[Floats, Floats, Floats, Floats]:
        """Returns (⟨E g, g*⟩, ‖E g‖², E‖g − E g‖², ‖g*‖²) over drawn seeds; the second at least what the first implies."""
        projection, target = self.mean("projection", draw), self.mean("exact_square", draw)
        least = projection**2 / np.where(target > 0, target, 1)
        mean_square = np.maximum(np.nan_to_num(self.mean("mean_square", draw), nan=0.0), least)
        return projection, mean_square, np.maximum(self.mean("variance", draw), 0), target

    def cosine(self, draw: Ints) -> Floats:
        """Cosine of the mean gradient to the exact one; NaN where either is 0."""
        projection, mean_square, _, target = self.moments(draw)
        return np.asarray(projection / np.sqrt(np.where(target * mean_square > 0, target * mean_square, np.nan)))

    def pearson(self, draw: Ints) -> Floats:
        """Correlation of credit and advantage over steps; NaN where either does not vary."""
        steps = self.mean("steps", draw)
        cc, aa, ca, c, a = (self.mean(key, draw) / steps for key in ("cc", "aa", "ca", "c", "a"))
        spread = np.sqrt(np.maximum((cc - c**2) * (aa - a**2), 0))
        return np.where(spread > 0, (ca - c * a) / np.where(spread > 0, spread, 1), np.nan)

    def quality(self, groups: AnyArray | float, draw: Ints) -> Floats:
        """Q = f/(1 − f) at a number of groups; NaN where g* = 0 or the mean gradient does not point along it."""
        projection, mean_square, variance, target = self.moments(draw)
        noise = mean_square + variance / groups
        good = (target > 0) & (projection > 0)
        f = np.where(good, projection**2, 0) / np.where(good, target * noise, 1)
        return np.where(good, f / np.maximum(1 - f, 1e-15), np.nan)


def summarise(records: Iterable[Mapping[str, Any]], budget: float, resamples: int = 1000, seed: int = 0) -> list[Row]:
    """Summarises the records of an evaluation.

    Args:
        records: as in ``records.jsonl``.
        budget: environment steps B that the unit spends; under other price lists B is what those steps cost it.
        resamples: bootstrap draws.
        seed: seed of the bootstrap.
    """
    cells: dict[tuple[str, str], dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        cells[record["environment"], record["policy"]][record["estimator"]].append(record)
    rows = []
    for (environment, policy), by_estimator in cells.items():
        known = {name: sorted(found, key=lambda r: int(r["seed"])) for name, found in by_estimator.items()}
        seeds = [record["seed"] for record in known["unit"]]
        complete = {name: Replicates(found) for name, found in known.items() if [r["seed"] for r in found] == seeds}
        draw = np.random.default_rng(seed).integers(0, len(seeds), (resamples, len(seeds)))
        draw = np.concatenate([np.arange(len(seeds))[None], draw])  # row 0 is the sample itself
        rows += [
            _row(environment, policy, name, found, complete, budget, draw)
            for name, found in complete.items()
            if name != "unit"
        ]
    return rows


def _row(
    environment: str, policy: str, name: str, own: Replicates, cell: Mapping[str, Replicates], budget: float, draw: Ints
) -> Row:
    worth = {p: equivalents(own, cell["unit"], prices, budget, draw) for p, prices in PRICE_LISTS.items()}
    ceilings = {p: equivalents(cell[CEILING], cell["unit"], prices, budget, draw) for p, prices in PRICE_LISTS.items()}
    headroom = {
        price: np.where(
            ceilings[price] > CEILING_MIN, (value - 1) / np.where(ceilings[price] > 1, ceilings[price] - 1, 1), np.nan
        )
        for price, value in worth.items()
    }
    steps = own.mean("steps", draw)
    cc, aa, ca = (own.mean(key, draw) / steps for key in ("cc", "aa", "ca"))
    scale = np.where(cc > 0, ca / np.where(cc > 0, cc, 1), 0)
    error = np.where(aa > 0, 1 - scale * ca / np.where(aa > 0, aa, 1), np.nan)
    within = float(np.nanmean(own.columns["within"])) if np.isfinite(own.columns["within"]).any() else np.nan
    noise = float(scale[0] ** 2 * within / aa[0]) if aa[0] > 0 else np.nan
    return Row(
        environment=environment,
        policy=policy,
        estimator=name,
        seeds=draw.shape[1],
        groups=float(own.columns["groups"].mean()),
        equivalents={price: interval(value) for price, value in worth.items()},
        headroom={price: interval(value) for price, value in headroom.items()},
        cosine=interval(own.cosine(draw)),
        pearson=interval(own.pearson(draw)),
        rank=interval(own.ratio("rank", "rank_pairs", draw)),
        sign=interval(own.ratio("sign", "sign_steps", draw)),
        top=interval(own.ratio("top", "top_rollouts", draw)),
        error=interval(error),
        bias=max(0.0, float(error[0]) - noise) if np.isfinite(noise) else float("nan"),
        variance=noise,
        steps_ratio=float(own.columns["env_steps"].sum() / own.columns["steps"].sum()),
        seconds=float(own.columns["seconds"].sum() / own.columns["steps"].sum() * 1e6),
    )


def equivalents(own: Replicates, unit: Replicates, prices: Prices, budget: float, draw: Ints) -> Floats:
    """Returns GRPO-equivalents under one price list, ``[R]``."""
    own_cost, unit_cost = prices.cost(own.spending(draw)), prices.cost(unit.spending(draw))
    unit_groups = budget / unit.spending(draw).env_steps
    affordable = unit_groups * unit_cost / own_cost
    return own.quality(affordable, draw) / unit.quality(unit_groups, draw)


def interval(values: Floats) -> Interval:
    """Returns row 0 with the 95 % percentile interval of the others; no interval where many draws are undefined."""
    drawn = values[1:][np.isfinite(values[1:])]
    if not np.isfinite(values[0]) or drawn.size < _DEFINED * (len(values) - 1):
        return Interval(float(values[0]), float("nan"), float("nan"))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(float(values[0]), float(low), float(high))
