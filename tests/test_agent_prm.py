"""AgentPRM: labels and keys by naive loops, Q̂ → Q^π, what overlap cannot do, and preference pairs from a model."""

import functools
import itertools

import numpy as np
import pytest
import torch
from batches import batches, make_batch
from brute_force import random_rows, rich_table
from hypothesis import given, settings
from hypothesis import strategies as st
from small_trees import make_tree
from strategies import random_policy

from credit_envs.errors import CreditEnvsError
from credit_envs.losses.dpo import dpo
from credit_envs.oracle import Policy, evaluate, expected_return, uniform
from credit_envs.plans.agent_prm import agent_prm_pairs
from credit_envs.plans.preferences import _thinned, preferences
from credit_envs.rewards.agent_prm import agent_prm_q, fit, labels
from credit_envs.sampling import Sampler
from credit_envs.sampling.pairs import redrawn, single_steps
from credit_envs.sampling.tabular import IDENTITIES, fit_means, keys
from credit_envs.table import from_outcomes

few = settings(max_examples=60, deadline=None)
close = functools.partial(torch.allclose, rtol=1e-9, atol=1e-10)
NONE = torch.zeros(())


def past(batch, i, t, identity):
    """What a step's key stands for, spelled out."""
    if identity == "row":
        return int(batch.policy_row[i, t])
    here = (int(batch.context[i]), int(batch.anchor[i, t]))
    if identity == "anchor":
        return here
    return here, tuple((int(batch.anchor[i, k]), int(batch.policy_action[i, k])) for k in range(t))


def steps(batch):
    return torch.nonzero(batch.mask).tolist()


# -- keys and tables -------------------------------------------------------------------------------------------------


@few
@given(batches(), st.sampled_from(IDENTITIES))
def test_keys_are_equal_exactly_where_what_they_stand_for_is(batch, identity):
    key = keys(batch, identity)
    meaning = {}
    for i, t in steps(batch):
        meaning.setdefault(past(batch, i, t, identity), set()).add(int(key[i, t]))
    assert all(len(found) == 1 for found in meaning.values())
    assert len(set.union(*meaning.values())) == len(meaning)


def test_histories_of_different_samples_can_be_compared():
    one = make_batch([[0, 0.0], [0, 0.0]], anchors=[[3, 1], [3, 2]], actions=[[1, 0], [0, 0]])
    two = make_batch([[0, 0, 0.0]], anchors=[[3, 1, 9]], actions=[[1, 1, 1]])
    assert torch.equal(keys(one)[0, :2], keys(two)[0, :2])
    assert keys(one)[1, 1] != keys(one)[0, 1]
    other = two.replace(context=torch.tensor([1]))
    assert not set(keys(other).flatten().tolist()) & set(keys(two).flatten().tolist())


def test_unknown_identity():
    with pytest.raises(CreditEnvsError, match="unknown identity 'histroy'; did you mean 'history'"):
        keys(make_batch([[1.0]]), "histroy")


@few
@given(batches(), st.sampled_from(IDENTITIES), st.integers(0, 99))
def test_means_by_a_naive_loop(batch, identity, seed):
    """Also what is predicted where nothing was seen: the key's mean, the mean of everything."""
    rng = torch.Generator().manual_seed(seed)
    target = torch.rand(batch.mask.shape, generator=rng, dtype=torch.float64)
    key, mask = keys(batch, identity), batch.mask
    model = fit_means(key[mask], batch.policy_action[mask], target[mask], 3)
    by_cell, by_key = {}, {}
    for i, t in steps(batch):
        by_cell.setdefault((past(batch, i, t, identity), int(batch.policy_action[i, t])), []).append(target[i, t])
        by_key.setdefault(past(batch, i, t, identity), []).append(target[i, t])
    for i, t in steps(batch):
        for a in range(3):
            here = past(batch, i, t, identity)
            expected = np.mean(by_cell.get((here, a), by_key[here]))
            assert float(model.at(key[i, t], torch.tensor(a))) == pytest.approx(expected)
            assert float(model.rows(key[i])[t, a]) == pytest.approx(expected)
    unseen = torch.tensor([-12345])
    assert model.at(unseen, torch.tensor([0])).item() == pytest.approx(float(target[mask].mean()))
    assert torch.all(model.rows(unseen) == model.otherwise)


# -- labels ----------------------------------------------------------------------------------------------------------


def test_labels_by_hand():
    batch = make_batch([[0, 0, 1.0], [0.0]])
    half = 0.5
    late = [[(half**2 + 1) / 2, (half + 1) / 2, 1.0], [0.0, 0, 0]]
    early = [[1.0, (half + 1) / 2, (half**2 + 1) / 2], [0.0, 0, 0]]
    assert close(labels(batch, half), torch.tensor(late, dtype=torch.float64))
    assert close(labels(batch, half, from_start=True), torch.tensor(early, dtype=torch.float64))


@few
@given(batches(), st.sampled_from([0.0, 0.5, 0.95, 1.0]), st.booleans())
def test_labels_by_a_naive_loop(batch, gamma, from_start):
    returns = batch.returns.tolist()
    low, high = min(0.0, *returns), max(1.0, *returns)
    got = labels(batch, gamma, from_start)
    for i, t in steps(batch):
        y = (returns[i] - low) / (high - low)
        power = t if from_start else int(batch.lengths[i]) - 1 - t
        assert float(got[i, t]) == pytest.approx((gamma**power * (2 * y - 1) + 1) / 2, abs=1e-12)
    assert torch.all(got[~batch.mask] == 0)
    assert bool(((got >= -1e-12) & (got <= 1 + 1e-12)).all())


# -- the model ---------------------------------------------------------------------------------------------------------


def by_state(sample, model, identity):
    """(state, action, prediction, visits) of every pair that was seen."""
    mask, key = sample.trajectories.mask, keys(sample.trajectories, identity)
    states, where = np.unique(sample.truth.state[mask].numpy(), return_index=True)
    place = torch.searchsorted(model.key, key[mask][torch.from_numpy(where)])
    for state, row in zip(states.tolist(), place.tolist(), strict=True):
        for action in range(model.value.shape[1]):
            if model.count[row, action] > 0:
                yield state, action, float(model.value[row, action]), float(model.count[row, action])


@pytest.mark.parametrize("identity", IDENTITIES)
@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_targets_become_the_values_of_actions(identity, gamma):
    """On a tree E Q̂(s, a) = ½ (γ^{D−1−t} (2 Q^π − 1) + 1); all pairs as z-scores, and their spread is that of binomials."""
    table = make_tree(1)
    policy = random_policy(table, 1)
    sample = Sampler(table, policy, 5).groups(400, 50)
    exact = evaluate(table, policy)
    depth = np.searchsorted([1, 4, 13], np.arange(13), side="right")
    z = []
    for state, action, value, visits in by_state(sample, fit(sample.trajectories, gamma, identity), identity):
        q, fade = exact.q(int(depth[state]), state)[action], gamma ** (2 - depth[state])
        if visits >= 200:
            z.append((value - (fade * (2 * q - 1) + 1) / 2) / (fade * np.sqrt(q * (1 - q) / visits)))
            assert abs(z[-1]) < 4.5
    assert len(z) > 20
    assert 0.5 < np.mean(np.square(z)) < 1.7


def test_error_falls_with_more_rollouts():
    table = make_tree(3)
    policy = uniform(table)
    exact = evaluate(table, policy)
    depth = np.searchsorted([1, 4, 13], np.arange(13), side="right")
    worst = []
    for groups in (50, 5000):
        sample = Sampler(table, policy, 1).groups(groups, 8)
        found = by_state(sample, fit(sample.trajectories, 1.0), "history")
        worst.append(max(abs(v - exact.q(int(depth[s]), s)[a]) for s, a, v, _ in found))
    assert worst[1] < 0.05 < worst[0]


def test_mean_over_small_samples_is_the_value():
    """Q̂ of a pair that was seen is unbiased however few rollouts there are; 3 root actions, 500 samples of 24 rollouts."""
    table = make_tree(7)
    policy = random_policy(table, 2)
    exact = evaluate(table, policy).q(0, 0)
    values = []
    for seed in range(500):
        batch = Sampler(table, policy, seed).groups(3, 8).trajectories
        model = fit(batch, 1.0)
        root = torch.searchsorted(model.key, keys(batch)[:1, 0])
        values.append(torch.where(model.count[root] > 0, model.value[root], torch.nan)[0].numpy())
    for a in range(3):
        seen = np.array(values)[:, a]
        seen = seen[~np.isnan(seen)]
        assert len(seen) > 300
        assert abs(seen.mean() - exact[a]) < 4 * seen.std() / np.sqrt(len(seen))


def test_without_repeats_a_value_is_the_single_return():
    batch = make_batch([[0, 1.0], [0, 0.0], [1.0]], actions=[[0, 1], [1, 0], [1]])
    model, key = fit(batch, 0.9), keys(batch)
    own = labels(batch, 0.9)
    assert torch.equal(model.at(key, batch.policy_action)[batch.mask], own[batch.mask])
    # Untried actions are worth the same, so nothing can be preferred.
    assert torch.equal(model.value, model.value[:, :1].expand_as(model.value))


def test_gradient_steps_end_at_the_means():
    batch = Sampler(make_tree(2), uniform(make_tree(2)), 0).groups(40, 8).trajectories
    exact, start = fit(batch, 1.0), fit(batch, 1.0, updates=0)
    assert torch.all(start.value == 0.5)
    assert start.otherwise == 0.5
    weight, q = exact.count / exact.count.max(), exact.value
    one = fit(batch, 1.0, updates=1)
    assert close(one.value, torch.sigmoid(4 * weight * (q - 0.5)))

    def loss(model):
        p = model.value
        return float(-(exact.count * (torch.xlogy(q, p) + torch.xlogy(1 - q, 1 - p))).sum())

    losses = [loss(fit(batch, 1.0, updates=n)) for n in (0, 1, 3, 10, 30, 100, 300, 1000)]
    assert all(a > b for a, b in itertools.pairwise(losses))
    often = exact.count >= 5
    end = fit(batch, 1.0, updates=5000)
    assert torch.allclose(end.value[often], q[often], atol=5e-3)


def test_pairs_fit_the_order_of_actions():
    table = make_tree(4)
    batch = Sampler(table, uniform(table), 0).groups(60, 8).trajectories
    exact, model = fit(batch, 1.0), fit(batch, 1.0, delta=0.03)
    q = torch.where(exact.count > 0, exact.value, torch.nan)
    gap, found = q[:, :, None] - q[:, None], model.value[:, :, None] - model.value[:, None]
    assert torch.all(found[gap > 0.03] > 0)
    assert torch.all(fit(batch, 1.0, delta=1.0).value == 0.5)
    # One step from f = 0 follows the gradient of −Σ log σ(f_w − f_l), which autograd finds on its own.
    f = torch.zeros_like(exact.value, requires_grad=True)
    apart = f[:, :, None] - f[:, None]
    (slope,) = torch.autograd.grad(-torch.nn.functional.logsigmoid(apart)[gap > 0.03].sum(), f)
    assert close(fit(batch, 1.0, delta=0.03, updates=1).value, torch.sigmoid(-4 / 3 * slope))


def test_shaped_targets_keep_the_order_of_actions():
    """In a tree V_ref(s') is Q̂(s, a), and the mean label grows with it: the squash changes scales, not preferences."""
    table = make_tree(6)
    batch = Sampler(table, uniform(table), 0).groups(60, 8).trajectories
    plain, shaped = fit(batch, 1.0), fit(batch, 1.0, target="shaped")
    assert torch.equal(plain.key, shaped.key)
    seen = (plain.count > 0)[:, :, None] & (plain.count > 0)[:, None]
    gap = [m.value[:, :, None] - m.value[:, None] for m in (plain, shaped)]
    differ = seen & (gap[0].abs() > 1e-9)
    assert torch.equal(gap[0].sign()[differ], gap[1].sign()[differ])
    assert bool(((shaped.value > 0) & (shaped.value < 1)).all())


def test_shaped_labels_by_hand():
    # One key per step; V_ref is the mean outcome: ½ at the start, then each rollout's own.
    batch = make_batch([[0, 1.0], [0, 0.0]], anchors=[[0, 1], [0, 2]], actions=[[0, 0], [1, 0]])
    q = np.array([0.9 + 0.9 * 1 - 0.5, 1 - 1, 0.0 - 0.5, 0.0])
    low, high = np.quantile(q, [0.25, 0.75])
    expected = 1 / (1 + np.exp(-3 / (high - low) * (q - q.mean())))
    model = fit(batch, 0.9, "anchor", target="shaped")
    got = model.at(keys(batch, "anchor"), batch.policy_action).flatten()
    assert got.numpy() == pytest.approx(expected[[0, 1, 2, 3]])
    still = make_batch([[0.0], [0.0]])
    assert torch.all(fit(still, 0.9, target="shaped").value == 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": 1.5}, r"gamma=1.5: expected a number in \[0, 1\]"),
        ({"target": "value"}, "target='value': expected one of outcome, shaped"),
        ({"delta": -0.1}, "delta=-0.1"),
        ({"updates": -1}, "updates=-1"),
        ({"identity": "state"}, "unknown identity 'state'"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(CreditEnvsError, match=message):
        fit(make_batch([[1.0]]), **options)


def test_as_a_step_reward():
    table = make_tree(1)
    sampler = Sampler(table, uniform(table), 0)
    batch, other = (sampler.groups(4, 8).trajectories for _ in range(2))
    asked = []
    paid = agent_prm_q(batch, fresh=lambda n: asked.append(n) or other, gamma=0.9, identity="anchor")
    model = fit(other, 0.9, "anchor")
    assert asked == [4]
    assert torch.equal(paid.reward, batch.reward)
    assert torch.equal(paid.step_reward, model.at(keys(batch, "anchor"), batch.policy_action) * batch.mask)


# -- single steps as rows ------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(rich_table(max_states=6, max_horizon=4), st.integers(0, 1000), st.sampled_from(["state", "look", "obs"]))
def test_rows_hold_the_state_and_what_the_action_would_execute(table, seed, kind):
    rows = {"state": table.n_states, "look": table.emission.n_base, "obs": table.n_obs}[kind]
    policy = Policy(kind, random_rows(seed, rows, table.n_actions))
    sampler = Sampler(table, policy, seed)
    sample = sampler.groups(3, 2)
    who, t = torch.nonzero(sample.trajectories.mask, as_tuple=True)
    before = sampler.meter.copy()
    choice = redrawn(sampler, sample, who, t, 2)
    made = single_steps(sampler, sample, who, t, choice[:, 1])
    spent = sampler.meter.since(before)
    assert (spent.env_steps, spent.policy_calls) == (0, 2 * len(who))
    batch, old = made.trajectories, sample.trajectories
    at = (torch.arange(len(who)), t)
    assert torch.equal(torch.nonzero(batch.mask, as_tuple=True)[1], t)
    for name in ("obs", "anchor", "turn", "segment", "policy_row"):
        assert torch.equal(getattr(batch, name)[at], getattr(old, name)[who, t])
        assert torch.all(getattr(batch, name)[~batch.mask] == 0)
    assert close(batch.log_prob[at].exp(), torch.from_numpy(policy.probability)[batch.policy_row[at], choice[:, 1]])
    state, code = made.truth.state[at], made.truth.code[at]
    assert torch.equal(state, sample.truth.state[who, t])
    # The row's named action executes its edge, whatever the cue shows.
    edges = table.executed_edges(state.numpy(), batch.action[at].numpy(), code.numpy())
    assert np.array_equal(edges, made.truth.edge[at].numpy())
    taken = single_steps(sampler, sample, who, t, old.policy_action[who, t])
    for name in ("action", "log_prob", "policy_action"):
        assert torch.equal(getattr(taken.trajectories, name)[at], getattr(old, name)[who, t])
    assert torch.equal(taken.truth.edge[at], sample.truth.edge[who, t])
    assert not set(batch.node.flatten().tolist()) & set(old.node.flatten().tolist())


def test_actions_are_drawn_from_the_policy_and_anew():
    table = make_tree(0, depth=1)
    policy = np.array([[0.2, 0.5, 0.3]])
    sampler = Sampler(table, policy, 3)
    sample = sampler.groups(200, 20)
    who, t = torch.nonzero(sample.trajectories.mask, as_tuple=True)
    both = torch.stack([redrawn(sampler, sample, who, t, 2) for _ in range(2)], dim=1).view(-1, 4)
    n = len(both)
    for column in both.T:
        share = torch.bincount(column, minlength=3).numpy() / n
        assert np.abs((share - policy[0]) / np.sqrt(policy[0] * (1 - policy[0]) / n)).max() < 4
    taken = sample.trajectories.policy_action[who, t]
    for a in (both[:, 0], both[:, 2], taken):  # independent of each other and of what was taken
        equal = float((a == both[:, 3]).double().mean())
        same = float((policy**2).sum())
        assert abs(equal - same) < 4 * np.sqrt(same * (1 - same) / n)


# -- preferences -----------------------------------------------------------------------------------------------------


def preferred(table, policy, seed, groups=6, size=4, change=lambda model: model, **options):
    """A sample, its model (changed) and its pairs; equal seeds draw the same."""
    sampler = Sampler(table, policy, seed)
    sample = sampler.groups(groups, size)
    model = change(fit(sample.trajectories, 1.0))
    return sample, model, preferences(sampler, sample, model, "history", **options)


def same(a, b):
    names = ("mask", "policy_row", "policy_action", "log_prob", "group", "context", "obs", "action")
    return all(torch.equal(getattr(a.trajectories, n), getattr(b.trajectories, n)) for n in names)


def whole(made):
    """Of every pair that isn't masked out: (state, preferred action, rejected action), int64 ``[P]`` each."""
    batch = made.trajectories
    there = batch.mask.any(dim=1)
    assert torch.equal(there[0::2], there[1::2])
    state, action = ((x * batch.mask).sum(dim=1) for x in (made.truth.state, batch.policy_action))
    assert torch.equal(state[0::2], state[1::2])
    return state[0::2][there[0::2]], action[0::2][there[0::2]], action[1::2][there[0::2]]


@pytest.mark.parametrize("seed", range(5))
def test_pairs_follow_the_model(seed):
    table = make_tree(seed)
    sample, model, made = preferred(table, random_policy(table, seed), seed, groups=20)
    batch = made.trajectories
    assert torch.equal(batch.group[0::2], batch.group[1::2])
    assert torch.equal(torch.unique(batch.group), torch.arange(20))
    mask = sample.trajectories.mask
    key_of = dict(zip(sample.truth.state[mask].tolist(), keys(sample.trajectories)[mask].tolist(), strict=True))
    state, better, worse = whole(made)
    key = torch.tensor([key_of[s] for s in state.tolist()])
    assert len(key) > 50
    assert torch.all(model.at(key, better) > model.at(key, worse))
    _, _, strict = preferred(table, random_policy(table, seed), seed, groups=20, margin=0.2)
    assert torch.all(batch.reward == 0)
    assert 0 < len(whole(strict)[0]) < len(key)
    _, _, none = preferred(table, random_policy(table, seed), seed, groups=20, margin=1.0)
    assert not bool(none.trajectories.mask.any())


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 50), st.integers(-(2**20), 2**20))
def test_what_is_added_at_a_state_changes_nothing(seed, size):
    table = make_tree(seed)

    def on_a_grid(model):  # sums with whole numbers are then exact, and ties stay ties
        return model.replace((model.value * 2**20).round() / 2**20)

    def moved(model):
        return on_a_grid(model).replace(on_a_grid(model).value + (model.key % 1024 * size)[:, None])

    base, other = (preferred(table, uniform(table), seed, change=change)[2] for change in (on_a_grid, moved))
    assert same(base, other)
    assert len(whole(base)[0])
    turned = preferred(table, uniform(table), seed, change=lambda m: on_a_grid(m).replace(-on_a_grid(m).value))[2]
    assert [x.tolist() for x in whole(turned)] == [x.tolist() for x in (whole(base)[i] for i in (0, 2, 1))]


def scattered(seed=0):
    """A start that leads to one of 4,096 looks, each with three actions of different worth: no history comes twice."""
    rng = np.random.default_rng(seed)
    n = 4096
    rows = [(0, 0, 1 + i, 1 / n, 0.0, False) for i in range(n)]
    rows += [(1 + i, a, 1 + i, 1.0, float(rng.random() < 0.5), True) for i in range(n) for a in range(3)]
    columns = ("state", "action", "successor", "probability", "reward", "terminal")
    outcomes = {name: np.array(column) for name, column in zip(columns, zip(*rows, strict=True), strict=True)}
    return from_outcomes("scattered", n + 1, 3, outcomes, start={0: 1.0}, horizon=2)


def test_without_repeats_nothing_is_learned():
    table = scattered()
    sampler = Sampler(table, uniform(table), 1)
    made = agent_prm_pairs(sampler, 4, 4)
    batch = made.trajectories
    assert sampler.meter.env_steps == 4 * 4 * 2
    assert not bool(batch.mask.any())
    assert batch.group.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]  # every group is still there, and costs
    log_prob = batch.log_prob.clone().requires_grad_()
    loss = dpo(log_prob, batch, NONE)
    loss.backward()
    assert loss.item() == 0
    assert torch.all(log_prob.grad == 0)


def test_rounding_is_no_preference():
    """Everybody fails alike: all labels of a step are equal, and so are their means, but for the last bit."""
    n, horizon = 3, 6
    rows = [(t, a, min(t + 1, horizon - 1), 1.0, 0.0, t + 1 == horizon) for t in range(horizon) for a in range(n)]
    columns = ("state", "action", "successor", "probability", "reward", "terminal")
    outcomes = {name: np.array(column) for name, column in zip(columns, zip(*rows, strict=True), strict=True)}
    table = from_outcomes("hopeless", horizon, n, outcomes, start={0: 1.0}, horizon=horizon)
    sampler = Sampler(table, uniform(table), 0)
    sample = sampler.groups(50, 8)
    model = fit(sample.trajectories, 0.95, "anchor")
    assert bool((model.value != model.value[:, :1]).any())
    assert not bool(preferences(sampler, sample, model, "anchor").trajectories.mask.any())


def test_states_are_thinned_evenly():
    table = make_tree(0)
    counts = np.zeros(3)
    for seed in range(60):
        sampler = Sampler(table, uniform(table), seed)
        sample = sampler.groups(3, 6)
        model = fit(sample.trajectories)
        before = sampler.meter.policy_calls
        preferences(sampler, sample, model, "history", states=1)
        assert sampler.meter.policy_calls - before == 2 * 18  # 6 of the 18 steps of each of 3 groups
        who, t = _thinned(sampler, sample, 1)
        assert torch.bincount(sample.trajectories.group[who]).tolist() == [6, 6, 6]
        counts += np.bincount(t.numpy(), minlength=3)
        everything = torch.nonzero(sample.trajectories.mask, as_tuple=True)
        assert all(torch.equal(a, b) for a, b in zip(_thinned(sampler, sample, 3), everything, strict=True))
    n = counts.sum()
    assert np.abs(counts - n / 3).max() < 4 * np.sqrt(n * 2 / 9)


def test_pull_of_pairs_on_a_bandit():
    """At the reference each pair pulls with ½β, so E pull(a) ∝ π(a) (P(Q_b < Q_a) − P(Q_b > Q_a)), from the exact order."""
    table = make_tree(5, depth=1, certain=True)
    policy = np.array([[0.2, 0.5, 0.3]])
    q = evaluate(table, policy).q(0, 0)
    net = np.array([(policy[0] * np.sign(q[a] - q)).sum() for a in range(3)])
    sampler = Sampler(table, policy, 2)
    sample = sampler.groups(500, 20)
    model = fit(sample.trajectories, 1.0)
    assert model.value[0].numpy() == pytest.approx(q)
    state, better, worse = whole(preferences(sampler, sample, model, "history"))
    n = 500 * 20
    for a in range(3):
        pull = ((better == a).double() - (worse == a).double()).sum().item() / n
        assert abs(pull - 2 * policy[0, a] * net[a]) < 4 * np.sqrt(2 * policy[0, a] / n)
    assert len(state) < n


@pytest.mark.parametrize("seed", range(3))
def test_a_step_along_the_pairs_earns_more(seed):
    table = make_tree(seed)
    policy = uniform(table)
    sampler = Sampler(table, policy, seed)
    batch = agent_prm_pairs(sampler, 40, 8, gamma=1.0).trajectories
    logits = batch.policy_table.log().requires_grad_()
    for _ in range(20):
        log_prob = torch.log_softmax(logits, dim=1)[batch.policy_row, batch.policy_action]
        (slope,) = torch.autograd.grad(dpo(log_prob, batch, NONE, 0.1), logits)
        logits = (logits - 20 * slope).detach().requires_grad_()
    better = torch.softmax(logits, dim=1).detach().numpy()
    assert expected_return(table, better) > expected_return(table, policy) + 0.1


@pytest.mark.parametrize("identity", IDENTITIES)
def test_in_an_evaluation(identity):
    from credit_envs.evaluation.replicate import Subject
    from credit_envs.oracle.policy import as_policy
    from credit_envs.piece import Piece
    from credit_envs.recipes import PIECES, compose

    table = make_tree(2)
    plan = functools.partial(agent_prm_pairs, identity=identity, gamma=1.0)
    parts = [Piece("pairs", plan, slot="plan"), PIECES["dpo"], PIECES["dr_grpo"]]
    subject = Subject(table, as_policy(table, uniform(table)))
    (record,) = subject.replicate({"pairs": compose("pairs", parts, {})}, 0, 200, 8, 10**6)
    assert record["groups"] > 100
    assert record["projection"] > 0
    assert record["policy_calls"] > record["env_steps"]


@pytest.mark.parametrize("options", [{"states": 0}, {"margin": -1.0}, {"gamma": 2.0}])
def test_plan_options_out_of_range(options):
    table = make_tree(0)
    with pytest.raises(CreditEnvsError, match=next(iter(options))):
        agent_prm_pairs(Sampler(table, uniform(table), 0), 2, 2, **options)
