"""Many algorithms on many cells in one table: what each is worth by geometric mean, where it wins, and what it costs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from math import exp, isfinite, log

from credit_envs.evaluation import Results, Row
from credit_envs.recipes import known
from credit_envs.report.markdown import line
from credit_envs.report.reading import PRICES, ROUNDING, cells, command, is_reference, number, short

_LEAST = 1e-3
"""What counts for worth nothing in a geometric mean: below, not defined, or pointing the wrong way."""

_WEAKEST = ("user", "as told", "reconstruction", "ours")


def overview(results: Results) -> str:
    """Returns a Markdown table with one line per algorithm, best first; privileged ones, which see the truth, apart."""
    config, found = results.config, cells(results)
    rows: dict[str, list[Row]] = {}
    for cell in found:
        for row in cell.rows:
            rows.setdefault(row.estimator, []).append(row)
    places = ", ".join(short(name) for name in dict.fromkeys(cell.environment for cell in found))
    lines = [
        f"Made by `{command(config)}` with credit_envs {results.provenance['credit_envs']}, torch "
        f"{results.provenance['torch']}; n = {config.seeds} seeds, B = {config.budget:,} environment steps, groups of "
        f"{config.group_size}; {len(found)} cells: {len({c.policy for c in found})} policies on {places}.",
        "",
        "GRPO-equivalents by geometric mean over the cells that offer what the algorithm needs (worth nothing counts as "
        f"{_LEAST:g}); in brackets in how many of them its 95 % interval lies above / below GRPO. Cost: environment steps "
        "per sampled step.",
        "",
    ]
    head = ["algorithm", "cells", *PRICES, "cost", "status"]
    for title, names in (
        ("What a real system can run", [name for name in rows if not is_reference(name)]),
        ("What sees the truth", [name for name in rows if is_reference(name)]),
    ):
        names.sort(key=lambda name: -_mean(rows[name], PRICES[0]))
        lines += [f"### {title}", "", line(head), line(["---"] * len(head)), *(_entry(n, rows[n]) for n in names), ""]
    return "\n".join(lines)


def table(results: Results) -> str:
    """Returns every figure as CSV: one line per environment, policy and algorithm."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    worth = [f"{price.replace(' ', '_')}{end}" for price in PRICES for end in ("", "_low", "_high")]
    others = ["headroom", "cosine", "rank", "top3", "error"]
    writer.writerow(["environment", "policy", "algorithm", "seeds", "groups", *worth, *others, "cost"])
    for cell in cells(results):
        for row in cell.rows:
            values = [x for price in PRICES for i in (row.equivalents[price],) for x in (i.value, i.low, i.high)]
            values += [row.headroom[PRICES[0]].value, *(x.value for x in (row.cosine, row.rank, row.top, row.error))]
            figures = [f"{x:.4g}" if isfinite(x) else "" for x in (*values, row.steps_ratio)]
            writer.writerow([row.environment, row.policy, row.estimator, row.seeds, f"{row.groups:g}", *figures])
    return out.getvalue()


def _mean(rows: Sequence[Row], price: str) -> float:
    values = [row.equivalents[price].value for row in rows]
    return exp(sum(log(max(x, _LEAST)) if isfinite(x) else log(_LEAST) for x in values) / len(values))


def _entry(name: str, rows: Sequence[Row]) -> str:
    shown = []
    for price in PRICES:
        worths = [row.equivalents[price] for row in rows]
        won, lost = sum(x.low > 1 + ROUNDING for x in worths), sum(x.high < 1 - ROUNDING for x in worths)
        shown.append(f"{number(_mean(rows, price))} ({won} / {lost})")
    cost = sum(row.steps_ratio for row in rows) / len(rows)
    found = known(name)
    statuses = {piece.status for piece in found.pieces} if found is not None else {"user"}
    status = next((weaker for weaker in _WEAKEST if weaker in statuses), "verified")
    return line([f"`{name}`", str(len(rows)), *shown, f"{number(cost)}×", status])
