"""The table: one frozen dataclass of arrays that every face, estimator and the oracle read.

Two-level compressed sparse rows: per state its edges (admissible actions), per edge its outcomes. The table is the only
place that knows the dynamics, so stepping, search and the oracle cannot disagree.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from credit_envs.arrays import AnyArray, Bools, Floats, Int32s, Ints, frozen, narrow, ragged_ranges
from credit_envs.errors import TableError, unknown
from credit_envs.table.draws import thresholds
from credit_envs.table.emission import Emission, identity
from credit_envs.table.view import View, default_views

if TYPE_CHECKING:
    import networkx

_DENSE_CELLS = 1 << 26


@dataclass(frozen=True, eq=False, kw_only=True)
class TabularMDP:
    """A finite-horizon Markov decision process as arrays.

    An action without an edge is inadmissible: it leaves the state unchanged, takes a step and is paid
    ``inadmissible_reward``. The reward of outcome o at step t is ``reward_scale[t] * reward[o] + reward_shift[t]``; when
    step ``horizon`` is reached in state s without a terminal outcome, the episode terminates and ``cutoff_reward[s]`` is
    paid on top.

    Attributes:
        name: what it is called in reports.
        n_actions: number of action names A.
        edge_start: int64 ``[S + 1]``; edges of state s are ``edge_start[s]:edge_start[s + 1]``.
        edge_action: int32 ``[E]``, increasing inside a state.
        outcome_start: int64 ``[E + 1]``; outcomes of edge e are ``outcome_start[e]:outcome_start[e + 1]``.
        successor: int32 ``[O]``.
        probability: float64 ``[O]``, sums to one inside an edge.
        reward: float64 ``[O]``.
        terminal: bool ``[O]``; the episode ends with this outcome.
        start_state: int64 ``[C]``, the contexts.
        start_probability: float64 ``[C]``.
        horizon: steps after which the episode terminates.
        discount: γ of the returns that the oracle evaluates.
        reward_scale: float64 ``[horizon]`` or None (all one).
        reward_shift: float64 ``[horizon]`` or None (all zero).
        cutoff_reward: float64 ``[S]`` or None (all zero).
        inadmissible_reward: reward of a step with an inadmissible action.
        action_names: A words.
        labels: name → int64 ``[S]``. Known to the library: ``turn`` and ``segment`` (a step belongs to the turn and the
            segment of the state it is taken in; the value is the position inside the turn, and the segment's number),
            ``anchor`` (a structured identity key), ``blind`` (number of what is seen without the picture), ``instance``.
            Everything else is a factor of the state.
        emission: what states look like.
        views: name → how states are shown, beside the ``state`` and ``text`` views that every table has.
        knobs: requested dial values, by dial.
        allow_unreachable: set where states that no play can reach are there on purpose.
    """

    name: str
    n_actions: int
    edge_start: Ints
    edge_action: Int32s
    outcome_start: Ints
    successor: Int32s
    probability: Floats
    reward: Floats
    terminal: Bools
    start_state: Ints
    start_probability: Floats
    horizon: int
    discount: float = 1.0
    reward_scale: Floats | None = None
    reward_shift: Floats | None = None
    cutoff_reward: Floats | None = None
    inadmissible_reward: float = 0.0
    action_names: tuple[str, ...] = ()
    labels: Mapping[str, Ints] = field(default_factory=dict)
    emission: Emission = None  # type: ignore[assignment]  # filled in below with the identity
    views: Mapping[str, View] = field(default_factory=dict)
    knobs: Mapping[str, Any] = field(default_factory=dict)
    allow_unreachable: bool = False
    validated: dataclasses.InitVar[bool] = True

    def __post_init__(self, validated: bool) -> None:
        for name, dtype in _DTYPES.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, frozen(_converted(name, value, dtype)))
        labels = {k: frozen(np.ascontiguousarray(v, dtype=np.int64)) for k, v in self.labels.items()}
        object.__setattr__(self, "labels", MappingProxyType(labels))
        object.__setattr__(self, "knobs", MappingProxyType(dict(self.knobs)))
        if self.emission is None:
            object.__setattr__(self, "emission", identity(self.n_states))
        names = self.action_names or tuple(f"action {a}" for a in range(self.n_actions))
        object.__setattr__(self, "action_names", tuple(names))
        object.__setattr__(self, "views", MappingProxyType(dict(self.views)))
        if validated:
            from credit_envs.table.validate import validate

            validate(self)

    def __repr__(self) -> str:
        sizes = f"{self.n_states} states, {self.n_actions} actions, {self.n_edges} edges, {self.n_obs} observations"
        return f"TabularMDP({self.name!r}: {sizes}, horizon {self.horizon})"

    # -- sizes ---------------------------------------------------------------------------------------------------

    @property
    def n_states(self) -> int:
        """Number of states S."""
        return len(self.edge_start) - 1

    @property
    def n_edges(self) -> int:
        """Number of admissible state-action pairs E."""
        return len(self.edge_action)

    @property
    def n_outcomes(self) -> int:
        """Number of outcomes O."""
        return len(self.successor)

    @property
    def n_obs(self) -> int:
        """Number of observation ids."""
        return self.emission.n_obs

    @property
    def n_contexts(self) -> int:
        """Number of contexts (start states)."""
        return len(self.start_state)

    # -- derived arrays, built on first use ------------------------------------------------------------------------

    @cached_property
    def n_admissible(self) -> Ints:
        """Number of admissible actions per state, int64 ``[S]``."""
        return frozen(np.diff(self.edge_start))

    @cached_property
    def edge_state(self) -> Ints:
        """State of each edge, int64 ``[E]``."""
        return frozen(np.repeat(np.arange(self.n_states), self.n_admissible))

    @cached_property
    def outcome_edge(self) -> Ints:
        """Edge of each outcome, int64 ``[O]``."""
        return frozen(np.repeat(np.arange(self.n_edges), np.diff(self.outcome_start)))

    @cached_property
    def is_deterministic(self) -> bool:
        """Whether every edge has exactly one outcome."""
        return self.n_outcomes == self.n_edges

    @cached_property
    def max_outcomes(self) -> int:
        """Largest number of outcomes of an edge."""
        return int(np.diff(self.outcome_start).max(initial=1))

    @cached_property
    def outcome_threshold(self) -> Ints:
        """Integer thresholds of the outcomes, int64 ``[O]``."""
        return frozen(thresholds(self.probability, self.outcome_start))

    @cached_property
    def start_threshold(self) -> Ints:
        """Integer thresholds of the contexts, int64 ``[C]``."""
        return frozen(thresholds(self.start_probability))

    @cached_property
    def mask(self) -> Bools:
        """Admissible actions, bool ``[S, A]``."""
        mask = np.zeros((self.n_states, self.n_actions), dtype=bool)
        mask[self.edge_state, self.edge_action] = True
        return frozen(mask)

    @cached_property
    def edge_of(self) -> Int32s:
        """Edge of (state, action), −1 where inadmissible, int32 ``[S, A]``.

        Raises:
            TableError: if the dense form would exceed 2**26 cells; use :meth:`find_edges`.
        """
        if self.n_states * self.n_actions > _DENSE_CELLS:
            raise TableError(f"[S, A] = [{self.n_states}, {self.n_actions}] is too large to be dense; use find_edges")
        dense = np.full((self.n_states, self.n_actions), -1, dtype=np.int32)
        dense[self.edge_state, self.edge_action] = np.arange(self.n_edges, dtype=np.int32)
        return frozen(dense)

    def find_edges(self, state: AnyArray, action: AnyArray) -> Ints:
        """Returns the edge of each (state, action), −1 where inadmissible; any integer shape."""
        key = np.asarray(state, dtype=np.int64) * self.n_actions + action
        keys = self.edge_state * self.n_actions + self.edge_action
        found = np.minimum(np.searchsorted(keys, key), max(self.n_edges - 1, 0))
        return np.where(keys[found] == key, found, -1) if self.n_edges else np.full(key.shape, -1)

    def executed_edges(self, state: AnyArray, action: AnyArray, code: AnyArray) -> Ints:
        """Returns the edge that naming ``action`` executes in ``state`` under emission ``code``, −1 if inadmissible."""
        edge = self.find_edges(state, action)
        if not self.emission.renames:
            return edge
        first, count = self.edge_start[state], np.maximum(self.n_admissible[state], 1)
        return np.where(edge < 0, -1, first + (edge - first - self.emission.shift[code]) % count)

    def reward_at(self, t: AnyArray | int, reward: AnyArray | float) -> Floats:
        """Applies the step's affine factor to rewards; broadcast."""
        out = np.asarray(reward, dtype=np.float64)
        if self.reward_scale is not None:
            out = self.reward_scale[t] * out
        if self.reward_shift is not None:
            out = out + self.reward_shift[t]
        return out

    @cached_property
    def outcome_matrix(self) -> Any:
        """Non-terminal transition probabilities of edges, SciPy CSR float64 ``[E, S]``."""
        from scipy import sparse

        keep = ~self.terminal
        indptr = narrow(np.concatenate(([0], np.cumsum(keep)))[self.outcome_start])
        data = (self.probability[keep], self.successor[keep], indptr)
        return sparse.csr_array(data, shape=(self.n_edges, self.n_states))

    @cached_property
    def edge_reward(self) -> Floats:
        """Expected unscaled reward of each edge, float64 ``[E]``."""
        return frozen(np.bincount(self.outcome_edge, self.probability * self.reward, minlength=self.n_edges))

    def view(self, name: str) -> View:
        """Returns a view by name.

        Raises:
            CreditEnvsError: if the table has no such view.
        """
        views = self.views if name in self.views else {**default_views(self), **self.views}
        if name not in views:
            raise unknown("view", name, {*views, "both"} if "grid" in views else views)
        return views[name]

    def __deepcopy__(self, memo: object) -> TabularMDP:
        """Returns itself: nothing in a table can change."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles a table as what :meth:`save` writes."""
        from credit_envs.table.storage import from_bytes, to_bytes

        return from_bytes, (to_bytes(self),)

    # -- other forms -----------------------------------------------------------------------------------------------

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the canonical arrays, the same on every machine (views, names and knobs don't enter)."""
        from credit_envs.table.storage import fingerprint

        return fingerprint(self)

    def replace(self, **changes: Any) -> TabularMDP:
        """Returns a copy with some fields changed (validated again)."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return TabularMDP(**{**fields, **changes})

    def dense(self) -> dict[str, AnyArray]:
        """Returns ``probability``, ``successor``, ``reward``, ``terminal`` as ``[S, A, K]`` (padding has probability 0)."""
        if self.n_states * self.n_actions * self.max_outcomes > _DENSE_CELLS:
            raise TableError(f"{self.name}: too large for a dense [S, A, K] form; read the sparse arrays")
        shape = (self.n_states, self.n_actions, self.max_outcomes)
        edge = self.outcome_edge
        slot = np.arange(self.n_outcomes) - self.outcome_start[edge]
        index = (self.edge_state[edge], self.edge_action[edge], slot)
        out: dict[str, AnyArray] = {}
        for name in ("probability", "successor", "reward", "terminal"):
            values = getattr(self, name)
            out[name] = np.zeros(shape, dtype=values.dtype)
            out[name][index] = values
        return out

    @cached_property
    def P(self) -> dict[int, dict[int, list[tuple[float, int, float, bool]]]]:
        """Gymnasium's toy-text form: ``P[s][a] = [(probability, next state, reward, terminated), ...]``."""
        table: dict[int, dict[int, list[tuple[float, int, float, bool]]]] = {s: {} for s in range(self.n_states)}
        columns = (self.probability.tolist(), self.successor.tolist(), self.reward.tolist(), self.terminal.tolist())
        rows = list(zip(*columns, strict=True))
        bounds = self.outcome_start.tolist()
        for e, (s, a) in enumerate(zip(self.edge_state.tolist(), self.edge_action.tolist(), strict=True)):
            table[s][a] = rows[bounds[e] : bounds[e + 1]]
        return table

    def to_networkx(self) -> networkx.MultiDiGraph:
        """Returns the state graph with action, probability, reward and terminal on its edges, labels on its nodes."""
        import networkx

        graph = networkx.MultiDiGraph(name=self.name)
        names, columns = list(self.labels), list(self.labels.values())
        graph.add_nodes_from(
            (s, {n: int(c[s]) for n, c in zip(names, columns, strict=True)}) for s in range(self.n_states)
        )
        for s, actions in self.P.items():
            for a, outcomes in actions.items():
                for p, nxt, r, done in outcomes:
                    label = self.action_names[a]
                    graph.add_edge(s, nxt, action=a, name=label, probability=p, reward=r, terminal=done)
        return graph

    def save(self, path: Any) -> None:
        """Writes the table to an npz file, atomically; see :func:`credit_envs.table.storage.save`."""
        from credit_envs.table.storage import save

        save(self, path)

    def played(self) -> Bools:
        """Returns the states in which some play takes a step, bool ``[S]`` (however long episodes may be)."""
        alive = np.zeros(self.n_states, dtype=bool)
        frontier = np.unique(self.start_state[self.start_probability > 0])
        alive[frontier] = True
        while frontier.size:
            outcomes = self._outcomes_of(frontier)
            reached = self.successor[outcomes[~self.terminal[outcomes]]]
            frontier = np.unique(reached[~alive[reached]])
            alive[frontier] = True
        return alive

    def reachable(self) -> Bools:
        """Returns which states play can reach, bool ``[S]``; states behind a terminal outcome count as reached."""
        seen = self.played()
        seen[self.successor[self._outcomes_of(np.flatnonzero(seen))]] = True
        return seen

    def _outcomes_of(self, states: AnyArray) -> Ints:
        """Returns the possible outcomes of the edges of some states."""
        edges = ragged_ranges(self.edge_start[states], self.n_admissible[states])
        outcomes = ragged_ranges(self.outcome_start[edges], self.outcome_start[edges + 1] - self.outcome_start[edges])
        return outcomes[self.probability[outcomes] > 0]


def _converted(name: str, value: AnyArray, dtype: type) -> AnyArray:
    """Converts a field to its dtype; integers must come out unchanged."""
    given = np.asarray(value)
    out: AnyArray = np.ascontiguousarray(given, dtype=dtype)
    if out.dtype.kind == "i" and not np.can_cast(given.dtype, out.dtype) and not np.array_equal(out, given):
        raise TableError(f"{name}: expected integers that fit in {out.dtype}, got others")
    return out


_DTYPES: dict[str, type] = {
    "edge_start": np.int64,
    "edge_action": np.int32,
    "outcome_start": np.int64,
    "successor": np.int32,
    "probability": np.float64,
    "reward": np.float64,
    "terminal": np.bool_,
    "start_state": np.int64,
    "start_probability": np.float64,
    "reward_scale": np.float64,
    "reward_shift": np.float64,
    "cutoff_reward": np.float64,
}
