"""The ledger of claims and the dials as parts of a page, and the ledger as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from credit_envs.experiments.ledger import Claim, Outcome
from credit_envs.experiments.tables import span, table


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


def dials_section() -> str:
    """Returns the dials as a section of a page."""
    return (
        "## One surface per dial\n\nA few estimators as one dial turns; data in [dials.csv](data/dials.csv).\n\n"
        "![dials](images/dials.png)\n"
    )


def ledger_section(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns the ledger as a section of a page."""
    out = [
        "## The claims ledger\n",
        "Verdicts are computed from the results by the rules in `credit_envs/experiments/ledger.py`; every test, cell and "
        "interval is in [ledger.json](data/ledger.json). All of it is about the gradient of a given policy, not learning.\n",
    ]
    body = []
    for row in rows:
        tests = "<br>".join(f"{t['test']}: {span(t['effect'])}, {t['verdict']}{_nothing(t)}" for t in row["tests"])
        body.append([f"**{row['claim']}** ({row['source']})", f"**{row['verdict']}**", tests, row["refuted_by"]])
    out.append(table(("claim", "verdict", "tests: mean ratio over cells with 95 % interval", "would refute it"), body))
    counts = {
        word: sum(row["verdict"] == word for row in rows) for word in ("supported", "contradicted", "depends", "open")
    }
    out.append("Of " + f"{len(rows)} claims: " + ", ".join(f"{n} {word}" for word, n in counts.items()) + ".\n")
    return "\n".join(out)


def _nothing(test: Mapping[str, Any]) -> str:
    return f" ({test['nothing']} of {len(test['cells'])} cells: one is worth nothing)" if test["nothing"] else ""
