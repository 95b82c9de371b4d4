"""Looking at environments and estimators: lists, measured dials, a transcript of optimal play."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from credit_envs import registry
from credit_envs.cli.pictures import blocks
from credit_envs.dials import DIALS
from credit_envs.errors import CreditEnvsError
from credit_envs.faces.render import picture
from credit_envs.families import FAMILIES
from credit_envs.oracle import measure
from credit_envs.piece import NEEDS
from credit_envs.report.episode import Episode, episode_picture, optimal_episode
from credit_envs.report.terminal import listing, terminal
from credit_envs.table.mdp import TabularMDP

_MOST_STEPS = 30
_MOST_VALUES = 50_000_000
_LONGEST_TEXT = 400
_PICTURE_LINES = 20


def print_lists() -> None:
    """Prints the registered environments, the dials and the estimators."""
    from rich.markup import escape

    console = terminal()
    environments = listing("Environments", "id", "what it is", "knobs")
    for entry in registry.ENTRIES:
        family = FAMILIES.get(entry.target) if entry.source == "family" else None
        about = family.summary if family else f"{entry.target}, imported"
        knobs = ", ".join(f"{name}={knob.default}" for name, knob in family.knobs.items()) if family else "–"
        environments.add_row(entry.id, about, knobs)
    dials = listing("Dials, on every environment", "dial", "range", "what it turns", "measured as")
    for dial in DIALS.values():
        dials.add_row(dial.name, f"{dial.low:g} … {dial.high:g}", dial.doc, dial.quantity)
    needs = listing("What algorithms may ask for", "need", "what it is")
    for name, about in NEEDS.items():
        needs.add_row(name, escape(about))
    for table in (environments, dials, needs):
        console.print(table)
        console.print()
    console.print(f"suites: {', '.join(registry.SUITES)}", markup=False)
    console.print("algorithms: credit-envs algorithms", markup=False)


def print_table(table: TabularMDP, play: bool = True, credit: Path | None = None) -> None:
    """Prints what the oracle measures on a table under uniform play, and optimal play if asked for.

    Args:
        table: the table.
        play: whether to print an episode of optimal play.
        credit: path of a PNG of that episode with its credit drawn on it.

    Raises:
        CreditEnvsError: if the credit of a table is asked for that is too large to measure in passing.
    """
    console = terminal()
    console.print(f"{table.name}  {table.n_states:,} states, horizon {table.horizon}", style="bold", markup=False)
    if table.knobs:
        console.print("knobs: " + ", ".join(f"{k}={v}" for k, v in table.knobs.items()), style="dim", markup=False)
    if console.is_terminal and "rgb" in table.views:
        frame = picture(table, int(table.start_state[0]))
        console.print(blocks(frame, console.width, _PICTURE_LINES))
        console.print()
    if table.n_states * (table.horizon + 1) > _MOST_VALUES:
        large = "too large to measure in passing: values at every step and state would not fit in memory"
        if credit is not None:
            raise CreditEnvsError(f"credit={str(credit)!r}: {table.name} is {large}")
        console.print(large)
        return
    grid = listing("", "measured under uniform play", "")
    grid.columns[1].justify = "right"
    for name, value in measure(table).items():
        grid.add_row(name.replace("_", " "), f"{value:,.4g}" if isfinite(value) else "–")
    console.print(grid)
    if play:
        console.print()
        episode = optimal_episode(table)
        if credit is not None:
            episode_picture(episode, credit)
        for line in transcript(episode):
            indent = " " * (2 + len(line) - len(line.lstrip()))
            for part in textwrap.wrap(line, console.width, subsequent_indent=indent):
                console.print(part, markup=False)


def transcript(episode: Episode) -> list[str]:
    """Returns the lines of an episode: what each step brings into view, its exact credit and its reward."""
    menu = {f"[{a}] {name}" for a, name in enumerate(episode.table.action_names)}
    texts = [_lines(text) for text in (*(step.text for step in episode.steps), episode.end)]
    lines = [
        f"optimal play (J = {episode.expected:.4g}, {episode.length:.4g} steps on average); "
        "A: exact advantage under uniform play",
        *(f"     {line}" for line in texts[0] if line not in menu),
    ]
    for step, before, after in zip(episode.steps[:_MOST_STEPS], texts, texts[1:], strict=False):
        paid = f", reward {step.reward:.4g}" if step.reward else ""
        lines.append(f"{step.t + 1:3d}. {step.name}   (A {step.credit + 0.0:+.4f}{paid})")
        lines += [f"     {line}" for line in after if line not in before and line not in menu]
    if len(episode.steps) > _MOST_STEPS:
        lines.append(f"     … {len(episode.steps) - _MOST_STEPS} more steps")
    return [*lines, f"return {episode.total:.4g}"]


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
