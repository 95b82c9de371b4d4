"""The ``plan`` dial: at every step the policy also says keep or switch, and names a subgoal, without any effect.

A step becomes three sub-steps, the fields: ``keep`` or ``switch``; a subgoal symbol, any one after ``switch`` and only
the current one after ``keep``; then the action. Every step takes exactly three, so H steps are 3·H sub-steps. The first
step must switch, because there is no symbol yet. Only the action touches the task: what a plan is worth is decided by
how the policy uses it, and the true subgoal boundaries stand beside it as labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from credit_envs.arrays import AnyArray, Floats, Ints, ragged_ranges
from credit_envs.dials.memory import MAX_STATES
from credit_envs.dials.substeps import Moves, Runs, refined, splittable, with_substeps
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.oracle.evaluation import occupancy, playing
from credit_envs.oracle.policy import PolicyLike, as_policy, effective
from credit_envs.table.build import prune
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.view import View, text_space

MAX_SUBGOALS = 64
"""Most subgoal symbols: states grow by three times their number."""

SWITCH, SUBGOAL, ACTION = range(3)
"""Values of the label ``field``."""

FIELDS = 3


def plan(table: TabularMDP, subgoals: int, max_states: int = MAX_STATES) -> TabularMDP:
    """Makes the policy plan aloud with n subgoal symbols.

    The current symbol is part of state and look, which multiplies states by about 3·n + 1; while a new one is being
    chosen, the old one is gone. Horizon and reward factors stretch threefold, and a discount below 1 acts per sub-step.
    An inadmissible action leaves the sub-step where it is and costs one; it moves the clock of reward factors too. A
    layer that renames actions becomes part of the state (:mod:`credit_envs.dials.settle`).

    Args:
        table: the table.
        subgoals: n in [0, 64]; 0 leaves the table as it is.
        max_states: largest number of states to build.

    Returns:
        The table with actions ``keep``, ``switch``, ``subgoal 1`` … ``subgoal n`` after its own. Labels: ``field`` (0
        keep or switch, 1 subgoal, 2 action); ``subgoal``, the symbol in force (0: none); ``boundary``, 1 in field 0 of
        steps whose ``segment`` differs from that of the step before, and of first steps (one hidden bit of memory, 0
        in the other fields); ``turn``, the position inside the turn in sub-steps (0 starts one); ``unit_step``, what it was
        in steps. ``anchor`` tells fields and symbols apart; everything else, ``segment`` included, is inherited.

    Raises:
        CreditEnvsError: if an argument is out of range, the table has a plan already, or grows too large.
    """
    check_range("plan", subgoals, 0, MAX_SUBGOALS, integer=True)
    n = int(subgoals)
    if n == 0:
        return table
    table = splittable(table, "plan", ("field", "subgoal", "boundary"), max_states)
    layout = _lay_out(table, n, max_states)
    edges_of = table.n_admissible[layout.actor]
    edge = ragged_ranges(table.edge_start[layout.actor], edges_of)
    owner = np.repeat(np.arange(layout.actor.size), edges_of)
    first_action = layout.origin.size - layout.actor.size

    def landing(run: Ints, outcome: Ints) -> AnyArray:
        pair = np.searchsorted(layout.pairs, _entered(table, outcome))
        return layout.starts.size + pair * n + owner[run] % n

    origin, shown = layout.origin, layout.field * (n + 1) + layout.subgoal
    turn = table.labels["turn"][origin] if "turn" in table.labels else origin * 0
    planned = with_substeps(
        table,
        origin,
        _moves(table, n, layout),
        Runs(first_action + owner, table.edge_action[edge], edge),
        landing,
        n_actions=table.n_actions + 2 + n,
        action_names=(*table.action_names, "keep", "switch", *(f"subgoal {i + 1}" for i in range(n))),
        shown=shown,
        start_state=np.searchsorted(layout.starts, table.start_state),
        horizon=table.horizon * FIELDS,
        reward_scale=None if table.reward_scale is None else np.repeat(table.reward_scale, FIELDS),
        reward_shift=_with_the_action(table.reward_shift),
        labels={
            **refined(table, origin, shown),
            "turn": turn * FIELDS + layout.field,
            "unit_step": turn,
            "field": layout.field,
            "subgoal": layout.subgoal,
            "boundary": layout.boundary,
        },
        allow_unreachable=True,
    )
    return prune(planned.replace(views={**planned.views, "text": _spoken(planned)}))[0]


@dataclass(frozen=True, eq=False)
class _Layout:
    """Numbers of states, block by block: first steps, further steps by (pair, symbol), subgoals by (state, symbol that
    is kept, 0: any), actions by (state, symbol).

    Attributes:
        starts: int64 ``[C']``, start states.
        pairs: int64 ``[P]``, ``2 · state + boundary`` of further steps.
        actor: int64 ``[states in which play takes a step · n]``, states of the last block.
        origin: int64 ``[S']``.
        field: int64 ``[S']``.
        subgoal: int64 ``[S']``.
        boundary: int64 ``[S']``.
    """

    starts: Ints
    pairs: Ints
    actor: Ints
    origin: Ints
    field: Ints
    subgoal: Ints
    boundary: Ints


def _lay_out(table: TabularMDP, n: int, max_states: int) -> _Layout:
    played = np.flatnonzero(table.played())
    edges = ragged_ranges(table.edge_start[played], table.n_admissible[played])
    outcome = ragged_ranges(table.outcome_start[edges], np.diff(table.outcome_start)[edges])
    starts, pairs = np.unique(table.start_state), np.unique(_entered(table, outcome))
    sizes = (starts.size + pairs.size * n, played.size * (n + 1), played.size * n)
    if sum(sizes) > max_states:
        raise CreditEnvsError(
            f"plan={n}: {sum(sizes)} states, more than max_states={max_states}; lower plan or raise max_states"
        )
    actor, symbols = np.repeat(played, n), np.arange(n + 1)
    boundary = np.concatenate((starts * 0 + 1, np.repeat(pairs % 2, n)))
    return _Layout(
        starts=starts,
        pairs=pairs,
        actor=actor,
        origin=np.concatenate((starts, np.repeat(pairs // 2, n), np.repeat(played, n + 1), actor)),
        field=np.repeat(np.arange(FIELDS), sizes),
        subgoal=np.concatenate(
            (
                starts * 0,
                np.tile(symbols[1:], pairs.size),
                np.tile(symbols, played.size),
                np.tile(symbols[1:], played.size),
            )
        ),
        boundary=np.concatenate((boundary, np.zeros(sizes[1] + sizes[2], dtype=np.int64))),
    )


def _moves(table: TabularMDP, n: int, layout: _Layout) -> Moves:
    """Keep, switch, and the choice of a symbol."""
    keep, switch, symbol_0 = table.n_actions, table.n_actions + 1, table.n_actions + 1
    subgoals = np.flatnonzero(layout.field == SUBGOAL)
    place = np.full(table.n_states, -1)
    place[layout.actor[::n]] = np.arange(subgoals.size // (n + 1))

    asked = np.flatnonzero((layout.field == SWITCH) & (place[layout.origin] >= 0))
    keeping = asked[layout.subgoal[asked] > 0]
    chosen_at = subgoals[0] + place[layout.origin] * (n + 1)

    free, kept = subgoals[:: n + 1], subgoals[layout.subgoal[subgoals] > 0]
    saying = np.concatenate((np.repeat(free, n), kept))
    symbol = np.concatenate((np.tile(np.arange(1, n + 1), free.size), layout.subgoal[kept]))
    acting = subgoals[-1] + 1 + place[layout.origin[saying]] * n + symbol - 1
    return Moves(
        np.concatenate((asked, keeping, saying)),
        np.concatenate((asked * 0 + switch, keeping * 0 + keep, symbol_0 + symbol)),
        np.concatenate((chosen_at[asked], chosen_at[keeping] + layout.subgoal[keeping], acting)),
    )


def _entered(table: TabularMDP, outcome: Ints) -> Ints:
    """Returns ``2 · state + boundary`` for what outcomes lead to."""
    after = table.successor[outcome].astype(np.int64)
    if "segment" not in table.labels:
        return 2 * after
    segment = table.labels["segment"]
    before = table.edge_state[table.outcome_edge[outcome]]
    return np.asarray(2 * after + (segment[before] != segment[after]))


def _with_the_action(shift: Floats | None) -> Floats | None:
    if shift is None:
        return None
    spread = np.zeros(shift.size * FIELDS)
    spread[ACTION::FIELDS] = shift
    return spread


def _spoken(planned: TabularMDP) -> View:
    text, field, subgoal = planned.view("text"), planned.labels["field"], planned.labels["subgoal"]

    def asked(field: int, symbol: int) -> str:
        if field == SUBGOAL:
            return f"[keep subgoal {symbol}] which subgoal?" if symbol else "[switch] which subgoal?"
        return f"[{f'subgoal {symbol}' if symbol else 'no subgoal'}] {'which action?' if field else 'keep or switch?'}"

    def spoken(states: AnyArray, rows: list[str]) -> list[str]:
        parts = zip(rows, field[states].tolist(), subgoal[states].tolist(), strict=True)
        return [f"{row}\n{asked(f, g)}" for row, f, g in parts]

    return text.reworded(text_space(getattr(text.space, "max_length", 0) + 40), spoken)


def symbols(table: TabularMDP) -> int:
    """Returns the number of subgoal symbols as the labels tell it (0 without a plan)."""
    return int(table.labels["subgoal"].max()) if "field" in table.labels else 0


@dataclass(frozen=True)
class Switching:
    """How a policy's switches meet the true subgoal boundaries, first steps left out (they must switch).

    Attributes:
        switches: switches per step.
        boundaries: true boundaries per step.
        precision: share of the switches that are at a boundary; NaN without switches.
        recall: share of the boundaries that are switched at; NaN without boundaries.
    """

    switches: float
    boundaries: float
    precision: float
    recall: float


def switching(table: TabularMDP, policy: PolicyLike) -> Switching:
    """Measures a policy's switches exactly, as ratios of expected counts.

    Args:
        table: what :func:`plan` made.
        policy: policy on it.

    Raises:
        CreditEnvsError: if the table has no plan.
    """
    if "field" not in table.labels:
        raise CreditEnvsError(f"table: expected one with a plan, got {table.name}")
    visits = occupancy(table, policy)[:-1].sum(axis=0) * playing(table)
    later = (table.labels["field"] == SWITCH) & (table.labels["subgoal"] > 0)
    edges = effective(table, as_policy(table, policy)).edge
    says = table.edge_action == table.action_names.index("switch")
    switches = np.bincount(table.edge_state, edges * says, table.n_states) * visits * later
    true = later * table.labels["boundary"]
    steps, n_switches, n_true = float((visits * later).sum()), float(switches.sum()), float((visits * true).sum())
    hits = float((switches * true).sum())
    return Switching(_share(n_switches, steps), _share(n_true, steps), _share(hits, n_switches), _share(hits, n_true))


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")
