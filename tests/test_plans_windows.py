"""KLong's windows and time limits."""

import math

import numpy as np
import pytest
import torch
from batches import batches
from group_gradients import everlasting_table, group_gradients, step_gradients, z_scores
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import make_random_table, random_policy, random_table

from credit_envs.credit.grpo import dr_grpo
from credit_envs.credit.klong import klong as klong_credit
from credit_envs.dials.dynamics import horizon as with_horizon
from credit_envs.errors import CreditEnvsError
from credit_envs.losses.reinforce import reinforce
from credit_envs.oracle import Policy, uniform
from credit_envs.plans.klong import klong, split, windows
from credit_envs.sampling import Sampler
from credit_envs.sampling.trajectories import Sample

few = settings(max_examples=60, deadline=None)


@st.composite
def shapes(draw):
    window = draw(st.integers(1, 6))
    return window, draw(st.integers(0, window - 1))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=5), shapes())
def test_windows_by_a_naive_loop(lengths, shape):
    window, overlap = shape
    rollout, start = windows(torch.tensor(lengths), window, overlap)
    expected = []
    for i, length in enumerate(lengths):
        at = 0
        while True:
            expected.append((i, at))
            if at + window >= length:
                break
            at += window - overlap
    assert list(zip(rollout.tolist(), start.tolist(), strict=True)) == expected


def test_the_loop_as_often_given_adds_windows_for_nothing():
    """range(0, T, L − O) cuts a rollout that fits into one window in two."""
    assert windows(torch.tensor([6]), 6, 2)[1].tolist() == [0]
    assert list(range(0, 6, 6 - 2)) == [0, 4]


@few
@given(random_table(max_horizon=6), st.integers(0, 1000), shapes(), st.booleans())
def test_what_windows_cover(table, seed, shape, only_new):
    window, overlap = shape
    sampler = Sampler(table, uniform(table), seed)
    whole = sampler.groups(3, 2)
    cut = split(whole, window, overlap, only_new)
    batch, parts = whole.trajectories, cut.trajectories
    rollout, start = windows(batch.lengths, window, overlap)
    covered = torch.zeros_like(batch.mask, dtype=torch.int64).index_add_(0, rollout, parts.mask.long())
    # Each step is in at least one window, and in exactly one where nothing overlaps or only new steps count.
    assert torch.equal(covered > 0, batch.mask)
    if only_new or overlap == 0:
        assert int(covered.max()) == 1
    assert int(parts.lengths.max()) <= window
    assert int(parts.lengths.min()) >= 1
    # A row keeps its rollout's return, steps, group and tree.
    assert torch.equal(parts.returns, batch.returns[rollout])
    assert torch.equal(parts.group, batch.group[rollout])
    assert torch.equal(parts.node, batch.node[rollout])
    for row in range(len(rollout)):
        end = int(start[row]) + window
        i = int(rollout[row])
        after = whole.truth.state[i, end] if end < int(batch.lengths[i]) else whole.truth.final[i]
        assert int(cut.truth.final[row]) == int(after)


@few
@given(random_table(max_horizon=6), st.integers(0, 1000), st.integers(0, 5))
def test_one_window_is_dr_grpo(table, seed, overlap):
    one, two = (Sampler(table, uniform(table), seed) for _ in range(2))
    cut = klong(one, 3, 4, window=max(table.horizon, overlap + 1), overlap=overlap).trajectories
    batch = two.groups(3, 4).trajectories
    assert one.meter == two.meter
    for name in ("mask", "reward", "action", "node", "group"):
        assert torch.equal(getattr(cut, name), getattr(batch, name)), name
    assert torch.equal(klong_credit(cut), dr_grpo(batch))
    assert torch.equal(klong_credit(cut, score="window"), dr_grpo(batch))
    # And the loss is the same number.
    log_prob = batch.log_prob.clone().requires_grad_()
    assert torch.equal(reinforce(log_prob, cut, klong_credit(cut)), reinforce(log_prob, batch, dr_grpo(batch)))


@few
@given(batches())
def test_without_windows_the_credit_is_dr_grpo(batch):
    assert torch.equal(klong_credit(batch), dr_grpo(batch))


def test_windows_that_partition_change_only_the_baseline():
    """O = 0, equal lengths: every step is trained once, against the same mean."""
    table = everlasting_table(2, horizon=6)
    sampler = Sampler(table, uniform(table), 1)
    whole = sampler.groups(4, 5)
    cut = split(whole, 2, 0).trajectories
    credit = klong_credit(cut)
    rollout = torch.arange(20).repeat_interleave(3)
    total = torch.zeros(20, 6, dtype=torch.float64).index_add_(0, rollout, credit)
    assert torch.allclose(total, dr_grpo(whole.trajectories), atol=1e-12)


def test_scores_of_windows():
    table = everlasting_table(2, horizon=4)
    sampler = Sampler(table, uniform(table), 1)
    cut = klong(sampler, 2, 3, window=2, overlap=0).trajectories
    inside = torch.where(cut.mask, cut.reward, 0.0).sum(dim=1)
    got = klong_credit(cut, score="window").sum(dim=1) / 2
    assert torch.allclose(got, inside - inside.view(2, 6).mean(dim=1).repeat_interleave(6))
    assert not torch.allclose(got, klong_credit(cut).sum(dim=1) / 2)
    with pytest.raises(CreditEnvsError, match="score='step': expected 'rollout' or 'window'"):
        klong_credit(cut, score="step")


def test_default_windows():
    table = everlasting_table(2, horizon=8)
    cut = klong(Sampler(table, uniform(table), 1), 2, 3).trajectories
    assert cut.n_rollouts == 2 * 3 * 3  # windows of 4 steps, 2 of them shared: at 0, 2 and 4
    assert cut.lengths.tolist() == [4] * 18


# -- the time limit --------------------------------------------------------------------------------------------------


@few
@given(st.integers(0, 200), st.integers(1, 5), st.booleans())
def test_a_limit_is_a_shorter_horizon(seed, limit, cutoff):
    """Bit for bit the rollouts of the table with that horizon, cut-off reward included, at the price of the steps taken."""
    table = make_random_table(seed, n_states=8, horizon=5, cutoff=cutoff)
    short = with_horizon(table, limit)
    one, two = Sampler(table, uniform(table), seed), Sampler(short, uniform(short), seed)
    a, b = one.groups(6, 4, limit=limit), two.groups(6, 4)
    for name in ("obs", "action", "reward", "mask", "log_prob", "context", "turn"):
        assert torch.equal(getattr(a.trajectories, name), getattr(b.trajectories, name)), name
    assert torch.equal(a.truth.final, b.truth.final)
    assert one.meter == two.meter


def test_a_stage_trains_on_the_shorter_task():
    """E of the gradient of a stage with limit T_m is (n−1)/n of the exact gradient of the table with that horizon."""
    table = everlasting_table(4, horizon=6)
    policy = Policy("state", random_policy(table, 3))
    sampler = Sampler(table, policy, 0)
    batch = klong(sampler, 8000, 4, window=6, overlap=0, limit=0.5).trajectories
    assert batch.mask.shape[1] == 3
    assert sampler.meter.env_steps == 8000 * 4 * 3
    got = group_gradients(batch, klong_credit(batch)) / 4
    exact = 0.75 * step_gradients(with_horizon(table, 3), policy).sum(dim=0)
    assert float(z_scores(got, exact).abs().max()) < 4
    longer = 0.75 * step_gradients(table, policy).sum(dim=0)
    assert float(z_scores(got, longer).abs().max()) > 5


@pytest.mark.parametrize(("share", "steps"), [(1 / 3, 2), (0.5, 3), (2 / 3, 4), (1.0, 6), (0.01, 1)])
def test_limits_as_shares(share, steps):
    table = everlasting_table(4, horizon=6)
    assert klong(Sampler(table, uniform(table)), 2, 2, limit=share).trajectories.mask.shape[1] == steps


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, r"limit=0: expected a number in \(0, 1\]"),
        ({"window": 0}, "window=0: expected an integer in"),
        ({"window": 3, "overlap": 3}, r"overlap=3: expected an integer in \[0, 2\]"),
    ],
)
def test_malformed_windows_are_refused(options, message):
    table = everlasting_table(4)
    with pytest.raises(CreditEnvsError, match=message):
        klong(Sampler(table, uniform(table)), 2, 2, **options)


@pytest.mark.parametrize("limit", [0, 4, 1.5])
def test_malformed_limits_are_refused(limit):
    table = everlasting_table(4, horizon=3)
    with pytest.raises(CreditEnvsError, match="limit="):
        Sampler(table, uniform(table)).groups(2, 2, limit=limit)


def test_windows_of_overlapping_steps_are_trained_twice():
    table = everlasting_table(2, horizon=4)
    sample = Sampler(table, uniform(table), 1).groups(1, 2)
    cut = split(sample, 3, 2)
    assert isinstance(cut, Sample)
    assert cut.trajectories.mask.long().tolist() == [[1, 1, 1, 0], [0, 1, 1, 1]] * 2
    assert split(sample, 3, 2, only_new=True).trajectories.mask.long().tolist() == [[1, 1, 1, 0], [0, 0, 0, 1]] * 2
    assert math.isclose(float(np.prod(cut.trajectories.mask.shape)), 16)
