"""Tree-GRPO's trees: a few chains per prompt, branched at randomly chosen steps.

    M chains per prompt; L rounds, in each of which every tree is forked at N of its nodes, drawn uniformly with
    replacement from the root and all nodes that aren't leaves; a fork follows the tree to its node and then goes on anew.
    Leaves per prompt: M (L·N + 1), each one row. Budget in chains, as the paper's table has it: M (1 + L·N/2).

A node is one whole step of the agent: a turn, of one or several tokens. Where a leaf is told apart from the tree is in
`batch.node`; leaves of a tree share `batch.tree`. The meter counts the steps that were really taken: a fork of a chain of
depth D costs (D + 1)/(2D) of it on average, more than the paper's half.

Groups of leaves are no groups of independent rollouts. Where all episodes last equally long every leaf is by itself
distributed as the policy plays. Where they don't, it isn't: only long episodes have late nodes. A fork of a chain follows
path w of d steps with Σ_{t<d} E[1/D | w up to t] times its probability, D the chain's length, so long paths come up too
often (checked in the tests).

`group_size` sets the budget: by default M is chosen so that a prompt costs about as much as `group_size` chains by the
paper's formula, so that 2, 4, 8 and 16 give its (1, 2, 1), (2, 2, 1), (4, 2, 1) and (8, 2, 1); a prompt then has
1.5 · `group_size` leaves. Released-code option: ``keep`` leaves per tree stay, chosen at random (``ts_k``); what the
others cost is charged.

Source: Ji et al. 2025, arXiv 2509.21240 (ICLR 2026), §3.1; released code ``search_r1/llm_agent/generation_ts.py``. The
printed budget M·B + L·N·B/2 leaves out a factor M that its table has.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.errors import check_range
from credit_envs.sampling.draws import draws, mix_words, streams
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.statistics import compact, group_count
from credit_envs.sampling.trajectories import Sample, Trajectories, stack
from credit_envs.table.draws import Purpose

_FORK, _LEAF = 0x666F726B, 0x6C656166
"""Words that keep the draws of nodes and leaves apart from a search's."""


def paper_budget(trees: int, forks: int, rounds: int) -> float:
    """Returns the cost of a prompt in chains by the paper's table, M (1 + L·N/2)."""
    return trees * (1 + rounds * forks / 2)


def trees(
    sampler: Sampler,
    groups: int,
    group_size: int,
    trees: int | None = None,
    forks: int = 2,
    rounds: int = 1,
    keep: int | None = None,
) -> Sample:
    """Grows trees and returns their leaves, those of a tree adjacent.

    Args:
        sampler: metered; forks are charged as it says.
        groups: number of prompts.
        group_size: chains that a prompt's budget is worth, where ``trees`` isn't given.
        trees: M, trees per prompt.
        forks: N ≥ 0, forks per tree and round.
        rounds: L ≥ 0.
        keep: leaves per tree that stay (default: all).

    Returns:
        ``groups · M · min(L·N + 1, keep)`` rollouts.

    Raises:
        CreditEnvsError: for arguments out of range, or where states cannot be restored.
    """
    for name, value in (("forks", forks), ("rounds", rounds)):
        check_range(name, value, 0, 1 << 20, integer=True)
    if trees is None:
        check_range("group_size", group_size, 1, 1 << 30, integer=True)
        trees = max(1, round(group_size / paper_budget(1, forks, rounds)))
    check_range("trees", trees, 1, 1 << 30, integer=True)
    sample = sampler.groups(groups, trees)
    first = sample.trajectories.context, sample.truth.rollout
    number = torch.arange(forks, device=first[0].device)
    for round_number in range(rounds if forks else 0):
        rollout, step, start, count = fork_points(sample.trajectories)
        key = mix_words(streams(sampler.seed, Purpose.SEARCH, *first, round_number), _FORK)
        place = start[:, None] + _uniform(key, number, count)
        chosen = place.flatten()
        sample = stack([sample, sampler.branches(sample, rollout[chosen], step[chosen])])
    sample = sample.rows(torch.argsort(sample.trajectories.tree, stable=True))
    leaves = rounds * forks + 1
    if keep is None or keep >= leaves:
        return sample
    check_range("keep", keep, 1, leaves, integer=True)
    key = mix_words(streams(sampler.seed, Purpose.SEARCH, *first), _LEAF)
    luck = draws(key[:, None], torch.arange(leaves, device=key.device))
    stay = torch.argsort(luck, dim=1, stable=True)[:, :keep].sort(dim=1).values
    offset = torch.arange(len(stay), device=stay.device)[:, None] * leaves
    return sample.rows((offset + stay).flatten())


def fork_points(batch: Trajectories) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Finds the nodes at which trees can be forked: the root, and whatever is not a leaf, each once.

    Args:
        batch: rows in trees numbered without gaps.

    Returns:
        ``(rollout, step, start, count)``: for each node a row that passes through it and the step that the row takes
        there, int64 ``[nodes]``, nodes of a tree adjacent; and each tree's first node and number of nodes, int64
        ``[trees]``.
    """
    mask, turn = batch.mask, batch.turn
    begins = mask.clone()
    begins[:, 1:] &= (turn[:, 1:] != turn[:, :-1]) | ~mask[:, :-1]
    # The node that a step starts from is named by the step that led there, the root by its tree.
    origin = torch.empty_like(batch.node)
    origin[:, 1:] = batch.node[:, :-1]
    origin[:, 0] = -1 - batch.tree
    rollout, step = torch.nonzero(begins, as_tuple=True)
    ids, n = compact(origin[begins])
    place = torch.arange(len(ids), device=ids.device)
    first = torch.full((n,), len(ids), dtype=torch.int64, device=ids.device).scatter_reduce(0, ids, place, "amin")
    first = first[torch.argsort(batch.tree[rollout[first]], stable=True)]
    count = group_count(batch.tree[rollout[first]], batch.n_trees).to(torch.int64)
    return rollout[first], step[first], count.cumsum(0) - count, count


def _uniform(key: Tensor, number: Tensor, count: Tensor) -> Tensor:
    """Draws ``[trees, numbers]`` integers below each tree's count, from keys ``[trees]``."""
    luck = draws(key[:, None], number).to(torch.float64) / 2.0**53
    return torch.minimum((luck * count[:, None]).to(torch.int64), count[:, None] - 1)
