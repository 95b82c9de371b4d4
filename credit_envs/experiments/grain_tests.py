"""What the surface says about the principle: how the best grain moves with k and budget, and what rules of thumb keep."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from credit_envs.experiments.granular import Grain
from credit_envs.experiments.surface import GROUP, Slice


def regression(found: Sequence[Slice]) -> dict[str, tuple[float, float, float]]:
    """Regresses log₂ of the best grain on log₂ k and log₂ M over slices whose grains are numbers; slope, 95 % interval.

    Args:
        found: slices that differ in unit, budget, structure and task, of one family, spending and price list. Where tasks grow
            with k, a coarsest grain that is best looks like a slope on k: take tasks of fixed length.

    Returns:
        ``intercept``, ``unit``, ``budget``, and ``censored``: the share of optima at the finest or coarsest grain.
    """
    rows, best, edge = [], [], []
    for one in found:
        if not all(isinstance(g, int) for g in one.grains if g != "trajectory") or (one.best < 0).any():
            continue
        longest = one.steps / one.budget / GROUP
        size = np.array([float(g) if isinstance(g, int) else longest for g in one.grains])
        rows.append([1.0, np.log2(one.unit), np.log2(one.budget)])
        best.append(np.log2(size[one.best]))
        edge.append((one.best[0] == 0) | (one.best[0] == len(size) - 1))
    if len(rows) < 4:
        return {}
    design = np.array(rows)
    slope = np.linalg.lstsq(design, np.stack(best), rcond=None)[0]  # [3, R]
    out = {}
    for i, name in enumerate(("intercept", "unit", "budget")):
        low, high = np.quantile(slope[i, 1:], [0.025, 0.975])
        out[name] = (float(slope[i, 0]), float(low), float(high))
    out["censored"] = (float(np.mean(edge)),) * 3
    return out


def rules(found: Sequence[Slice]) -> dict[str, float]:
    """What rules of thumb keep of the best grain's worth, on average over slices of one family, spending and price list.

    Returns:
        ``unit``: g = k; ``constant``: the one grain that is best on average whatever k and budget are; ``fine`` and ``coarse``.
    """
    kept: dict[Grain, list[float]] = {}
    own, fine, coarse = [], [], []
    for one in found:
        worth = one.worth[0]
        if one.predicted not in one.grains or not np.isfinite(worth).any():
            continue
        share = np.nan_to_num(worth / np.nanmax(worth), nan=0.0)
        own.append(share[one.grains.index(one.predicted)])
        fine.append(share[0])
        coarse.append(share[-1])
        for g, x in zip(one.grains, share, strict=True):
            kept.setdefault(g, []).append(float(x))
    if not own:
        return {}
    everywhere = {g: np.mean(x) for g, x in kept.items() if len(x) == len(own)}
    mean = {"unit": own, "fine": fine, "coarse": coarse}
    out = {name: float(np.mean(x)) for name, x in mean.items()}
    out["constant"] = float(max(everywhere.values())) if everywhere else float("nan")
    return out
