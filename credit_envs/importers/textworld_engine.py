"""The words of a TextWorld game: every edge of its logic graph is played once on the interpreter.

A game is compiled again before it is played, with one change: things that can be carried are listed in a fixed order.
Stock games list them by their history, so that what they print is no function of the state.
"""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from credit_envs.errors import CreditEnvsError, MissingExtraError, NotEnumerableError, need
from credit_envs.importers.textworld_logic import GOES_ON, LOST, WON, Graph

IN_ORDER = """
Use MAX_EXPRESSION_NODES of 10000.

To list things in order:
	repeat with item running through object-likes:
		let place be the holder of item;
		if the item is carried by the player:
			now the player carries the item;
		otherwise if place is a supporter:
			now the item is on place;
		otherwise if place is a container:
			now the item is in place;
		otherwise if place is a room:
			now the item is in place.

First every turn (this is the things stay in order rule):
	list things in order.

First when play begins (this is the things start in order rule):
	list things in order.
"""
"""Inform 7 code that puts things back in the order of their declaration after every turn, and makes room for the one
condition in which TextWorld names all quests."""

_HARD = " (x86-64 Linux or macOS, and a C compiler for jericho); shipped games play without it"
_TAGS = ("description", "inventory", "score", "moves")
_STATUS = re.compile(r"\n*^>[^\n]*-= [^\n]* =-[^\n]*$", re.M)
_TURNS = re.compile(r", in \d+ turns?")
_WON, _LOST = "*** The End ***", "*** You lost! ***"


@dataclass(frozen=True)
class Shown:
    """What the interpreter prints after one command.

    Attributes:
        feedback: the answer, without the status line (its turn counter would make every answer unique).
        description: of the room; None where the game is lost.
        inventory: what is carried; None where the game is lost.
        score: the score; None where the game is lost.
        status: goes on, won or lost.
    """

    feedback: str
    description: str | None
    inventory: str | None
    score: int | None
    status: int


def load_textworld() -> Any:
    """Imports TextWorld.

    Raises:
        MissingExtraError: naming the extra, and why it may be hard to install.
    """
    try:
        return need("textworld", "text")
    except ModuleNotFoundError as error:  # textworld is there, but not the jericho that it imports
        reason = f"{error.name} is not installed: pip install 'credit-envs[text]'"
        raise MissingExtraError(reason + _HARD) from error
    except MissingExtraError as error:
        raise MissingExtraError(f"{error}{_HARD}") from error


def compile_game(game: Any, folder: Path) -> Path:
    """Compiles a game to a Z-machine file, with its things listed in a fixed order.

    Raises:
        CreditEnvsError: if Inform cannot compile it.
    """
    load_textworld()
    from textworld.generator import CouldNotCompileGameError, compile_inform7_game
    from textworld.generator.inform7 import generate_inform7_source

    stock = game.kb.inform7_addons_code
    try:
        game.kb.inform7_addons_code = stock + IN_ORDER
        source = generate_inform7_source(game)
    finally:
        game.kb.inform7_addons_code = stock  # the knowledge base may be shared by all games
    target = folder / "game.z8"
    try:
        compile_inform7_game(source, str(target))
    except CouldNotCompileGameError as error:
        raise CreditEnvsError(f"game_file: Inform cannot compile the game: {str(error).strip()[:2000]}") from error
    return target


class Engine:
    """The interpreter at work on one game."""

    def __init__(self, story: Path) -> None:
        load_textworld()
        import jericho

        with warnings.catch_warnings():
            # It only means that jericho itself can't tell the score, which the game prints.
            warnings.simplefilter("ignore", jericho.UnsupportedGameWarning)
            self._frotz = jericho.FrotzEnv(str(story), 0)

    def start(self) -> Shown:
        """Starts the game over."""
        opening = self._frotz.reset()[0]
        for tag in _TAGS[:3]:
            raw = self._frotz.step(f"tw-extra-infos {tag}")[0]
        shown = _read(raw)
        return Shown(_tidy(opening), shown.description, shown.inventory, shown.score, shown.status)

    def play(self, command: str) -> Shown:
        """Plays a command of the game."""
        return _read(self._frotz.step(command)[0])

    def snapshot(self) -> Any:
        """Returns where the game stands (37 KB)."""
        return self._frotz.get_state()

    def restore(self, snapshot: Any) -> None:
        """Goes back to a snapshot."""
        self._frotz.set_state(snapshot)

    def close(self) -> None:
        """Ends the interpreter."""
        self._frotz.close()


@contextmanager
def playing(game: Any) -> Iterator[Engine]:
    """Compiles a game in a temporary folder and yields its engine."""
    with tempfile.TemporaryDirectory(prefix="credit-envs-") as folder:
        engine = Engine(compile_game(game, Path(folder)))
        try:
            yield engine
        finally:
            engine.close()


def narrate(game: Any, graph: Graph, every_edge: bool = True) -> list[tuple[str, str]]:
    """Plays the edges of a graph on the interpreter; returns the (description, inventory) of each state.

    Args:
        game: the game.
        graph: its states and commands.
        every_edge: play all edges and compare what they lead to; else only those that reach a state first.

    Raises:
        NotEnumerableError: if interpreter and logic disagree about score or end, or one state prints two texts.
    """
    texts: list[tuple[str, str]] = [("", "")] * len(graph.facts)
    with playing(game) as engine:
        texts[0] = _look(engine.start())
        snapshots: dict[int, Any] = {0: engine.snapshot()}
        for state, edges in enumerate(graph.edges):
            here = snapshots.pop(state, None)
            for command, successor in edges:
                first = graph.parent[successor] == (state, command)
                if not (first or every_edge):
                    continue
                engine.restore(here)
                shown = engine.play(command)
                _agree(graph, state, command, successor, shown)
                if first:
                    texts[successor] = _look(shown)
                    if graph.status[successor] == GOES_ON:
                        snapshots[successor] = engine.snapshot()
                elif _look(shown) != texts[successor]:
                    raise NotEnumerableError(
                        f"game_file: what is shown is no function of the state: after {command!r} the interpreter says "
                        f"{_look(shown)!r}, but before {texts[successor]!r}"
                    )
    return texts


def _look(shown: Shown) -> tuple[str, str]:
    """What a state looks like; a lost game only has its last words."""
    return (shown.feedback, "") if shown.description is None else (shown.description, shown.inventory or "")


def _agree(graph: Graph, state: int, command: str, successor: int, shown: Shown) -> None:
    expected = (graph.status[successor], graph.score[successor])
    score = graph.score[successor] if shown.score is None else shown.score
    if (shown.status, score) != expected:
        raise NotEnumerableError(
            f"game_file: after {command!r} in state {state} the interpreter says status {shown.status}, score {score}, "
            f"but the logic says {expected[0]}, {expected[1]}; the game's Inform code does not follow its rules: "
            f"{shown.feedback!r}"
        )


def _read(raw: str) -> Shown:
    """Splits what the interpreter printed."""
    parts: dict[str, str | None] = {}
    for tag in _TAGS:
        found = re.search(rf"<{tag}>\n(.*?)</{tag}>", raw, flags=re.S)
        parts[tag] = found.group(1) if found else None
        raw = raw.replace(found.group(0), "") if found else raw
    description, inventory = (None if parts[t] is None else _tidy(str(parts[t])) for t in ("description", "inventory"))
    status = WON if _WON in raw else LOST if _LOST in raw else GOES_ON
    score = None if parts["score"] is None else int(parts["score"].split()[0])
    return Shown(_tidy(raw), description, inventory, score, status)


def _tidy(text: str) -> str:
    """Drops the status line, the number of turns and blank space at the ends."""
    text = _TURNS.sub("", _STATUS.sub("", text))
    return "\n".join(line.rstrip() for line in text.strip().splitlines())
