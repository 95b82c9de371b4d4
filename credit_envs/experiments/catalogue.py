"""The experiments by name: ``granularity``, ``dials``, ``claims``, or one claim; and what is published of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from credit_envs.errors import unknown
from credit_envs.experiments import dials, maps, page, surface
from credit_envs.experiments.cells import Sweep
from credit_envs.experiments.claims import CLAIMS
from credit_envs.experiments.ledger import judge

NAMES = ("granularity", "dials", "claims", *(one.name for one in CLAIMS))
"""Every experiment."""


def sweep_of(name: str, quick: bool = True) -> Sweep:
    """Returns the sweep of an experiment; that of ``claims`` holds every cell of every claim once.

    Raises:
        CreditEnvsError: for an unknown name, with the nearest ones.
    """
    if name == "granularity":
        return surface.granularity(quick)
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
        found = surface.slices(sweep, folder)
        written.append(surface.save(surface.flat(found), docs / "data" / "granularity.csv.gz"))
        written.append(surface.save(surface.moments(sweep, folder), docs / "data" / "moments.csv"))
        told = {"families": page.tests_table(found), "structures": page.structures_table(found)}
        written.append(page.write_ledger([told], docs / "data" / "principle_tests.json"))
        written += draw_granularity(found, docs / "images")
    elif name == "dials":
        rows = dials.table(sweep, folder)
        written.append(surface.save(rows, docs / "data" / "dials.csv"))
        written.append(maps.dial_lines(rows, docs / "images" / "dials.png"))
    else:
        judged = [(one, *judge(one, folder, quick)) for one in CLAIMS if name in ("claims", one.name)]
        command = f"credit-envs experiment{' --quick' if quick else ''}"
        rows = page.ledger_rows(judged, command)
        written.append(page.write_ledger(rows, docs / "data" / ("ledger.json" if name == "claims" else f"{name}.json")))
    return [*written, page.write_page(docs)]


def draw_granularity(found: Sequence[surface.Slice], images: Path) -> list[Path]:
    """Draws the maps."""
    level = sorted({one.level for one in found})[len({one.level for one in found}) // 2]
    here = [one for one in found if one.level == level]
    out = [maps.optimum_lines(here, images / "optimum-pivots.png")]
    for task in ("Pivots", "KeyRooms"):
        for structure in surface.STRUCTURES:
            if any(one.task == task and one.structure == structure for one in here):
                path = images / f"surface-{task.lower()}-{structure}.png"
                out.append(maps.surface_map(here, path, task, structure))
    for price in ("language model", "data"):
        path = images / f"surface-pivots-first-{price.split()[0]}.png"
        out.append(maps.surface_map(here, path, price=price))
    tokens = tuple(dict.fromkeys(one.task for one in here if one.task.endswith("tokens")))
    return [*out, *([maps.levels_bars(here, images / "levels-tokens.png", tokens)] if tokens else [])]
