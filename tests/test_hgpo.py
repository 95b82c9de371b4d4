"""HGPO: against a loop over keys of histories, and its limits."""

import functools

import numpy as np
import pytest
import torch
from batches import batches, make_batch, rows_of
from gaps import with_gaps
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_envs.credit.gigpo import gigpo
from credit_envs.credit.grpo import dr_grpo, grpo
from credit_envs.credit.hgpo import hgpo, hgpo_on
from credit_envs.errors import CreditEnvsError

few = settings(max_examples=60, deadline=None)
close = functools.partial(torch.allclose, rtol=1e-9, atol=1e-9)


def reference(batch, gamma, history, alpha, std, base, epsilon=1e-6):
    """One dictionary of histories, as in the released code, with groups apart."""
    rollouts = [batch.anchor[i, :n].tolist() for i, n in enumerate(batch.lengths.tolist())]
    rewards = [batch.reward[i, :n].tolist() for i, n in enumerate(batch.lengths.tolist())]
    to_go = [[sum(gamma**k * r for k, r in enumerate(row[t:])) for t in range(len(row))] for row in rewards]
    members = {}
    for i, row in enumerate(rollouts):
        for t in range(len(row)):
            for k in range(1, min(history + 1, t + 1) + 1):
                members.setdefault((int(batch.group[i]), k, tuple(row[t - k + 1 : t + 1])), []).append((i, t))
    votes = {}
    for (_, k, _), places in members.items():
        values = np.array([to_go[i][t] for i, t in places])
        if len(values) > 1 and np.ptp(values) > 1e-12:
            each = (values - values.mean()) / (values.std() + epsilon if std else 1.0)
            for place, a in zip(places, each, strict=True):
                votes.setdefault(place, []).append((k, a))
    episode = grpo(batch, norm_by_std=std)
    out = torch.zeros_like(batch.reward)
    for i, row in enumerate(rollouts):
        for t in range(len(row)):
            mine = votes.get((i, t), []) + ([(0, float(episode[i, t]))] if base else [])
            mine = [(k, a) for k, a in mine if abs(a) > 1e-10]
            weights = [(k + 1) ** alpha for k, _ in mine]
            if mine:
                out[i, t] = sum(w * a for w, (_, a) in zip(weights, mine, strict=True)) / sum(weights)
    return out


@few
@given(
    batches(max_steps=7, n_anchors=3),
    st.sampled_from([1.0, 0.95, 0.5]),
    st.integers(0, 4),
    st.sampled_from([0.0, 1.0, 2.0]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 99),
)
def test_against_a_loop_over_histories(batch, gamma, history, alpha, std, base, seed):
    got = hgpo(batch, gamma, history, alpha, std, base)
    assert close(got, reference(batch, gamma, history, alpha, std, base))
    wide, move = with_gaps(batch, seed)
    assert close(hgpo(wide, gamma, history, alpha, std, base), move(got))


@few
@given(batches(max_steps=7))
def test_limits(batch):
    # No history: GiGPO's step term; no division, no base.
    assert close(hgpo(batch, 0.95, 0, norm_by_std=False), gigpo(batch, 0.95) - dr_grpo(batch))
    # Nothing shared: nothing to compare with, and with the base GRPO.
    places = torch.arange(batch.mask.numel()).view(batch.mask.shape)
    assert torch.all(hgpo_on(batch, places) == 0)
    assert close(hgpo_on(batch, places, base=True), grpo(batch))
    # A deeper history than the rollouts are long changes nothing.
    assert close(hgpo(batch, history=7), hgpo(batch, history=50))


@few
@given(batches(), st.randoms(use_true_random=False), st.sampled_from([0.1, 10.0]))
def test_invariances(batch, rnd, scale):
    order = list(range(batch.n_rollouts))
    rnd.shuffle(order)
    got = hgpo_on(batch, batch.anchor, epsilon=0.0)
    shuffled = rows_of(batch, torch.tensor(order))
    assert torch.allclose(hgpo_on(shuffled, shuffled.anchor, epsilon=0.0), got[order], atol=1e-8)
    scaled = batch.replace(reward=batch.reward * scale)
    assert torch.allclose(hgpo_on(scaled, batch.anchor, epsilon=0.0), got, atol=1e-8)
    moved = batch.replace(anchor=batch.anchor + 17)
    assert torch.equal(hgpo_on(moved, moved.anchor, epsilon=0.0), got)


def test_by_hand():
    # Both go A B; a third C B. γ = 1. B alone: returns 1, 0, 0; A B: 1, 0. K = 1, α = 1, no division.
    batch = make_batch([[0, 1.0], [0, 0.0], [0, 0.0]], anchors=[[0, 1], [0, 1], [2, 1]])
    got = hgpo(batch, 1.0, 1, 1.0, norm_by_std=False)
    # At B: level 1 gives 2/3, −1/3, −1/3 with weight 2, level 2 ±1/2 with weight 3.
    assert got[:, 1].tolist() == pytest.approx([(2 * 2 / 3 + 3 / 2) / 5, (-2 / 3 - 3 / 2) / 5, -1 / 3])
    assert got[:, 0].tolist() == pytest.approx([0.5, -0.5, 0.0])
    # The episode as level 0 with weight 1.
    based = hgpo(batch, 1.0, 1, 1.0, norm_by_std=False, base=True)
    assert float(based[0, 1]) == pytest.approx((2 / 3 + 2 * 2 / 3 + 3 / 2) / 6)
    # A return that equals its group's mean leaves the vote to the others: 0, 1/2, 1 at B, and 1/2, 1 after A.
    batch = make_batch([[0, 0.0], [0, 0.5], [0, 1.0]], anchors=[[2, 1], [0, 1], [0, 1]])
    assert float(hgpo(batch, 1.0, 1, 1.0, norm_by_std=False)[1, 1]) == pytest.approx(-0.25)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"gamma": -1}, "gamma=-1"), ({"history": -1}, "history=-1: expected an integer"), ({"alpha": -1}, "alpha=-1")],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(CreditEnvsError, match=message):
        hgpo(make_batch([[1.0], [0.0]]), **arguments)
