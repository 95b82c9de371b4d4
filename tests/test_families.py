"""What holds for every family: checked knobs, repeatable instances, valid tables, views that fit, pages."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transcripts import GOLDENS as TRANSCRIPTS

from credit_envs.errors import CreditEnvsError
from credit_envs.families import FAMILIES, Knob
from credit_envs.families.family import below, instance_draws
from credit_envs.table.build import union
from credit_envs.table.validate import validate

# Changing one of these numbers means a new version of the environment.
GOLDENS = {
    ("Pivots", 7): "c2645a7f0a11a2ab7b48dfbf9a03b8049ee7ac58757f9784163d41b0ef7e49a5",
    ("KeyRooms", 7): "c29f9941924140c3b5b42be0b58872b5814b5a02df8d60266f4e56139e23106b",
    ("Team", 7): "339f08f16d4d094bb0b5d9c31fb2e16bdca4e84da8b5bcd6055107be9a2fe6f1",
}


@st.composite
def requests(draw, name):
    """Knobs of a family, small enough for quick tests."""
    small = {
        "length": 5,
        "fillers": 4,
        "stages": 4,
        "room_size": 5,
        "distractors": 3,
        "horizon_factor": 20,
        "view_size": 12,
        "agents": 2,
        "plates": 1,
        "keys": 1,
        "bars": 3,
        "values": 3,
        "facts": 2,
    }
    knobs = {}
    for knob_name, knob in FAMILIES[name].knobs.items():
        if knob.choices is not None:
            value = draw(st.sampled_from(knob.choices))
        else:
            high = min(small.get(knob_name, knob.high), knob.high)
            value = draw(st.integers(int(knob.low), int(high)) if knob.integer else st.floats(knob.low, high))
            value = draw(st.sampled_from([None, value])) if knob.default is None else value
        knobs[knob_name] = value
    return knobs


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**53))
def test_every_instance_is_a_valid_table(name, data, seed):
    knobs = data.draw(requests(name))
    table = FAMILIES[name].build(seed, **knobs)
    validate(table)
    assert dict(table.knobs) == knobs
    assert {"turn", "segment", "anchor"} <= set(table.labels)
    assert FAMILIES[name].build(seed, **knobs).fingerprint == table.fingerprint

    # Only states in which the episode is over have no edges.
    over = np.zeros(table.n_states, dtype=bool)
    over[table.successor[table.terminal]] = True
    assert np.array_equal(table.n_admissible == 0, over)

    states = np.random.default_rng(seed).integers(table.n_states, size=3)
    for view_name, view in table.views.items():
        rows = view.rows(states)
        assert len(rows) == 3
        assert all(view.space.contains(row) for row in rows), view_name
        assert len(view.rows(states[:0])) == 0
        one = view.rows(states[1:2])[0]
        assert np.array_equal(one, rows[1]), f"{view_name}: a row depends on its batch"


@pytest.mark.smoke
@pytest.mark.parametrize(("name", "seed"), GOLDENS)
def test_golden_fingerprints(name, seed):
    assert FAMILIES[name].build(seed).fingerprint == GOLDENS[name, seed]


@pytest.mark.parametrize("name", FAMILIES)
def test_no_golden_transcript_is_missing(name):
    module = FAMILIES[name].compile.__module__.rsplit(".", 1)[1]
    text = (TRANSCRIPTS / f"{module}.txt").read_text(encoding="utf-8")
    assert "A is the exact advantage" in text


@pytest.mark.parametrize("name", FAMILIES)
def test_instances_differ_and_share_a_pool(name):
    tables = [FAMILIES[name].build(seed) for seed in range(5)]
    assert len({table.fingerprint for table in tables}) == 5
    pool = union(tables)
    validate(pool)
    last = np.array([pool.n_states - 1])
    for view in tables[4].views:
        assert np.array_equal(
            pool.view(view).rows(last)[0], tables[4].view(view).rows(last - pool.n_states + tables[4].n_states)[0]
        )


@pytest.mark.parametrize("name", FAMILIES)
def test_page_follows_the_template_and_names_every_knob(name):
    family = FAMILIES[name]
    sections = ["Description", "Action Space", "Observation Space", "Rewards", "Starting State", "Episode End"]
    sections += ["Arguments", "References", "Version History"]
    assert re.findall(r"^## (.+)$", family.page, flags=re.M) == sections
    arguments = family.page.split("## Arguments")[1].split("## References")[0]
    found = dict(re.findall(r"^- `(\w+)` \(default `?\"?([^,`\")]+)", arguments, flags=re.M))
    assert set(found) == set(family.knobs)
    for knob_name, knob in family.knobs.items():
        assert (
            float(found[knob_name]) == knob.default
            if isinstance(knob.default, float)
            else found[knob_name] == str(knob.default)
        )


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"stage": 3}, "unknown knob of KeyRooms 'stage'; did you mean 'stages'"),
        ({"stages": 0}, "stages=0: expected an integer in [1, 100]"),
        ({"stages": 2.5}, "stages=2.5: expected an integer in [1, 100]"),
        ({"stages": None}, "stages=None: expected an integer in [1, 100]"),
        ({"stages": "many"}, "stages='many': expected an integer in [1, 100]"),
        ({"stage_reward": float("nan")}, "stage_reward=nan: expected a number in [0, 1]"),
        ({"map": "chian"}, "map='chian': expected one of 'chain', 'hub', 'tree'; did you mean 'chain'?"),
        ({"map": ["chain"]}, "map=['chain']: expected one of 'chain', 'hub', 'tree'"),
        ({"stages": 1, "distractors": 4}, "distractors=4: expected an integer in [0, 3]"),
        ({"stages": 100, "room_size": 16, "distractors": 20}, "states, expected at most 16777216"),
        ({"view_size": 2}, "view_size=2: expected an integer in [3, 64]"),
    ],
)
def test_wrong_knobs_are_named_before_any_work(knobs, message):
    with pytest.raises(CreditEnvsError, match=re.escape(message)):
        FAMILIES["KeyRooms"].build(0, **knobs)


@pytest.mark.parametrize("seed", [-1, 0.5, 2**64, "x"])
def test_wrong_instance_seeds_are_named(seed):
    with pytest.raises(CreditEnvsError, match="instance="):
        FAMILIES["Pivots"].build(seed)


def test_knob_values_become_canonical():
    assert type(Knob(1, 0, 5).check("k", np.int64(3))) is int
    assert type(Knob(1.0, 0, 5, integer=False).check("k", 3)) is float
    assert Knob(False, choices=(False, True)).check("k", np.True_) is True
    assert Knob(None, 3, 5).check("k", None) is None


def test_instance_draws_are_the_documented_generator():
    """splitmix64 in plain integers: mix the name's first eight bytes with the seed, then with the draw's number."""

    def mix(key, word):
        z = (key + 0x9E3779B97F4A7C15 * (word + 1)) % 2**64
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
        return z ^ (z >> 31)

    key = mix(int.from_bytes(b"KeyRooms", "big"), 2**62)
    assert instance_draws("KeyRooms", 2**62, 3).tolist() == [mix(key, i) >> 11 for i in range(3)]
    counts = np.bincount(below(instance_draws("Pivots", 1, 30_000), 3), minlength=3)
    assert np.all(np.abs(counts - 10_000) < 5 * np.sqrt(30_000 * 2 / 9))
