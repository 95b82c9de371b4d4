"""What tree search walks and what it leaves: a table with a policy folded in, roots, and trees without their empty room."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from credit_envs.arrays import AnyArray, Floats, Ints, ragged_ranges
from credit_envs.oracle.policy import Policy, effective
from credit_envs.table.draws import thresholds
from credit_envs.table.mdp import TabularMDP

_BYTES = 1 << 26
"""Room for trees that are kept, per part."""

_SERIAL = 1 << 12
"""Simulations below which one thread does it all."""


class Fold(NamedTuple):
    """A table with a policy folded in, as the kernel walks it.

    Attributes:
        states: records ``[S]``.
        moves: records ``[moves]``: a state's edges, and one more move where the policy may name an inadmissible action.
        outcomes: records ``[outcomes]``.
        affine: float64 ``[H, 2]``, scale and shift of the rewards by step.
        edge: int64 ``[moves]``, −1 for the inadmissible move.
        width: largest number of moves of a state.
    """

    states: AnyArray
    moves: AnyArray
    outcomes: AnyArray
    affine: Floats
    edge: Ints
    width: int


def fold(table: TabularMDP, policy: Policy, episode_code: int = 0) -> Fold:
    """Folds a policy into a table, averaged over what each step's emission may show.

    Args:
        table: the table.
        policy: a checked policy.
        episode_code: the per-episode part of the emission code.
    """
    from credit_envs.sampling.search_kernel import MOVE, OUTCOME, STATE

    chance = effective(table, policy, episode_code)
    stays = chance.stay > 0
    first = table.edge_start + np.concatenate(([0], np.cumsum(stays)))
    count = np.diff(first)
    edge = np.full(int(first[-1]), -1)
    moving = np.ones(edge.size, dtype=bool)
    moving[first[1:][stays] - 1] = False
    edge[moving] = np.arange(table.n_edges)
    states, moves = np.zeros(table.n_states, STATE), np.zeros(edge.size, MOVE)
    states["first"], states["moves"], states["admissible"] = first[:-1], count, table.n_admissible
    states["cutoff"] = 0 if table.cutoff_reward is None else table.cutoff_reward
    moves["prior"][moving], moves["prior"][~moving] = chance.edge, chance.stay[stays]
    moves["play"] = thresholds(moves["prior"], np.append(first[:-1][count > 0], edge.size))
    moves["outcomes"] = 1
    moves["outcomes"][moving] = np.diff(table.outcome_start)
    moves["outcome"] = np.cumsum(moves["outcomes"]) - moves["outcomes"]
    real = np.repeat(moving, moves["outcomes"])
    outcomes = np.zeros(real.size, OUTCOME)
    for name in ("reward", "probability", "successor", "terminal"):
        outcomes[name][real] = getattr(table, name)
    outcomes["threshold"][real] = table.outcome_threshold
    outcomes["reward"][~real], outcomes["successor"][~real] = table.inadmissible_reward, np.flatnonzero(stays)
    outcomes["probability"][~real] = 1
    affine = np.zeros((table.horizon, 2))
    affine[:, 0] = 1 if table.reward_scale is None else table.reward_scale
    affine[:, 1] = 0 if table.reward_shift is None else table.reward_shift
    return Fold(states, moves, outcomes, affine, edge, int(count.max()))


@dataclass(frozen=True, eq=False)
class Roots:
    """Where searches begin, all ``[R]``: state, step, emission code, and key of all luck."""

    state: Ints
    step: Ints
    code: Ints
    key: AnyArray


@dataclass(frozen=True, eq=False)
class Grown:
    """Trees without their empty room: columns of nodes ``[n]`` and of branches ``[m]``, each tree's in one block.

    Attributes:
        root: int64 ``[n]``.
        state: int64 ``[n]``.
        step: int64 ``[n]``.
        parent: int64 ``[n]``, branch that leads to a node, −1 at roots.
        visits: int64 ``[n]``.
        node: int64 ``[m]``, node that a branch leaves; branches of a node stand together.
        edge: int64 ``[m]``, −1 for the inadmissible move.
        count: int64 ``[m]``.
        gain: float64 ``[m]``, sum of returns.
        score: float64 ``[m]``, the critic's.
    """

    root: Ints
    state: Ints
    step: Ints
    parent: Ints
    visits: Ints
    node: Ints
    edge: Ints
    count: Ints
    gain: Floats
    score: Floats

    @staticmethod
    def joined(parts: Sequence[Grown]) -> Grown:
        """Puts trees behind each other, nodes and branches numbered through; roots keep their numbers."""
        n = np.cumsum([0, *(part.root.size for part in parts)])
        m = np.cumsum([0, *(part.node.size for part in parts)])
        flat = {name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])}
        flat["node"] += np.repeat(n[:-1], np.diff(m))
        flat["parent"] += np.where(flat["parent"] < 0, 0, np.repeat(m[:-1], np.diff(n)))
        return Grown(**flat)


@dataclass(frozen=True, eq=False)
class Searched:
    """What R searches gave.

    Attributes:
        column: int64 ``[R, W]``, column of the policy's table that each move of a root has, −1 for the inadmissible one
            and where there is no move.
        count: int64 ``[R, W]``, simulations through each move.
        gain: float64 ``[R, W]``, sums of their returns.
        spent: int64 ``[R, 5]``, steps of the environment, of them those that the policy chose, nodes that were left, nodes,
            branches.
        grown: the trees, if they were to be kept.
    """

    column: Ints
    count: Ints
    gain: Floats
    spent: Ints
    grown: Grown | None


def named(table: TabularMDP, policy: Policy, edge: Ints, code: Ints) -> Ints:
    """Returns the columns of the policy's table that execute edges under emission codes, −1 where there is no edge."""
    out = edge
    if policy.names_actions and table.emission.renames:
        state = table.edge_state[edge]
        first = table.edge_start[state]
        out = first + (edge - first + table.emission.shift[code]) % np.maximum(table.n_admissible[state], 1)
    return np.where(edge < 0, -1, table.edge_action[out]).astype(np.int64)


def grow_trees(
    table: TabularMDP,
    policy: Policy,
    folded: Fold,
    roots: Roots,
    rule: tuple[Any, ...],
    simulations: int,
    leaf: Floats | None,
    critic: Floats | None,
    keep: bool,
) -> Searched:
    """Runs the kernel in parts, at least one per thread; the parts make no difference to what comes back.

    Args:
        table: the table.
        policy: its policy.
        folded: both, from :func:`fold`.
        roots: where to begin.
        rule: fields of the kernel's ``Rule``, but for the last.
        simulations: B.
        leaf: float64 ``[H + 1, S]`` or None, see :func:`~credit_envs.sampling.search.search`.
        critic: likewise.
        keep: whether to return the trees.
    """
    from credit_envs.sampling.search_kernel import BRANCH, NODE, Rule, grow

    n, width = len(roots.state), folded.width
    options = Rule(*(*rule, folded.moves.size == folded.outcomes.size))
    moves, column = _at_roots(table, policy, folded, roots)
    widest = min(width, options.proposals or width)
    whole = np.maximum(np.arange(simulations + 2), 1)
    log, inverse = np.sqrt(np.log(whole)), 1 / np.sqrt(whole)
    count, gain = np.zeros((n, width), dtype=np.int64), np.zeros((n, width))
    spent, at = np.zeros((n, 5), dtype=np.int64), np.stack([roots.state, roots.step], axis=1)

    def part(begin: int, end: int) -> Grown | None:
        cut, kept = slice(begin, end), end - begin if keep else 1
        arena = np.empty((kept, simulations + 1), NODE)
        twigs = np.empty((kept, (simulations + 1) * widest), BRANCH)
        scratch = (np.empty((table.horizon, 2), dtype=np.int64), np.empty(table.horizon))
        begun, out = (at[cut], roots.key[cut], moves[cut]), (spent[cut], count[cut], gain[cut])
        grow(*folded[:4], *begun, arena, twigs, options, simulations, log, inverse, leaf, critic, *scratch, *out)
        return _packed(arena, twigs, spent[cut], folded.edge, np.arange(begin, end)) if keep else None

    parts = torch.get_num_threads() if n * simulations > _SERIAL else 1
    if keep:
        parts = max(parts, n * (simulations + 1) * (NODE.itemsize + BRANCH.itemsize * widest) // _BYTES)
    bounds = np.linspace(0, n, max(min(parts, n), 1) + 1).astype(int).tolist()
    pieces = list(itertools.pairwise(bounds))
    if len(pieces) == 1:
        done = [part(0, n)]
    else:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            done = list(pool.map(part, *zip(*pieces, strict=True)))
    grown = Grown.joined([trees for trees in done if trees is not None]) if keep else None
    return Searched(column, count, gain, spent, grown)


def _at_roots(table: TabularMDP, policy: Policy, folded: Fold, roots: Roots) -> tuple[AnyArray, Ints]:
    """Returns the moves of roots as records ``[R, W]``, with the policy at what is seen there, and their columns."""
    low, own = (folded.states[name][roots.state].astype(np.int64) for name in ("first", "moves"))
    there = np.arange(folded.width) < own[:, None]
    move = np.where(there, low[:, None] + np.arange(folded.width), 0)
    edge = np.where(there, folded.edge[move], -1)
    column = named(table, policy, edge, roots.code[:, None])
    moves = folded.moves[move]
    if policy.names_actions and table.emission.layers:
        row = policy.probability[policy.rows(table, roots.state, roots.code)]
        prior = np.where(column >= 0, np.take_along_axis(row, np.maximum(column, 0), axis=1), 0.0)
        prior += np.where(there & (edge < 0), np.maximum(1 - prior.sum(axis=1, keepdims=True), 0), 0.0)
        moves["prior"], moves["play"] = prior, thresholds(prior)
    return moves, column


def _packed(arena: AnyArray, twigs: AnyArray, spent: Ints, edge: Ints, root: Ints) -> Grown:
    """Takes the used parts of trees; nodes and branches are numbered through."""
    made, used = spent[:, 3], spent[:, 4]
    r = np.repeat(np.arange(made.size), made)
    node = arena[r, ragged_ranges(np.zeros_like(made), made)]
    branch = twigs[np.repeat(np.arange(used.size), used), ragged_ranges(np.zeros_like(used), used)]
    before = (np.cumsum(used) - used)[r]
    left = np.flatnonzero(node["begin"] >= 0)
    left = left[np.argsort(before[left] + node["begin"][left])]
    return Grown(
        root=root[r],
        state=node["state"].astype(np.int64),
        step=node["step"].astype(np.int64),
        parent=node["parent"] + np.where(node["parent"] < 0, 0, before),
        visits=node["visits"].astype(np.int64),
        node=np.repeat(left, (node["end"] - node["begin"])[left]),
        edge=edge[branch["move"]],
        count=branch["count"].astype(np.int64),
        gain=branch["gain"].copy(),
        score=branch["score"].copy(),
    )
