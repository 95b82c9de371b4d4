"""Bi-level GAE: against the released loop, and where it is flat GAE."""

import functools

import numpy as np
import pytest
import torch
from batches import batches, make_batch
from gaps import with_gaps
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import make_random_table, random_policy
from test_credit_statistics import assert_biased, assert_zero_mean, scene

from credit_envs.credit.bilevel import bilevel_gae, bilevel_gae_exact, bilevel_on
from credit_envs.credit.gae import gae
from credit_envs.dials.plan import plan
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.providers import Provided
from credit_envs.oracle import Policy, evaluate, uniform
from credit_envs.sampling import Sampler

few = settings(max_examples=60, deadline=None)
close = functools.partial(torch.allclose, rtol=1e-9, atol=1e-9)
unit = st.sampled_from([1.0, 0.9, 0.5, 0.0])


@st.composite
def in_turns(draw, **kwargs):
    """Batches whose turns have several tokens; rewards only at their last ones, unless asked for everywhere."""
    batch = draw(batches(max_steps=8, **kwargs))
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    turn = torch.from_numpy(rng.integers(0, 2, batch.mask.shape).cumsum(axis=1))
    return batch.replace(turn=torch.where(batch.mask, turn, 0)), torch.from_numpy(rng.normal(size=batch.mask.shape))


def last_tokens(batch):
    """Whether a step is its turn's last, by a loop."""
    out = torch.zeros_like(batch.mask)
    for i, n in enumerate(batch.lengths.tolist()):
        for t in range(n):
            out[i, t] = t == n - 1 or batch.turn[i, t] != batch.turn[i, t + 1]
    return out


def reference(batch, value, ends, gamma, lam, token_gamma):
    """The released loop, row by row, with rewards inside turns added to the turn's (it never meets any)."""
    out = torch.zeros_like(batch.reward)
    for i, n in enumerate(batch.lengths.tolist()):
        r, v, places = batch.reward[i].tolist(), value[i].tolist(), torch.nonzero(ends[i]).flatten().tolist()
        paid, above = list(r), 0.0
        for k in range(len(places) - 1, -1, -1):
            e, ahead = places[k], 0.0
            if k + 1 < len(places):
                ahead = v[places[k + 1]] + sum(r[e + 1 : places[k + 1]])
            above = r[e] + gamma * ahead - v[e] + gamma * lam * above
            paid[e] = above + v[e]
        below = 0.0
        for t in range(n - 1, -1, -1):
            inside = t not in places
            below = paid[t] - v[t] + inside * token_gamma * ((v[t + 1] if inside else 0.0) + lam * below)
            out[i, t] = below
    return out


@few
@given(in_turns(), unit, unit, unit, st.integers(0, 99))
def test_against_the_released_loop(drawn, gamma, lam, token_gamma, seed):
    batch, value = drawn
    got = bilevel_on(batch, value, gamma, lam, token_gamma)
    assert close(got, reference(batch, value, last_tokens(batch), gamma, lam, token_gamma))
    wide, move = with_gaps(batch, seed)
    assert close(bilevel_on(wide, move(value), gamma, lam, token_gamma), move(got))
    quirk = bilevel_on(batch, value, gamma, lam, token_gamma, "reward")
    paid = batch.mask & (batch.reward != 0)
    paid[torch.arange(batch.n_rollouts), batch.lengths - 1] = True
    assert close(quirk, reference(batch, value, paid, gamma, lam, token_gamma))


@few
@given(in_turns())
def test_without_discounts_it_is_flat_gae(drawn):
    batch, value = drawn
    assert close(bilevel_on(batch, value, 1.0, 1.0, 1.0), gae(batch.reward, value, batch.mask, 1.0, 1.0))


@few
@given(in_turns(), unit, unit, unit)
def test_one_turn_is_token_gae_and_one_token_turns_are_turn_gae(drawn, gamma, lam, token_gamma):
    batch, value = drawn
    one = batch.replace(turn=torch.zeros_like(batch.turn))
    assert close(
        bilevel_on(one, value, gamma, lam, token_gamma), gae(batch.reward, value, batch.mask, token_gamma, lam)
    )
    each = batch.replace(turn=torch.where(batch.mask, torch.arange(batch.mask.shape[1]), 0))
    assert close(bilevel_on(each, value, gamma, lam, token_gamma), gae(batch.reward, value, batch.mask, gamma, lam))


def test_the_quirk_merges_turns_that_paid_nothing():
    # Two turns of two tokens; only the second pays. γ_h = 1/2, λ = 1, V = 0: the first turn is discounted once.
    batch = make_batch([[0, 0, 0, 1.0]]).replace(turn=torch.tensor([[0, 0, 1, 1]]))
    nothing = torch.zeros_like(batch.reward)
    assert bilevel_on(batch, nothing, 0.5).tolist() == [[0.5, 0.5, 1.0, 1.0]]
    assert bilevel_on(batch, nothing, 0.5, boundaries="reward").tolist() == [[1.0, 1.0, 1.0, 1.0]]
    paid = batch.replace(reward=torch.tensor([[0, 0.1, 0, 1.0]], dtype=torch.float64))
    assert torch.equal(bilevel_on(paid, nothing, 0.5), bilevel_on(paid, nothing, 0.5, boundaries="reward"))


def test_whitening():
    batch = make_batch([[0, 1.0, 0.5], [0.0, 0.0]])
    flat = bilevel_on(batch, torch.zeros_like(batch.reward), whiten=True)[batch.mask]
    assert float(flat.mean()) == pytest.approx(0, abs=1e-12)
    assert float(flat.std()) == pytest.approx(1, abs=1e-6)


def pairs_of_steps(batch):
    """Turns of two steps each; the last one of a rollout is shorter where the rollout ends inside it."""
    return batch.replace(turn=torch.where(batch.mask, torch.arange(batch.mask.shape[1]) // 2, 0))


def test_exact_values_give_the_advantage_at_lambda_one():
    table, _, sampler, sample, values, advantage = scene(1)
    batch, value = pairs_of_steps(sample.trajectories), Provided(sampler, sample, values)["value"]
    assert table.discount == 1
    got = bilevel_gae_exact(batch, value=value, gamma=1.0)
    assert_zero_mean(table, sample, got - advantage)
    assert_biased(table, sample, got - 1.5 * advantage)
    assert_biased(table, sample, bilevel_gae_exact(batch, value=value, gamma=0.5) - advantage)


def test_below_lambda_one_only_where_the_length_of_a_turn_is_fixed():
    """A turn's last token is known only once it is said: V̂ there is biased where what is said decides whether it is last."""
    table, _, sampler, sample, values, advantage = scene(1)
    batch, value = pairs_of_steps(sample.trajectories), Provided(sampler, sample, values)["value"]
    assert_biased(table, sample, bilevel_gae_exact(batch, value=value, gamma=1.0, lam=0.0) - advantage)
    table = plan(make_random_table(3, 5, 2, 3, n_starts=1), 2)
    policy = Policy("state", 0.3 * uniform(table) + 0.7 * random_policy(table, 0))
    sampler, values = Sampler(table, policy, 0), evaluate(table, policy)
    sample = sampler.groups(12_000, 2)
    provided = Provided(sampler, sample, values)
    assert torch.equal(sample.trajectories.turn[0, :6], torch.tensor([0, 0, 0, 1, 1, 1]))
    for lam in (0.0, 0.7):
        got = bilevel_gae_exact(sample.trajectories, value=provided["value"], gamma=1.0, lam=lam)
        assert_zero_mean(table, sample, got - provided["advantage"])


def test_the_learned_critic():
    batch = make_batch([[0, 1.0], [0.0]], anchors=[[1, 2], [1]])
    data = make_batch([[1.0, 1.0], [0.0]], anchors=[[1, 2], [1]])
    got = bilevel_gae(batch, fresh=lambda groups: data, gamma=0.5)
    # Targets at anchor 1: 1 + 1/2 and 0, at anchor 2: 1.
    assert got.tolist() == [[0.5 * 1 - 0.75, 1 - 1.0], [0 - 0.75, 0.0]]
    one = {"turn": torch.zeros_like(batch.turn)}
    got = bilevel_gae(batch.replace(**one), fresh=lambda groups: data.replace(**one), gamma=0.5)
    assert got.tolist() == [[1 - 1.0, 1 - 1.0], [0 - 1.0, 0.0]]


@few
@given(in_turns(), unit)
def test_the_critic_fits_what_the_advantage_discounts(drawn, gamma):
    """On its own training data nothing is left of the mean at any anchor (λ = 1)."""
    batch, _ = drawn
    got = bilevel_gae(batch, fresh=lambda groups: batch, gamma=gamma)
    for key in torch.unique(batch.anchor[batch.mask]).tolist():
        assert float(got[batch.mask & (batch.anchor == key)].sum()) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gamma": 2}, r"gamma=2: expected a number in \[0, 1\]"),
        ({"lam": -1}, "lam=-1"),
        ({"token_gamma": 1.5}, "token_gamma=1.5"),
        ({"boundaries": "eos"}, r"boundaries='eos': expected one of \('turn', 'reward'\)"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    batch = make_batch([[1.0], [0.0]])
    with pytest.raises(CreditEnvsError, match=message):
        bilevel_on(batch, batch.reward, **arguments)
