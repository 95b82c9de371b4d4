"""Plan fields, against play of the original table: they change nothing, and boundaries are where segments change."""

from collections import defaultdict

import gymnasium
import numpy as np
import pytest
from brute_force import by_state, walks
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import make_random_table, random_policy, random_table, toy_text

import credit_envs  # noqa: F401 (registers the ids)
from credit_envs import dials, oracle, registry
from credit_envs.dials.plan import ACTION, FIELDS, MAX_SUBGOALS, SUBGOAL, SWITCH, plan, switching, symbols
from credit_envs.errors import CreditEnvsError
from credit_envs.testing import check_table


@st.composite
def staged(draw, max_states=5, max_actions=3, max_horizon=3):
    """Random tables with segments, and with the number of each state as a label."""
    table = draw(random_table(max_states, max_actions, max_horizon))
    segment = draw(st.lists(st.integers(0, 1), min_size=table.n_states, max_size=table.n_states))
    return table.replace(labels={"segment": np.array(segment), "number": np.arange(table.n_states)})


def planned_policy(planned, policy, seed):
    """Plans at random, acts as the policy does."""
    weight = random_policy(planned, seed)
    acts = planned.labels["field"] == ACTION
    weight[acts] = 0
    weight[acts, : policy.shape[1]] = policy[planned.labels["number"][acts]]
    return weight


@settings(max_examples=50, deadline=None)
@given(staged(max_horizon=2), st.integers(1, 2), st.integers(0, 99))
def test_plans_change_nothing(table, n, seed):
    policy = random_policy(table, seed)
    planned = plan(table, n)
    assert planned.horizon == FIELDS * table.horizon
    found, expected = defaultdict(float), defaultdict(float)
    for walk in walks(planned, by_state(planned_policy(planned, policy, seed))):
        acts = walk.steps[ACTION::FIELDS]
        assert len(walk.steps) == FIELDS * len(acts)
        assert not any(step.reward for step in (*walk.steps[SWITCH::FIELDS], *walk.steps[SUBGOAL::FIELDS]))
        key = tuple((int(planned.labels["number"][s.state]), s.action, round(s.reward, 9)) for s in acts)
        found[key] += walk.chance
    for walk in walks(table, by_state(policy)):
        expected[tuple((s.state, s.action, round(s.reward, 9)) for s in walk.steps)] += walk.chance
    assert found.keys() == expected.keys()
    for key, p in expected.items():
        assert found[key] == pytest.approx(p, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(staged(max_states=4), st.integers(1, 2))
def test_every_play_keeps_its_own_word(table, n):
    planned = plan(table, n)
    name, label = planned.action_names, planned.labels
    segment, rng = label["segment"], np.random.default_rng(0)
    for _ in range(5):
        state, now, before, over = int(rng.choice(planned.start_state)), 0, None, False
        for t in range(planned.horizon):
            assert label["field"][state] == label["turn"][state] == t % FIELDS
            if t % FIELDS == SWITCH:
                assert label["subgoal"][state] == now
                assert label["boundary"][state] == (before is None or before != segment[state])
                before = segment[state]
            else:
                assert label["boundary"][state] == 0
            offered = {name[a] for a in planned.P[state]}
            action = int(rng.choice(list(planned.P[state])))
            if t % FIELDS == SWITCH:
                assert offered == ({"keep", "switch"} if now else {"switch"})
                wanted = {f"subgoal {now}"} if name[action] == "keep" else {f"subgoal {i + 1}" for i in range(n)}
            elif t % FIELDS == SUBGOAL:
                assert offered == wanted
                now = int(name[action].split()[1])
            else:
                assert offered == {table.action_names[a] for a in table.P[int(label["number"][state])]}
                assert label["subgoal"][state] == now
            chances = planned.P[state][action]
            _, state, _, over = chances[rng.choice(len(chances), p=[p for p, *_ in chances])]
            if over:
                break


@pytest.mark.parametrize(
    ("name", "kwargs"), [("FrozenLake", {}), ("Taxi", {}), ("KeyRooms", {}), ("Pivots", {"fillers": 1})]
)
def test_values_are_those_of_the_table(name, kwargs):
    table = registry.make_table(name, **kwargs).replace(horizon=12)
    table = table.replace(labels={**table.labels, "number": np.arange(table.n_states)})
    planned = plan(table, 3)
    check_table(planned)
    policy = random_policy(table, 0)
    lifted = planned_policy(planned, policy, 1)
    before, after = oracle.evaluate(table, policy), oracle.evaluate(planned, lifted)
    assert pytest.approx(before.J, abs=1e-9) == after.J
    asks = (planned.labels["field"] == SWITCH) & (planned.n_admissible > 0)
    numbers = planned.labels["number"]
    np.testing.assert_allclose(after.V[::FIELDS][:, asks], before.V[:, numbers[asks]], atol=1e-9)
    for t in range(0, planned.horizon, FIELDS):  # no credit for words without effect
        for field in (SWITCH, SUBGOAL):
            edges = np.flatnonzero(planned.labels["field"][planned.edge_state] == field)
            credit = after.advantage_at(np.array(t + field), planned.edge_state[edges], edges)
            np.testing.assert_allclose(credit, 0, atol=1e-9)
    best, slow = oracle.optimal(table), oracle.optimal(planned)
    assert pytest.approx(best.J, abs=1e-9) == slow.J
    assert slow.length == pytest.approx(FIELDS * best.length)
    assert oracle.spread(planned, lifted).luck == pytest.approx(oracle.spread(table, policy).luck)


def test_a_policy_may_listen_to_its_plan():
    table = registry.make_table("Pivots", length=1, actions=2, fillers=0)
    planned = plan(table, 2)
    policy = oracle.uniform(planned)
    acts = np.flatnonzero(planned.labels["field"] == ACTION)
    policy[acts] = 0
    policy[acts, planned.labels["subgoal"][acts] - 1] = 1  # subgoal 1 means A, subgoal 2 means B
    values = oracle.evaluate(planned, policy)
    start = int(planned.start_state[0])
    chosen = planned.P[start][planned.action_names.index("switch")][0][1]
    q = values.q(1, chosen)[-2:]
    assert sorted(q) == [0, 1]
    assert values.J == 0.5


def test_switches_meet_boundaries_by_hand():
    # Four steps, of which two belong to either pivot: three may switch, and one of those is a boundary.
    planned = plan(registry.make_table("Pivots", length=2, fillers=1), 2)
    found = switching(planned, oracle.uniform(planned))
    assert (found.switches, found.boundaries) == pytest.approx((1 / 2, 1 / 3))
    assert (found.precision, found.recall) == pytest.approx((1 / 3, 1 / 2))
    policy = oracle.uniform(planned)
    keep, switch = planned.action_names.index("keep"), planned.action_names.index("switch")
    asks = np.flatnonzero(
        (planned.labels["field"] == SWITCH) & (planned.labels["subgoal"] > 0) & (planned.n_admissible > 0)
    )
    policy[asks] = 0
    policy[asks, np.where(planned.labels["boundary"][asks], switch, keep)] = 1
    found = switching(planned, policy)
    assert (found.precision, found.recall) == pytest.approx((1, 1))
    assert found.switches == pytest.approx(1 / 3)
    policy[asks] = np.eye(planned.n_actions)[keep]
    assert np.isnan(switching(planned, policy).precision)
    assert switching(planned, policy).recall == 0


def test_the_boundary_bit_is_hidden_and_the_symbol_is_not():
    table = toy_text("FrozenLake", 6).replace(labels={"segment": np.arange(16) // 4})
    planned = plan(table, 2)
    look, label = planned.emission.base, planned.labels
    number = np.stack([planned.view("text").rows(np.arange(planned.n_states))])
    assert np.unique(number).size == planned.emission.n_base < planned.n_states
    twins = np.flatnonzero(np.bincount(look)[look] > 1)
    assert set(label["field"][twins]) == {SWITCH}
    assert set(label["boundary"][twins]) == {0, 1}
    texts = planned.view("text").rows(np.arange(planned.n_states))
    assert sorted({text.split("\n")[-1] for text in texts}) == [
        "[keep subgoal 1] which subgoal?",
        "[keep subgoal 2] which subgoal?",
        "[no subgoal] keep or switch?",
        "[subgoal 1] keep or switch?",
        "[subgoal 1] which action?",
        "[subgoal 2] keep or switch?",
        "[subgoal 2] which action?",
        "[switch] which subgoal?",
    ]


def test_states_names_and_labels():
    table = registry.make_table("KeyRooms")
    planned = plan(table, 4)
    assert planned.action_names[table.n_actions :] == ("keep", "switch", *(f"subgoal {i}" for i in range(1, 5)))
    assert symbols(planned) == 4
    assert symbols(table) == 0
    assert planned.n_states <= (3 * 4 + 2) * table.n_states
    pairs = np.stack([planned.labels["anchor"], planned.labels["field"], planned.labels["subgoal"]])
    assert np.unique(pairs, axis=1).shape[1] == np.unique(planned.labels["anchor"]).size
    unlabelled = plan(make_random_table(1), 2)
    assert set(unlabelled.labels["boundary"][unlabelled.labels["subgoal"] > 0]) == {0}


def test_plans_compose_in_their_place():
    table = registry.make_table("Pivots", length=2, fillers=1)
    wanted = {"slip": 0.1, "delay": 1, "unit": 2, "plan": 2, "spell": 1, "spell_pad": 1, "cue": 0.5, "paraphrases": 2}
    turned = dials.apply(table, **wanted)
    assert dials.apply(table, **dict(reversed(wanted.items()))).fingerprint == turned.fingerprint
    check_table(turned)
    report = dials.measured(turned)["measured"]
    assert report["symbols"] == 2
    plain = dials.apply(table, slip=0.1)
    assert report["J"] == pytest.approx(oracle.evaluate(plain, oracle.uniform(plain)).J)
    assert turned.horizon == table.horizon * 2 * 3 * 2
    starts = turned.labels["turn"] == 0
    assert set(turned.labels["field"][starts]) == {SWITCH}
    assert set(turned.labels["token"][starts]) == {0}


def test_reward_factors_stretch():
    table = toy_text("FrozenLake", 5).replace(reward_scale=np.arange(1, 6.0), reward_shift=-np.arange(1, 6.0))
    planned = plan(table, 2)
    assert planned.reward_scale.tolist() == np.repeat(np.arange(1, 6.0), 3).tolist()
    assert planned.reward_shift[ACTION::FIELDS].tolist() == [-1, -2, -3, -4, -5]
    before, after = (oracle.expected_return(t, oracle.uniform(t)) for t in (table, planned))
    assert after == pytest.approx(before)


def test_what_is_owed_is_paid_in_its_step():
    table = make_random_table(4, n_states=8, n_actions=3, horizon=5)
    late = dials.apply(table, density=0.5)
    planned = dials.apply(table, density=0.5, plan=2)
    before, after = (oracle.evaluate(t, oracle.uniform(t)).J for t in (late, planned))
    assert before != 0
    assert after == pytest.approx(before)


@pytest.mark.parametrize("observation", ["state", "text"])
def test_gymnasium_makes_planned_environments(observation):
    env = gymnasium.make("credit/KeyRooms-v0", plan=3, observation=observation)
    check_env(env.unwrapped, skip_render_check=True)
    spelled = gymnasium.make("credit/FrozenLake-v0", plan=2, spell=True, observation="tokens")
    check_env(spelled.unwrapped, skip_render_check=True)


def test_none_leaves_the_table_as_it_is():
    table = toy_text("FrozenLake", 5)
    assert plan(table, 0) is table


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"plan": -1}, rf"plan=-1: expected an integer in \[0, {MAX_SUBGOALS}\]"),
        ({"plan": 65}, r"plan=65: expected an integer in \[0, 64\]"),
        ({"plan": 1.5}, r"plan=1\.5: expected an integer"),
        ({"plan": 9, "max_states": 100}, r"plan=9: \d+ states, more than max_states=100"),
    ],
)
def test_bad_settings_are_refused(setting, message):
    with pytest.raises(CreditEnvsError, match=message):
        dials.apply(toy_text("FrozenLake", 5), **setting)


def test_misuse_is_refused():
    table = toy_text("FrozenLake", 5)
    with pytest.raises(CreditEnvsError, match="plan: FrozenLake has a label 'field' already"):
        plan(plan(table, 2), 2)
    with pytest.raises(CreditEnvsError, match="table: expected one with a plan"):
        switching(table, oracle.uniform(table))
