"""How results are read: one cell per environment and policy, names as people say them, numbers as short as honest."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import floor, isfinite, log, log10
from pathlib import Path
from typing import Any

from credit_envs.evaluation import PRICE_LISTS, Config, Interval, Results, Row
from credit_envs.evaluation.config import CEILING, UNIT
from credit_envs.recipes import known
from credit_envs.recipes import names as recipe_names

PRICES: tuple[str, ...] = tuple(PRICE_LISTS)
"""Names of the price lists, the simulator's first."""

ROUNDING = 1e-6
"""Differences from GRPO below this are rounding, not results."""

_MATCHED = " γ="
_MANY = 25
_LEAST = 1e-3


@dataclass(frozen=True)
class Cell:
    """Every estimator on one environment under one policy.

    Attributes:
        environment: id or path.
        policy: rung of the ladder.
        rows: estimators at their own γ, references that see the truth last.
        matched: the same estimators at the environment's γ, by name, where that differs.
        about: what ``environments.json`` says of the environment.
    """

    environment: str
    policy: str
    rows: Sequence[Row]
    matched: Mapping[str, Row]
    about: Mapping[str, Any]

    def row(self, estimator: str) -> Row | None:
        """Returns an estimator's row, None if it was not scored."""
        return next((row for row in self.rows if row.estimator == estimator), None)

    @property
    def rivals(self) -> list[Row]:
        """Estimators that anyone could use, the unit left out."""
        return [row for row in self.rows if row.estimator != UNIT and not is_reference(row.estimator)]

    @property
    def rung(self) -> Mapping[str, Any]:
        """What is known of the policy, such as ``J``, ``normalised``, ``luck_share`` and ``expected_steps``."""
        found = (rung for rung in self.about.get("policies", ()) if rung["name"] == self.policy)
        return next(found, {})

    @property
    def policy_name(self) -> str:
        """The policy in words."""
        return policy_name(self.policy)


def cells(results: Results) -> list[Cell]:
    """Groups the rows of results by environment and policy, in their order; many estimators by their worth."""
    about = {entry["environment"]: entry for entry in results.environments}
    places = list(dict.fromkeys((row.environment, row.policy) for row in results.rows))
    order = _by_worth(results.rows)
    out = []
    for environment, policy in places:
        here = [row for row in results.rows if (row.environment, row.policy) == (environment, policy)]
        own = [row for row in here if _MATCHED not in row.estimator]
        own.sort(key=lambda row: (is_reference(row.estimator), row.estimator == CEILING, order.get(row.estimator, 0.0)))
        matched = {row.estimator.split(_MATCHED)[0]: row for row in here if _MATCHED in row.estimator}
        out.append(Cell(environment, policy, own, matched, about.get(environment, {})))
    return out


def _by_worth(rows: Sequence[Row]) -> dict[str, float]:
    """Orders many estimators by the mean logarithm of their worth per sampled step, best first; few stay as they are."""
    worths: dict[str, list[float]] = {}
    for row in rows:
        value = row.equivalents[PRICES[0]].value
        worths.setdefault(row.estimator, []).append(
            log(min(max(value, _LEAST), 1 / _LEAST)) if isfinite(value) else log(_LEAST)
        )
    return {name: -sum(found) / len(found) for name, found in worths.items()} if len(worths) > _MANY else {}


def by_environment(found: Sequence[Cell]) -> dict[str, list[Cell]]:
    """Groups cells by environment."""
    out: dict[str, list[Cell]] = {}
    for cell in found:
        out.setdefault(cell.environment, []).append(cell)
    return out


def policies(found: Sequence[Cell]) -> list[str]:
    """Returns the policies of cells in the order of the ladder."""
    return sorted({cell.policy for cell in found}, key=lambda name: -1.0 if name == "uniform" else float(name))


def policy_name(policy: str) -> str:
    """Returns a rung of the ladder in words."""
    return policy if policy == "uniform" else f"{percent(float(policy))} of optimal"


def is_reference(estimator: str) -> bool:
    """Whether an estimator sees what no learner can: true states or the exact advantage."""
    found = known(estimator)
    return found is not None and found.privileged


def paper_gamma(estimator: str) -> float | None:
    """Returns the discount of an estimator's paper, None where it takes none or is not of this package."""
    found = known(estimator)
    return None if found is None else found.gamma


def one_price(row: Row) -> bool:
    """Whether a row is worth the same under every price list, as it is where nothing but the sample is spent."""
    first, *others = ((i.value, i.low, i.high) for i in row.equivalents.values())
    return all(
        abs(a - b) <= 1e-9 * abs(a) or not (isfinite(a) or isfinite(b))
        for other in others
        for a, b in zip(first, other, strict=True)
    )


def same_as_unit(row: Row) -> bool:
    """Whether a row is the unit itself, or indistinguishable from it on every seed."""
    return all(abs(x - 1) < 1e-9 for i in row.equivalents.values() for x in (i.value, i.low, i.high))


def short(environment: str) -> str:
    """Returns an environment's name without namespace, version, folder or ending; knobs follow as words."""
    if environment.endswith(".npz"):
        return Path(environment).stem
    name, *knobs = re.split("[?&]", environment.removeprefix("credit/"))
    head, _, version = name.rpartition("-v")
    return " ".join([head if head and version.isdigit() else name, *knobs])


def number(value: float) -> str:
    """Writes a number with two decimals below 10, two significant digits from 10 on, and ``–`` where undefined."""
    if not isfinite(value):
        return "–"
    size = abs(value)
    if 0 < size < 0.005:
        return "<0.01" if value > 0 else "-0.00"
    if size < 9.995:
        return f"{value:.2f}"
    if size < 999.5:
        return f"{value:.0f}"
    if size >= 1e9:
        return f"{value:.0e}"
    power = floor(log10(size) / 3)
    return (
        f"{value / 1000**power:.2g}{' kM'[power]}"
        if size / 1000**power < 100
        else f"{value / 1000**power:.0f}{' kM'[power]}"
    )


def percent(value: float) -> str:
    """Writes a share as a percentage, its sign held by a no-break space."""
    if not isfinite(value):
        return "–"
    return "<1\u00a0%" if 0.0001 < value < 0.005 else f"{round(100 * value)}\u00a0%"


def interval(found: Interval) -> str:
    """Writes a value with its interval, ``–`` where undefined."""
    if not isfinite(found.value):
        return "–"
    return f"{number(found.value)} [{number(found.low)}, {number(found.high)}]"


def worth(row: Row, price: str) -> str:
    """Writes GRPO-equivalents with their interval; a bound that only rounds to 1 says on which side of it it lies."""
    found = row.equivalents[price]
    ends = [number(x) for x in (found.low, found.high)]
    signs = ["<" if x < 1 - ROUNDING else ">" if x > 1 + ROUNDING else "" for x in (found.low, found.high)]
    low, high = (f"{sign}{end}" if end == "1.00" else end for sign, end in zip(signs, ends, strict=True))
    return f"{number(found.value)} [{low}, {high}]" if isfinite(found.value) else "–"


def command(config: Config) -> str:
    """Returns the shell command that makes these results again."""
    plain = Config()
    flags = []
    for part in fields(Config):
        value, usual = getattr(config, part.name), getattr(plain, part.name)
        flag = f"--{part.name.replace('_', '-')}"
        if part.name == "estimators" or value == usual:
            continue
        if isinstance(value, bool):
            flags.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, Mapping):
            flags += [flag, *(f"{key}={entry}" for key, entry in value.items())]
        elif isinstance(value, tuple):
            flags += [flag, *(f"{entry:g}" if isinstance(entry, float) else str(entry) for entry in value)]
        else:
            flags += [flag, str(value)]
    names: Sequence[str] = [] if config.estimators == plain.estimators else config.estimators
    names = ["all"] if config.estimators == recipe_names() else names
    return shlex.join(["credit-envs", "evaluate", *names, *flags])
