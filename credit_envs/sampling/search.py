"""Tree search from visited states, batched over roots: UCT, PUCT, plain rollouts, and Agent Q's search with a critic.

    uct      argmax_a Q(s, a) + c sqrt(ln N(s) / N(s, a)), actions never tried first        (Kocsis and Szepesvári 2006)
    puct     argmax_a Q(s, a) + c π(a|s) sqrt(N(s)) / (1 + N(s, a)), untried actions at the node's mean return
    policy   a ~ π(·|s): the whole simulation is one rollout of π, so every Q(s, a) is an unbiased estimate of Q^π(s, a)
    agent_q  argmax_a α Q(s, a) + (1 − α) Q_critic(s, a) + c sqrt(ln N(s) / (1 + N(s, a)))          (arXiv 2408.07199)

N(s) = 1 + Σ_a N(s, a): a node was visited once when it was made. A simulation walks down by the rule, makes one node, plays
π from there to the end (or reads a table of leaf values) and adds its return to every Q on its way. Of equal actions the
first wins. Under ``uct`` Q is neither Q^π nor Q* at a finite budget, and goes to Q* as it grows.

Decisions. A node is a state at a step behind a path of moves: outcomes are drawn anew at every visit, so each move leads to
one child per successor it has shown (chance nodes; an open-loop tree would converge to the best plan without feedback
instead). What a step's emission shows is averaged over: inside the tree the policy is π_eff, as in the oracle; at the root
the observation is known. Searching rules try admissible actions only. Luck is counter-based: keys by root (rollout, step),
simulation and step, so a root's tree depends neither on the other roots nor on threads. The kernel runs on the CPU; what it
returns lies on the sampler's device.
"""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from credit_envs.arrays import AnyArray, Floats, Ints, ragged_ranges
from credit_envs.errors import check_range, unknown
from credit_envs.oracle.policy import Policy, effective
from credit_envs.table.draws import Purpose, mix_words, streams, thresholds
from credit_envs.table.mdp import TabularMDP

if TYPE_CHECKING:
    from credit_envs.sampling.sampler import Sampler
    from credit_envs.sampling.trajectories import Sample

RULES = ("uct", "puct", "policy", "agent_q")
"""How a node is left, in the kernel's numbering."""

_LOOKS = 1 << 43
_BYTES = 1 << 26


@dataclass(frozen=True, eq=False)
class Nodes:
    """Statistics of all nodes of all trees, n nodes with m branches; only what a real system would know.

    Attributes:
        root: int64 ``[n]``, which search a node belongs to; a search's first node is its root.
        step: int64 ``[n]``, step that is taken there.
        parent: int64 ``[n]``, the branch that leads here, −1 at roots.
        visits: int64 ``[n]``, simulations that went on from a node.
        obs: int64 ``[n]``, observation id that the node was seen with.
        anchor: int64 ``[n]``, as identity rules see it by default.
        policy_row: int64 ``[n]``, row of the policy's table.
        node: int64 ``[m]``, node that a branch leaves; increasing.
        action: int64 ``[m]``, column of the policy's table, −1 for the inadmissible move.
        count: int64 ``[m]``, simulations through a branch.
        q: float64 ``[m]``, mean of their returns from this step on; NaN where there was none.
        score: float64 ``[m]``, the critic's, 0 without one.
    """

    root: Tensor
    step: Tensor
    parent: Tensor
    visits: Tensor
    obs: Tensor
    anchor: Tensor
    policy_row: Tensor
    node: Tensor
    action: Tensor
    count: Tensor
    q: Tensor
    score: Tensor


@dataclass(frozen=True, eq=False)
class NodeTruth:
    """What only the oracle may use: state int64 ``[n]`` and emission code ``[n]`` of nodes, edge ``[m]`` of branches."""

    state: Tensor
    code: Tensor
    edge: Tensor


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What tree search found at M roots.

    Attributes:
        q: float64 ``[M, A]``, mean returns by columns of the policy's table; NaN where an action was never tried. All
            inadmissible names are one move and share its numbers.
        visits: int64 ``[M, A]``.
        value: float64 ``[M]``, mean return of all simulations.
        nodes: statistics of the whole trees, if asked for.
    """

    q: Tensor
    visits: Tensor
    value: Tensor
    nodes: Nodes | None = None


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


def search(
    sampler: Sampler,
    sample: Sample,
    rollout: Tensor,
    step: Tensor,
    simulations: int,
    c: float = math.sqrt(2),
    rule: str = "uct",
    *,
    nodes: bool = False,
    gamma: float | None = None,
    proposals: int = 0,
    critic: Floats | None = None,
    accuracy: float = 1.0,
    alpha: float = 1.0,
    leaf: Floats | None = None,
) -> tuple[SearchResult, NodeTruth | None]:
    """Searches from inside rollouts; every simulated step is charged, and a restored state per simulation.

    Args:
        sampler: pays.
        sample: where the states come from.
        rollout: int64 ``[M]``, index of the rollout.
        step: int64 ``[M]``, step to search from; equal roots get luck of their own.
        simulations: B, per root.
        c: weight of exploration, at least 0.
        rule: one of :data:`RULES`.
        nodes: whether to return the statistics of all nodes.
        gamma: discount (default: the table's).
        proposals: actions drawn from π that a node may branch to, equal ones counted once; 0 for all admissible ones.
        critic: float64 ``[H + 1, S]``, the values by which the critic of ``agent_q`` ranks a node's branches.
        accuracy: probability that a pick of the critic is the best of what remains; else it is any of them.
        alpha: weight of Q beside the critic's score (n − k)/(n − 1) of the k-th of n, which lies in [0, 1].
        leaf: float64 ``[H + 1, S]``, values of new nodes; then nothing is played from them.

    Returns:
        The result, and the truth behind its nodes if these were asked for.

    Raises:
        CreditEnvsError: for arguments out of range, or if the sampler was made with ``restore="none"``.
    """
    if rule not in RULES:
        raise unknown("rule", rule, RULES)
    check_range("simulations", simulations, 1, 1 << 30, integer=True)
    check_range("c", c, 0, math.inf)
    check_range("proposals", proposals, 0, 0 if rule == "policy" else 1 << 20, integer=True)
    check_range("accuracy", accuracy, 0, 1)
    check_range("alpha", alpha, 0, 1)
    sampler._enter(step, "tree searches", simulations)
    table, policy, device = sampler.table, sampler.policy.policy, sampler.dynamics.device
    batch, truth = sample.trajectories, sample.truth
    number = sampler._searches = sampler._searches + 1
    who, t = rollout.cpu().numpy(), step.cpu().numpy()
    state, code = truth.state.cpu().numpy()[who, t], truth.code.cpu().numpy()[who, t]
    words = (batch.context.cpu().numpy()[who], truth.rollout.cpu().numpy()[who])
    key = mix_words(mix_words(streams(sampler.seed, Purpose.SEARCH, *words, number), t), _occurrence(who, t))
    settings = (
        float(c),
        float(table.discount if gamma is None else gamma),
        int(proposals),
        float(accuracy),
        float(alpha),
    )
    emission = table.emission
    fixed = np.zeros_like(code)
    if policy.kind == "obs" and emission.episode_layers.any():
        fixed = emission.pack(emission.digits * emission.episode_layers)[code]
    shape = (len(who), table.n_actions)
    found = _Found(np.full(shape, np.nan), np.zeros(shape, dtype=np.int64), np.zeros(len(who)))
    grown: list[_Grown] = []
    for skin in np.unique(fixed).tolist():
        folded = sampler._folds.setdefault(skin, None) or fold(table, policy, skin)
        sampler._folds[skin] = folded
        own = np.flatnonzero(fixed == skin)
        roots = _Roots(own, state[own], t[own], code[own], key[own])
        options = (RULES.index(rule), *settings)
        spent = _run(table, policy, folded, roots, options, simulations, nodes, critic, leaf, found, grown)
        sampler.meter.env_steps += int(spent[:, 0].sum())
        sampler.meter.policy_calls += int(spent[:, 1].sum())
        if rule == "puct" or proposals:
            sampler.meter.policy_calls += int(spent[:, 2].sum()) * max(proposals, 1)
    q, visits, value = (torch.from_numpy(part).to(device) for part in found)
    result = SearchResult(q, visits, value)
    if not nodes:
        return result, None
    inside, behind = _nodes(sampler, sample, rollout, key, code, grown)
    return replace(result, nodes=inside), behind


class _Found(NamedTuple):
    q: Floats
    visits: Ints
    value: Floats


@dataclass(frozen=True, eq=False)
class _Roots:
    index: Ints
    state: Ints
    step: Ints
    code: Ints
    key: AnyArray


@dataclass(frozen=True, eq=False)
class _Grown:
    """Trees without their empty room: columns of nodes ``[n]`` and of branches ``[m]``, numbered from 0."""

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


def _occurrence(who: Ints, t: Ints) -> Ints:
    """How many equal roots stand before each, int64 ``[M]``."""
    order = np.lexsort((t, who))
    new = np.ones(len(who), dtype=bool)
    new[1:] = (np.diff(who[order]) != 0) | (np.diff(t[order]) != 0)
    place = np.arange(len(who))
    out = np.empty_like(place)
    out[order] = place - np.maximum.accumulate(np.where(new, place, 0))
    return out


def _named(table: TabularMDP, policy: Policy, edge: Ints, code: Ints) -> Ints:
    """Columns of the policy's table that execute edges under emission codes, −1 where there is no edge."""
    named = edge.copy()
    if policy.names_actions and table.emission.renames:
        state = table.edge_state[edge]
        first = table.edge_start[state]
        named = first + (edge - first + table.emission.shift[code]) % np.maximum(table.n_admissible[state], 1)
    return np.where(edge < 0, -1, table.edge_action[named])


def _run(
    table: TabularMDP,
    policy: Policy,
    folded: Fold,
    roots: _Roots,
    options: tuple[Any, ...],
    simulations: int,
    nodes: bool,
    critic: Floats | None,
    leaf: Floats | None,
    found: _Found,
    grown: list[_Grown],
) -> Ints:
    """Runs the kernel in parts, one per thread or more; returns what was spent, int64 ``[R, 3]``."""
    from credit_envs.sampling.search_kernel import BRANCH, NODE, Rule, grow

    width, n = folded.width, len(roots.index)
    low, own = (folded.states[name][roots.state].astype(np.int64) for name in ("first", "moves"))
    there = np.arange(width) < own[:, None]
    move = np.where(there, low[:, None] + np.arange(width), 0)
    edge = np.where(there, folded.edge[move], -1)
    column = _named(table, policy, edge, roots.code[:, None])
    moves = folded.moves[move]
    if policy.names_actions and table.emission.layers:
        row = policy.probability[policy.rows(table, roots.state, roots.code)]
        prior = np.where(column >= 0, np.take_along_axis(row, np.maximum(column, 0), axis=1), 0.0)
        stay = there & (edge < 0)
        prior[stay] = np.maximum(1 - prior.sum(axis=1), 0)[stay.any(axis=1)]
        moves["prior"], moves["play"] = prior, thresholds(prior)
    widest = min(width, options[3]) if options[3] else width
    whole = np.maximum(np.arange(simulations + 2), 1)
    log, inverse = np.sqrt(np.log(whole)), 1 / np.sqrt(whole)
    count, gain = np.zeros((n, width), dtype=np.int64), np.zeros((n, width))
    spent = np.zeros((n, 4), dtype=np.int64)
    at = np.stack([roots.state, roots.step], axis=1)

    def part(begin: int, end: int) -> _Grown | None:
        cut, kept = slice(begin, end), end - begin if nodes else 1
        arena = np.empty((kept, simulations + 1), NODE)
        twigs = np.empty((kept, (simulations + 1) * widest), BRANCH)
        scratch = (np.empty((table.horizon, 2), dtype=np.int64), np.empty(table.horizon))
        grow(
            *folded[:4],
            at[cut],
            roots.key[cut],
            moves[cut],
            arena,
            twigs,
            Rule(*options),
            simulations,
            log,
            inverse,
            leaf,
            critic,
            *scratch,
            spent[cut],
            count[cut],
            gain[cut],
        )
        return _packed(arena, twigs, spent[cut, 2], spent[cut, 3], folded, roots.index[cut]) if nodes else None

    parts = min(n, torch.get_num_threads() if n * simulations > 1 << 12 else 1)
    if nodes:
        parts = max(parts, n * (simulations + 1) * (NODE.itemsize + BRANCH.itemsize * widest) // _BYTES)
    bounds = np.linspace(0, n, max(min(parts, n), 1) + 1).astype(int).tolist()
    pieces = list(itertools.pairwise(bounds))
    if len(pieces) == 1:
        done = [part(*pieces[0])]
    else:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            done = list(pool.map(part, *zip(*pieces, strict=True)))
    grown += [trees for trees in done if trees is not None]

    tried = count > 0
    q = np.where(tried, gain / np.maximum(count, 1), np.nan)
    who, where = np.nonzero(tried & (column >= 0))
    found.q[roots.index[who], column[who, where]] = q[who, where]
    found.visits[roots.index[who], column[who, where]] = count[who, where]
    found.value[roots.index] = gain.sum(axis=1) / np.maximum(count.sum(axis=1), 1)
    for r, j in zip(*np.nonzero(tried & (edge < 0)), strict=True):
        idle = ~table.mask[roots.state[r]]
        found.q[roots.index[r], idle], found.visits[roots.index[r], idle] = q[r, j], count[r, j]
    return spent


def _packed(arena: AnyArray, twigs: AnyArray, made: Ints, used: Ints, folded: Fold, index: Ints) -> _Grown:
    """Takes the used parts of trees; nodes and branches are numbered through."""
    r = np.repeat(np.arange(made.size), made)
    node = arena[r, ragged_ranges(np.zeros_like(made), made)]
    branch = twigs[np.repeat(np.arange(used.size), used), ragged_ranges(np.zeros_like(used), used)]
    before = np.cumsum(used) - used
    parent = node["parent"].astype(np.int64)
    return _Grown(
        root=index[r],
        state=node["state"].astype(np.int64),
        step=node["step"].astype(np.int64),
        parent=np.where(parent < 0, -1, parent + before[r]),
        visits=node["visits"].astype(np.int64),
        node=np.repeat(np.arange(r.size), node["end"] - node["begin"]),
        edge=folded.edge[branch["move"]],
        count=branch["count"].astype(np.int64),
        gain=branch["gain"].copy(),
        score=branch["score"].copy(),
    )


def _nodes(
    sampler: Sampler, sample: Sample, rollout: Tensor, key: AnyArray, code: Ints, grown: list[_Grown]
) -> tuple[Nodes, NodeTruth]:
    """Puts trees below each other on the device, and draws what each node looks like; roots look as they did."""
    d, table, policy = sampler.dynamics, sampler.table, sampler.policy.policy
    n = np.cumsum([0, *(len(trees.root) for trees in grown)])
    m = np.cumsum([0, *(len(trees.node) for trees in grown)])
    flat = {name: np.concatenate([getattr(trees, name) for trees in grown]) for name in vars(grown[0])}
    flat["node"] = flat["node"] + np.repeat(n[:-1], np.diff(m))
    flat["parent"] = np.where(flat["parent"] < 0, -1, flat["parent"] + np.repeat(m[:-1], np.diff(n)))
    at_root = flat["parent"] < 0
    seen = np.zeros_like(flat["root"])
    if table.emission.layers:
        begin = np.flatnonzero(at_root)
        place = np.arange(len(at_root)) - np.repeat(begin, np.diff(np.append(begin, len(at_root))))
        looks = mix_words(mix_words(key, _LOOKS)[flat["root"]], place)
        episode = sampler._keys(sample.trajectories.context[rollout], sample.truth.rollout[rollout], 0)["episode"]
        drawn = d.emit(d._put(flat["state"]), d._put(looks.view(np.int64)), episode[d._put(flat["root"])])
        seen = np.where(at_root, code[flat["root"]], drawn.cpu().numpy())
    named = _named(table, policy, flat["edge"], seen[flat["node"]])
    q = np.where(flat["count"] > 0, flat["gain"] / np.maximum(flat["count"], 1), np.nan)
    look = table.emission.base[flat["state"]].astype(np.int64) * table.emission.n_codes
    columns = {
        "obs": look + seen,
        "anchor": look + table.emission.anchor_code[seen],
        "policy_row": policy.rows(table, flat["state"], seen),
        "action": named,
        "q": q,
    }
    own = {name: flat[name] for name in ("root", "step", "parent", "visits", "node", "count", "score")}
    truth = NodeTruth(d._put(flat["state"]), d._put(seen), d._put(flat["edge"]))
    return Nodes(**{name: d._put(value) for name, value in {**own, **columns}.items()}), truth
