"""The oracle against enumeration of every trajectory, against closed forms, and against Gymnasium's own examples."""

import collections

import numpy as np
import pytest
from brute_force import (
    action_value,
    best_value,
    by_look,
    by_obs,
    by_state,
    cue_layer,
    expected,
    random_rows,
    rich_table,
    softmax,
    state_values,
    walks,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import make_random_table, random_policy, toy_text

from credit_envs.errors import CreditEnvsError
from credit_envs.oracle import (
    Policy,
    action_values,
    evaluate,
    exact_gradient,
    expected_return,
    ladder,
    measure,
    occupancy,
    optimal,
    perception,
    reward_timing,
    spread,
    uniform,
)
from credit_envs.registry import make_table
from credit_envs.table import Emission, Layer, TabularMDP, from_outcomes

few = settings(max_examples=80, deadline=None)
tables = rich_table()


def state_policy(table, seed):
    """A policy by state that may also name inadmissible actions."""
    return random_rows(seed, table.n_states, table.n_actions)


# -- values against enumeration --------------------------------------------------------------------------------------


@few
@given(tables, st.integers(0, 1000))
def test_values_of_state_policies(table, seed):
    policy = state_policy(table, seed)
    choose = by_state(policy)
    values = evaluate(table, Policy("state", policy))
    assert expected(list(walks(table, choose)), table.discount) == pytest.approx(values.J, abs=1e-10)
    for state in np.flatnonzero(table.played()).tolist():
        for t in range(table.horizon):
            assert values.V[t, state] == pytest.approx(state_values(table, choose, t, state), abs=1e-10)
            q = values.q(t, state)
            for action in range(table.n_actions):
                if table.mask[state, action]:
                    assert q[action] == pytest.approx(action_value(table, choose, t, state, action), abs=1e-10)
                else:
                    assert np.isnan(q[action])


@few
@given(tables, st.integers(0, 1000))
def test_values_of_observation_policies(table, seed):
    policy = random_rows(seed, table.n_obs, table.n_actions)
    chosen = Policy("obs", policy)
    paths = list(walks(table, by_obs(table, policy), names=True))
    assert sum(w.chance for w in paths) == pytest.approx(1)
    assert expected_return(table, chosen) == pytest.approx(expected(paths, table.discount), abs=1e-10)


@few
@given(tables, st.integers(0, 1000))
def test_values_of_look_policies(table, seed):
    policy = random_rows(seed, table.emission.n_base, table.n_actions)
    paths = list(walks(table, by_look(table, policy)))
    assert pytest.approx(expected(paths, table.discount), abs=1e-10) == evaluate(table, Policy("look", policy)).J


@few
@given(tables, st.integers(0, 1000))
def test_values_at_many_places_agree(table, seed):
    rng = np.random.default_rng(seed)
    values = evaluate(table, Policy("state", state_policy(table, seed)))
    t, edge = rng.integers(0, table.horizon, 30), rng.integers(-1, table.n_edges, 30)
    got = values.q_at(t, edge)
    for i in range(30):
        if edge[i] < 0:
            assert np.isnan(got[i])
        else:
            assert got[i] == pytest.approx(values.q_edges(int(t[i]))[edge[i]], abs=1e-12)
    edge = np.maximum(edge, 0)
    state = table.edge_state[edge]
    advantage = values.advantage_at(t.reshape(5, 6), state.reshape(5, 6), edge.reshape(5, 6))
    assert np.allclose(advantage, (values.q_at(t, edge) - values.V[t, state]).reshape(5, 6))


@few
@given(tables, st.integers(0, 1000))
def test_occupancy(table, seed):
    policy = state_policy(table, seed)
    d = np.zeros((table.horizon + 1, table.n_states))
    for walk in walks(table, by_state(policy)):
        for step in walk.steps:
            d[step.t, step.state] += walk.chance
    assert np.allclose(occupancy(table, Policy("state", policy))[:-1], d[:-1], atol=1e-12)
    first = np.eye(table.n_states)[table.start_state[0]]
    assert np.allclose(occupancy(table, Policy("state", policy), first)[0], first)


@few
@given(tables)
def test_optimal_values(table):
    best = optimal(table)
    for state in np.flatnonzero(table.played()).tolist():
        for t in range(table.horizon):
            assert best.V[t, state] == pytest.approx(best_value(table, t, state), abs=1e-10)
    # Following the greedy choice earns what was promised, and takes the promised number of steps.
    chance, steps = {(0, int(s)): 0.0 for s in table.start_state}, 0.0
    for s, p in zip(table.start_state, table.start_probability, strict=True):
        chance[0, int(s)] += float(p)
    earned = 0.0
    for t in range(table.horizon):
        edge = best.greedy(t)
        for (_, s), p in [(k, v) for k, v in chance.items() if k[0] == t]:
            steps += p
            assert table.edge_state[edge[s]] == s
            for q, nxt, r, done in table.P[s][int(table.edge_action[edge[s]])]:
                paid = float(table.reward_at(t, r))
                if not done and t + 1 == table.horizon and table.cutoff_reward is not None:
                    paid += float(table.cutoff_reward[nxt])
                earned += p * q * table.discount**t * paid
                if not done:
                    chance[t + 1, nxt] = chance.get((t + 1, nxt), 0.0) + p * q
    assert earned == pytest.approx(best.J, abs=1e-10)
    assert steps == pytest.approx(best.length, abs=1e-10)


@few
@given(tables, st.integers(0, 1000))
def test_no_policy_beats_the_optimum(table, seed):
    assert evaluate(table, Policy("state", random_policy(table, seed))).J <= optimal(table).J + 1e-9


# -- the return splits into start, skill and luck ---------------------------------------------------------------------


@few
@given(tables, st.integers(0, 1000))
def test_every_return_splits_into_skill_and_luck(table, seed):
    """Σγ^t r_t − V_0 = Σγ^t A_t + Σγ^t L_t for every single trajectory; Var(R) = start + skill + luck."""
    policy, g = state_policy(table, seed), table.discount
    values = evaluate(table, Policy("state", policy))
    paths = list(walks(table, by_state(policy)))
    skills, lucks = np.zeros(table.horizon), np.zeros(table.horizon)
    for walk in paths:
        total = 0.0
        for step in walk.steps:
            v = values.V[step.t, step.state]
            after = 0.0 if step.ended else values.V[step.t + 1, step.successor]
            if step.action is None:
                q = step.reward + g * after
            else:
                q = action_value(table, by_state(policy), step.t, step.state, step.action)
            luck = step.reward + g * after - q
            total += g**step.t * (q - v + luck)
            skills[step.t] += walk.chance * g ** (2 * step.t) * (q - v) ** 2
            lucks[step.t] += walk.chance * g ** (2 * step.t) * luck**2
        assert walk.discounted(g) - values.V[0, walk.steps[0].state] == pytest.approx(total, abs=1e-10)
    parts = spread(table, Policy("state", policy))
    assert np.allclose(parts.skill_by_step, skills, atol=1e-10)
    assert parts.luck == pytest.approx(lucks.sum(), abs=1e-10)
    mean = expected(paths, g)
    variance = sum(w.chance * (w.discounted(g) - mean) ** 2 for w in paths)
    assert parts.variance == pytest.approx(variance, abs=1e-10)
    assert parts.start + parts.skill + parts.luck == pytest.approx(variance, abs=1e-10)
    assert parts.expected_steps == pytest.approx(sum(w.chance * len(w.steps) for w in paths), abs=1e-10)
    assert 0 <= parts.luck_share <= 1 or np.isnan(parts.luck_share)


@few
@given(tables, st.integers(0, 1000))
def test_reward_timing(table, seed):
    policy = state_policy(table, seed)
    policy = policy * table.mask
    policy = np.where(
        policy.sum(1, keepdims=True) > 0, policy / np.maximum(policy.sum(1, keepdims=True), 1e-300), uniform(table)
    )
    paths = list(walks(table, by_state(policy)))
    steps = sum(w.chance * len(w.steps) for w in paths)
    paying = sum(w.chance * sum(s.reward != 0 for s in w.steps) for w in paths)
    size = sum(w.chance * sum(abs(s.reward) for s in w.steps) for w in paths)
    when = sum(w.chance * sum(abs(s.reward) * (s.t + 1) for s in w.steps) for w in paths)
    got = reward_timing(table, Policy("state", policy))
    assert got["reward_density"] == pytest.approx(paying / steps, abs=1e-10)
    assert got["reward_time"] == pytest.approx(when / size, abs=1e-10) if size else np.isnan(got["reward_time"])


def test_effective_unit_of_one_decisive_step():
    # Four steps, only the second one matters: k_eff = E[T] / participation = 4 / 1.
    table = corridor(4, decisive=(1,))
    assert spread(table, uniform(table)).effective_unit == pytest.approx(4)
    # Every step matters alike (independent bets): k_eff = 1.
    assert spread(corridor(4, decisive=(0, 1, 2, 3)), uniform(table)).effective_unit == pytest.approx(1)
    assert np.isnan(spread(corridor(4, decisive=()), uniform(table)).effective_unit)


def corridor(n, decisive):
    """n steps in a row, two actions each; where decisive, action 1 pays 1."""
    rows = [(s, a, (s + 1) % n, 1.0, float(a and s in decisive), s == n - 1) for s in range(n) for a in range(2)]
    return listed(rows, n, 2, start={0: 1.0}, horizon=n)


def listed(rows, n_states, n_actions, *, start, horizon, **fields):
    names = ("state", "action", "successor", "probability", "reward", "terminal")
    columns = {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    return from_outcomes("listed", n_states, n_actions, columns, start=start, horizon=horizon, **fields)


# -- gradients -------------------------------------------------------------------------------------------------------


def numerical_gradient(value, logits, mask, step=1e-6):
    """Central differences of value(π) in the logits of a masked softmax."""
    out = np.zeros_like(logits)
    for index in np.ndindex(*logits.shape):
        change = np.zeros_like(logits)
        change[index] = step
        out[index] = (value(softmax(logits + change, mask)) - value(softmax(logits - change, mask))) / (2 * step)
    return out


def row_mask(table, kind):
    if kind == "state":
        return np.where(table.mask.any(1, keepdims=True), table.mask, True)
    looks = np.ones((table.emission.n_base, table.n_actions), dtype=bool)
    for s in np.flatnonzero(table.n_admissible):
        looks[table.emission.base[s]] &= table.mask[s]
    return looks if kind == "look" else np.repeat(looks, table.emission.n_codes, axis=0)


@settings(max_examples=30, deadline=None)
@given(tables, st.integers(0, 1000), st.sampled_from(["state", "look", "obs"]))
def test_gradient_is_that_of_the_expected_return(table, seed, kind):
    mask = row_mask(table, kind)
    if not mask.any(1).all():
        return  # aliased states without a common action: no policy on looks
    logits = np.random.default_rng(seed).normal(size=mask.shape)
    choose = {"state": by_state, "look": lambda p: by_look(table, p), "obs": lambda p: by_obs(table, p)}[kind]

    def value(p):
        return expected(list(walks(table, choose(p), names=kind == "obs")), table.discount)

    exact = exact_gradient(table, Policy(kind, softmax(logits, mask)))
    small = logits.size <= 12 and table.horizon <= 2
    if small:
        assert np.allclose(exact, numerical_gradient(value, logits, mask), atol=1e-7)
    assert np.allclose(
        exact, numerical_gradient(lambda p: expected_return(table, Policy(kind, p)), logits, mask), atol=1e-7
    )


@few
@given(tables, st.integers(0, 1000))
def test_gradient_sums(table, seed):
    """Rows sum to zero; W is Σ_t γ^t d_t Q_t; undiscounted visits are the same at γ = 1."""
    policy = Policy("state", random_policy(table, seed))
    assert np.allclose(exact_gradient(table, policy).sum(axis=1), 0, atol=1e-12)
    values, d = evaluate(table, policy), occupancy(table, policy)
    q = np.stack([values.q_edges(t) for t in range(table.horizon)])
    for discounted in (True, False):
        share = (table.discount if discounted else 1.0) ** np.arange(table.horizon)[:, None]
        weights, visits = action_values(table, policy, discounted_visits=discounted)
        assert np.allclose(weights, (share * d[:-1][:, table.edge_state] * q).sum(0), atol=1e-10)
        assert np.allclose(visits, (share * d[:-1]).sum(0), atol=1e-12)


@few
@given(tables, st.integers(0, 1000))
def test_gradient_is_the_mean_score_times_advantage(table, seed):
    """g = E Σ_t γ^t ∇log π(a_t|s_t) A_t over enumerated trajectories; without γ^t for undiscounted visits."""
    probability = random_policy(table, seed)
    policy = Policy("state", probability)
    values = evaluate(table, policy)
    for discounted in (True, False):
        expected_gradient = np.zeros_like(probability)
        for walk in walks(table, by_state(probability)):
            for step in walk.steps:
                weight = table.discount**step.t if discounted else 1.0
                q = values.q(step.t, step.state)[step.action]
                score = np.eye(table.n_actions)[step.action] - probability[step.state]
                expected_gradient[step.state] += walk.chance * weight * score * (q - values.V[step.t, step.state])
        got = exact_gradient(table, policy, discounted_visits=discounted)
        assert np.allclose(got, expected_gradient, atol=1e-10)


def test_gradient_refuses_inadmissible_weight():
    table = next(t for t in map(make_random_table, range(100)) if not t.mask.all())
    with pytest.raises(ValueError, match=r"mask it with table\.mask first"):
        exact_gradient(table, np.full((table.n_states, table.n_actions), 1 / table.n_actions))


# -- closed forms ----------------------------------------------------------------------------------------------------


def test_bandit():
    # Two arms: 1 with probability 1/4, or 1/5 for sure.
    table = listed(
        [(0, 0, 0, 0.25, 1.0, True), (0, 0, 0, 0.75, 0.0, True), (0, 1, 0, 1.0, 0.2, True)],
        1,
        2,
        start={0: 1.0},
        horizon=9,
    )
    half = evaluate(table, uniform(table))
    assert pytest.approx(0.225) == half.J
    assert half.q(0, 0) == pytest.approx([0.25, 0.2])
    assert half.q(8, 0) == pytest.approx([0.25, 0.2])
    assert optimal(table).J == 0.25
    assert exact_gradient(table, uniform(table)) == pytest.approx(np.array([[0.0125, -0.0125]]))
    parts = spread(table, uniform(table))
    assert parts.skill == pytest.approx(0.025**2)
    assert parts.luck == pytest.approx(0.5 * 0.25 * 0.75)
    assert parts.start == 0


def test_random_walk():
    # Sutton and Barto's random walk, example 6.2: from state i of 5 the right end is reached with probability i/6.
    rows = []
    for s in range(5):
        rows += [(s, 0, max(s - 1, 0), 1.0, 0.0, s == 0), (s, 1, min(s + 1, 4), 1.0, float(s == 4), s == 4)]
    table = listed(rows, 5, 2, start={2: 1.0}, horizon=1000)
    assert evaluate(table, uniform(table)).V[0] == pytest.approx(np.arange(1, 6) / 6)
    # Expected duration from the middle of six intervals is 3·3.
    assert spread(table, uniform(table)).expected_steps == pytest.approx(9)


def test_geometric_chain():
    # Staying pays 1 and ends with probability 0.1: Σ_{t<H} (0.9γ)^t.
    table = listed(
        [(0, 0, 0, 0.9, 1.0, False), (0, 0, 0, 0.1, 1.0, True)], 1, 1, start={0: 1.0}, horizon=20, discount=0.5
    )
    assert pytest.approx((1 - 0.45**20) / (1 - 0.45)) == evaluate(table, np.ones((1, 1))).J


def test_cutoff_scale_and_shift_by_hand():
    rows = [(0, 0, 1, 1.0, 10.0, False), (1, 0, 0, 1.0, 20.0, False)]
    fields = {"reward_scale": [1.0, 0.5, 0.25], "reward_shift": [0.0, 0.0, 1.0], "cutoff_reward": [7.0, 100.0]}
    table = listed(rows, 2, 1, start={0: 1.0}, horizon=3, discount=0.5, **fields)
    # Steps pay 10, 0.5·20 and 0.25·10 + 1, and being cut off in state 1 pays 100 with the last of them.
    assert pytest.approx(10 + 0.5 * 10 + 0.25 * (2.5 + 1 + 100)) == evaluate(table, np.ones((2, 1))).J
    assert pytest.approx(10 + 0.5 * 10 + 0.25 * (2.5 + 1 + 100)) == optimal(table).J


def test_early_stop_of_long_horizons():
    # Values that reach a fixed point are copied: the same as without the shortcut.
    table = corridor(4, decisive=(1, 3)).replace(horizon=500)
    slow = table.replace(reward_scale=np.ones(500))
    assert np.array_equal(evaluate(table, uniform(table)).V, evaluate(slow, uniform(table)).V)


# -- Gymnasium's examples --------------------------------------------------------------------------------------------


def test_frozen_lake_slippery():
    # The best probability of success on the slippery 4×4 lake without a time limit is 14/17 = 0.8235….
    values = [optimal(toy_text("FrozenLake", horizon=h, is_slippery=True)).J for h in (100, 1000, 5000)]
    assert values[0] < values[1] <= values[2]
    assert values[2] == pytest.approx(14 / 17, abs=1e-9)
    dry = optimal(toy_text("FrozenLake", horizon=100, is_slippery=False))
    assert (dry.J, dry.length) == (1.0, 6.0)


def test_cliff_walking():
    best = optimal(toy_text("CliffWalking", horizon=200))
    assert (best.J, best.length) == (-13.0, 13.0)


def test_taxi_by_breadth_first_search():
    from gymnasium.envs.toy_text.taxi import TaxiEnv

    env = TaxiEnv()
    backwards = collections.defaultdict(set)
    distance = {}
    frontier = []
    for s, actions in env.P.items():
        for [(_, nxt, reward, done)] in actions.values():
            if done and reward == 20:
                distance[s] = 1
                frontier.append(s)
            elif reward == -1:
                backwards[nxt].add(s)
    while frontier:
        reached = {b for s in frontier for b in backwards[s] if b not in distance}
        distance |= dict.fromkeys(reached, distance[frontier[0]] + 1)
        frontier = sorted(reached)
    start = np.flatnonzero(env.initial_state_distrib)
    best = optimal(toy_text("Taxi", horizon=200))
    steps = np.array([distance[int(s)] for s in start])
    assert best.context_values == pytest.approx(21.0 - steps)
    assert best.length == pytest.approx(steps.mean())
    assert pytest.approx(7.93, abs=1e-9) == best.J  # the known mean optimal return of Taxi


# -- ladder ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_ladder_reaches_its_levels(seed):
    table = make_random_table(seed, n_states=12, n_actions=3, horizon=8, n_outcomes=2)
    low, high = evaluate(table, uniform(table)).J, optimal(table).J
    rungs = ladder(table, (0.0, 0.5, 0.9))
    if high - low < 1e-9:
        assert [r.name for r in rungs] == ["uniform"]
        return
    assert [r.name for r in rungs] == ["uniform", "0.5", "0.9"]
    for rung in rungs:
        assert pytest.approx(rung.J, abs=1e-12) == evaluate(table, rung.policy).J
        assert rung.normalised == pytest.approx((rung.J - low) / (high - low), abs=1e-9)
    assert rungs[0].normalised == 0
    assert rungs[0].policy.probability == pytest.approx(uniform(table)[np.argsort(table.emission.base)])
    reachable = rungs[2].normalised >= 0.9
    assert rungs[1].normalised == pytest.approx(0.5, abs=5e-3) or not reachable
    # The horizon makes the optimum depend on time, so 0.9 may be out of reach; then the best found stands for it.
    assert rungs[2].normalised == pytest.approx(0.9, abs=5e-3) or rungs[2].normalised < 0.9


def test_ladder_on_the_lake_and_where_nothing_can_be_gained():
    lake = toy_text("FrozenLake", horizon=100, is_slippery=True)
    assert [r.normalised for r in ladder(lake, (0.5, 0.9))] == pytest.approx([0.5, 0.9], abs=2e-3)
    idle = corridor(3, decisive=())
    assert [r.name for r in ladder(idle)] == ["uniform"]
    with pytest.raises(CreditEnvsError, match=r"levels=1\.5"):
        ladder(lake, (0.5, 1.5))


# -- perception ------------------------------------------------------------------------------------------------------


def cued_bandit(n, hidden, accuracy):
    """n arms, arm 0 pays 1; names are shifted; the sign is hidden with some probability, and a guess stands in for it.

    Digits are (shift, hint): hint 0 shows the shift in words, hint g + 1 hides it and guesses g.
    """
    rows = [(0, a, 0, 1.0, float(a == 0), True) for a in range(n)]
    p, shift, blind = np.zeros((n + 1, n * (n + 1))), np.zeros(n * (n + 1), int), np.arange(n * (n + 1))
    p[:n, 0] = 1
    for s in range(n):
        for hint in range(n + 1):
            digit = s * (n + 1) + hint
            shift[digit] = s
            right = accuracy if hint - 1 == s else (1 - accuracy) / (n - 1)
            p[n, digit] = (1 - hidden if hint == 0 else hidden * right) / n
            blind[digit] = digit if hint == 0 else hint  # what is hidden: shift 0 stands for any
    layer = Layer("cue", False, p, "admissible", shift, blind, shows_in_anchor=False)
    return listed(rows, 1, n, start={0: 1.0}, horizon=1, emission=Emission([0], (layer,)))


@pytest.mark.parametrize(("n", "hidden", "accuracy"), [(2, 1.0, 0.5), (3, 0.5, 0.6), (3, 1.0, 1.0), (4, 0.25, 0.25)])
def test_perception_of_a_cued_bandit(n, hidden, accuracy):
    table = cued_bandit(n, hidden, accuracy)
    best = np.eye(n)[[0]]
    got = perception(table, Policy("state", best))
    assert got.with_image == pytest.approx(1)
    assert got.without_image == pytest.approx(1 - hidden * (1 - max(accuracy, 1 / n)))
    assert got.gap == pytest.approx(hidden * (1 - accuracy))
    # The image tells which name is arm 0: KL = entropy of the shift given the guess, where hidden.
    chances = np.array([accuracy, *[(1 - accuracy) / (n - 1)] * (n - 1)])
    entropy = -sum(c * np.log(c) for c in chances if c > 0)
    assert got.divergence == pytest.approx(hidden * entropy)
    # A policy that doesn't care which arm it pulls doesn't depend on the image either.
    assert perception(table, uniform(table)).divergence == pytest.approx(0)


def test_perception_over_two_steps():
    # Step one: 2 arms, the right one leads to step two with 3 arms, whose right one pays 1. Nothing is ever shown.
    layer = cue_layer(3)
    rows = [(0, 0, 1, 1.0, 0.0, False), (0, 1, 1, 1.0, 0.0, True)]
    rows += [(1, a, 1, 1.0, float(a == 2), True) for a in range(3)]
    table = listed(rows, 2, 3, start={0: 1.0}, horizon=5, emission=Emission([0, 1], (layer,)))
    got = perception(table, uniform(table))
    assert got.with_image == 1
    assert got.without_image == pytest.approx(1 / 6)


def test_measure_reports_everything():
    table = cued_bandit(3, 0.5, 0.6)
    got = measure(table)
    assert got["J"] == pytest.approx(1 / 3)
    assert got["J_optimal"] == 1
    assert got["perception_gap"] == pytest.approx(0.2)
    assert all(isinstance(v, float) for v in got.values())


# -- errors ----------------------------------------------------------------------------------------------------------


def two_looks():
    return corridor(4, decisive=(1,)).replace(emission=Emission([0, 0, 1, 1], (Layer("skin", True, [0.5, 0.5]),)))


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (np.ones((3, 2)) / 2, r"policy: expected shape \(2, 2\) or \(4, 2\), got \(3, 2\)"),
        (np.ones((4, 3)) / 3, r"policy: expected shape \(4, 2\), got \(4, 3\)"),
        (np.ones(4), r"policy: expected shape .* got \(4,\)"),
        (np.array([[0.5, 0.5], [np.nan, 1], [1, 0], [1, 0]]), "policy: row 1 holds NaN"),
        (np.array([[0.5, 0.5], [-0.5, 1.5], [1, 0], [1, 0]]), "policy: probability -0.5 is below 0"),
        (np.array([[0.5, 0.5], [0.5, 0.4], [1, 0], [1, 0]]), "policy: row 1 sums to 0.9, expected 1"),
        (Policy("sate", np.ones((4, 2)) / 2), "policy.kind='sate': expected 'state', 'look' or 'obs'"),
        (Policy("look", np.ones((4, 2)) / 2), r"policy: expected shape \(2, 2\), got \(4, 2\)"),
        (lambda obs: np.ones((len(obs), 1)), r"policy: expected shape \(4, 2\), got \(4, 1\)"),
    ],
)
def test_malformed_policies_are_refused(policy, message):
    with pytest.raises(CreditEnvsError, match=message):
        evaluate(two_looks(), policy)


def test_a_policy_that_sees_its_skin_needs_a_skin():
    policy = Policy("obs", np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.5, 0.5]]))
    with pytest.raises(CreditEnvsError, match="episode_code=None: the policy sees 2 per-episode looks"):
        evaluate(two_looks(), policy)
    assert evaluate(two_looks(), policy, 0).J == 0
    assert evaluate(two_looks(), policy, 1).J == 1
    assert expected_return(two_looks(), policy) == 0.5


def test_values_are_in_double_precision():
    table = make_random_table(1)
    assert isinstance(table, TabularMDP)
    assert evaluate(table, uniform(table)).V.dtype == np.float64


def test_tables_too_large_over_time_are_refused_before_memory_is():
    table = make_table("credit/Pivots-v0").replace(horizon=1 << 30)
    for solve in (optimal, measure, lambda t: evaluate(t, uniform(t))):
        with pytest.raises(CreditEnvsError, match="33 states × 1073741824 steps, expected at most"):
            solve(table)
