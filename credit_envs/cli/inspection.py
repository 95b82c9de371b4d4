"""Looking at environments and estimators: lists, measured dials, a transcript of optimal play."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from math import isfinite
from typing import Any

import numpy as np

from credit_envs import registry
from credit_envs.cli.pictures import blocks
from credit_envs.dials import DIALS
from credit_envs.errors import CreditEnvsError
from credit_envs.faces.render import picture
from credit_envs.faces.single import TabularEnv
from credit_envs.families import FAMILIES
from credit_envs.oracle import evaluate, measure, optimal, uniform
from credit_envs.piece import NEEDS
from credit_envs.report.terminal import terminal
from credit_envs.table.mdp import TabularMDP

_MOST_STEPS = 30
_MOST_VALUES = 50_000_000
_LONGEST_TEXT = 400
_PICTURE_LINES = 20


def print_lists() -> None:
    """Prints the registered environments, the dials and the estimators."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    console = terminal()
    plain: dict[str, Any] = {
        "title_justify": "left",
        "box": box.SIMPLE_HEAD,
        "show_edge": False,
        "pad_edge": False,
        "padding": (0, 1, 0, 0),
    }
    environments = Table("id", "what it is", "knobs", title="Environments", **plain)
    for entry in registry.ENTRIES:
        family = FAMILIES.get(entry.target) if entry.source == "family" else None
        about = family.summary if family else f"{entry.target}, imported"
        knobs = ", ".join(f"{name}={knob.default}" for name, knob in family.knobs.items()) if family else "–"
        environments.add_row(entry.id, about, knobs)
    dials = Table("dial", "range", "what it turns", "measured as", title="Dials, on every environment", **plain)
    for dial in DIALS.values():
        dials.add_row(dial.name, f"{dial.low:g} … {dial.high:g}", dial.doc, dial.quantity)
    needs = Table("need", "what it is", title="What algorithms may ask for", **plain)
    for name, about in NEEDS.items():
        needs.add_row(name, escape(about))
    for table in (environments, dials, needs):
        console.print(table)
        console.print()
    console.print(f"suites: {', '.join(registry.SUITES)}", markup=False)
    console.print("algorithms: credit-envs algorithms", markup=False)


def print_table(table: TabularMDP, play: bool = True) -> None:
    """Prints what the oracle measures on a table under uniform play, and optimal play if asked for."""
    from rich import box
    from rich.table import Table

    console = terminal()
    console.print(f"{table.name}  {table.n_states:,} states, horizon {table.horizon}", style="bold", markup=False)
    if table.knobs:
        console.print("knobs: " + ", ".join(f"{k}={v}" for k, v in table.knobs.items()), style="dim", markup=False)
    if console.is_terminal and "rgb" in table.views:
        frame = picture(table, int(table.start_state[0]))
        console.print(blocks(frame, console.width, _PICTURE_LINES))
        console.print()
    if table.n_states * (table.horizon + 1) > _MOST_VALUES:
        console.print("too large to measure in passing: values at every step and state would not fit in memory")
        return
    grid = Table("measured under uniform play", "", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    grid.columns[1].justify = "right"
    for name, value in measure(table).items():
        grid.add_row(name.replace("_", " "), f"{value:,.4g}" if isfinite(value) else "–")
    console.print(grid)
    if play:
        console.print()
        for line in transcript(table):
            indent = " " * (2 + len(line) - len(line.lstrip()))
            for part in textwrap.wrap(line, console.width, subsequent_indent=indent):
                console.print(part, markup=False)


def transcript(table: TabularMDP, seed: int = 0) -> list[str]:
    """Returns the lines of one episode of optimal play: what each step brings into view, its reward and its exact credit.

    Args:
        table: the table.
        seed: seed of the luck.
    """
    best, even, env = optimal(table), evaluate(table, uniform(table)), TabularEnv(table, "text")
    menu = {f"[{a}] {name}" for a, name in enumerate(table.action_names)}
    shown = _lines(env.reset(seed=seed)[0])
    lines = [
        f"optimal play (J = {best.J:.4g}, {best.length:.4g} steps on average); A: exact advantage under uniform play",
        *(f"     {line}" for line in shown if line not in menu),
    ]
    total, over = 0.0, False
    while not over:
        t, state, code = env.t, env.state, env.snapshot().code
        edge = int(best.greedy(t)[state])
        first, count = int(table.edge_start[state]), int(table.n_admissible[state])
        # What is said is the name that executes the edge under what this step shows.
        said = table.edge_action[first + (edge - first + int(table.emission.shift[code])) % count]
        credit = float(even.advantage_at(np.array(t), np.array(state), np.array(edge)))
        text, reward, over, _, _ = env.step(int(said))
        total += table.discount**t * reward
        if t < _MOST_STEPS:
            before, shown = shown, _lines(text)
            paid = f", reward {reward:.4g}" if reward else ""
            lines.append(f"{t + 1:3d}. {table.action_names[said]}   (A {credit + 0.0:+.4f}{paid})")
            lines += [f"     {line}" for line in shown if line not in before and line not in menu]
    if t >= _MOST_STEPS:
        lines.append(f"     … {t + 1 - _MOST_STEPS} more steps")
    return [*lines, f"return {total:.4g}"]


def _lines(text: str) -> list[str]:
    """Lines of a text; a long line of sentences counts as one line per sentence, so that changes can be told."""
    parts = [line for row in text.splitlines() for line in re.split(r"(?<=[a-z0-9]\.) (?=[A-Z])", row)]
    return [part if len(part) <= _LONGEST_TEXT else f"{part[:_LONGEST_TEXT]}…" for part in parts if part]


def imported(env_id: str, horizon: int | None, options: Mapping[str, Any]) -> TabularMDP:
    """Imports a TextWorld game's file or a Gymnasium environment: through its ``P`` if it lists that, else by exploring.

    Args:
        env_id: the id, or the path of a game (.z8 or .json).
        horizon: steps after which episodes end; None for the importer's own.
        options: further arguments by name; None leaves one to the importer.

    Raises:
        CreditEnvsError: if it cannot be made or enumerated, or one of the options is for another kind of import.
    """
    import gymnasium

    from credit_envs.importers import import_gymnasium, import_textworld, import_toy_text
    from credit_envs.importers.making import made

    given = {name: value for name, value in options.items() if value is not None}
    if env_id.endswith((".z8", ".json")):
        _check_options(env_id, given, "rules", "max_states")
        return import_textworld(env_id, horizon=horizon, **given)
    _check_options(env_id, given, "checkpoint", "max_states", "max_seconds")
    try:
        env = made(env_id, {})
    except gymnasium.error.Error as error:
        raise CreditEnvsError(f"{env_id}: Gymnasium cannot make it ({error})") from error
    listed = hasattr(env.unwrapped, "P")
    env.close()
    return import_toy_text(env_id, horizon=horizon) if listed else import_gymnasium(env_id, horizon=horizon, **given)


def _check_options(env_id: str, given: Mapping[str, Any], *known: str) -> None:
    for name, value in given.items():
        if name not in known:
            raise CreditEnvsError(
                f"{name}={value!r}: {env_id} is imported without it; expected one of {', '.join(known)}"
            )
