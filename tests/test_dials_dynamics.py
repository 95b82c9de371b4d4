"""slip, horizon, delay and density, against enumeration of every play."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import make_random_table, random_policy, random_table, toy_text

from credit_envs import dials, oracle
from credit_envs.dials.dynamics import horizon, longest_play, slip
from credit_envs.dials.timing import delay, density
from credit_envs.errors import CreditEnvsError
from credit_envs.table import from_outcomes


def marked(table):
    """Labels each state with its number, so that policies can follow a table through a dial."""
    return table.replace(labels={"number": np.arange(table.n_states)})


def reward_paths(table, policy):
    """Distribution over reward sequences of whole plays, by enumeration; the cut-off pays with the last step."""
    now = {(int(s), ()): p for s, p in zip(table.start_state, table.start_probability, strict=True)}
    done = defaultdict(float)
    for t in range(table.horizon):
        following = defaultdict(float)
        for (state, path), p in now.items():
            for action, outcomes in table.P[state].items():
                for q, successor, reward, terminal in outcomes:
                    paid = float(table.reward_at(t, np.float64(reward)))
                    weight = p * policy[state, action] * q
                    if terminal:
                        done[(*path, paid)] += weight
                    else:
                        following[(successor, (*path, paid))] += weight
        now = following
    for (state, path), p in now.items():
        extra = 0.0 if table.cutoff_reward is None else table.cutoff_reward[state]
        done[(*path[:-1], path[-1] + extra)] += p
    return done


def same(a, b):
    rounded = []
    for paths in (a, b):
        merged = defaultdict(float)
        for path, p in paths.items():
            merged[tuple(round(r, 6) + 0.0 for r in path)] += p
        rounded.append({path: p for path, p in merged.items() if p > 1e-12})
    assert rounded[0].keys() == rounded[1].keys()
    assert all(abs(rounded[0][path] - rounded[1][path]) < 1e-9 for path in rounded[0])


def delayed_path(path, d):
    """What the definition says: r_t is paid at t + d, everything that is left with the last step."""
    last = len(path) - 1
    out = [0.0] * len(path)
    for t, reward in enumerate(path):
        out[min(t + d, last)] += reward
    return tuple(out)


@settings(max_examples=40, deadline=None)
@given(random_table(max_states=5, max_horizon=3), st.integers(0, 4), st.integers(0, 9))
def test_delay_pays_every_reward_exactly_so_much_later(table, d, seed):
    table = marked(table)
    policy = random_policy(table, seed)
    late = delay(table, d)
    expected = defaultdict(float)
    for path, p in reward_paths(table, policy).items():
        expected[delayed_path(path, d)] += p
    same(reward_paths(late, policy[late.labels["number"]]), expected)


@settings(max_examples=40, deadline=None)
@given(random_table(max_states=5, max_horizon=3), st.floats(0, 1), st.integers(0, 9))
def test_density_pays_its_share_at_once_and_the_rest_at_the_end(table, share, seed):
    table = marked(table)
    policy = random_policy(table, seed)
    moved = density(table, share)
    expected = defaultdict(float)
    for path, p in reward_paths(table, policy).items():
        expected[(*(share * r for r in path[:-1]), path[-1] + (1 - share) * sum(path[:-1]))] += p
    same(reward_paths(moved, policy[moved.labels["number"]]), expected)


@settings(max_examples=20, deadline=None)
@given(random_table(max_states=8, max_horizon=6), st.integers(1, 3), st.floats(0, 1), st.integers(0, 9))
def test_neither_changes_the_return_of_any_policy(table, d, share, seed):
    table = marked(table)
    policy = random_policy(table, seed)
    moved = dials.apply(table, delay=d, density=share)
    kept = oracle.expected_return(moved, policy[moved.labels["number"]])
    assert kept == pytest.approx(oracle.expected_return(table, policy), abs=1e-9)


@pytest.mark.parametrize("setting", [{"delay": 3}, {"delay": 50}, {"density": 0.25}, {"density": 0.0}])
@pytest.mark.parametrize("name", ["CliffWalking", "Taxi"])
def test_imported_tables_keep_their_return_and_get_paid_later(name, setting):
    table = toy_text(name, 12)
    moved = dials.apply(table, **setting)
    uniform = oracle.expected_return(table, oracle.uniform(table))
    assert oracle.expected_return(moved, oracle.uniform(moved)) == pytest.approx(uniform, abs=1e-8)
    before = oracle.reward_timing(table, oracle.uniform(table))["reward_time"]
    after = oracle.reward_timing(moved, oracle.uniform(moved))["reward_time"]
    assert after > before + 1
    assert oracle.spread(moved, oracle.uniform(moved)).variance == pytest.approx(
        oracle.spread(table, oracle.uniform(table)).variance
    )


def test_all_reward_at_the_end_of_cliff_walking_is_paid_at_the_horizon():
    # Uniform play on 4×12 cliff walking cannot reach the goal in 12 steps (the way round takes 13).
    moved = density(toy_text("CliffWalking", 12), 0.0)
    assert oracle.reward_timing(moved, oracle.uniform(moved))["reward_time"] == pytest.approx(12)


def test_rewards_that_only_last_steps_pay_stay_where_they_are():
    lake = toy_text("FrozenLake", 20)
    assert delay(lake, 5) is lake
    assert density(lake, 0.0) is lake
    clocked = lake.replace(reward_scale=1 - 0.9 * np.arange(20) / 20)
    assert delay(clocked, 5) is clocked


def test_tables_that_pay_by_the_clock_are_refused():
    table = toy_text("CliffWalking", 5).replace(reward_scale=np.ones(5))
    with pytest.raises(CreditEnvsError, match="pays by the clock"):
        delay(table, 1)
    with pytest.raises(CreditEnvsError, match="pays by the clock"):
        density(table, 0.5)


def test_too_many_states_are_refused_with_the_number_reached():
    with pytest.raises(CreditEnvsError, match=r"density=0\.5: \d+ states after \d+ steps, more than max_states=500"):
        dials.apply(toy_text("CliffWalking", 12), density=0.5, max_states=500)


def test_equal_sums_meet_in_one_state():
    # 0.1 + 0.2 and 0.3 differ as floats; both ways to a total of 0.3 must meet.
    outcomes = {
        "state": [0, 0, 1, 2],
        "action": [0, 1, 0, 0],
        "successor": [1, 2, 3, 3],
        "reward": [0.1, 0.3, 0.2, 0.0],
        "probability": [1.0] * 4,
        "terminal": [False] * 4,
    }
    outcomes = {
        k: np.array([*v, {"state": 3, "successor": 3, "probability": 1.0}.get(k, 0)]) for k, v in outcomes.items()
    }
    outcomes["terminal"] = np.array([False, False, False, False, True])
    table = from_outcomes("sums", 4, 2, outcomes, start={0: 1.0}, horizon=3)
    assert density(table, 0.0).n_states == 5  # four pairs of state and sum, and the end without memory


@settings(max_examples=40, deadline=None)
@given(random_table(), st.floats(0, 1))
def test_slip_mixes_each_edge_with_a_random_one(table, p):
    slipped = slip(table, p)
    kinds = sorted({o[1:] for actions in table.P.values() for outs in actions.values() for o in outs})

    def law(outcomes):
        row = np.zeros(len(kinds))
        for q, *kind in outcomes:
            row[kinds.index(tuple(kind))] += q
        return row

    for state, actions in table.P.items():
        laws = {a: law(outs) for a, outs in actions.items()}
        for a in actions:
            mixed = (1 - p) * laws[a] + p * np.mean(list(laws.values()), axis=0)
            np.testing.assert_allclose(law(slipped.P[state][a]), mixed, atol=1e-12)
            assert p == 0 or len({o[1:] for o in slipped.P[state][a]}) == len(slipped.P[state][a])
            distance = np.abs(law(slipped.P[state][a]) - laws[a]).sum() / 2
            assert distance <= p * (1 - 1 / len(actions)) + 1e-9
    uniform = oracle.uniform(table)
    assert oracle.expected_return(slipped, uniform) == pytest.approx(oracle.expected_return(table, uniform), abs=1e-9)


@pytest.mark.parametrize("p", [0.0, 0.25, 0.6, 1.0])
def test_luck_share_of_a_deterministic_table(p):
    # Under uniform play slip scales every advantage by 1 − p, so skill falls to (1 − p)² of the same variance.
    table = toy_text("CliffWalking", 15)
    slipped = slip(table, p)
    assert oracle.spread(slipped, oracle.uniform(table)).luck_share == pytest.approx(1 - (1 - p) ** 2, abs=1e-9)


def test_no_slip_is_the_same_table():
    table = toy_text("FrozenLake", 9)
    assert dials.apply(table, slip=0).fingerprint == table.fingerprint


@settings(max_examples=30, deadline=None)
@given(random_table(max_horizon=5), st.integers(1, 7), st.integers(0, 9))
def test_horizon_cuts_and_extends(table, steps, seed):
    moved = horizon(table, steps)
    policy = random_policy(table, seed)
    paths = reward_paths(moved, policy)
    assert longest_play(moved) == max(len(path) for path in paths) <= steps
    expected = sum(p * sum(path) for path, p in paths.items())
    assert oracle.expected_return(moved, policy) == pytest.approx(expected)


def test_reward_factors_are_cut_and_never_extended():
    table = toy_text("FrozenLake", 10).replace(reward_scale=np.arange(10.0), reward_shift=np.ones(10))
    short = dials.apply(table, horizon=4)
    assert short.reward_scale.tolist() == [0, 1, 2, 3]
    assert short.reward_shift.size == 4
    with pytest.raises(CreditEnvsError, match=r"horizon=11: expected an integer in \[1, 10\]"):
        dials.apply(table, horizon=11)


def test_horizon_together_with_density_reaches_past_the_old_one():
    table = toy_text("CliffWalking", 4)
    together = dials.apply(table, density=0.0, horizon=9)
    longer = dials.apply(toy_text("CliffWalking", 9), density=0.0)
    assert together.fingerprint == longer.fingerprint
    with pytest.raises(CreditEnvsError, match="give horizon together with delay or density"):
        dials.apply(dials.apply(table, density=0.0), horizon=9)


def test_longest_play_of_layers_is_their_number():
    table = make_random_table(1, n_states=12, horizon=3, layered=True)
    assert longest_play(dials.apply(table, horizon=50)) <= 4
    assert longest_play(toy_text("CliffWalking", 33)) == 33


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"slip": 1.5}, r"slip=1\.5: expected a number in \[0, 1\]"),
        ({"slip": "a"}, "slip='a': expected a number"),
        ({"slip": float("nan")}, "slip=nan"),
        ({"delay": -1}, "delay=-1: expected an integer"),
        ({"delay": 1.5}, r"delay=1\.5: expected an integer"),
        ({"density": -0.1}, r"density=-0\.1"),
        ({"horizon": 0}, "horizon=0: expected an integer"),
        ({"horizon": float("inf")}, "horizon=inf"),
        ({"max_states": 5}, "max_states=5: expected with delay or density or plan or reward_time or spell or unit"),
    ],
)
def test_bad_settings_are_refused_before_work(setting, message):
    with pytest.raises(CreditEnvsError, match=message):
        dials.apply(toy_text("FrozenLake", 5), **setting)
