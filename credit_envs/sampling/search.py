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

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from credit_envs.arrays import AnyArray, Floats, Ints
from credit_envs.errors import CreditEnvsError, check_range, unknown
from credit_envs.sampling.search_trees import Grown, Roots, Searched, fold, grow_trees, named
from credit_envs.table.draws import Purpose, mix_words, streams

if TYPE_CHECKING:
    from credit_envs.sampling.sampler import Sampler
    from credit_envs.sampling.trajectories import Sample
    from credit_envs.table.mdp import TabularMDP

RULES = ("uct", "puct", "policy", "agent_q")
"""How a node is left, in the kernel's numbering."""

_LOOKS = 1 << 43


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
        node: int64 ``[m]``, node that a branch leaves; its branches stand together, and exist once it was left.
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
    by_leaf, by_critic = (_values(sampler.table, name, given) for name, given in (("leaf", leaf), ("critic", critic)))
    table, policy = sampler.table, sampler.policy.policy
    sampler._enter(step, "tree searches", simulations)
    roots = _roots(sampler, sample, rollout, step)
    discount = table.discount if gamma is None else gamma
    options = (RULES.index(rule), float(c), float(discount), int(proposals), float(accuracy), float(alpha))
    emission, skins = table.emission, np.zeros_like(roots.code)
    if policy.names_actions and emission.episode_layers.any():
        skins = emission.pack(emission.digits * emission.episode_layers)[roots.code]
    shape = (len(skins), table.n_actions)
    q, visits, value = np.full(shape, np.nan), np.zeros(shape, dtype=np.int64), np.zeros(len(skins))
    grown: list[Grown] = []
    spent = np.zeros((len(skins), 5), dtype=np.int64)
    for skin in np.unique(skins).tolist() or [0]:
        own = np.flatnonzero(skins == skin)
        begun = Roots(*(part[own] for part in vars(roots).values()))
        if skin not in sampler._folds:
            sampler._folds[skin] = fold(table, policy, skin)
        found = grow_trees(table, policy, sampler._folds[skin], begun, options, simulations, by_leaf, by_critic, nodes)
        spent[own] = found.spent
        mean = np.where(found.count > 0, found.gain / np.maximum(found.count, 1), np.nan)
        for to, what in ((q, mean), (visits, found.count)):
            to[own] = _by_column(to[own], what, found)
        value[own] = found.gain.sum(axis=1) / simulations
        if found.grown is not None:
            grown.append(dataclasses.replace(found.grown, root=own[found.grown.root]))
    put = sampler.dynamics._put
    sampler._took(sample.trajectories.context[rollout], put(spent[:, 0]))
    # Not all of these steps were the policy's choice; it also speaks at nodes whose actions it weighs or proposes.
    asked = spent[:, 1] - spent[:, 0] + spent[:, 2] * max(proposals, int(rule == "puct"))
    sampler.meter.policy_calls += int(asked.sum())
    result = SearchResult(put(q), put(visits), put(value))
    if not grown:
        return result, None
    trees = Grown.joined(grown)
    code = _looks(sampler, sample, rollout, roots, trees)
    truth = NodeTruth(put(trees.state), put(code), put(trees.edge))
    return dataclasses.replace(result, nodes=_nodes(sampler, trees, code)), truth


def _roots(sampler: Sampler, sample: Sample, rollout: Tensor, step: Tensor) -> Roots:
    """Reads where searches begin, and gives each a key of its own."""
    batch, truth = sample.trajectories, sample.truth
    sampler._searches += 1
    places = (truth.state[rollout, step], truth.code[rollout, step], batch.context[rollout], truth.rollout[rollout])
    state, code, context, word, who, t = (part.cpu().numpy() for part in (*places, rollout, step))
    order = np.lexsort((t, who))
    new = np.ones(len(who), dtype=bool)
    new[1:] = (np.diff(who[order]) != 0) | (np.diff(t[order]) != 0)
    place = np.arange(len(who))
    earlier = np.empty_like(place)
    earlier[order] = place - np.maximum.accumulate(np.where(new, place, 0))
    key = streams(sampler.seed, Purpose.SEARCH, context, word, sampler._searches)
    return Roots(state, t, code, mix_words(mix_words(key, t), earlier))


def _values(table: TabularMDP, name: str, given: Floats | None) -> Floats | None:
    """Returns values as the kernel reads them."""
    if given is None:
        return None
    if np.shape(given) != (table.horizon + 1, table.n_states):
        shape = (table.horizon + 1, table.n_states)
        raise CreditEnvsError(f"{name}: expected shape {shape}, got {np.shape(given)}")
    return np.require(given, np.float64, ["C", "W"])


def _by_column(into: AnyArray, moves: AnyArray, found: Searched) -> AnyArray:
    """Writes numbers of moves ``[R, W]`` to the columns of the policy's table ``[R, A]``."""
    who, where = np.nonzero(found.column >= 0)
    into[who, found.column[who, where]] = moves[who, where]
    idle = np.ones(into.shape, dtype=bool)
    idle[who, found.column[who, where]] = False
    who, where = np.nonzero((found.count > 0) & (found.column < 0))
    into[who] = np.where(idle[who], moves[who, where][:, None], into[who])
    return into


def _looks(sampler: Sampler, sample: Sample, rollout: Tensor, roots: Roots, trees: Grown) -> Ints:
    """Draws what nodes look like, an emission code each ``[n]``; roots look as they did."""
    d, at_root = sampler.dynamics, trees.parent < 0
    if not sampler.table.emission.layers:
        return np.zeros_like(trees.root)
    begin = np.flatnonzero(at_root)
    place = np.arange(at_root.size) - np.repeat(begin, np.diff(np.append(begin, at_root.size)))
    key = mix_words(mix_words(roots.key, _LOOKS)[trees.root], place)
    episode = sampler._keys(sample.trajectories.context[rollout], sample.truth.rollout[rollout], 0)["episode"]
    drawn = d.emit(d._put(trees.state), d._put(key.view(np.int64)), episode[d._put(trees.root)])
    return np.where(at_root, roots.code[trees.root], drawn.cpu().numpy())


def _nodes(sampler: Sampler, trees: Grown, code: Ints) -> Nodes:
    """Turns trees into what a real system would know of them."""
    table, policy, put = sampler.table, sampler.policy.policy, sampler.dynamics._put
    look = table.emission.base[trees.state].astype(np.int64) * table.emission.n_codes
    return Nodes(
        root=put(trees.root),
        step=put(trees.step),
        parent=put(trees.parent),
        visits=put(trees.visits),
        obs=put(look + code),
        anchor=put(look + table.emission.anchor_code[code]),
        policy_row=put(policy.rows(table, trees.state, code)),
        node=put(trees.node),
        action=put(named(table, policy, trees.edge, code[trees.node])),
        count=put(trees.count),
        q=put(np.where(trees.count > 0, trees.gain / np.maximum(trees.count, 1), np.nan)),
        score=put(trees.score),
    )
