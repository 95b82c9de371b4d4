"""The product of a table with a memory: states (s, m), where m is rewritten by every outcome. Delay and density use it.

Built by breadth-first search, one vectorised level per step of play, so that only pairs that play can reach exist.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from credit_envs.arrays import AnyArray, Ints, ragged_ranges
from credit_envs.errors import CreditEnvsError
from credit_envs.table.build import lift
from credit_envs.table.mdp import TabularMDP

MAX_STATES = 1_000_000
"""States that a dial may build before it gives up."""

FIXED_HORIZON = "fixed_horizon"
"""Entry of ``knobs`` of tables that are not defined past their horizon."""


@dataclass(frozen=True, eq=False)
class Product:
    """A table multiplied by a memory.

    Attributes:
        table: dynamics, looks and labels of the product; rewards are those of the original outcomes.
        memory: int64 ``[S']``, memory key of each state.
        held: int64 ``[O']``, memory key of the state in which each outcome is drawn.
    """

    table: TabularMDP
    memory: Ints
    held: Ints


class _Register:
    """Numbers distinct int64 keys in the order in which they come."""

    def __init__(self) -> None:
        self._sorted = np.zeros(0, dtype=np.int64)
        self._number = np.zeros(0, dtype=np.int64)
        self._parts: list[Ints] = []

    def __len__(self) -> int:
        return self._sorted.size

    def add(self, keys: AnyArray) -> Ints:
        """Returns the numbers of keys ``[n]``; new ones are numbered by size after all known ones."""
        wanted, back = np.unique(keys, return_inverse=True)
        place = np.searchsorted(self._sorted, wanted)
        known = np.zeros(wanted.size, dtype=bool)
        inside = place < len(self)
        known[inside] = self._sorted[place[inside]] == wanted[inside]
        number = np.empty(wanted.size, dtype=np.int64)
        number[known] = self._number[place[known]]
        number[~known] = np.arange(wanted.size - int(known.sum())) + len(self)
        if not known.all():
            self._parts.append(wanted[~known])
            self._number = np.insert(self._number, place[~known], number[~known])
            self._sorted = np.insert(self._sorted, place[~known], wanted[~known])
        return number[back]

    def keys(self) -> Ints:
        """Returns the keys by number."""
        self._parts = [np.concatenate(self._parts)] if len(self._parts) > 1 else self._parts
        return self._parts[0]


def with_memory(
    table: TabularMDP, first: int, advance: Callable[[Ints, Ints], AnyArray], request: str, max_states: int
) -> Product:
    """Multiplies a table by a memory that starts at ``first`` and becomes ``advance(memory [n], outcome [n])``.

    Args:
        table: the table.
        first: memory key of the starts.
        advance: rewrites memory keys int64 ``[n]`` by the outcomes int64 ``[n]`` that were drawn.
        request: the dial as the user wrote it, for the error.
        max_states: largest number of states to build.

    Raises:
        CreditEnvsError: if more than ``max_states`` states are reached.
    """
    memories, pairs = _Register(), _Register()
    size = table.n_states

    def number(memory: AnyArray, state: AnyArray) -> Ints:
        return pairs.add(memories.add(memory) * size + state)

    start = number(np.full(table.n_contexts, first), table.start_state)
    possible = table.probability > 0
    rows: list[tuple[AnyArray, ...]] = []
    known, levels = 0, 0
    while known < len(pairs) and levels < table.horizon:
        levels += 1
        here = pairs.keys()[known:]
        known = len(pairs)
        state, memory = here % size, memories.keys()[here // size]
        n_edges = table.n_admissible[state]
        edge = ragged_ranges(table.edge_start[state], n_edges)
        count = np.diff(table.outcome_start)[edge]
        outcome = ragged_ranges(table.outcome_start[edge], count)
        owner = np.repeat(np.arange(edge.size), count)
        outcome, owner = outcome[possible[outcome]], owner[possible[outcome]]
        held = np.repeat(memory, n_edges)[owner]
        target = np.full(outcome.size, -1)
        goes_on = ~table.terminal[outcome]
        live = outcome[goes_on]
        target[goes_on] = number(advance(held[goes_on], live), table.successor[live])
        rows.append((n_edges, edge, np.bincount(owner, minlength=edge.size), outcome, held, target))
        if len(pairs) > max_states:
            raise CreditEnvsError(
                f"{request}: {len(pairs)} states after {levels} steps, more than max_states={max_states}; "
                f"ask for less, shorten the horizon, or raise max_states"
            )
    # Pairs met first at the cut-off wait in place: no play takes a step in them.
    waiting = np.arange(known, len(pairs))
    stay = pairs.keys()[waiting] % size
    n_stay = table.n_admissible[stay]
    where = np.repeat(waiting, n_stay)
    idle = np.full(where.size, -1)
    rows.append(
        (n_stay, ragged_ranges(table.edge_start[stay], n_stay), np.ones(where.size, int), idle, idle * 0, where)
    )
    n_edges, edge, count, outcome, held, target = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    # What a terminal outcome leads to needs no memory and, unless play comes there otherwise, no actions.
    ends = target < 0
    target[ends] = number(np.full(int(ends.sum()), first), table.successor[outcome[ends]])
    codes = pairs.keys()
    n_edges = np.concatenate((n_edges, np.zeros(codes.size - n_edges.size, dtype=np.int64)))
    drawn = outcome >= 0
    product = lift(
        table,
        codes % size,
        edge_start=np.concatenate(([0], np.cumsum(n_edges))),
        edge_action=table.edge_action[edge],
        outcome_start=np.concatenate(([0], np.cumsum(count))),
        successor=target,
        probability=np.where(drawn, table.probability[outcome], 1.0),
        reward=np.where(drawn, table.reward[outcome], 0.0),
        terminal=drawn & table.terminal[outcome],
        start_state=start,
        knobs={**table.knobs, FIXED_HORIZON: True} if waiting.size else table.knobs,
        allow_unreachable=False,
    )
    return Product(product, memories.keys()[codes // size], held)


def pays_before_the_end(table: TabularMDP) -> bool:
    """Whether any step but the last of an episode can pay something."""
    early = (table.probability > 0) & ~table.terminal & (table.reward != 0)
    return bool(early.any()) or (table.reward_shift is not None and bool(np.any(table.reward_shift)))


def repay(product: Product, reward: AnyArray, owed: AnyArray) -> TabularMDP:
    """Returns the product's table with other rewards.

    Args:
        product: the product.
        reward: float ``[O']``.
        owed: float ``[S']``, what a state still owes when the cut-off comes there.
    """
    cutoff: Any = product.table.cutoff_reward
    return product.table.replace(reward=reward, cutoff_reward=owed if cutoff is None else cutoff + owed)
