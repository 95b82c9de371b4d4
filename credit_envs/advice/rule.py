"""What to try: the logarithms of what methods were worth, averaged over measured situations by likeness.

    worth(method) = exp( (Σ_c w_c log worth_c + λ mean_c log worth_c) / (Σ_c w_c + λ) )      w_c = exp(−d_c² / 2h²)

d_c is the root mean square distance of four standardised numbers: how wrong values of anchors and discounted returns stay
without noise (−log(1.001 − cosine)), how noisy GRPO is at the budget (log of noise over groups), and how often groups inform
(log odds). Numbers, h and λ were chosen on seven environments; :func:`regrets` says what the advice costs on others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, isfinite, isnan, log

import numpy as np

from credit_envs.advice.measured import CANDIDATES, Cell, cells
from credit_envs.advice.situation import Situation
from credit_envs.arrays import Floats
from credit_envs.report.reading import PRICES

BUDGET = 20_000
"""Environment steps at which everything was measured."""

CHOSEN_ON: tuple[str, ...] = (
    *("credit/FrozenLake-v0", "credit/Pivots-v0?plan=2", "credit/Charts-v0", "credit/Lookup-v0"),
    *("credit/Household-v0", "credit/Shop-v0", "credit/Sums-v0?base=4&columns=2&task=both"),
)
"""Environments on which the rule was chosen; families that none of them belongs to test it."""

FAR = 1.0
"""Distance to the nearest measured situation beyond which advice is little more than an average."""

_WIDTH, _PRIOR = 0.6, 0.1
_SLACK = 1.001
_SAME = 1e-2
_MOST_NOISE = 1e4


@dataclass(frozen=True)
class Choice:
    """One method and the GRPO-equivalents that are expected of it."""

    method: str
    worth: float


@dataclass(frozen=True)
class Advice:
    """What to try in a situation.

    Attributes:
        like: the measured situations that count most, with their share of the weight, nearest first.
        measured: the measured situation that this one is, None if it is new; then its own figures are the advice.
        far: root mean square distance to the nearest, in standard deviations of what was measured.
        choices: by price list, the best methods first.
    """

    like: tuple[tuple[Cell, float], ...]
    measured: Cell | None
    far: float
    choices: Mapping[str, tuple[Choice, ...]]


def features(found: Situation) -> Floats:
    """Returns the four numbers by which situations are alike, float64 ``[4]``; undefined ones count as no difficulty."""
    groups = BUDGET / (found.group_size * found.steps)
    return np.array(
        [
            -log(_SLACK - max(_or(found.graph_cosine, 1.0), 0.0)),
            -log(_SLACK - max(_or(found.step_cosine, 1.0), 0.0)),
            log(min(max(1.0 if isnan(found.noise) else found.noise, 1e-3), _MOST_NOISE) / groups),
            log((found.informative + 0.02) / (1.02 - found.informative)),
        ]
    )


class Rule:
    """The rule, fitted to measured cells.

    Args:
        known: the cells.
    """

    def __init__(self, known: Sequence[Cell]) -> None:
        self.cells = known
        self.methods = [name for name in CANDIDATES if all(name in c.worth[p] for c in known for p in PRICES)]
        points = np.stack([features(cell.situation) for cell in known])
        self._centre, self._scale = points.mean(axis=0), np.maximum(points.std(axis=0), 1e-9)
        self._points = (points - self._centre) / self._scale

    def weights(self, found: Situation) -> tuple[Floats, Floats]:
        """Returns weights and distances of the cells, both float64 ``[cells]``."""
        here = (features(found) - self._centre) / self._scale
        distance = np.sqrt(((self._points - here) ** 2).mean(axis=1))
        return np.exp(-(distance**2) / (2 * _WIDTH**2)), distance

    def expected(self, found: Situation, price: str) -> dict[str, float]:
        """Returns what each method should be worth."""
        weight, _ = self.weights(found)
        logs = np.array([[cell.worth[price][name].log for name in self.methods] for cell in self.cells])
        mean = (weight @ logs + _PRIOR * logs.mean(axis=0)) / (weight.sum() + _PRIOR)
        return dict(zip(self.methods, np.exp(mean).tolist(), strict=True))

    def advise(self, found: Situation, best: int = 4) -> Advice:
        """Returns what to try in a situation.

        Args:
            found: the situation.
            best: how many methods to name under each price list.
        """
        weight, distance = self.weights(found)
        nearest = np.argsort(distance)[:3]
        first = self.cells[nearest[0]]
        same = distance[nearest[0]] < _SAME and _alike(first.situation, found)
        like = tuple((self.cells[i], float(weight[i] / (weight.sum() + _PRIOR))) for i in nearest)
        choices = {}
        for price in PRICES:
            own = {name: exp(first.worth[price][name].log) for name in self.methods}
            ranked = sorted((own if same else self.expected(found, price)).items(), key=lambda item: -item[1])
            choices[price] = tuple(Choice(*one) for one in ranked[:best])
        return Advice(like, first if same else None, float(distance[nearest[0]]), choices)


def usual(found: Situation, price: str) -> str:
    """Returns what the usual selection advice names: compute to spare → AgentPRM, very long → LOOP, many repeats → GiGPO."""
    if price == "data":
        return "agent_prm_reward"
    if found.steps >= 100 and found.revisit_rate < 0.5:
        return "loop"
    return "gigpo" if found.revisit_rate >= 0.5 else "grpo"


@dataclass(frozen=True)
class Regret:
    """What following a rule costs, as a factor: best measured worth over worth of what was chosen, by geometric mean.

    Attributes:
        rule: name.
        factor: over all tested cells.
        worst: the largest of any cell.
        hits: share of cells in which the choice was at least 0.8 of the best.
        by_family: the factor in each family.
    """

    rule: str
    factor: float
    worst: float
    hits: float
    by_family: Mapping[str, float]


def regrets(price: str, tested: Callable[[str], bool] = lambda _: True, held_out: bool = False) -> list[Regret]:
    """Returns what rules cost in families that they were not fitted to.

    Args:
        price: price list.
        tested: which families to test.
        held_out: fit to :data:`CHOSEN_ON` alone, instead of to all families but the tested one.
    """
    known = cells()
    families = [name for name in dict.fromkeys(cell.family for cell in known) if tested(name)]
    chosen: dict[str, list[tuple[Cell, str]]] = {}
    everything = Rule(known)
    for family in families:
        others = [c for c in known if c.family != family and (not held_out or c.environment in CHOSEN_ON)]
        rule = Rule(others)
        means = {name: np.mean([c.worth[price][name].log for c in others]) for name in everything.methods}
        constant = max(means, key=lambda name: float(means[name]))
        for cell in (c for c in known if c.family == family):
            expected = rule.expected(cell.situation, price)
            picks = {
                "this advice": max(everything.methods, key=lambda name: expected[name]),
                "best on average": constant,
                "usual advice": usual(cell.situation, price),
                "anchor_graph_mix": "anchor_graph_mix",
                "gigpo": "gigpo",
                "grpo": "grpo",
            }
            for name, pick in picks.items():
                chosen.setdefault(name, []).append((cell, pick))
    return [_regret(name, picks, everything.methods, price) for name, picks in chosen.items()]


def _regret(name: str, picks: Sequence[tuple[Cell, str]], methods: Sequence[str], price: str) -> Regret:
    gaps: dict[str, list[float]] = {}
    for cell, pick in picks:
        best = max(cell.worth[price][method].log for method in methods)
        gaps.setdefault(cell.family, []).append(best - cell.worth[price][pick].log)
    every = [gap for found in gaps.values() for gap in found]
    return Regret(
        name,
        exp(float(np.mean(every))),
        exp(max(every)),
        float(np.mean([gap <= log(1 / 0.8) for gap in every])),
        {family: exp(float(np.mean(found))) for family, found in gaps.items()},
    )


def _alike(one: Situation, other: Situation) -> bool:
    """Whether two situations are one, to the digits that are kept; dials on what is seen change revisits or the picture."""
    names = ("steps", "J", "J_optimal", "revisit_rate", "perception_gap")
    here, there = (np.array([getattr(found, name) for name in names]) for found in (one, other))
    return one.name == other.name and bool(np.allclose(here, there, rtol=1e-4, atol=1e-6, equal_nan=True))


def _or(value: float, otherwise: float) -> float:
    return value if isfinite(value) else otherwise
