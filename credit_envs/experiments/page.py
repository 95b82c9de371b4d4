"""The page of the measurement: tables made from the data in ``docs/data``, beside sentences that a person wrote about them."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

from credit_envs.experiments.claims import CLAIMS, UNMEASURED
from credit_envs.experiments.ledger import Claim, Outcome
from credit_envs.experiments.surface import Slice, regression, rules
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


def tests_table(found: Sequence[Slice]) -> list[dict[str, Any]]:
    """Returns one row per family, way of spending and price list: the test of argmax = k, the regression, rules of thumb."""
    out = []
    for price in ("simulator", "language model", "data"):
        for family, spending, title in FAMILIES:
            here = [one for one in found if (one.family, one.spending, one.price) == (family, spending, price)]
            numbered = [one for one in here if not one.task.endswith("tokens")]
            # At k = 1 the finest grain is the unit and wherever "finer is better" holds the test is passed for nothing.
            told = [one.verdict for one in numbered if one.unit > 1 and one.verdict != "undefined"]
            if not told:
                continue
            slope, rule = regression(_steady(numbered)), rules([one for one in numbered if one.unit > 1])
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


def ledger_rows(judged: Sequence[tuple[Claim, str, Sequence[Outcome]]], command: str) -> list[dict[str, Any]]:
    """Returns the ledger as plain data."""
    return [
        {
            "name": claim.name,
            "claim": claim.claim,
            "source": claim.source,
            "predicted": claim.predicted,
            "refuted_by": claim.refuted_by,
            "verdict": verdict,
            "tests": [asdict(outcome) for outcome in outcomes],
            "command": f"{command} {claim.name}",
        }
        for claim, verdict, outcomes in judged
    ]


def write_ledger(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Writes the ledger as JSON, floats with five significant digits."""

    def short(value: Any) -> Any:
        if isinstance(value, float):
            return float(f"{value:.5g}") if isfinite(value) else None
        if isinstance(value, Mapping):
            return {key: short(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [short(one) for one in value]
        return value.item() if hasattr(value, "item") else value

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps([short(row) for row in rows], indent=1, ensure_ascii=False).encode())
    return path


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
        parts.append(_dials())
    if (data / "ledger.json").is_file():
        parts.append(_ledger(json.loads((data / "ledger.json").read_text())))
    path = docs / "principle.md"
    write_atomically(path, "\n".join(parts).encode())
    return path


def _span(value: Any, digits: int = 2) -> str:
    if value is None or any(x is None or not isfinite(x) for x in value):
        return "–"
    return f"{value[0]:.{digits}f} [{value[1]:.{digits}f}, {value[2]:.{digits}f}]"


def _number(value: Any) -> str:
    return "–" if value is None or not isfinite(value) else f"{value:.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


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
            slopes = [_span(row["unit"]), _span(row["budget"]), f"{100 * (row['censored'][0] or 0):.0f} %"]
            kept = [_number(row.get(f"keeps {name}")) for name in ("unit", "constant", "fine", "coarse")]
            body.append([str(row["family"]), str(row["slices"]), *shares, *slopes, *kept])
        out.append(_table(head, body))
    return "\n".join(out)


_MAPS = {"first": "one step decides", "all": "all steps must agree", "parity": "parity"}


def _structures(rows: Sequence[Mapping[str, Any]]) -> str:
    """The same by task and causal structure."""
    body = []
    for row in rows:
        shares = [f"{100 * row[f'share {word}']:.0f} %" for word in ("k", "open", "not k")]
        slopes = [_span(row["unit"]), _span(row["budget"])]
        kept = [_number(row.get(f"keeps {name}")) for name in ("unit", "constant", "fine", "coarse")]
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
        "for the coarsest grain would pass for a slope on k.\n\n" + _table(head, body) + f"\nMaps: {pictures}\n"
    )


def _read(path: Path) -> list[dict[str, str]]:
    plain = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return list(csv.DictReader(plain.decode().splitlines()))


def _levels(path: Path) -> str:
    """Token, turn, segment, trajectory: predicted and measured optimum with the test's agreement."""
    rows = [r for r in _read(path) if r["task"].endswith("tokens") and r["price"] == "simulator"]
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
    return text + _table(head, body)


def _why(path: Path) -> str:
    """Bias, variance and cost for one middle case."""
    rows = [r for r in _read(path) if (r["task"], r["structure"], r["unit"]) == ("Pivots", "first", "4")]
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
    return text + _table(head, body)


def _dials() -> str:
    return (
        "## One surface per dial\n\nA few estimators as one dial turns; data in [dials.csv](data/dials.csv).\n\n"
        "![dials](images/dials.png)\n"
    )


def _ledger(rows: Sequence[Mapping[str, Any]]) -> str:
    out = [
        "## The claims ledger\n",
        "Verdicts are computed from the results by the rules in `credit_envs/experiments/ledger.py`; every test, cell and "
        "interval is in [ledger.json](data/ledger.json). All of it is about the gradient of a given policy, not learning.\n",
    ]
    body = []
    for row in rows:
        tests = "<br>".join(f"{t['test']}: {_span(t['effect'])}, {t['verdict']}{_nothing(t)}" for t in row["tests"])
        body.append([f"**{row['claim']}** ({row['source']})", f"**{row['verdict']}**", tests, row["refuted_by"]])
    out.append(_table(("claim", "verdict", "tests: mean ratio over cells with 95 % interval", "would refute it"), body))
    counts = {
        word: sum(row["verdict"] == word for row in rows) for word in ("supported", "contradicted", "depends", "open")
    }
    out.append("Of " + f"{len(rows)} claims: " + ", ".join(f"{n} {word}" for word, n in counts.items()) + ".\n")
    out.append("**Not measured:** " + "; ".join(f"{claim} ({why})" for claim, why in UNMEASURED.items()) + ".\n")
    return "\n".join(out)


def _nothing(test: Mapping[str, Any]) -> str:
    return f" ({test['nothing']} of {len(test['cells'])} cells: one is worth nothing)" if test["nothing"] else ""


def known_claims() -> tuple[str, ...]:
    """Returns the names of all claims."""
    return tuple(one.name for one in CLAIMS)
