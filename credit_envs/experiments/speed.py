"""Learning speed against the surface: does the grain whose gradient is worth most also learn fastest?

The surface says what a gradient is worth at one policy; the sweep ``learning`` trains with it. Both know the same places (task,
structure, unit), families and grains. Predicted is the mean, over the policies of the surface, of the logarithm of worth per
environment step at M = 4, the budget of one update: two groups and as much again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

import numpy as np

from credit_envs.arrays import Floats
from credit_envs.experiments.cells import Sweep
from credit_envs.experiments.dataset import finished
from credit_envs.experiments.surface import predicted_grain
from credit_envs.experiments.tables import read_csv, save, save_json
from credit_envs.experiments.trials_grain import ALARMS
from credit_envs.report.agreement import Pairs, correlation

UPDATE = "4"
"""Budget of the surface, in groups of the unit, at which learning is predicted."""

_NOTHING = 0.01
"""Speed below which nothing was learnt, so that no grain is fastest."""

_FAMILIES = ("mc", "learned", "anchor", "tree", "value")
_RESAMPLES = 400


@dataclass(frozen=True, eq=False)
class Learnt:
    """What learners with one family and grain did in one place.

    Attributes:
        task, structure, unit, family, grain: where; the grain as text.
        speed: mean of each learner's curve of exact normalised returns, float64 ``[learners]``.
        final: the curve's end, likewise.
        fall: how far the end lies below the best on the way, likewise.
        updates: steps of the optimiser that the budget paid for.
        alarms: names of alarms that training raised.
        dependence: how much the learnt policies look at the picture, in nats, float64 ``[learners]``; NaN where there is none.
    """

    task: str
    structure: str
    unit: int
    family: str
    grain: str
    speed: Floats
    final: Floats
    fall: Floats
    updates: float
    alarms: tuple[str, ...]
    dependence: Floats

    @property
    def place(self) -> str:
        """Task, structure and unit as one word."""
        return f"{self.task}, {self.structure}, k = {self.unit}"


def learnt(sweep: Sweep, folder: Path) -> list[Learnt]:
    """Reads the finished trials of the sweep ``learning``."""
    out = []
    for trial, found in finished(sweep, folder):
        axes, records = dict(trial.axes), found["records"]
        speed, final, fall = (np.array([r[name] for r in records]) for name in ("speed", "final", "fall"))
        alarms = tuple(name for name in ALARMS if np.isfinite(records[0][f"alarm_{name}"]))
        place = (axes["task"], axes["structure"], axes["unit"], axes["family"], str(axes["grain"]))
        seen = np.array([r.get("dependence", np.nan) for r in records])
        out.append(Learnt(*place, speed, final, fall, records[0]["updates"], alarms, seen))
    return out


def agreement(found: Sequence[Learnt], surface: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Returns rank correlations of predicted worth with learning speed, inside places and averaged over them.

    Args:
        found: what was learnt.
        surface: rows of ``granularity.csv.gz``.

    Returns:
        One row for all families and grains together, and one per family (grains only): ``family``, ``points``, ``places``,
        and ``rank``, Spearman's correlation with its 95 % interval; places are redrawn, and learners in them.
    """
    worth = _predicted(surface)
    out = []
    for family in ("all", *_FAMILIES):
        own = [one for one in found if family in ("all", one.family) and _key(one) in worth]
        credit = np.array([worth[_key(one)] for one in own])
        pairs = Pairs([one.grain for one in own], [one.place for one in own], credit, [one.speed for one in own], 0)
        if len(set(pairs.environment)) > 1:
            rank = correlation(pairs, within=True, resamples=_RESAMPLES)
            row = {"family": family, "points": len(own), "places": len(set(pairs.environment))}
            out.append({**row, "rank": [rank.value, rank.low, rank.high]})
    return out


NETWORK = " network"
"""How the names of tasks end on which networks learn, which read pictures."""


def tabular(found: Sequence[Learnt]) -> list[Learnt]:
    """Returns what tables learnt."""
    return [one for one in found if not one.task.endswith(NETWORK)]


def shortcuts(found: Sequence[Learnt], seed: int = 0) -> list[dict[str, Any]]:
    """Returns, per task of a network, family and grain, how it ended: ``final``, ``dependence`` (95 % intervals), alarms."""
    rng = np.random.default_rng(seed)
    out = []
    for one in found:
        if one.task.endswith(NETWORK):
            row: dict[str, Any] = {name: getattr(one, name) for name in ("task", "family", "grain")}
            row["unit"] = _unit(one)
            for name in ("speed", "final", "dependence"):
                values = getattr(one, name)
                drawn = values[rng.integers(0, values.size, (_RESAMPLES, values.size))].mean(axis=1)
                row[name] = _interval(values.mean(), drawn)
            out.append({**row, "alarms": " ".join(one.alarms)})
    return out


def contrasts(found: Sequence[Learnt], seed: int = 0) -> list[dict[str, Any]]:
    """Compares learning at the unit's grain with finer and coarser grains of the same family in the same place.

    Returns:
        Per family and side (``finer``, ``coarser``): ``pairs`` of grains; ``speed`` and ``final``, mean differences to the
        unit's grain (negative: the unit learns faster) with 95 % intervals over redrawn places and learners; ``fall`` too;
        and ``alarms``, the share of these runs that raised one, beside ``alarms at the unit``.
    """
    rng = np.random.default_rng(seed)
    out = []
    for family in _FAMILIES:
        for side in ("finer", "coarser"):
            by_place: dict[str, list[tuple[Learnt, Learnt]]] = {}
            for one in found:
                unit = next((u for u in found if _same(u, one) and u.grain == _unit(u)), None)
                if one.family == family and unit is not None and _side(one) == side:
                    by_place.setdefault(one.place, []).append((one, unit))
            pairs = [pair for own in by_place.values() for pair in own]
            if len(by_place) < 2:
                continue
            row: dict[str, Any] = {"family": family, "side": side, "pairs": len(pairs), "places": len(by_place)}
            for name in ("speed", "final", "fall"):
                row[name] = _difference(list(by_place.values()), name, rng)
            row["alarms"] = float(np.mean([bool(one.alarms) for one, _ in pairs]))
            row["alarms at the unit"] = float(np.mean([bool(unit.alarms) for _, unit in pairs]))
            out.append(row)
    return out


def fastest(found: Sequence[Learnt], seed: int = 0) -> list[dict[str, Any]]:
    """Returns, per place and family, the fastest grain, and the share of redrawn learners in which the unit's is as fast."""
    rng = np.random.default_rng(seed)
    out = []
    for place, family in dict.fromkeys((one.place, one.family) for one in found):
        own = [one for one in found if (one.place, one.family) == (place, family)]
        speed = np.stack([one.speed for one in own])  # [grains, learners]
        pick = rng.integers(0, speed.shape[1], (_RESAMPLES, speed.shape[1]))
        drawn = speed[:, pick].mean(axis=2)
        unit = next((i for i, one in enumerate(own) if one.grain == _unit(one)), None)
        best = int(speed.mean(axis=1).argmax())
        # Grains that learn alike to the last digit share the first place.
        agree = float("nan") if unit is None else float((drawn[unit] >= drawn.max(axis=0) - 1e-12).mean())
        row = {"place": place, "family": family, "unit": _unit(own[0]), "fastest": own[best].grain, "agreement": agree}
        row["speed"] = float(speed[best].mean())
        if speed[best].mean() < _NOTHING:
            row["agreement"] = float("nan")
        row["speed at the unit"] = float("nan") if unit is None else float(speed[unit].mean())
        out.append(row)
    return out


def publish(sweep: Sweep, folder: Path, docs: Path) -> list[Path]:
    """Writes ``data/learning.csv`` and ``data/learning_tests.json``; agreement with the surface needs its data there."""
    found = learnt(sweep, folder)
    rows = []
    for one in found:
        row: dict[str, Any] = {name: getattr(one, name) for name in ("task", "structure", "unit", "family", "grain")}
        row["speed"], row["error"] = float(one.speed.mean()), float(one.speed.std(ddof=1) / np.sqrt(one.speed.size))
        row["final"], row["fall"] = float(one.final.mean()), float(one.fall.mean())
        rows.append({**row, "updates": one.updates, "alarms": " ".join(one.alarms)})
    surface = docs / "data" / "granularity.csv.gz"
    ranks = agreement(found, read_csv(surface)) if surface.is_file() else []
    told = {"agreement": ranks, "contrasts": contrasts(tabular(found)), "fastest": fastest(tabular(found))}
    told["shortcuts"] = shortcuts(found)
    return [save(rows, docs / "data" / "learning.csv"), save_json([told], docs / "data" / "learning_tests.json")]


_Key = tuple[str, str, int, str, str]


def _key(one: Learnt) -> _Key:
    return one.task, one.structure, one.unit, one.family, one.grain


def _predicted(surface: Sequence[Mapping[str, str]]) -> dict[_Key, float]:
    logs: dict[_Key, list[float]] = {}
    for row in surface:
        if (row["price"], row["spending"], row["groups"]) == ("simulator", "rollouts", UPDATE):
            worth = float(row["worth"])
            key = (row["task"], row["structure"], int(row["unit"]), row["family"], row["grain"])
            logs.setdefault(key, []).append(log(worth) if worth > 0 else float("nan"))
    return {key: float(np.mean(values)) for key, values in logs.items() if np.isfinite(values).all()}


def _unit(one: Learnt) -> str:
    return str(predicted_grain(one.task, one.unit))


def _same(first: Learnt, second: Learnt) -> bool:
    return (first.place, first.family) == (second.place, second.family)


_ORDER = ("step", "turn", "segment", "trajectory")


def _side(one: Learnt) -> str:
    own, unit = (_rank(grain) for grain in (one.grain, _unit(one)))
    return "unit" if own == unit else "finer" if own < unit else "coarser"


def _rank(grain: str) -> float:
    return float(grain) if grain.isdecimal() else 1e6 * (1 + _ORDER.index(grain))


def _difference(places: Sequence[Sequence[tuple[Learnt, Learnt]]], name: str, rng: np.random.Generator) -> list[float]:
    """Mean over pairs of (one − unit); places are redrawn, and learners, the same ones for both."""

    def mean(chosen: Sequence[int], redraw: bool) -> float:
        out = []
        for i in chosen:
            for one, unit in places[i]:
                gap = getattr(one, name) - getattr(unit, name)
                out.append(float((gap[rng.integers(0, gap.size, gap.size)] if redraw else gap).mean()))
        return float(np.mean(out))

    drawn = [mean(rng.integers(0, len(places), len(places)).tolist(), True) for _ in range(_RESAMPLES)]
    return _interval(mean(range(len(places)), False), drawn)


def _interval(value: float, drawn: Sequence[float] | Floats) -> list[float]:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return [float(value), float(low), float(high)]
