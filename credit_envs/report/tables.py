"""The tables of the page: dials, credit fidelity, counts, γ matched, and everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite, nan
from typing import Any

from credit_envs.evaluation import Interval, Row
from credit_envs.report.html import cell, table, tag, text
from credit_envs.report.lessons import tally
from credit_envs.report.reading import (
    PRICES,
    Cell,
    interval,
    is_reference,
    number,
    paper_gamma,
    percent,
    policy_name,
    short,
    worth,
)

_FIDELITY: Mapping[str, tuple[Callable[[Row], Interval], Callable[[float], float]]] = {
    "Pearson": (lambda row: row.pearson, lambda x: x),
    "rank": (lambda row: row.rank, lambda x: x),
    "sign": (lambda row: row.sign, lambda x: 2 * x - 1),
    "top 3": (lambda row: row.top, lambda x: x),
    "error": (lambda row: row.error, lambda x: 1 - x),
}
"""Scores of credit, and how good each is from −1 (always wrong) over 0 (no better than chance) to 1."""


def counts(found: Sequence[Cell]) -> str:
    """Returns in how many cells each estimator is worth more than GRPO, no different, or less."""
    by_price = {price: tally(found, price) for price in PRICES}
    rows = []
    for name in by_price[PRICES[0]]:
        entries = []
        for price in PRICES:
            kinds = by_price[price][name]
            more, same, less = (kinds[kind] for kind in ("more", "same", "less"))
            shown = f'<span class="win">{more}</span> / {same} / <span class="loss">{less}</span>'
            entries.append(cell(shown, more - less / 1000))
        rows.append(tag("tr", tag("th", text(name), scope="row"), *entries))
    caption = (
        f"In how many of the {len(found)} cells (environment × policy) the 95 % interval lies above GRPO / contains it / "
        "lies below it, by what is scarce. Figures without an interval are not counted."
    )
    return table(caption, ("estimator", *PRICES), rows, "sortable")


def fidelity(here: Cell) -> str:
    """Returns the credit of one cell against the exact advantage, as a heat map."""
    rows = []
    for row in here.rows:
        entries = []
        for read, good in _FIDELITY.values():
            found = read(row)
            entries.append(
                cell(number(found.value), found.value, style=_heat(good(found.value)), title=interval(found))
            )
        rows.append(_tr(row, *entries, breaks=True))
    caption = f"{short(here.environment)}, policy {here.policy_name}, n = {row.seeds} seeds"
    return table(caption, ("estimator", *_FIDELITY), rows, "heat")


def _heat(good: float) -> str:
    if not isfinite(good):
        return "color: var(--soft)"
    return f"background: rgba(var(--{'good' if good > 0 else 'bad'}), {min(abs(good), 1) * 0.55:.2f})"


def dials(environments: Sequence[Mapping[str, Any]]) -> str:
    """Returns what the oracle measures on each environment under uniform play."""
    columns: dict[str, tuple[str, Callable[[float], str]]] = {
        "states": ("states", lambda x: f"{x:,.0f}"),
        "horizon": ("horizon", lambda x: f"{x:,.0f}"),
        "steps": ("expected_steps", number),
        "optimal steps": ("optimal_length", number),
        "J uniform": ("J", number),
        "J optimal": ("J_optimal", number),
        "ρ": ("revisit_rate", number),
        "luck": ("luck_share", percent),
        "k_eff": ("effective_unit", number),
        "precision": ("anchor_precision", number),
        "recall": ("anchor_recall", number),
    }
    rows = [
        tag(
            "tr",
            tag("th", text(short(entry["environment"])), scope="row"),
            *(_written(entry["measured"].get(key, nan), write) for key, write in columns.values()),
        )
        for entry in environments
    ]
    caption = (
        "Measured exactly under uniform play: steps per episode, steps of optimal play, expected return J, revisit rate ρ in "
        "groups of 8 rollouts, luck share, k_eff, and how well observations find true states (precision, recall)."
    )
    return table(caption, ("environment", *columns), rows, "sortable")


def _written(value: float, write: Callable[[float], str]) -> str:
    return cell(write(value) if isfinite(value) else "–", value)


def rungs(environments: Sequence[Mapping[str, Any]]) -> str:
    """Returns the policies on which credit was scored."""
    rows = [
        tag(
            "tr",
            tag("th", text(short(entry["environment"])), scope="row"),
            cell(policy_name(rung["name"]), class_="word"),
            *(cell(number(rung[key]), rung[key]) for key in ("J", "normalised", "expected_steps")),
            cell(percent(rung["luck_share"]), rung["luck_share"]),
            cell(number(rung["effective_unit"]), rung["effective_unit"]),
        )
        for entry in environments
        for rung in entry["policies"]
    ]
    columns = ("environment", "policy", "J", "normalised J", "steps per episode", "luck share", "k_eff")
    return table(
        "The policies whose credit was scored: uniform play, and policies on the way to optimal play.",
        columns,
        rows,
        "sortable",
    )


def matched(found: Sequence[Cell]) -> str:
    """Returns the papers' γ beside the environment's, empty where they do not differ."""
    rows = []
    for here in found:
        for name, row in here.matched.items():
            own = here.row(name)
            if own is None:
                continue
            gammas = (paper_gamma(name), row.estimator.rsplit("=", 1)[1])
            rows.append(
                tag(
                    "tr",
                    tag("th", text(short(here.environment)), scope="row"),
                    cell(here.policy_name, class_="word"),
                    cell(text(f"{name}, {gammas[0]} → {gammas[1]}"), class_="word"),
                    *(cell(worth(x, PRICES[0]), x.equivalents[PRICES[0]].value) for x in (own, row)),
                    *(cell(interval(x.error), x.error.value) for x in (own, row)),
                )
            )
    caption = (
        "GRPO-equivalents (simulator's prices) and error of the credit, at the γ of the paper and at the γ of the "
        "environment: what discounting does apart from grouping."
    )
    columns = (
        "environment",
        "policy",
        "estimator, γ",
        "paper's γ",
        "environment's γ",
        "error, paper's",
        "error, environment's",
    )
    return table(caption, columns, rows, "sortable") if rows else ""


def everything(found: Sequence[Cell]) -> str:
    """Returns all figures of some cells in one table."""
    rows = []
    for here in found:
        for row in [*here.rows, *here.matched.values()]:
            costs = (row.bias, row.variance, row.steps_ratio, row.seconds)
            rows.append(
                _tr(
                    row,
                    cell(short(here.environment), class_="word"),
                    *(cell(worth(row, price), row.equivalents[price].value) for price in PRICES),
                    cell(percent(row.headroom[PRICES[0]].value), row.headroom[PRICES[0]].value),
                    *(
                        cell(interval(x), x.value)
                        for x in (row.cosine, row.pearson, row.rank, row.sign, row.top, row.error)
                    ),
                    *(cell(number(x), x) for x in costs),
                    cell(f"{row.groups:.0f}", row.groups),
                )
            )
    scores = ("cosine", "Pearson", "rank", "sign", "top 3", "error", "bias", "variance")
    columns = (
        "estimator",
        "environment",
        *PRICES,
        "headroom",
        *scores,
        "steps per step",
        "ms per 1,000 steps",
        "groups",
    )
    caption = (
        f"Policy {found[0].policy_name}; GRPO-equivalents under three price lists, n = {found[0].rows[0].seeds} seeds."
    )
    return table(caption, columns, rows, "sortable")


def _tr(row: Row, *entries: str, breaks: bool = False) -> str:
    """Returns the row of an estimator, its name breaking after underscores if asked for."""
    kind = {"class_": "reference"} if is_reference(row.estimator) else {}
    name = text(row.estimator).replace("_", "_<wbr>") if breaks else text(row.estimator)
    return tag("tr", tag("th", name, scope="row"), *entries, **kind)
