"""The findings of the quick run as rules, to be tested on seeds that it never saw; docs/principle-plan.md stated them before.

Each rule is a finding of the quick run made exact. They are tested at the quick run's points alone (:func:`same_points`):
halfway to optimal play, k up to 16 (KeyRooms: 4), a critic on at most 128 groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from credit_envs.experiments.grain_tests import regression, rules
from credit_envs.experiments.surface import Slice, numbered
from credit_envs.experiments.where import REAL

_TOKENS = tuple(f"{task} tokens" for task in ("Household", "Lookup", "Apps", "Shop", "Chat"))


@dataclass(frozen=True)
class Check:
    """A rule and what the data say.

    Attributes:
        finding: number of the sentence that it makes exact.
        rule: what must hold.
        figures: what was measured.
        held: whether it did.
    """

    finding: int
    rule: str
    figures: str
    held: bool


def same_points(found: Sequence[Slice], level: float = 0.5) -> list[Slice]:
    """Returns the slices whose point the quick run had, at one policy."""
    largest = {"Pivots": 16, "KeyRooms": 4}
    return [
        one
        for one in found
        if one.level == level
        and (one.task in _TOKENS or one.unit <= largest.get(one.task, 0))
        and not (one.family == "learned" and one.budget > 256)
    ]


def checks(found: Sequence[Slice], moments: Sequence[Mapping[str, Any]]) -> list[Check]:
    """Tests all rules.

    Args:
        found: slices of one policy, see :func:`same_points`.
        moments: rows of :func:`~credit_envs.experiments.surface_rows.moments` at the same policy.

    Returns:
        The checks; none where a task of the quick run is missing.
    """
    if not {"Pivots", "KeyRooms", *_TOKENS} <= {one.task for one in found}:
        return []
    out = [
        _rarely(found),
        _budget(found),
        _rollouts(found),
        _trained(found),
        _anchors(found),
        _critics(found),
        _first(found),
    ]
    return [*out, *_tokens(found), _constant(found), _variance(found, moments)]


def _of(found: Sequence[Slice], family: str, spending: str = "rollouts", price: str = "simulator") -> list[Slice]:
    return [one for one in found if (one.family, one.spending, one.price) == (family, spending, price)]


def _steps(found: Sequence[Slice], *structures: str) -> list[Slice]:
    """Slices with k > 1 whose unit is a number of steps."""
    return [one for one in numbered(found) if one.unit > 1 and (not structures or one.structure in structures)]


def _share(found: Sequence[Slice], verdict: str) -> float:
    told = [one.verdict for one in found if one.verdict != "undefined"]
    return told.count(verdict) / len(told) if told else float("nan")


def _rarely(found: Sequence[Slice]) -> Check:
    own = [_steps(_of(found, *which)) for which in REAL]
    most, least = max(_share(one, "k") for one in own), min(_share(one, "not k") for one in own)
    rule = "simulator prices, each of six ways: argmax = k in at most 1/3 of the slices, rejected in at least 1/2"
    return Check(1, rule, f"at most {most:.0%}, at least {least:.0%}", most <= 1 / 3 and least >= 1 / 2)


def _budget(found: Sequence[Slice]) -> Check:
    slope = regression([one for one in _of(found, "mc", "continuations") if one.task == "Pivots"])
    unit, budget = slope["unit"], slope["budget"]
    held = budget[1] > -0.6 and budget[2] < -0.35 and unit[2] < 0.5
    rule = "8 rollouts, K grows, Pivots: slope on log₂ B inside (−0.6, −0.35) and on log₂ k below 0.5, with their intervals"
    return Check(2, rule, f"{_told(budget)}; {_told(unit)}", held)


def _told(value: tuple[float, float, float]) -> str:
    return f"{value[0]:.2f} [{value[1]:.2f}, {value[2]:.2f}]"


def _rollouts(found: Sequence[Slice]) -> Check:
    own = _steps(_of(found, "mc"))
    high = max(float(np.quantile(np.nanmax(one.worth[1:], axis=1), 0.975)) for one in own)
    rule = "K = 1, simulator prices: even the best grain is worth less than GRPO in every slice, with its interval"
    return Check(3, rule, f"highest upper end {high:.2f}", high < 1)


def _trained(found: Sequence[Slice]) -> Check:
    own = _steps(_of(found, "mc", "best split", "data"))
    finest = float(np.mean([one.best[0] == 0 for one in own]))
    least = min(float(one.worth[0, 0]) for one in own)
    rule = (
        "best K, data prices: the finest grain is best in at least 95 % of the slices and worth more than GRPO in all"
    )
    return Check(3, rule, f"{finest:.0%}, at least {least:.2f}", finest >= 0.95 and least > 1)


def _anchors(found: Sequence[Slice]) -> Check:
    own = _steps(_of(found, "anchor"), "parity")
    kept, good, bad = rules(own), _share(own, "k"), _share(own, "not k")
    held = good >= 0.75 and bad == 0 and kept["unit"] >= 0.97 and max(kept["fine"], kept["coarse"]) <= 0.9
    rule = "anchor groups, parity: for k in at least 3/4, against it in none; k keeps 97 %, finest and coarsest at most 90 %"
    figures = f"{good:.0%}, {bad:.0%}; {kept['unit']:.2f}, {kept['fine']:.2f}, {kept['coarse']:.2f}"
    return Check(4, rule, figures, held)


def _critics(found: Sequence[Slice]) -> Check:
    own = [one for one in _steps(_of(found, "learned"), "all", "parity") if one.task == "KeyRooms"]
    kept, good, bad = rules(own), _share(own, "k"), _share(own, "not k")
    held = good > bad and kept["unit"] >= 0.8 and kept["fine"] <= 0.5
    rule = (
        "learned critics, KeyRooms, all agree or parity: more for k than against; k keeps 80 %, the finest at most 50 %"
    )
    return Check(5, rule, f"{good:.0%}, {bad:.0%}; {kept['unit']:.2f}, {kept['fine']:.2f}", held)


def _first(found: Sequence[Slice]) -> Check:
    each = [_steps(_of(found, family), "first") for family in ("anchor", "learned")]
    good, kept = max(_share(own, "k") for own in each), min(rules(own)["fine"] for own in each)
    rule = "one step decides, anchor groups and learned critics: for k in at most 5 %; the finest keeps at least 80 %"
    return Check(6, rule, f"{good:.0%}, {kept:.2f}", good <= 0.05 and kept >= 0.8)


def _tokens(found: Sequence[Slice]) -> list[Check]:
    def at(family: str, task: str, budget: int) -> Slice:
        return next(one for one in _of(found, family) if (one.task, one.budget) == (task, budget))

    def over(one: Slice, grain: str, other: str) -> float:
        return float(one.worth[0, one.grains.index(grain)] / one.worth[0, one.grains.index(other)])

    exact = min(over(at("value", task, 64), "step", "turn") for task in _TOKENS)
    out = [
        Check(
            7,
            "exact values: the token keeps 99 % of the turn or more in all five tasks",
            f"at least {exact:.2f}",
            exact >= 0.99,
        )
    ]
    spread = [
        over(at("anchor", task, m), "step", "turn") for task in _TOKENS if task != "Chat tokens" for m in (4, 16, 64)
    ]
    held = min(spread) >= 0.95 and max(spread) <= 1.05
    rule = "anchor groups, M ≤ 64, not Chat: token and turn are worth the same within 5 %"
    out.append(Check(7, rule, f"{min(spread):.2f} to {max(spread):.2f}", held))
    small, large = (at("anchor", "Chat tokens", m).worth[0, 0] for m in (4, 1024))
    rule = "anchor groups, Chat: the token's worth falls below half from M = 4 to M = 1024"
    out.append(Check(7, rule, f"{small:.2f} to {large:.2f}", bool(large < small / 2)))
    coarse: Callable[[Slice], float] = lambda one: float(one.worth[0, -1] / np.nanmax(one.worth[0]))  # noqa: E731
    least = min(coarse(at(family, task, 64)) for family in ("mc", "tree") for task in _TOKENS)
    rule = "Monte-Carlo values and trees, M = 64: the trajectory keeps 99 % of the best grain in all five tasks"
    out.append(Check(7, rule, f"at least {least:.2f}", least >= 0.99))
    wanted = [at("learned", "Apps tokens", m) for m in (4, 16, 64, 256)]
    wanted += [at("learned", "Lookup tokens", m) for m in (64, 256)]
    turn = [one.grains[int(one.best[0])] == "turn" for one in wanted]
    rule = "learned critics: the turn is best in Apps at every M and in Lookup from M = 64 on"
    return [*out, Check(7, rule, f"{sum(turn)} of {len(turn)}", all(turn))]


def _constant(found: Sequence[Slice]) -> Check:
    kept = {family: rules(_steps(_of(found, family))) for family in ("mc", "learned", "tree", "anchor")}
    figures = "; ".join(f"{family} {one['unit']:.2f}, {one['constant']:.2f}" for family, one in kept.items())
    rule = "simulator prices: the best constant grain keeps more than g = k, in four families"
    return Check(8, rule, figures, all(one["constant"] > one["unit"] for one in kept.values()))


def _variance(found: Sequence[Slice], moments: Sequence[Mapping[str, Any]]) -> Check:
    own = [row for row in moments if (row["task"], row["structure"], row["unit"]) == ("Pivots", "first", 4)]
    least = min(float(row["cosine"]) for row in own if "@" in row["estimator"] and "learned" not in row["estimator"])
    coarse, fine = rules(_steps(_of(found, "value")))["coarse"], rules(_steps(_of(found, "mc")))["fine"]
    rule = "cosines of mean gradients above 0.9 (Pivots, first, k = 4); exact values keep at most 15 % at the coarsest grain, "
    rule += "K = 1 at most 35 % at the finest"
    return Check(9, rule, f"{least:.2f}; {coarse:.2f}; {fine:.2f}", least > 0.9 and coarse <= 0.15 and fine <= 0.35)
