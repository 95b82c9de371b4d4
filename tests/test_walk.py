"""The kernel of sampling against the same walk taken step by step in torch, bit for bit; a card against the CPU."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import random_policy, random_table

from credit_envs import make_table
from credit_envs.oracle.policy import Policy, uniform
from credit_envs.sampling import Sampler
from credit_envs.sampling.walk import Lanes, returns, walk

KNOBS = (
    "credit/FrozenLake-v0",
    "credit/FrozenLake-v0?delay=3",
    "credit/DoorKey-v0",  # rewards with a factor per step
    "credit/KeyRooms-v0?horizon=64&slip=0.1&skins=4&paraphrases=3",
    "credit/Gallery-v0",
    "credit/Lookup-v0",
    "credit/Apps-v0",
)


def stepwise(sampler, lanes, limit, discount):
    """The walk as policies with memory take it: all lanes one step at a time, by the moves of DeviceTable."""
    d, policy = sampler.dynamics, sampler.policy
    keys = sampler._keys(lanes.context, lanes.rollout, lanes.branch)
    n, columns = len(lanes.state), []
    state, t, on = lanes.state, lanes.step, torch.ones(len(lanes.state), dtype=torch.bool)
    final, total = state.clone(), torch.zeros(n, dtype=torch.float64)
    weight = torch.ones(n, dtype=torch.float64)
    while bool(on.any()):
        code = sampler._emit(state, keys, t)
        choice, edge = policy.act(state, code, keys["action"], t)
        after, paid, ended = d.step(state, edge, keys["outcome"], t, limit)
        columns.append([torch.where(on, x, -9) for x in (t, state, code, choice, edge, paid)])
        total += torch.where(on, weight * paid, 0.0)
        weight = weight * discount
        final = torch.where(on, after, final)
        on = on & ~ended
        state, t = torch.where(on, after, state), torch.where(on, t + 1, t)
    return [torch.stack(column, dim=1) for column in zip(*columns, strict=True)], final, total


def agree(table, policy, seed, limit, discount):
    sampler = Sampler(table, policy, seed)
    generator = torch.Generator().manual_seed(seed)
    n, horizon = 23, table.horizon if limit is None else limit

    def words(high):
        return torch.randint(high, (n,), generator=generator)

    alive = torch.from_numpy(np.flatnonzero(table.n_admissible > 0))
    lanes = Lanes(words(table.n_contexts), words(50), words(9), alive[words(len(alive))], words(horizon))
    got = walk(sampler.policy, seed, lanes, limit)
    (t, *columns), final, total = stepwise(sampler, lanes, limit, discount)
    lane, place = torch.nonzero(t >= 0, as_tuple=True)
    when = t[lane, place]
    mask = torch.zeros_like(got.mask)
    mask[lane, when] = True
    assert torch.equal(got.mask, mask)
    assert torch.equal(got.final, final)
    for name, column, fill in zip(
        ("state", "code", "choice", "edge", "reward"), columns, (0, 0, 0, -1, 0), strict=True
    ):
        found = getattr(got, name)
        assert torch.equal(found[lane, when], column[lane, place]), name
        assert bool((found[~mask] == fill).all()), name
    if limit is None:
        earned, steps = returns(sampler.policy, seed, lanes, discount)
        assert torch.equal(earned, total)
        assert torch.equal(steps, mask.sum(dim=1))


@settings(max_examples=60, deadline=None)
@given(
    random_table(), st.integers(0, 2**63 - 1), st.sampled_from(["state", "look", "obs"]), st.sampled_from([1.0, 0.9])
)
def test_kernel_is_the_walk_step_by_step(table, seed, rows, discount):
    policy = Policy(rows, random_policy(table, seed % 1000, rows))
    agree(table, policy, seed, None, discount)
    agree(table, policy, seed, max(1, table.horizon - 1), discount)


@pytest.mark.parametrize("name", KNOBS)
def test_kernel_on_environments(name):
    table = make_table(name)
    agree(table, uniform(table), 3, None, 0.95)
    agree(table, uniform(table), -1, min(5, table.horizon), 1.0)  # a seed is any integer


def test_tables_too_large_for_a_dense_list_of_edges(monkeypatch):
    monkeypatch.setattr("credit_envs.sampling.device._DENSE_EDGES", 0)
    for name in ("credit/Apps-v0", "credit/KeyRooms-v0"):
        table = make_table(name)
        agree(table, uniform(table), 5, None, 1.0)


def test_threads_share_lanes_and_nothing_else():
    table = make_table("credit/KeyRooms-v0")
    before = torch.get_num_threads()
    try:
        batches = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            batches.append(Sampler(table, uniform(table), 1).groups(150, 8).trajectories)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(batches[0].obs, batches[1].obs)
    assert torch.equal(batches[0].reward, batches[1].reward)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA card")
@pytest.mark.parametrize("name", KNOBS)
def test_cuda_walks_the_same(name):
    table = make_table(name)
    here, there = (Sampler(table, uniform(table), 4, device) for device in ("cpu", "cuda"))
    one, two = (s.groups(300, 4) for s in (here, there))
    for a, b in ((one.trajectories, two.trajectories), (one.truth, two.truth)):
        for field, value in vars(a).items():
            if value is None:
                continue
            found = getattr(b, field).cpu()
            if field in ("log_prob", "reward"):  # logarithms, and products that a card adds at once
                torch.testing.assert_close(found, value, rtol=1e-14, atol=1e-14)
            else:
                assert torch.equal(found, value), field
    rollout, step = torch.nonzero(one.trajectories.mask, as_tuple=True)
    rollout, step = rollout[:500], step[:500]
    a, b = (
        s.continuations(x, rollout.to(d), step.to(d), 4, 0.9) for s, x, d in ((here, one, "cpu"), (there, two, "cuda"))
    )
    torch.testing.assert_close(a, b.cpu(), rtol=1e-14, atol=1e-14)
    one, two = (s.branches(x, rollout.to(d), step.to(d)) for s, x, d in ((here, one, "cpu"), (there, two, "cuda")))
    assert torch.equal(one.trajectories.action, two.trajectories.action.cpu())
    assert here.meter == there.meter
