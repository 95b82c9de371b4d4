"""One surface per dial: how faithful a few estimators are as one dial turns and everything else stays.

The estimators are fixed (:data:`ESTIMATORS`); a row says what each is worth in GRPO-equivalents under the three price lists,
the cosine of its mean gradient, and how well its credit correlates with the exact advantage, all with intervals over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from credit_envs.evaluation.prices import PRICE_LISTS
from credit_envs.evaluation.summary import summarise
from credit_envs.experiments.cells import Cell, Sweep
from credit_envs.experiments.claims_places import HOUSE, ROOMS, TASKS, over
from credit_envs.experiments.dataset import finished

ESTIMATORS = ("grpo", "gigpo(gamma=1)", "vineppo_k1", "vineppo(k=4)", "tree_grpo", "ppo_learned", "anchor_graph")
"""What is followed along every dial."""

_LONG = {
    8: "credit/Pivots-v0?actions=2&credit=each&fillers=0&length=8",
    32: "credit/Pivots-v0?actions=2&credit=each&fillers=0&length=32",
    100: "credit/Pivots-v0?actions=2&credit=each&fillers=0&length=100",
    200: "credit/Pivots-v0?actions=2&credit=each&fillers=0&length=200",
    1000: "credit/Pivots-v0?actions=2&credit=each&fillers=4&length=200",
}


def _sweeps(quick: bool) -> dict[str, list[Cell]]:
    rooms, both = {"KeyRooms": ROOMS}, {"KeyRooms": ROOMS, "Household": HOUSE}
    seen = {"KeyRooms": ROOMS}
    group = {"KeyRooms": ROOMS, "Lookup": TASKS["Lookup"]}
    ks = tuple(f"vineppo(k={k})" for k in (1, 2, 4, 8, 16))
    names = ESTIMATORS
    return {
        "revisit rate": over(both, names, "skin_rate", (0.0, 0.5, 1.0))(quick),
        "horizon": [
            Cell(
                cell.environment,
                cell.estimators,
                (*cell.axes, ("horizon", length)),
                cell.level,
                cell.budget,
                cell.seeds,
            )
            for length, env in _LONG.items()
            if length <= 200 or not quick
            for cell in over({"Pivots": env}, names)(quick)
        ],
        "perceptual dependence": over(seen, names, "cue", (0.0, 0.5, 1.0))(quick),
        "paraphrases": over(rooms, names, "paraphrases", (1, 4, 16))(quick),
        "slip": over(group, names, "slip", (0.0, 0.1, 0.4))(quick),
        "group size": over(group, names, "group_size", (2, 8, 32))(quick),
        "K": over(group, ks)(quick),
    }


def dials(quick: bool = True) -> Sweep:
    """Returns the sweep of all dials; each cell has the axis ``dial``."""
    cells = [
        Cell(**{**vars(cell), "axes": (("dial", dial), *cell.axes)})
        for dial, own in _sweeps(quick).items()
        for cell in own
    ]
    return Sweep("dials", "fidelity of a few estimators along every dial", tuple(cells))


def table(sweep: Sweep, folder: Path) -> list[dict[str, Any]]:
    """Returns one row per cell and estimator with intervals, from finished cells."""
    out = []
    for cell, found in finished(sweep, folder):
        place: Mapping[str, Any] = {**dict(cell.axes), "level": cell.level}
        measured = {key: found["about"][key] for key in ("expected_steps", "revisit_rate", "luck_share")}
        records = [{**record, "environment": cell.environment, "policy": "at"} for record in found["records"]]
        for row in summarise(records, cell.budget, resamples=400):
            figures: dict[str, Any] = {}
            for name, value in (
                *((price, row.equivalents[price]) for price in PRICE_LISTS),
                ("cosine", row.cosine),
                ("pearson", row.pearson),
            ):
                figures |= {name: value.value, f"{name} low": value.low, f"{name} high": value.high}
            out.append({**place, **measured, "estimator": row.estimator, **figures, "error": row.error.value})
    return out
