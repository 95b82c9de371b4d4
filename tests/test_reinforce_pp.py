"""REINFORCE++: whitening over the batch, with and without a group's mean, and what is left of it in expectation."""

import functools

import numpy as np
import pytest
import torch
from batches import batches, make_batch
from gaps import with_gaps
from hypothesis import given, settings
from hypothesis import strategies as st
from test_credit_statistics import assert_biased, assert_zero_mean, level, scene

from credit_envs.credit.grpo import dr_grpo
from credit_envs.credit.reinforce_pp import reinforce_pp, reinforce_pp_baseline
from credit_envs.errors import CreditEnvsError
from credit_envs.sampling.statistics import returns_to_go

few = settings(max_examples=60, deadline=None)
close = functools.partial(torch.allclose, rtol=1e-9, atol=1e-9)


@few
@given(batches(max_steps=7), st.sampled_from([1.0, 0.9, 0.0]), st.integers(0, 99))
def test_by_numpy(batch, gamma, seed):
    raw = returns_to_go(batch.reward, batch.mask, gamma)
    assert close(reinforce_pp(batch, gamma, whiten=False), raw)
    flat = raw[batch.mask].numpy()
    got = reinforce_pp(batch, gamma)
    if np.ptp(flat) > 0:
        assert got[batch.mask].numpy() == pytest.approx((flat - flat.mean()) / (flat.std(ddof=1) + 1e-8), abs=1e-9)
    else:
        assert torch.all(got == 0)
    base = dr_grpo(batch)
    assert close(reinforce_pp_baseline(batch, whiten=False), base)
    flat = base[batch.mask].numpy()
    if np.ptp(flat) > 0:
        expected = (flat - flat.mean()) / (flat.std(ddof=1) + 1e-8)
        assert reinforce_pp_baseline(batch)[batch.mask].numpy() == pytest.approx(expected, abs=1e-9)
    wide, move = with_gaps(batch, seed)
    assert close(reinforce_pp(wide, gamma), move(got))
    assert close(reinforce_pp_baseline(wide), move(reinforce_pp_baseline(batch)))


@few
@given(batches(max_steps=7), st.sampled_from([0.5, 3.0]), st.sampled_from([-2.0, 0.0, 5.0]))
def test_affine_rewards(batch, scale, shift):
    """A final bonus for everyone moves every return to go alike, so whitening takes it out (γ = 1)."""
    moved = batch.reward * scale
    moved[torch.arange(batch.n_rollouts), batch.lengths - 1] += shift
    moved = batch.replace(reward=moved)
    assert torch.allclose(reinforce_pp(moved), reinforce_pp(batch), atol=1e-6)
    assert torch.allclose(reinforce_pp_baseline(moved), reinforce_pp_baseline(batch), atol=1e-6)


def test_the_kl_term():
    batch = make_batch([[0, 1.0], [0.0]])
    reference = batch.log_prob - torch.tensor([[0.5, -1.0], [2.0, 7.0]], dtype=torch.float64)  # the 7 is masked
    raw = reinforce_pp(batch, beta=0.1, reference=reference, whiten=False)
    assert raw.tolist() == [[pytest.approx(1 - 0.05 + 0.1), pytest.approx(1 + 0.1)], [pytest.approx(-0.2), 0]]
    based = reinforce_pp_baseline(batch, beta=0.1, reference=reference, whiten=False)
    assert based[:, 0].tolist() == pytest.approx([(1.05 + 0.2) / 2, -(1.05 + 0.2) / 2])
    assert torch.equal(reinforce_pp(batch, beta=0.1, reference=batch.log_prob), reinforce_pp(batch))
    with pytest.raises(CreditEnvsError, match=r"beta=-1: expected a number in \[0, "):
        reinforce_pp(batch, beta=-1)
    with pytest.raises(CreditEnvsError, match="gamma=3"):
        reinforce_pp(batch, gamma=3)


def test_by_hand():
    # Groups (1, 0) and (0, 0) of one step: without groups 3/4 and −1/4; with the group's mean ±1/2 and 0.
    batch = make_batch([[1.0], [0.0], [0.0], [0.0]], group=[0, 0, 1, 1])
    assert reinforce_pp(batch)[:, 0].tolist() == pytest.approx([1.5, -0.5, -0.5, -0.5], abs=1e-6)
    assert reinforce_pp_baseline(batch)[:, 0].tolist() == pytest.approx([1.5**0.5, -(1.5**0.5), 0, 0], abs=1e-6)


def test_what_it_estimates():
    """Before whitening: Q without a baseline, and the group's level, (n − 1)/n of it up to the reward before."""
    table, _, _, sample, values, advantage = scene(1)
    batch, state = sample.trajectories, sample.truth.state
    value = torch.from_numpy(values.V)[torch.arange(state.shape[1]), state]
    raw = reinforce_pp(batch, whiten=False)
    assert_zero_mean(table, sample, raw - torch.where(batch.mask, advantage + value, 0.0))
    # Whitening subtracts one number from all and divides by another; contexts keep their own levels.
    white = reinforce_pp(batch)
    ratio = (white[batch.mask] - white[batch.mask][0]) / (raw[batch.mask] - raw[batch.mask][0])
    ratio = ratio[ratio.isfinite()]
    assert float(ratio.std()) < 1e-6 * float(ratio.mean())
    assert_biased(table, sample, white * float(raw[batch.mask].std()) - advantage)
    n = 3  # rollouts of a group
    based = reinforce_pp_baseline(batch, whiten=False)
    assert_zero_mean(table, sample, n / (n - 1) * based - level(sample, values, advantage))
