"""Playing an environment by hand, with the exact credit of every move on request and at the end."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from credit_envs import oracle
from credit_envs.arrays import Floats, Ints
from credit_envs.cli.pictures import blocks
from credit_envs.errors import CreditEnvsError
from credit_envs.faces import render
from credit_envs.faces.commands import command
from credit_envs.faces.single import Snapshot, TabularEnv
from credit_envs.report.terminal import terminal
from credit_envs.table.mdp import TabularMDP

if TYPE_CHECKING:
    from rich.console import Console

_KEYS = "a number or the words of a move; ? advantages, u undo, q quit"
_PICTURE_LINES = 24
_NEGLIGIBLE = 1e-9
_MOST_MOVES = 40


@dataclass(frozen=True)
class Move:
    """One move that was made.

    Attributes:
        before: where the environment stood.
        name: the action's name.
        reward: what was paid.
        advantage: exact advantage under optimal and under uniform play.
        luck: what the draw added, r + γ V(s') − Q, V and Q of optimal play.
    """

    before: Snapshot
    name: str
    reward: float
    advantage: tuple[float, float]
    luck: float


class Game:
    """One episode played by hand.

    Args:
        table: the table.
        seed: seed of its luck.

    Attributes:
        moves: the moves made so far, those taken back left out.
        text: what is shown in words.
        over: whether the episode has ended.
        expected: expected return of optimal play.
        length: steps that the optimal play which ends soonest takes on average.
        start_luck: how much more than that this start is worth.
    """

    def __init__(self, table: TabularMDP, seed: int = 0) -> None:
        self.table, self.moves, self.over = table, list[Move](), False
        self._best, self._even = oracle.optimal(table), oracle.evaluate(table, oracle.uniform(table))
        self._env = TabularEnv(table, "text")
        self.text = str(self._env.reset(seed=seed)[0])
        self.expected, self.length = self._best.J, self._best.length
        self.start_luck = self.value - self.expected

    @property
    def here(self) -> Snapshot:
        """Where the environment stands."""
        return self._env.snapshot()

    @property
    def code(self) -> int:
        """Emission code of what is shown."""
        return self._env.code

    @property
    def value(self) -> float:
        """What optimal play brings from here on."""
        return 0.0 if self.over else float(self._best.V[self.here.t, self.here.state])

    @property
    def actions(self) -> list[int]:
        """Admissible actions, in their order."""
        first, last = self.table.edge_start[self.here.state : self.here.state + 2]
        return [int(action) for action in self.table.edge_action[first:last]]

    @property
    def names(self) -> list[str]:
        """Names of the admissible actions."""
        return [self.table.action_names[action] for action in self.actions]

    @property
    def advantages(self) -> tuple[Floats, Floats]:
        """Exact advantages of the admissible actions under optimal and under uniform play, float64 ``[n]`` each."""
        at, edges = self.here, self._edges()
        t, state = np.full(edges.size, at.t), np.full(edges.size, at.state)
        return self._best.advantage_at(t, state, edges), self._even.advantage_at(t, state, edges)

    @property
    def soonest(self) -> int:
        """Position of the admissible action with which optimal play ends soonest."""
        return int(np.flatnonzero(self._edges() == self._best.greedy(self.here.t)[self.here.state])[0])

    def find(self, said: str) -> int:
        """Returns the admissible action that a player means by its words or, with or without brackets, its number.

        Raises:
            CreditEnvsError: if there is none; the message lists the nearest ones.
        """
        return command(self.table, self.here.state, said)

    def play(self, action: int) -> None:
        """Makes a move."""
        at, before = self.actions.index(action), self.here
        best, even = (float(advantages[at]) for advantages in self.advantages)
        q = self.value + best
        text, reward, self.over, _, _ = self._env.step(action)
        self.text = str(text)
        luck = reward + self.table.discount * self.value - q
        self.moves.append(Move(before, self.table.action_names[action], reward, (best, even), luck))

    def undo(self) -> None:
        """Takes the last move back; the luck to come stays what it was.

        Raises:
            CreditEnvsError: before the first move.
        """
        if not self.moves:
            raise CreditEnvsError("nothing to undo: no move was made")
        before = self.moves.pop().before
        self.text, self.over = str(self._env.restore(before, branch=before.branch)[0]), False

    def total(self, parts: list[float]) -> float:
        """Returns Σ γ^t x_t of one number per move made."""
        return float(np.dot(self.table.discount ** np.arange(len(parts)), parts))

    def _edges(self) -> Ints:
        """Returns the edges that naming the admissible actions executes, int64 ``[n]``."""
        here, actions = self.here, np.array(self.actions)
        state, code = np.full(actions.size, here.state), np.full(actions.size, here.code)
        return self.table.executed_edges(state, actions, code)


def play(table: TabularMDP, seed: int = 0, advantages: bool = False) -> None:
    """Lets a person play: shows states, reads moves from standard input until the end of the episode or of the input.

    Args:
        table: what to play.
        seed: seed of its luck.
        advantages: show the exact advantage of every move at every step.
    """
    console, game = terminal(), Game(table, seed)
    console.print(f"{table.name}  at most {table.horizon} steps", style="bold", markup=False)
    console.print(_KEYS, style="dim", markup=False)
    if sys.stdin.isatty() and importlib.util.find_spec("readline"):
        # Importing it gives `input` line editing and a history.
        importlib.import_module("readline")
    fresh = True
    while not game.over:
        if fresh:
            _show(game, console, advantages)
        try:
            said = input(f"{len(game.moves)} > ").strip()
        except EOFError:
            console.print()
            break
        if not sys.stdin.isatty():
            console.print(said, markup=False)
        fresh = True
        try:
            named = said.lower() in map(str.lower, game.names)
            if said in ("q", "quit") and not named:
                break
            if said in ("u", "undo") and not named:
                game.undo()
            elif said in ("?", "") and not named:
                _show_moves(game, console, advantages=said == "?")
                fresh = False
            else:
                game.play(game.find(said))
        except CreditEnvsError as error:
            console.print(str(error), style="yellow", markup=False)
            fresh = False
    if game.over:
        _show(game, console, advantages=False)
    _show_end(game, console)


def _show(game: Game, console: Console, advantages: bool) -> None:
    """Shows the last reward, the state and, unless the episode is over, the moves."""
    table, here = game.table, game.here
    console.print()
    picture = "rgb" if console.is_terminal and "rgb" in table.views else "ansi"
    words = game.text
    if picture == "rgb":
        lines = min(_PICTURE_LINES, max(6, console.height - 14))
        console.print(blocks(render.picture(table, here.state, game.code), console.width, lines))
    elif picture in table.views:
        drawn = render.words(table, here.state, game.code)
        console.print(drawn, markup=False)
        words = "" if drawn.endswith(words) else words
    if words:
        console.print(words, markup=False)
    blind, drawn_in = table.emission.blind, picture in table.views and table.view(picture).own_layers
    if not drawn_in and table.emission.renames and np.count_nonzero(blind == blind[here.code]) > 1:
        # Whoever sees the picture tells codes apart that share their words.
        console.print(f"In the picture, the dial is set to {int(table.emission.shift[here.code])}.", style="dim")
    if game.moves and game.moves[-1].reward:
        console.print(f"reward {game.moves[-1].reward:+.4g}", style="bold")
    listed = all(f"[{action}] {name}" in words for action, name in zip(game.actions, game.names, strict=True))
    if not game.over and (advantages or not listed):
        _show_moves(game, console, advantages)


def _show_moves(game: Game, console: Console, advantages: bool) -> None:
    from rich import box
    from rich.columns import Columns
    from rich.table import Table
    from rich.text import Text

    if not advantages:
        moves = zip(game.actions, game.names, strict=True)
        console.print(Columns([Text.assemble((f"[{a}] ", "bold"), name) for a, name in moves], padding=(0, 3)))
        return
    grid = Table("", "move", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("A, optimal play", "A, uniform play"):
        grid.add_column(name, justify="right")
    grid.add_column("")
    soonest = game.soonest
    for i, (action, name, best, even) in enumerate(zip(game.actions, game.names, *game.advantages, strict=True)):
        style = "green" if best > -_NEGLIGIBLE else None
        mark = "← ends soonest" if i == soonest else ""
        grid.add_row(Text(f"[{action}]"), Text(name), _signed(best), _signed(even), mark, style=style)
    console.print(grid)
    console.print(f"optimal play brings {game.value:.4g} from here", style="dim")


def _show_end(game: Game, console: Console) -> None:
    """Shows the return, what it is made of, and the exact credit of each move."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    moves = game.moves
    console.print()
    if not moves:
        console.print("no move was made")
        return
    grid = Table("step", "move", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("reward", "A, optimal play", "A, uniform play", "luck"):
        grid.add_column(name, justify="right")
    telling = [m for m in moves if max(abs(m.reward), abs(m.luck), -m.advantage[0]) > _NEGLIGIBLE]
    for move in moves if len(moves) <= _MOST_MOVES else telling:
        numbers = (move.reward, *move.advantage, move.luck)
        style = "red" if move.advantage[0] < -_NEGLIGIBLE else None
        grid.add_row(str(move.before.t), Text(move.name), *map(_signed, numbers), style=style)
    console.print(grid)
    if len(moves) > _MOST_MOVES:
        console.print(f"{len(moves) - len(telling)} moves that changed nothing are left out", style="dim")
    returned = game.total([m.reward for m in moves])
    skill, luck = game.total([m.advantage[0] for m in moves]), game.total([m.luck for m in moves])
    console.print()
    console.print(f"return {returned:.4g} after {len(moves)} steps (optimal play: {game.length:.4g})", style="bold")
    onward = game.table.discount ** len(moves) * game.value
    rest = "" if game.over else f" (and {onward:.4g} from here on under optimal play)"
    start = f" {_signed(game.start_luck)} luck of the start" if abs(game.start_luck) > _NEGLIGIBLE else ""
    console.print(f"= {game.expected:.4g} of optimal play{start} {_signed(skill)} skill {_signed(luck)} luck{rest}")
    worst = min(moves, key=lambda m: m.advantage[0])
    if worst.advantage[0] < -_NEGLIGIBLE:
        lost = f"lost most at step {worst.before.t}: {worst.name!r} cost {-worst.advantage[0]:.4g}"
    else:
        lost = "no move could have been better"
    console.print(lost, markup=False)


def _signed(value: float) -> str:
    """Writes a number with its sign; what is only rounding is 0."""
    return "0" if abs(value) <= _NEGLIGIBLE else f"{value:+.4g}"
