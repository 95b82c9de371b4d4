"""Ways to make tables from tables and from plain lists: build from outcomes, union, prune."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from credit_envs.arrays import AnyArray, Ints, ragged_ranges
from credit_envs.errors import TableError
from credit_envs.table.emission import Emission, Layer
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.view import View

_LIMIT = np.iinfo(np.int32).max


def from_outcomes(
    name: str,
    n_states: int,
    n_actions: int,
    outcomes: Mapping[str, AnyArray],
    *,
    start: Mapping[int, float],
    horizon: int,
    **fields: Any,
) -> TabularMDP:
    """Builds a table from one row per outcome, in any order.

    Args:
        name: the table's name.
        n_states: S.
        n_actions: A.
        outcomes: columns ``state``, ``action``, ``successor`` (int ``[O]``), ``probability``, ``reward`` (float ``[O]``)
            and ``terminal`` (bool ``[O]``).
        start: start state → probability.
        horizon: steps after which the episode terminates.
        **fields: any other field of :class:`TabularMDP`.

    Raises:
        TableError: if the arrays contradict each other.
    """
    state, action = (np.asarray(outcomes[key], dtype=np.int64) for key in ("state", "action"))
    for key, values, high in (("state", state, n_states), ("action", action, n_actions)):
        if values.size and (values.min() < 0 or values.max() >= high):
            raise TableError(f"{key}: expected integers in [0, {high - 1}], got {values.min()} … {values.max()}")
    cell = state * n_actions + action
    order = np.argsort(cell, kind="stable")
    cells, first = np.unique(cell[order], return_index=True)
    return TabularMDP(
        name=name,
        n_actions=n_actions,
        edge_start=np.searchsorted(cells, np.arange(n_states + 1) * n_actions),
        edge_action=(cells % n_actions).astype(np.int32),
        outcome_start=np.append(first, len(cell)),
        successor=np.asarray(outcomes["successor"])[order],
        probability=np.asarray(outcomes["probability"])[order],
        reward=np.asarray(outcomes["reward"])[order],
        terminal=np.asarray(outcomes["terminal"])[order],
        start_state=np.array(list(start), dtype=np.int64),
        start_probability=np.array(list(start.values()), dtype=np.float64),
        horizon=horizon,
        **fields,
    )


def lift(table: TabularMDP, origin: AnyArray, **changes: Any) -> TabularMDP:
    """Builds a table whose state i looks like state ``origin[i]`` of another: labels, emission and views follow.

    Args:
        table: the table to start from.
        origin: int ``[S']``.
        **changes: the new dynamics, and any field that does not simply follow.
    """
    origin = np.asarray(origin, dtype=np.int64)
    base = np.unique(table.emission.base[origin], return_inverse=True)[1]
    inherited: dict[str, Any] = {
        "labels": {name: values[origin] for name, values in table.labels.items()},
        "emission": Emission(base.astype(np.int32), table.emission.layers),
        "views": {name: view.of(origin) for name, view in table.views.items()},
        "cutoff_reward": None if table.cutoff_reward is None else table.cutoff_reward[origin],
    }
    if "state" in table.views or "text" not in table.views:
        inherited["views"].setdefault("text", table.view("text").of(origin))
    return table.replace(**{**inherited, **changes})


def prune(table: TabularMDP) -> tuple[TabularMDP, Ints]:
    """Drops the states that no play can reach; returns the smaller table and the kept states' old numbers."""
    keep = np.flatnonzero(table.reachable())
    renumber = np.full(table.n_states, -1, dtype=np.int64)
    renumber[keep] = np.arange(keep.size)
    # A state that is only ever entered by a terminal outcome needs no edges, and its successors may be gone.
    n_edges = np.where(table.played()[keep], table.n_admissible[keep], 0)
    edges = ragged_ranges(table.edge_start[keep], n_edges)
    n_outcomes = np.diff(table.outcome_start)[edges]
    outcomes = ragged_ranges(table.outcome_start[edges], n_outcomes)
    possible = table.probability[outcomes] > 0
    owner = np.repeat(np.arange(edges.size), n_outcomes)[possible]
    outcomes = outcomes[possible]
    started = renumber[table.start_state] >= 0
    smaller = lift(
        table,
        keep,
        edge_start=np.concatenate(([0], np.cumsum(n_edges))),
        edge_action=table.edge_action[edges],
        outcome_start=np.searchsorted(owner, np.arange(edges.size + 1)),
        successor=renumber[table.successor[outcomes]].astype(np.int32),
        probability=table.probability[outcomes],
        reward=table.reward[outcomes],
        terminal=table.terminal[outcomes],
        start_state=renumber[table.start_state[started]],
        start_probability=table.start_probability[started],
        allow_unreachable=False,
    )
    return smaller, keep


def union(tables: Sequence[TabularMDP], weights: Sequence[float] | None = None) -> TabularMDP:
    """Joins instances into one table (a pool): state offsets, an ``instance`` label, contexts weighted.

    Args:
        tables: instances with equal horizon, discount, action count, reward factors and emission layers.
        weights: probability of each instance (default: equal).

    Raises:
        TableError: if the instances cannot share one table.
    """
    if not tables:
        raise TableError("tables: expected at least one instance, got 0")
    first = tables[0]
    for field in ("n_actions", "horizon", "discount", "inadmissible_reward"):
        values = {getattr(table, field) for table in tables}
        if len(values) > 1:
            raise TableError(f"tables: instances of one pool need the same {field}, got {sorted(values)}")
    same_names = all(table.action_names == first.action_names for table in tables)
    for field in ("reward_scale", "reward_shift"):
        if any(not _same(getattr(first, field), getattr(table, field)) for table in tables):
            raise TableError(f"tables: instances of one pool need the same {field}")
    if any(not _same_layers(first.emission, table.emission) for table in tables):
        raise TableError("tables: instances of one pool need the same emission layers")
    share = np.full(len(tables), 1 / len(tables)) if weights is None else np.asarray(weights, dtype=np.float64)
    if share.shape != (len(tables),) or share.min() < 0 or abs(share.sum() - 1) > 1e-9:
        raise TableError(f"weights={weights!r}: expected {len(tables)} probabilities that sum to 1")
    states = np.cumsum([0, *(table.n_states for table in tables)])
    if states[-1] > _LIMIT:
        raise TableError(f"tables: {states[-1]} states in all, more than {_LIMIT}")
    edges = np.cumsum([0, *(table.n_edges for table in tables)])
    outcomes = np.cumsum([0, *(table.n_outcomes for table in tables)])
    bases = np.cumsum([0, *(table.emission.n_base for table in tables)])

    def join(field: str, offset: AnyArray | None = None, trim: bool = False) -> AnyArray:
        parts = [getattr(table, field) + (0 if offset is None else offset[i]) for i, table in enumerate(tables)]
        return np.concatenate([part[int(trim and i > 0) :] for i, part in enumerate(parts)])

    names = set.intersection(*(set(table.labels) for table in tables)) - {"instance"}
    labels = {name: np.concatenate([table.labels[name] for table in tables]) for name in sorted(names)}
    for name in {"anchor", "blind"} & set(labels):
        tops = np.cumsum([0, *(int(table.labels[name].max()) + 1 for table in tables)])
        labels[name] = np.concatenate([table.labels[name] + tops[i] for i, table in enumerate(tables)])
    labels["instance"] = np.repeat(np.arange(len(tables)), np.diff(states))
    cutoffs = [np.zeros(t.n_states) if t.cutoff_reward is None else t.cutoff_reward for t in tables]
    shared_views = set.intersection(*(set(table.views) for table in tables))
    return TabularMDP(
        name=first.name if len(tables) == 1 else f"{first.name} ×{len(tables)}",
        n_actions=first.n_actions,
        edge_start=join("edge_start", edges, trim=True),
        edge_action=join("edge_action"),
        outcome_start=join("outcome_start", outcomes, trim=True),
        successor=join("successor", states),
        probability=join("probability"),
        reward=join("reward"),
        terminal=join("terminal"),
        start_state=join("start_state", states),
        start_probability=np.concatenate([share[i] * table.start_probability for i, table in enumerate(tables)]),
        horizon=first.horizon,
        discount=first.discount,
        reward_scale=first.reward_scale,
        reward_shift=first.reward_shift,
        cutoff_reward=np.concatenate(cutoffs) if any(c.any() for c in cutoffs) else None,
        inadmissible_reward=first.inadmissible_reward,
        # Where each instance has words of its own, a pool only numbers its actions.
        action_names=first.action_names if same_names else (),
        labels=labels,
        emission=Emission(
            np.concatenate([table.emission.base + bases[i] for i, table in enumerate(tables)]), first.emission.layers
        ),
        views={name: _joined_view([table.views[name] for table in tables], states) for name in sorted(shared_views)},
        knobs={**first.knobs, "instances": len(tables)},
        allow_unreachable=any(table.allow_unreachable for table in tables),
    )


def _same_layers(a: Emission, b: Emission) -> bool:
    def plain(layer: Layer) -> tuple[object, ...]:
        arrays = (np.asarray(part).tolist() for part in (layer.probability, layer.shift, layer.blind))
        return (layer.name, layer.per_episode, layer.state_class, layer.shows_in_anchor, *arrays)

    return [plain(layer) for layer in a.layers] == [plain(layer) for layer in b.layers]


def _same(a: AnyArray | None, b: AnyArray | None) -> bool:
    return (a is None and b is None) or (a is not None and b is not None and np.array_equal(a, b))


def _joined_view(views: Sequence[View], bounds: Ints) -> View:
    """Shows each state by its own instance's view."""

    def rows(states: AnyArray, digits: AnyArray | None = None) -> Any:
        states = np.asarray(states, dtype=np.int64)
        if not states.size:
            return views[0].rows(states)
        owner = np.searchsorted(bounds, states, side="right") - 1
        places = [np.flatnonzero(owner == i) for i in np.unique(owner)]
        parts = []
        for i, place in zip(np.unique(owner).tolist(), places, strict=True):
            drawn, inside = views[i].with_layers, states[place] - bounds[i]
            parts.append(views[i].rows(inside) if digits is None or drawn is None else drawn(inside, digits[place]))
        return _interleave(parts, places, len(states))

    first = views[0]
    shared = all(view.with_layers is not None and view.own_layers == first.own_layers for view in views)
    return View(first.space, rows, first.own_layers if shared else (), rows if shared else None)


def _interleave(parts: Sequence[Any], places: Sequence[AnyArray], n: int) -> Any:
    if isinstance(parts[0], Mapping):
        return {key: _interleave([part[key] for part in parts], places, n) for key in parts[0]}
    if isinstance(parts[0], np.ndarray):
        out = np.empty((n, *parts[0].shape[1:]), dtype=parts[0].dtype)
        for part, place in zip(parts, places, strict=True):
            out[place] = part
        return out
    words = [""] * n
    for part, place in zip(parts, places, strict=True):
        for word, i in zip(part, place.tolist(), strict=True):
            words[i] = word
    return words
