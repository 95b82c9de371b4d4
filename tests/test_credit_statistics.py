"""What each estimator estimates: means and variances of its credit against exact quantities, by z-tests with fixed seeds.

A cell is a (step, state, action). For every cell the sum of (credit − target) over a group's visits has mean zero if the
target is E[credit | step, state, action]; groups are independent, so their mean over its standard error is a z-score.
"""

import functools

import numpy as np
import pytest
import torch
from brute_force import cue_layer, random_layers, random_rows
from strategies import make_random_table, random_policy

from credit_envs.credit.gigpo import gigpo_state
from credit_envs.credit.grpo import dr_grpo, grpo, rloo
from credit_envs.credit.monte_carlo import return_minus_value, vineppo
from credit_envs.evaluation.providers import Provided
from credit_envs.evaluation.scores import GradientFrame
from credit_envs.oracle import Policy, evaluate, exact_gradient, uniform
from credit_envs.sampling import Sampler
from credit_envs.table import Emission, from_outcomes

GROUPS, SIZE = 12_000, 3


@functools.cache
def scene(seed):
    """A table with three contexts, masks, luck and cycles; a random policy; a large sample and its exact advantages."""
    tables = (make_random_table(s, 7, 3, 5, n_starts=3, cutoff=s % 2 == 0) for s in range(seed * 100, 9999))
    table = next(t for t in tables if t.n_states >= 5)
    policy = Policy("state", 0.3 * uniform(table) + 0.7 * random_policy(table, seed))
    sampler = Sampler(table, policy, seed)
    sample = sampler.groups(GROUPS, SIZE)
    values = evaluate(table, policy)
    return table, policy, sampler, sample, values, Provided(sampler, sample, values)["advantage"]


def z_scores(table, sample, excess, least=300):
    """z-score per cell of the mean over groups of Σ excess, for cells with enough visits."""
    mask = sample.trajectories.mask
    group, step = sample.trajectories.group[:, None].expand_as(mask)[mask], torch.nonzero(mask)[:, 1]
    cell = step * table.n_edges + sample.truth.edge[mask]
    n, groups = int(cell.max()) + 1, sample.trajectories.n_groups
    each = torch.zeros(groups * n, dtype=torch.float64).index_add_(0, group * n + cell, excess[mask]).view(groups, n)
    visits = torch.bincount(cell, minlength=n)
    mean, error = each.mean(0), each.std(0) / np.sqrt(groups)
    use = (visits >= least) & (error > 1e-12)
    assert torch.all(mean[(visits >= least) & (error <= 1e-12)].abs() < 1e-9)
    return (mean[use] / error[use]).numpy()


def assert_zero_mean(table, sample, excess):
    z = z_scores(table, sample, excess)
    assert len(z) > 8
    assert np.abs(z).max() < 4.5
    assert np.mean(z**2) < 1.8


def assert_biased(table, sample, excess):
    """The test has power: a wrong target is found out."""
    assert np.abs(z_scores(table, sample, excess)).max() > 6


def level(sample, values, advantage):
    """What was paid before step t, plus Q(s_t, a_t) − V_0(context); with rewards at the end only, Q − V_0."""
    state, step = sample.truth.state, torch.arange(sample.truth.state.shape[1])
    value = torch.from_numpy(values.V)[step, state]
    first = torch.from_numpy(values.context_values)[sample.trajectories.context]
    paid = sample.trajectories.reward.cumsum(1) - sample.trajectories.reward
    return torch.where(sample.trajectories.mask, paid + advantage + value - first[:, None], 0.0)


@pytest.mark.parametrize("seed", [1, 2])
def test_rloo_estimates_the_level(seed):
    table, _, _, sample, values, advantage = scene(seed)
    target = level(sample, values, advantage)
    assert_zero_mean(table, sample, rloo(sample.trajectories) - target)
    assert_biased(table, sample, rloo(sample.trajectories) - advantage)


@pytest.mark.parametrize("seed", [1, 2])
def test_dr_grpo_estimates_a_share_of_the_level(seed):
    table, _, _, sample, values, advantage = scene(seed)
    target = level(sample, values, advantage)
    assert_zero_mean(table, sample, dr_grpo(sample.trajectories) - (SIZE - 1) / SIZE * target)
    assert_biased(table, sample, dr_grpo(sample.trajectories) - target)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "estimate", [functools.partial(vineppo, k=1), functools.partial(vineppo, k=3), return_minus_value]
)
def test_monte_carlo_credit_estimates_the_advantage(seed, estimate):
    table, _, sampler, sample, values, advantage = scene(seed)
    credit = estimate(sample.trajectories, continuations=Provided(sampler, sample, values)["continuations"])
    assert_zero_mean(table, sample, credit - advantage)


def listed(rows, n_states, n_actions, *, start, horizon, **fields):
    names = ("state", "action", "successor", "probability", "reward", "terminal")
    columns = {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    return from_outcomes("listed", n_states, n_actions, columns, start=start, horizon=horizon, **fields)


def test_gigpo_where_every_rollout_passes_every_anchor_once():
    """Anchor groups of fixed size n: E[Â | s, a] = (n−1)/n (level + ω A_γ), with γ the estimator's discount."""
    rows = []
    for s in range(4):
        last, after = s == 3, min(s + 1, 3)
        rows += [(s, 0, after, 0.5, 1.0, last), (s, 0, after, 0.5, -0.5, last), (s, 1, after, 1.0, 0.1 * s, last)]
    table = listed(rows, 4, 2, start={0: 1.0}, horizon=4)
    policy = np.array([[0.3, 0.7]] * 4)
    sampler = Sampler(table, policy, 0)
    sample = sampler.groups(30_000, SIZE)
    values, discounted = evaluate(table, policy), evaluate(table.replace(discount=0.6), policy)
    full, part = (Provided(sampler, sample, v)["advantage"] for v in (values, discounted))
    target = (SIZE - 1) / SIZE * (level(sample, values, full) + part)
    credit = gigpo_state(sample.trajectories, state=sample.truth.state, gamma=0.6)
    z = z_scores(table, sample, credit - target)
    assert len(z) == 8
    assert np.abs(z).max() < 4.5


def test_bandit_means():
    """T = 1: E[Dr.GRPO | a] = (n−1)/n A, E[RLOO | a] = A."""
    table = listed(
        [(0, 0, 0, 0.25, 1.0, True), (0, 0, 0, 0.75, 0.0, True), (0, 1, 0, 1.0, 0.2, True)],
        1,
        2,
        start={0: 1},
        horizon=1,
    )
    sample = Sampler(table, uniform(table), 0).groups(20_000, 4)
    action = sample.truth.edge[:, 0]
    for estimate, factor in ((dr_grpo, 0.75), (rloo, 1.0)):
        credit = estimate(sample.trajectories)[:, 0]
        for a, advantage in ((0, 0.025), (1, -0.025)):
            chosen = credit[action == a]
            assert abs(float(chosen.mean()) - factor * advantage) < 5 * float(chosen.std()) / np.sqrt(len(chosen))


# -- variance of VinePPO ---------------------------------------------------------------------------------------------


def winning_tree(depth, seed):
    """A deterministic binary tree whose leaves win (1) or lose (0)."""
    rng = np.random.default_rng(seed)
    inner = 2**depth - 1
    rows = []
    for s in range(inner):
        for a in range(2):
            child = 2 * s + 1 + a
            leaf = child >= inner
            rows.append((s, a, 0 if leaf else child, 1.0, float(rng.random() < 0.5) if leaf else 0.0, leaf))
    return listed(rows, inner, 2, start={0: 1.0}, horizon=depth)


@pytest.mark.parametrize("k", [1, 4])
def test_variance_of_vineppo(k):
    """Per step, given s': [v'(1 − v') + v(1 − v)] / K for binary outcomes; what follows for sure has no variance."""
    table = winning_tree(4, 3)
    policy = random_rows(5, table.n_states, 2) * 0.6 + 0.2
    values = evaluate(table, policy)
    sampler = Sampler(table, policy, 1)
    sample = sampler.groups(8000, 1)
    advantage = Provided(sampler, sample, values)["advantage"]
    credit = vineppo(sample.trajectories, continuations=Provided(sampler, sample, values)["continuations"], k=k)
    checked = sure = 0
    for e in range(table.n_edges):
        visits = sample.truth.edge == e
        if int(visits.sum()) < 200:
            continue
        s, child = int(table.edge_state[e]), int(table.successor[e])
        t = int(np.log2(s + 1))
        v = values.V[t, s]
        after = 0.0 if table.terminal[e] else values.V[t + 1, child]
        exact = (after * (1 - after) + v * (1 - v)) / k
        error = (credit - advantage)[visits].numpy()
        spread = np.std(error**2) / np.sqrt(error.size)
        assert abs(np.mean(error**2) - exact) < 4.5 * spread + 1e-9
        checked, sure = checked + 1, sure + (exact < 1e-12)
        if exact < 1e-12:
            assert np.all(np.abs(error) < 1e-12)
    assert checked >= 15
    assert sure >= 1


def test_many_continuations_give_the_advantage():
    table = winning_tree(3, 1)
    sampler = Sampler(table, uniform(table), 0)
    sample = sampler.groups(1, 6)
    provided = Provided(sampler, sample, evaluate(table, uniform(table)))
    k = 20_000
    credit = vineppo(sample.trajectories, continuations=provided["continuations"], k=k)
    assert float((credit - provided["advantage"]).abs().max()) < 5 * np.sqrt(0.5 / k)


def test_level_of_terminal_rewards():
    """Where only the end pays, E[RLOO | s, a] = Q − V_0 and E[Dr.GRPO | s, a] = (n−1)/n (Q − V_0)."""
    table = winning_tree(3, 1)
    policy = random_rows(5, table.n_states, 2) * 0.6 + 0.2
    values = evaluate(table, policy)
    sample = Sampler(table, policy, 1).groups(GROUPS, SIZE)
    step, edge = torch.arange(3).expand_as(sample.truth.edge).numpy(), sample.truth.edge.numpy()
    target = torch.from_numpy(values.q_at(step, edge) - values.J)
    for credit, factor in ((rloo(sample.trajectories), 1.0), (dr_grpo(sample.trajectories), (SIZE - 1) / SIZE)):
        z = z_scores(table, sample, credit - factor * target)
        assert len(z) == table.n_edges
        assert np.abs(z).max() < 4.5


# -- gradients -------------------------------------------------------------------------------------------------------


def gradient_z(sampler, sample, policy, credit, factor=1.0):
    """Largest z-score of the mean group gradient against factor times the exact one, over entries."""
    exact = torch.from_numpy(exact_gradient(sampler.table, policy, discounted_visits=False))
    frame = GradientFrame(sample, exact)
    g = frame.gradient(credit)
    mean = frame.total(g) / frame.n_groups
    square = torch.zeros_like(exact).index_add_(0, frame.pair_row, g**2) / frame.n_groups
    error = ((square - mean**2) / frame.n_groups).clamp(min=0).sqrt()
    known = error > 1e-9
    assert float((mean - factor * exact)[~known].abs().max() if (~known).any() else 0) < 1e-6
    return ((mean - factor * exact)[known] / error[known]).numpy()


@pytest.mark.parametrize("seed", [1, 2])
def test_gradients_are_unbiased(seed):
    _, policy, sampler, sample, values, advantage = scene(seed)
    for credit, factor in (
        (advantage, 1.0),
        (rloo(sample.trajectories), 1.0),
        (dr_grpo(sample.trajectories), (SIZE - 1) / SIZE),
    ):
        z = gradient_z(sampler, sample, policy, credit, factor)
        assert np.abs(z).max() < 4.5
    assert (
        np.abs(gradient_z(sampler, sample, policy, grpo(sample.trajectories))).max() > 6
    )  # dividing by the deviation biases
    assert values.table is sampler.table


@pytest.mark.parametrize("seed", range(3))
def test_gradients_of_observation_policies(seed):
    """Names that a cue shifts, skins, paraphrases: the sampled gradient is the exact one in the policy's own table."""
    rng = np.random.default_rng(seed)
    table = next(
        t for t in (make_random_table(s, 6, 2, 3) for s in range(seed * 50, 999)) if t.n_states >= 4 and t.mask.all()
    )
    looks = np.unique(rng.integers(0, 3, table.n_states), return_inverse=True)[1]
    layers = (cue_layer(2),) if seed == 0 else random_layers(rng, 2)
    table = table.replace(emission=Emission(looks, layers))
    policy = Policy("obs", 0.2 + 0.6 * random_rows(seed, table.n_obs, 2))
    sampler = Sampler(table, policy, seed)
    sample = sampler.groups(12_000, SIZE)
    z = gradient_z(sampler, sample, policy, rloo(sample.trajectories))
    assert len(z) >= 6
    assert np.abs(z).max() < 4.5


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", ["look", "state"])
def test_the_projected_advantage_has_the_exact_gradient_of_looks(seed, kind):
    """Averaging the advantage over states that look alike leaves the gradient of a policy on looks as it is."""
    table = next(
        t for t in (make_random_table(s, 8, 2, 4) for s in range(seed * 50, 999)) if t.n_states >= 6 and t.mask.all()
    )
    table = table.replace(emission=Emission(np.arange(table.n_states) % 3))
    rows = random_rows(seed, 3, 2) * 0.6 + 0.2
    policy = Policy(kind, rows if kind == "look" else rows[table.emission.base])
    sampler = Sampler(table, policy, seed)
    sample = sampler.groups(12_000, SIZE)
    provided = Provided(sampler, sample, evaluate(table, policy))
    assert not torch.allclose(provided["advantage"], provided["projected_advantage"])
    by_look = Policy("look", rows)
    looks = sample.trajectories.replace(policy_row=sample.trajectories.obs, policy_table=torch.from_numpy(rows))
    seen = type(sample)(looks, sample.truth)
    for name in ("advantage", "projected_advantage"):
        assert np.abs(gradient_z(sampler, seen, by_look, provided[name])).max() < 4.5
