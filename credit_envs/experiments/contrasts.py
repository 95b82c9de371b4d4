"""Tests of the ledger on trials: figures of two arms compared seed by seed.

An effect is a mean over seeds of paired differences, with its 95 % interval by Student's t; places are pooled by averaging a
seed's differences over them, a trend is the mean over seeds of each seed's slope. What intervals say is in
:mod:`credit_envs.experiments.ledger`; of normalised returns, one that lies within ±0.005 is a tie and speaks for neither side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from credit_envs.arrays import Floats
from credit_envs.errors import CreditEnvsError
from credit_envs.experiments.ledger import Outcome, side, trend, verdict
from credit_envs.experiments.trials import Trial
from credit_envs.training.results import TIED

_EXPECTED = ("greater", "less", "equal", "grows", "shrinks")


@dataclass(frozen=True)
class Contrast:
    """One comparison of trials.

    Attributes:
        figure: what is compared.
        first: the arm.
        second: the other arm, paired by seed; none: ``than`` or ``value``.
        than: another figure of the same arm, such as what it was before training.
        value: a number to compare with.
        expect: ``greater``, ``less``, ``equal`` (within ``margin``), ``grows`` or ``shrinks`` along an axis.
        along: axis of a trend.
        margin: of ``equal``, in the figure's own unit; and what a difference must exceed to count for the others.
        where: axes that a place must have, as (name, value), else the test does not look at it.
    """

    figure: str
    first: str
    second: str = ""
    than: str = ""
    value: float = 0.0
    expect: str = "greater"
    along: str = ""
    margin: float = 0.0
    where: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if self.expect not in _EXPECTED:
            raise CreditEnvsError(f"expect={self.expect!r}: expected one of {', '.join(_EXPECTED)}")

    @property
    def words(self) -> str:
        """The test in words."""
        figure = self.figure.replace("_", " ")
        other = self.second or (f"{self.than.replace('_', ' ')}" if self.than else f"{self.value:g}")
        if self.along:
            minus = "" if other == "0" else f" − {other}"
            return f"{self.first}{minus}, {figure}, {self.expect} along {self.along.replace('_', ' ')}"
        relation = {"greater": ">", "less": "<", "equal": "≈"}[self.expect]
        beside = f" (margin {self.margin:g})" if self.margin else ""
        if self.second:
            return f"{self.first} {relation} {self.second}, {figure}{beside}"
        return f"{self.first}: {figure} {relation} {other}{beside}"

    def outcome(self, done: Sequence[tuple[Any, Mapping[str, Any]]], resamples: int = 0) -> Outcome:  # noqa: ARG002
        """Returns the result, from finished trials; everything else in ``done`` is left alone."""
        places: dict[tuple[tuple[str, Any], ...], dict[str, list[Mapping[str, Any]]]] = {}
        for trial, found in done:
            if isinstance(trial, Trial):
                places.setdefault(trial.axes, {}).setdefault(trial.arm, []).extend(found["records"])
        axes, effects = [], []
        for place, by_arm in places.items():
            at = dict(place)
            gap = (
                self._gap({arm: _columns(records) for arm, records in by_arm.items()})
                if all(at.get(name) == value for name, value in self.where)
                else None
            )
            if gap is not None and (not self.along or self.along in at):
                axes.append(at)
                effects.append(gap)
        if not effects:
            return Outcome(self.words, "open", (float("nan"),) * 3, 0, (), "difference")
        spans = [student(gap) for gap in effects]
        listed = tuple(zip(axes, spans, strict=True))
        seeds = min(map(len, effects))
        stack = np.stack([gap[:seeds] for gap in effects])
        if self.along:
            span = student(_slopes(stack, [float(at[self.along]) for at in axes], [str(at.get("task")) for at in axes]))
            return Outcome(self.words, trend(span, self.expect), span, 0, listed, "slope of differences", (), seeds)
        shift = 0.0 if self.expect == "equal" else self.margin * (1 if self.expect == "greater" else -1)
        sides = tuple(
            "open" if self._tied(span) else side(_moved(span, -shift), self.expect, self.margin) for span in spans
        )
        mean = student(stack.mean(axis=0))
        return Outcome(self.words, verdict(sides, self.expect), mean, 0, listed, "difference", sides, seeds)

    def _tied(self, span: tuple[float, float, float]) -> bool:
        returns = self.figure in ("final", "speed") and self.expect in ("greater", "less") and not self.margin
        return returns and max(abs(span[1]), abs(span[2])) < TIED

    def _gap(self, by_arm: Mapping[str, Mapping[str, Floats]]) -> Floats | None:
        """Returns first minus second of the seeds that both have, in the order of seeds; None where there are none."""
        first = by_arm.get(self.first, {})
        second = by_arm.get(self.second, {}) if self.second else first
        if self.figure not in first or (self.than or self.figure) not in second:
            return None
        _, here, there = np.intersect1d(first["seed"], second["seed"], return_indices=True)
        other = second[self.than or self.figure][there] if self.second or self.than else self.value
        return np.asarray(first[self.figure][here] - other) if len(here) > 1 else None


def student(values: Floats) -> tuple[float, float, float]:
    """Returns the mean of values ``[n]`` with its 95 % interval by Student's t; NaN bounds where one isn't a number."""
    mean = float(values.mean())
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)
    return mean, mean - half, mean + half


def _moved(span: tuple[float, float, float], by: float) -> tuple[float, float, float]:
    return span[0] + by, span[1] + by, span[2] + by


def _columns(records: Sequence[Mapping[str, Any]]) -> dict[str, Floats]:
    rows = sorted(records, key=lambda row: int(row["seed"]))
    names = [name for name in rows[0] if name != "estimator"]
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in names}


def _slopes(effects: Floats, along: Sequence[float], places: Sequence[str]) -> Floats:
    """Slope of effects ``[places, seeds]`` along an axis, with a level of its own per task; ``[seeds]``."""
    tasks = sorted(set(places))
    level = np.array([[place == task for task in tasks] for place in places], dtype=float)
    design = np.column_stack([np.asarray(along), level])
    return np.asarray(np.linalg.lstsq(design, effects, rcond=None)[0][0])
