"""Whether better credit learned faster: the rank correlation of an estimator's score with the learning speed of its agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, log
from typing import Any

import numpy as np
from scipy import stats

from credit_envs.arrays import Floats
from credit_envs.evaluation.summary import Interval
from credit_envs.report.markdown import row
from credit_envs.training.results import Learning

_RESAMPLES = 2000
_BOUGHT = ("vineppo", "mcts_prm", "agent_q")
"""Agents that pay for continuations or searches."""
_PAIRS = ("agent_prm", "agent_q", "inverse_prm")
"""Agents that learn from preference pairs, which is no policy gradient."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """One point per agent and environment.

    Attributes:
        agent: names.
        environment: ids.
        credit: float64 ``[n]``, log of GRPO-equivalents.
        speeds: float64 ``[n, seeds]`` each, mean normalised return over the budget.
        undefined: points whose credit has no score (its mean gradient does not point along the exact one).
    """

    agent: list[str]
    environment: list[str]
    credit: Floats
    speeds: list[Floats]
    undefined: int


def paired(found: Sequence[Learning], scores: Mapping[str, Any], policy: str | None = None) -> Pairs:
    """Pairs scores of credit with learning speeds.

    Args:
        found: results of training.
        scores: see :func:`credit_envs.training.scores.score`.
        policy: the rung of the ladder that credit was scored at (default: the mean of the logs over all rungs).
    """
    at: dict[tuple[str, str], list[float]] = {}
    for entry in scores["scores"]:
        if policy is None or entry["policy"] == policy:
            value = entry["equivalents"]
            at.setdefault((entry["agent"], entry["environment"]), []).append(
                log(value) if value is not None and value > 0 else float("nan")
            )
    agent, environment, credit, speeds, undefined = [], [], [], [], 0
    for one in found:
        values = [x for x in at.get((one.agent, one.environment), []) if isfinite(x)]
        if not values:
            undefined += (one.agent, one.environment) in at
            continue
        agent.append(one.agent)
        environment.append(one.environment)
        credit.append(float(np.mean(values)))
        speeds.append(one.speed)
    return Pairs(agent, environment, np.array(credit), speeds, undefined)


def correlation(pairs: Pairs, within: bool, seed: int = 0, resamples: int = _RESAMPLES) -> Interval:
    """Returns Spearman's rank correlation of credit and learning speed with a 95 % interval.

    Args:
        pairs: points.
        within: rank agents inside each environment and average over environments, instead of ranking all points at once.
        seed: of the generator.
        resamples: bootstrap draws: environments with replacement, and within each the seeds of training.
    """
    rng = np.random.default_rng(seed)
    places = list(dict.fromkeys(pairs.environment))
    where = {place: [i for i, e in enumerate(pairs.environment) if e == place] for place in places}
    where = {place: rows for place, rows in where.items() if len(rows) >= (3 if within else 1)}
    places = list(where)
    if len(places) < 2:
        return Interval(float("nan"), float("nan"), float("nan"))

    redrawn = np.stack([x[rng.integers(0, len(x), (resamples, len(x)))].mean(axis=1) for x in pairs.speeds], axis=1)
    speeds = np.concatenate([[[x.mean() for x in pairs.speeds]], redrawn])
    chosen = np.concatenate([[np.arange(len(places))], rng.integers(0, len(places), (resamples, len(places)))])
    if within:
        each = np.stack([_rank(pairs.credit[where[place]], speeds[:, where[place]]) for place in places], axis=1)
        drawn = np.nanmean(np.take_along_axis(each, chosen, axis=1), axis=1)
    else:
        picked = [np.concatenate([where[places[i]] for i in own]) for own in chosen]
        drawn = np.array(
            [_rank(pairs.credit[rows], speed[None, rows])[0] for rows, speed in zip(picked, speeds, strict=True)]
        )
    low, high = np.nanquantile(drawn[1:], [0.025, 0.975])
    return Interval(float(drawn[0]), float(low), float(high))


def _rank(x: Floats, y: Floats) -> Floats:
    """Returns Spearman's correlation of x ``[n]`` with each row of y ``[R, n]``, NaN where either doesn't vary; ``[R]``."""
    ranks = [stats.rankdata(values, axis=-1) - (len(x) + 1) / 2 for values in (x, y)]
    norm = np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum(axis=1))
    return np.asarray(np.divide(ranks[1] @ ranks[0], norm, out=np.full(len(y), np.nan), where=norm > 0))


def section(found: Sequence[Learning], scores: Mapping[str, Any]) -> list[str]:
    """Returns the table of rank correlations as lines of Markdown.

    Args:
        found: results of training.
        scores: see :func:`credit_envs.training.scores.score`.
    """
    several = sorted({one.agent for one in found if one.epochs > 1})
    head = ["credit scored at", "agents left out", "points", "undefined", "all points", "within environments"]
    lines = [
        "Spearman's rank correlation, over agent × environment, between the GRPO-equivalents of an agent's credit (price list "
        f"*{scores['price']}*, {scores['budget']:,} environment steps, {scores['seeds']} seeds) and its learning speed. "
        "*Within environments* ranks agents inside each environment and averages; *all points* ranks everything at once. "
        "Intervals redraw environments, and seeds of training within them. Undefined: at no such policy does the credit's mean "
        "gradient point along the exact one. Credit isn't all that agents differ in: some take several steps of the optimiser "
        f"per batch ({', '.join(several) or 'none'}), and preference pairs are no policy gradient.",
        "",
        row(*head),
        row(*["---"] * len(head)),
    ]
    agents = {one.agent for one in found}
    levels = list(dict.fromkeys(entry["policy"] for entry in scores["scores"]))
    rows: list[tuple[str | None, str, Sequence[str]]] = [(None, "none", ()), *((level, "none", ()) for level in levels)]
    rows += [
        (None, "several optimiser steps per batch", several),
        (None, "those that buy continuations or searches", _BOUGHT),
        (None, "both, and preference pairs", (*several, *_BOUGHT, *_PAIRS)),
    ]
    for level, label, out in rows:
        if (out or label == "none") and (label == "none" or agents & set(out)) and len(agents - set(out)) > 2:
            pairs = paired([one for one in found if one.agent not in out], scores, level)
            values = (correlation(pairs, within=within) for within in (False, True))
            where = "all (mean of logs)" if level is None else level
            lines.append(row(where, label, len(pairs.agent), pairs.undefined, *(f"{v:.2f}" for v in values)))
    return lines
