"""Scores of one replicate: against naive loops, by hand, and as unbiased estimates."""

import itertools

import numpy as np
import pytest
import torch
from batches import make_batch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import make_random_table, random_policy

from credit_envs.credit.gigpo import gigpo
from credit_envs.credit.grpo import dr_grpo, grpo, rloo
from credit_envs.evaluation.providers import Provided
from credit_envs.evaluation.scores import Control, GradientFrame, score_credit, score_gradient
from credit_envs.oracle import Policy, evaluate, exact_gradient, uniform
from credit_envs.sampling import Sample, Sampler, Truth


def scene(seed, groups=20, size=4):
    tables = (make_random_table(s, 7, 3, 5, n_starts=2) for s in range(seed * 100, 9999))
    table = next(t for t in tables if t.n_states >= 5)
    policy = Policy("state", 0.3 * uniform(table) + 0.7 * random_policy(table, seed))
    sampler = Sampler(table, policy, seed)
    sample = sampler.groups(groups, size)
    exact = torch.from_numpy(exact_gradient(table, policy))
    return table, policy, sampler, sample, exact, Provided(sampler, sample, evaluate(table, policy))["advantage"]


def naive_gradients(sample, credit):
    """g of every group, float64 ``[groups, rows, A]``, by looping over steps."""
    batch = sample.trajectories
    out = torch.zeros(batch.n_groups, *batch.policy_table.shape, dtype=torch.float64)
    size = batch.n_rollouts // batch.n_groups
    for i, t in torch.nonzero(batch.mask).tolist():
        row, action = int(batch.policy_row[i, t]), int(batch.policy_action[i, t])
        score = -batch.policy_table[row].clone()
        score[action] += 1
        out[batch.group[i], row] += score * credit[i, t] / size
    return out


@pytest.mark.parametrize("seed", range(3))
def test_group_gradients(seed):
    _, _, _, sample, exact, advantage = scene(seed)
    frame = GradientFrame(sample, exact)
    for credit in (advantage, rloo(sample.trajectories), torch.ones_like(advantage)):
        g = frame.gradient(credit)
        dense = torch.zeros(frame.n_groups, *exact.shape, dtype=torch.float64)
        dense[frame.pair_group, frame.pair_row] = g
        expected = naive_gradients(sample, credit)
        assert torch.allclose(dense, expected, atol=1e-12)
        assert torch.allclose(frame.total(g), expected.sum(0), atol=1e-12)
        assert torch.allclose(frame.dots(g, 2 * g), 2 * (expected**2).sum((1, 2)), atol=1e-12)


def controls_of(sample, frame, exact, advantage):
    return [Control(frame.gradient(advantage), exact), Control(frame.gradient(rloo(sample.trajectories)), exact)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("estimate", [grpo, dr_grpo, gigpo])
def test_scores_of_gradients_by_a_naive_loop(seed, estimate):
    _, _, _, sample, exact, advantage = scene(seed)
    frame, credit = GradientFrame(sample, exact), estimate(sample.trajectories)
    score = score_gradient(frame, credit, controls_of(sample, frame, exact, advantage))
    g = naive_gradients(sample, credit).flatten(1).numpy()
    controls = [naive_gradients(sample, c).flatten(1).numpy() for c in (advantage, rloo(sample.trajectories))]
    beta = np.linalg.lstsq(np.stack([c.ravel() for c in controls], axis=1), g.ravel(), rcond=None)[0]
    target = exact.flatten().numpy()
    d = g - sum(b * (c - target) for b, c in zip(beta, controls, strict=True))
    m = len(g)
    assert score.groups == m
    assert score.projection == pytest.approx(d.mean(0) @ target, rel=1e-8)
    pairs = [d[i] @ d[j] for i, j in itertools.permutations(range(m), 2)]
    assert score.mean_square == pytest.approx(np.mean(pairs), rel=1e-8)
    assert score.variance == pytest.approx(np.sum(np.var(g, axis=0, ddof=1)), rel=1e-9)
    assert score.exact_square == pytest.approx(target @ target)


@pytest.mark.parametrize("seed", range(3))
def test_credit_with_known_mean_is_scored_without_noise(seed):
    _, _, _, sample, exact, advantage = scene(seed)
    frame = GradientFrame(sample, exact)
    controls = controls_of(sample, frame, exact, advantage)
    for credit in (advantage, rloo(sample.trajectories)):
        score = score_gradient(frame, credit, controls)
        assert score.projection == pytest.approx(score.exact_square, rel=1e-9)
        assert score.mean_square == pytest.approx(score.exact_square, rel=1e-9)
    nothing = score_gradient(frame, torch.zeros_like(advantage), controls)
    assert (nothing.projection, nothing.mean_square, nothing.variance) == (0, 0, 0)
    # RLOO = n/(n−1) Dr.GRPO, so Dr.GRPO's gradient is shorter by the factor 3/4.
    score = score_gradient(frame, dr_grpo(sample.trajectories), controls)
    assert score.projection == pytest.approx(0.75 * score.exact_square, rel=1e-9)
    assert score.mean_square == pytest.approx(0.75**2 * score.exact_square, rel=1e-9)


def test_one_group_has_no_spread():
    _, _, _, sample, exact, advantage = scene(0, groups=1)
    frame = GradientFrame(sample, exact)
    assert np.isnan(score_gradient(frame, advantage, controls_of(sample, frame, exact, advantage)).mean_square)


def test_control_variates_leave_the_mean_and_take_the_noise():
    """For biased estimators too: the mean over many replicates is that of plain averages over many groups."""
    table, policy, _, _, exact, _ = scene(1)
    values = evaluate(table, policy)
    for estimate in (grpo, gigpo):
        big = Sampler(table, policy, 77).groups(20_000, 4)
        frame = GradientFrame(big, exact)
        each = frame.dots(frame.gradient(estimate(big.trajectories)), exact[frame.pair_row])
        plain, error = float(each.mean()), float(each.std()) / np.sqrt(20_000)
        with_controls, without = [], []
        for seed in range(150):
            sampler = Sampler(table, policy, 1000 + seed)
            sample = sampler.groups(60, 4)
            frame = GradientFrame(sample, exact)
            advantage = Provided(sampler, sample, values)["advantage"]
            credit = estimate(sample.trajectories)
            with_controls.append(score_gradient(frame, credit, controls_of(sample, frame, exact, advantage)).projection)
            without.append(float((frame.total(frame.gradient(credit)) / 60 * exact).sum()))
        own = np.std(with_controls) / np.sqrt(150)
        # Fitting β on the same groups biases by O(1/M); it must stay below the noise of 150 replicates.
        assert abs(np.mean(with_controls) - plain) < 4.5 * np.hypot(own, error)
        assert np.std(with_controls) < 0.6 * np.std(without)


# -- fidelity of credit ----------------------------------------------------------------------------------------------


def by_hand(credit, advantage, states, edges):
    """One sample from lists per rollout."""
    batch = make_batch(credit)
    shape = batch.mask.shape

    def fill(rows, value, dtype):
        out = torch.full(shape, value, dtype=dtype)
        for i, row in enumerate(rows):
            out[i, : len(row)] = torch.tensor(row, dtype=dtype)
        return out

    truth = Truth(
        fill(states, 0, torch.int64),
        fill(edges, -1, torch.int64),
        torch.zeros(shape).long(),
        torch.arange(shape[0]),
        torch.zeros(shape[0]).long(),
    )
    return Sample(batch, truth), batch.reward, fill(advantage, 0, torch.float64)


def test_sums_signs_and_spread():
    # State 0 has edges 0 and 1, state 1 edge 2. The same (step, edge) was visited twice with credits 1 and 3.
    sample, credit, advantage = by_hand(
        credit=[[1.0, 0.0], [3.0, -1.0], [-2.0]],
        advantage=[[0.5, 0.2], [0.5, 0.2], [-1.0]],
        states=[[0, 1], [0, 1], [0]],
        edges=[[0, 2], [0, 2], [1]],
    )
    score = score_credit(sample, credit, advantage, 3)
    assert score.steps == 5
    assert (score.c, score.a) == (pytest.approx(1.0), pytest.approx(0.4))
    assert (score.cc, score.aa, score.ca) == (pytest.approx(15), pytest.approx(1.58), pytest.approx(3.8))
    # Within: (1, 3) has Σ(c − mean)² = 2, (0, −1) has 0.5; two degrees of freedom.
    assert score.within == pytest.approx(1.25)
    # Signs: +, ½ for the zero, +, −(wrong), +.
    assert (score.sign, score.sign_steps) == (3.5, 5)
    # Rank: in state 0, edge 0 (mean credit 2) against edge 1 (−2), advantage 0.5 > −1: concordant, weight min(2, 1).
    assert (score.rank, score.rank_pairs) == (1.0, 1.0)


def test_signs_ignore_steps_without_advantage():
    sample, credit, advantage = by_hand([[1.0, -1.0, 2.0]], [[0.0, 1e-15, 1.0]], [[0, 1, 2]], [[0, 1, 2]])
    score = score_credit(sample, credit, advantage, 3)
    assert (score.sign, score.sign_steps) == (1.0, 1)
    nowhere = score_credit(sample, credit, torch.zeros_like(advantage), 3)
    assert (nowhere.sign_steps, nowhere.top_rollouts, nowhere.rank_pairs) == (0, 0, 0.0)


def test_top_hits_with_ties():
    def hits(c, a, k=3):
        sample, credit, advantage = by_hand([c], [a], [list(range(len(c)))], [list(range(len(c)))])
        score = score_credit(sample, credit, advantage, len(c), k)
        return score.top, score.top_rollouts

    assert hits([5.0, -4, 3, 0, 0], [1.0, -2, 3, 0.1, 0]) == (1.0, 1)  # sizes count, not signs
    assert hits([0.0, 0, 3, 2, 1], [3.0, 2, 1, 0, 0]) == (pytest.approx(1 / 3), 1)
    # Four credits tied for three places: each is in with 3/4, two of them are wanted.
    assert hits([0.0, 1, 1, 1, 1], [3.0, 2, 2, 1, 0]) == (pytest.approx((0.75 + 0.75) / 3), 1)
    # Everything tied: 3 of 5 places. Zero credit everywhere is a guess.
    assert hits([0.0] * 5, [3.0, 2, 1, 0, 0]) == (pytest.approx(3 / 5), 1)
    # Ties of the advantage: whichever of the four is found counts.
    assert hits([9.0, 8, 7, 0, 0], [5.0, 1, 1, 1, 1]) == (1.0, 1)
    assert hits([0.0, 8, 7, 6, 0], [5.0, 1, 1, 0, 0.5]) == (pytest.approx(2 / 3), 1)
    assert hits([9.0, 8, 7, 6, 5], [5.0, 1, 0, 0, 0]) == (0.0, 0)  # fewer than three decisive steps
    assert hits([9.0, 8, 7], [5.0, 1, 2]) == (0.0, 0)  # nothing to choose from
    assert hits([9.0, 8], [5.0, 1], k=1) == (1.0, 1)


def test_top_hits_by_breaking_ties_at_random():
    rng = np.random.default_rng(0)
    c, a = rng.integers(-2, 3, 7).astype(float), rng.integers(1, 4, 7).astype(float)
    sample, credit, advantage = by_hand([c.tolist()], [a.tolist()], [list(range(7))], [list(range(7))])
    share = []
    for _ in range(20_000):
        top = np.argsort(-np.abs(c) + 1e-6 * rng.random(7))[:3]
        share.append(np.mean(a[top] >= np.sort(a)[-3]))
    assert score_credit(sample, credit, advantage, 7).top == pytest.approx(np.mean(share), abs=0.01)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_last_bits_decide_nothing(seed):
    """Processors add in different orders; what is tied on one of them is tied on all."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 9, 5)
    c, a = ([(rng.integers(-2, 3, n) / 10).tolist() for n in lengths] for _ in range(2))
    edges = [rng.integers(0, 6, n).tolist() for n in lengths]
    states = [[edge // 3 for edge in row] for row in edges]
    sample, credit, advantage = by_hand(c, a, edges, states)
    shaken = [x + 1e-15 * torch.from_numpy(rng.standard_normal(x.shape)) for x in (credit, advantage)]
    one, other = score_credit(sample, credit, advantage, 6), score_credit(sample, *shaken, 6)
    for name in ("sign", "sign_steps", "top", "top_rollouts", "rank", "rank_pairs"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), abs=1e-12), name
    truth = score_credit(sample, advantage, advantage, 6)
    assert [truth.sign, truth.top, truth.rank] == pytest.approx(
        [truth.sign_steps, truth.top_rollouts, truth.rank_pairs]
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_fidelity_by_naive_loops(seed):
    table, _, _, sample, _, advantage = scene(seed % 40, groups=6)
    credit = gigpo(sample.trajectories)
    score = score_credit(sample, credit, advantage, table.n_edges)
    places = torch.nonzero(sample.trajectories.mask).tolist()
    c = np.array([float(credit[i, t]) for i, t in places])
    a = np.array([float(advantage[i, t]) for i, t in places])
    edge = np.array([int(sample.truth.edge[i, t]) for i, t in places])
    step = np.array([t for _, t in places])
    # Kendall over pairs of actions of one state, weighted by the smaller number of visits.
    agree = pairs = 0.0
    for e, f in itertools.combinations(sorted(set(edge.tolist())), 2):
        if table.edge_state[e] != table.edge_state[f]:
            continue
        gap = a[edge == e].mean() - a[edge == f].mean()
        if abs(gap) > 1e-9 * np.abs(a).max():
            weight = min((edge == e).sum(), (edge == f).sum())
            agree += weight * np.sign(gap) * np.sign(c[edge == e].mean() - c[edge == f].mean())
            pairs += weight
    assert (score.rank, score.rank_pairs) == (pytest.approx(agree, abs=1e-9), pairs)
    squares = freedom = 0.0
    for cell in set(zip(step.tolist(), edge.tolist(), strict=True)):
        own = c[(step == cell[0]) & (edge == cell[1])]
        squares, freedom = squares + ((own - own.mean()) ** 2).sum(), freedom + own.size - 1
    if freedom:
        assert score.within == pytest.approx(squares / freedom, abs=1e-9)
    decisive = np.abs(a) > 1e-9 * np.abs(a).max()
    right = np.where(c == 0, 0.5, np.sign(c) == np.sign(a))
    assert (score.sign, score.sign_steps) == (pytest.approx(right[decisive].sum()), decisive.sum())
    assert score.ca == pytest.approx((c * a).sum())
