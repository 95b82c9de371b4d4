"""Forms in which methods circulate: what they are, and how they differ from the real ones."""

import functools

import numpy as np
import pytest
import torch
from batches import batches, make_batch
from gaps import with_gaps
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_envs.credit.gigpo import gigpo, gigpo_as_told
from credit_envs.credit.grpo import dr_grpo, grpo
from credit_envs.credit.loop import loop_as_told
from credit_envs.credit.segments import hiper_as_told
from credit_envs.errors import CreditEnvsError

few = settings(max_examples=60, deadline=None)
close = functools.partial(torch.allclose, rtol=1e-9, atol=1e-9)


@few
@given(batches(max_steps=9), st.sampled_from([1.0, 0.95, 0.3]), st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 99))
def test_the_loop_of_the_summaries_vanishes(batch, gamma, lam, seed):
    assert torch.all(loop_as_told(batch, gamma, lam) == 0)
    assert torch.all(loop_as_told(with_gaps(batch, seed)[0], gamma, lam) == 0)


@few
@given(batches(), st.sampled_from([0.2, 0.5, 1.0]), st.booleans())
def test_the_blend_of_gigpo(batch, alpha, std):
    told = gigpo_as_told(batch, 0.9, alpha, std)
    assert close(told, alpha * gigpo(batch, 0.9, (1 - alpha) / alpha, std))
    assert close(gigpo_as_told(batch, 0.9, 1.0, std), grpo(batch, norm_by_std=std))
    step = gigpo(batch, 0.9, 1.0, std) - grpo(batch, norm_by_std=std)
    assert close(gigpo_as_told(batch, 0.9, 0.0, std), step)


def test_the_blend_refuses_weights_out_of_range():
    with pytest.raises(CreditEnvsError, match=r"alpha=1\.5: expected a number in \[0, 1\]"):
        gigpo_as_told(make_batch([[1.0]]), alpha=1.5)


@few
@given(batches(max_steps=7), st.sampled_from([1.0, 0.8]), st.booleans(), st.integers(0, 2**20))
def test_the_three_level_sum(batch, gamma, std, seed):
    rng = np.random.default_rng(seed)
    segment = torch.from_numpy(rng.integers(0, 2, batch.mask.shape).cumsum(axis=1))
    batch = batch.replace(segment=torch.where(batch.mask, segment - segment[:, :1], 0))
    weights = (0.5, 2.0, 0.25)
    got = hiper_as_told(batch, gamma, weights, std)
    rows = [(i, t) for i, t in np.ndindex(*batch.mask.shape) if batch.mask[i, t]]

    def to_go(i, t):
        return sum(gamma ** (u - t) * float(batch.reward[i, u]) for u in range(t, int(batch.lengths[i])))

    def start(i, t):
        return min(u for u in range(t + 1) if torch.all(batch.segment[i, u : t + 1] == batch.segment[i, t]))

    def relative(own, values):
        if max(values) == min(values):
            return 0.0
        return (own - np.mean(values)) / (np.std(values, ddof=1) + 1e-6 if std else 1.0)

    for i, t in rows:
        mates = [j for j in range(batch.n_rollouts) if batch.group[j] == batch.group[i]]
        whole = relative(float(batch.returns[i]), [float(batch.returns[j]) for j in mates])
        began = [
            to_go(j, u)
            for j in mates
            for u in range(int(batch.lengths[j]))
            if start(j, u) == u and batch.segment[j, u] == batch.segment[i, t]
        ]
        part = relative(to_go(i, start(i, t)), began)
        step = relative(to_go(i, t), [to_go(j, t) for j in mates if t < batch.lengths[j]])
        assert float(got[i, t]) == pytest.approx(0.5 * whole + 2.0 * part + 0.25 * step, abs=1e-8)
    wide, move = with_gaps(batch, seed)
    assert close(hiper_as_told(wide, gamma, weights, std), move(got))


def test_the_three_level_sum_without_segments():
    """One segment, reward at the end, γ = 1, equal lengths: all three parts are Dr.GRPO."""
    batch = make_batch([[0, 0, 1.0], [0, 0, 0.0], [0, 0, 0.0]])
    assert close(hiper_as_told(batch), dr_grpo(batch))
