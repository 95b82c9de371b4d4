"""KeyToDoor: the table against a slow game played on the map, and the credit of the key against what one can derive."""

import re
from functools import lru_cache

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transcripts import check_golden, transcript

import credit_envs  # noqa: F401 (registers the ids)
from credit_envs import oracle
from credit_envs.errors import CreditEnvsError
from credit_envs.families import FAMILIES
from credit_envs.families.key_to_door_layout import make_layout
from credit_envs.table.observer import Observer
from credit_envs.testing import check_table

BUILD = FAMILIES["KeyToDoor"].build
MOVES = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}
SMALL = st.fixed_dictionaries(
    {
        "room_size": st.integers(2, 4),
        "orchard": st.integers(0, 7),
        "apples": st.floats(0, 1),
        "apple_mean": st.sampled_from([0.0, 0.1, 2.0]),
        "luck": st.sampled_from([0.0, 1.0, 3.0]),
        "door_reward": st.sampled_from([0.0, 1.0, 5.0]),
    }
)
SEEDS = st.integers(0, 2**53)


class Game:
    """The rules of KeyToDoor, played on the characters of the start's map; knows nothing of the table's numbering."""

    def __init__(self, table):
        rows = table.view("ansi").rows(table.start_state)[0].splitlines()[:-1]
        self.spot = {(x, y): c for y, row in enumerate(rows) for x, c in enumerate(row)}
        where = {c: at for at, c in self.spot.items()}
        self.wind = 1 if ">" in where else -1
        self.gate = where[">" if self.wind == 1 else "<"]
        self.key, self.start, self.door = where["k"], where["@"], where["D"]
        self.knobs = table.knobs

    def blows(self, at):
        return at == self.gate or self.spot[at] in "~o"

    def step(self, state, action):
        """state = (cell, has the key) → (state, {reward: probability}, done)."""
        (x, y), has = state
        dx, dy = MOVES[action]
        if self.blows((x, y)):
            row = y + dy if 1 <= y + dy <= self.knobs["room_size"] else y
            to = (x + self.wind, row)
        else:
            to = (x + dx, y + dy)
            back = self.blows(to) and (to[0] - x) * self.wind < 0
            to = (x, y) if self.spot[to] == "#" or back else to
        has = has or to == self.key
        if to == self.door:
            return (to, has), {self.knobs["door_reward"] * has: 1.0}, True
        if self.spot[to] != "o" or not self.knobs["apple_mean"]:
            return (to, has), {0.0: 1.0}, False
        chance = 1 / (1 + self.knobs["luck"] ** 2)
        return (
            (to, has),
            {self.knobs["apple_mean"] / chance: chance, **({0.0: 1 - chance} if chance < 1 else {})},
            False,
        )

    @lru_cache  # noqa: B019 (a game lives as long as its test)
    def most_apples(self, at):
        """Apples on the richest way through the orchard."""
        x, y = at
        to = [(x + self.wind, y + dy) for dy in (-1, 0, 1)]
        return max(((self.spot[n] == "o") + self.most_apples(n) for n in to if self.blows(n)), default=0)


@settings(max_examples=40, deadline=None)
@given(knobs=SMALL, permute=st.booleans(), visible=st.booleans(), seed=SEEDS)
def test_table_is_the_game(knobs, permute, visible, seed):
    table = BUILD(seed, permute=permute, key_visible=visible, **knobs)
    names = np.array(list(MOVES))
    if permute:
        assert table.action_names == tuple(f"action {a}" for a in range(4))
        names = names[make_layout(knobs["room_size"], knobs["orchard"], 0, seed, True).meaning]
    game = Game(table)
    columns = [table.labels[name].tolist() for name in ("x", "y", "key")]
    number = {((x, y), bool(key)): s for s, (x, y, key) in enumerate(zip(*columns, strict=True))}
    assert len(number) == table.n_states
    start = (game.start, False)
    assert number[start] == table.start_state[0]
    found, over, frontier = {start}, set(), [start]
    while frontier:
        state = frontier.pop()
        outcomes = table.P[number[state]]
        assert sorted(outcomes) == [0, 1, 2, 3]
        for a, name in enumerate(names):
            after, pays, done = game.step(state, name)
            assert {(n, d) for _, n, _, d in outcomes[a]} == {(number[after], done)}
            got = {r: p for p, _, r, _ in outcomes[a]}
            assert sorted(got) == pytest.approx(sorted(pays), abs=1e-12)
            assert [got[r] for r in sorted(got)] == pytest.approx([pays[r] for r in sorted(pays)], abs=1e-12)
            if not done and after not in found:
                frontier.append(after)
            (over if done else found).add(after)
    assert len(found) + len(over) == table.n_states


@settings(max_examples=40, deadline=None)
@given(knobs=SMALL, seed=SEEDS)
def test_optimal_play_takes_the_key_and_the_richest_way(knobs, seed):
    """Solvable within the shortest horizon that can be asked for; J* = door + mean · most apples, luck = eaten · σ²."""
    table = BUILD(seed, horizon_factor=1, **{**knobs, "door_reward": 50.0})
    game = Game(table)
    eaten = game.most_apples(game.gate)
    assert abs(oracle.optimal(table).J - (50 + knobs["apple_mean"] * eaten)) < 1e-9

    table = BUILD(seed, horizon_factor=3, **{**knobs, "door_reward": 50.0})
    edge = oracle.optimal(table).greedy(0)
    policy = np.zeros((table.n_states, 4))
    policy[table.n_admissible > 0, table.edge_action[edge[edge >= 0]]] = 1
    parts = oracle.spread(table, policy)
    assert parts.skill == pytest.approx(0, abs=1e-9)
    assert parts.luck == pytest.approx(eaten * (knobs["apple_mean"] * knobs["luck"]) ** 2, rel=1e-6, abs=1e-9)


def reach(table, policy):
    """P(the door is reached before the horizon) from every state at every step, by playing backward on lists."""
    chance = np.zeros((table.horizon + 1, table.n_states))
    for t in reversed(range(table.horizon)):
        for s, actions in table.P.items():
            for a, outcomes in actions.items():
                for p, n, _, done in outcomes:
                    chance[t, s] += policy[s, a] * p * (1.0 if done else chance[t + 1, n])
    return chance


@settings(max_examples=15, deadline=None)
@given(knobs=SMALL, seed=SEEDS, policy_seed=st.integers(0, 1000))
def test_the_key_is_worth_the_door_times_the_chance_to_get_there(knobs, seed, policy_seed):
    """For any policy that does not see the key: V(with) − V(without) = door_reward · P(the door is reached in time)."""
    table = BUILD(seed, key_visible=False, horizon_factor=2, **knobs)
    looks = np.random.default_rng(policy_seed).dirichlet(np.ones(4), size=table.emission.n_base)
    values, chance = oracle.evaluate(table, looks), reach(table, looks[table.emission.base])
    labels = table.labels
    past = np.flatnonzero((labels["segment"] >= 2) & (table.n_admissible > 0))
    number = {(labels["x"][s], labels["y"][s], labels["key"][s]): s for s in past}
    pairs = np.array([(s, number[x, y, 1]) for (x, y, key), s in number.items() if not key])
    gap = values.V[:, pairs[:, 1]] - values.V[:, pairs[:, 0]]
    assert np.allclose(gap, knobs["door_reward"] * chance[:, pairs[:, 1]], atol=1e-9)


def test_with_much_time_the_key_is_worth_the_door():
    """A uniform walk in a closed room finds the door with probability one, so the key's credit is door_reward itself."""
    table = BUILD(1, room_size=2, orchard=3, door_reward=5.0, horizon_factor=200)
    values = oracle.evaluate(table, oracle.uniform(table))
    gate = np.flatnonzero((table.labels["segment"] == 2) & (table.labels["x"] == Game(table).gate[0]))
    without, with_key = gate[np.argsort(table.labels["key"][gate])]
    assert values.V[0, with_key] - values.V[0, without] == pytest.approx(5, abs=1e-9)


def test_hidden_key_is_all_that_looks_hide():
    seen, hidden = BUILD(4), BUILD(4, key_visible=False)
    assert seen.emission.is_identity
    between = (seen.labels["segment"] >= 2) & (seen.n_admissible > 0)
    assert hidden.n_states - hidden.emission.n_base == between.sum() / 2
    for view in ("text", "ansi", "grid", "rgb"):
        for table in (seen, hidden):
            rows = table.view(view).rows(np.arange(table.n_states))
            words = [row if isinstance(row, str) else row.tobytes() for row in rows]
            pairs = set(zip(words, table.emission.base.tolist(), strict=True))
            # Text names near apples only; every view tells exactly the looks apart.
            assert len(pairs) == len(set(words)) == table.emission.n_base, view
            assert Observer(table, view).rows(np.arange(table.n_obs))[0] is not None


def test_apples_have_the_mean_and_the_deviation_asked_for():
    table = BUILD(0, apple_mean=0.3, luck=2.0)
    paying = np.flatnonzero(np.diff(table.outcome_start) == 2)
    for e in paying[:5]:
        span = slice(table.outcome_start[e], table.outcome_start[e + 1])
        p, r = table.probability[span], table.reward[span]
        assert p @ r == pytest.approx(0.3)
        assert p @ r**2 - (p @ r) ** 2 == pytest.approx((2 * 0.3) ** 2)
    assert paying.size > 5
    assert BUILD(0, luck=0.0).is_deterministic
    table = BUILD(0, orchard=20, apples=0.25)
    assert "".join(table.view("ansi").rows(table.start_state)[0].splitlines()[:-1]).count("o") == 15


def test_luck_dial_moves_only_luck():
    """The mean is kept, so J of any policy is; the share of the variance that is luck grows."""
    tables = [BUILD(2, luck=luck) for luck in (0.0, 1.0, 3.0, 10.0)]
    assert np.ptp([oracle.evaluate(t, oracle.uniform(t)).J for t in tables]) < 1e-12
    parts = [oracle.spread(t, oracle.uniform(t)) for t in tables]
    assert np.ptp([p.skill for p in parts]) < 1e-9
    assert parts[0].luck == pytest.approx(0, abs=1e-12)
    assert parts[2].luck / parts[1].luck == pytest.approx(9)
    assert parts[3].luck / parts[1].luck == pytest.approx(100)


def test_layouts_differ_between_seeds():
    tables = [BUILD(seed, permute=True) for seed in range(200)]
    assert len({table.fingerprint for table in tables}) == 200
    # Changing this number means a new version of the environment.
    assert BUILD(7).fingerprint == "177d6c07ed1c32106dc69f4be795e81b084379c5227ed7593d93df383e38bafd"
    texts = {re.search(r"The (\w+) key", table.view("text").rows(table.start_state)[0])[1] for table in tables}
    assert texts == {"red", "blue", "green", "purple", "orange", "teal"}


def test_contract_and_registration():
    check_table(BUILD(5, key_visible=False))
    env = gymnasium.make("credit/KeyToDoor-v0", orchard=5)
    assert env.observation_space.shape == (5, 14, 3)
    obs, _ = env.reset(seed=1)
    assert (obs[..., 2] == 1).sum() == 1


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"room_size": 1}, "room_size=1: expected an integer in [2, 16]"),
        ({"orchard": 201}, "orchard=201: expected an integer in [0, 200]"),
        ({"apples": 1.5}, "apples=1.5: expected a number in [0, 1]"),
        ({"luck": -1}, "luck=-1: expected a number in [0, 30]"),
        ({"key_visible": "no"}, "key_visible='no': expected one of True, False"),
        ({"horizon_factor": 0.5}, "horizon_factor=0.5: expected a number in [1, 1000]"),
    ],
)
def test_wrong_knobs_are_named(knobs, message):
    with pytest.raises(CreditEnvsError, match=re.escape(message)):
        BUILD(0, **knobs)


def test_golden_transcript():
    check_golden("key_to_door", transcript(BUILD(7), seed=4, drawn=(0, 8)))
