"""From a Team layout to its table: all joint placements at once, of which those are kept that play can reach.

A placement is ``progress · Cⁿ + cells``, the agents' cells being the digits; a state is a placement and a mover. Where
agents move at once, a state also knows the placement at the start of the round, and looks like it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from credit_envs.arrays import AnyArray, Bools, Int32s, Ints, frozen
from credit_envs.errors import CreditEnvsError
from credit_envs.families.rooms import neighbours
from credit_envs.families.team_layout import Layout, Plan, cells_of, held, opened, progress_of
from credit_envs.families.team_views import views
from credit_envs.table.emission import Emission
from credit_envs.table.mdp import TabularMDP

MOST_PLACEMENTS = 1 << 18
ACTIONS = ("up", "down", "left", "right", "use", "stay")
USE, STAY = 4, 5


class Moves(NamedTuple):
    """What every action does in every placement, for each mover.

    Attributes:
        to: int32 ``[n, placements, 6]``, placement after the action.
        over: bool ``[placements]``, whether the episode is over.
    """

    to: AnyArray
    over: Bools


@dataclass(frozen=True, eq=False)
class States:
    """The states of a table.

    Attributes:
        now: int64 ``[S]``, placement.
        seen: int64 ``[S]``, placement that the mover sees.
        mover: int64 ``[S]``, whose move it is (0 where the episode is over).
        playing: bool ``[S]``, whether the episode goes on.
        to: int64 ``[playing states, 6]``, state after each action.
    """

    now: Ints
    seen: Ints
    mover: Ints
    playing: Bools
    to: Ints


def make_moves(layout: Layout, everyone: bool) -> Moves:
    """Plays every action in every placement.

    Raises:
        CreditEnvsError: if there are more than 2**18 placements.
    """
    plan = layout.plan
    n, size, total = plan.agents, plan.cells, plan.progresses * plan.cells**plan.agents
    if total > MOST_PLACEMENTS:
        sizes = f"agents={n}, plates={plan.plates}, keys={plan.keys}, room_size={plan.room_size}"
        raise CreditEnvsError(f"{sizes}: {total} placements, expected at most {MOST_PLACEMENTS}; lower one of them")
    placement = np.arange(total)
    cells, progress = cells_of(plan, placement), progress_of(plan, placement)
    home = cells == layout.goal
    over = home.all(axis=1) if everyone else home.any(axis=1)
    passable = np.column_stack((opened(layout, progress) | held(layout, cells), np.ones(total, dtype=bool)))
    door = np.full(size, plan.doors)
    door[layout.door] = np.arange(plan.doors)
    beside = neighbours(layout.cell_xy, layout.plan.width, layout.plan.height)

    # The next key and its door; the last entry stands for no door.
    locked = np.flatnonzero(layout.locked)
    stage, holder = np.divmod(progress, n + 1)
    key, before = (np.append(cell[locked], -1)[stage] for cell in (layout.key, layout.before))

    to = np.empty((n, total, 6), dtype=np.int32)
    for i in range(n):
        at, power = cells[:, i], size ** (n - 1 - i)
        for direction in range(4):
            target = beside[at, direction]
            free = passable[placement, door[target]] & ~home[:, i]
            to[i, :, direction] = placement + np.where(free, (target - at) * power, 0)
        takes, unlocks = (holder == 0) & (at == key), (holder == i + 1) & (at == before)
        to[i, :, USE] = placement + (takes * (i + 1) + unlocks * (n - i)) * size**n
        to[i, :, STAY] = placement
    return Moves(to[:, :, layout.meaning], over)


def states_in_turn(plan: Plan, moves: Moves, start: int) -> States:
    """Numbers the states that can be reached when every agent sees the moves before its own."""
    n, total = plan.agents, len(moves.over)
    reached = np.zeros((n, total), dtype=bool)
    frontier, mover = np.array([start]), 0
    reached[0, start] = True
    while frontier.size:
        after = np.unique(moves.to[mover, frontier[~moves.over[frontier]]])
        mover = (mover + 1) % n
        frontier = after[~reached[mover, after]]
        reached[mover, frontier] = True
    # Where the episode is over nobody is to move: one state per placement.
    reached[0, moves.over], reached[1:, moves.over] = reached[:, moves.over].any(axis=0), False
    now, mover_of = np.nonzero(reached.T)
    number = np.full((n, total), -1, dtype=np.int64)
    number[mover_of, now] = np.arange(now.size)
    number[:, moves.over] = number[0, moves.over]
    playing = ~moves.over[now]
    here, by = now[playing], mover_of[playing]
    to = number[((by + 1) % n)[:, None], moves.to[by, here]]
    return States(now, now, mover_of, playing, to)


def states_at_once(plan: Plan, moves: Moves, start: int) -> States:
    """Numbers the states that can be reached when the moves of a round are hidden until it ends."""
    n, total = plan.agents, len(moves.over)
    turns = states_in_turn(plan, moves, start)
    # A state is the pair (placement seen, placement now) and its mover; a round begins where both are equal.
    begun = turns.now[(turns.mover == 0) & turns.playing]
    layers = [begun * total + begun]
    for i in range(n - 1):
        seen, now = np.divmod(layers[i], total)
        after, seen = moves.to[i, now], seen[:, None]
        layers.append(np.unique((seen * total + after)[~moves.over[after]]))
    ended = np.unique(turns.now[~turns.playing])
    layers.append(ended * total + ended)
    offset = np.cumsum([0, *(layer.size for layer in layers)])
    to = []
    for i in range(n):
        seen, now = np.divmod(layers[i], total)
        after = moves.to[i, now].astype(np.int64)
        seen = seen[:, None] if i + 1 < n else after
        onward = np.searchsorted(layers[(i + 1) % n], seen * total + after) + offset[(i + 1) % n]
        to.append(np.where(moves.over[after], np.searchsorted(ended, after) + offset[n], onward))
    seen, now = np.divmod(np.concatenate(layers), total)
    mover = np.repeat(np.append(np.arange(n), 0), np.diff(offset))
    return States(now, seen, mover, ~moves.over[now], np.concatenate(to))


def make_table(
    layout: Layout, *, everyone: bool, at_once: bool, horizon: int, named: bool, knobs: dict[str, Any]
) -> TabularMDP:
    """Builds the table of a layout.

    Not validated: it is right by construction, which the tests check on many instances.

    Args:
        layout: the instance.
        everyone: whether all agents must reach the goal.
        at_once: whether the moves of a round are hidden until it ends.
        horizon: steps after which the episode ends.
        named: whether the actions show their names.
        knobs: the table's knobs.
    """
    plan, moves = layout.plan, make_moves(layout, everyone)
    start = int(layout.start @ plan.cells ** np.arange(plan.agents - 1, -1, -1))
    states = (states_at_once if at_once else states_in_turn)(plan, moves, start)
    count, n_edges = len(states.now), states.to.size
    done = ~states.playing[states.to.ravel()]
    look = states.seen * (plan.agents + 1) + np.where(states.playing, states.mover, plan.agents)
    cells, progress = cells_of(plan, states.now), progress_of(plan, states.now)
    return TabularMDP(
        name="Team",
        n_actions=6,
        edge_start=np.concatenate(([0], np.cumsum(6 * states.playing))),
        edge_action=np.tile(np.arange(6, dtype=np.int32), len(states.to)),
        outcome_start=np.arange(n_edges + 1),
        successor=states.to.ravel().astype(np.int32),
        probability=np.ones(n_edges),
        reward=done.astype(np.float64),
        terminal=done,
        start_state=np.flatnonzero((states.seen == start) & (states.mover == 0)),
        start_probability=np.ones(1),
        horizon=horizon,
        action_names=tuple(ACTIONS[m] for m in layout.meaning) if named else (),
        emission=Emission(_by_first(look) if at_once else np.arange(count, dtype=np.int32)),
        labels={
            "turn": states.mover,
            "segment": subgoals(layout, cells, progress, everyone),
            "anchor": np.arange(count),
            "mover": states.mover,
            "default": np.full(count, int(np.flatnonzero(layout.meaning == STAY)[0])),
            "progress": progress,
            **{f"cell_{i}": cells[:, i] for i in range(plan.agents)},
        },
        views=views(layout, frozen(states.seen), frozen(states.mover), frozen(states.playing)),
        knobs=knobs,
        validated=False,
    )


def subgoals(layout: Layout, cells: Ints, progress: Ints, everyone: bool) -> Ints:
    """Counts the subgoals that a placement has reached, int64 ``[S]``.

    They are: a key is in hand, its door is open; an agent is through a door with plates, all agents are (if everyone
    must reach the goal); an agent is at the goal.
    """
    stage, holder = np.divmod(progress, layout.plan.agents + 1)
    rooms, gates = cells // layout.plan.stride, np.flatnonzero(~layout.locked)
    through = (rooms.max(axis=1)[:, None] > gates).sum(axis=1)
    if everyone:
        through += (rooms.min(axis=1)[:, None] > gates).sum(axis=1)
    return np.asarray(2 * stage + (holder > 0) + through + (cells == layout.goal).sum(axis=1), dtype=np.int64)


def _by_first(key: Ints) -> Int32s:
    """Numbers equal keys alike, in the order of their first occurrence."""
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    rank = np.empty(first.size, dtype=np.int32)
    rank[np.argsort(first)] = np.arange(first.size, dtype=np.int32)
    return np.asarray(rank[inverse], dtype=np.int32)
