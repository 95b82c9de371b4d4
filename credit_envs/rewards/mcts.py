"""MCTS → PRM: a reward model of tree search's action values, paid as a potential (or raw, to show what that does).

    labels   {(s, a): Q(s, a) with N(s, a) ≥ n_min} of all nodes of trees grown from visited states
    model    Q̂(s, a) = Σ N Q / Σ N over the labels of one (anchor, action),   V̂(s) = Σ_a π(a|s) Q̂(s, a)
    shaped   r'_t = r_t + γ V̂(s_{t+1}) − V̂(s_t),  V̂ = 0 after the end       no policy's rank changes (Ng et al. 1999)
    raw      r'_t = Q̂(s_t, a_t)                                                the longer an episode, the more it is paid

At γ = 1 the shaped rewards sum to R − V̂(s_0), whatever V̂ is; where V̂ = V^π their mean given (s, a) is A^π. The weighted
mean is the minimiser of the squared error and of the cross-entropy of [0, 1] labels. Searching costs B simulations to the
end per root; roots are picked so that every visited anchor is searched once, the most visited first, before any is
searched twice.

Q of UCT is neither Q^π nor Q* at a finite budget, so V̂ is off by more than noise: ``rule="policy"`` removes that, and
``puct`` trusts the policy's prior. Reconstruction: no single paper gives the recipe. Where a visited anchor has no label of
an action, its mean stands in; an anchor without any is valued at the mean of all labels. Sources: Kocsis and Szepesvári
2006 (UCT); Ng, Harada and Russell 1999, "Policy invariance under reward transformations".
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from credit_envs.errors import check_range
from credit_envs.piece import Search
from credit_envs.sampling.statistics import compact
from credit_envs.sampling.tabular import ActionTable, anchor_keys, expected, fit_means, keys
from credit_envs.sampling.trajectories import Trajectories


def fit(
    batch: Trajectories,
    search: Search,
    simulations: int = 16,
    roots: float = 1.0,
    c: float = 2**0.5,
    rule: str = "uct",
    n_min: int = 2,
) -> ActionTable:
    """Searches from some of the visited states and fits Q̂ on what was found.

    Args:
        batch: rollouts.
        search: see :class:`~credit_envs.piece.Search`.
        simulations: B, per root.
        roots: searches per rollout, on average.
        c: weight of exploration.
        rule: ``uct``, ``puct`` or ``policy``.
        n_min: simulations that a label must rest on, or as many as the best-visited one has.

    Raises:
        CreditEnvsError: for an option out of range.
    """
    check_range("roots", roots, 0, 1 << 20, open_low=True)
    check_range("n_min", n_min, 1, 1 << 30, integer=True)
    rollout, step = _roots(batch, max(1, round(roots * batch.n_rollouts)))
    nodes = search(rollout, step, simulations, c, rule, nodes=True).nodes
    assert nodes is not None
    kept = (nodes.count >= min(n_min, int(nodes.count.max()))) & (nodes.action >= 0)
    if not kept.any():  # only inadmissible moves were repeated
        kept = nodes.count > 0
    key = anchor_keys(batch.context[rollout][nodes.root], nodes.anchor)[nodes.node[kept]]
    weight = nodes.count[kept].to(torch.float64)
    return fit_means(key, nodes.action[kept].clamp(min=0), nodes.q[kept], batch.policy_table.shape[1], weight)


def shaped(batch: Trajectories, value: Tensor, gamma: float = 1.0) -> Trajectories:
    """Returns the batch paid r + γV(s') − V(s).

    Args:
        batch: rollouts.
        value: float64 ``[N, T]``, V of the states in which steps are taken.
        gamma: discount, in [0, 1].

    Raises:
        CreditEnvsError: for a discount out of range.
    """
    check_range("gamma", gamma, 0, 1)
    value = torch.where(batch.mask, value, 0.0)
    paid = batch.reward + gamma * pad(value[:, 1:], (0, 1)) - value
    return batch.replace(reward=torch.where(batch.mask, paid, batch.reward))


def mcts_shaped(
    batch: Trajectories,
    *,
    search: Search,
    gamma: float = 1.0,
    simulations: int = 16,
    roots: float = 1.0,
    c: float = 2**0.5,
    rule: str = "uct",
    n_min: int = 2,
) -> Trajectories:
    """Returns the batch with potential-based rewards of the fitted model.

    Args:
        batch: rollouts.
        search: see :func:`fit`, like the options.
        gamma: discount of the potential.
        simulations: see :func:`fit`.
        roots: see :func:`fit`.
        c: see :func:`fit`.
        rule: see :func:`fit`.
        n_min: see :func:`fit`.

    Raises:
        CreditEnvsError: for an option out of range.
    """
    if not batch.mask.any():
        return batch
    model = fit(batch, search, simulations, roots, c, rule, n_min)
    return shaped(batch, expected(model, batch, keys(batch, "anchor")), gamma)


def mcts_raw_q(
    batch: Trajectories,
    *,
    search: Search,
    simulations: int = 16,
    roots: float = 1.0,
    c: float = 2**0.5,
    rule: str = "uct",
    n_min: int = 2,
) -> Trajectories:
    """Returns the batch paid Q̂(s_t, a_t) at every step; rollouts that dawdle where values are high gain by it.

    Args:
        batch: rollouts.
        search: see :func:`fit`, like the options.
        simulations: see :func:`fit`.
        roots: see :func:`fit`.
        c: see :func:`fit`.
        rule: see :func:`fit`.
        n_min: see :func:`fit`.

    Raises:
        CreditEnvsError: for an option out of range.
    """
    if not batch.mask.any():
        return batch
    model = fit(batch, search, simulations, roots, c, rule, n_min)
    paid = model.at(keys(batch, "anchor"), batch.policy_action)
    return batch.replace(reward=torch.where(batch.mask, paid, 0.0))


def _roots(batch: Trajectories, n: int) -> tuple[Tensor, Tensor]:
    """Picks steps to search from, rollout and step int64 ``[min(n, steps)]``."""
    rollout, step = torch.nonzero(batch.mask, as_tuple=True)
    anchor, n_anchors = compact(keys(batch, "anchor")[batch.mask])
    count = torch.bincount(anchor, minlength=n_anchors)
    by_anchor = torch.argsort(anchor, stable=True)
    earlier = torch.empty_like(anchor)
    earlier[by_anchor] = torch.arange(len(anchor), device=anchor.device) - (count.cumsum(0) - count)[anchor[by_anchor]]
    order = torch.argsort(earlier * (len(anchor) + 1) + len(anchor) - count[anchor], stable=True)[:n]
    return rollout[order], step[order]
