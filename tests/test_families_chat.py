"""Chat: values derived by hand, utilities against brute force, preferences against Bradley and Terry's model."""

import itertools
import re

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transcripts import check_golden, transcript

import credit_envs  # noqa: F401 (registers the ids)
from credit_envs import dials, oracle
from credit_envs.errors import CreditEnvsError, TableError
from credit_envs.families import FAMILIES
from credit_envs.families.chat import preference_pairs, reply_distribution
from credit_envs.families.chat_words import BY_LENGTH, SLOTS
from credit_envs.registry import make_table
from credit_envs.testing import check_table, check_vector_env

BUILD = FAMILIES["Chat"].build
KNOBS = {
    "length": st.integers(2, 4),
    "choices": st.integers(2, 4),
    "turns": st.integers(1, 2),
    "interaction": st.sampled_from([0.0, 1.0, 10.0]),
    "noise": st.sampled_from([0.0, 0.2, 1.0]),
}
SEEDS = st.integers(0, 2**53)


def texts(table):
    return table.view("text").rows(np.arange(table.n_states))


def cube(table):
    """Utility of every first reply as an array with one axis per slot, phrases in the order of their actions."""
    _, utility, _ = reply_distribution(table, oracle.uniform(table))
    return utility.reshape((table.knobs["choices"],) * table.knobs["length"])


@settings(max_examples=40, deadline=None)
@given(knobs=st.fixed_dictionaries(KNOBS), seed=SEEDS)
def test_values_by_hand(knobs, seed):
    """The best reply is worth 1; uniform play the mean, which is 1/2 where phrases don't interact."""
    table, noise = BUILD(seed, **knobs), knobs["noise"]
    best, even = oracle.optimal(table).J, oracle.evaluate(table, oracle.uniform(table)).J
    utility = cube(table)
    assert (utility.min(), utility.max()) == (0, 1)
    pleased = noise / 2 + (1 - noise)
    assert best == pytest.approx(1 if knobs["turns"] == 1 else 1 / 2 + (pleased + (1 - pleased) / 2) / 2)
    if knobs["interaction"] == 0:
        assert utility.mean() == pytest.approx(1 / 2)
        assert even == pytest.approx(1 / 2 if knobs["turns"] == 1 else 7 / 16)
    elif knobs["turns"] == 1:
        assert even == pytest.approx(utility.mean())


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, length=st.integers(2, 4), choices=st.integers(2, 4))
def test_without_interaction_the_advantage_of_a_phrase_is_its_liking(seed, length, choices):
    table = BUILD(seed, length=length, choices=choices, interaction=0)
    even = oracle.evaluate(table, oracle.uniform(table))
    step, edge = table.labels["turn"][table.edge_state], np.arange(table.n_edges)
    advantage = even.advantage_at(step, table.edge_state, edge)
    by_phrase = [advantage[table.edge_action == a] for a in range(table.n_actions)]
    assert all(np.ptp(values) < 1e-12 for values in by_phrase)  # the same in every reply
    spans = []
    for slot in range(length):
        here = np.unique(table.edge_action[step == slot])
        liking = sorted(by_phrase[a][0] for a in here)
        spans.append(liking[-1] - liking[0])
        assert liking == pytest.approx(spans[-1] * (np.arange(choices) / (choices - 1) - 1 / 2))
    assert sum(spans) == pytest.approx(1)
    ratios = {tuple(round(w / sum(ws), 9) for w in ws) for ws in itertools.product((1, 2, 3), repeat=length)}
    assert tuple(round(span, 9) for span in spans) in ratios


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, length=st.integers(2, 4), choices=st.integers(2, 4), strength=st.sampled_from([0.5, 1.0, 4.0]))
def test_interaction_is_between_neighbours_and_one_to_one(seed, length, choices, strength):
    """What two phrases are worth together, beyond what each is worth, is a permutation matrix, scaled."""
    utility = cube(BUILD(seed, length=length, choices=choices, interaction=strength))
    for i in range(length - 1):
        others = tuple(k for k in range(length) if k not in (i, i + 1))
        pair = utility.mean(axis=others)
        extra = pair - pair.mean(axis=0) - pair.mean(axis=1)[:, None] + pair.mean()
        high = extra > extra.max() - 1e-9
        assert high.sum(axis=0).tolist() == high.sum(axis=1).tolist() == [1] * choices
        assert np.ptp(extra[high]) < 1e-9
        assert np.ptp(extra[~high]) < 1e-9
    for i, j in itertools.combinations(range(length), 2):
        if j > i + 1:
            pair = utility.mean(axis=tuple(k for k in range(length) if k not in (i, j)))
            assert pair - pair.mean(axis=0) - pair.mean(axis=1)[:, None] + pair.mean() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0])
def test_the_user_reacts_to_the_reply(noise):
    table = BUILD(6, turns=2, noise=noise)
    replies, utility, _ = reply_distribution(table, oracle.uniform(table))
    even = oracle.evaluate(table, oracle.uniform(table))
    mood, starts = table.labels["mood"], (table.labels["turn"] == 0) & (table.labels["segment"] == 1)
    annoyed, pleased = (int(np.flatnonzero(starts & (mood == m))[0]) for m in (0, 1))
    assert "did not help" in texts(table)[annoyed]
    assert "Thanks" in texts(table)[pleased]
    for reply, liking in zip(replies[::7].tolist(), utility[::7].tolist(), strict=True):
        state = 0
        for t, action in enumerate(reply):
            q, outcomes = even.q(t, state)[action], table.P[state][action]
            state = outcomes[0][1]
        chance = {outcome[1]: outcome[0] for outcome in outcomes}
        happy = noise / 2 + (1 - noise) * liking
        assert chance.get(pleased, 0) == pytest.approx(happy)
        assert sum(chance.values()) == pytest.approx(1)
        assert q == pytest.approx(liking / 2 + happy * even.V[t + 1, pleased] + (1 - happy) * even.V[t + 1, annoyed])
    assert oracle.optimal(table).V[4, annoyed] == pytest.approx(1 / 4)
    assert oracle.optimal(table).V[4, pleased] == pytest.approx(1 / 2)


def test_one_turn_has_no_luck_and_no_revisits():
    table = BUILD(2)
    assert table.is_deterministic
    assert oracle.spread(table, oracle.uniform(table)).luck_share == pytest.approx(0, abs=1e-12)
    # Two rollouts of 4 slots with 3 phrases meet at the start, then with probability 1/3, 1/9, 1/27.
    rate = oracle.revisit_rate(table, oracle.uniform(table), group_size=2).value
    assert rate == pytest.approx((1 + 1 / 3 + 1 / 9 + 1 / 27) / 4)


def test_reply_distribution_follows_the_policy():
    table = BUILD(4, length=3, choices=3)
    policy = np.random.default_rng(0).random((table.n_states, table.n_actions)) * table.mask
    policy /= np.maximum(policy.sum(axis=1), 1e-300)[:, None]
    replies, utility, probability = reply_distribution(table, policy)
    assert len(np.unique(replies, axis=0)) == 27
    assert probability.sum() == pytest.approx(1)
    assert probability @ utility == pytest.approx(oracle.evaluate(table, policy).J)
    skinned = dials.apply(table, paraphrases=2)  # layers don't matter
    again = reply_distribution(skinned, oracle.uniform(skinned))
    assert again[2] == pytest.approx(1 / 27)


def test_preferences_follow_bradley_and_terry():
    table, n = BUILD(4), 20_000
    pairs = preference_pairs(table, oracle.uniform(table), n, seed=3, temperature=0.2)
    assert pairs.replies.shape == (n, 2, 4)
    assert pairs.probability == pytest.approx(1 / (1 + np.exp((pairs.utility[:, 1] - pairs.utility[:, 0]) / 0.2)))
    first = pairs.preferred == 0
    error = np.sqrt((pairs.probability * (1 - pairs.probability)).sum())
    assert abs(first.sum() - pairs.probability.sum()) < 4 * error
    sure = pairs.probability > 0.9
    assert first[sure].mean() > 0.9
    # Each reply is drawn with the policy's probability, 1/81.
    counts = np.unique(pairs.replies.reshape(-1, 4), axis=0, return_counts=True)[1]
    assert len(counts) == 81
    assert ((counts - 2 * n / 81) ** 2 / (2 * n / 81)).sum() < 80 + 5 * np.sqrt(160)
    again = preference_pairs(table, oracle.uniform(table), n, seed=3, temperature=0.2)
    assert np.array_equal(pairs.replies, again.replies)
    assert np.array_equal(pairs.preferred, again.preferred)
    other = preference_pairs(table, oracle.uniform(table), n, seed=4, temperature=0.2)
    assert not np.array_equal(pairs.replies, other.replies)


def test_preferences_become_certain_and_random_with_temperature():
    table = BUILD(4)
    cold = preference_pairs(table, oracle.uniform(table), 500, temperature=1e-9)
    better = np.argmax(cold.utility, axis=1)
    differ = np.abs(cold.utility[:, 0] - cold.utility[:, 1]) > 1e-6
    assert np.array_equal(cold.preferred[differ], better[differ])
    warm = preference_pairs(table, oracle.uniform(table), 500, temperature=1e6)
    assert warm.probability == pytest.approx(0.5, abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(knobs=st.fixed_dictionaries(KNOBS), seed=SEEDS)
def test_texts_tell_states_apart_and_name_the_actions(knobs, seed):
    table = BUILD(seed, **knobs)
    words = texts(table)
    assert len(set(words)) == table.n_states
    slots = BY_LENGTH[knobs["length"]]
    for state, shown in enumerate(words[:-1]):
        offered = {int(a): phrase for a, phrase in re.findall(r"^\[(\d+)\] (.+)$", shown, re.M)}
        assert offered == {a: table.action_names[a] for a in table.P[state]}
        slot = slots[table.labels["turn"][state]]
        assert f"Next, the {slot}:" in shown
        assert set(offered.values()) <= set(SLOTS[slot])


def test_instances_differ():
    tables = [BUILD(seed) for seed in range(20)]
    assert len({table.action_names for table in tables}) == 20
    assert len({texts(table)[0] for table in tables}) == 20
    best = {int(oracle.optimal(table).greedy(0)[0]) for table in tables}
    assert len(best) == 3  # in order of the actions' numbers, any of the first slot's edges may be best


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: BUILD(0, length=1), CreditEnvsError, "length=1: expected an integer in [2, 5]"),
        (lambda: BUILD(0, noise=1.5), CreditEnvsError, "noise=1.5: expected a number in [0, 1]"),
        (lambda: BUILD(0, interactions=1), CreditEnvsError, "unknown knob of Chat 'interactions'; did you mean"),
        (lambda: preference_pairs(BUILD(0), oracle.uniform(BUILD(0)), 0), CreditEnvsError, "n=0: expected an integer"),
        (
            lambda: preference_pairs(BUILD(0), oracle.uniform(BUILD(0)), 5, temperature=0),
            CreditEnvsError,
            "temperature=0: expected a number in (0, 1e+06]",
        ),
        (lambda: reply_distribution(make_table("Pivots"), np.ones((1, 1))), TableError, "as the family Chat builds it"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


def test_largest_table_stays_bounded():
    assert BUILD(0, length=5, choices=5, turns=2).n_states == 3 * 781 + 1


@pytest.mark.parametrize("turns", [1, 2])
def test_contract(turns):
    check_table(BUILD(1, turns=turns))


def test_faces_and_dials():
    check_vector_env("credit/Chat-v0", steps=40)
    env = gymnasium.make("credit/Chat-v0", instance=3, turns=2)
    shown, info = env.reset(seed=0)
    assert shown.startswith("User: Help, my ")
    assert info["action_mask"].sum() == 3
    spelled = make_table("credit/Chat-v0", instance=3, spell=True)
    assert pytest.approx(1) == oracle.optimal(spelled).J


def test_known_instance():
    assert BUILD(7, turns=2).fingerprint == "0ef4d6eacd5869bcbcedfe31dd781fe1df3c76397c46606b60de3f11177474b5"


def test_golden_transcript():
    check_golden("chat", transcript(BUILD(3)) + "\n" + transcript(BUILD(3, turns=2, length=3), seed=1))
