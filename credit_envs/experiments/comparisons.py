"""Tests of the ledger on cells: what two estimators are worth, compared by the logarithm of a ratio in every cell.

What intervals say is in :mod:`credit_envs.experiments.ledger`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from credit_envs.arrays import Floats, Ints
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.prices import PRICE_LISTS
from credit_envs.evaluation.summary import Replicates
from credit_envs.experiments.cells import Cell
from credit_envs.experiments.ledger import EXPECTED, Outcome, interval, side, trend, verdict

_NOTHING = 1e-3
_DEFINED = 0.95
_PROBE = ("failed_good", "failed_bad", "failed_idle", "won_good", "won_bad", "won_idle")


@dataclass(frozen=True)
class Test:
    """One comparison.

    Attributes:
        first, second: labels of estimators, ``unit`` for GRPO without deviation in groups of 8.
        expect: one of :data:`EXPECTED`; ``rate`` reads the cell's probe instead of estimators.
        price: price list under which both get the same money.
        measure: ``worth`` (GRPO-equivalents at the cell's budget), or one of ``pearson``, ``sign``, ``rank``, ``top``.
        along: axis of a trend: of the cell, or something the oracle measured (``revisit_rate``, ``expected_steps``); cells
            without it are left out.
        factor: what the ratio is compared with.
        margin: of ``equal``.
        where: axes that a cell must have, as (name, value), else the test does not look at it.
        others: estimators of which the best stands in the place of ``second``, picked anew in every draw of seeds.
        against: two estimators whose ratio divides that of the first two, so that gains are compared.
    """

    first: str = ""
    second: str = "unit"
    expect: str = "greater"
    price: str = "simulator"
    measure: str = "worth"
    along: str = ""
    factor: float = 1.0
    margin: float = 0.25
    where: tuple[tuple[str, Any], ...] = ()
    others: tuple[str, ...] = ()
    against: tuple[str, str] | tuple[()] = ()

    def __post_init__(self) -> None:
        if self.expect not in EXPECTED:
            raise CreditEnvsError(f"expect={self.expect!r}: expected one of {', '.join(EXPECTED)}")

    @property
    def words(self) -> str:
        """The test in words."""
        if self.expect == "rate":
            return "share of the steps blamed by GRPO that were good: above 0 everywhere"
        first, second = _told(self.first), _told(self.second)
        if self.others:
            second = f"the best of {len(self.others)} others"
        if self.against:
            first, second = f"{first} / {second}", " / ".join(map(_told, self.against))
        times = "" if self.factor == 1 else f"{self.factor:g} × "
        what = f", per {_UNIT_OF[self.price]}" if self.price != "simulator" else ""
        what = what if self.measure == "worth" else f", {self.measure}"
        if self.along:
            return f"{first} / {second}{what} {self.expect} along {self.along.replace('_', ' ')}"
        relation = {"greater": ">", "less": "<", "equal": "≈"}[self.expect]
        return f"{first} {relation} {times}{second}{what}"

    @property
    def unit(self) -> str:
        """What its effects are."""
        return "rate" if self.expect == "rate" else "slope" if self.along else "ratio"

    def outcome(self, done: Sequence[tuple[Any, Mapping[str, Any]]], resamples: int) -> Outcome:
        """Returns the result, from finished cells; trials among them are left alone."""
        return _outcome(self, [(cell, found) for cell, found in done if isinstance(cell, Cell)], resamples)


def _told(name: str) -> str:
    return "GRPO" if name == "unit" else name


_UNIT_OF = {"simulator": "environment step", "language model": "token", "data": "trained step"}


def _outcome(test: Test, done: Sequence[tuple[Cell, Mapping[str, Any]]], resamples: int) -> Outcome:
    places, effects, along, seeds = [], [], [], 0
    for cell, found in done:
        axes = dict(cell.axes)
        known = coordinates(cell, found["about"])
        if any(axes.get(name) != value for name, value in test.where) or (test.along and test.along not in known):
            continue
        draw = drawn(cell.seeds, resamples)
        effect = _rate(found["probe"], draw) if test.expect == "rate" else ratio(test, cell, found, draw)
        if effect is None:
            continue
        places.append({**axes, **({test.along: float(known[test.along])} if test.along else {})})
        along.append(float(known[test.along]) if test.along else 0.0)
        effects.append(effect)
        seeds = min(seeds or cell.seeds, cell.seeds)
    if not effects:
        return Outcome(test.words, "open", (float("nan"),) * 3, 0, (), test.unit)
    stack = np.stack(effects)
    sound = np.isfinite(stack).mean(axis=1) >= _DEFINED
    sound &= np.isfinite(stack[:, 0])
    spans = [interval(_floor(row)) for row in stack]
    listed = tuple(zip(places, (_raised(test, span) for span in spans), strict=True))
    nothing = int((~sound).sum())
    # The few resamples in which some sound cell has no finite ratio are left out of what pools cells.
    pooled = stack[sound][:, np.isfinite(stack[sound]).all(axis=0)]
    if test.expect in ("grows", "shrinks"):
        if sound.sum() < 3:
            return Outcome(test.words, "open", (float("nan"),) * 3, nothing, listed, test.unit)
        kept = [_place(p, test.along) for p, ok in zip(places, sound, strict=True) if ok]
        span = interval(_slope(pooled, np.array(along)[sound], kept))
        return Outcome(test.words, trend(span, test.expect), _raised(test, span), nothing, listed, test.unit, (), seeds)
    mean = interval(pooled.mean(axis=0)) if sound.any() else (float("nan"),) * 3
    sides = tuple(side(span, test.expect, float(np.log(1 + test.margin))) for span in spans)
    told = verdict(sides, test.expect)
    return Outcome(test.words, told, _raised(test, mean), nothing, listed, test.unit, sides, seeds)


def _floor(side: Floats) -> Floats:
    return np.where(np.isnan(side), 0.0, np.clip(side, np.log(_NOTHING), -np.log(_NOTHING)))


def coordinates(cell: Cell, about: Mapping[str, Any]) -> dict[str, Any]:
    """Returns everything that a trend may run along: a cell's axes, what was measured, and log₂ of its sizes."""
    axes = dict(cell.axes)
    out = {**about, **axes, "log2_steps": np.log2(about["expected_steps"]), "log2_group": np.log2(cell.group_size)}
    return out | {f"log2_{k}": np.log2(v) for k, v in axes.items() if isinstance(v, int | float) and v > 0}


def drawn(seeds: int, resamples: int, seed: int = 0) -> Ints:
    """Returns bootstrap draws of seeds ``[1 + R, seeds]``; row 0 is the sample itself."""
    draw = np.random.default_rng(seed).integers(0, seeds, (resamples, seeds))
    return np.concatenate([np.arange(seeds)[None], draw])


def ratio(test: Test, cell: Cell, found: Mapping[str, Any], draw: Ints) -> Floats | None:
    """Returns log(first / second / factor) over draws, None where the cell lacks one of them."""
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for record in sorted(found["records"], key=lambda r: int(r["seed"])):
        by_name.setdefault(record["estimator"], []).append(record)
    others = [name for name in test.others or (test.second,) if name in by_name]
    if not others or not {test.first, *test.against} <= set(by_name):
        return None
    unit = Replicates(by_name["unit"])

    def worth(name: str) -> Floats:
        side = measured(test, Replicates(by_name[name]), unit, cell.budget, draw)
        return np.where(side > 0, side, np.nan)

    # fmax leaves out what is worth nothing.
    out = _log_ratio(worth(test.first), np.fmax.reduce([worth(name) for name in others]) * test.factor)
    if not test.against:
        return out
    gain = out - _log_ratio(*map(worth, test.against))
    return np.where(np.isfinite(gain), gain, np.nan)  # a gain over nothing says nothing


def _log_ratio(first: Floats, second: Floats) -> Floats:
    """Returns log(first / second): ±∞ where one of them is worth nothing (NaN), NaN where both are."""
    lost, won = np.isnan(first) & ~np.isnan(second), np.isnan(second) & ~np.isnan(first)
    return np.asarray(np.where(lost, -np.inf, np.where(won, np.inf, np.log(first / second))))


def measured(test: Test, own: Replicates, unit: Replicates, budget: float, draw: Ints) -> Floats:
    """Returns a test's measure of one estimator over draws."""
    if test.measure in ("sign", "rank", "top"):
        bottom = {"sign": "sign_steps", "rank": "rank_pairs", "top": "top_rollouts"}[test.measure]
        return own.ratio(test.measure, bottom, draw)
    if test.measure == "pearson":
        steps = own.mean("steps", draw)
        cc, aa, ca, c, a = (own.mean(key, draw) / steps for key in ("cc", "aa", "ca", "c", "a"))
        spread = np.sqrt(np.maximum((cc - c**2) * (aa - a**2), 1e-300))
        return np.asarray((ca - c * a) / spread)
    prices = PRICE_LISTS[test.price]
    groups = budget / unit.spending(draw).env_steps
    money = groups * prices.cost(unit.spending(draw))
    return own.quality(money / prices.cost(own.spending(draw)), draw) / unit.quality(groups, draw)


def _slope(effects: Floats, along: Floats, places: Sequence[str]) -> Floats:
    """Slope of effects ``[C, R]`` along an axis ``[C]``, with a level of its own per place; ``[R]``."""
    names = sorted(set(places))
    level = np.array([[place == name for name in names] for place in places], dtype=float)
    design = np.column_stack([along, level])
    return np.asarray(np.linalg.lstsq(design, effects, rcond=None)[0][0])


def _place(axes: Mapping[str, Any], along: str) -> str:
    return str(axes.get("task", "")) if along else ""


def _rate(probe: Sequence[Mapping[str, float]], draw: Ints) -> Floats:
    """Share of the steps in failed rollouts that were good, among those that mattered."""
    good, bad = (np.array([row[key] for row in probe])[draw].sum(axis=1) for key in _PROBE[:2])
    return np.asarray(good / np.maximum(good + bad, 1))


def _raised(test: Test, span: tuple[float, float, float]) -> tuple[float, float, float]:
    """Turns logarithms into ratios."""
    if test.expect == "rate":
        return span
    value, low, high = (float(np.exp(x)) * (1.0 if test.along else test.factor) for x in span)
    return value, low, high
