"""The table: what it refuses, what its fingerprint covers, how it is stored, joined and pruned, and its other forms."""

import json
import os
import subprocess
import sys
import textwrap
import zipfile

import gymnasium
import numpy as np
import pytest
from brute_force import cue_layer, rich_table
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import make_random_table, random_policy, random_table

from credit_envs.errors import CreditEnvsError, TableError
from credit_envs.oracle import Policy, evaluate, expected_return, uniform
from credit_envs.registry import make_table
from credit_envs.table import Emission, Layer, TabularMDP, View, from_outcomes, lift, load, prune, save, union
from credit_envs.table.storage import canonical_bytes
from credit_envs.table.view import text_space


def small(**changes):
    """Three states, two actions: 'go' moves on, 'bet' in state 0 wins with 1/4; state 2 is over."""
    fields = {
        "name": "small",
        "n_actions": 2,
        "edge_start": [0, 2, 3, 3],
        "edge_action": [0, 1, 0],
        "outcome_start": [0, 1, 3, 4],
        "successor": [1, 2, 0, 2],
        "probability": [1.0, 0.25, 0.75, 1.0],
        "reward": [0.0, 4.0, -0.5, 1.0],
        "terminal": [False, True, False, True],
        "start_state": [0, 1],
        "start_probability": [0.5, 0.5],
        "horizon": 3,
        "action_names": ("go", "bet"),
        "labels": {"turn": [0, 1, 0]},
    }
    return TabularMDP(**{**fields, **changes})


GOLDEN = "8af36dbb2bf1771209055638ae7aadc35e08977c23ee0efa40cc67afb5d91fb0"


def test_sizes_and_derived_arrays():
    table = small()
    assert (table.n_states, table.n_edges, table.n_outcomes, table.n_contexts, table.n_obs) == (3, 3, 4, 2, 3)
    assert table.n_admissible.tolist() == [2, 1, 0]
    assert table.edge_state.tolist() == [0, 0, 1]
    assert table.outcome_edge.tolist() == [0, 1, 1, 2]
    assert table.mask.tolist() == [[True, True], [True, False], [False, False]]
    assert table.edge_of.tolist() == [[0, 1], [2, -1], [-1, -1]]
    assert table.edge_reward.tolist() == [0.0, 0.625, 1.0]
    assert table.outcome_matrix.toarray().tolist() == [[0, 1, 0], [0.75, 0, 0], [0, 0, 0]]
    assert table.max_outcomes == 2
    assert not table.is_deterministic


# -- validation ----------------------------------------------------------------------------------------------------

DAMAGE = {
    "no state": (
        {"edge_start": [0], "edge_action": [], "outcome_start": [0]},
        "emission.base: expected a non-empty vector",
    ),
    "no action": ({"n_actions": 0, "action_names": ()}, "n_actions: expected at least 1, got 0"),
    "horizon 0": ({"horizon": 0}, "horizon: expected an integer ≥ 1, got 0"),
    "horizon 2.5": ({"horizon": 2.5}, "horizon: expected an integer ≥ 1, got 2.5"),
    "discount": ({"discount": 1.5}, r"discount: expected a number in \[0, 1\], got 1.5"),
    "discount nan": ({"discount": float("nan")}, "discount"),
    "names": ({"action_names": ("go",)}, "action_names: expected 2 names, got 1"),
    "edge bounds end": ({"edge_start": [0, 2, 3, 2]}, "edge_start: expected non-decreasing bounds from 0 to 3"),
    "edge bounds order": ({"edge_start": [0, 3, 2, 3]}, "edge_start"),
    "edge bounds first": ({"edge_start": [1, 2, 3, 3]}, "edge_start"),
    "empty edge": ({"outcome_start": [0, 1, 1, 4]}, "outcome_start: expected increasing bounds from 0 to 4"),
    "outcome bounds": ({"outcome_start": [0, 1, 3]}, "outcome_start"),
    "action too large": ({"edge_action": [0, 2, 0]}, r"edge_action\[1\] = 2: expected an integer in \[0, 1\]"),
    "action twice": ({"edge_action": [0, 0, 0]}, "edge_action: expected increasing and distinct inside a state"),
    "action order": ({"edge_action": [1, 0, 0]}, "edge_action: expected increasing"),
    "probability length": ({"probability": [1.0, 1.0]}, "probability: expected 4 entries, got 2"),
    "reward length": ({"reward": [1.0] * 5}, "reward: expected 4 entries, got 5"),
    "terminal length": ({"terminal": [True] * 3}, "terminal: expected 4 entries"),
    "successor": ({"successor": [1, 2, 0, 3]}, r"successor\[3\] = 3: expected an integer in \[0, 2\]"),
    "successor below": ({"successor": [-1, 2, 0, 2]}, r"successor\[0\] = -1"),
    "successor wraps": ({"successor": [2**32 + 1, 2, 0, 2]}, "successor"),
    "successor fraction": ({"successor": [1.5, 2, 0, 2]}, "successor"),
    "reward nan": ({"reward": [0.0, np.nan, 0, 0]}, "reward: expected finite numbers; wrong at 1 places, first at 1"),
    "reward inf": ({"reward": [0.0, 0, np.inf, 0]}, "reward: expected finite numbers"),
    "inadmissible nan": ({"inadmissible_reward": np.nan}, "inadmissible_reward"),
    "sum": ({"probability": [1.0, 0.25, 0.7, 1.0]}, "probability: edge 1 sums to 0.95, expected 1"),
    "negative": ({"probability": [1.0, -0.25, 1.25, 1.0]}, "probability: expected finite numbers ≥ 0"),
    "nan": ({"probability": [np.nan, 0.25, 0.75, 1.0]}, "probability: expected finite numbers ≥ 0"),
    "no start": ({"start_state": [], "start_probability": []}, "start_state: expected at least one start"),
    "start": ({"start_state": [0, 9]}, r"start_state\[1\] = 9: expected an integer in \[0, 2\]"),
    "start lengths": ({"start_probability": [1.0]}, "start_probability: expected 2 entries, got 1"),
    "start sum": ({"start_probability": [0.5, 0.4]}, "start_probability: distribution 0 sums to 0.9, expected 1"),
    "start over": ({"start_state": [0, 2]}, "edge_start: expected at least one admissible action where play goes on"),
    "scale": ({"reward_scale": [1.0]}, "reward_scale: expected 3 entries, got 1"),
    "scale nan": ({"reward_scale": [1.0, np.nan, 1.0]}, "reward_scale: expected finite numbers"),
    "shift": ({"reward_shift": [1.0] * 4}, "reward_shift: expected 3 entries, got 4"),
    "cutoff": ({"cutoff_reward": [1.0]}, "cutoff_reward: expected 3 entries, got 1"),
    "cutoff inf": ({"cutoff_reward": [1.0, np.inf, 0]}, "cutoff_reward: expected finite numbers"),
    "label": ({"labels": {"turn": [0, 1]}}, r"labels\['turn'\]: expected shape \(3,\), got \(2,\)"),
    "emission": ({"emission": Emission([0, 1])}, r"emission.base: expected shape \(3,\), got \(2,\)"),
    "layer rows": ({"emission": Emission([0, 1, 2], (cue_layer(1),))}, "layer 'cue': expected 3 rows, got 2"),
    "goes on without actions": ({"terminal": [False, False, False, True]}, "edge_start: .*first at 2"),
    "unreachable": (
        {"start_state": [1], "start_probability": [1.0]},
        r"successor: expected every state reachable from the start \(or allow_unreachable=True\); wrong at 1",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_tables_are_refused(damage):
    changes, message = DAMAGE[damage]
    with pytest.raises(TableError, match=message) as error:
        small(**changes)
    assert "\n" not in str(error.value)


def test_validation_can_be_skipped_and_unreachable_states_allowed():
    assert small(discount=1.5, validated=False).discount == 1.5
    assert small(start_state=[1], start_probability=[1.0], allow_unreachable=True).n_states == 3


def test_replace_validates_again():
    assert small().replace(discount=0.5).discount == 0.5
    with pytest.raises(TableError, match="discount"):
        small().replace(discount=2)


def test_from_outcomes_refuses_numbers_out_of_range():
    rows = {"state": [3], "action": [0], "successor": [0], "probability": [1.0], "reward": [0.0], "terminal": [True]}
    with pytest.raises(TableError, match=r"state: expected integers in \[0, 1\], got 3"):
        from_outcomes("x", 2, 1, rows, start={0: 1.0}, horizon=1)


def test_from_outcomes_takes_rows_in_any_order():
    table = make_random_table(5, n_states=7)
    rows = {name: getattr(table, name) for name in ("successor", "probability", "reward", "terminal")}
    rows |= {"state": table.edge_state[table.outcome_edge], "action": table.edge_action[table.outcome_edge]}
    edge = np.random.default_rng(0).permutation(table.n_edges)
    order = np.concatenate([np.flatnonzero(table.outcome_edge == e) for e in edge])
    start = dict(zip(table.start_state.tolist(), table.start_probability.tolist(), strict=True))
    again = from_outcomes("again", table.n_states, 3, {k: v[order] for k, v in rows.items()}, start=start, horizon=4)
    assert again.fingerprint == table.fingerprint


def test_arrays_are_frozen():
    source = np.array([0.0, 4.0, -0.5, 1.0])
    table = small(reward=source, cutoff_reward=np.zeros(3))
    for name in (
        "edge_start",
        "edge_action",
        "successor",
        "probability",
        "reward",
        "terminal",
        "start_state",
        "cutoff_reward",
    ):
        with pytest.raises(ValueError, match="read-only"):
            getattr(table, name)[0] = 1
    for derived in ("mask", "edge_of", "edge_state", "outcome_threshold", "edge_reward", "n_admissible"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(table, derived)[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        table.emission.base[0] = 1
    with pytest.raises(TypeError):
        table.labels["turn"] = np.zeros(3)
    with pytest.raises(AttributeError):
        table.horizon = 9


# -- fingerprint -----------------------------------------------------------------------------------------------------


def test_golden_fingerprint():
    # The same on every machine; changing it invalidates every stored table.
    assert small().fingerprint == GOLDEN


def test_fingerprint_ignores_names_views_and_knobs():
    view = View(gymnasium.spaces.Discrete(3), lambda states: states)
    same = small(
        name="other", views={"grid": view}, knobs={"slip": 0.1}, action_names=("a", "b"), allow_unreachable=True
    )
    assert same.fingerprint == small().fingerprint
    assert small(reward=[-0.0, 4, -0.5, 1]).fingerprint == small().fingerprint
    assert small(edge_action=np.array([0, 1, 0], dtype=">i2")).fingerprint == small().fingerprint


@pytest.mark.parametrize(
    "changes",
    [
        {"reward": [0.0, 4.0, -0.5, 1.0000001]},
        {"probability": [1.0, 0.5, 0.5, 1.0]},
        {"terminal": [True, True, False, True]},
        {"successor": [0, 2, 0, 2]},
        {"edge_action": [0, 1, 1]},
        {"start_state": [1, 0], "start_probability": [0.4, 0.6]},
        {"start_probability": [0.4, 0.6]},
        {"horizon": 4},
        {"discount": 0.99},
        {"inadmissible_reward": -1.0},
        {"reward_scale": [1.0, 1.0, 0.5]},
        {"reward_shift": [1.0, 1.0, 0.5]},
        {"cutoff_reward": [1.0, 1.0, 0.5]},
        {"labels": {"turn": [0, 1, 1]}},
        {"labels": {"segment": [0, 1, 0]}},
        {"labels": {}},
        {"emission": Emission([0, 0, 1])},
        {"emission": Emission([0, 1, 2], (Layer("skin", True, [0.5, 0.5]),))},
        {"n_actions": 3, "action_names": ()},
    ],
    ids=lambda c: ",".join(c),
)
def test_fingerprint_sees_every_change_of_the_process(changes):
    assert small(**changes).fingerprint != small().fingerprint


def test_fingerprint_sees_every_part_of_a_layer():
    def with_layer(**kwargs):
        fields = {"name": "skin", "per_episode": True, "probability": [0.5, 0.5], **kwargs}
        return small(emission=Emission([0, 1, 2], (Layer(**fields),))).fingerprint

    variants = [
        {},
        {"name": "hat"},
        {"per_episode": False},
        {"probability": [0.4, 0.6]},
        {"shift": [0, 1]},
        {"blind": [0, 0]},
    ]
    assert len({with_layer(**v) for v in [*variants, {"shows_in_anchor": False}]}) == 7


def test_reward_factors_that_swap_places_are_told_apart():
    assert small(reward_scale=[1, 2, 3]).fingerprint != small(reward_shift=[1, 2, 3]).fingerprint


def test_canonical_bytes_do_not_depend_on_byte_order():
    values = np.array([1.5, -0.0, 3.0])
    assert canonical_bytes(values.astype(">f8")) == canonical_bytes(values.astype("<f8"))
    assert canonical_bytes(np.zeros(2)) == canonical_bytes(np.array([-0.0, 0.0]))
    assert canonical_bytes(np.zeros((2, 1))) != canonical_bytes(np.zeros((1, 2)))


# -- storage ---------------------------------------------------------------------------------------------------------


def decorated():
    """A small table with views of every kind, layers and knobs."""
    grid = np.arange(3 * 4 * 4 * 2, dtype=np.uint8).reshape(3, 4, 4, 2)
    words = ["A hall.", "A cellar.\nIt is dark.", ""]
    space = gymnasium.spaces.Box(0, 255, (4, 4, 2), np.uint8)
    views = {
        "grid": View(space, lambda states: grid[states]),
        "words": View(text_space(), lambda states: [words[int(s)] for s in states]),
        "vector": View(gymnasium.spaces.MultiDiscrete([4, 5]), lambda s: np.stack([s, s + 1], axis=1)),
        "both": View(
            gymnasium.spaces.Dict({"image": space, "text": text_space()}),
            lambda states: {"image": grid[states], "text": [words[int(s)] for s in states]},
        ),
    }
    layers = (Layer("skin", True, [0.2, 0.8]), cue_layer(2))
    return small(
        emission=Emission([0, 1, 1], layers),
        views=views,
        knobs={"slip": 0.1, "revisit_rate": None, "view": "grid"},
        reward_scale=[1, 0.5, 0.25],
        cutoff_reward=[0, 0, 1.0],
        discount=0.9,
    )


def test_roundtrip(tmp_path):
    table = decorated()
    table.save(tmp_path / "deep" / "table.npz")
    again = load(tmp_path / "deep" / "table.npz")
    assert again.fingerprint == table.fingerprint
    assert dict(again.knobs) == dict(table.knobs)
    assert (again.name, again.action_names, again.discount, again.horizon) == ("small", ("go", "bet"), 0.9, 3)
    for one, other in zip(again.emission.layers, table.emission.layers, strict=True):
        assert (one.name, one.per_episode, one.state_class, one.shows_in_anchor) == (
            other.name,
            other.per_episode,
            other.state_class,
            other.shows_in_anchor,
        )
        assert np.array_equal(one.probability, other.probability)
        assert np.array_equal(one.shift, other.shift)
        assert np.array_equal(one.blind, other.blind)
    states = np.array([2, 0, 1, 1])
    assert list(again.views) == list(table.views)
    for name in ("grid", "vector"):
        assert np.array_equal(again.view(name).rows(states), table.view(name).rows(states))
        assert again.view(name).rows(states).dtype == table.view(name).rows(states).dtype
        assert again.view(name).space == table.view(name).space
    assert again.view("words").rows(states) == table.view("words").rows(states)
    both = again.view("both").rows(states)
    assert both["text"] == table.view("words").rows(states)
    assert np.array_equal(both["image"], table.view("grid").rows(states))
    assert again.view("both").space == table.view("both").space


@settings(max_examples=25, deadline=None)
@given(rich_table())
def test_roundtrip_of_random_tables(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("tables") / "t.npz"
    save(table, path)
    again = load(path)
    assert again.fingerprint == table.fingerprint
    assert again.emission.n_codes == table.emission.n_codes
    assert np.array_equal(evaluate(again, uniform(again)).V, evaluate(table, uniform(table)).V)


def rewritten(path, change):
    """Rewrites the members of an npz file through ``change(name → array)``."""
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    change(arrays)
    np.savez(path, **arrays)


def header_with(**changes):
    def change(arrays):
        header = json.loads(arrays["header"].tobytes())
        for key, value in changes.items():
            if value is None:
                del header[key]
            else:
                header[key] = value
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)

    return change


def set_array(name, value):
    return lambda arrays: arrays.update({name: np.asarray(value)})


DAMAGED_FILES = {
    "changed reward": (set_array("reward", [0.0, 4.0, -0.5, 2.0]), "damaged, its fingerprint is .* but the file says"),
    "contradiction": (set_array("successor", [7, 2, 0, 2]), r"successor\[0\] = 7"),
    "array missing": (lambda arrays: arrays.pop("reward"), "damaged.*reward"),
    "header missing": (lambda arrays: arrays.pop("header"), "not a table"),
    "header garbled": (set_array("header", np.frombuffer(b"{nonsense", dtype=np.uint8)), "not a table, or damaged"),
    "header a list": (set_array("header", np.frombuffer(b"[1, 2]", dtype=np.uint8)), "not a table, or damaged|header"),
    "key missing": (header_with(horizon=None), "damaged.*horizon"),
    "newer schema": (header_with(schema=99), "schema 99, but this version reads up to 1; upgrade credit-envs"),
    "no schema": (header_with(schema=None), "schema None"),
    "layers garbled": (header_with(layers=[["skin", True]]), "damaged"),
    "view missing": (lambda arrays: arrays.pop("view:grid"), "damaged.*view:grid"),
    "pickle": (lambda arrays: arrays.update(reward=np.array([{}], dtype=object)), "not a table, or damaged"),
}


@pytest.mark.parametrize("kind", DAMAGED_FILES)
def test_damaged_files_are_refused(tmp_path, kind):
    change, message = DAMAGED_FILES[kind]
    path = tmp_path / "table.npz"
    save(decorated(), path)
    rewritten(path, change)
    with pytest.raises(TableError, match=message) as error:
        load(path)
    assert "\n" not in str(error.value)


def test_truncated_files_are_refused(tmp_path):
    path = tmp_path / "table.npz"
    save(decorated(), path)
    whole = path.read_bytes()
    for size in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(TableError, match="not a table, or damaged"):
            load(path)


def test_flipped_bytes_never_pass(tmp_path):
    """A damaged byte gives a TableError, or changes nothing that was stored (zip's own slack)."""
    path = tmp_path / "table.npz"
    save(small(), path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for place in rng.choice(len(whole), 500, replace=False).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            assert load(path).fingerprint == small().fingerprint
        except TableError:
            refused += 1
    assert refused > 250


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(TableError, match="not a table, or damaged"):
        load(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(2))
    with pytest.raises(TableError, match="not a table, or damaged"):
        load(tmp_path / "other.npz")
    np.save(tmp_path / "single.npy", np.zeros(2))
    with pytest.raises(TableError, match="not a table"):
        load(tmp_path / "single.npy")
    with pytest.raises(TableError, match="no such file"):
        load(tmp_path / "nowhere.npz")
    with pytest.raises(TableError, match="no such file"):
        load(tmp_path)
    with zipfile.ZipFile(tmp_path / "zip.npz", "w") as file:
        file.writestr("header", "not an array")
    with pytest.raises(TableError, match="not a table"):
        load(tmp_path / "zip.npz")


def test_unwritable_places(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CreditEnvsError, match=r"path='.*file/table.npz': cannot write there"):
        save(small(), tmp_path / "file" / "table.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(CreditEnvsError, match="cannot write"):
        save(small(), tmp_path / "folder.npz")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.npz"]


def test_failed_writes_leave_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "table.npz"
    save(small(), path)

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CreditEnvsError, match="No space left"):
        save(small(discount=0.5), path)
    assert [p.name for p in tmp_path.iterdir()] == ["table.npz"]
    assert load(path).discount == 1.0


# -- union, prune, lift ----------------------------------------------------------------------------------------------


def scrap(rng, table):
    """Adds states that nothing reaches, and spreads the numbers of the old ones."""
    n = table.n_states + 3
    place = np.sort(rng.choice(n, table.n_states, replace=False))
    new = np.setdiff1d(np.arange(n), place)
    edge = table.outcome_edge
    rows = {
        "state": np.concatenate([place[table.edge_state[edge]], new]),
        "action": np.concatenate([table.edge_action[edge], np.zeros(3, dtype=int)]),
        "successor": np.concatenate([place[table.successor], rng.integers(0, n, 3)]),
        "probability": np.concatenate([table.probability, np.ones(3)]),
        "reward": np.concatenate([table.reward, np.ones(3)]),
        "terminal": np.concatenate([table.terminal, np.ones(3, dtype=bool)]),
    }
    start = dict(zip(place[table.start_state].tolist(), table.start_probability.tolist(), strict=True))
    cutoff = None
    if table.cutoff_reward is not None:
        cutoff = np.zeros(n)
        cutoff[place] = table.cutoff_reward
    big = from_outcomes(
        "big",
        n,
        table.n_actions,
        rows,
        start=start,
        horizon=table.horizon,
        cutoff_reward=cutoff,
        allow_unreachable=True,
    )
    return big, place


@settings(max_examples=60, deadline=None)
@given(random_table(), st.integers(0, 1000))
def test_prune_drops_exactly_what_was_added(table, seed):
    big, place = scrap(np.random.default_rng(seed), table)
    again, kept = prune(big)
    assert kept.tolist() == place.tolist()
    policy = random_policy(table, seed)
    spread = np.zeros((big.n_states, big.n_actions))
    spread[:, 0] = 1
    spread[place] = policy
    value = evaluate(big, spread).J
    assert value == pytest.approx(evaluate(again, policy).J, abs=1e-12)
    assert again.fingerprint == table.fingerprint


def test_prune_drops_edges_behind_terminal_outcomes():
    # State 1 is only entered by a terminal outcome; state 2 only from there.
    rows = {
        "state": [0, 1, 2],
        "action": [0, 0, 0],
        "successor": [1, 2, 2],
        "probability": [1.0, 1.0, 1.0],
        "reward": [1.0, 2.0, 3.0],
        "terminal": [True, False, False],
    }
    table, kept = prune(from_outcomes("x", 3, 1, rows, start={0: 1.0}, horizon=5, allow_unreachable=True))
    assert kept.tolist() == [0, 1]
    assert table.n_admissible.tolist() == [1, 0]
    assert evaluate(table, np.ones((2, 1))).J == 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.booleans())
def test_union_is_the_weighted_mean(seed, n, cutoff):
    rng = np.random.default_rng(seed)
    tables = [make_random_table(seed + i, n_states=3 + i, cutoff=cutoff and i % 2 == 0) for i in range(n)]
    weights = rng.dirichlet(np.ones(n))
    weights[-1] = 1 - weights[:-1].sum()
    pool = union(tables, weights.tolist())
    policies = [random_policy(table, seed) for table in tables]
    joined = np.concatenate(policies)
    expected = sum(w * evaluate(t, p).J for w, t, p in zip(weights, tables, policies, strict=True))
    value = evaluate(pool, joined).J
    assert value == pytest.approx(expected, abs=1e-12)
    assert pool.n_contexts == sum(t.n_contexts for t in tables)
    assert np.array_equal(pool.labels["instance"], np.repeat(np.arange(n), [t.n_states for t in tables]))
    # Each instance's values are its own.
    parts = np.split(evaluate(pool, joined).V, np.cumsum([t.n_states for t in tables])[:-1], axis=1)
    for part, table, policy in zip(parts, tables, policies, strict=True):
        assert np.allclose(part, evaluate(table, policy).V, atol=1e-13)


def test_union_keeps_views_looks_and_anchors_apart():
    one = small(
        views={"words": View(text_space(), lambda s: [f"one {int(i)}" for i in s])}, labels={"anchor": [0, 0, 1]}
    )
    two = small(
        views={"words": View(text_space(), lambda s: [f"two {int(i)}" for i in s])}, labels={"anchor": [5, 5, 0]}
    )
    pool = union([one, two])
    assert pool.view("words").rows(np.array([5, 0, 3])) == ["two 2", "one 0", "two 0"]
    assert pool.labels["anchor"].tolist() == [0, 0, 1, 7, 7, 2]
    assert pool.emission.base.tolist() == [0, 1, 2, 3, 4, 5]
    assert pool.fingerprint != one.fingerprint


def with_skins(p):
    return small(emission=Emission([0, 1, 2], (Layer("skin", True, p),)))


@pytest.mark.parametrize(
    ("tables", "weights", "message"),
    [
        ([], None, "at least one instance"),
        ([small(), small(horizon=4)], None, r"the same horizon, got \[3, 4\]"),
        ([small(), small(discount=0.5)], None, "the same discount"),
        ([small(), small(inadmissible_reward=-1.0)], None, "the same inadmissible_reward"),
        ([small(), small(reward_scale=[1, 1, 0.5])], None, "the same reward_scale"),
        ([small(), small(reward_shift=[1, 1, 0.5])], None, "the same reward_shift"),
        ([small(), with_skins([0.5, 0.5])], None, "the same emission layers"),
        ([with_skins([0.1, 0.9]), with_skins([0.5, 0.5])], None, "the same emission layers"),
        ([small(), small()], [0.5, 0.6], r"weights=\[0.5, 0.6\]: expected 2 probabilities that sum to 1"),
        ([small(), small()], [1.5, -0.5], "weights"),
        ([small(), small()], [1.0], "weights"),
    ],
)
def test_union_refuses_what_cannot_share_a_table(tables, weights, message):
    with pytest.raises(TableError, match=message):
        union(tables, weights)


@settings(max_examples=40, deadline=None)
@given(rich_table(), st.integers(0, 100))
def test_lift_of_a_renumbering_changes_nothing(table, seed):
    """Splitting every state into two copies that look alike keeps J, looks and labels."""
    table = table.replace(labels={"anchor": np.arange(table.n_states) * 2})
    twice = np.tile(np.arange(table.n_states), 2)
    n, e, o = table.n_states, table.n_edges, table.n_outcomes
    side = np.random.default_rng(seed).integers(0, 2, 2 * o) * n
    doubled = lift(
        table,
        twice,
        edge_start=np.concatenate([table.edge_start, table.edge_start[1:] + e]),
        edge_action=np.tile(table.edge_action, 2),
        outcome_start=np.concatenate([table.outcome_start, table.outcome_start[1:] + o]),
        successor=np.tile(table.successor, 2) + side,
        **{name: np.tile(getattr(table, name), 2) for name in ("probability", "reward", "terminal")},
        start_state=np.concatenate([table.start_state, table.start_state + n]),
        start_probability=np.tile(table.start_probability / 2, 2),
        allow_unreachable=True,
    )
    assert doubled.emission.n_base == table.emission.n_base
    assert doubled.labels["anchor"].tolist() == np.tile(table.labels["anchor"], 2).tolist()
    assert doubled.view("text").rows(np.array([n])) == table.view("text").rows(np.array([0]))
    policy = Policy("look", random_policy(table, seed, "look"))
    assert expected_return(doubled, policy) == pytest.approx(expected_return(table, policy), abs=1e-12)


# -- other forms -----------------------------------------------------------------------------------------------------


def test_networkx():
    graph = small().to_networkx()
    assert set(graph.nodes) == {0, 1, 2}
    assert graph.nodes[1] == {"turn": 1}
    assert graph.number_of_edges() == 4
    bet = {"action": 1, "name": "bet", "probability": 0.25, "reward": 4.0, "terminal": True}
    assert bet in [data for _, _, data in graph.out_edges(0, data=True)]


@settings(max_examples=30, deadline=None)
@given(random_table())
def test_dense_form(table):
    dense = table.dense()
    assert dense["probability"].shape == (table.n_states, table.n_actions, table.max_outcomes)
    for s, actions in table.P.items():
        for a in range(table.n_actions):
            slots = range(table.max_outcomes)
            rows = [tuple(dense[k][s, a, i] for k in ("probability", "successor", "reward", "terminal")) for i in slots]
            assert [row for row in rows if row[0] > 0] == [row for row in actions.get(a, []) if row[0] > 0]


def test_dense_refuses_large_tables():
    table = chain_table(1 << 22, 32)
    with pytest.raises(TableError, match="too large for a dense"):
        table.dense()
    with pytest.raises(TableError, match="too large to be dense"):
        _ = table.edge_of


def chain_table(n, n_actions):
    state = np.arange(n)
    rows = {"edge_start": np.arange(n + 1), "edge_action": np.zeros(n), "outcome_start": np.arange(n + 1)}
    return TabularMDP(
        name="chain",
        n_actions=n_actions,
        **rows,
        successor=np.minimum(state + 1, n - 1),
        probability=np.ones(n),
        reward=np.zeros(n),
        terminal=state == n - 1,
        start_state=[0],
        start_probability=[1.0],
        horizon=2,
        action_names=tuple(map(str, range(n_actions))),
        validated=False,
    )


@pytest.mark.parametrize("slippery", [True, False])
def test_P_equals_gymnasiums(slippery):
    original = gymnasium.make("FrozenLake-v1", is_slippery=slippery).unwrapped.P
    rows = [(s, a, n, p, r, d) for s, acts in original.items() for a, outs in acts.items() for p, n, r, d in outs]
    names = ("state", "action", "successor", "probability", "reward", "terminal")
    columns = {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    table = from_outcomes("lake", 16, 4, columns, start={0: 1.0}, horizon=100, allow_unreachable=True)
    assert original == table.P


@settings(max_examples=40, deadline=None)
@given(random_table(), st.integers(0, 100))
def test_find_edges(table, seed):
    rng = np.random.default_rng(seed)
    state, action = rng.integers(0, table.n_states, 50), rng.integers(0, table.n_actions, 50)
    assert table.find_edges(state, action).tolist() == table.edge_of[state, action].tolist()


def test_default_views():
    table = small()
    assert table.view("state").rows(np.array([2, 1])).tolist() == [2, 1]
    assert table.view("text").rows(np.array([1])) == ["State 1: turn 1."]
    with pytest.raises(CreditEnvsError, match="unknown view 'txet'; did you mean 'text'"):
        table.view("txet")


def test_a_million_states_and_ten_million_edges_fit_in_4_gib():
    script = """
        import resource, numpy as np
        from credit_envs.table import TabularMDP
        from credit_envs.oracle import evaluate, uniform
        S, A = 1_000_000, 10
        E = S * A
        rng = np.random.default_rng(0)
        successor = rng.integers(0, S, E, dtype=np.int32)
        successor[::A] = (np.arange(S) + 1) % S
        table = TabularMDP(
            name="large", n_actions=A, edge_start=np.arange(0, E + 1, A),
            edge_action=np.tile(np.arange(A, dtype=np.int32), S),
            outcome_start=np.arange(E + 1), successor=successor, probability=np.ones(E), reward=np.ones(E),
            terminal=np.zeros(E, dtype=bool), start_state=[0], start_probability=[1.0], horizon=5,
        )
        print(evaluate(table, uniform(table)).J, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    value, gib = map(float, done.stdout.split())
    assert value == pytest.approx(5)
    assert gib < 4


def test_a_table_introduces_itself_in_one_line():
    table = make_table("credit/KeyRooms-v0")
    assert repr(table) == "TabularMDP('KeyRooms': 170 states, 5 actions, 840 edges, 170 observations, horizon 224)"
