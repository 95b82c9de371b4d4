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

_PIVOTS = "credit/Pivots-v0?actions=2&credit=each&fillers={}&length={}"
_LONG = {
    # Up to 200 steps every step decides; of 1,000 steps one in five does.
    "Pivots": [_PIVOTS.format(0, n) for n in (8, 32, 100, 200)] + [_PIVOTS.format(4, 200)],
    "KeyRooms": [f"credit/KeyRooms-v0?horizon_factor=2.0&stage_reward=0.05&stages={n}" for n in (1, 4, 16)],
    "KeyToDoor": [f"credit/KeyToDoor-v0?orchard={n}" for n in (10, 50, 150)],
    "Household": [f"credit/Household-v0?stages={n}&task=place" for n in (4, 12, 60)],
}
"""Tasks that get longer."""

_LOOKS = (*ESTIMATORS, "dr_grpo+vppo", "dr_grpo+at_rl")
_WORDS = (*ESTIMATORS, "gigpo_similarity(gamma=1)")


def _sweeps(quick: bool) -> dict[str, list[Cell]]:
    rooms, both = {"KeyRooms": ROOMS}, {"KeyRooms": ROOMS, "Household": HOUSE}
    two = {"KeyRooms": ROOMS, "Lookup": TASKS["Lookup"]}
    ks = tuple(f"vineppo(k={k})" for k in (1, 2, 4, 8, 16))
    long = [(task, env) for task, envs in _LONG.items() for env in envs]
    return {
        "revisit rate": over(both, ESTIMATORS, "skin_rate", (0.0, 0.25, 0.5, 0.75, 1.0))(quick),
        "horizon": [cell for task, env in long for cell in over({task: env}, ESTIMATORS)(quick)],
        "perceptual dependence": over(two, _LOOKS, "cue", (0.0, 0.25, 0.5, 0.75, 1.0))(quick),
        "observation noise": over(rooms, _WORDS, "paraphrases", (1, 2, 4, 8, 16))(quick),
        "aliasing": over(rooms, ESTIMATORS, "aliasing", (0.0, 0.1, 0.2, 0.4))(quick),
        "stochasticity": over(two, ESTIMATORS, "slip", (0.0, 0.05, 0.1, 0.2, 0.4))(quick),
        "group size": over(two, ESTIMATORS, "group_size", (2, 4, 8, 16, 32))(quick),
        "K": over(two, ks)(quick),
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
