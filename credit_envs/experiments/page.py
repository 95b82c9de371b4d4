"""The page of the measurement: tables made from the data in ``docs/data``, beside sentences that a person wrote about them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from credit_envs.experiments import maps
from credit_envs.experiments.cells import Sweep
from credit_envs.experiments.grain_tests import regression, rules
from credit_envs.experiments.ledger_page import dials_section, ledger_section
from credit_envs.experiments.surface import STRUCTURES, Slice, flat, moments, numbered, slices
from credit_envs.experiments.tables import number, read_csv, save, save_json, span, table
from credit_envs.table.storage import write_atomically

FAMILIES = (
    ("mc", "rollouts", "Monte-Carlo values, K = 1, more rollouts"),
    ("mc", "continuations", "Monte-Carlo values, 8 rollouts, K grows"),
    ("mc", "best split", "Monte-Carlo values, best K"),
    ("learned", "rollouts", "learned critic on half the budget"),
    ("anchor", "rollouts", "anchor groups (GiGPO, γ = 1)"),
    ("tree", "rollouts", "trees forking at boundaries"),
    ("value", "rollouts", "exact values (the limit)"),
)


def publish(sweep: Sweep, folder: Path, docs: Path) -> list[Path]:
    """Writes the surface's data and maps into a folder of pages; returns what was written."""
    found = slices(sweep, folder)
    told = {"families": tests_table(found), "structures": structures_table(found)}
    written = [save(flat(found), docs / "data" / "granularity.csv.gz")]
    written.append(save(moments(sweep, folder), docs / "data" / "moments.csv"))
    written.append(save_json([told], docs / "data" / "principle_tests.json"))
    return [*written, *draw(found, docs / "images")]


def tests_table(found: Sequence[Slice]) -> list[dict[str, Any]]:
    """Returns one row per family, way of spending and price list: the test of argmax = k, the regression, rules of thumb."""
    out = []
    for price in ("simulator", "language model", "data"):
        for family, spending, title in FAMILIES:
            here = [one for one in found if (one.family, one.spending, one.price) == (family, spending, price)]
            steps = numbered(here)
            # At k = 1 the finest grain is the unit and wherever "finer is better" holds the test is passed for nothing.
            told = [one.verdict for one in steps if one.unit > 1 and one.verdict != "undefined"]
            if not told:
                continue
            slope, rule = regression(_steady(steps)), rules([one for one in steps if one.unit > 1])
            row: dict[str, Any] = {"family": title, "price": price, "slices": len(told)}
            row |= {f"share {word}": told.count(word) / len(told) for word in ("k", "open", "not k")}
            for name in ("unit", "budget", "censored"):
                row[name] = slope.get(name, (float("nan"),) * 3)
            out.append({**row, **{f"keeps {name}": value for name, value in rule.items()}})
    return out


def structures_table(found: Sequence[Slice], price: str = "simulator") -> list[dict[str, Any]]:
    """Returns one row per family, task and causal structure: the test, the regression (fixed length only), rules of thumb."""
    out = []
    for family, spending, title in FAMILIES:
        for task in ("Pivots", "KeyRooms"):
            for structure in ("first", "all", "parity"):
                here = [
                    one
                    for one in found
                    if (one.family, one.spending, one.price, one.task) == (family, spending, price, task)
                    and (one.structure == structure or one.unit == 1)
                ]
                told = [one.verdict for one in here if one.unit > 1 and one.verdict != "undefined"]
                if not told:
                    continue
                row: dict[str, Any] = {"family": title, "task": task, "structure": structure, "slices": len(told)}
                row |= {f"share {word}": told.count(word) / len(told) for word in ("k", "open", "not k")}
                slope = regression(_steady(here))
                row |= {name: slope.get(name, (float("nan"),) * 3) for name in ("unit", "budget")}
                row |= {f"keeps {k}": v for k, v in rules([one for one in here if one.unit > 1]).items()}
                out.append(row)
    return out


def _steady(found: Sequence[Slice]) -> list[Slice]:
    """Slices of Pivots, whose length does not grow with k."""
    return [one for one in found if one.task == "Pivots"]


def draw(found: Sequence[Slice], images: Path) -> list[Path]:
    """Draws the maps."""
    level = sorted({one.level for one in found})[len({one.level for one in found}) // 2]
    here = [one for one in found if one.level == level]
    out = [maps.optimum_lines(here, images / "optimum-pivots.png")]
    for task in ("Pivots", "KeyRooms"):
        for structure in STRUCTURES:
            if any(one.task == task and one.structure == structure for one in here):
                path = images / f"surface-{task.lower()}-{structure}.png"
                out.append(maps.surface_map(here, path, task, structure))
    for price in ("language model", "data"):
        path = images / f"surface-pivots-first-{price.split()[0]}.png"
        out.append(maps.surface_map(here, path, price=price))
    tokens = tuple(dict.fromkeys(one.task for one in here if one.task.endswith("tokens")))
    return [*out, *([maps.levels_bars(here, images / "levels-tokens.png", tokens)] if tokens else [])]


def write_page(docs: Path) -> Path:
    """Writes ``principle.md`` from ``data/principle_tests.json``, ``data/ledger.json``, ``data/levels.csv`` and the sentences.

    What is not there is left out.
    """
    data = docs / "data"
    parts = ["# Does a signal work best at the grain of the task's causal unit?\n"]
    sentences = data / "principle_sentences.txt"
    if sentences.is_file():
        parts.append(sentences.read_text().strip() + "\n")
    if (data / "principle_tests.json").is_file():
        told = json.loads((data / "principle_tests.json").read_text())[0]
        parts += [_tests(told["families"]), _structures(told["structures"])]
    if (data / "granularity.csv.gz").is_file():
        parts.append(_levels(data / "granularity.csv.gz"))
    if (data / "moments.csv").is_file():
        parts.append(_why(data / "moments.csv"))
    if (data / "dials.csv").is_file():
        parts.append(dials_section())
    if (data / "ledger.json").is_file():
        parts.append(ledger_section(json.loads((data / "ledger.json").read_text())))
    path = docs / "principle.md"
    write_atomically(path, "\n".join(parts).encode())
    return path


def _tests(rows: Sequence[Mapping[str, Any]]) -> str:
    out = [
        "## The test, the regression, and rules of thumb\n",
        "A slice is one task, structure, k > 1 and budget. *argmax = k*: the share of slices in which the grain g = k is best "
        "in at least 95 % of resampled seeds; *not k*: in at most 5 %; the rest is open. *Slope on log₂ k* would be 1 if the "
        "principle held exactly and is 0 if k does not matter; *slope on log₂ B*: doublings of the grain per doubling of the "
        "budget. *At the edge*: optima at the finest or coarsest grain, where slopes are biased towards 0. *Keeps*: the share "
        "of the best grain's worth that a rule keeps on average: g = k, the one constant grain that is best on average, the "
        "finest, the coarsest.\n",
        "![maps](images/surface-pivots-first.png)\n",
        "![best grain against budget](images/optimum-pivots.png)\n",
    ]
    head: tuple[str, ...] = (
        "estimator",
        "n",
        "argmax = k",
        "open",
        "not k",
        "slope on log₂ k",
        "slope on log₂ B",
        "at the edge",
    )
    head += ("keeps: g = k", "constant", "finest", "coarsest")
    for price in dict.fromkeys(str(row["price"]) for row in rows):
        out.append(f"### {price[0].upper()}{price[1:]} prices\n")
        body = []
        for row in (row for row in rows if row["price"] == price):
            shares = [f"{100 * row[f'share {word}']:.0f} %" for word in ("k", "open", "not k")]
            slopes = [span(row["unit"]), span(row["budget"]), f"{100 * (row['censored'][0] or 0):.0f} %"]
            kept = [number(row.get(f"keeps {name}")) for name in ("unit", "constant", "fine", "coarse")]
            body.append([str(row["family"]), str(row["slices"]), *shares, *slopes, *kept])
        out.append(table(head, body))
    return "\n".join(out)


_MAPS = {"first": "one step decides", "all": "all steps must agree", "parity": "parity"}


def _structures(rows: Sequence[Mapping[str, Any]]) -> str:
    """The same by task and causal structure."""
    body = []
    for row in rows:
        shares = [f"{100 * row[f'share {word}']:.0f} %" for word in ("k", "open", "not k")]
        slopes = [span(row["unit"]), span(row["budget"])]
        kept = [number(row.get(f"keeps {name}")) for name in ("unit", "constant", "fine", "coarse")]
        place = [str(row["family"]), str(row["task"]), _MAPS[str(row["structure"])], str(row["slices"])]
        body.append([*place, *shares, *slopes, *kept])
    head: tuple[str, ...] = (
        "estimator",
        "task",
        "structure",
        "n",
        "argmax = k",
        "open",
        "not k",
        "slope on log₂ k",
        "slope on log₂ B",
    )
    head += ("keeps: g = k", "constant", "finest", "coarsest")
    pictures = "  ".join(
        f"[{task}, {words}](images/surface-{task.lower()}-{structure}.png)"
        for task in ("Pivots", "KeyRooms")
        for structure, words in _MAPS.items()
    )
    return (
        "### By causal structure, simulator prices\n\nSlopes on Pivots only: KeyRooms gets longer with k, so that a preference "
        "for the coarsest grain would pass for a slope on k.\n\n" + table(head, body) + f"\nMaps: {pictures}\n"
    )


def _levels(path: Path) -> str:
    """Token, turn, segment, trajectory: predicted and measured optimum with the test's agreement."""
    rows = [r for r in read_csv(path) if r["task"].endswith("tokens") and r["price"] == "simulator"]
    body, titles = [], {(family, spending): title for family, spending, title in FAMILIES}
    places = dict.fromkeys((r["task"], r["family"], r["spending"], r["groups"]) for r in rows)
    for task, family, spending, groups in places:
        here = [
            r for r in rows if (r["task"], r["family"], r["spending"], r["groups"]) == (task, family, spending, groups)
        ]
        if groups not in ("4", "64", "256") or (family, spending) not in titles:
            continue
        best = next((r for r in here if r["best"] == "True"), None)
        if best is None:
            continue
        turn = next(r for r in here if r["grain"] == "turn")
        spans = [f"{float(r['worth']):.2f} [{float(r['low']):.2f}, {float(r['high']):.2f}]" for r in (best, turn)]
        agree = f"{100 * float(turn['agreement']):.0f} %"
        body.append(
            [task, titles[family, spending], f"{int(turn['steps']):,}", best["grain"], spans[0], spans[1], agree]
        )
    head = ("task", "estimator", "B", "best grain", "worth there", "worth at the turn", "turn is best in")
    text = (
        "## Token → turn → segment → trajectory\n\nTasks uttered word by word; the principle predicts the turn. Worth is in "
        "GRPO-equivalents under simulator prices; *turn is best in*: share of resampled seeds.\n\n"
        "![levels](images/levels-tokens.png)\n\n"
    )
    return text + table(head, body)


def _why(path: Path) -> str:
    """Bias, variance and cost for one middle case."""
    rows = [r for r in read_csv(path) if (r["task"], r["structure"], r["unit"]) == ("Pivots", "first", "4")]
    body = []
    for r in rows:
        if ("@" in r["estimator"] and not r["estimator"].startswith("learned")) or "data=8)" in r["estimator"]:
            figures = [float(r[name]) for name in ("cosine", "noise", "steps_ratio", "error")]
            body.append([f"`{r['estimator']}`", *(f"{x:.3g}" for x in figures)])
    head = (
        "estimator",
        "cosine of the mean gradient",
        "noise of a group",
        "steps spent per sampled step",
        "credit error",
    )
    text = (
        "## Why: bias, variance, cost\n\nPivots, one step in four decides (k = 4), 32 steps. *Noise*: variance of a group's "
        "gradient over the square of the exact one. The cosine carries sampling error (mean gradients are estimated). *Credit "
        "error*: mean squared error after the best scale, over the advantage's own square.\n\n"
    )
    return text + table(head, body)
