"""The experiments by name (``granularity``, ``learning``, ``dials``, ``claims``, or one claim), and what each publishes."""

from __future__ import annotations

from pathlib import Path

from credit_envs.errors import unknown
from credit_envs.experiments import dial_lines, dials, page, speed
from credit_envs.experiments.cells import Sweep
from credit_envs.experiments.claims import CLAIMS, THEMES
from credit_envs.experiments.ledger import judge
from credit_envs.experiments.ledger_page import kept, ledger_rows, write_claims
from credit_envs.experiments.sweep_files import load_sweep
from credit_envs.experiments.tables import save, save_json

NAMES = ("granularity", "learning", "dials", "claims", *(one.name for one in CLAIMS))
"""Every experiment."""


def sweep_of(name: str, quick: bool = True) -> Sweep:
    """Returns the sweep of an experiment; that of ``claims`` holds every cell of every claim once.

    Raises:
        CreditEnvsError: for an unknown name, with the nearest ones.
    """
    if name == "granularity":
        return load_sweep("granularity-quick" if quick else "granularity")
    if name == "learning":
        return load_sweep("learning")
    if name == "dials":
        return dials.dials(quick)
    chosen = [one for one in CLAIMS if name in ("claims", one.name)]
    if not chosen:
        raise unknown("experiment", name, NAMES)
    cells = {cell.slug: cell for one in chosen for cell in one.cells(quick)}
    return Sweep(name, "claims and their verdicts", tuple(cells.values()))


def publish(name: str, folder: Path, docs: Path, quick: bool = True) -> list[Path]:
    """Writes an experiment's data and pictures into a folder of pages, and ``principle.md`` again.

    Args:
        name: one of :data:`NAMES`.
        folder: where it was run.
        docs: gets ``data/*`` and ``images/*``.
        quick: which sweep.

    Returns:
        What was written.
    """
    (docs / "images").mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    sweep = sweep_of(name, quick)
    if name == "granularity":
        written += page.publish(sweep, folder, docs)
    elif name == "learning":
        written += speed.publish(sweep, folder, docs)
    elif name == "dials":
        rows = dials.table(sweep, folder)
        written.append(save(rows, docs / "data" / "dials.csv"))
        written.append(dial_lines.dial_lines(rows, docs / "images" / "dials.png"))
    else:
        judged = [(one, *judge(one, folder, quick)) for one in CLAIMS if name in ("claims", one.name)]
        command = f"credit-envs experiment{' --quick' if quick else ''}"
        path = docs / "data" / ("ledger.json" if name == "claims" else f"{name}.json")
        written.append(save_json(kept(ledger_rows(judged, command, THEMES), path), path))
        if name == "claims":
            written.append(write_claims(docs))
    return [*written, page.write_page(docs)]
