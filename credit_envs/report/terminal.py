"""Results as tables for a terminal of 100 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from credit_envs.errors import need
from credit_envs.evaluation import Results, Row
from credit_envs.report.lessons import sentences, tally
from credit_envs.report.reading import (
    PRICES,
    Cell,
    by_environment,
    cells,
    is_reference,
    number,
    one_price,
    paper_gamma,
    percent,
    short,
    worth,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDTH = 100
"""Columns that the tables take."""

_SCORES: Mapping[str, int] = {"room": 5, "rank": 5, "top3": 4, "err.": 4, "steps": 5, "ms": 5}
_WIDEST_WORTH = 17

_KEY = (
    "GRPO-equivalents with 95 % intervals: how many times fewer resources than GRPO (dr_grpo, the unit) for the same "
    "gradient signal, under the prices of a simulator (environment steps), a language model (generated and trained "
    "tokens) and data (trained steps); = is the same as the first. room: share of the way to the exact advantage, whose "
    "row is last (simulator's prices). rank: Kendall's concordance of actions in a state. top3: share of the 3 most "
    "decisive steps found. err.: mean squared error after the best scale. steps: environment steps spent per sampled "
    "step. ms: milliseconds per 1,000 steps."
)


def print_results(results: Results, console: Console | None = None) -> None:
    """Prints tables of results: every environment and policy, γ matched beside the papers' γ, and what was learnt.

    Raises:
        MissingExtraError: if rich is not installed.
    """
    from rich.padding import Padding
    from rich.text import Text

    console = console or terminal()
    found = cells(results)
    for environment, here in by_environment(found).items():
        console.print()
        console.print(_heading(environment, here[0]))
        widths = _widths(here)
        for i, cell in enumerate(here):
            console.print(Text(_about_policy(cell, results.config.budget), style="italic"))
            console.print(_table(cell, widths, header=i == 0))
    console.print(Text(_KEY, style="dim"), width=WIDTH)
    matched = _matched_table(found)
    if matched is not None:
        console.print()
        console.print(
            Text("The papers' γ beside the environment's (GRPO-equivalents, simulator's prices)", style="bold")
        )
        console.print(matched)
    console.print()
    console.print(Text("Worth more than GRPO / no difference / less, in cells (environment × policy)", style="bold"))
    console.print(_tally_table(found))
    console.print()
    console.print(Text("What was learnt", style="bold"))
    for environment, sentence in sentences(results).items():
        line = Text.assemble((f"{short(environment)}: ", "bold"), sentence)
        console.print(Padding(line, (0, 0, 0, 2)), width=WIDTH)


def terminal(stderr: bool = False) -> Console:
    """Returns a console that is at most :data:`WIDTH` columns wide.

    Raises:
        MissingExtraError: if rich is not installed.
    """
    need("rich", "eval")
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False, soft_wrap=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    return console


def listing(title: str, *columns: str) -> Table:
    """Returns an empty table of a list, with the title above it on the left."""
    from rich import box
    from rich.table import Table

    style = {"show_edge": False, "pad_edge": False, "padding": (0, 1, 0, 0)}
    return Table(*columns, title=title, title_justify="left", box=box.SIMPLE_HEAD, **style)  # type: ignore[arg-type]


def _heading(environment: str, cell: Cell) -> Table:
    from rich.table import Table
    from rich.text import Text

    measured = cell.about.get("measured", {})
    facts = {
        "states": f"{measured.get('states', float('nan')):,.0f} states",
        "horizon": f"horizon {measured.get('horizon', float('nan')):.0f}",
        "revisit_rate": f"ρ {number(measured.get('revisit_rate', float('nan')))}",
        "luck_share": f"luck {percent(measured.get('luck_share', float('nan')))}",
        "J_optimal": f"optimal J {number(measured.get('J_optimal', float('nan')))}",
    }
    line = " · ".join(text for name, text in facts.items() if name in measured)
    grid = Table.grid(padding=(0, 2))
    grid.add_row(Text(short(environment), style="bold"), Text(line, style="dim"))
    return grid


def _about_policy(cell: Cell, budget: float) -> str:
    rung = cell.rung
    known = f" · J = {number(rung['J'])} · {rung['expected_steps']:.0f} steps per episode" if rung else ""
    return f"policy {cell.policy_name}{known} · n = {cell.rows[0].seeds} seeds · B = {budget:,.0f} steps"


def _widths(here: Sequence[Cell]) -> dict[str, int]:
    """Returns the widths of columns that fit all policies of an environment, names folded where room is short."""
    entries = [_entries(row) for cell in here for row in cell.rows]
    wanted = [max(map(len, column)) for column in zip(*entries, strict=True)]
    worths = {price: min(max(len(price), wanted[1 + i]), _WIDEST_WORTH) for i, price in enumerate(PRICES)}
    left = WIDTH - sum(worths.values()) - sum(_SCORES.values()) - len(worths) - len(_SCORES)
    return {"estimator": min(max(wanted[0], len("estimator")), left), **worths, **_SCORES}


def _table(cell: Cell, widths: Mapping[str, int], header: bool) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_header=header, show_edge=False, pad_edge=False, padding=0)
    for name, width in widths.items():
        if name == "estimator":
            table.add_column(name, width=width, overflow="fold")
        else:
            table.add_column(name, width=width, justify="right", no_wrap=True)
    for row in cell.rows:
        table.add_row(*_entries(row), style="dim italic" if is_reference(row.estimator) else None)
    return table


def _entries(row: Row) -> list[str]:
    first, *others = (_narrow(worth(row, price)) for price in PRICES)
    values = [first, *("=" if one_price(row) else text for text in others)]
    scores = [percent(row.headroom[PRICES[0]].value), *(number(x.value) for x in (row.rank, row.top, row.error))]
    # Seconds per million steps are milliseconds per thousand.
    return [row.estimator, *values, *scores, f"{number(row.steps_ratio).removesuffix('.00')}×", number(row.seconds)]


def _narrow(text: str) -> str:
    """Shortens an interval that is too wide for its column: first the space, then a tiny lower bound becomes 0."""
    text = text if len(text) <= _WIDEST_WORTH else text.replace(", ", ",")
    return text if len(text) <= _WIDEST_WORTH else text.replace("[<0.01", "[0")


def _matched_table(found: Sequence[Cell]) -> Table | None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name, width in (
        ("environment", 15),
        ("policy", 15),
        ("estimator", 12),
        ("paper's γ", 25),
        ("environment's γ", 23),
    ):
        table.add_column(name, width=width, justify="right" if name.endswith("γ") else "left")
    for cell in found:
        for name, row in cell.matched.items():
            own = cell.row(name)
            if own is None:
                continue
            gammas = (paper_gamma(own.estimator), row.estimator.rsplit("=", 1)[1])
            texts = [worth(r, PRICES[0]) for r in (own, row)]
            table.add_row(
                short(cell.environment),
                cell.policy_name,
                name,
                *(f"γ={gamma}: {text}" for gamma, text in zip(gammas, texts, strict=True)),
            )
    return table if table.row_count else None


def _tally_table(found: Sequence[Cell]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table("estimator", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    counts = {price: tally(found, price) for price in PRICES}
    for price in PRICES:
        table.add_column(price, justify="right")
    for name in counts[PRICES[0]]:
        each = (counts[price][name] for price in PRICES)
        table.add_row(name, *(f"{kinds['more']:3d} /{kinds['same']:3d} /{kinds['less']:3d}" for kinds in each))
    return table
