"""The plan of a Gallery instance: how long its corridors and side rooms are, what is called what, and the state numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from credit_envs.arrays import AnyArray, Floats, Ints, frozen, ragged_ranges
from credit_envs.families.family import below, instance_draws

HALL, JUNCTION, SEARCH, SIDE, OVER = range(5)
"""Kinds of places: corridor, junction with the sign in view, junction without, side room, end of the visit."""

EXITS = {
    2: ("left", "right"),
    3: ("left", "ahead", "right"),
    4: ("left", "ahead left", "ahead right", "right"),
}
"""Names of the exits, by their number."""

WINGS = ("Amber", "Blue", "Cedar", "Dutch", "Ebony", "Flora", "Garden", "Harbour")
EXHIBITS = ("golden mask", "marble lion", "silver ship", "jade dragon", "bronze horse", "crystal swan")


@dataclass(frozen=True, eq=False)
class Layout:
    """One instance; J junctions, S states.

    Attributes:
        seed: its instance seed.
        exits: exits of each junction.
        frames: frames of each junction.
        wrong: what a wrong exit does.
        right: int64 ``[J]``, rank of the right exit among the executed actions.
        first: int64 ``[J + 1]``, state in which one comes to each junction's corridor; the last is the goal.
        sign: int64 ``[J]``, state at each junction with the sign in view.
        side: int64 ``[J]``, first state of each side room (unused where there is none).
        junction: int64 ``[S]``, the junction that each state belongs to; J at the end.
        kind: int64 ``[S]``.
        left: int64 ``[S]``, steps to walk, or looks until the sign is in view.
        goal: the state at the exhibit; outside is the next one, where there is an outside.
        wing: number 0 … 7 of the wing's name and colour.
        exhibit: number 0 … 5 of the exhibit.
        paintings: int64 ``[J, 2]``, numbers 0 … 5 of the colours of the paintings at each junction.
    """

    seed: int
    exits: int
    frames: int
    wrong: str
    right: Ints
    first: Ints
    sign: Ints
    side: Ints
    junction: Ints
    kind: Ints
    left: Ints
    goal: int
    wing: int
    exhibit: int
    paintings: Ints

    @property
    def junctions(self) -> int:
        """Number of junctions J."""
        return len(self.sign)

    def arrival(self, to: AnyArray) -> tuple[Ints, Ints, Floats]:
        """Returns where one is after coming to places int ``[n]``; at junctions the frame in view is drawn.

        Returns:
            Row in ``to``, state and probability of each possibility, each ``[m]``.
        """
        count = np.where(self.kind[to] == JUNCTION, self.frames, 1)
        row = np.repeat(np.arange(len(to)), count)
        return row, ragged_ranges(to, count), 1 / count[row]


def make_layout(
    instance_seed: int, junctions: int, exits: int, frames: int, wrong: str, passage: int, hall: int
) -> Layout:
    """Draws one instance."""
    draw = instance_draws("Gallery", instance_seed, 2 + 5 * junctions)
    right, halls, sides, *colours = draw[2:].reshape(5, junctions)
    n_hall = below(halls, hall + 1)
    n_side = 1 + below(sides, passage) if wrong in ("dead_end", "detour") else np.zeros(junctions, dtype=np.int64)

    counts = np.stack((n_hall, np.ones_like(n_hall), np.full_like(n_hall, frames - 1), n_side), axis=1)
    ends = np.cumsum(counts).reshape(junctions, 4)
    starts = ends - counts
    goal = int(ends[-1, -1])
    n_over = 2 if wrong == "out" else 1
    kind = np.concatenate((np.repeat(np.tile(np.arange(4), junctions), counts.ravel()), np.full(n_over, OVER)))
    junction = np.concatenate((np.repeat(np.arange(junctions), counts.sum(axis=1)), np.full(n_over, junctions)))
    block = np.minimum(junction, junctions - 1)
    column = np.minimum(kind, SIDE)
    inside = np.arange(kind.size) - starts[block, column]
    left = np.select([kind == SEARCH, (kind == HALL) | (kind == SIDE)], [inside + 1, counts[block, column] - inside], 0)
    return Layout(
        seed=instance_seed,
        exits=exits,
        frames=frames,
        wrong=wrong,
        right=below(right, exits),
        first=np.append(starts[:, 0], goal),
        sign=starts[:, 1],
        side=starts[:, 3],
        junction=frozen(junction),
        kind=frozen(kind),
        left=frozen(left),
        goal=goal,
        wing=int(below(draw[0], len(WINGS))),
        exhibit=int(below(draw[1], len(EXHIBITS))),
        paintings=np.stack([below(colour, 6) for colour in colours], axis=1),
    )
