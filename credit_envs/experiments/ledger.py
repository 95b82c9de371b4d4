"""The ledger of claims: what is claimed, what would refute it, and the verdict computed from results.

A test compares two estimators in every cell of the claim's sweep by the logarithm of a ratio, with a 95 % interval over
seeds (one bootstrap for all cells, so cells can be pooled):

    greater   the first is worth more            less      it is worth less
    equal     within a factor of 1 + margin      grows     the ratio rises along an axis      shrinks   it falls

A cell speaks for the claim where its interval lies on the predicted side, against it where it lies on the other. ``greater``
and ``less`` are *supported* if some cells (at least half) speak for and none against, *contradicted* if none speak for and
at least half against, *depends* if both speak, else *open*. ``equal`` is supported if every interval lies within the margin,
contradicted if every one lies outside. A trend is judged by the interval of one slope over all cells, with an own level per
place. A claim's verdict is that of its tests if they agree, else *depends*. Trials, which train, are compared by differences:
:mod:`credit_envs.experiments.contrasts`. An estimator whose mean gradient does not point
along ∇J is worth nothing: comparisons take that for 0.001, while trends and mean effects leave such cells out and say how many.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from credit_envs.arrays import Floats, Ints
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.prices import PRICE_LISTS
from credit_envs.evaluation.summary import Replicates
from credit_envs.experiments.cells import Cell, Sweep, Work
from credit_envs.experiments.dataset import finished

VERDICTS = ("supported", "contradicted", "depends", "open")
EXPECTED = ("greater", "less", "equal", "grows", "shrinks", "rate")
_NOTHING = 1e-3
_DEFINED = 0.95
_PROBE = ("failed_good", "failed_bad", "failed_idle", "won_good", "won_bad", "won_idle")


@dataclass(frozen=True)
class Outcome:
    """A test's result.

    Attributes:
        test: the test in words.
        verdict: one of :data:`VERDICTS`.
        effect: geometric mean of the ratios over cells in which both are worth something (of a trend: factor per doubling or
            per unit of the axis; of a rate: the rate), with its 95 % interval.
        nothing: cells in which one of them is worth nothing.
        cells: per cell its axes and ratio with interval.
        unit: what effects are: ``ratio``, ``slope`` (a factor per unit of the axis), ``rate`` or ``difference``.
    """

    test: str
    verdict: str
    effect: tuple[float, float, float]
    nothing: int
    cells: tuple[tuple[Mapping[str, Any], tuple[float, float, float]], ...]
    unit: str = "ratio"


class Judged(Protocol):
    """What a claim is tested by: a :class:`Test`, or a contrast of trials."""

    @property
    def words(self) -> str:
        """The test in words."""

    def outcome(self, done: Sequence[tuple[Any, Mapping[str, Any]]], resamples: int) -> Outcome:
        """Returns the result, from finished cells with what they found."""


@dataclass(frozen=True)
class Test:
    """One comparison.

    Attributes:
        first, second: labels of estimators, ``unit`` for GRPO without deviation in groups of 8.
        expect: one of :data:`EXPECTED`; ``rate`` reads the cell's probe instead of estimators.
        price: price list under which both get the same money.
        measure: ``worth`` (GRPO-equivalents at the cell's budget), or one of ``pearson``, ``sign``, ``rank``, ``top``.
        along: axis of a trend: of the cell, or something the oracle measured (``revisit_rate``, ``expected_steps``).
        factor: what the ratio is compared with.
        margin: of ``equal``.
        where: axes that a cell must have, as (name, value), else the test does not look at it.
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

    def __post_init__(self) -> None:
        if self.expect not in EXPECTED:
            raise CreditEnvsError(f"expect={self.expect!r}: expected one of {', '.join(EXPECTED)}")

    @property
    def words(self) -> str:
        """The test in words."""
        if self.expect == "rate":
            return "share of the steps blamed by GRPO that were good: above 0 everywhere"
        second = "GRPO" if self.second == "unit" else self.second
        times = "" if self.factor == 1 else f"{self.factor:g} × "
        what = self.measure if self.measure != "worth" else f"worth per {_UNIT_OF[self.price]}"
        if self.along:
            return f"{self.first} / {second}, {what}, {self.expect} along {self.along.replace('_', ' ')}"
        relation = {"greater": ">", "less": "<", "equal": "≈"}[self.expect]
        return f"{self.first} {relation} {times}{second}, {what}"

    @property
    def unit(self) -> str:
        """What its effects are."""
        return "rate" if self.expect == "rate" else "slope" if self.along else "ratio"

    def outcome(self, done: Sequence[tuple[Any, Mapping[str, Any]]], resamples: int) -> Outcome:
        """Returns the result, from finished cells; trials among them are left alone."""
        return _outcome(self, [(cell, found) for cell, found in done if isinstance(cell, Cell)], resamples)


_UNIT_OF = {"simulator": "environment step", "language model": "token", "data": "trained step"}


@dataclass(frozen=True)
class Claim:
    """A claim with its experiment.

    Attributes:
        name: key in the ledger, and of its sweep on the command line.
        claim: one sentence.
        source: who says it.
        predicted: the direction in words.
        refuted_by: what would refute it.
        tests: what is computed; a claim with none is not yet measured.
        cells: function from ``quick`` to the cells of its sweep.
    """

    name: str
    claim: str
    source: str
    predicted: str
    refuted_by: str
    tests: tuple[Judged, ...]
    cells: Callable[[bool], Sequence[Work]]

    def sweep(self, quick: bool = True) -> Sweep:
        """Returns its sweep."""
        return Sweep(self.name, self.claim, tuple(self.cells(quick)))


def judge(claim: Claim, folder: Path, quick: bool = True, resamples: int = 1000) -> tuple[str, list[Outcome]]:
    """Returns a claim's verdict and the outcomes of its tests, from the finished cells of its sweep.

    Args:
        claim: the claim.
        folder: where the sweep was run.
        quick: which of its sweeps.
        resamples: bootstrap draws.
    """
    done = list(finished(claim.sweep(quick), folder))
    outcomes = [test.outcome(done, resamples) for test in claim.tests]
    return combined([outcome.verdict for outcome in outcomes]), outcomes


def combined(verdicts: Sequence[str]) -> str:
    """Returns the verdict of several tests: theirs if they agree, ``open`` if nothing is decided, else ``depends``."""
    decided = set(verdicts) - {"open"}
    if not decided:
        return "open"
    return decided.pop() if len(decided) == 1 and "open" not in verdicts else "depends"


def _outcome(test: Test, done: Sequence[tuple[Cell, Mapping[str, Any]]], resamples: int) -> Outcome:
    places, effects, along = [], [], []
    for cell, found in done:
        axes = dict(cell.axes)
        if any(axes.get(name) != value for name, value in test.where):
            continue
        draw = drawn(cell.seeds, resamples)
        effect = _rate(found["probe"], draw) if test.expect == "rate" else ratio(test, cell, found, draw)
        if effect is None:
            continue
        known = coordinates(cell, found["about"])
        places.append({**axes, **({test.along: known[test.along]} if test.along else {})})
        along.append(float(known[test.along]) if test.along else 0.0)
        effects.append(effect)
    if not effects:
        return Outcome(test.words, "open", (float("nan"),) * 3, 0, (), test.unit)
    stack = np.stack(effects)
    sound = np.isfinite(stack).mean(axis=1) >= _DEFINED
    sound &= np.isfinite(stack[:, 0])
    floored = [side if ok else _floor(side) for side, ok in zip(stack, sound, strict=True)]
    spans = [interval(row) for row in floored]
    listed = tuple(zip(places, (_raised(test, span) for span in spans), strict=True))
    nothing = int((~sound).sum())
    # The few resamples in which some sound cell has no finite ratio are left out of what pools cells.
    pooled = stack[sound][:, np.isfinite(stack[sound]).all(axis=0)]
    if test.expect in ("grows", "shrinks"):
        if sound.sum() < 3:
            return Outcome(test.words, "open", (float("nan"),) * 3, nothing, listed, test.unit)
        kept = [_place(p, test.along) for p, ok in zip(places, sound, strict=True) if ok]
        span = interval(_slope(pooled, np.array(along)[sound], kept))
        return Outcome(test.words, trend(span, test.expect), _raised(test, span), nothing, listed, test.unit)
    mean = interval(pooled.mean(axis=0)) if sound.any() else (float("nan"),) * 3
    return Outcome(
        test.words,
        verdict(spans, test.expect, float(np.log(1 + test.margin))),
        _raised(test, mean),
        nothing,
        listed,
        test.unit,
    )


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


def interval(values: Floats) -> tuple[float, float, float]:
    """Returns row 0 with the 95 % percentile interval of the others."""
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return float(values[0]), float(low), float(high)


def ratio(test: Test, cell: Cell, found: Mapping[str, Any], draw: Ints) -> Floats | None:
    """Returns log(first / second / factor) over draws, None where the cell lacks one of them."""
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for record in sorted(found["records"], key=lambda r: int(r["seed"])):
        by_name.setdefault(record["estimator"], []).append(record)
    if test.first not in by_name or test.second not in by_name:
        return None
    unit = Replicates(by_name["unit"])
    sides = [measured(test, Replicates(by_name[name]), unit, cell.budget, draw) for name in (test.first, test.second)]
    first, second = (np.where(side > 0, side, np.nan) for side in sides)
    # ±∞ where one of them is worth nothing, NaN where both are.
    lost, won = np.isnan(first) & ~np.isnan(second), np.isnan(second) & ~np.isnan(first)
    out = np.log(first / second / test.factor)
    return np.asarray(np.where(lost, -np.inf, np.where(won, np.inf, out)))


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


def verdict(spans: Sequence[tuple[float, float, float]], expect: str, bound: float = 0.0) -> str:
    """Returns the verdict of a test that is no trend, from the intervals of its effects, which are 0 where nothing differs.

    Args:
        spans: effects with their intervals.
        expect: one of :data:`EXPECTED`.
        bound: how large an effect may be to count as ``equal``.
    """
    if expect == "rate":
        return "supported" if all(low > 0 for _, low, _ in spans) else "open"
    if expect == "equal":
        inside = [-bound < low and high < bound for _, low, high in spans]
        outside = [low > bound or high < -bound for _, low, high in spans]
        if all(inside):
            return "supported"
        return "contradicted" if all(outside) else "depends" if any(outside) else "open"
    sign = 1 if expect == "greater" else -1
    for_it = sum((low if sign > 0 else -high) > 0 for _, low, high in spans)
    against = sum((high if sign > 0 else -low) < 0 for _, low, high in spans)
    if for_it and against:
        return "depends"
    if 2 * for_it >= len(spans):
        return "supported"
    return "contradicted" if 2 * against >= len(spans) else "open"


def trend(span: tuple[float, float, float], expect: str) -> str:
    """Returns the verdict of a trend from its slope with interval."""
    _, low, high = span
    up, down = low > 0, high < 0
    if not (up or down):
        return "open"
    return "supported" if up == (expect == "grows") else "contradicted"


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
