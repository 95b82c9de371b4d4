"""Trees and their credit: what they cost, where they fork, how leaves are distributed, identities and exact gradients."""

import itertools

import numpy as np
import pytest
import torch
from batches import batches, make_batch
from brute_force import by_state, walks
from group_gradients import everlasting_table, group_gradients, step_gradients, z_scores
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from strategies import make_random_table, random_policy, random_table

from credit_envs.credit.gigpo import gigpo
from credit_envs.credit.grpo import dr_grpo, grpo
from credit_envs.credit.tree import tree_grpo, tree_inter, tree_intra, tree_value
from credit_envs.credit.tree_gigpo import tree_gigpo
from credit_envs.errors import CreditEnvsError
from credit_envs.oracle import Policy, evaluate, uniform
from credit_envs.plans.tree import fork_points, paper_budget, trees
from credit_envs.sampling import Sampler
from credit_envs.sampling.statistics import compact, group_count, group_sum
from credit_envs.table import from_outcomes

few = settings(max_examples=40, deadline=None)
SHAPES = [(1, 2, 1), (2, 2, 1), (2, 1, 3), (3, 2, 2), (2, 0, 2), (2, 3, 0)]


def corridor(n, **fields):
    rows = [(s, a, min(s + 1, n - 1), 1.0, float(a), s == n - 1) for s in range(n) for a in range(2)]
    names = ("state", "action", "successor", "probability", "reward", "terminal")
    columns = {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    return from_outcomes("corridor", n, 2, columns, start={0: 1.0}, horizon=n, **fields)


def grown(table, seed=0, groups=5, shape=(2, 2, 1), restore="free", policy=None, **options):
    sampler = Sampler(table, uniform(table) if policy is None else policy, seed, restore=restore)
    sample = trees(sampler, groups, 8, *shape, **options)
    return sampler, sample


# -- the plan --------------------------------------------------------------------------------------------------------


@few
@given(random_table(max_horizon=6), st.integers(0, 1000), st.sampled_from(SHAPES))
def test_what_a_tree_is(table, seed, shape):
    m, n, rounds = shape
    sampler, sample = grown(table, seed, 3, shape)
    batch = sample.trajectories
    leaves = rounds * n + 1
    assert batch.n_rollouts == 3 * m * leaves
    assert batch.tree.tolist() == np.repeat(np.arange(3 * m), leaves).tolist()
    assert batch.group.tolist() == np.repeat(np.arange(3), m * leaves).tolist()
    # Rows that share a node share everything up to it, and leaves of different trees share nothing.
    for i, j in itertools.combinations(range(batch.n_rollouts), 2):
        shared = (batch.node[i] == batch.node[j]) & batch.mask[i] & batch.mask[j]
        depth = int(shared.sum())
        assert shared.tolist() == [t < depth for t in range(batch.mask.shape[1])]
        if batch.tree[i] != batch.tree[j]:
            assert depth == 0
        for field in ("obs", "action", "reward", "anchor", "log_prob", "turn"):
            assert torch.equal(getattr(batch, field)[i, :depth], getattr(batch, field)[j, :depth]), field
        assert torch.equal(sample.truth.state[i, :depth], sample.truth.state[j, :depth])
    # Each step that was really taken is charged once.
    assert sampler.meter.env_steps == len(torch.unique(batch.node[batch.mask]))
    assert sampler.meter.restores == 3 * m * rounds * n
    assert sampler.meter.policy_calls == sampler.meter.env_steps


@pytest.mark.parametrize("shape", [(2, 2, 1), (3, 1, 3)])
def test_replaying_the_prefix_is_charged(shape):
    table = corridor(7)
    free, replay = (grown(table, 3, 6, shape, restore=how) for how in ("free", "replay"))
    batch = free[1].trajectories
    assert torch.equal(batch.action, replay[1].trajectories.action)
    # Chains are 7 long, so a fork takes 7 − depth steps, and replaying its prefix takes the rest.
    chains = 6 * shape[0] * (1 + shape[1] * shape[2])
    assert replay[0].meter.env_steps == 7 * chains
    assert free[0].meter.env_steps < 7 * chains
    with pytest.raises(CreditEnvsError, match="cannot be forked"):
        grown(table, restore="none")


@pytest.mark.parametrize("depth", [2, 3, 4, 8])
def test_a_fork_costs_more_than_half_a_chain(depth):
    # Uniform over the root and all nodes but the leaf: (D+1)/(2D) of a chain.
    trees_grown = 4000
    sampler, _ = grown(corridor(depth), 1, trees_grown, (1, 1, 1))
    spent = sampler.meter.env_steps / trees_grown / depth - 1
    spread = np.std(np.arange(1, depth + 1)) / depth / np.sqrt(trees_grown)
    assert abs(spent - (depth + 1) / (2 * depth)) < 4 * spread
    assert spent > 0.5


def test_paper_budget():
    # The paper's table; 15 and 14 are listed there as about 16.
    table = {(1, 2, 1): 2, (2, 2, 1): 4, (4, 2, 1): 8, (2, 6, 1): 8, (8, 2, 1): 16, (6, 3, 1): 15, (4, 5, 1): 14}
    assert {shape: paper_budget(*shape) for shape in table} == table
    assert paper_budget(5, 0, 3) == 5
    # By default a group's size buys what the paper's table buys for it.
    for size, m in ((2, 1), (4, 2), (8, 4), (16, 8)):
        batch = trees(Sampler(corridor(3), uniform(corridor(3))), 2, size).trajectories
        assert (batch.n_trees, batch.n_rollouts) == (2 * m, 2 * m * 3)
    assert trees(Sampler(corridor(3), uniform(corridor(3))), 2, 1).trajectories.n_trees == 2


def test_nodes_are_drawn_uniformly_with_replacement():
    depth, forks = 5, 3
    _, sample = grown(corridor(depth), 2, 3000, (1, forks, 1))
    node = sample.trajectories.node.view(3000, forks + 1, depth)
    at = (node[:, 1:] == node[:, :1]).sum(dim=2)
    count = np.bincount(at.flatten().numpy(), minlength=depth)
    assert count.size == depth  # never at the leaf, sometimes at the root
    assert stats.chisquare(count).pvalue > 1e-4
    pairs = np.bincount((at[:, 0] * depth + at[:, 1]).numpy(), minlength=depth**2)
    assert stats.chisquare(pairs).pvalue > 1e-4


@few
@given(random_table(max_horizon=5), st.integers(0, 1000))
def test_fork_points_by_a_naive_loop(table, seed):
    batch = grown(table, seed, 2, (2, 2, 2))[1].trajectories
    rollout, step, start, count = fork_points(batch)
    for k in range(batch.n_trees):
        rows = torch.nonzero(batch.tree == k).squeeze(1).tolist()
        expected = {"root"} | {int(batch.node[i, t - 1]) for i in rows for t in range(1, int(batch.lengths[i]))}
        own = range(int(start[k]), int(start[k] + count[k]))
        found = [(int(rollout[p]), int(step[p])) for p in own]
        names = ["root" if t == 0 else int(batch.node[i, t - 1]) for i, t in found]
        assert all(i in rows and bool(batch.mask[i, t]) for i, t in found)
        assert len(names) == len(expected)
        assert set(names) == expected


def test_forks_stand_between_turns():
    table = corridor(6, labels={"turn": [0, 1, 2, 0, 1, 0]})
    batch = grown(table, 0, 200, (1, 2, 2))[1].trajectories
    node = batch.node.view(200, 5, 6)
    depth = set()
    for i, j in itertools.combinations(range(5), 2):
        depth |= set((node[:, i] == node[:, j]).sum(dim=1).tolist())
    assert depth == {0, 3, 5}
    _, step, _, count = fork_points(batch)
    assert set(step.tolist()) == {0, 3, 5}
    assert int(count.min()) >= 3


def test_forks_of_forks():
    batch = grown(corridor(4), 5, 400, (1, 1, 2))[1].trajectories
    node = batch.node.view(400, 3, 4)
    late = (node[:, 1] == node[:, 2]).sum(dim=1) > (node[:, 0] == node[:, 2]).sum(dim=1)
    assert bool(late.any())


def test_keeping_some_leaves():
    table = corridor(6)
    whole, kept = (grown(table, 4, 500, (2, 3, 1), keep=k) for k in (None, 2))
    assert kept[0].meter == whole[0].meter  # what is thrown away was paid for
    batch = kept[1].trajectories
    assert batch.tree.tolist() == np.repeat(np.arange(1000), 2).tolist()
    node = whole[1].trajectories.node.view(1000, 4, 6)
    which = (batch.node.view(1000, 2, 1, 6) == node[:, None]).all(dim=3).long().argmax(dim=2)
    assert bool((which[:, 0] < which[:, 1]).all())
    count = np.bincount((which[:, 0] * 4 + which[:, 1]).numpy(), minlength=16)
    pairs = count[[1, 2, 3, 6, 7, 11]]
    assert pairs.sum() == 1000
    assert stats.chisquare(pairs).pvalue > 1e-4
    same = grown(table, 4, 5, (2, 3, 1), keep=9)[1].trajectories
    assert same.n_rollouts == 40


def test_calls_on_one_sampler_fork_elsewhere():
    table = corridor(6)
    sampler = Sampler(table, uniform(table), 0)
    one, two = (trees(sampler, 40, 8, 2, 2, 1).trajectories for _ in range(2))
    shared = lambda b: (b.node.view(80, 3, 6)[:, 1:] == b.node.view(80, 3, 6)[:, :1]).sum(dim=2)  # noqa: E731
    assert not torch.equal(shared(one), shared(two))
    assert not set(one.node.flatten().tolist()) & set(two.node.flatten().tolist())
    again = Sampler(table, uniform(table), 0)
    assert torch.equal(trees(again, 40, 8, 2, 2, 1).trajectories.action, one.action)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"forks": -1}, "forks=-1: expected an integer in"),
        ({"rounds": 1.5}, r"rounds=1\.5: expected an integer in"),
        ({"trees": 0}, "trees=0: expected an integer in"),
        ({"keep": 0}, "keep=0: expected an integer in"),
    ],
)
def test_malformed_trees_are_refused(options, message):
    table = corridor(3)
    with pytest.raises(CreditEnvsError, match=message):
        trees(Sampler(table, uniform(table)), 2, 4, **options)


@pytest.mark.parametrize("shape", [(2, 2, 1), (1, 2, 2)])
def test_leaves_play_the_policy_where_episodes_last_equally_long(shape):
    """χ² of whole paths for every leaf of a tree by itself: forking does not bend the distribution."""
    table = everlasting_table(3, n_states=3, horizon=3)
    policy = Policy("state", random_policy(table, 1))
    chance = {}
    for walk in walks(table, by_state(policy.probability)):
        key = tuple((s.state, s.action) for s in walk.steps)
        chance[key] = chance.get(key, 0) + walk.chance
    n, leaves = 4000, 1 + shape[1] * shape[2]
    sample = grown(table, 7, n, (1, *shape[1:]), policy=policy)[1]
    assert bool(sample.trajectories.mask.all())
    state, action = sample.truth.state.view(n, leaves, 3), sample.trajectories.action.view(n, leaves, 3)
    keys = list(chance)
    p = np.array([chance[k] for k in keys])
    assert p.sum() == pytest.approx(1)
    rare = n * p < 5
    for leaf in range(leaves):
        seen = [
            tuple(zip(*pair, strict=True))
            for pair in zip(state[:, leaf].tolist(), action[:, leaf].tolist(), strict=True)
        ]
        count = np.array([seen.count(k) for k in keys], dtype=float)
        assert count.sum() == n
        observed, expected = np.append(count[~rare], count[rare].sum()), n * np.append(p[~rare], p[rare].sum())
        use = expected > 1e-9
        assert stats.chisquare(observed[use], expected[use]).pvalue > 1e-4, leaf


def test_where_lengths_differ_leaves_do_not_play_the_policy():
    """A path of d steps comes up Σ_{t<d} E[1/D | path up to t] times too often; A ends at once, B takes two steps."""
    rows = [(0, 0, 2, 1.0, 0.0, True), (0, 1, 1, 1.0, 0.0, False), (1, 0, 2, 1.0, 0.0, True), (2, 0, 2, 1.0, 0.0, True)]
    names = ("state", "action", "successor", "probability", "reward", "terminal")
    columns = {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    table = from_outcomes("short or long", 3, 2, columns, start={0: 1.0}, horizon=2, allow_unreachable=True)
    n, b = 4000, 0.5
    batch = grown(table, 0, n, (1, 1, 1))[1].trajectories
    long = (batch.lengths.view(n, 2) == 2).double().mean(dim=0)
    root, late = (1 - b) * 1 + b / 2, 1 / 2
    assert abs(float(long[0]) - b) < 4 * 0.5 / n**0.5
    assert abs(float(long[1]) - b * (root + late)) < 4 * 0.5 / n**0.5
    assert b * (root + late) == 0.625
    assert float(long[1]) > b + 4 * 0.5 / n**0.5


# -- credit ----------------------------------------------------------------------------------------------------------


@few
@given(random_table(max_horizon=5), st.integers(0, 1000), st.booleans())
def test_tree_identities(table, seed, std):
    # Without forks GRPO; the released helper gives a tree of one its own return on top.
    for shape in ((3, 2, 0), (3, 0, 2)):
        plain = grown(table, seed, 3, shape)[1].trajectories
        assert torch.equal(tree_grpo(plain, std), grpo(plain, std))
        released = tree_grpo(plain, std, lone="value")
        assert torch.allclose(released, grpo(plain, std) + plain.returns[:, None] * plain.mask)
    # One tree: twice GRPO over its leaves.
    single = grown(table, seed, 3, (1, 2, 2))[1].trajectories
    assert torch.equal(tree_grpo(single, std), 2 * grpo(single, std))
    batch = grown(table, seed, 3, (2, 2, 2))[1].trajectories
    intra, inter = tree_intra(batch, std), tree_inter(batch, std)
    assert torch.equal(tree_grpo(batch, std), intra + inter)
    leaf = intra.sum(dim=1) / batch.lengths
    assert torch.allclose(group_sum(leaf, batch.tree, batch.n_trees), torch.zeros(6, dtype=torch.float64), atol=1e-9)
    # All leaves of a tree equal: nothing inside it.
    calm = tree_intra(batch.replace(reward=torch.zeros_like(batch.reward)), std)
    assert bool((calm == 0).all())


@few
@given(random_table(max_horizon=5), st.integers(0, 1000), st.booleans())
def test_a_prefix_weighs_as_much_as_its_leaves(table, seed, std):
    batch = grown(table, seed, 2, (2, 2, 2))[1].trajectories
    intra = tree_intra(batch, std)
    returns = batch.returns
    for node in torch.unique(batch.node[batch.mask]).tolist():
        at = (batch.node == node) & batch.mask
        row = torch.nonzero(at)[:, 0]
        own = returns[batch.tree == batch.tree[row[0]]]
        scale = float(own.std()) + 1e-6 if std else 1.0
        expected = len(row) * float(returns[row].mean() - own.mean()) / scale
        assert float(intra[at].sum()) == pytest.approx(expected, abs=1e-6)


def two_leaves(first, second, shared=2):
    """A tree of two leaves with a shared prefix, rewards at the end."""
    batch = make_batch([[0.0] * (shared + 1) + [first], [0.0] * (shared + 1) + [second]])
    node = torch.arange(8).view(2, 4)
    node[1, :shared] = node[0, :shared]
    return batch.replace(tree=torch.tensor([0, 0]), node=node)


def test_a_won_and_a_lost_leaf_cancel_on_their_prefix():
    batch = two_leaves(1.0, 0.0)
    credit = tree_intra(batch)
    assert float(credit[:, :2].sum()) == 0
    assert credit[:, 2:].flatten().tolist() == pytest.approx([2**-0.5] * 2 + [-(2**-0.5)] * 2, abs=1e-5)
    # Ours says so per step: nothing on the prefix, ±1/2 where they part, nothing after.
    assert tree_value(batch).tolist() == [[0, 0, 0.5, 0], [0, 0, -0.5, 0]]
    assert tree_value(batch, leave_one_out=True).tolist() == [[0, 0, 1, 0], [0, 0, -1, 0]]


@pytest.mark.parametrize("shape", [(2, 2), (1, 3), (3, 1)])
def test_the_gradient_of_trees_is_what_its_closed_form_says(shape):
    """Siblings in the baseline share the prefix, so step t counts less the more forks come after it."""
    m, n = shape
    table = everlasting_table(5, horizon=4)
    policy = Policy("state", random_policy(table, 2))
    groups, steps = 20_000, table.horizon
    batch = grown(table, 11, groups, (m, n, 1), policy=policy)[1].trajectories
    per_step = step_gradients(table, policy)
    q = (steps - 1 - torch.arange(steps, dtype=torch.float64)) / steps
    leaves = n + 1
    shared = 2 * n * q + n * (n - 1) * q**2
    weights = {
        "intra": m * ((leaves - 1) - shared / leaves),
        "inter": (m * leaves - 1) - shared / leaves,
    }
    weights["sum"] = weights["intra"] + weights["inter"]
    credits = {f.__name__: f(batch, norm_by_std=False) for f in (tree_intra, tree_inter, tree_grpo)}
    for name, credit in zip(weights, credits.values(), strict=True):
        got = group_gradients(batch, credit)
        z = z_scores(got, weights[name] @ per_step)
        assert float(z.abs().max()) < 4, name
        # The test can fail: weights that forget the shared prefix are far off.
        naive = {"intra": m * (leaves - 1), "inter": m * leaves - 1, "sum": m * (leaves - 1) + m * leaves - 1}[name]
        assert float(z_scores(got, naive * per_step.sum(dim=0)).abs().max()) > 6, name


@few
@given(random_table(max_horizon=5), st.integers(0, 1000), st.booleans())
def test_tree_value_by_a_naive_loop(table, seed, leave_one_out):
    batch = grown(table, seed, 2, (2, 2, 1))[1].trajectories
    credit = tree_value(batch, leave_one_out)
    returns, rows = batch.returns.tolist(), range(batch.n_rollouts)
    for i in rows:
        below = [j for j in rows if batch.group[j] == batch.group[i]]
        for t in range(int(batch.lengths[i])):
            child = [j for j in below if batch.node[j, t] == batch.node[i, t] and batch.mask[j, t]]
            rest = [j for j in below if j not in child]
            mean = np.mean([returns[j] for j in child])
            against = [returns[j] for j in (rest if leave_one_out else below)]
            expected = mean - np.mean(against) if rest else 0.0
            assert float(credit[i, t]) == pytest.approx(expected, abs=1e-9)
            below = child
    assert bool((credit[~batch.mask] == 0).all())
    if not leave_one_out:
        assert torch.allclose(credit.sum(dim=1), dr_grpo(batch)[:, 0], atol=1e-9)


def test_tree_value_without_forks_credits_first_steps():
    batch = make_batch([[0, 1.0], [0, 0.0], [1.0, 2.0]])
    assert tree_value(batch)[:, 0].tolist() == pytest.approx(dr_grpo(batch)[:, 0].tolist())
    assert bool((tree_value(batch)[:, 1:] == 0).all())


def test_tree_value_estimates_the_advantage():
    """Leave-one-out credit of the nodes where trees branch has the mean A, cell by cell of (step, state, action)."""
    table = everlasting_table(9, horizon=3)
    policy = Policy("state", random_policy(table, 4))
    groups = 5000
    sample = grown(table, 2, groups, (2, 2, 2), policy=policy)[1]
    batch, truth = sample.trajectories, sample.truth
    credit = tree_value(batch, leave_one_out=True)
    plain = tree_value(batch)
    values = evaluate(table, policy)
    step = torch.arange(3).expand_as(batch.mask)
    exact = torch.from_numpy(values.advantage_at(step.numpy(), truth.state.numpy(), truth.edge.numpy()))
    ids, _ = compact(batch.node.flatten())
    below = group_count(ids, int(ids.max()) + 1)[ids].view(batch.node.shape)
    above = torch.cat([torch.full_like(below[:, :1], 10), below[:, :-1]], dim=1)
    assert torch.equal(credit[above == below], torch.zeros_like(credit[above == below]))
    cells = table.horizon * table.n_edges

    def summed(c):
        # Each node once: its rows share it equally.
        share = torch.where(above > below, (c - exact) / below, 0.0)
        cell = (step * table.n_edges + truth.edge) + batch.group[:, None] * cells
        return group_sum(share.flatten(), cell.flatten(), groups * cells).view(groups, cells)

    z = z_scores(summed(credit), torch.zeros(cells, dtype=torch.float64))
    assert float(z.abs().max()) < 4
    assert float(z_scores(summed(plain), torch.zeros(cells, dtype=torch.float64)).abs().max()) > 6


# -- with GiGPO ------------------------------------------------------------------------------------------------------


@few
@given(batches(), st.sampled_from([0.5, 0.95, 1.0]), st.booleans())
def test_without_forks_it_is_gigpo(batch, gamma, std):
    assert torch.allclose(tree_gigpo(batch, gamma, norm_by_std=std), gigpo(batch, gamma, norm_by_std=std), atol=1e-12)
    assert torch.equal(tree_gigpo(batch, gamma, 0.0, std), tree_grpo(batch, std))


@few
@given(random_table(max_states=4, max_horizon=6), st.integers(0, 1000), st.booleans())
def test_a_shared_step_counts_once(table, seed, std):
    batch = grown(table, seed, 2, (2, 2, 1))[1].trajectories
    gamma = 0.9
    step = tree_gigpo(batch, gamma, norm_by_std=std) - tree_grpo(batch, std)
    value, key = {}, {}
    for i, t in zip(*(x.tolist() for x in torch.nonzero(batch.mask, as_tuple=True)), strict=True):
        rest = batch.reward[i, t : int(batch.lengths[i])]
        value.setdefault(int(batch.node[i, t]), []).append(float((rest * gamma ** torch.arange(len(rest))).sum()))
        key[int(batch.node[i, t])] = (int(batch.group[i]), int(batch.anchor[i, t]))
    mean = {v: np.mean(x) for v, x in value.items()}
    for i, t in zip(*(x.tolist() for x in torch.nonzero(batch.mask, as_tuple=True)), strict=True):
        node = int(batch.node[i, t])
        mates = [mean[v] for v in mean if key[v] == key[node]]
        expected = mean[node] - np.mean(mates)
        if std and len(mates) > 1:
            expected = expected / (np.std(mates, ddof=1) + 1e-6) if np.ptp(mates) > 1e-12 else 0.0
        assert float(step[i, t]) == pytest.approx(expected, abs=1e-5)


def test_copies_do_not_drag_the_baseline():
    """Three rows pass one anchor, two of them by the same step: its mean is over two nodes, not over three rows."""
    batch = make_batch([[1.0], [1.0], [0.0]], anchors=[[5], [5], [5]])
    batch = batch.replace(tree=torch.tensor([0, 0, 1]), node=torch.tensor([[0], [0], [1]]))
    step = tree_gigpo(batch, norm_by_std=False) - tree_grpo(batch, False)
    assert step[:, 0].tolist() == pytest.approx([0.5, 0.5, -0.5])
    assert (gigpo(batch) - dr_grpo(batch))[:, 0].tolist() == pytest.approx([1 / 3, 1 / 3, -2 / 3])
    with pytest.raises(CreditEnvsError, match="gamma=2: expected a number in"):
        tree_gigpo(batch, gamma=2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA card")
def test_cuda_grows_the_same_trees():
    table = make_random_table(1, n_states=8, horizon=6)
    here, there = Sampler(table, uniform(table), 5), Sampler(table, uniform(table), 5, "cuda")
    one, two = (trees(s, 50, 8, 3, 2, 2, keep=4).trajectories for s in (here, there))
    for name in ("node", "tree", "group", "action", "reward", "mask"):
        assert torch.equal(getattr(one, name), getattr(two, name).cpu()), name
    for f in (tree_grpo, tree_value, tree_gigpo):
        assert torch.allclose(f(one), f(two).cpu(), atol=1e-12)
