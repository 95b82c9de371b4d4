"""Anchor-graph backup against a slow reference of its definition, its identities, and its limit A^π."""

import functools

import numpy as np
import pytest
import torch
from batches import batches, make_batch, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import make_random_table, random_policy

from credit_envs.credit.anchor_graph import anchor_graph, backup_on
from credit_envs.credit.grpo import rloo
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.providers import Provided
from credit_envs.oracle import Policy, evaluate, uniform
from credit_envs.sampling import Sampler
from credit_envs.sampling.anchors import timed
from credit_envs.sampling.statistics import returns_to_go

few = settings(max_examples=60, deadline=None)
close = functools.partial(torch.allclose, rtol=1e-8, atol=1e-9)
FLOOR = 1e-3


def reference(batch, anchor, gamma=1.0, lam=0.0, kappa=1.0, weights="counts", scope="group"):
    """The definition in dictionaries and loops: V̂ by repeated sweeps, then targets, baselines and credit."""
    owner = (batch.group if scope == "group" else batch.context).tolist()
    rollouts = [range(int(n)) for n in batch.lengths]
    key = {(i, t): (owner[i], int(anchor[i, t])) for i, steps in enumerate(rollouts) for t in steps}
    members: dict = {}
    for place, phi in key.items():
        members.setdefault(phi, []).append(place)
    visitors = {phi: {i for i, _ in places} for phi, places in members.items()}
    shared = {phi for phi in members if len(visitors[phi]) >= 2}
    reward = {place: float(batch.reward[place]) for place in key}
    action = {place: int(batch.policy_action[place]) for place in key}

    def chance(place, a):
        return max(float(batch.policy_table[int(batch.policy_row[place]), a]), FLOOR)

    def mean(places, y, at=None):
        """V̂ of an anchor from some of the steps at it."""
        if weights == "counts":
            return sum(y[p] for p in places) / len(places)
        tried = sorted({action[p] for p in places})
        q = {a: np.mean([y[p] for p in places if action[p] == a]) for a in tried}
        w = {a: chance(places[0] if at is None else at, a) for a in tried}
        return sum(w[a] * q[a] for a in tried) / sum(w.values())

    value = dict.fromkeys(shared, 0.0)
    for _ in range(20_000):
        y = {}
        for i, steps in enumerate(rollouts):
            for t in reversed(steps):
                if t + 1 == len(steps):
                    following = 0.0
                elif key[i, t + 1] in shared:
                    following = (1 - lam) * value[key[i, t + 1]] + lam * y[i, t + 1]
                else:
                    following = y[i, t + 1]
                y[i, t] = reward[i, t] + gamma * following
        new = {phi: mean(members[phi], y) for phi in shared}
        change = max((abs(new[phi] - value[phi]) for phi in shared), default=0.0)
        value = new
        if change < 1e-13:
            break
    returns = {i: sum(gamma**t * reward[i, t] for t in steps) for i, steps in enumerate(rollouts)}
    credit = torch.zeros_like(batch.reward)
    for i, steps in enumerate(rollouts):
        mates = [j for j in range(len(rollouts)) if owner[j] == owner[i] and j != i]
        if not mates:
            continue
        baseline = float(np.mean([returns[j] for j in mates]))
        for t in steps:
            if t > 0:
                carried = (baseline - reward[i, t - 1]) / gamma
                phi = key[i, t]
                m = len(visitors[phi]) - 1
                if m + kappa == 0:
                    baseline = carried
                else:
                    others = [p for p in members[phi] if p[0] != i]
                    known = mean(others, y, (i, t)) if m else 0.0
                    baseline = (m * known + kappa * carried) / (m + kappa)
            credit[i, t] = y[i, t] - baseline
    return credit


@few
@given(
    batches(max_size=5, max_steps=5),
    st.sampled_from([1.0, 0.9, 0.5]),
    st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    st.sampled_from([0.0, 1.0, 4.0]),
    st.sampled_from(["counts", "policy"]),
    st.sampled_from(["group", "context"]),
)
def test_against_the_definition(batch, gamma, lam, kappa, weights, scope):
    got = backup_on(batch, batch.anchor, gamma, lam, kappa, weights, scope)
    assert close(got, reference(batch, batch.anchor, gamma, lam, kappa, weights, scope))


def test_by_hand():
    # Two rollouts share the start A and the middle B; one wins, one loses from B on.
    batch = make_batch([[0, 1.0], [0, 0.0]], anchors=[[0, 1], [0, 1]])
    # V̂(B) = 1/2 and V̂(A) = 1/2. Targets: 1/2 at A, 1 and 0 at B. Baselines at A: the other's return.
    # At B, κ = 0: the other's target; κ = 1: half of it and half of the carried b_0.
    assert anchor_graph(batch, kappa=0).tolist() == [[0.5, 1.0], [-0.5, -1.0]]
    assert anchor_graph(batch, kappa=1).tolist() == [[0.5, 1.0 - 0.0], [-0.5, 0.0 - 1.0]]
    # A third one turns off at A and gets 0.4: y at A is 1/2, 1/2 and 0.4.
    batch = make_batch([[0, 1.0], [0, 0.0], [0.4]], anchors=[[0, 1], [0, 1], [0]])
    got = anchor_graph(batch, kappa=0)
    assert got[:, 0].tolist() == pytest.approx([0.5 - 0.2, 0.5 - 0.7, 0.4 - 0.5])
    assert got[:2, 1].tolist() == pytest.approx([1.0, -1.0])
    # κ = 1: at B one other rollout, so half of the carried b_0.
    got = anchor_graph(batch, kappa=1)
    assert got[:2, 1].tolist() == pytest.approx([1 - (0 + 0.2) / 2, 0 - (1 + 0.7) / 2])


def test_a_cycle_by_hand():
    # One rollout goes A B A and then ends with 1; another A B and ends with 0.
    batch = make_batch([[0, 0, 1.0], [0, 0.0]], anchors=[[0, 1, 0], [0, 1]])
    # V̂(A) = (2 V̂(B) + 1) / 3 and V̂(B) = (V̂(A) + 0) / 2: V̂(A) = 1/2, V̂(B) = 1/4.
    got = anchor_graph(batch, kappa=0)
    # y: rollout 0: V(B) = 1/4, V(A) = 1/2, 1; rollout 1: 1/4, 0.
    assert got[0].tolist() == pytest.approx([0.25 - 0, 0.5 - 0, 1 - 0.25])
    assert got[1].tolist() == pytest.approx([0.25 - 1, 0 - 0.5, 0.0])


@few
@given(batches(max_size=5), st.sampled_from([0.5, 1.0]), st.sampled_from([0.0, 0.4, 1.0]))
def test_only_the_start_shared_is_rloo(batch, gamma, lam):
    places = torch.arange(batch.mask.numel()).view(batch.mask.shape) + 1
    only_start = places * (torch.arange(batch.mask.shape[1]) > 0)
    first = returns_to_go(batch.reward, batch.mask, gamma)[:, 0]
    as_terminal = batch.replace(reward=torch.cat([first[:, None], torch.zeros_like(batch.reward[:, 1:])], dim=1))
    for weights in ("counts", "policy") if gamma == 1 and lam == 1 else ("counts",):
        got = backup_on(batch, only_start, gamma, lam, 0.0, weights)
        assert close(got[:, 0], rloo(as_terminal)[:, 0])
    if gamma == 1:
        # Nothing is shared later on, so the baseline is carried: the credit stays that of RLOO.
        assert close(backup_on(batch, only_start, 1.0, lam, 0.0), rloo(batch))


@few
@given(batches(max_size=5), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 3.0]))
def test_nothing_shared_is_rloo(batch, lam, kappa):
    places = torch.arange(batch.mask.numel()).view(batch.mask.shape)
    assert close(backup_on(batch, places, 1.0, lam, kappa), rloo(batch))


@few
@given(batches(max_size=5, min_size=2), st.sampled_from([0.7, 1.0]))
def test_at_lambda_one_it_is_the_return_minus_the_anchor_mean_of_the_others(batch, gamma):
    got = anchor_graph(batch, gamma=gamma, lam=1.0, kappa=0.0)
    to_go = returns_to_go(batch.reward, batch.mask, gamma)
    for i, t in np.ndindex(*batch.mask.shape):
        if not batch.mask[i, t] or t == 0:
            continue
        others = [
            float(to_go[j, u])
            for j, u in np.ndindex(*batch.mask.shape)
            if batch.mask[j, u]
            and j != i
            and batch.group[j] == batch.group[i]
            and batch.anchor[j, u] == batch.anchor[i, t]
        ]
        if others:
            assert float(got[i, t]) == pytest.approx(float(to_go[i, t]) - np.mean(others), abs=1e-9)


@few
@given(batches(max_groups=1, max_size=1), st.sampled_from(["group", "context"]))
def test_one_rollout_gets_zero(batch, scope):
    assert torch.all(anchor_graph(batch, scope=scope) == 0)


@few
@given(batches(), st.randoms(use_true_random=False), st.sampled_from(["counts", "policy"]), st.sampled_from([0.0, 0.5]))
def test_permuting_rollouts_changes_nothing(batch, rnd, weights, lam):
    order = list(range(batch.n_rollouts))
    rnd.shuffle(order)
    got = anchor_graph(rows_of(batch, torch.tensor(order)), weights=weights, lam=lam)
    assert torch.allclose(got, anchor_graph(batch, weights=weights, lam=lam)[order], atol=1e-9)


@few
@given(batches(), st.sampled_from([0.1, 3.0]))
def test_scaling_rewards_scales_credit(batch, scale):
    scaled = batch.replace(reward=batch.reward * scale)
    assert close(anchor_graph(scaled), scale * anchor_graph(batch))


@few
@given(batches(max_groups=3))
def test_context_scope_pools_groups(batch):
    one_group = batch.replace(group=batch.context, context=batch.context)
    assert close(anchor_graph(batch, scope="context"), anchor_graph(one_group, scope="group"))


def test_rare_actions_are_floored():
    policy = np.array([[1.0 - 1e-9, 1e-9], [0.5, 0.5]])
    batch = make_batch([[1.0], [0.0], [0.0]], anchors=[[0]] * 3, actions=[[0], [1], [0]], policy=policy)
    got = anchor_graph(batch, kappa=0, weights="policy", lam=0.0)
    assert got[:, 0].tolist() == pytest.approx([1.0, -0.5, -0.5])  # b_0 is the mean return of the others anyway
    batch = make_batch(
        [[0, 1.0], [0, 0.0], [0, 0.0]], anchors=[[1, 0]] * 3, actions=[[0, 0], [0, 1], [0, 0]], policy=policy
    )
    got = anchor_graph(batch, kappa=0, weights="policy")
    v = (1.0 * 0.5 + 1e-3 * 0) / (1 + 1e-3)  # the mean of action 0, and action 1 at its floor
    assert got[0, 0] == pytest.approx(v - 0.0, abs=1e-6)
    assert got[1, 1] == pytest.approx(0 - 0.5, abs=1e-6)
    assert got[0, 1] == pytest.approx(1 - 0.0, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("weights", "gamma"), [("policy", 1.0), ("counts", 1.0), ("policy", 0.8)])
def test_many_rollouts_give_the_exact_advantage(seed, weights, gamma):
    """Anchors (state, step): the error falls like 1/√n, whatever the dynamics draw."""
    tables = (make_random_table(s, 7, 2, 4, n_starts=1, discount=gamma, cutoff=True) for s in range(seed * 100, 999))
    table = next(t for t in tables if t.n_states >= 5)
    policy = Policy("state", 0.3 * uniform(table) + 0.7 * random_policy(table, seed))
    sampler = Sampler(table, policy, seed)
    values = evaluate(table, policy)
    errors = []
    for n in (400, 40_000):
        sample = sampler.groups(1, n)
        exact = Provided(sampler, sample, values)["advantage"]
        batch, state = sample.trajectories, sample.truth.state
        got = backup_on(batch, timed(state), gamma, 0.0, 0.0, weights)
        # What a step's own outcome adds is luck, so compare the mean of Â per (step, state, action).
        place = (torch.arange(state.shape[1]) * table.n_edges + sample.truth.edge)[batch.mask]
        cells, inverse, count = torch.unique(place, return_inverse=True, return_counts=True)
        mean = torch.zeros(len(cells), dtype=torch.float64).index_add_(0, inverse, (got - exact)[batch.mask]) / count
        errors.append(float(mean[count > n / 50].abs().max()))
    assert errors[1] < 0.05
    assert errors[1] < 0.5 * errors[0] or errors[0] < 0.02


def test_it_uses_returns_of_rollouts_that_part_later():
    """The point of the graph: rollouts that never met the winner learn from it through a shared anchor."""
    # 0: A B win. 1: C B lose. 2: C D lose. With λ = 0, C (shared by 1 and 2) knows that B is worth 1/2.
    batch = make_batch([[0, 1.0], [0, 0.0], [0, 0.0]], anchors=[[0, 1], [2, 1], [2, 3]])
    got = anchor_graph(batch, kappa=0)
    assert got[1, 0] == pytest.approx(0.5 - 0.5)  # y = V̂(B) = 1/2, b_0 = mean return of 0 and 2
    assert anchor_graph(batch, kappa=0, lam=1.0)[1, 0] == pytest.approx(0 - 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gamma": 0}, r"gamma=0: expected a number in \(0, 1\]"),
        ({"gamma": 1.1}, r"gamma=1\.1"),
        ({"lam": -0.1}, r"lam=-0\.1: expected a number in \[0, 1\]"),
        ({"kappa": -1}, r"kappa=-1: expected a number in \[0, "),
        ({"weights": "count"}, r"weights='count': expected one of \('counts', 'policy'\)"),
        ({"scope": "batch"}, r"scope='batch': expected one of \('group', 'context'\)"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(CreditEnvsError, match=message):
        anchor_graph(make_batch([[1.0], [0.0]]), **arguments)


def test_full_leave_one_out_is_the_local_one_where_nothing_follows():
    """One decision after the start: what rollout i leaves out locally is all that it touched."""
    batch = make_batch([[0.0, 1.0], [0.0, 0.5], [0.0, 0.2]], anchors=[[0, 1], [0, 1], [0, 2]])
    assert torch.allclose(anchor_graph(batch, loo="full"), anchor_graph(batch), atol=1e-12)


def test_full_leave_one_out_by_hand():
    """Rollouts 0 and 1 meet at the start and at anchor 1; without rollout 0 the graph holds rollout 1 (and 2) alone."""
    batch = make_batch([[0.0, 0.0, 1.0], [0.0, 0.0, 0.4], [0.0, 0.0, 0.1]], anchors=[[0, 1, 2], [0, 1, 3], [0, 4, 5]])
    credit = anchor_graph(batch, kappa=0.0, loo="full")
    # y: both steps at 1 lead to unshared ends, so y_1 = return; V(1) = 0.7. At the start y = 0.7, 0.7, 0.1.
    # b_0 is the leave-one-out mean return. At anchor 1 rollout 0 is compared with rollout 1's own return, and back.
    assert torch.allclose(credit[:, 0], torch.tensor([0.7 - 0.25, 0.7 - 0.55, 0.1 - 0.7]).double())
    assert torch.allclose(credit[:2, 1], torch.tensor([1.0 - 0.4, 0.4 - 1.0]).double())


def test_loo_is_checked():
    with pytest.raises(CreditEnvsError, match="loo='some': expected one of"):
        anchor_graph(make_batch([[1.0]]), loo="some")
