"""Sections of the page of the principle, each made from plain data alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from credit_envs.experiments.principle_tables import TITLES
from credit_envs.experiments.tables import number, span, table

_KINDS = {"first": "one step decides", "all": "all steps must agree", "parity": "parity"}
_KEPT = ("unit", "constant", "fine", "coarse")
_KEPT_HEAD = ("keeps: g = k", "constant", "finest", "coarsest")
_TEST_HEAD = ("n", "argmax = k", "open", "not k")
_SLOPE_HEAD = ("slope on log₂ k", "slope on log₂ B")

Rows = Sequence[Mapping[str, Any]]


def confirmed(rows: Rows) -> str:
    """Whether each finding of the quick run held on fresh seeds."""
    body = []
    for row in rows:
        quick = row.get("quick") or "–"
        body.append(
            [str(row["finding"]), row["rule"], quick, row["figures"], "**held**" if row["held"] else "**did not hold**"]
        )
    held = {int(row["finding"]): True for row in rows}
    for row in rows:
        held[int(row["finding"])] &= bool(row["held"])
    return (
        "## Did the quick run's findings hold on fresh seeds?\n\nRules and analysis were [written down](principle-plan.md) "
        "before the full run; they are tested at the quick run's points, with seeds that it never saw. "
        f"{sum(held.values())} of {len(held)} findings held in all their rules.\n\n"
        + table(("finding", "rule", "quick run", "full run", ""), body)
    )


def where(rows: Rows) -> str:
    """Predicted and measured grain by kind of task and price list."""
    body = []
    for row in rows:
        way = TITLES[row["family"], row["spending"]]
        told = [span(row["worth"]), span(row["kept"]), f"{100 * row['share']:.0f} %", f"**{row['verdict']}**"]
        body.append(
            [row["kind"], row["task"], row["price"], f"{row['predicted']}: {row['unit']}", row["best"], way, *told]
        )
    head = (
        "kind of task",
        "task",
        "prices",
        "predicted grain",
        "best grain",
        "of",
        "worth there",
        "predicted grain keeps",
    )
    return (
        "## Where the principle predicts\n\nAt the policy halfway to optimal play and M = 64. *Best grain*: that of the most "
        "valuable way to make a signal that a real system can have, of all families and grains. *Predicted grain keeps*: the "
        "best way at the predicted grain over the best of all. *Best in*: share of resampled seeds in which the predicted "
        "grain is (one of) the best; the principle *holds* at 95 % and *fails* at 5 %.\n\n"
        + table((*head, "best in", ""), body)
    )


def tests(rows: Rows) -> str:
    """The test, the regression and rules of thumb, by price list."""
    out = [
        "## The test, the regression, and rules of thumb\n",
        "A slice is one task, structure, k > 1 and budget. *argmax = k*: the share of slices in which the grain g = k is best "
        "in at least 95 % of resampled seeds; *not k*: in at most 5 %; the rest is open. *Slope on log₂ k* would be 1 if the "
        "principle held exactly and is 0 if k does not matter; *slope on log₂ B*: doublings of the grain per doubling of the "
        "budget (both on Pivots only: KeyRooms gets longer with k, so that a taste for the coarsest grain would pass for a "
        "slope on k). *At the edge*: optima at the finest or coarsest grain, where slopes are biased towards 0. *Keeps*: the "
        "share of the best grain's worth that a rule keeps on average: g = k, the one constant grain that is best on average, "
        "the finest, the coarsest.\n",
        "![the test at a glance](images/principle.png)\n",
        "![maps](images/surface-pivots-first.png)\n",
        "![best grain against budget](images/optimum-pivots.png)\n",
    ]
    for price in dict.fromkeys(str(row["price"]) for row in rows):
        own = [row for row in rows if row["price"] == price]
        body = [
            [row["family"], *_told(row), *_slopes(row), f"{100 * (row['censored'][0] or 0):.0f} %", *_keeps(row)]
            for row in own
        ]
        out.append(f"### {price[0].upper()}{price[1:]} prices\n")
        out.append(table(("estimator", *_TEST_HEAD, *_SLOPE_HEAD, "at the edge", *_KEPT_HEAD), body))
    return "\n".join(out)


def structures(rows: Rows) -> str:
    """The same by task and causal structure."""
    body = [
        [row["family"], row["task"], _KINDS[row["structure"]], *_told(row), *_slopes(row), *_keeps(row)] for row in rows
    ]
    pictures = "  ".join(
        f"[{task}, {words}](images/surface-{task.lower()}-{structure}.png)"
        for task in ("Pivots", "KeyRooms")
        for structure, words in _KINDS.items()
    )
    head = ("estimator", "task", "structure", *_TEST_HEAD, *_SLOPE_HEAD, *_KEPT_HEAD)
    return "### By causal structure, simulator prices\n\n" + table(head, body) + f"\nMaps: {pictures}\n"


def policies(rows: Rows) -> str:
    """The same by policy."""
    body = [[row["family"], f"{row['level']:g}", *_told(row), *_slopes(row), *_keeps(row)] for row in rows]
    head = ("estimator", "policy", *_TEST_HEAD, *_SLOPE_HEAD, *_KEPT_HEAD)
    return "### By policy, simulator prices\n\n*Policy*: its return, 0 for uniform and 1 for optimal play.\n\n" + table(
        head, body
    )


def _told(row: Mapping[str, Any]) -> list[str]:
    return [str(row["slices"]), *(f"{100 * row[f'share {word}']:.0f} %" for word in ("k", "open", "not k"))]


def _slopes(row: Mapping[str, Any]) -> list[str]:
    return [span(row["unit"]), span(row["budget"])]


def _keeps(row: Mapping[str, Any]) -> list[str]:
    return [number(row.get(f"keeps {name}")) for name in _KEPT]


def grains(rows: Sequence[Mapping[str, str]]) -> str:
    """Token, turn, segment, trajectory: predicted and measured optimum with the test's agreement, from flat rows."""
    rows = [
        r
        for r in rows
        if r["task"].endswith("tokens") and r["price"] == "simulator" and r["groups"] in ("4", "64", "1024")
    ]
    body = []
    for task, family, spending, groups in dict.fromkeys(
        (r["task"], r["family"], r["spending"], r["groups"]) for r in rows
    ):
        place = (task, family, spending, groups)
        here = [r for r in rows if (r["task"], r["family"], r["spending"], r["groups"]) == place]
        best = next((r for r in here if r["best"] == "True"), None)
        if best is None or (family, spending) not in TITLES:
            continue
        turn = next(r for r in here if r["grain"] == "turn")
        spans = [f"{float(r['worth']):.2f} [{float(r['low']):.2f}, {float(r['high']):.2f}]" for r in (best, turn)]
        agree = f"{100 * float(turn['agreement']):.0f} %"
        body.append([task, TITLES[family, spending], f"{int(turn['steps']):,}", best["grain"], *spans, agree])
    head = ("task", "estimator", "B", "best grain", "worth there", "worth at the turn", "turn is best in")
    return (
        "## Token → turn → segment → trajectory\n\nTasks uttered word by word; the principle predicts the turn. Worth is in "
        "GRPO-equivalents under simulator prices; *turn is best in*: share of resampled seeds.\n\n"
        "![levels](images/levels-tokens.png)\n\n" + table(head, body)
    )


def why(rows: Sequence[Mapping[str, str]]) -> str:
    """Bias, variance and cost for one middle case, from flat rows."""
    body = []
    for row in rows:
        if (row["task"], row["structure"], row["unit"]) != ("Pivots", "first", "4"):
            continue
        if ("@" in row["estimator"] and not row["estimator"].startswith("learned")) or "data=8)" in row["estimator"]:
            figures = [float(row[name]) for name in ("cosine", "noise", "steps_ratio", "error")]
            body.append([f"`{row['estimator']}`", *(f"{x:.3g}" for x in figures)])
    head = (
        "estimator",
        "cosine of the mean gradient",
        "noise of a group",
        "steps spent per sampled step",
        "credit error",
    )
    return (
        "## Why: bias, variance, cost\n\nPivots, one step in four decides (k = 4), 32 steps. *Noise*: variance of a group's "
        "gradient over the square of the exact one. The cosine carries sampling error (mean gradients are estimated). *Credit "
        "error*: mean squared error after the best scale, over the advantage's own square.\n\n" + table(head, body)
    )


_FAMILY = {
    "all": "all, over families and grains",
    "mc": "Monte-Carlo values, K = 1",
    "learned": "learned critic",
    "anchor": "anchor groups",
    "tree": "trees",
    "value": "exact values",
}


def learning(told: Mapping[str, Rows]) -> str:
    """Learning speed against the surface, and what goes wrong on either side of the unit."""
    ranks = [
        [_FAMILY[row["family"]], str(row["points"]), str(row["places"]), span(row["rank"])] for row in told["agreement"]
    ]
    sides = []
    for row in told["contrasts"]:
        spans = [span(row[name], 3) for name in ("speed", "final", "fall")]
        alarms = f"{100 * row['alarms']:.0f} % / {100 * row['alarms at the unit']:.0f} %"
        sides.append([_FAMILY[row["family"]], row["side"], str(row["pairs"]), *spans, alarms])
    count: dict[str, list[bool]] = {}
    for row in told["fastest"]:
        if row["agreement"] is not None:
            count.setdefault(row["family"], []).append(row["agreement"] >= 0.95)
    fastest = ", ".join(f"{_FAMILY[family]} {sum(own)} of {len(own)}" for family, own in count.items())
    return (
        "## Learning speed\n\nSame environment, only the grain changed; ten tabular learners each, two groups per update; "
        "speed is the mean of the curve of exact normalised returns ([data](data/learning.csv)). Rank correlation of speed "
        "with the worth that the surface predicts, inside places (task, structure, k):\n\n"
        + table(("estimator", "points", "places", "rank correlation"), ranks)
        + f"\nThe unit's grain is fastest, or as fast, in at least 95 % of redrawn learners in: {fastest} (of places where "
        "something was learnt).\n\n"
        "## Where the principle predicts failure\n\nThe same learners: a finer or coarser grain minus the unit's, same place "
        "and family. *Fall*: how far the end lies below the best on the way. *Alarms*: share of runs that raised one (entropy, "
        "spread, degenerate groups, gradient spikes), and the same at the unit.\n\n"
        + table(("estimator", "grain", "pairs", "speed", "final", "fall", "alarms: here / at the unit"), sides)
        + (_shortcuts(told["shortcuts"]) if told.get("shortcuts") else "")
    )


def _shortcuts(rows: Rows) -> str:
    """Networks that could look at a picture, by grain."""
    body = []
    for row in rows:
        grain = f"**{row['grain']}**" if row["grain"] == row["unit"] else row["grain"]
        spans = [span(row[name]) for name in ("final", "dependence")]
        body.append([row["task"], _FAMILY[row["family"]], grain, *spans, row["alarms"] or "–"])
    return (
        "\nSmall networks that read a text and a picture, ten each, only the grain changed (bold: the unit's). *Looks*: "
        "E[KL(π ‖ image-free π)] of the learnt policy in nats; 0 is a policy that ignores the picture.\n\n"
        + table(("task", "estimator", "grain", "final", "looks", "alarms"), body)
    )
