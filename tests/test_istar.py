"""iStar: the soft advantage of an exponential tilt, its limits, and every statistic by a naive loop."""

import functools
import itertools

import numpy as np
import pytest
import torch
from batches import batches, make_batch, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from small_trees import make_tree
from strategies import random_policy

from credit_envs.credit.grpo import grpo, rloo
from credit_envs.credit.istar import istar
from credit_envs.errors import CreditEnvsError
from credit_envs.losses.dpo import online_dpo
from credit_envs.oracle import evaluate
from credit_envs.rewards.implicit import implicit, log_ratio, pairs_of_groups, train_implicit
from credit_envs.sampling import Sampler
from credit_envs.sampling.statistics import returns_to_go

few = settings(max_examples=60, deadline=None)
close = functools.partial(torch.allclose, rtol=1e-9, atol=1e-10)
NONE = torch.zeros(())


def noisy(batch, seed):
    """The batch with random step rewards (also behind the mask, where nobody may look)."""
    rng = torch.Generator().manual_seed(seed)
    return batch.replace(step_reward=torch.randn(batch.mask.shape, generator=rng, dtype=torch.float64))


# -- the exponential tilt -----------------------------------------------------------------------------------------------


def every_leaf(table, policy):
    """One rollout per path of a tree, as one group."""
    sampler = Sampler(table, policy, 0)
    sample = sampler.groups(1, 600)
    actions = sample.trajectories.policy_action
    _, first = np.unique(actions.numpy(), axis=0, return_index=True)
    assert len(first) == table.n_actions**table.horizon
    return sample.rows(torch.from_numpy(first))


def soft_values(table, policy, beta, arity=3):
    """V_soft(s) = β log E[exp(R/β)|s] and Q_soft, by a recursion over the children; float64 [S], [S, A]."""
    n = table.n_states
    v, q = np.zeros(n), np.zeros((n, arity))
    for s in range(n - 1, -1, -1):
        for a in range(arity):
            ((_, successor, reward, ended),) = table.P[s][a]
            q[s, a] = reward if ended else v[successor]
        v[s] = beta * np.log(policy[s] @ np.exp(q[s] / beta))
    return v, q


@pytest.mark.parametrize("beta", [0.3, 1.0, 4.0])
def test_soft_labels_end_at_the_soft_advantage(beta):
    table = make_tree(1, depth=2, certain=True)
    policy = random_policy(table, 3) * 0.7 + 0.1
    sample = every_leaf(table, policy)
    batch = implicit(sample.trajectories, beta, updates=4000, rate=4 / beta, soft=True)
    v, q = soft_values(table, policy, beta)
    state, action = sample.truth.state.numpy(), batch.policy_action.numpy()
    assert batch.step_reward.numpy() == pytest.approx(q[state, action] - v[state], abs=1e-6)
    assert batch.step_reward.sum(dim=1).numpy() == pytest.approx(batch.returns.numpy() - v[0], abs=1e-6)


def test_large_beta_gives_the_advantage():
    """Q_soft − V_soft differs from A^π by O(1/β), and so does what is trained."""
    table = make_tree(2, depth=2, certain=True)
    policy = random_policy(table, 5) * 0.7 + 0.1
    sample = every_leaf(table, policy)
    steps = np.broadcast_to(np.arange(2), sample.truth.state.shape)
    exact = evaluate(table, policy).advantage_at(steps, sample.truth.state.numpy(), sample.truth.edge.numpy())
    worst = []
    for beta in (5.0, 20.0, 80.0):
        found = implicit(sample.trajectories, beta, updates=2000, rate=4 / beta, soft=True).step_reward
        worst.append(np.abs(found.numpy() - exact).max())
    assert worst[2] < 2e-3
    assert [worst[0] / worst[1], worst[1] / worst[2]] == pytest.approx([4, 4], rel=0.1)


def test_certain_labels_have_no_optimum():
    table = make_tree(1, depth=2, certain=True)
    batch = every_leaf(table, np.full((4, 3), 1 / 3)).trajectories
    size, loss = [], []
    for updates in (10, 100, 1000, 3000):
        moved = train_implicit(batch, updates=updates)
        size.append(float(log_ratio(batch, moved).abs().max()))
        loss.append(float(online_dpo(batch.log_prob + log_ratio(batch, moved), batch, NONE, 0.05)))
    assert all(a < b for a, b in itertools.pairwise(size))
    assert all(a > b for a, b in itertools.pairwise(loss))


# -- training ----------------------------------------------------------------------------------------------------------


@few
@given(batches(max_size=5))
def test_pairs_by_a_naive_loop(batch):
    found = {frozenset(pair) for pair in zip(*(x.tolist() for x in pairs_of_groups(batch)), strict=True)}
    n = batch.n_rollouts
    assert found == {frozenset({i, j}) for i in range(n) for j in range(i) if batch.group[i] == batch.group[j]}
    assert len(pairs_of_groups(batch)[0]) == len(found)


@few
@given(batches(max_size=4), st.booleans(), st.booleans())
def test_first_update_by_a_naive_loop(batch, soft, mean_over_steps):
    """½ rate times the mean over pairs of what the winner did less what the loser did, less π's share of those steps."""
    table = batch.policy_table.numpy()
    pull, pairs = np.zeros_like(table), 0
    for i in range(batch.n_rollouts):
        for j in range(batch.n_rollouts):
            gap = float(batch.returns[i] - batch.returns[j])
            if i == j or batch.group[i] != batch.group[j] or (gap <= 0 and not soft) or (soft and i < j):
                continue
            pairs += 1
            sure = 2 / (1 + np.exp(-gap)) - 1 if soft else 1.0
            for who, sign in ((i, sure), (j, -sure)):
                share = sign / (int(batch.lengths[who]) if mean_over_steps else 1)
                for t in torch.nonzero(batch.mask[who]).flatten().tolist():
                    row, action = int(batch.policy_row[who, t]), int(batch.policy_action[who, t])
                    pull[row, action] += share
                    pull[row] -= share * table[row]
    got = train_implicit(batch, 0.05, 1, 1.0, soft, mean_over_steps)
    assert got.numpy() == pytest.approx(pull / 2 / max(pairs, 1), abs=1e-10)


@few
@given(batches(max_size=4), st.floats(0.05, 2.0))
def test_training_descends_the_loss_of_online_dpo(batch, beta):
    losses = [
        float(online_dpo(batch.log_prob + log_ratio(batch, train_implicit(batch, beta, n, 0.5)), batch, NONE, beta))
        for n in (0, 1, 2)
    ]
    assert losses[2] <= losses[1] + 1e-12
    assert losses[1] <= losses[0] + 1e-12


def test_training_goes_on_from_where_it_was():
    batch = Sampler(make_tree(1), np.full((13, 3), 1 / 3), 0).groups(4, 8).trajectories
    half = train_implicit(batch, updates=5)
    assert close(train_implicit(batch, updates=5, initial=half), train_implicit(batch, updates=10))
    with pytest.raises(CreditEnvsError, match=r"initial: expected shape \(13, 3\), got \(2, 3\)"):
        train_implicit(batch, initial=half[:2])


@few
@given(batches(max_size=5), st.floats(0.05, 2.0))
def test_rewards_sum_to_the_log_ratio_of_whole_rollouts(batch, beta):
    moved = train_implicit(batch, beta)
    weight = batch.policy_table * moved.exp()
    new = weight / weight.sum(dim=1, keepdim=True)
    paid = implicit(batch, beta)
    for i in range(batch.n_rollouts):
        steps = torch.nonzero(batch.mask[i]).flatten()
        row, action = batch.policy_row[i, steps], batch.policy_action[i, steps]
        ratio = float(new[row, action].log().sum() - batch.policy_table[row, action].log().sum())
        assert float(paid.step_reward[i].sum()) == pytest.approx(beta * ratio, abs=1e-9)
    assert torch.all(paid.step_reward[~batch.mask] == 0)
    assert torch.equal(paid.reward, batch.reward)


@few
@given(batches(max_size=5))
def test_quirks_of_the_released_rewards(batch):
    assert torch.all(implicit(batch, updates=1, lag=True).step_reward == 0)
    assert torch.equal(implicit(batch, updates=4, lag=True).step_reward, implicit(batch, updates=3).step_reward)
    plain, scaled = implicit(batch).step_reward, implicit(batch, scaled=True).step_reward
    top = float(returns_to_go(plain, batch.mask, 1.0).abs().max())
    if top > 0:
        assert close(scaled * top, plain)
        assert float(returns_to_go(scaled, batch.mask, 1.0).abs().max()) == pytest.approx(1)


def test_no_pairs_no_rewards():
    batch = make_batch([[0, 1.0], [1.0]], group=[0, 0])
    assert torch.all(implicit(batch).step_reward == 0)
    assert torch.all(implicit(make_batch([[1.0]])).step_reward == 0)
    rounded = make_batch([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]])
    assert rounded.returns[0] != rounded.returns[1]
    assert torch.all(implicit(rounded).step_reward == 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": 0.0}, r"beta=0.0: expected a number in \(0, inf\]"),
        ({"updates": -1}, "updates=-1"),
        ({"rate": 0}, "rate=0"),
        ({"updates": 0, "lag": True}, "updates=0: expected an integer in .1"),
    ],
)
def test_reward_options_out_of_range(options, message):
    with pytest.raises(CreditEnvsError, match=message):
        implicit(make_batch([[1.0], [0.0]]), **options)


# -- the advantage -------------------------------------------------------------------------------------------------------


@few
@given(batches(max_size=5), st.integers(0, 99))
def test_without_step_rewards_it_is_grpo_or_rloo(batch, seed):
    for norm, base in (("z", grpo(batch)), ("rloo", rloo(batch))):
        assert torch.equal(istar(noisy(batch, seed), alpha=0, norm=norm), base)
        # π_φ = π_old pays nothing.
        assert torch.equal(istar(implicit(batch, updates=0), norm=norm), base)


@few
@given(batches(max_size=5), st.integers(0, 99), st.booleans(), st.sampled_from([0.5, 1.0, 3.0]))
def test_step_statistics_by_a_naive_loop(batch, seed, first_rows, alpha):
    paid = noisy(batch, seed)
    for norm in ("z", "rloo"):
        got = istar(paid, alpha, norm, first_rows) - (grpo(batch) if norm == "z" else rloo(batch))
        for g in range(batch.n_groups):
            rows = torch.nonzero(batch.group == g).flatten().tolist()
            base = [
                float(paid.step_reward[i, t])
                for i in rows
                for t in ([0] if first_rows else torch.nonzero(batch.mask[i]).flatten().tolist())
            ]
            n, mean = len(base), np.mean(base)
            for i in rows:
                for t in torch.nonzero(batch.mask[i]).flatten().tolist():
                    x = float(paid.step_reward[i, t]) - mean
                    deviation = np.std(base, ddof=1) if n > 1 else 0
                    expected = x / (deviation + 1e-6) if norm == "z" else x * n / max(n - 1, 1)
                    assert float(got[i, t]) == pytest.approx(alpha * expected, rel=1e-6, abs=1e-8)
        assert torch.all(got[~batch.mask] == 0)


def test_first_rows_of_the_released_code():
    """The specification's example: 1.5 where the mean over all steps is 3.5."""
    batch = make_batch([[0, 0.0], [0, 0.0]])
    paid = batch.replace(step_reward=torch.tensor([[1, 5.0], [2, 6.0]], dtype=torch.float64))
    every, first = istar(paid, norm="rloo"), istar(paid, norm="rloo", first_rows=True)
    assert close(every, 4 / 3 * (paid.step_reward - 3.5))
    assert close(first, 2 * (paid.step_reward - 1.5))


@few
@given(batches(max_size=5), st.integers(0, 99), st.sampled_from([0.25, 2.0]), st.sampled_from([-4.0, 1.0]))
def test_scale_and_offset_of_step_rewards(batch, seed, scale, shift):
    paid = noisy(batch, seed)
    other = paid.replace(step_reward=paid.step_reward * scale + shift)
    got, base = (istar(b, epsilon=0) for b in (other, paid))
    fine = torch.isfinite(base)
    assert torch.allclose(got[fine], base[fine], rtol=1e-6, atol=1e-7)


@few
@given(batches(max_size=5), st.integers(0, 99))
def test_order_of_rollouts(batch, seed):
    order = torch.randperm(batch.n_rollouts, generator=torch.Generator().manual_seed(seed))
    assert torch.allclose(istar(rows_of(batch, order)), istar(batch)[order], atol=1e-6)


def test_by_itself_it_brings_its_own_rewards():
    batch = Sampler(make_tree(1), np.full((13, 3), 1 / 3), 0).groups(4, 8).trajectories
    assert torch.equal(istar(batch), istar(implicit(batch)))
    assert not torch.equal(istar(batch), grpo(batch))
    other = noisy(batch, 0)
    assert not torch.equal(istar(other), istar(batch))


@pytest.mark.parametrize("options", [{"alpha": -1}, {"norm": "std"}])
def test_options_out_of_range(options):
    with pytest.raises(CreditEnvsError, match=next(iter(options))):
        istar(make_batch([[1.0]]), **options)
