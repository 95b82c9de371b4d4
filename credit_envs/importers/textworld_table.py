"""Tables of TextWorld games."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from credit_envs.arrays import Ints
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.importers.making import checked_horizon
from credit_envs.importers.textworld_engine import load_textworld, narrate
from credit_envs.importers.textworld_logic import GOES_ON, WON, Graph, Logic, search
from credit_envs.table.build import from_outcomes
from credit_envs.table.emission import Emission
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.view import stored_view, text_space

MONOTONE = ("go/*", "open/*", "unlock/*", "take*", "eat")
"""Rules that undo nothing, which keeps games small; a game whose quests need others can't be won with these alone."""


def import_textworld(
    game_file: str | os.PathLike[str],
    *,
    rules: Iterable[str] = ("*",),
    horizon: int | None = None,
    max_states: int = 20_000,
) -> TabularMDP:
    """Turns a TextWorld game into a table whose every word was printed by the interpreter.

    The game's logic gives states, commands and scores; then each command is played once in each state on the Z-machine,
    which confirms every score and ending and that what is shown is a function of the state. The game is compiled again
    for this, with things listed in a fixed order (stock games list them in the order in which they were last moved).
    States are (facts, completed quests), numbered breadth-first. A step pays the score it brings, as a share of the
    highest score. The ``text`` view is the description of the room and what is carried; states that print the same are
    merged in the emission. The status line, which counts turns, is left out.

    Args:
        game_file: a game that TextWorld made: ``.z8`` with its ``.json`` beside it, or the ``.json`` alone.
        rules: patterns of the names of the rules that commands may use, such as :data:`MONOTONE`. ``drop``, ``insert``,
            ``put`` and ``close`` multiply states. Rules that only look (``examine``, ``look``, ``inventory``) never count.
        horizon: number of steps after which episodes terminate; default: four times the shortest solution.
        max_states: most states.

    Raises:
        MissingExtraError: if TextWorld is not installed.
        NotEnumerableError: if there are more states (with what was reached and what to leave out), or the interpreter
            does not follow the game's rules.
        CreditEnvsError: if the file is no TextWorld game, or the game can't be won.
    """
    check_range("max_states", max_states, 2, 2**24, integer=True)
    path = Path(game_file).with_suffix(".json")
    if not path.is_file():
        raise CreditEnvsError(
            f"game_file={str(game_file)!r}: no such file {path.name}, which TextWorld writes beside a game"
        )
    load_textworld()
    from textworld.generator.game import Game

    try:
        game = Game.load(str(path))
    except Exception as error:  # TextWorld's loaders trip over other files in many ways
        raise CreditEnvsError(
            f"game_file={str(game_file)!r}: no TextWorld game ({type(error).__name__}: {error})"
        ) from error
    return table_of_game(game, path.stem, rules=rules, horizon=horizon, max_states=max_states)


def table_of_game(
    game: Any, name: str, *, rules: Iterable[str] = ("*",), horizon: int | None = None, max_states: int = 20_000
) -> TabularMDP:
    """Like :func:`import_textworld`, for a game that is already loaded (``textworld.generator.game.Game``)."""
    graph = search(Logic(game, rules), max_states)
    texts = ["\n".join(part for part in look if part) for look in narrate(game, graph)]
    number = {command: i for i, command in enumerate(graph.commands)}
    rows = [
        (state, number[command], successor) for state, edges in enumerate(graph.edges) for command, successor in edges
    ]
    state, action, successor = np.array(rows, dtype=np.int64).T
    score, status = np.array(graph.score), np.array(graph.status)
    known = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    return from_outcomes(
        name,
        len(texts),
        len(number),
        {
            "state": state,
            "action": action,
            "successor": successor,
            "probability": np.ones(len(rows)),
            "reward": (score[successor] - score[state]) / max(graph.max_score, 1),
            "terminal": status[successor] != GOES_ON,
        },
        start={0: 1.0},
        horizon=4 * _shortest(graph) if horizon is None else checked_horizon(horizon),
        action_names=tuple(graph.commands),
        labels={
            "turn": np.zeros(len(texts), dtype=np.int64),
            "segment": np.array([sum(completed) for completed in graph.completed]),
            "anchor": np.arange(len(texts)),
            "score": score,
            "room": _rooms(graph),
        },
        emission=Emission(np.array([known[text] for text in texts], dtype=np.int32)),
        views={"text": stored_view(text_space(max(4096, *map(len, texts))), texts)},
    )


def _shortest(graph: Graph) -> int:
    """Commands of the shortest solution; states are numbered breadth-first, so parents lead back the shortest way."""
    state, steps = graph.status.index(WON), 0
    while (parent := graph.parent[state]) is not None:
        state, steps = parent[0], steps + 1
    return steps


def _rooms(graph: Graph) -> Ints:
    here = [next((fact[2] for fact in facts if fact[:2] == ("at", "P")), "") for facts in graph.facts]
    number = {room: i for i, room in enumerate(dict.fromkeys(here))}
    return np.array([number[room] for room in here])
