"""The ledger of claims: what is claimed, what would refute it, and the verdict computed from results.

A test compares two estimators in every cell of the claim's sweep by the logarithm of a ratio, with a 95 % interval over
seeds (one bootstrap for all cells, so cells can be pooled):

    greater   the first is worth more            less      it is worth less
    equal     within a factor of 1 + margin      grows     the ratio rises along an axis      shrinks   it falls

A cell speaks for the claim where its interval lies on the predicted side, against it where it lies on the other. ``greater``
and ``less`` are *supported* if some cells (at least half) speak for and none against, *contradicted* if none speak for and
at least half against, *depends* if both speak, else *open*. ``equal`` is supported if every interval lies within the margin,
contradicted if every one lies outside. A trend is judged by the interval of one slope over all cells, with an own level per
place. A claim's verdict is that of its tests if they agree, else *depends*. An estimator whose mean gradient does not point
along ∇J is worth nothing: comparisons take that for 0.001, while trends and mean effects leave such cells out and say how many.
Trials, which train, are compared by differences: :mod:`credit_envs.experiments.contrasts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from credit_envs.arrays import Floats
from credit_envs.experiments.cells import Sweep, Work
from credit_envs.experiments.dataset import finished

VERDICTS = ("supported", "contradicted", "depends", "open")
_ROUNDING = 1e-9
EXPECTED = ("greater", "less", "equal", "grows", "shrinks", "rate")


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
        unit: what effects are: ``ratio``, ``slope`` (a factor per unit of the axis), ``rate``, ``difference``, or ``slope of
            differences``.
        sides: per cell ``for``, ``against`` or ``open``; nothing for a trend.
        seeds: per cell and estimator.
    """

    test: str
    verdict: str
    effect: tuple[float, float, float]
    nothing: int
    cells: tuple[tuple[Mapping[str, Any], tuple[float, float, float]], ...]
    unit: str = "ratio"
    sides: tuple[str, ...] = ()
    seeds: int = 0


class Judged(Protocol):
    """What a claim is tested by: a :class:`Test`, or a contrast of trials."""

    @property
    def words(self) -> str:
        """The test in words."""

    def outcome(self, done: Sequence[tuple[Any, Mapping[str, Any]]], resamples: int) -> Outcome:
        """Returns the result, from finished cells with what they found."""


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
    """Returns a claim's verdict and the outcomes of its tests, from all cells of its sweep, or from none if some are missing.

    Args:
        claim: the claim.
        folder: where the sweep was run.
        quick: which of its sweeps.
        resamples: bootstrap draws.
    """
    sweep = claim.sweep(quick)
    done = list(finished(sweep, folder))
    if len(done) < len(sweep.cells):  # some places must not speak for all
        done = []
    outcomes = [test.outcome(done, resamples) for test in claim.tests]
    return combined([outcome.verdict for outcome in outcomes]), outcomes


def combined(verdicts: Sequence[str]) -> str:
    """Returns the verdict of several tests: theirs if they agree, ``open`` if nothing is decided, else ``depends``."""
    decided = set(verdicts) - {"open"}
    if not decided:
        return "open"
    return decided.pop() if len(decided) == 1 and "open" not in verdicts else "depends"


def interval(values: Floats) -> tuple[float, float, float]:
    """Returns row 0 with the 95 % percentile interval of the others."""
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return float(values[0]), float(low), float(high)


def side(span: tuple[float, float, float], expect: str, bound: float = 0.0) -> str:
    """Returns which side one cell is on: ``for``, ``against`` or ``open``.

    Args:
        span: effect with its interval; 0 where nothing differs.
        expect: one of :data:`EXPECTED`, but no trend.
        bound: how large an effect may be to count as ``equal``.
    """
    _, low, high = span
    if expect == "rate":
        return "for" if low > 0 else "open"
    if expect == "equal":
        return "for" if -bound < low and high < bound else "against" if low > bound or high < -bound else "open"
    if expect == "less":
        low, high = -high, -low
    return "for" if low > _ROUNDING else "against" if high < -_ROUNDING else "open"


def verdict(sides: Sequence[str], expect: str) -> str:
    """Returns the verdict of a test that is no trend, from the sides of its cells."""
    for_it, against, all_of = sides.count("for"), sides.count("against"), len(sides)
    if expect in ("rate", "equal"):
        if for_it == all_of:
            return "supported"
        return "contradicted" if against == all_of else "depends" if against else "open"
    if for_it and against:
        return "depends"
    if 2 * for_it >= all_of:
        return "supported"
    return "contradicted" if 2 * against >= all_of else "open"


def trend(span: tuple[float, float, float], expect: str) -> str:
    """Returns the verdict of a trend from its slope with interval."""
    _, low, high = span
    up, down = low > _ROUNDING, high < -_ROUNDING
    if not (up or down):
        return "open"
    return "supported" if up == (expect == "grows") else "contradicted"
