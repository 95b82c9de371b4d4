"""The causal unit, against a simulation of its definition on the original table."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import make_random_table, random_table, toy_text

from credit_envs import dials, oracle
from credit_envs.dials.stretch import KINDS, unit, unit_length
from credit_envs.errors import CreditEnvsError
from credit_envs.table import from_outcomes
from credit_envs.table.observer import Observer


def defined(table, k, kind, sequence):
    """Plays a sequence of ranks by the definition: distribution over (return, steps) on the original table."""
    now = {(int(s), 0.0): p for s, p in zip(table.start_state, table.start_probability, strict=True)}
    done = defaultdict(float)
    for u in range(table.horizon):
        following = defaultdict(float)
        for (state, total), p in now.items():
            actions = list(table.P[state])
            ranks = [r % len(actions) for r in sequence[u * k : (u + 1) * k]]
            if kind == "first":
                rank = ranks[0]
            elif kind == "all":
                rank = ranks[0] if len(set(ranks)) == 1 else None
            else:
                rank = sum(ranks) % len(actions)
            outcomes = [(1.0, state, 0.0, False)] if rank is None else table.P[state][actions[rank]]
            for q, successor, reward, terminal in outcomes:
                if terminal:
                    done[round(total + reward, 9), u * k + (1 if kind == "first" else k)] += p * q
                else:
                    following[successor, round(total + reward, 9)] += p * q
        now = following
    for (state, total), p in now.items():
        extra = 0.0 if table.cutoff_reward is None else table.cutoff_reward[state]
        done[round(total + extra, 9), table.horizon * k] += p
    return done


def played(table, sequence):
    """The same on a table as it is."""
    now = {(int(s), 0.0): p for s, p in zip(table.start_state, table.start_probability, strict=True)}
    done = defaultdict(float)
    for t in range(table.horizon):
        following = defaultdict(float)
        for (state, total), p in now.items():
            actions = list(table.P[state])
            for q, successor, reward, terminal in table.P[state][actions[sequence[t] % len(actions)]]:
                if terminal:
                    done[round(total + reward, 9), t + 1] += p * q
                else:
                    following[successor, round(total + reward, 9)] += p * q
        now = following
    for (state, total), p in now.items():
        extra = 0.0 if table.cutoff_reward is None else table.cutoff_reward[state]
        done[round(total + extra, 9), table.horizon] += p
    return done


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data(), table=random_table(max_states=5, max_horizon=3), k=st.integers(1, 4))
def test_stretched_play_does_what_the_definition_says(kind, data, table, k):
    length = table.horizon * k
    sequence = data.draw(st.lists(st.integers(0, 2), min_size=length, max_size=length))
    if data.draw(st.booleans()):
        # Random names rarely agree; whole units of one name make sure that `all` executes something too.
        sequence = [r for r in sequence[: table.horizon] for _ in range(k)]
    expected, found = defined(table, k, kind, sequence), played(unit(table, k, kind), sequence)
    assert expected.keys() == found.keys()
    for key, p in expected.items():
        assert found[key] == pytest.approx(p, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["FrozenLake", "Taxi"])
def test_imported_tables_stretch(name, kind):
    table, k = toy_text(name, 10), 3
    stretched = dials.apply(table, unit=k, unit_kind=kind)
    assert stretched.horizon == 30
    assert unit_length(stretched) == k
    assert stretched.n_admissible[stretched.played()].min() > 0
    uniform = oracle.expected_return(table, oracle.uniform(table))
    found = oracle.expected_return(stretched, oracle.uniform(stretched))
    if kind != "all":  # a random unit of `all` rarely counts
        assert found == pytest.approx(uniform, abs=1e-9)
    best, slow = oracle.optimal(table), oracle.optimal(stretched)
    if kind == "all":  # a unit that does not count is free, where a step of Taxi costs 1
        assert slow.J >= best.J - 1e-9
    else:
        assert pytest.approx(best.J, abs=1e-9) == slow.J


def test_filler_steps_change_nothing():
    table = toy_text("FrozenLake", 10)
    stretched = unit(table, 4)
    filler = np.flatnonzero(stretched.labels["turn"] > 0)
    edges = np.isin(stretched.edge_state, filler)
    outcomes = edges[stretched.outcome_edge]
    assert np.all(stretched.probability[outcomes] == 1)
    assert not stretched.reward[outcomes].any()
    assert not stretched.terminal[outcomes].any()
    state = stretched.edge_state[stretched.outcome_edge[outcomes]]
    following = stretched.labels["turn"][stretched.successor[outcomes]]
    assert np.array_equal(following, (stretched.labels["turn"][state] + 1) % 4)
    a, _ = oracle.action_values(stretched, oracle.uniform(stretched))
    weights = a[edges].reshape(-1, 4)
    np.testing.assert_allclose(weights, weights[:, :1].repeat(4, axis=1))  # no credit inside a unit


@pytest.mark.parametrize("k", [2, 5])
def test_effective_unit_grows_k_fold_where_no_play_ends_early(k):
    rng = np.random.default_rng(0)
    state, action = np.divmod(np.arange(15), 3)
    outcomes = {
        "state": state,
        "action": action,
        "successor": rng.integers(0, 5, 15),
        "probability": np.ones(15),
        "reward": rng.normal(size=15),
        "terminal": np.zeros(15, bool),
    }
    table = from_outcomes("endless", 5, 3, outcomes, start={0: 1.0}, horizon=6, allow_unreachable=True)
    stretched = unit(table, k)
    before = oracle.spread(table, oracle.uniform(table)).effective_unit
    after = oracle.spread(stretched, oracle.uniform(stretched)).effective_unit
    assert after == pytest.approx(k * before)


def test_reward_factors_stretch():
    table = toy_text("FrozenLake", 5).replace(reward_scale=np.arange(1, 6.0), reward_shift=-np.arange(1, 6.0))
    for kind, executed in (("first", 0), ("parity", 1)):
        stretched = unit(table, 2, kind)
        assert stretched.reward_scale.tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
        assert stretched.reward_shift[executed::2].tolist() == [-1, -2, -3, -4, -5]
        assert not stretched.reward_shift[1 - executed :: 2].any()
        before, after = (oracle.expected_return(t, oracle.uniform(t)) for t in (table, stretched))
        assert after == pytest.approx(before)
    masked = make_random_table(3, n_actions=3)
    with pytest.raises(CreditEnvsError, match="inadmissible actions"):
        unit(masked.replace(reward_shift=np.ones(masked.horizon)), 2)


def test_the_step_and_what_is_remembered_show_in_looks_and_words():
    table = toy_text("FrozenLake", 4)
    for kind, words in (
        ("first", "(step 2 of 3)"),
        ("all", "(step 2 of 3; so far action 2)"),
        ("parity", "sum so far 2)"),
    ):
        stretched = unit(table, 3, kind)
        text = stretched.view("text").rows(np.arange(stretched.n_states))
        assert any(words in line for line in text)
        assert any("(step 1 of 3)" in line for line in text)
        looks = stretched.emission.base
        assert np.array_equal(np.unique(looks), np.arange(stretched.emission.n_base))
        assert stretched.emission.n_base == stretched.n_states  # nothing that a unit adds is hidden
        assert len(Observer(stretched, "text").rows(np.arange(stretched.n_obs))) == stretched.n_obs
    assert any("so far mixed" in line for line in unit(table, 3, "all").view("text").rows(np.arange(100)))


def test_labels_follow_their_state():
    table = toy_text("FrozenLake", 4)
    stretched = unit(table.replace(labels={"segment": np.arange(table.n_states)}), 2)
    fillers = stretched.labels["turn"] == 1
    decided = np.flatnonzero(~fillers)
    assert set(stretched.labels["segment"][decided]) == set(range(table.n_states))
    wait = stretched.edge_state[np.flatnonzero(fillers[stretched.edge_state])]
    after = stretched.successor[stretched.outcome_start[np.flatnonzero(fillers[stretched.edge_state])]]
    assert np.array_equal(stretched.labels["segment"][wait], stretched.labels["segment"][after])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"unit": 0}, r"unit=0: expected an integer in \[1"),
        ({"unit": 2.5}, r"unit=2\.5: expected an integer"),
        ({"unit": 2, "unit_kind": "frist"}, "did you mean 'first'"),
        ({"unit_kind": "all"}, "unit_kind='all': expected with unit"),
        ({"unit": 900, "max_states": 1000}, r"unit=900: \d+ states, more than max_states=1000"),
    ],
)
def test_bad_settings_are_refused(setting, message):
    with pytest.raises(CreditEnvsError, match=message):
        dials.apply(toy_text("FrozenLake", 5), **setting)
