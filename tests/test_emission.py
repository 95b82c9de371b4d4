"""Emissions: what they draw, how codes are packed, what they hide, and how policies look through them."""

import numpy as np
import pytest
import torch
from brute_force import by_obs, codes, cue_layer, episodes, executed, random_rows, rich_table
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from strategies import make_random_table, random_table

from credit_envs.errors import TableError
from credit_envs.oracle.policy import Policy, as_policy, effective, named_actions, step_codes
from credit_envs.sampling import DeviceTable
from credit_envs.table import Emission, Layer
from credit_envs.table.draws import EPISODE, Purpose, mix_words, streams

SKIN = Layer("skin", True, [0.2, 0.5, 0.3])
WORDS = Layer("paraphrase", False, [0.25, 0.0, 0.75])
CUE = cue_layer(3)
EMISSION = Emission([0, 1, 1, 2], (SKIN, WORDS, CUE))


def sampled(emission, n_admissible, n, seed=0):
    keys = streams(seed, Purpose.EMISSION, 0, np.arange(n))
    return emission.sample(np.full(n, n_admissible), mix_words(keys, 4), mix_words(keys, EPISODE))


def test_sizes():
    assert (EMISSION.n_base, EMISSION.n_codes, EMISSION.n_obs) == (3, 27, 81)
    assert not EMISSION.is_identity
    assert Emission([0, 1]).is_identity
    assert Emission([0, 1]).n_codes == 1
    assert EMISSION.episode_layers.tolist() == [True, False, False]


@pytest.mark.parametrize("n_admissible", [1, 2, 3])
def test_frequencies(n_admissible):
    counts = np.bincount(sampled(EMISSION, n_admissible, 30_000), minlength=27)
    expected = np.zeros(27)
    for i, j, k in np.ndindex(3, 3, 3):
        chance = SKIN.probability[0, i] * WORDS.probability[0, j] * CUE.probability[n_admissible, k]
        expected[(i * 3 + j) * 3 + k] = chance
    assert np.all(counts[expected == 0] == 0)
    assert stats.chisquare(counts[expected > 0], 30_000 * expected[expected > 0]).pvalue > 1e-4


def test_an_episode_keeps_its_skin_and_redraws_the_rest():
    keys = streams(3, Purpose.EMISSION, 0, np.arange(200))
    episode = mix_words(keys, EPISODE)
    drawn = np.stack([EMISSION.sample(np.full(200, 3), mix_words(keys, t), episode) for t in range(30)])
    digits = EMISSION.digits[drawn]
    assert np.all(digits[:, :, 0] == digits[0, :, 0])
    assert len(np.unique(digits[0, :, 0])) == 3
    for layer in (1, 2):
        assert np.all(np.ptp(digits[:, :, layer], axis=0) > 0)


@given(rich_table())
def test_digits_and_codes_are_inverse(table):
    emission = table.emission
    assert emission.pack(emission.digits).tolist() == list(range(emission.n_codes))
    assert emission.digits.shape == (emission.n_codes, len(emission.layers))


@given(rich_table())
def test_enumerated_codes_are_the_brute_force_ones(table):
    """Per-episode and per-step parts add up to every code with its probability."""
    emission = table.emission
    first, chance = emission.episode_codes()
    assert chance.sum() == pytest.approx(1)
    for state in range(table.n_states):
        expected = np.zeros(emission.n_codes)
        for p, digits in episodes(table):
            for q, code in codes(table, state, digits):
                expected[code] += p * q
        parts, weight = emission.step_codes(int(table.n_admissible[state]))
        got = np.zeros(emission.n_codes)
        np.add.at(got, (first[:, None] + parts).ravel(), np.outer(chance, weight).ravel())
        assert np.allclose(got, expected, atol=1e-15)


def test_what_is_hidden_and_what_anchors_see():
    blind = Layer("cue", False, [0.25] * 4, shift=[0, 1, 0, 1], blind=[0, 1, 2, 2], shows_in_anchor=False)
    emission = Emission([0], (Layer("skin", True, [0.5, 0.5]), blind))
    assert emission.blind.tolist() == [0, 1, 2, 2, 4, 5, 6, 6]
    assert emission.anchor_code.tolist() == [0, 0, 0, 0, 4, 4, 4, 4]
    assert emission.shift.tolist() == [0, 1, 0, 1, 0, 1, 0, 1]
    assert emission.renames
    assert not Emission([0], (SKIN,)).renames


def test_shifts_of_layers_add_up():
    two = Emission([0], (Layer("a", False, [0.5, 0.5], shift=[0, 1]), Layer("b", False, [0.5, 0.5], shift=[0, 2])))
    assert two.shift.tolist() == [0, 2, 1, 3]


@given(random_table(), st.integers(0, 50), st.integers(0, 50))
def test_names_and_executed_actions_are_inverse(table, first, second):
    layers = (cue_layer(table.n_actions, "one"), Layer("two", False, [0.5, 0.5], shift=[0, second]))
    table = table.replace(emission=Emission(table.emission.base, layers))
    edges = np.arange(table.n_edges)
    for code in range(table.emission.n_codes):
        names = named_actions(table, edges, code)
        assert table.executed_edges(table.edge_state, names, np.full(edges.size, code)).tolist() == edges.tolist()
        for edge, name in zip(edges.tolist(), names.tolist(), strict=True):
            state = int(table.edge_state[edge])
            assert executed(table, state, name, code) == table.edge_action[edge]


@given(rich_table())
def test_inadmissible_names_stay_inadmissible(table):
    state, action = np.nonzero(~table.mask)
    for code in range(table.emission.n_codes):
        assert np.all(table.executed_edges(state, action, np.full(state.size, code)) == -1)


@settings(max_examples=60, deadline=None)
@given(rich_table(), st.integers(0, 1000))
def test_a_policy_on_observations_is_averaged_over_codes(table, seed):
    choose = Policy("obs", random_rows(seed, table.n_obs, table.n_actions))
    for _, digits in episodes(table):
        start = int(table.emission.pack(np.maximum(np.array(digits, dtype=np.int64), 0)))
        got = effective(table, choose, start)
        edge, stay = np.zeros(table.n_edges), np.zeros(table.n_states)
        for state in range(table.n_states):
            for p, code in codes(table, state, digits):
                row = by_obs(table, choose.probability)(state, code)
                for name, chance in enumerate(row):
                    action = executed(table, state, name, code)
                    if action is None:
                        stay[state] += p * chance
                    else:
                        edge[table.edge_of[state, action]] += p * chance
        alive = table.n_admissible > 0
        assert np.allclose(got.edge, edge, atol=1e-12)
        assert np.allclose(got.stay[alive], stay[alive], atol=1e-12)


@given(rich_table())
def test_step_codes_cover_every_state_once(table):
    total = np.zeros(table.n_states)
    for states, _, weight in step_codes(table):
        total[states] += weight
    assert np.allclose(total, 1)


@settings(deadline=None, max_examples=30)
@given(rich_table(), st.integers(0, 2**40))
def test_torch_draws_the_same_codes(table, seed):
    device = DeviceTable(table)
    state = np.arange(200) % table.n_states
    keys = streams(seed, Purpose.EMISSION, 0, np.arange(200))
    step, episode = mix_words(keys, 2), mix_words(keys, EPISODE)
    expected = table.emission.sample(table.n_admissible[state], step, episode)
    tensors = [torch.from_numpy(k.astype(np.int64)) for k in (step, episode)]
    assert device.emit(torch.from_numpy(state), *tensors).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Layer("skin", True, [0.5, 0.4]), "layer 'skin': probability rows must be non-negative and sum to 1"),
        (lambda: Layer("skin", True, [1.5, -0.5]), "layer 'skin': probability"),
        (lambda: Layer("skin", True, [np.nan, 1.0]), "layer 'skin': probability"),
        (
            lambda: Layer("cue", False, [0.5, 0.5], shift=[0, 1, 2]),
            r"layer 'cue': shift has shape \(3,\), expected \(2,\)",
        ),
        (lambda: Layer("cue", False, [0.5, 0.5], blind=[0]), r"layer 'cue': blind has shape \(1,\), expected \(2,\)"),
        (lambda: Layer("cue", False, [0.5, 0.5], blind=[0, 2]), r"layer 'cue': blind must name digits in \[0, 1\]"),
        (lambda: Layer("cue", False, [0.5, 0.5], "admisible"), "layer 'cue': state_class='admisible'"),
        (lambda: Emission([]), "emission.base: expected a non-empty"),
        (lambda: Emission([0, -1]), "emission.base: .*non-negative"),
        (lambda: Emission([0, 1, 3]), "emission.base: class 2 is missing"),
        (lambda: EMISSION.with_layer(SKIN), "the table already has a 'skin' layer"),
    ],
)
def test_damaged_emissions_are_refused(make, message):
    with pytest.raises(TableError, match=message):
        make()


def test_adding_a_layer_leaves_the_old_emission_alone():
    more = EMISSION.with_layer(Layer("hat", True, [0.5, 0.5]))
    assert len(more.layers) == 4
    assert len(EMISSION.layers) == 3
    assert np.array_equal(more.base, EMISSION.base)


def test_an_array_is_read_by_its_number_of_rows():
    table = rich_example()
    assert as_policy(table, np.full((table.n_obs, 3), 1 / 3)).kind == "obs"
    assert as_policy(table, np.full((3, 3), 1 / 3)).kind == "look"
    assert as_policy(table, np.full((4, 3), 1 / 3)).kind == "state"
    assert as_policy(table, lambda obs: np.full((len(obs), 3), 1 / 3)).kind == "obs"


def rich_example():
    tables = (make_random_table(seed, n_states=4) for seed in range(100))
    return next(table for table in tables if table.n_states == 4).replace(emission=EMISSION)
