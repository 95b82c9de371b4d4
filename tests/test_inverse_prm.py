"""InversePRM: log-ratios on chains, zero where expert and policy play alike, stationarity by autograd, and what it teaches."""

import functools

import numpy as np
import pytest
import torch
from batches import batches, make_batch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_trees import make_tree

from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.providers import Provided
from credit_envs.losses.dpo import dpo
from credit_envs.oracle import Policy, evaluate, expected_return, occupancy, uniform
from credit_envs.oracle.skill import skilled_policy
from credit_envs.plans.inverse_prm import inverse_prm_pairs
from credit_envs.rewards.inverse_prm import Transitions, chosen_by, fit_inverse, inverse_prm_q, transitions
from credit_envs.sampling import Sampler
from credit_envs.sampling.tabular import keys

few = settings(max_examples=40, deadline=None)
close = functools.partial(torch.allclose, rtol=1e-9, atol=1e-10)


def chains(weight):
    """Three chains of two steps each behind three actions of one start, with a weight per chain."""
    key, action = torch.tensor([0, 0, 0, 1, 2, 3, 4, 5, 6]), torch.tensor([0, 1, 2, 0, 0, 0, 0, 0, 0])
    following = torch.tensor([1, 2, 3, 4, 5, 6, 0, 0, 0])
    last = torch.tensor([False] * 6 + [True] * 3)
    weights = torch.as_tensor(weight, dtype=torch.float64).repeat(3)
    return Transitions(key, action, following, torch.zeros_like(key), last, weights)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.95, 1.0])
def test_population_optimum_on_deterministic_chains(gamma):
    """f − γ f' = log ρ_expert/ρ_policy on every transition, so f = log-ratio · (1 + γ + …) along a chain."""
    expert, policy = np.array([0.7, 0.2, 0.1]), np.array([0.2, 0.5, 0.3])
    model = fit_inverse(chains(expert), chains(policy), 3, gamma, ridge=1e-7)
    ratio = np.log(expert / policy)
    value = model.value.numpy()
    assert value[4:, 0] == pytest.approx(ratio, abs=1e-4)
    assert value[1:4, 0] == pytest.approx((1 + gamma) * ratio, abs=1e-4)
    assert value[0] == pytest.approx((1 + gamma + gamma**2) * ratio, abs=1e-4)


@few
@given(batches(), st.sampled_from(["history", "anchor", "row"]))
def test_equal_data_give_zero(batch, identity):
    side = transitions(batch, identity)
    assert torch.all(fit_inverse(side, side, 3).value == 0)


@few
@given(batches(), st.integers(0, 99), st.sampled_from([0.3, 1.0]))
def test_optimum_is_stationary(batch, seed, gamma):
    """The gradient of the loss as written, transition by transition, vanishes; and only there, as it is strictly convex."""
    rng = torch.Generator().manual_seed(seed)
    mine = torch.randint(0, 2, (batch.n_rollouts,), generator=rng).bool()
    mine[0] = True
    luck = torch.rand(batch.mask.shape, generator=rng, dtype=torch.float64)
    asked = chosen_by(batch.policy_table, batch, luck)
    expert = transitions(batch.replace(mask=batch.mask & mine[:, None]), "row", asked)
    policy = transitions(batch, "row")
    f = fit_inverse(expert, policy, 3, gamma, ridge=0.5)
    table = torch.zeros(batch.policy_table.shape[0], 3, dtype=torch.float64)
    table[f.key] = f.value
    table.requires_grad_()
    loss = 0.25 * (table**2).sum()
    size = len(expert.key) + len(policy.key)
    for side, sign in ((expert, 1), (policy, -1)):
        for i in range(len(side.key)):
            margin = table[side.key[i], side.action[i]]
            if not side.last[i]:
                margin = margin - gamma * table[side.next_key[i], side.next_action[i]]
            loss = loss - size / 2 / len(side.key) * torch.nn.functional.logsigmoid(sign * margin)
    (slope,) = torch.autograd.grad(loss, table)
    assert float(slope.abs().max()) < 1e-5


def test_both_sides_weigh_the_same():
    one, two = chains([0.7, 0.2, 0.1]), chains([0.2, 0.5, 0.3])
    heavy = Transitions(one.key, one.action, one.next_key, one.next_action, one.last, one.weight * 50)
    assert torch.allclose(fit_inverse(heavy, two, 3).value, fit_inverse(one, two, 3).value, atol=1e-6)
    assert torch.allclose(fit_inverse(two, one, 3).value, -fit_inverse(one, two, 3).value, atol=1e-6)


def test_what_was_never_seen_is_neutral():
    model = fit_inverse(chains([0.7, 0.2, 0.1]), chains([0.2, 0.5, 0.3]), 3)
    assert torch.all(model.value[1:, 1:] == 0)
    assert model.at(torch.tensor([99]), torch.tensor([0])).item() == 0


def test_transitions_by_hand():
    batch = make_batch([[0, 0, 0.0], [0.0]], anchors=[[3, 1, 2], [3]], actions=[[1, 0, 1], [0]])
    side = transitions(batch, "row")
    assert side.key.tolist() == [3, 1, 2, 3]
    assert side.action.tolist() == [1, 0, 1, 0]
    assert side.last.tolist() == [False, False, True, True]
    assert side.next_key.tolist()[:2] == [1, 2]
    assert side.next_action.tolist()[:2] == [0, 1]
    other = transitions(batch, "row", torch.full_like(batch.action, 1))
    assert other.action.tolist() == side.action.tolist()
    assert other.next_action.tolist()[:2] == [1, 1]


def test_next_actions_are_drawn_from_the_policy():
    table = torch.tensor([[0.2, 0.5, 0.0, 0.3], [0.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    rows = [[0] * 100, [1] * 100] * 60
    batch = make_batch([[0.0] * 100] * 120, anchors=rows, policy=table)
    luck = torch.rand((120, 100), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    drawn = chosen_by(table, batch, luck)
    assert torch.all(drawn[1::2] == 2)
    share = torch.bincount(drawn[0::2].flatten(), minlength=4).numpy() / 6000
    p = table[0].numpy()
    assert share[2] == 0
    assert np.abs(share - p).max() < 4 * np.sqrt(0.25 / 6000)


# -- as a reward model and as a plan -----------------------------------------------------------------------------------


def scene(seed=0, groups=60):
    table = make_tree(seed)
    sampler = Sampler(table, uniform(table), seed)
    return table, sampler, Provided(sampler, sampler.groups(groups, 8), evaluate(table, uniform(table)))


def asked(provided):
    return {name: provided[name] for name in ("demonstrations", "fresh", "noise")}


@pytest.mark.parametrize("gamma", [0.5, 1.0])
def test_dense_rewards_telescope(gamma):
    _, _, provided = scene()
    batch = provided.sample.trajectories
    paid = inverse_prm_q(batch, **asked(provided), gamma=gamma, dense=True)
    _, _, again = scene()
    f = inverse_prm_q(batch, **asked(again), gamma=gamma).step_reward
    powers = gamma ** torch.arange(batch.mask.shape[1])
    assert close((paid.reward * powers).sum(dim=1), f[:, 0])
    assert paid.step_reward is None
    assert torch.all(f[~batch.mask] == 0)


def test_demonstrations_are_charged():
    _, sampler, provided = scene()
    before = sampler.meter.copy()
    inverse_prm_q(provided.sample.trajectories, **asked(provided))
    assert sampler.meter.since(before).env_steps == 2 * 480 * 3  # as many fresh rollouts and demonstrations


@pytest.mark.parametrize("seed", range(4))
def test_likes_what_the_expert_does(seed):
    """f orders actions as the expert's odds do: where the expert comes by, between one that it takes and one that is rarer
    by a factor e (two that it hardly ever takes are both just bad)."""
    table, _, provided = scene(seed, 1000)
    batch = provided.sample.trajectories
    f = inverse_prm_q(batch, **asked(provided)).step_reward
    mask, state = batch.mask, provided.sample.truth.state
    model = {}
    for s, a, value in zip(state[mask].tolist(), batch.action[mask].tolist(), f[mask].tolist(), strict=True):
        model[s, a] = value
    expert = skilled_policy(table, 0.9).probability
    visits = occupancy(table, expert).sum(axis=0)
    right = [
        model[s, a] > model[s, b]
        for s, a in model
        for b in range(3)
        if (s, b) in model and visits[s] > 0.1 and expert[s, a] > 0.1 and expert[s, a] > np.e * expert[s, b]
    ]
    assert len(right) >= 5
    assert all(right)


def test_policies_over_other_rows_are_refused():
    table = make_tree(0)
    wide = Sampler(table, uniform(table), 0).groups(2, 2).trajectories
    narrow = make_batch([[0.0]] * 4)
    with pytest.raises(
        CreditEnvsError, match=r"demonstrations: the expert's table is \(13, 3\) and the policy's \(4, 2\)"
    ):
        inverse_prm_q(narrow, demonstrations=lambda n, skill: wide, fresh=lambda n: narrow, noise=torch.rand)


@pytest.mark.parametrize("options", [{"gamma": -0.1}, {"ridge": 0.0}])
def test_options_out_of_range(options):
    side = chains([0.5, 0.3, 0.2])
    with pytest.raises(CreditEnvsError, match=next(iter(options))):
        fit_inverse(side, side, 3, **options)


@pytest.mark.parametrize("kind", ["state", "look", "obs"])
def test_pairs_teach_the_experts_ways(kind):
    table = make_tree(3)
    policy = Policy(kind, uniform(table))
    sampler = Sampler(table, policy, 1)
    batch = inverse_prm_pairs(sampler, 40, 8).trajectories
    assert sampler.meter.env_steps == 2 * 320 * 3
    assert sampler.meter.policy_calls > 320 * 3
    logits = batch.policy_table.log().requires_grad_()
    for _ in range(20):
        log_prob = torch.log_softmax(logits, dim=1)[batch.policy_row, batch.policy_action]
        (slope,) = torch.autograd.grad(dpo(log_prob, batch, torch.zeros(()), 0.1), logits)
        logits = (logits - 20 * slope).detach().requires_grad_()
    better = Policy(kind, torch.softmax(logits, dim=1).detach().numpy())
    assert expected_return(table, better) > expected_return(table, policy) + 0.1


def test_histories_as_keys():
    _, _, provided = scene()
    batch = provided.sample.trajectories
    f = inverse_prm_q(batch, **asked(provided), identity="history").step_reward
    key = keys(batch)[:, 0]
    assert len(torch.unique(key)) == 1
    assert torch.isfinite(f).all()
