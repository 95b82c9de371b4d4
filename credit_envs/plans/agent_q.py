"""Agent Q: tree search from the start of a task, and siblings of clearly different value as preference pairs.

    proposals   K actions drawn from π at a node, equal ones counted once; the critic ranks them, the k-th of n scores
                Q_critic = (n − k)/(n − 1)
    selection   argmax_a Q(h, a) + c sqrt(ln N(h) / (1 + N(h, a))),   backup of the terminal reward to the mean Q̃
    blend       Q = α Q̃ + (1 − α) Q_critic
    pairs       all tried siblings with |Q(w) − Q(l)| > θ, as rows for :mod:`credit_envs.losses.dpo` with the log-probability
                that π gives them there as the stored reference

The AI critic is simulated by a noisy oracle: it picks the best remaining proposal by Q* (of equals, any) with probability
``accuracy``, else any of them; with α = 1 there is no critic, and nothing here knows the truth. The paper leaves open α, θ,
the map from ranks to scores and most settings of the search; the defaults are a third party's. Q_critic lies in [0, 1] like
the paper's returns; where returns are larger they outweigh it. Departures: what a step's emission shows is averaged over
inside the tree (a pair is shown with one look drawn for its node), inadmissible proposals make no pair, and B is a multiple
of the group size so that groups cost alike; the paper's plan, thought and explanation tokens have no counterpart. The start
is looked at by one step, which is charged. Source: Putta et al. 2024, arXiv 2408.07199, §4; LOOP (arXiv 2502.01600), App.
C.4.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from credit_envs.arrays import Floats
from credit_envs.errors import check_range
from credit_envs.oracle.control import optimal
from credit_envs.sampling.pairs import pairs
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.search import Nodes, NodeTruth, search
from credit_envs.sampling.trajectories import Sample, Truth
from credit_envs.table.mdp import TabularMDP


def agent_q(
    sampler: Sampler,
    groups: int,
    group_size: int,
    alpha: float = 0.5,
    theta: float = 0.1,
    proposals: int = 4,
    c: float = 1.414,
    accuracy: float = 0.8,
    simulations: int = 4,
) -> Sample:
    """Searches one tree per group and returns its preference pairs, rows 2p preferred and 2p + 1 rejected.

    Args:
        sampler: metered.
        groups: number of groups, each one task.
        group_size: simulations per tree are a multiple of it.
        alpha: weight of the search's mean return beside the critic's score, in [0, 1].
        theta: values at most this far apart make no pair.
        proposals: K, actions drawn at a node.
        c: weight of exploration.
        accuracy: probability that a pick of the critic is the best of what remains, in [0, 1].
        simulations: per rollout of a group.

    Returns:
        Rows of one step each, paid their blended value; groups are adjacent. A group without pairs keeps one that is
        masked out, so that it still counts as a group whose gradient is zero.

    Raises:
        CreditEnvsError: for an option out of range, or where the environment cannot be forked.
    """
    check_range("theta", theta, 0, float("inf"))
    check_range("proposals", proposals, 1, 1 << 20, integer=True)
    check_range("simulations", simulations, 1, 1 << 20, integer=True)
    check_range("alpha", alpha, 0, 1)
    sample = sampler.groups(groups, 1, limit=1)
    device = sample.truth.state.device
    start = torch.arange(groups, device=device)
    result, truth = search(
        sampler,
        sample,
        start,
        torch.zeros_like(start),
        simulations * group_size,
        c,
        "agent_q",
        nodes=True,
        proposals=proposals,
        critic=None if alpha == 1 else _best_values(sampler.table),
        accuracy=accuracy,
        alpha=alpha,
    )
    assert result.nodes is not None
    assert truth is not None
    return _paired(sampler, sample, result.nodes, truth, alpha, theta)


def _paired(sampler: Sampler, sample: Sample, nodes: Nodes, truth: NodeTruth, alpha: float, theta: float) -> Sample:
    """Makes rows of all pairs of siblings that are far enough apart."""
    value = alpha * nodes.q + (1 - alpha) * nodes.score
    table = sample.trajectories.policy_table
    chance = table[nodes.policy_row[nodes.node], nodes.action.clamp(min=0)]
    # A look drawn for the node may rule out what another look proposed.
    fit = (nodes.count > 0) & (nodes.action >= 0) & (chance > 0)
    one, other = _siblings(nodes.node)
    gap = value[one] - value[other]
    kept = fit[one] & fit[other] & (gap.abs() > theta)
    one, other, gap = one[kept], other[kept], gap[kept]
    better, worse = torch.where(gap > 0, one, other), torch.where(gap > 0, other, one)
    # Trees without pairs are stood for by their roots, with the likeliest action twice.
    roots = torch.nonzero(nodes.parent < 0).squeeze(1)
    bare = roots[~torch.isin(nodes.root[roots], nodes.root[nodes.node[better]])]
    likeliest = table[nodes.policy_row[bare]].argmax(dim=1)
    node = torch.cat([nodes.node[better], bare])
    order = torch.argsort(nodes.root[node], stable=True)
    preferred = torch.cat([nodes.action[better], likeliest])[order]
    rejected = torch.cat([nodes.action[worse], likeliest])[order]
    real = (torch.arange(len(node), device=node.device) < len(better))[order]
    paid = torch.nn.functional.pad(torch.stack([value[better], value[worse]], dim=1), (0, 0, 0, len(bare)))[order]
    node = node[order]
    stored = _stored(sample, nodes, truth, node)
    made = pairs(sampler, stored, torch.arange(len(node), device=node.device), nodes.step[node], preferred, rejected)
    rows = made.trajectories
    mask = rows.mask & real.repeat_interleave(2)[:, None]
    return Sample(rows.replace(mask=mask, reward=torch.where(mask, paid.view(-1, 1), 0.0)), made.truth)


def _siblings(node: Tensor) -> tuple[Tensor, Tensor]:
    """Returns all pairs of branches of one node, each once; branches of a node stand together."""
    place = torch.arange(len(node), device=node.device)
    most = int(torch.bincount(node).max()) if len(node) else 0
    pair = [(place[:-d][node[d:] == node[:-d]], d) for d in range(1, most)]
    first = torch.cat([place[:0], *(one for one, _ in pair)])
    return first, torch.cat([place[:0], *(one + d for one, d in pair)])


def _stored(sample: Sample, nodes: Nodes, truth: NodeTruth, node: Tensor) -> Sample:
    """Returns nodes int64 ``[n]`` as rows of one step each, as rollouts that stopped there would have stored them."""
    step, root = nodes.step[node], nodes.root[node]
    width = int(step.max()) + 1

    def placed(flat: Tensor, fill: float = 0) -> Tensor:
        out = torch.full((len(node), width), fill, dtype=flat.dtype, device=flat.device)
        return out.scatter_(1, step[:, None], flat[:, None])

    batch = sample.trajectories
    empty = placed(torch.zeros_like(step))
    rows = batch.replace(
        obs=placed(nodes.obs[node]),
        action=empty,
        log_prob=empty.to(torch.float64),
        reward=empty.to(torch.float64),
        mask=placed(torch.ones_like(step, dtype=torch.bool)),
        group=batch.group[root],
        context=batch.context[root],
        turn=placed(step),
        segment=empty,
        anchor=placed(nodes.anchor[node]),
        policy_row=placed(nodes.policy_row[node]),
        policy_action=empty,
        tree=torch.arange(len(node), device=node.device),
        node=torch.arange(len(node) * width, device=node.device).view(-1, width),
    )
    state = truth.state[node]
    hidden = Truth(
        placed(state), placed(state * 0 - 1, -1), placed(truth.code[node]), sample.truth.rollout[root], state
    )
    return Sample(rows, hidden)


@functools.lru_cache(maxsize=4)
def _best_values(table: TabularMDP) -> Floats:
    """V* by step and state, float64 ``[H + 1, S]``."""
    return optimal(table).V
