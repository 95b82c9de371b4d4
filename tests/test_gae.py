"""GAE and its critics: limits, masked tokens, and what each critic makes of the credit, against exact values."""

import functools

import numpy as np
import pytest
import torch
from batches import batches, make_batch
from gaps import with_gaps
from hypothesis import given, settings
from hypothesis import strategies as st
from test_credit_statistics import assert_biased, assert_zero_mean, scene

from credit_envs.credit.critics import corrupted, fitted, learned, predicted, seen
from credit_envs.credit.gae import gae, ppo_corrupted, ppo_exact, ppo_learned, value_targets
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.providers import Provided
from credit_envs.oracle.evaluation import Values, cutoff_values
from credit_envs.sampling.packing import Packing
from credit_envs.sampling.statistics import returns_to_go, whitened

few = settings(max_examples=60, deadline=None)
close = functools.partial(torch.allclose, rtol=1e-9, atol=1e-9)
discounts, lambdas = st.sampled_from([1.0, 0.9, 0.5, 0.0]), st.sampled_from([0.0, 0.3, 0.95, 1.0])


def numbers(batch, seed):
    """Any values, one per step, rubbish where masked included."""
    return torch.from_numpy(np.random.default_rng(seed).normal(size=batch.mask.shape))


def reference(reward, value, mask, gamma, lam):
    """The loop of verl: from the last token to the first, the carry passing through masked ones."""
    out = torch.zeros_like(reward)
    for i in range(len(mask)):
        next_value = next_advantage = 0.0
        for t in range(mask.shape[1] - 1, -1, -1):
            if mask[i, t]:
                error = float(reward[i, t]) + gamma * next_value - float(value[i, t])
                next_advantage = error + gamma * lam * next_advantage
                next_value = float(value[i, t])
                out[i, t] = next_advantage
    return out


@few
@given(batches(max_steps=9), discounts, lambdas, st.integers(0, 99))
def test_against_the_loop(batch, gamma, lam, seed):
    value = numbers(batch, seed)
    assert close(
        gae(batch.reward, value, batch.mask, gamma, lam), reference(batch.reward, value, batch.mask, gamma, lam)
    )
    wide, move = with_gaps(batch, seed)
    rubbish = torch.where(wide.mask, move(batch.reward), numbers(wide, seed + 1))
    spread = torch.where(wide.mask, move(value), numbers(wide, seed + 2))
    got = gae(rubbish, spread, wide.mask, gamma, lam)
    assert close(got, reference(rubbish, spread, wide.mask, gamma, lam))
    assert close(got, move(gae(batch.reward, value, batch.mask, gamma, lam)))


@few
@given(batches(max_steps=9), discounts, st.integers(0, 99))
def test_limits(batch, gamma, seed):
    value = torch.where(batch.mask, numbers(batch, seed), 0.0)
    to_go = returns_to_go(batch.reward, batch.mask, gamma)
    nothing = torch.zeros_like(value)
    assert close(gae(batch.reward, nothing, batch.mask, gamma, 1.0), to_go)
    assert close(gae(batch.reward, value, batch.mask, gamma, 1.0), to_go - value)
    later = torch.zeros_like(value)
    later[:, :-1] = value[:, 1:]
    one_step = torch.where(batch.mask, batch.reward + gamma * later - value, 0.0)
    assert close(gae(batch.reward, value, batch.mask, gamma, 0.0), one_step)
    assert close(value_targets(batch.reward, value, batch.mask, gamma, 1.0), to_go)
    assert close(value_targets(batch.reward, value, batch.mask, gamma, 0.0), one_step + value)


@few
@given(batches(max_steps=9), st.integers(0, 99))
def test_whitening(batch, seed):
    got = gae(batch.reward, numbers(batch, seed), batch.mask, 0.9, 0.9, whiten=True)
    flat = got[batch.mask]
    if len(flat) > 2:
        assert float(flat.mean()) == pytest.approx(0, abs=1e-9)
        assert float(flat.std()) == pytest.approx(1, abs=1e-6)
    assert torch.all(got[~batch.mask] == 0)
    assert torch.all(whitened(torch.full((5,), 10 * 0.95**3, dtype=torch.float64)) == 0)


@few
@given(batches(max_steps=6), st.integers(0, 99))
def test_packing_there_and_back(batch, seed):
    wide, _ = with_gaps(batch, seed)
    packing = Packing(wide.mask)
    packed = packing.pack(wide.anchor)
    for i, n in enumerate(batch.lengths.tolist()):
        assert packed[i, :n].tolist() == batch.anchor[i, :n].tolist()
        assert torch.all(packed[i, n:] == 0)
    assert torch.equal(packing.unpack(packed), torch.where(wide.mask, wide.anchor, 0))


# -- what it estimates -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_exact_values_give_the_advantage_for_every_lambda(seed, lam):
    table, _, sampler, sample, values, advantage = scene(seed)
    batch = sample.trajectories
    value = Provided(sampler, sample, values)["value"]
    got = ppo_exact(batch, value=value, gamma=table.discount, lam=lam)
    assert_zero_mean(table, sample, got - advantage)
    assert_biased(table, sample, got - 1.5 * advantage)


def guess(table, values, seed):
    """A wrong critic, a function of the state alone, and V̂_t as the oracle stores values."""
    wrong = values.V.mean(axis=0) + 0.5 * np.random.default_rng(seed).normal(size=table.n_states)
    stored = np.repeat(wrong[None], table.horizon + 1, axis=0)
    stored[-1] = cutoff_values(table)  # after the end there is nothing but the cut-off reward
    return torch.from_numpy(wrong), Values(table, stored)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_wrong_critic(seed):
    """λ = 1: Q − V̂. λ = 0: E[r + γ V̂(s′)] − V̂(s). Neither is A, and each misses the other's target."""
    table, _, _, sample, values, advantage = scene(seed)
    batch, state = sample.trajectories, sample.truth.state
    wrong, stored = guess(table, values, seed)
    value = wrong[state]
    step = torch.arange(state.shape[1])
    level = torch.where(batch.mask, advantage + torch.from_numpy(values.V)[step, state] - value, 0.0)
    there = torch.nonzero(batch.mask)[:, 1].numpy()
    one_step = torch.zeros_like(level)
    one_step[batch.mask] = torch.from_numpy(
        stored.advantage_at(there, state[batch.mask].numpy(), sample.truth.edge[batch.mask].numpy())
    )
    long = gae(batch.reward, value, batch.mask, table.discount, 1.0)
    short = gae(batch.reward, value, batch.mask, table.discount, 0.0)
    assert_zero_mean(table, sample, long - level)
    assert_zero_mean(table, sample, short - one_step)
    assert_biased(table, sample, long - advantage)
    assert_biased(table, sample, short - advantage)
    assert_biased(table, sample, short - level)


# -- critics ---------------------------------------------------------------------------------------------------------


def test_fits_by_hand():
    # A B win, A C lose, B lose. Monte-Carlo: A 1/2, B 1/2, C 0. One step: B = 1/2, C = 0, A = (B + C)/2 = 1/4.
    batch = make_batch([[0, 1.0], [0, 0.0], [0.0]], anchors=[[7, 3], [7, 4], [3]])
    keys = torch.tensor([7, 3, 4, 99])
    assert predicted(fitted(batch, batch.anchor, 1.0), keys).tolist() == [0.5, 0.5, 0.0, pytest.approx(2 / 5)]
    mean = (1 / 4 * 2 + 1 / 2 * 2 + 0) / 5
    assert predicted(fitted(batch, batch.anchor, 1.0, "td"), keys).tolist() == pytest.approx([0.25, 0.5, 0.0, mean])
    # A loop: A A A end with 1; V = (2 γ V + 1)/3.
    loop = make_batch([[0, 0, 1.0]], anchors=[[5, 5, 5]])
    for gamma in (1.0, 0.5):
        assert predicted(fitted(loop, loop.anchor, gamma, "td"), torch.tensor([5])).tolist() == pytest.approx(
            [(1 / 3) / (1 - 2 * gamma / 3)]
        )
    with pytest.raises(CreditEnvsError, match="fit='sgd': expected one of"):
        fitted(batch, batch.anchor, 1.0, "sgd")


@few
@given(batches(max_steps=6), discounts, st.integers(0, 99))
def test_lstd_is_the_fixed_point_of_td(batch, gamma, seed):
    wide, _ = with_gaps(batch, seed)
    for data in (batch, wide):
        value = predicted(fitted(data, data.anchor, gamma, "td"), data.anchor)
        error = gae(data.reward, value, data.mask, gamma, 0.0)
        for key in torch.unique(data.anchor[data.mask]).tolist():
            assert float(error[data.mask & (data.anchor == key)].sum()) == pytest.approx(0, abs=1e-8)
        monte = predicted(fitted(data, data.anchor, gamma), data.anchor)
        error = gae(data.reward, monte, data.mask, gamma, 1.0)
        for key in torch.unique(data.anchor[data.mask]).tolist():
            assert float(error[data.mask & (data.anchor == key)].sum()) == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("fit", ["mc", "td"])
def test_a_learned_critic_that_sees_the_clock_finds_the_values(fit):
    """12,000 fresh groups: every well-visited value within 5 standard errors or so of V, and no key is mixed up."""
    table, _, sampler, sample, values, _ = scene(1)
    batch = sample.trajectories
    exact = Provided(sampler, sample, values)["value"]
    value = learned(batch, lambda groups: sampler.groups(groups, 3).trajectories, table.discount, fit, time=True)
    key = seen(batch, time=True)[batch.mask]
    _, ids, count = torch.unique(key, return_inverse=True, return_counts=True)
    well = (count > 400)[ids]
    assert float(well.double().mean()) > 0.9
    assert float((value - exact)[batch.mask][well].abs().max()) < 0.15
    assert float((value - exact)[batch.mask].mean().abs()) < 0.02


def test_ppo_learned_asks_for_as_many_groups():
    batch = make_batch([[0, 1.0], [0.0]], anchors=[[1, 2], [1]], group=[0, 1])
    data = make_batch([[1.0, 1.0], [0.0]], anchors=[[1, 2], [1]])
    asked = []
    got = ppo_learned(batch, fresh=lambda groups: asked.append(groups) or data, lam=1.0)
    assert asked == [2]
    assert got.tolist() == [[1 - 1.0, 1 - 1.0], [0 - 1.0, 0.0]]  # V̂(1) = (2 + 0)/2, V̂(2) = 1
    td = ppo_learned(batch, fresh=lambda groups: data, lam=1.0, fit="td", whiten=False)
    assert td.tolist() == got.tolist()
    timed = ppo_learned(batch, fresh=lambda groups: data, lam=0.0, time=True)
    assert timed.tolist() == [[0 + 1 - 1, 1 - 1.0], [0 - 1.0, 0.0]]


def test_corruption_has_the_stated_size_and_sticks_to_what_is_seen():
    _, _, sampler, sample, values, _ = scene(1)
    batch = sample.trajectories
    provided = Provided(sampler, sample, values)
    exact, noise = provided["value"], provided["noise"]
    wide = batch.replace(anchor=torch.arange(batch.mask.numel()).view(batch.mask.shape))
    error = (corrupted(wide, exact, noise, 0.5) - exact)[batch.mask]
    spread = float(exact[batch.mask].std(correction=0))
    assert float(error.std()) == pytest.approx(0.5 * spread, rel=0.02)
    assert float(error.mean()) == pytest.approx(0, abs=0.02 * spread)
    error = (corrupted(batch, exact, noise, 0.5) - exact)[batch.mask]
    for key in torch.unique(batch.anchor[batch.mask]).tolist():
        assert float(error[batch.anchor[batch.mask] == key].std()) < 1e-12
    assert torch.equal(ppo_corrupted(batch, value=exact, noise=noise, size=0.0), ppo_exact(batch, value=exact))
    got = ppo_corrupted(batch, value=exact, noise=noise, size=0.5, lam=1.0)
    assert close(got, gae(batch.reward, corrupted(batch, exact, noise, 0.5), batch.mask, 1.0, 1.0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gamma": 1.1}, r"gamma=1\.1: expected a number in \[0, 1\]"),
        ({"lam": -0.1}, r"lam=-0\.1"),
        ({"size": -1}, "size=-1"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    batch = make_batch([[1.0], [0.0]])
    with pytest.raises(CreditEnvsError, match=message):
        ppo_corrupted(batch, value=batch.reward, noise=lambda salt, n: torch.zeros(n), **arguments)
