"""Agent Q: which siblings make pairs, what they are stored with, and what DPO on them learns."""

import numpy as np
import pytest
import torch
from brute_force import random_rows, rich_table
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import make_random_table

from credit_envs.errors import CreditEnvsError
from credit_envs.losses.dpo import dpo
from credit_envs.oracle import Policy, optimal, uniform
from credit_envs.plans import agent_q as module
from credit_envs.plans.agent_q import agent_q
from credit_envs.sampling import Sampler
from credit_envs.table import from_outcomes

NONE = torch.zeros(())


def bandit(rewards, probability=None):
    """One step; with a probability, the reward is paid only then."""
    rows = [(0, a, 0, 1.0, float(r), True) for a, r in enumerate(rewards)]
    if probability is not None:
        rows = [
            (0, a, 0, p, float(r), True)
            for a, r in enumerate(rewards)
            for p, r in ((probability, r), (1 - probability, 0.0))
        ]
    names = ("state", "action", "successor", "probability", "reward", "terminal")
    columns = {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    return from_outcomes("bandit", 1, len(rewards), columns, start={0: 1.0}, horizon=1)


def walk(seed=0, **fields):
    return make_random_table(seed, n_states=10, n_actions=4, horizon=6, n_starts=3, **fields)


def preferred(batch):
    """(preferred, rejected) columns of the pairs that count."""
    there = batch.mask.any(dim=1)
    action = (batch.policy_action * batch.mask).sum(dim=1)[there]
    return list(zip(action[0::2].tolist(), action[1::2].tolist(), strict=True))


@settings(max_examples=40, deadline=None)
@given(
    rich_table(max_states=6, max_horizon=4),
    st.integers(0, 2**40),
    st.sampled_from(["state", "look", "obs"]),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_rows_are_pairs_at_one_state(table, seed, kind, alpha):
    rows = {"state": table.n_states, "look": table.emission.n_base, "obs": table.n_obs}[kind]
    policy = Policy(kind, random_rows(seed % 1000, rows, table.n_actions))
    sampler = Sampler(table, policy, seed)
    sample = agent_q(sampler, 5, 4, alpha=alpha, theta=0.05, accuracy=0.7)
    batch, truth = sample.trajectories, sample.truth
    assert batch.n_rollouts % 2 == 0
    assert torch.all(batch.group.diff() >= 0)
    assert sorted(set(batch.group.tolist())) == list(range(5))
    there = batch.mask.any(dim=1)
    assert torch.equal(there[0::2], there[1::2])
    assert batch.mask.sum() == there.sum()
    one, other = sample.rows(there.nonzero().squeeze(1)[0::2]), sample.rows(there.nonzero().squeeze(1)[1::2])
    for name in ("obs", "anchor", "mask", "policy_row", "group", "context"):
        assert torch.equal(getattr(one.trajectories, name), getattr(other.trajectories, name)), name
    for name in ("state", "code", "rollout"):
        assert torch.equal(getattr(one.truth, name), getattr(other.truth, name)), name
    assert torch.all(one.trajectories.returns > other.trajectories.returns + 0.05)
    assert torch.all((one.trajectories.policy_action != other.trajectories.policy_action).sum(dim=1) == 1)
    # Stored with the policy's own log-probability, and executed as admissible edges.
    row, action = batch.policy_row[batch.mask], batch.policy_action[batch.mask]
    assert torch.equal(batch.log_prob[batch.mask], batch.policy_table[row, action].log())
    assert torch.all(torch.isfinite(batch.log_prob[batch.mask]))
    state, code, edge = (part[batch.mask].numpy() for part in (truth.state, truth.code, truth.edge))
    assert np.all(edge >= 0)
    if policy.names_actions:
        assert np.array_equal(edge, table.executed_edges(state, action.numpy(), code))
    else:
        assert np.array_equal(edge, table.find_edges(state, action.numpy()))
    obs = table.emission.base[state].astype(np.int64) * table.emission.n_codes + code
    assert np.array_equal(batch.obs[batch.mask].numpy(), obs)
    assert dpo(batch.log_prob, batch, NONE).item() == pytest.approx(np.log(2) if there.any() else 0.0)


def test_what_makes_no_pairs_updates_nothing():
    table = walk()
    lone = {"proposals": 1}, {"theta": 5.0}, {"theta": 5.0, "alpha": 1.0}
    for options in lone:
        batch = agent_q(Sampler(table, uniform(table), 0), 6, 4, **options).trajectories
        assert batch.n_rollouts == 12
        assert not batch.mask.any()
        log_prob = batch.log_prob.clone().requires_grad_()
        loss = dpo(log_prob, batch, NONE)
        loss.backward()
        assert loss.item() == 0
        assert torch.all(log_prob.grad == 0)
    assert agent_q(Sampler(table, uniform(table), 0), 6, 4).trajectories.mask.any()


def test_without_a_critic_nothing_knows_the_truth(monkeypatch):
    def forbidden(table):
        raise AssertionError

    table = walk(1)
    monkeypatch.setattr(module, "_best_values", forbidden)
    sample = agent_q(Sampler(table, uniform(table), 0), 20, 4, alpha=1.0)
    # Paid values are mean returns then.
    values = sample.trajectories.returns[sample.trajectories.mask.any(dim=1)]
    assert len(values) > 20
    with pytest.raises(AssertionError):
        agent_q(Sampler(table, uniform(table), 0), 1, 4, alpha=0.9)


def test_a_sure_critic_alone_orders_by_the_best_values():
    table = walk(2)
    sample = agent_q(Sampler(table, uniform(table), 0), 200, 4, alpha=0.0, accuracy=1.0, theta=0.0)
    batch, best = sample.trajectories, optimal(table)
    step = torch.nonzero(batch.mask)[:, 1].numpy()
    q = best.q_at(step, sample.truth.edge[batch.mask].numpy())
    assert len(q) > 400
    assert np.all(q[0::2] >= q[1::2] - 1e-12)
    # A careless one is often wrong, and one that guesses as often as not.
    for accuracy, low, high in ((0.7, 0.65, 0.95), (0.0, 0.4, 0.6)):
        sample = agent_q(Sampler(table, uniform(table), 0), 400, 4, alpha=0.0, accuracy=accuracy, theta=0.0)
        batch = sample.trajectories
        q = best.q_at(torch.nonzero(batch.mask)[:, 1].numpy(), sample.truth.edge[batch.mask].numpy())
        apart = np.abs(q[0::2] - q[1::2]) > 1e-9
        assert low < np.mean((q[0::2] > q[1::2])[apart]) < high


def learn(batch, beta=0.1, steps=300):
    logits = batch.policy_table.log().clone().requires_grad_()
    optimiser = torch.optim.Adam([logits], lr=0.05)
    for _ in range(steps):
        optimiser.zero_grad()
        log_prob = torch.log_softmax(logits, 1)[batch.policy_row, batch.policy_action]
        dpo(log_prob, batch, NONE, beta).backward()
        optimiser.step()
    return torch.softmax(logits, 1).detach()


@pytest.mark.parametrize("luck", [None, 0.5])
def test_dpo_recovers_the_order_of_a_bandit(luck):
    rewards = [0.3, 1.0, 0.6, 0.0]
    table = bandit(rewards, luck)
    sampler = Sampler(table, np.array([[0.1, 0.2, 0.3, 0.4]]), 0)
    batch = agent_q(sampler, 40, 16, alpha=1.0, theta=0.05, proposals=12, simulations=8).trajectories
    learned = learn(batch)[0]
    assert torch.argsort(learned / batch.policy_table[0]).tolist() == np.argsort(rewards).tolist()
    if luck is None:
        assert all(rewards[w] > rewards[x] for w, x in preferred(batch))


def test_thresholds_and_blends():
    table = bandit([0.0, 1.0])
    found = {}
    for alpha, theta in ((1.0, 0.5), (0.5, 0.5), (0.5, 0.99)):
        sampler = Sampler(table, uniform(table), 0)
        options = {"alpha": alpha, "theta": theta, "accuracy": 1.0, "proposals": 20}
        found[alpha, theta] = agent_q(sampler, 3, 8, **options).trajectories
        assert preferred(found[alpha, theta]) == [(1, 0)] * 3
        assert found[alpha, theta].returns.tolist() == pytest.approx([1.0, 0.0] * 3)
    # A critic that says the opposite of the search leaves nothing to prefer at α = ½.
    module._best_values.cache_clear()
    flat = agent_q(Sampler(bandit([0.5, 0.5]), uniform(table), 0), 50, 8, theta=0.4, accuracy=0.0, proposals=20)
    assert {tuple(p) for p in preferred(flat.trajectories)} == {(0, 1), (1, 0)}


def test_equal_seeds_give_equal_pairs_and_what_they_cost():
    table = walk(3)
    one, two = (Sampler(table, uniform(table), 7) for _ in range(2))
    a, b = agent_q(one, 10, 4).trajectories, agent_q(two, 10, 4).trajectories
    for name in ("obs", "policy_action", "log_prob", "mask", "reward", "group"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    assert one.meter == two.meter
    assert one.meter.restores == 10 * 16
    assert one.meter.env_steps > 10 * 16
    assert one.meter.policy_calls >= 10 * (4 + 1)
    with pytest.raises(CreditEnvsError, match="cannot be forked"):
        agent_q(Sampler(table, uniform(table), restore="none"), 2, 2)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"alpha": 1.5}, "alpha=1.5"),
        ({"theta": -1.0}, "theta=-1"),
        ({"proposals": 0}, "proposals=0"),
        ({"accuracy": 2.0}, "accuracy=2"),
        ({"simulations": 0}, "simulations=0"),
        ({"c": -1.0}, "c=-1"),
    ],
)
def test_bad_options(option, message):
    with pytest.raises(CreditEnvsError, match=message):
        agent_q(Sampler(walk(), uniform(walk())), 2, 2, **option)
