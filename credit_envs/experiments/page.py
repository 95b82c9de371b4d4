"""The page of the principle: data and maps from a run, and ``principle.md`` from data and sentences that a person wrote."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from credit_envs.experiments import maps, principle_tables, sections
from credit_envs.experiments.cells import Sweep
from credit_envs.experiments.confirm import checks, same_points
from credit_envs.experiments.glance import glance
from credit_envs.experiments.ledger_page import dials_section, ledger_section
from credit_envs.experiments.surface import STRUCTURES, Slice, slices
from credit_envs.experiments.surface_rows import flat, moments
from credit_envs.experiments.tables import read_csv, save, save_json
from credit_envs.experiments.where import where
from credit_envs.table.storage import write_atomically

_QUICK = "principle_quick.json"
"""What the rules said of the quick run, to stand beside the full one."""


def publish(sweep: Sweep, folder: Path, docs: Path) -> list[Path]:
    """Writes the surface's data and maps into a folder of pages; returns what was written."""
    found, measured = slices(sweep, folder), moments(sweep, folder)
    here = principle_tables.middle(found)
    measured = [row for row in measured if row["level"] == here[0].level]
    tested = [asdict(check) for check in checks(same_points(found), measured)]
    told: dict[str, Any] = {"families": principle_tables.families(here), "where": where(found)}
    told |= {"structures": principle_tables.structures(here), "policies": principle_tables.levels(found)}
    data = docs / "data"
    written = []
    if len({one.level for one in found}) == 1:
        written.append(save_json(tested, data / _QUICK))
    else:
        before = (
            {row["rule"]: row["figures"] for row in json.loads((data / _QUICK).read_text())}
            if (data / _QUICK).is_file()
            else {}
        )
        told["confirmed"] = [{**row, "quick": before.get(row["rule"])} for row in tested]
    written.append(save(flat(found), data / "granularity.csv.gz"))
    written.append(save(measured, data / "moments.csv"))
    written.append(save_json([told], data / "principle_tests.json"))
    written.append(glance(told["structures"], docs / "images" / "principle.png"))
    return [*written, *draw(here, docs / "images")]


def draw(found: Sequence[Slice], images: Path) -> list[Path]:
    """Draws the maps of one policy."""
    out = [maps.optimum_lines(found, images / "optimum-pivots.png")]
    for task in ("Pivots", "KeyRooms"):
        for structure in STRUCTURES:
            if any((one.task, one.structure) == (task, structure) for one in found):
                path = images / f"surface-{task.lower()}-{structure}.png"
                out.append(maps.surface_map(found, path, task, structure))
    for price in ("language model", "data"):
        path = images / f"surface-pivots-first-{price.split()[0]}.png"
        out.append(maps.surface_map(found, path, price=price))
    tokens = tuple(dict.fromkeys(one.task for one in found if one.task.endswith("tokens")))
    return [*out, *([maps.levels_bars(found, images / "levels-tokens.png", tokens)] if tokens else [])]


def write_page(docs: Path) -> Path:
    """Writes ``principle.md`` from what stands in ``data/``; what is not there is left out."""
    data = docs / "data"
    parts = ["# Does a signal work best at the grain of the task's causal unit?\n"]
    if (data / "principle_sentences.txt").is_file():
        parts.append((data / "principle_sentences.txt").read_text().strip() + "\n")
    if (data / "principle_tests.json").is_file():
        told = json.loads((data / "principle_tests.json").read_text())[0]
        for name, section in (
            ("confirmed", sections.confirmed),
            ("where", sections.where),
            ("families", sections.tests),
            ("structures", sections.structures),
            ("policies", sections.policies),
        ):
            parts += [section(told[name])] if told.get(name) else []
    if (data / "granularity.csv.gz").is_file():
        parts.append(sections.grains([row for row in read_csv(data / "granularity.csv.gz") if row["level"] == "0.5"]))
    if (data / "moments.csv").is_file():
        parts.append(sections.why(read_csv(data / "moments.csv")))
    if (data / "learning_tests.json").is_file():
        parts.append(sections.learning(json.loads((data / "learning_tests.json").read_text())[0]))
    if (data / "dials.csv").is_file():
        parts.append(dials_section())
    if (data / "ledger.json").is_file():
        parts.append(ledger_section(json.loads((data / "ledger.json").read_text())))
    path = docs / "principle.md"
    write_atomically(path, "\n".join(parts).encode())
    return path
