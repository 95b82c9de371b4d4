"""Where the principle predicts: one row per kind of task, with the predicted grain and the measured one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from credit_envs.arrays import Floats
from credit_envs.experiments.surface import PREDICTED, Slice

KINDS = (
    ("reasoning in one turn", "Sums", "a column of the sum (three tokens)"),
    ("tool agent", "Lookup tokens", "a command"),
    ("tool agent, many applications", "Apps tokens", "a call"),
    ("answer from a picture", "Charts", "a fact read off the picture"),
    ("household, in words", "Household tokens", "a command"),
    ("long horizon", "Household long", "an anchor state"),
    ("planner with subgoals", "KeyRooms rooms", "a room"),
    ("shopping, in words", "Shop tokens", "a command"),
    ("dialogue preference", "Chat tokens", "the reply, which is the whole"),
)
"""Kind of task, task, and what the predicted grain is there."""

REAL = (
    *(("mc", "rollouts"), ("mc", "continuations"), ("mc", "best split")),
    *(("learned", "rollouts"), ("anchor", "rollouts"), ("tree", "rollouts")),
)
"""Families and ways of spending that a real system can have: all but exact values."""

_TIE = 1e-6


def where(found: Sequence[Slice], level: float = 0.5, budget: int = 64) -> list[dict[str, Any]]:
    """Returns, per kind of task and price list, the predicted grain and the grain of the most valuable way there is.

    Args:
        found: the surface.
        level: policy.
        budget: M, groups of the unit.

    Returns:
        Rows with ``kind``, ``task``, ``unit`` (in words), ``predicted``, ``price``, ``best`` (grain), ``family`` and
        ``spending`` there, ``worth`` (with 95 % interval), ``predicted worth`` (of the best way at that grain), ``kept`` (their
        ratio), ``share`` of resampled seeds in which the predicted grain is best (ties count), and ``verdict``.
    """
    out = []
    for kind, task, words in KINDS:
        grain = str(PREDICTED[task])
        for price in ("simulator", "language model", "data"):
            here = [
                one
                for one in found
                if (one.task, one.level, one.budget, one.price) == (task, level, budget, price)
                and (one.family, one.spending) in REAL
            ]
            if here:
                row = {"kind": kind, "task": task, "unit": words, "predicted": grain, "price": price}
                out.append({**row, **_measured(here, grain)})
    return out


def _measured(here: Sequence[Slice], predicted: str) -> dict[str, Any]:
    places = [(g, one.family, one.spending) for one in here for g in one.grains]
    worth = np.nan_to_num(np.concatenate([one.worth for one in here], axis=1), nan=-np.inf)  # [R, places]
    best = worth.max(axis=1)
    there = np.array([place[0] == predicted for place in places])
    own = worth[:, there].max(axis=1)
    share = float((own[1:] >= best[1:] * (1 - _TIE)).mean())
    first = np.where(there & (worth[0] >= best[0] * (1 - _TIE)), np.inf, worth[0])  # among equals the predicted grain
    grain, family, spending = places[int(first.argmax())]
    told = {"best": str(grain), "family": family, "spending": spending, "share": share}
    told["verdict"] = "holds" if share >= 0.95 else "fails" if share <= 0.05 else "open"
    spans = {"worth": best, "predicted worth": own, "kept": own / best}
    return {**told, **{name: _interval(values) for name, values in spans.items()}}


def _interval(values: Floats) -> list[float]:
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return [float(values[0]), float(low), float(high)]
