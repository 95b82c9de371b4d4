"""Plans that throw groups away: DAPO's dynamic sampling, StarPO-S and RAGEN-2 filters; and DAPO's penalty for length."""

import math

import numpy as np
import pytest
import torch
from batches import batches, make_batch
from group_gradients import everlasting_table, group_gradients, step_gradients, z_scores
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import random_policy, random_table

from credit_envs.credit.grpo import dr_grpo, grpo
from credit_envs.errors import CreditEnvsError
from credit_envs.oracle import Policy, uniform
from credit_envs.plans import dynamic as dynamic_module
from credit_envs.plans.dynamic import dynamic_sampling, expected_overhead, informative
from credit_envs.plans.joining import chosen, joined
from credit_envs.plans.uncertainty import STRATEGIES, selected, uncertainty, uncertainty_filter
from credit_envs.rewards.overlong import overlong
from credit_envs.sampling import Sampler
from credit_envs.table import from_outcomes

few = settings(max_examples=60, deadline=None)
scores = st.lists(st.sampled_from([0.0, 0.0, 0.1, 0.25, 0.5, 0.5, 2.0]), min_size=1, max_size=9)


def coin(p=0.5):
    """One step: action 1 pays 1 with probability p, action 0 pays nothing."""
    rows = [(0, 0, 0, 1.0, 0.0, True), (0, 1, 0, p, 1.0, True), (0, 1, 0, 1 - p, 0.0, True)]
    names = ("state", "action", "successor", "probability", "reward", "terminal")
    columns = {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    return from_outcomes("coin", 1, 2, columns, start={0: 1.0}, horizon=1)


def always(action):
    return Policy("state", np.eye(2)[[action]])


# -- what varies -----------------------------------------------------------------------------------------------------


@few
@given(batches())
def test_uncertainty_is_the_deviation_of_returns(batch):
    got = uncertainty(batch)
    for g in range(batch.n_groups):
        own = batch.returns[batch.group == g]
        expected = float(own.std()) if len(own) > 1 and len(set(own.tolist())) > 1 else 0.0
        assert float(got[g]) == pytest.approx(expected, abs=1e-12)
        if expected == 0:
            assert float(got[g]) == 0


def test_equal_returns_are_exactly_certain():
    batch = make_batch([[0.1, 0.2]] * 3 + [[0.3, 0.0]] * 3, group=[0] * 3 + [1] * 3)
    assert uncertainty(batch).tolist() == [0, 0]
    mixed = make_batch([[1.0], [1.0], [3.0], [2.0]], group=[0, 0, 1, 1])
    assert informative(mixed).tolist() == [False, True]
    assert informative(mixed, threshold=1.5).tolist() == [False, False]
    assert informative(mixed, threshold=2.5).tolist() == [False, True]


@few
@given(batches(min_size=2))
def test_the_filter_at_p_one_without_zeros_is_dapos(batch):
    score = uncertainty(batch)
    assert torch.equal(selected(score, "top_p", 1.0, include_zero=False), informative(batch))
    assert bool(selected(score, "top_p", 1.0).all())  # everything kept: StarPO
    assert bool(selected(score, "top_k", 1.0).all())
    # Dropped groups carry no GRPO credit.
    dropped = ~informative(batch)[batch.group]
    assert bool((grpo(batch)[dropped] == 0).all())


def naive(score, strategy, value, include_zero, softmax):
    """The filters one group at a time."""
    left = [i for i in range(len(score)) if include_zero or score[i] > 0]
    order = sorted(left, key=lambda i: -score[i])
    if strategy == "min_p":
        return {i for i in left if score[i] >= value * max(score[j] for j in left)}
    if strategy in ("top_k", "top_k_abs"):
        k = int(value) if strategy == "top_k_abs" else int(value * len(score) + 1e-9)
        return set(order[: max(k, 1)])
    if value >= 1:
        return set(left)
    weight = {i: math.exp(score[i]) if softmax else score[i] for i in left}
    total = sum(weight.values())
    kept, reached = set(), 0.0
    wanted = value * total if softmax else value * total - 0.01
    for i in order:
        if reached >= wanted or weight[i] <= 0:
            break
        kept.add(i)
        reached += weight[i]
    return kept


@settings(max_examples=200, deadline=None)
@given(scores, st.sampled_from(STRATEGIES), st.sampled_from([0.2, 0.25, 0.5, 0.77, 1.0]), st.booleans(), st.booleans())
def test_filters_by_a_naive_loop(score, strategy, value, include_zero, softmax):
    value = max(1, round(value * 4)) if strategy == "top_k_abs" else value
    got = selected(torch.tensor(score, dtype=torch.float64), strategy, value, include_zero, softmax)
    expected = naive(score, strategy, value, include_zero, softmax)
    assert got.sum() == len(expected)
    # Ties may be broken either way, so the kept scores are compared.
    assert sorted(s for s, keep in zip(score, got.tolist(), strict=True) if keep) == sorted(score[i] for i in expected)


def test_filters_in_numbers():
    score = torch.tensor([0.1, 0.5, 0.0, 0.4], dtype=torch.float64)
    assert selected(score, "top_k", 0.25).tolist() == [False, True, False, False]
    assert selected(score, "top_k", 0.5).tolist() == [False, True, False, True]
    assert selected(score, "top_k_abs", 3).tolist() == [True, True, False, True]
    assert selected(score, "top_p", 0.9).tolist() == [False, True, False, True]  # 0.9 ≥ 0.9·1.0 − 0.01
    assert selected(score, "top_p", 0.95).tolist() == [True, True, False, True]
    close = torch.tensor([0.105, 0.5, 0.395], dtype=torch.float64)  # two of them reach 0.89, three are needed for 0.9
    assert selected(close, "top_p", 0.9).tolist() == [False, True, True]
    assert selected(close, "top_p", 0.9, slack=0.0).tolist() == [True, True, True]
    assert selected(score, "min_p", 0.8).tolist() == [False, True, False, True]
    zero = torch.zeros(3, dtype=torch.float64)
    assert not bool(selected(zero, "top_p", 0.9).any())
    assert not bool(selected(zero, "min_p", 0.5, include_zero=False).any())


@pytest.mark.parametrize(
    ("strategy", "value", "message"),
    [
        ("top", 0.5, "strategy='top': expected one of"),
        ("top_p", 0.0, r"value=0.0: expected a number in \(0, 1\]"),
        ("top_k", 1.5, r"value=1.5: expected a number in \(0, 1\]"),
        ("top_k_abs", 0.5, "value=0.5: expected an integer in"),
    ],
)
def test_malformed_filters_are_refused(strategy, value, message):
    with pytest.raises(CreditEnvsError, match=message):
        selected(torch.ones(2), strategy, value)
    with pytest.raises(CreditEnvsError, match=message):
        uncertainty_filter(Sampler(coin(), uniform(coin())), 2, 2, strategy, value)


# -- joining and choosing --------------------------------------------------------------------------------------------


@few
@given(random_table(), st.integers(0, 100))
def test_joining_and_choosing_groups(table, seed):
    sampler = Sampler(table, uniform(table), seed)
    parts = [sampler.groups(n, 3) for n in (2, 1, 3)]
    whole = joined(parts)
    batch = whole.trajectories
    assert batch.group.tolist() == np.repeat(np.arange(6), 3).tolist()
    assert batch.tree.tolist() == list(range(18))
    assert batch.returns.tolist() == torch.cat([p.trajectories.returns for p in parts]).tolist()
    picked = chosen(whole, torch.tensor([4, 0, 5]))
    assert picked.trajectories.group.tolist() == np.repeat(np.arange(3), 3).tolist()
    assert picked.trajectories.tree.unique().tolist() == list(range(9))
    rows = [12, 13, 14, 0, 1, 2, 15, 16, 17]
    assert torch.equal(picked.trajectories.action, batch.action[rows])
    assert torch.equal(picked.truth.rollout, whole.truth.rollout[rows])


# -- StarPO-S --------------------------------------------------------------------------------------------------------


def test_the_quarter_that_varies_most_is_kept():
    table = everlasting_table(1, horizon=4)
    sampler, plain = (Sampler(table, uniform(table), 3) for _ in range(2))
    kept = uncertainty_filter(sampler, 5, 6).trajectories
    drawn = plain.groups(20, 6).trajectories
    assert sampler.meter == plain.meter  # dropped groups are charged
    score = uncertainty(drawn)
    top = torch.sort(torch.argsort(score, descending=True)[:5]).values
    assert kept.group.tolist() == np.repeat(np.arange(5), 6).tolist()
    assert torch.equal(kept.reward, drawn.reward[torch.isin(drawn.group, top)])
    assert float(uncertainty(kept).min()) >= float(score.median())


def test_other_filters_keep_what_their_rule_says():
    table = everlasting_table(1, horizon=4)
    kept = uncertainty_filter(Sampler(table, uniform(table), 3), 20, 6, "min_p", 0.5).trajectories
    score = uncertainty(Sampler(table, uniform(table), 3).groups(20, 6).trajectories)
    assert kept.n_groups == int((score >= score.max() / 2).sum())
    all_of_them = uncertainty_filter(Sampler(table, uniform(table), 3), 20, 6, "top_k", 0.5, pool=6).trajectories
    assert all_of_them.n_groups == 3
    # Nothing varies: one group stays, because a batch has rollouts.
    calm = uncertainty_filter(Sampler(coin(), always(0)), 4, 3, "top_p", 0.9, include_zero=False).trajectories
    assert (calm.n_groups, calm.n_rollouts) == (1, 3)


# -- DAPO ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("p", "n"), [(0.5, 2), (0.1, 4), (0.9, 8), (0.02, 8)])
def test_the_overhead_is_what_the_formula_says(p, n):
    table, kept = coin(p), 1500
    sampler = Sampler(table, always(1), 1)
    batch = dynamic_sampling(sampler, kept, n, tries=10_000).trajectories
    assert batch.n_groups == kept
    assert bool(informative(batch).all())
    overhead = expected_overhead(p, n)
    assert overhead == pytest.approx(1 / (1 - p**n - (1 - p) ** n))
    # Each place is filled by a geometric number of groups with mean `overhead`.
    noise = math.sqrt(overhead * (overhead - 1) / kept)
    assert abs(sampler.meter.env_steps / n / kept - overhead) < 4 * noise


def test_certain_success_has_no_price():
    assert expected_overhead(1.0, 8) == float("inf")
    assert expected_overhead(0.0, 8) == float("inf")
    with pytest.raises(CreditEnvsError, match=r"p=1\.5"):
        expected_overhead(1.5, 8)


def test_the_gradient_keeps_its_direction():
    """Mean-centred groups with equal returns give nothing, so dropping them only scales the mean gradient."""
    table = everlasting_table(2, n_states=3, horizon=2, n_outcomes=1)
    policy = Policy("state", random_policy(table, 5))
    sampler, groups, n = Sampler(table, policy, 4), 20_000, 3
    batch = dynamic_sampling(sampler, groups, n, tries=1000).trajectories
    drawn = sampler.meter.env_steps / (n * table.horizon)
    assert drawn > 1.1 * groups
    exact = step_gradients(table, policy).sum(dim=0) * (n - 1) * drawn / groups
    z = z_scores(group_gradients(batch, dr_grpo(batch)), exact)
    assert float(z.abs().max()) < 4
    assert float(z_scores(group_gradients(batch, dr_grpo(batch)), exact * groups / drawn).abs().max()) > 5


def test_dropped_groups_are_charged_and_places_filled():
    table = coin(1.0)
    sampler = Sampler(table, always(1), 0)  # every group succeeds: nothing to learn
    batch = dynamic_sampling(sampler, 3, 4, tries=5).trajectories
    assert sampler.meter.env_steps == 5 * 3 * 4
    assert batch.group.tolist() == np.repeat(np.arange(3), 4).tolist()
    assert bool((grpo(batch) == 0).all())


def test_kept_groups_come_first_and_in_order():
    table = coin(0.5)
    sampler, plain = (Sampler(table, always(1), 6) for _ in range(2))
    batch = dynamic_sampling(sampler, 8, 2, tries=1, oversample=3).trajectories
    drawn = plain.groups(24, 2).trajectories
    assert sampler.meter == plain.meter
    flags = informative(drawn)
    assert 8 <= int(flags.sum()) < 24
    first = torch.nonzero(flags).squeeze(1)[:8]
    assert torch.equal(batch.reward.view(8, 2), drawn.reward.view(24, 2)[first])
    # One try that finds too few: what is informative, then the rest.
    few_kept = dynamic_sampling(Sampler(table, always(1), 6), 8, 2, tries=1).trajectories
    found = int(informative(drawn)[:8].sum())
    assert informative(few_kept).tolist() == [True] * found + [False] * (8 - found)


@few
@given(st.sampled_from([0.03, 0.3, 0.9]), st.integers(1, 6), st.integers(1, 4), st.integers(0, 3), st.integers(0, 999))
def test_a_batch_is_always_full(p, groups, tries, oversample, seed):
    table = coin(p)
    sampler, plain = (Sampler(table, always(1), seed) for _ in range(2))
    batch = dynamic_sampling(sampler, groups, 3, tries, oversample).trajectories
    drawn = plain.groups(sampler.meter.env_steps // 3, 3).trajectories
    flags = informative(drawn)
    found = min(groups, int(flags.sum()))
    order = [*torch.nonzero(flags).squeeze(1).tolist()[:found], *torch.nonzero(~flags).squeeze(1).tolist()]
    assert torch.equal(batch.reward.view(groups, 3), drawn.reward.view(-1, 3)[order[:groups]])
    assert batch.tree.tolist() == list(range(3 * groups))
    assert found == groups or drawn.n_groups >= tries


def test_groups_of_one_are_kept(monkeypatch):
    table = coin(0.5)
    sampler = Sampler(table, always(1), 6)
    assert dynamic_sampling(sampler, 5, 1).trajectories.n_rollouts == 5
    assert sampler.meter.env_steps == 5
    monkeypatch.setattr(dynamic_module, "informative", None)  # and nobody asked whether they vary
    dynamic_sampling(sampler, 5, 1)


@pytest.mark.parametrize(("options", "name"), [({"tries": 0}, "tries"), ({"oversample": -1}, "oversample")])
def test_malformed_arguments_are_refused(options, name):
    with pytest.raises(CreditEnvsError, match=f"{name}="):
        dynamic_sampling(Sampler(coin(), uniform(coin())), 2, 2, **options)


# -- the penalty for length ------------------------------------------------------------------------------------------


def test_overlong_penalty():
    batch = make_batch([[1.0] * n for n in (2, 8, 9, 10)])
    paid = overlong(batch)  # L_max 10, buffer 2
    assert (paid.returns - batch.returns).tolist() == pytest.approx([0, 0, -0.5, -1])
    assert paid.reward[2, 8] == pytest.approx(0.5)  # with the last step
    assert torch.equal(paid.reward[2, :8], batch.reward[2, :8])
    early = overlong(batch, longest=10, buffer=10, penalty=2.0)
    assert (early.returns - batch.returns).tolist() == pytest.approx([-0.4, -1.6, -1.8, -2])
    assert torch.equal(overlong(batch, longest=100).reward, batch.reward)


def test_a_dropped_group_may_have_varied_in_reward():
    """The filter looks at what was paid, the advantage at what is left after the penalty."""
    batch = make_batch([[1.0], [0.0] * 9 + [1.0]])
    assert not bool(informative(batch)[0])
    assert float(grpo(overlong(batch))[0, 0]) > 0


@pytest.mark.parametrize("options", [{"longest": 0}, {"buffer": 0}, {"buffer": 11}, {"penalty": -1}])
def test_malformed_penalties_are_refused(options):
    with pytest.raises(CreditEnvsError, match="expected a"):
        overlong(make_batch([[1.0] * 10]), **options)
