"""How Team states are shown: planes, words, characters and a picture, built for the states that are asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from credit_envs.arrays import AnyArray, Bools, Ints
from credit_envs.families import team_tiles, tiles
from credit_envs.families.team_layout import Layout, Plan, cells_of, held, opened, progress_of
from credit_envs.table.view import View, text_space

NOTHING, WALL, FLOOR, KEY, LOCKED, UNLOCKED, SHUT, HELD, PLATE, GOAL = range(10)
_NAMES = tuple(tiles.COLOURS)
_PAINTS = tuple(tiles.COLOURS.values())


class Shown:
    """What the views show of some states.

    Args:
        layout: the instance.
        seen: int64 ``[n]``, placements that the movers see.
        mover: int64 ``[n]``, −1 where the episode is over.

    Attributes:
        cells: int64 ``[n, agents]``.
        mover: see above.
        holder: int64 ``[n]``, the agent with a key in hand, −1 for none.
        lies: bool ``[n, D]``, whether the key of each door lies on the floor.
        open: bool ``[n, D]``, whether one may enter each door.
    """

    def __init__(self, layout: Layout, seen: Ints, mover: Ints) -> None:
        progress = progress_of(layout.plan, seen)
        stage, hand = np.divmod(progress, layout.plan.agents + 1)
        rank = np.cumsum(layout.locked) - 1
        self.cells, self.mover, self.holder = cells_of(layout.plan, seen), mover, hand - 1
        self.lies = layout.locked & (stage[:, None] + (hand > 0)[:, None] <= rank)
        self.open = opened(layout, progress) | held(layout, self.cells)


def views(layout: Layout, seen: Ints, mover: Ints, playing: Bools) -> dict[str, View]:
    """Returns the views of an instance, by name.

    Args:
        layout: the instance.
        seen: int64 ``[S]``, placement that the mover sees in each state.
        mover: int64 ``[S]``, whose move it is.
        playing: bool ``[S]``, whether the episode goes on.
    """
    spaces, moves = _spaces(layout.plan), np.where(playing, mover, -1)

    def view(name: str, rows: Callable[[Layout, Shown], Any]) -> View:
        def show(states: AnyArray) -> Any:
            states = np.asarray(states, dtype=np.int64)
            return rows(layout, Shown(layout, seen[states], moves[states]))

        return View(spaces[name], show)

    shows = {"grid": _planes, "text": _sentences, "ansi": _characters, "rgb": _pictures}
    return {name: view(name, rows) for name, rows in shows.items()}


@lru_cache(maxsize=64)
def _spaces(plan: Plan) -> dict[str, gymnasium.Space[object]]:
    """Building a space costs more than building a table, so instances of the same knobs share them."""
    tile = team_tiles.tile_size(plan.width)
    return {
        "grid": gymnasium.spaces.Box(0, 255, (plan.height, plan.width, 4), np.uint8),
        "text": text_space(),
        "ansi": tiles.ansi_space((plan.width + 1) * plan.height + 64),
        "rgb": gymnasium.spaces.Box(0, 255, (plan.height * tile, plan.width * tile, 3), np.uint8),
    }


def _map(layout: Layout, lies: Bools, is_open: Bools) -> NDArray[np.uint8]:
    """Returns kind and colour of all places without the agents: uint8 ``[n, height, width, 2]``."""
    plan = layout.plan
    board = np.zeros((len(lies), plan.height, plan.width, 2), dtype=np.uint8)
    x, y = layout.cell_xy.T
    board[..., 0] = WALL
    board[:, y, x, 0] = FLOOR
    paint = layout.colour + 1
    board[:, y[layout.door], x[layout.door], 0] = np.where(
        layout.locked, np.where(is_open, UNLOCKED, LOCKED), np.where(is_open, HELD, SHUT)
    )
    board[:, y[layout.door], x[layout.door], 1] = paint
    for d in range(plan.doors):
        for cell in layout.plates[d][layout.plates[d] >= 0].tolist():
            board[:, y[cell], x[cell]] = PLATE, paint[d]
        if layout.locked[d]:
            cell = layout.key[d]
            board[lies[:, d], y[cell], x[cell]] = KEY, paint[d]
    board[:, y[layout.goal], x[layout.goal]] = GOAL, 0
    return board


def _planes(layout: Layout, shown: Shown) -> NDArray[np.uint8]:
    count, n = shown.cells.shape
    out = np.zeros((count, layout.plan.height, layout.plan.width, 4), dtype=np.uint8)
    out[..., :2] = _map(layout, shown.lies, shown.open)
    rows = np.arange(count)
    x, y = layout.cell_xy[shown.cells].transpose(2, 1, 0)
    for i in range(n):
        out[rows, y[i], x[i], 2] |= np.uint8(1 << i)
        out[rows, y[i], x[i], 3] += np.where(shown.mover == i, 1 + i, 0).astype(np.uint8)
        out[rows, y[i], x[i], 3] += np.where(shown.holder == i, 8 * (1 + i), 0).astype(np.uint8)
    return out


def _characters(layout: Layout, shown: Shown) -> list[str]:
    """Agents are digits (* several), keys small letters, doors capitals (/ where one may enter), _ a plate, $ the goal."""
    kinds = _map(layout, shown.lies, shown.open)[..., 0]
    pictures = []
    for s, kind in enumerate(kinds):
        chars = np.array(list(" #.kD/D/_$"))[kind]
        for d in range(layout.plan.doors):
            letter = _NAMES[layout.colour[d]][0]
            for cell, there, mark in (
                (layout.door[d], not shown.open[s, d], letter.upper()),
                (layout.key[d], bool(shown.lies[s, d]), letter),
            ):
                if there:
                    chars[layout.cell_xy[cell][1], layout.cell_xy[cell][0]] = mark
        cells, count = np.unique(shown.cells[s], return_counts=True)
        for cell, several in zip(cells.tolist(), (count > 1).tolist(), strict=True):
            x, y = layout.cell_xy[cell]
            chars[y, x] = "*" if several else str(1 + int(np.argmax(shown.cells[s] == cell)))
        holder = int(shown.holder[s])
        words = f"agent {shown.mover[s] + 1} to move" if shown.mover[s] >= 0 else "over"
        words += f", agent {holder + 1} has a key" if holder >= 0 else ""
        pictures.append("\n".join(["".join(row) for row in chars] + [words]))
    return pictures


def _sentences(layout: Layout, shown: Shown) -> list[str]:
    return [_sentence(layout, shown, s) for s in range(len(shown.mover))]


def _sentence(layout: Layout, shown: Shown, s: int) -> str:
    """Names everything that can matter: enough to tell any two shown states apart."""
    plan, mover, holder = layout.plan, int(shown.mover[s]), int(shown.holder[s])
    cells = shown.cells[s].tolist()

    def at(cell: int) -> str:
        x, y = layout.cell_xy[cell].tolist()
        return f"at column {x}, row {y}"

    def place(cell: int) -> str:
        room, inside = divmod(cell, plan.stride)
        if cell == layout.goal:
            return f"{at(cell)}, the goal"
        return at(cell) + (
            f", in the doorway to room {room + 2}" if inside == plan.stride - 1 else f", in room {room + 1}"
        )

    def name(agent: int) -> str:
        return f"agent {agent + 1}"

    words = [f"It is agent {mover + 1}'s move." if mover >= 0 else "The episode is over."]
    words += [f"Agent {i + 1} is {place(cell)}." for i, cell in enumerate(cells)]
    for d in range(plan.doors):
        colour = _NAMES[layout.colour[d]]
        door = f"The {colour} door to room {d + 2}, {at(int(layout.door[d]))},"
        if not layout.locked[d]:
            near, far = layout.plates[d].tolist()
            by = [name(i) for i, cell in enumerate(cells) if cell in (near, far)]
            state = f"is held open by {' and '.join(by)}" if by else "is shut"
            words.append(f"{door} {state}; its plates are {at(near)} and {at(far)}.")
        elif shown.open[s, d]:
            words.append(f"{door} is open.")
        elif shown.lies[s, d]:
            words.append(f"{door} is locked; its key lies {at(int(layout.key[d]))}.")
        else:
            words.append(f"{door} is locked; {name(holder)} has its key.")
    return " ".join([*words, f"The goal is {at(layout.goal)}."])


def _pictures(layout: Layout, shown: Shown) -> NDArray[np.uint8]:
    plan, tile = layout.plan, team_tiles.tile_size(layout.plan.width)
    out = np.zeros((len(shown.mover), plan.height * tile, plan.width * tile, 3), dtype=np.uint8)
    maps = _map(layout, shown.lies, shown.open)
    drawn: dict[bytes, tiles.Picture] = {}
    for s, board in enumerate(maps):
        key = board.tobytes()
        if key not in drawn:
            drawn[key] = _backdrop(layout, board, tile)
        picture = drawn[key].copy()
        cells, holder = shown.cells[s], int(shown.holder[s])
        colour = _held_colour(layout, shown, s) if holder >= 0 else None
        for cell in np.unique(cells).tolist():
            here = np.flatnonzero(cells == cell).tolist()
            x, y = layout.cell_xy[cell].tolist()
            for slot, i in enumerate(here):
                badge = colour if i == holder else None
                look = team_tiles.agent(tile, i, slot, len(here), i == int(shown.mover[s]), badge)
                tiles.stamp(picture, look, y, x)
        out[s] = tiles.finish(picture)
    return out


def _held_colour(layout: Layout, shown: Shown, s: int) -> tiles.Colour:
    """Colour of the key in hand: of the first locked door that is neither open nor has its key on the floor."""
    missing = layout.locked & ~shown.open[s] & ~shown.lies[s]
    return _PAINTS[layout.colour[int(np.argmax(missing))]]


def _backdrop(layout: Layout, board: AnyArray, tile: int) -> tiles.Picture:
    """Draws the map without the agents."""
    kind, colour = board[..., 0], board[..., 1]
    picture = tiles.canvas(layout.plan.height, layout.plan.width, tile, tiles.PAGE)
    x, y = layout.cell_xy.T
    tiles.stamp(picture, tiles.wall(tile), *np.nonzero(kind == WALL))
    tiles.stamp(picture, tiles.floor(tile), y, x)
    for c, paint in enumerate(_PAINTS, start=1):
        looks = {
            KEY: tiles.key(tile, paint),
            LOCKED: tiles.door(tile, paint, False),
            UNLOCKED: tiles.door(tile, paint, True),
            SHUT: team_tiles.gate(tile, paint, False),
            HELD: team_tiles.gate(tile, paint, True),
            PLATE: team_tiles.plate(tile, paint),
        }
        for what, look in looks.items():
            tiles.stamp(picture, look, *np.nonzero((kind == what) & (colour == c)))
    tiles.stamp(picture, tiles.goal(tile), *np.nonzero(kind == GOAL))
    return picture
