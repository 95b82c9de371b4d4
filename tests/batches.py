"""Trajectories written by hand or drawn by hypothesis, without a table or a sampler."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from credit_envs.sampling.trajectories import Trajectories


def padded(rows: Sequence[Sequence[float]], dtype: torch.dtype, fill: float = 0) -> Tensor:
    """Stacks rows of different lengths into ``[N, T]``."""
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows], dtype=dtype)


def make_batch(
    rewards: Sequence[Sequence[float]],
    anchors: Sequence[Sequence[int]] | None = None,
    group: Sequence[int] | None = None,
    context: Sequence[int] | None = None,
    actions: Sequence[Sequence[int]] | None = None,
    policy: Any = None,
) -> Trajectories:
    """A batch from one list per rollout; without anchors nothing is shared, without groups there is one."""
    places = np.cumsum([0, *(len(row) for row in rewards)])
    alone = [list(range(a, b)) for a, b in itertools.pairwise(places.tolist())]
    obs = padded(anchors if anchors is not None else alone, torch.int64)
    mask = padded([[1] * len(row) for row in rewards], torch.bool)
    table = torch.full((int(obs.max()) + 1, 2), 0.5, dtype=torch.float64) if policy is None else torch.as_tensor(policy)
    action = padded(actions if actions is not None else [[0] * len(row) for row in rewards], torch.int64)
    zero = torch.zeros(len(rewards), dtype=torch.int64)
    return Trajectories(
        obs=obs,
        action=action,
        log_prob=torch.where(mask, table[obs, action].log(), 0.0),
        reward=padded(rewards, torch.float64),
        mask=mask,
        group=zero if group is None else torch.tensor(group),
        context=zero if context is None else torch.tensor(context),
        turn=torch.where(mask, torch.arange(mask.shape[1]), 0),
        segment=torch.zeros_like(obs),
        anchor=obs,
        policy_row=obs,
        policy_action=action,
        policy_table=table,
    )


@st.composite
def batches(
    draw: st.DrawFn, max_groups: int = 3, max_size: int = 4, max_steps: int = 6, n_anchors: int = 4, min_size: int = 1
) -> Trajectories:
    """Random batches: groups of different sizes in two contexts, few anchors (so that rollouts meet and turn back)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**30)))
    sizes = draw(st.lists(st.integers(min_size, max_size), min_size=1, max_size=max_groups))
    steps = draw(st.integers(1, max_steps))
    anchors_used = draw(st.integers(1, n_anchors))
    group = np.repeat(np.arange(len(sizes)), sizes)
    lengths = rng.integers(1, steps + 1, len(group))
    values = draw(st.sampled_from([[0.0, 1.0], [-0.5, 0.0, 1.0, 0.3], [0.0, 0.0, 0.0, 10.0]]))
    policy = rng.dirichlet(np.ones(3), size=n_anchors)
    anchors = [rng.integers(0, anchors_used, n).tolist() for n in lengths]
    return make_batch(
        rewards=[rng.choice(values, n).tolist() for n in lengths],
        anchors=anchors,
        group=group.tolist(),
        context=(np.arange(len(sizes)) % 2)[group].tolist(),
        actions=[[int(rng.choice(3, p=policy[a])) for a in row] for row in anchors],
        policy=policy,
    )


def rows_of(batch: Trajectories, index: Tensor) -> Trajectories:
    """The same rollouts in another order (or some of them)."""
    per_rollout = {n: v[index] for n, v in vars(batch).items() if n != "policy_table" and v is not None}
    return batch.replace(**per_rollout)
