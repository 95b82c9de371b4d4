"""Results of training: small files with every seed's curve, and what is read off them.

A seed's curve is its exact normalised return (J − J_uniform)/(J* − J_uniform) at marks of the budget, and between marks on a
straight line. From it come the return at the whole budget, the mean over the budget (the learning speed), and the steps at
which a threshold is first passed. Intervals are percentile bootstraps over seeds with a stated generator; across environments
seeds are redrawn within each (stratified). The interquartile mean leaves out the lowest and the highest quarter of the runs.
The probability of improvement is P(X > Y) + ½ P(X = Y) over all pairs of seeds. Source: Agarwal et al. 2021, arXiv 2108.13264.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from credit_envs.arrays import Floats
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.summary import Interval

_KEPT = ("agent", "env", "table", "fingerprint", "options", "provenance", "J_uniform", "J_optimal", "updates", "meter")
TIED = 0.005
"""Normalised returns closer than this are a tie."""

RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class Learning:
    """All seeds of one agent on one environment.

    Attributes:
        agent: its name.
        environment: id.
        budget: environment steps per seed.
        grid: float64 ``[P]``, environment steps from 0 to the budget.
        curves: float64 ``[seeds, P]``, exact normalised returns.
        about: everything else that the file says.
    """

    agent: str
    environment: str
    budget: int
    grid: Floats
    curves: Floats
    about: Mapping[str, Any]

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(self.curves)

    @property
    def policy(self) -> str:
        """Kind of policy."""
        return str(self.about["options"].get("policy", "tabular"))

    @property
    def epochs(self) -> int:
        """Steps of the optimiser per batch."""
        return int(self.about["options"].get("epochs", 1))

    @property
    def simulated(self) -> bool:
        """Whether returns are means over rollouts, since the policy remembers."""
        return bool(self.about["simulated"])

    @property
    def final(self) -> Floats:
        """Normalised return at the whole budget, ``[seeds]``."""
        return np.asarray(self.curves[:, -1])

    @property
    def speed(self) -> Floats:
        """Mean normalised return over the budget, ``[seeds]``: the area under the curve."""
        widths = np.diff(self.grid) / self.grid[-1]
        return np.asarray((self.curves[:, 1:] + self.curves[:, :-1]) / 2 @ widths)

    def steps_to(self, share: float) -> Floats:
        """Environment steps at which each seed first passes a share of the way to optimal play, ``[seeds]``; inf if never."""
        above = self.curves >= share
        out = np.full(self.seeds, np.inf)
        for seed in np.flatnonzero(above.any(axis=1)):
            i = int(above[seed].argmax())
            if i == 0:
                out[seed] = 0.0
                continue
            low, high = self.curves[seed, i - 1 : i + 1]
            out[seed] = self.grid[i - 1] + (share - low) / (high - low) * (self.grid[i] - self.grid[i - 1])
        return out


def merged(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns runs of one agent with different seeds as one run with as many learners.

    Args:
        found: results as :meth:`credit_envs.training.Run.finish` writes them, of equal options but for the seed.
    """
    first = found[0]
    if len(found) == 1:
        return dict(first)
    numbers = [name for name, value in first["curve"][-1].items() if isinstance(value, list)]
    curve = [
        {name: [x for point in points for x in point[name]] for name in numbers}
        for points in zip(*(one["curve"] for one in found), strict=True)
    ]
    return {
        **first,
        "options": {**first["options"], "learners": sum(one["options"]["learners"] for one in found)},
        "updates": max(one["updates"] for one in found),
        "meter": {name: sum(one["meter"][name] for one in found) for name in first["meter"]},
        "alarms": {name: update for one in reversed(found) for name, update in one["alarms"].items()},
        "curve": curve,
    }


def compact(result: Mapping[str, Any], command: str) -> dict[str, Any]:
    """Returns what is worth keeping of a run's result: seeds' curves in rounded numbers, without the vitals.

    Args:
        result: as :meth:`credit_envs.training.Run.finish` writes it.
        command: what makes it again.
    """
    curve = [
        {
            "steps": [round(x) for x in point["steps"]],
            "J": [float(f"{x:.5g}") for x in point["J"]],
            "normalised": [round(x, 4) for x in point["normalised"]],
            **({"error": [float(f"{x:.3g}") for x in point["error"]]} if "error" in point else {}),
        }
        for point in result["curve"]
    ]
    alarms = {name: int(update) for name, update in result.get("alarms", {}).items()}
    return {
        **{name: result[name] for name in _KEPT if name in result},
        "command": command,
        "alarms": alarms,
        "curve": curve,
    }


def read(path: Path) -> Learning:
    """Reads a result, full or compact.

    Raises:
        CreditEnvsError: if it cannot be read.
    """
    try:
        return learning(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CreditEnvsError(f"result {str(path)!r}: cannot be read ({type(error).__name__}: {error})") from error


def learning(result: Mapping[str, Any]) -> Learning:
    """Returns a result's curves at common marks of the budget."""
    budget, curve = int(result["options"]["budget"]), result["curve"]
    grid = np.linspace(0, budget, len(curve))
    steps = np.array([point["steps"] for point in curve], dtype=np.float64).T
    values = np.array([point["normalised"] for point in curve], dtype=np.float64).T
    curves = np.stack([np.interp(grid, at, value) for at, value in zip(steps, values, strict=True)])
    about = {name: value for name, value in result.items() if name != "curve"}
    about["simulated"] = "error" in curve[-1]
    return Learning(str(result["agent"]), str(result["env"]), budget, grid, curves, about)


def load(folder: Path) -> list[Learning]:
    """Reads all results of a folder, in the order of environments and agents.

    Raises:
        CreditEnvsError: if there are none, or one cannot be read.
    """
    found = [read(path) for path in sorted(folder.glob("*.json")) if not path.name.startswith("_")]
    if not found:
        raise CreditEnvsError(f"folder={str(folder)!r}: holds no results of training")
    return sorted(found, key=lambda one: (one.environment, one.agent))


def interquartile_mean(values: Floats) -> Floats:
    """Returns the mean of the middle half along the last axis, the marginal runs weighted by their part; ``[...]``."""
    ordered = np.sort(values, axis=-1)
    n = ordered.shape[-1]
    edges = np.arange(n + 1) / n
    weight = np.clip(np.minimum(edges[1:], 0.75) - np.maximum(edges[:-1], 0.25), 0, None)
    return np.asarray(ordered @ (weight / weight.sum()))


def bootstrapped(
    groups: Sequence[Floats], statistic: Callable[[Floats], Floats], seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Returns a statistic of runs with its 95 % interval; seeds are redrawn within each group.

    Args:
        groups: float64 ``[seeds]`` each, such as one per environment.
        statistic: function of runs ``[R, runs]`` → ``[R]``.
        seed: of the generator.
        resamples: number of bootstrap draws.
    """
    rng = np.random.default_rng(seed)
    drawn = [group[rng.integers(0, len(group), (resamples, len(group)))] for group in groups]
    low, high = np.quantile(statistic(np.concatenate(drawn, axis=1)), [0.025, 0.975])
    return Interval(float(statistic(np.concatenate(groups)[None])[0]), float(low), float(high))


def improvement(pairs: Sequence[tuple[Floats, Floats]], seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Returns the probability that a run of the first is better than one of the second, averaged over environments.

    Args:
        pairs: float64 ``[seeds]`` of both, one pair per environment.
        seed: of the generator.
        resamples: number of bootstrap draws.
    """
    rng = np.random.default_rng(seed)
    value, drawn = 0.0, np.zeros(resamples)
    for x, y in pairs:
        gap = x[:, None] - y[None, :]
        better = np.where(np.abs(gap) < TIED, 0.5, gap > 0)
        value += float(better.mean()) / len(pairs)
        a, b = (rng.integers(0, len(part), (resamples, len(part))) for part in (x, y))
        drawn += better[a[:, :, None], b[:, None, :]].mean(axis=(1, 2)) / len(pairs)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(value, float(low), float(high))
