"""The ``unit`` dial: stretches a table so that one decision takes k steps (the causal unit).

Kinds: ``first`` (the first step decides, the others change nothing), ``all`` (the unit counts only if its k steps name
the same action) and ``parity`` (the ranks of the k named actions, added modulo the number of admissible actions, give
the action's rank). The step inside the unit and what is remembered of it show in the observation and in words; planes
stay as they are.
"""

from __future__ import annotations

import numpy as np

from credit_envs.arrays import AnyArray, Ints, ragged_ranges
from credit_envs.dials.memory import MAX_STATES
from credit_envs.errors import CreditEnvsError, check_range, unknown
from credit_envs.table.build import lift, prune
from credit_envs.table.emission import Emission
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.view import View

KINDS = ("first", "all", "parity")


def unit(table: TabularMDP, steps: int, unit_kind: str = "first", max_states: int = MAX_STATES) -> TabularMDP:
    """Makes each decision take several steps; horizon and reward factors stretch with it.

    With ``first`` the decision is executed, and paid, at the unit's first step; a terminal outcome ends the episode
    there. Otherwise it is executed at the last one, and a unit that does not count leaves the state as it is and pays
    nothing. An inadmissible action leaves the unit where it is. A discount below 1 then acts per step.

    Args:
        table: the table.
        steps: k ≥ 1; 1 leaves the table as it is.
        unit_kind: ``first``, ``all`` or ``parity``.
        max_states: largest number of states to build.

    Returns:
        The stretched table; its label ``turn`` is the position inside the unit (0: a unit begins).

    Raises:
        CreditEnvsError: if an argument is out of range, the table grows too large, or a reward per step cannot stretch.
    """
    check_range("unit", steps, 1, 1 << 16, integer=True)
    if unit_kind not in KINDS:
        raise unknown("unit_kind", unit_kind, KINDS)
    k = int(steps)
    if k == 1:
        return table
    n = table.n_admissible
    slots = {"first": np.ones_like(n), "all": n + 1, "parity": n}[unit_kind]
    slot = np.concatenate(([0], np.cumsum(slots)))
    size, width = table.n_states, int(slot[-1])
    total = size + (k - 1) * width
    if total > max_states:
        raise CreditEnvsError(
            f"unit={k}: {total} states, more than max_states={max_states}; lower unit or raise max_states"
        )
    shift = _stretched_shift(table, k, 0 if unit_kind == "first" else k - 1)

    # State numbers: the S states in which units begin, then one block of remembered slots per further step.
    origin = np.concatenate((np.arange(size), np.tile(np.repeat(np.arange(size), slots), k - 1)))
    memory = np.concatenate((np.zeros(size, int), np.tile(np.arange(width) - np.repeat(slot[:-1], slots), k - 1)))
    phase = np.concatenate((np.zeros(size, int), np.repeat(np.arange(1, k), width)))

    owner = np.repeat(np.arange(total), n[origin])
    edge = ragged_ranges(table.edge_start[origin], n[origin])
    state, at, count = origin[owner], phase[owner], n[origin][owner]
    rank = edge - table.edge_start[state]
    if unit_kind == "first":
        kept, effective = rank * 0, edge
    elif unit_kind == "all":
        kept = np.where((at == 0) | (memory[owner] == rank), rank, count)
        effective = table.edge_start[state] + np.minimum(kept, count - 1)
    else:
        kept = (memory[owner] + rank) % count
        effective = table.edge_start[state] + kept
    executes = (at == (0 if unit_kind == "first" else k - 1)) & (kept < count)
    moves_to = np.where(at + 1 < k, size + at * width + slot[state] + kept, state)

    n_outcomes = np.where(executes, np.diff(table.outcome_start)[effective], 1)
    source = ragged_ranges(np.where(executes, table.outcome_start[effective], 0), n_outcomes)
    of = np.repeat(np.arange(edge.size), n_outcomes)
    drawn = executes[of]
    ends = drawn & table.terminal[source]
    lands = table.successor[source].astype(np.int64)
    if unit_kind == "first":
        lands = np.where(ends, lands, size + lands)
    stretched = lift(
        table,
        origin,
        name=table.name,
        edge_start=np.concatenate(([0], np.cumsum(n[origin]))),
        edge_action=table.edge_action[edge],
        outcome_start=np.concatenate(([0], np.cumsum(n_outcomes))),
        successor=np.where(drawn, lands, moves_to[of]),
        probability=np.where(drawn, table.probability[source], 1.0),
        reward=np.where(drawn, table.reward[source], 0.0),
        terminal=ends,
        horizon=table.horizon * k,
        reward_scale=None if table.reward_scale is None else np.repeat(table.reward_scale, k),
        reward_shift=shift,
        labels={**{name: values[origin] for name, values in table.labels.items()}, "turn": phase},
        allow_unreachable=True,
    )
    shown = _shown_memory(table, unit_kind, origin, memory, phase)
    look = (table.emission.base[origin].astype(np.int64) * k + phase) * (table.n_actions + 1) + shown
    base = np.unique(look, return_inverse=True)[1].astype(np.int32)
    text = stretched.view("text")
    views = {**stretched.views, "text": _with_steps(text, table, k, unit_kind, phase, shown)}
    return prune(stretched.replace(emission=Emission(base, table.emission.layers), views=views))[0]


def _stretched_shift(table: TabularMDP, k: int, executed: int) -> AnyArray | None:
    """Pays the reward of each step at the step that executes the decision."""
    if table.reward_shift is None:
        return None
    playing = table.n_admissible > 0
    if np.any(table.n_admissible[playing] < table.n_actions):
        raise CreditEnvsError(
            f"unit={k}: {table.name} pays by the clock (reward_shift) and has inadmissible actions, which move the "
            f"clock but not the unit; expected every action to be admissible"
        )
    shift = np.zeros(table.horizon * k)
    shift[executed::k] = table.reward_shift
    return shift


def _shown_memory(table: TabularMDP, kind: str, origin: Ints, memory: Ints, phase: Ints) -> Ints:
    """What the observation tells of a unit: the action named so far (n_actions: mixed), or the sum so far."""
    if kind != "all":
        return memory
    edge = np.minimum(table.edge_start[origin] + memory, max(table.n_edges - 1, 0))
    action = np.where(memory < table.n_admissible[origin], table.edge_action[edge], table.n_actions)
    return np.where(phase == 0, 0, action)


def _with_steps(text: View, table: TabularMDP, k: int, kind: str, phase: Ints, shown: Ints) -> View:
    names = [*table.action_names, "mixed"]

    def told(states: AnyArray, rows: list[str]) -> list[str]:
        words = []
        for row, step, memory in zip(rows, phase[states].tolist(), shown[states].tolist(), strict=True):
            so_far = {"first": "", "all": f"; so far {names[memory]}", "parity": f"; sum so far {memory}"}[kind]
            words.append(f"{row} (step {step + 1} of {k}{so_far if step else ''})")
        return words

    return text.reworded(text.space, told)


def unit_length(table: TabularMDP) -> int:
    """Returns the number of steps per unit as the labels tell it (1 without a ``turn`` label).

    Where steps are split into sub-steps (plan, spell), the label ``unit_step`` keeps the position inside the unit.
    """
    position = table.labels.get("unit_step", table.labels.get("turn"))
    return 1 if position is None else int(position.max()) + 1
