"""How often trajectories meet: visit probabilities of anchors and the revisit rate ρ_G, exact where it can be.

ρ_G = (1/E[T]) Σ_φ E[N_φ] (1 − (1 − h_φ)^{G−1}): the share of steps whose anchor another of the group's G rollouts visits
too, where h_φ is the probability that a rollout ever visits φ and N_φ counts its visits (design of credit_envs, §3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from credit_envs.arrays import AnyArray, Floats, Ints
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.oracle.evaluation import Chain, chain, forward
from credit_envs.oracle.policy import EdgePolicy, PolicyLike, as_policy, effective
from credit_envs.table.draws import Purpose, draws, select_segment, streams, uniform_floats
from credit_envs.table.mdp import TabularMDP

EXACT_WORK = 2_000_000_000
"""Multiply-adds up to which first passages are solved exactly; beyond, revisit rates are sampled."""

_BLOCK = 512


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error (0 where exact)."""

    value: float
    standard_error: float = 0.0


def anchor_ids(table: TabularMDP, rule: str = "look") -> Ints:
    """Returns the anchor of each state, int64 ``[S]``, numbered without gaps.

    Args:
        table: the table.
        rule: ``look`` (the observation without layers), ``state`` (true state), or the name of a label.
    """
    if rule == "state":
        return np.arange(table.n_states)
    if rule == "look":
        return table.emission.base.astype(np.int64)
    if rule not in table.labels:
        raise CreditEnvsError(f"rule={rule!r}: expected 'look', 'state' or a label in {sorted(table.labels)}")
    return np.unique(table.labels[rule], return_inverse=True)[1].astype(np.int64)


def visit_probability(table: TabularMDP, policy: PolicyLike, anchor: AnyArray, keep: float = 1.0) -> Floats:
    """Returns h, float64 ``[S, anchors]``: probability that a rollout from each state ever takes a step at each anchor.

    Args:
        table: the table.
        policy: see :data:`~credit_envs.oracle.policy.PolicyLike`.
        anchor: int ``[S]``, anchor of each state.
        keep: probability that one visit counts (an anchor that shows a fresh digit at every step).
    """
    folded = chain(table, effective(table, as_policy(table, policy)))
    n = int(np.max(anchor)) + 1
    parts = [_first_passage(table, folded, anchor, np.arange(i, min(i + _BLOCK, n)), keep) for i in range(0, n, _BLOCK)]
    return np.concatenate(parts, axis=1)


def _first_passage(table: TabularMDP, folded: Chain, anchor: AnyArray, ids: Ints, keep: float) -> Floats:
    member = (np.asarray(anchor)[:, None] == ids) & (table.n_admissible > 0)[:, None]
    h = np.where(member, keep, 0.0)
    for _ in range(table.horizon - 1):
        onward = folded.transition @ h
        following = np.where(member, keep + (1 - keep) * onward, onward)
        if np.array_equal(following, h):
            break
        h = following
    return h


def revisit_rate(
    table: TabularMDP, policy: PolicyLike, group_size: int = 8, rule: str = "look", seed: int = 0
) -> Estimate:
    """Returns ρ_G averaged over contexts, weighted by the start distribution.

    Args:
        table: the table; the emission's layers that show in anchors split its anchors.
        policy: see :data:`~credit_envs.oracle.policy.PolicyLike`; must act alike under every emission code.
        group_size: G ≥ 1 rollouts that share a start.
        rule: identity rule, see :func:`anchor_ids`; with ``state`` or a label the layers don't count.
        seed: seed of the sampled fallback on tables too large for first passages.
    """
    check_range("group_size", group_size, 1, 1_000_000, integer=True)
    checked = as_policy(table, policy)
    anchor = anchor_ids(table, rule)
    edges = effective(table, checked)
    folded = chain(table, edges)
    episode, step = _anchor_digits(table) if rule == "look" else (np.ones(1), np.ones(1))
    recurs = _anchors_recur(folded, anchor)
    work = folded.transition.nnz * table.horizon * (int(anchor.max()) + 1)
    if recurs and work > EXACT_WORK:
        return _sampled_revisits(table, edges, anchor, group_size, episode, step, seed)
    return Estimate(meeting_rate(_crossings(table, folded, anchor, step, recurs), group_size, episode, step))


@dataclass(frozen=True, eq=False)
class Crossing:
    """The anchors that rollouts of one context can visit.

    Attributes:
        weight: probability of the context.
        visits: float64 ``[n]``, expected visits of each anchor.
        passage: chance that one visit counts → float64 ``[n]``, probability that a rollout ever makes one that counts.
    """

    weight: float
    visits: Floats
    passage: dict[float, Floats]


def crossings(table: TabularMDP, policy: PolicyLike) -> tuple[list[Crossing], Floats, Floats] | None:
    """Works out what ρ_G needs: crossings by look, and the chances of the per-episode and the per-step digits.

    Returns:
        Arguments of :func:`meeting_rate`; None if the table is too large for first passages.
    """
    folded = chain(table, effective(table, as_policy(table, policy)))
    anchor = anchor_ids(table)
    recurs = _anchors_recur(folded, anchor)
    if recurs and folded.transition.nnz * table.horizon * (int(anchor.max()) + 1) > EXACT_WORK:
        return None
    episode, step = _anchor_digits(table)
    return _crossings(table, folded, anchor, step, recurs), episode, step


def _crossings(table: TabularMDP, folded: Chain, anchor: Ints, step: Floats, recurs: bool) -> list[Crossing]:
    n, digits = int(anchor.max()) + 1, np.unique(step).tolist()
    contexts = np.flatnonzero(table.start_probability > 0)
    starts = table.start_state[contexts]
    first: dict[float, Floats] = {}
    if recurs:
        blocks = [np.arange(i, min(i + _BLOCK, n)) for i in range(0, n, _BLOCK)]
        for keep in digits:
            parts = [_first_passage(table, folded, anchor, ids, keep)[starts] for ids in blocks]
            first[keep] = np.concatenate(parts, axis=1)
    out = []
    for i, c in enumerate(contexts.tolist()):
        start = np.eye(1, table.n_states, table.start_state[c])[0]
        total = forward(table, folded, start)[:-1].sum(axis=0) * (table.n_admissible > 0)
        visits: Floats = np.bincount(anchor, total, minlength=n).astype(np.float64)
        met = np.flatnonzero(visits)
        passage = {keep: first[keep][i, met] if recurs else np.minimum(visits[met] * keep, 1) for keep in digits}
        out.append(Crossing(float(table.start_probability[c]), visits[met], passage))
    return out


def meeting_rate(contexts: list[Crossing], group_size: int, episode: AnyArray, step: AnyArray) -> float:
    """Returns ρ_G.

    Args:
        contexts: see :func:`crossings`.
        group_size: G ≥ 1.
        episode: float ``[m]``, chance of each per-episode look.
        step: float ``[z]``, chance of each per-step look.
    """
    total = 0.0
    for context in contexts:
        shared = 0.0
        for chance, n_chance in zip(*np.unique(episode, return_counts=True), strict=True):
            for digit, n_digit in zip(*np.unique(step, return_counts=True), strict=True):
                meet = 1 - (1 - chance * context.passage[float(digit)]) ** (group_size - 1)
                shared += n_chance * chance * n_digit * digit * float(context.visits @ meet)
        total += context.weight * shared / context.visits.sum()
    return float(total)


def _anchor_digits(table: TabularMDP) -> tuple[Floats, Floats]:
    """Probabilities of the per-episode and per-step digits that show in anchors (state-independent layers only)."""
    parts = {True: np.ones(1), False: np.ones(1)}
    for layer in table.emission.layers:
        if layer.shows_in_anchor:
            if layer.state_class != "none":
                raise CreditEnvsError(f"layer {layer.name!r}: a digit that depends on the state cannot show in anchors")
            parts[layer.per_episode] = np.outer(parts[layer.per_episode], layer.probability[0]).ravel()
    return parts[True], parts[False]


def _anchors_recur(folded: Chain, anchor: Ints) -> bool:
    """Whether a rollout can come back to an anchor: a cycle in the graph of anchors."""
    edges = folded.transition.tocoo()
    n = int(anchor.max()) + 1
    start, end = anchor[edges.coords[0]], anchor[edges.coords[1]]
    if np.any(start == end):
        return True
    graph = sparse.csr_array((np.ones(start.size), (start, end)), shape=(n, n))
    count, _ = sparse.csgraph.connected_components(graph, connection="strong")
    return bool(count < n)


def _sampled_revisits(
    table: TabularMDP,
    policy: EdgePolicy,
    anchor: Ints,
    group_size: int,
    episode: Floats,
    step: Floats,
    seed: int,
    groups: int = 256,
) -> Estimate:
    """Samples groups and counts shared steps; the standard error is over groups (ratios of means, delta method)."""
    n = groups * group_size
    group = np.repeat(np.arange(groups), group_size)
    member = np.tile(np.arange(group_size), groups)
    start = select_segment(
        table.start_threshold,
        np.zeros(groups, np.int64),
        np.full(groups, table.n_contexts - 1),
        draws(streams(seed, Purpose.START, np.arange(groups)), 0),
    )
    key = {p: streams(seed, p, group, member) for p in (Purpose.ACTION, Purpose.OUTCOME, Purpose.EMISSION)}
    skin = np.searchsorted(np.cumsum(episode), uniform_floats(draws(key[Purpose.EMISSION], 1 << 20)), side="right")
    state = table.start_state[start[group]].copy()
    share = np.cumsum(policy.edge)
    rows, who = [], []
    alive = np.arange(n)
    for t in range(table.horizon):
        here = state[alive]
        digit = np.searchsorted(np.cumsum(step), uniform_floats(draws(key[Purpose.EMISSION][alive], t)), side="right")
        look = (anchor[here] * len(episode) + np.minimum(skin[alive], len(episode) - 1)) * len(step)
        rows.append(look + np.minimum(digit, len(step) - 1))
        who.append(alive)
        first, last = table.edge_start[here], table.edge_start[here + 1] - 1
        base = np.where(first > 0, share[first - 1], 0.0)
        wish = uniform_floats(draws(key[Purpose.ACTION][alive], t))
        stays, point = wish >= 1 - policy.stay[here], base + wish
        edge = np.clip(np.searchsorted(share, point, side="right"), first, last)
        luck = draws(key[Purpose.OUTCOME][alive], t)
        outcome = select_segment(
            table.outcome_threshold, table.outcome_start[edge], table.outcome_start[edge + 1] - 1, luck
        )
        state[alive] = np.where(stays, here, table.successor[outcome])
        alive = alive[stays | ~table.terminal[outcome]]
        if not alive.size:
            break
    row, rollout = np.concatenate(rows), np.concatenate(who)
    place = row + (int(row.max()) + 1) * group[rollout]
    place = np.unique(place, return_inverse=True)[1]
    pairs = np.unique(place * n + rollout)
    count = np.bincount(pairs // n)[place]
    met = np.bincount(group[rollout], count > 1, minlength=groups)
    steps = np.bincount(group[rollout], minlength=groups)
    # A ratio of means per context, then averaged over contexts as the exact rate is.
    context = np.unique(start, return_inverse=True)[1]
    rate = (np.bincount(context, met) / np.bincount(context, steps))[context]
    mean_steps = (np.bincount(context, steps) / np.bincount(context))[context]
    each = rate + (met - rate * steps) / mean_steps
    return Estimate(float(each.mean()), float(np.std(each, ddof=1) / np.sqrt(groups)))
