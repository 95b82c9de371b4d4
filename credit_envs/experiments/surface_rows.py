"""The surface as flat rows, which are what is published: worth by grain, and bias, variance and cost behind it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from credit_envs.experiments.cells import Sweep
from credit_envs.experiments.surface import Slice, pooled


def flat(found: Sequence[Slice]) -> list[dict[str, Any]]:
    """Returns the surface as flat rows, one per slice and grain, with intervals: what is published."""
    out = []
    for one in found:
        verdict, agreement = one.verdict, one.agreement
        for i, g in enumerate(one.grains):
            column = one.worth[:, i]
            drawn = column[1:][np.isfinite(column[1:])]
            low, high = np.quantile(drawn, [0.025, 0.975]) if drawn.size else (np.nan, np.nan)
            place = {"task": one.task, "structure": one.structure, "unit": one.unit, "level": one.level}
            place |= {"family": one.family, "spending": one.spending, "price": one.price, "groups": one.budget}
            figures = {"worth": float(column[0]), "low": float(low), "high": float(high)}
            test = {"best": int(one.best[0]) == i, "agreement": agreement, "verdict": verdict}
            out.append({**place, "steps": round(one.steps), "grain": str(g), **figures, **test})
    return out


def moments(sweep: Sweep, folder: Path) -> list[dict[str, Any]]:
    """Returns bias, variance and cost per point and estimator, pooled over seeds: why the surface looks as it does.

    ``cosine`` of the mean gradient, ``noise`` = E‖g − E g‖²/‖g*‖² of one group, ``steps_ratio`` environment steps per sampled
    step, ``error`` of the credit: mean squared error after the best scale over the advantage's own square.
    """
    out = []
    for (task, structure, unit, level), (by_name, _) in pooled(sweep, folder).items():
        for name, records in by_name.items():
            mean = {key: float(np.mean([r[key] for r in records])) for key in records[0] if key != "estimator"}
            target = mean["exact_square"]
            square = max(mean["mean_square"], mean["projection"] ** 2 / target) if target > 0 else 0.0
            cosine = mean["projection"] / np.sqrt(target * square) if target * square > 0 else float("nan")
            fits = mean["ca"] ** 2 / (mean["cc"] * mean["aa"]) if mean["cc"] * mean["aa"] > 0 else 0.0
            figures = {"cosine": cosine, "noise": mean["variance"] / target if target > 0 else float("nan")}
            figures |= {"error": 1 - fits, "steps_ratio": mean["env_steps"] / mean["steps"]}
            place = {"task": task, "structure": structure, "unit": unit, "level": level}
            out.append({**place, "estimator": name, **figures})
    return out
