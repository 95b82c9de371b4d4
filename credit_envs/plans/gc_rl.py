"""GC-RL's second-order rollouts: solutions, and critiques of solutions that the policy wrote itself.

    first order    n solutions per question; a group with right and wrong ones is mixed
    cache          one right and one wrong solution of each mixed group
    second order   n critiques of each solution in the cache, a group of their own

For tables that hold both tasks (``Sums`` with ``task="both"``): a solution becomes the critique's context that shows it.
The critique knows solutions with at most one column that does not follow from its carry; others cannot be shown, are passed
over, and :func:`mixed_cache` counts them. The cache lasts for one call: in a training loop, that is one update. Rollouts of
the two orders are stacked; advantages run within the groups, and :mod:`credit_envs.rewards.critique` pays the critiques.

What the critiques are about depends on the policy, so they are no fair sample of the table's contexts. Without mixed groups
there is no second order. The cold start by supervised fine-tuning is not part of a plan.
Source: arXiv 2602.22765, §3 (no code).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from credit_envs.errors import CreditEnvsError
from credit_envs.plans.joining import joined
from credit_envs.sampling.draws import draws, mix_words, select_segment, streams
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Sample
from credit_envs.table.draws import Purpose, thresholds
from credit_envs.table.mdp import TabularMDP

REQUIRES = ("task", "given", "error")
"""Labels that a table must have."""

_FIRST_ORDER = int.from_bytes(b"solve", "big")


@dataclass(frozen=True, eq=False)
class Cache:
    """Solutions to be judged; P pairs.

    Attributes:
        context: int64 ``[2P]``, their contexts in the critique, right and wrong in turn.
        rollout: int64 ``[2P]``, which rollouts wrote them.
        mixed: number of mixed groups; P of them had a right and a wrong solution that can be shown.
        skipped: solutions of mixed groups that cannot be shown.
    """

    context: Tensor
    rollout: Tensor
    mixed: int
    skipped: int


def gc_rl(sampler: Sampler, groups: int, group_size: int) -> Sample:
    """Draws groups of solutions, then groups of critiques of what is in the cache.

    Args:
        sampler: metered.
        groups: number of questions.
        group_size: solutions per question, and critiques per solution.

    Raises:
        CreditEnvsError: for a table without both tasks.
    """
    _check(sampler.table)
    first = sampler.groups(groups, group_size, context=_questions(sampler, groups))
    cache = mixed_cache(first, sampler.table)
    if not len(cache.context):
        return first
    return joined([first, sampler.groups(len(cache.context), group_size, context=cache.context)])


def mixed_cache(sample: Sample, table: TabularMDP) -> Cache:
    """Takes one right and one wrong solution of each mixed group, the first that can be shown.

    Args:
        sample: solutions in groups.
        table: their table.

    Raises:
        CreditEnvsError: for a table without both tasks.
    """
    _check(table)
    batch, device = sample.trajectories, sample.trajectories.mask.device
    context = written(sample, table)
    right = batch.returns > 0
    number = torch.arange(batch.n_rollouts, device=device)
    picks = []
    for kind in (right, ~right):
        first = torch.full((batch.n_groups,), batch.n_rollouts, dtype=torch.int64, device=device)
        has = first.scatter_reduce(0, batch.group, torch.where(kind, number, batch.n_rollouts), "amin")
        shown = torch.where(kind & (context >= 0), number, batch.n_rollouts)
        picks.append((has < batch.n_rollouts, first.scatter_reduce(0, batch.group, shown, "amin")))
    mixed = picks[0][0] & picks[1][0]
    pair = torch.stack([pick for _, pick in picks], dim=1)
    rollout = pair[mixed & (pair < batch.n_rollouts).all(dim=1)].flatten()
    skipped = int((mixed[batch.group] & (context < 0)).sum())
    return Cache(context[rollout], rollout, int(mixed.sum()), skipped)


def written(sample: Sample, table: TabularMDP) -> Tensor:
    """Returns the context in which the critique shows each solution, int64 ``[N]``; −1 where it cannot.

    Where notes are not checked, a solution that is paid in spite of a wrong note has two columns that do not follow.
    """
    batch, truth = sample.trajectories, sample.truth
    device, mask = batch.mask.device, batch.mask
    label = {name: torch.from_numpy(values.copy()).to(device) for name, values in table.labels.items()}
    executed = torch.from_numpy(table.edge_action.astype("int64")).to(device)[truth.edge.clamp(min=0)]
    follows = executed == label["reference_action"][truth.state]

    # The last digit and the last carry that were written in each column.
    columns = int(label["error"].max())
    place = torch.where(mask & (label["turn"][truth.state] < 2), label["segment"][truth.state], columns)
    step = torch.arange(mask.shape[1], device=device).expand(mask.shape)
    last = []
    for turn in (0, 1):
        own = torch.where(mask & (label["turn"][truth.state] == turn), step, -1)
        found = torch.full((len(mask), columns + 1), -1, dtype=torch.int64, device=device)
        last.append(found.scatter_reduce(1, place, own, "amax")[:, :columns])
    complete = (last[0] >= 0).all(dim=1) & (last[1] >= 0).all(dim=1)
    digit, carry = (at.clamp(min=0) for at in last)
    bad = ~(follows.gather(1, digit) & follows.gather(1, carry))
    error = torch.where(bad.any(dim=1), bad.long().argmax(dim=1), columns)
    at = error.clamp(max=columns - 1)[:, None]
    stands = executed.gather(1, digit.gather(1, at)) * table.n_actions + executed.gather(1, carry.gather(1, at))
    given = torch.where(error < columns, stands[:, 0], -1)

    start = torch.from_numpy(table.start_state.copy()).to(device)
    instance = label.get("instance", torch.zeros_like(label["error"]))
    width = table.n_actions**2 + 1

    def key(of: Tensor, error: Tensor, given: Tensor) -> Tensor:
        return (of * (columns + 1) + error) * width + given + 1

    shown = torch.nonzero(label["task"][start] == 1).squeeze(1)
    keys, order = key(instance[start], label["error"][start], label["given"][start])[shown].sort()
    wanted = key(instance[start[batch.context]], error, given)
    found = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    one = (bad.sum(dim=1) <= 1) & complete & (keys[found] == wanted)
    solving = label["task"][start[batch.context]] == 0
    return torch.where(one & solving, shown[order[found]], -1)


def _check(table: TabularMDP) -> None:
    if not set(REQUIRES) <= set(table.labels):
        raise CreditEnvsError(f"gc_rl: {table.name} lacks a critique of what it solves; expected Sums with task='both'")
    for name in ("token", "field"):
        if name in table.labels:
            raise CreditEnvsError(f"gc_rl: expected a table without the label {name}, whose steps are whole tokens")


def _questions(sampler: Sampler, groups: int) -> Tensor:
    """Draws the contexts in which something is to be solved, with the table's probabilities."""
    table, device = sampler.table, sampler.dynamics.device
    solving = table.start_probability * (table.labels["task"][table.start_state] == 0)
    threshold = torch.from_numpy(thresholds(solving / solving.sum())).to(device)
    number = torch.arange(groups, device=device)
    # What was spent so far tells one call from the next.
    key = streams(sampler.seed, Purpose.START, torch.full_like(number, sampler.meter.policy_calls), number)
    luck = draws(mix_words(key, _FIRST_ORDER), 0)
    return select_segment(threshold, 0 * number, 0 * number + table.n_contexts - 1, luck, table.n_contexts)
