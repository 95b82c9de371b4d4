"""Where everything of a spelled table is: the trie of all commands, and its part in each state.

All action names make one trie. A cell is a pair (state, node) that some admissible command of the state passes, so the
cells of a state are its own trie; everything is worked out on cells at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from credit_envs.arrays import Bools, Ints, ragged_ranges
from credit_envs.dials.memory import FIXED_HORIZON
from credit_envs.errors import CreditEnvsError
from credit_envs.table.mdp import TabularMDP

END, PAD = "<end>", "<pad>"


class Trie(NamedTuple):
    """All action names as one trie; node 0 says nothing.

    Attributes:
        vocabulary: the words, then the special ones.
        node: int64 ``[A, longest + 1]``, node after k words of each name (the last one repeats).
        length: int64 ``[A]``, words of each name.
        parent: int64 ``[N]``.
        word: int64 ``[N]``, last word of each node.
        depth: int64 ``[N]``, number of words.
        longest: tokens of the longest command, ``<end>`` included.
    """

    vocabulary: tuple[str, ...]
    node: Ints
    length: Ints
    parent: Ints
    word: Ints
    depth: Ints
    longest: int


def make_trie(names: tuple[str, ...], pad: bool) -> Trie:
    """Makes one trie of all action names; it depends on the names alone, so instances of a family share it.

    Raises:
        CreditEnvsError: if a name has no words, or one of the special words.
    """
    commands = [name.split() for name in names]
    for a, words in enumerate(commands):
        if not words or {END, PAD} & set(words):
            raise CreditEnvsError(f"action_names[{a}]={names[a]!r}: expected words, none of them {END} or {PAD}")
    said = {tuple(words[:k]) for words in commands for k in range(len(words))}
    begins = [tuple(words) in said for words in commands]
    words = sorted({word for words in commands for word in words})
    number = {word: i for i, word in enumerate(words)}
    longest = max(len(words) + begin for words, begin in zip(commands, begins, strict=True))
    nodes: dict[tuple[int, str], int] = {}
    node = np.zeros((len(names), longest + 1), dtype=np.int64)
    for a, command in enumerate(commands):
        here = 0
        for k, word in enumerate(command, start=1):
            here = nodes.setdefault((here, word), len(nodes) + 1)
            node[a, k:] = here
    parent = np.array([0, *(up for up, _ in nodes)])
    depth = np.zeros(parent.size, dtype=np.int64)
    for i in range(1, parent.size):
        depth[i] = depth[parent[i]] + 1
    return Trie(
        vocabulary=(*words, *([END] if any(begins) else []), *([PAD] if pad else [])),
        node=node,
        length=np.array([len(command) for command in commands]),
        parent=parent,
        word=np.array([0, *(number[word] for _, word in nodes)]),
        depth=depth,
        longest=longest,
    )


@dataclass(frozen=True, eq=False)
class Layout:
    """Numbers of states, tokens as edges between them, and which cells they belong to.

    Attributes:
        origin: int64 ``[S']``, state of the table; for pads, the one that comes next.
        prefix: int64 ``[S']``, node, or N + pads still to come − 1.
        moves: state, word, target of the tokens that only move.
        runs: state, word, edge of the tokens that execute a command.
        spare: int64 ``[R]``, pads after each run.
        pads: int64 ``[S]``, most pads before a turn that starts in each state.
        pad_start: int64 ``[S]``, number of the state with one pad to come.
        cell: int64 ``[X]``, cells that edges pass.
        passing: int64 ``[X]``, the edges that pass them.
        move_cell: int64 ``[M]``, cell that a move leads to; −1 for pads.
        run_cell: int64 ``[R]``, cell in which a run's command is complete.
        ends: bool ``[R]``, whether a run says ``<end>``.
    """

    origin: Ints
    prefix: Ints
    moves: tuple[Ints, Ints, Ints]
    runs: tuple[Ints, Ints, Ints]
    spare: Ints
    pads: Ints
    pad_start: Ints
    cell: Ints
    passing: Ints
    move_cell: Ints
    run_cell: Ints
    ends: Bools


def lay_out(table: TabularMDP, pad: bool, max_states: int) -> tuple[Trie, Layout]:
    """Lays a spelled table out; states in which no play takes a step have no commands."""
    trie = make_trie(table.action_names, pad)
    uneven = np.any(trie.length != trie.longest)
    if uneven and not pad:
        if table.reward_scale is not None or table.reward_shift is not None:
            raise CreditEnvsError(
                f"spell: {table.name} pays by the clock (reward_scale, reward_shift) and its commands differ in length; "
                f"expected spell_pad=True"
            )
        if FIXED_HORIZON in table.knobs:
            raise CreditEnvsError(
                f"spell: delayed reward was worked out for {table.horizon} turns, and commands differ in length; "
                f"expected spell_pad=True"
            )
    size, n_nodes = table.n_states, trie.parent.size
    edges = np.flatnonzero(table.played()[table.edge_state])
    action = table.edge_action[edges]
    length = trie.length[action]
    passing = np.repeat(np.arange(edges.size), length + 1)
    words = ragged_ranges(length * 0, length + 1)
    keys, cell = np.unique(
        table.edge_state[edges][passing] * n_nodes + trie.node[action[passing], words], return_inverse=True
    )
    state, node = keys // n_nodes, keys % n_nodes
    full = words == length[passing]
    command = np.full(keys.size, -1)
    command[cell[full]] = edges[passing[full]]
    _refuse_twins(table, edges, cell[full])
    goes_on = np.zeros(keys.size, dtype=bool)
    goes_on[cell[~full]] = True

    inside = np.flatnonzero(goes_on & (node > 0))
    number = state.copy()
    number[inside] = size + np.arange(inside.size)
    said = np.flatnonzero(node > 0)
    source = number[np.searchsorted(keys, state[said] * n_nodes + trie.parent[node[said]])]
    word, on = trie.word[node[said]], goes_on[said]
    ended = inside[command[inside] >= 0]
    end_word = np.full(ended.size, trie.vocabulary.index(END) if ended.size else 0)
    run_cell = np.concatenate((said[~on], ended))
    ends = np.arange(run_cell.size) >= run_cell.size - ended.size
    runs = (np.concatenate((source[~on], number[ended])), np.concatenate((word[~on], end_word)), command[run_cell])
    spare = (trie.longest - trie.depth[node[run_cell]] - ends) * pad

    pads = _most_pads(table, runs[2], spare)
    pad_start = size + inside.size + np.cumsum(pads) - pads
    waiting, to_come = np.repeat(np.arange(size), pads), ragged_ranges(pads * 0, pads)
    here = size + inside.size + np.arange(waiting.size)
    total = size + inside.size + waiting.size
    if total > max_states:
        raise CreditEnvsError(f"spell: {total} states, more than max_states={max_states}; raise max_states")
    return trie, Layout(
        origin=np.concatenate((np.arange(size), state[inside], waiting)),
        prefix=np.concatenate((np.zeros(size, int), node[inside], n_nodes + to_come)),
        moves=(
            np.concatenate((source[on], here)),
            np.concatenate((word[on], np.full(here.size, len(trie.vocabulary) - 1))),
            np.concatenate((number[said[on]], np.where(to_come == 0, waiting, here - 1))),
        ),
        runs=runs,
        spare=spare,
        pads=pads,
        pad_start=pad_start,
        cell=cell,
        passing=edges[passing],
        move_cell=np.concatenate((said[on], np.full(here.size, -1))),
        run_cell=run_cell,
        ends=ends,
    )


def _refuse_twins(table: TabularMDP, edges: Ints, cell: Ints) -> None:
    """Refuses two commands of one state with the same words; ``cell`` is where each edge's command is complete."""
    order = np.argsort(cell, kind="stable")
    twin = np.flatnonzero(cell[order][1:] == cell[order][:-1])
    if twin.size:
        first, second = edges[order[twin[0]]], edges[order[twin[0] + 1]]
        raise CreditEnvsError(
            f"action_names: actions {table.edge_action[first]} and {table.edge_action[second]} of state "
            f"{table.edge_state[first]} are both {table.action_names[table.edge_action[first]]!r}; expected commands "
            f"that differ in their words"
        )


def _most_pads(table: TabularMDP, edge: Ints, spare: Ints) -> Ints:
    """Returns the most pads that can come before a turn in each state, ``[S]``."""
    pads = np.zeros(table.n_states, dtype=np.int64)
    count = np.diff(table.outcome_start)[edge]
    outcome = ragged_ranges(table.outcome_start[edge], count)
    lands = (table.probability[outcome] > 0) & ~table.terminal[outcome]
    np.maximum.at(pads, table.successor[outcome[lands]], np.repeat(spare, count)[lands])
    return pads
