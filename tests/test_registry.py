"""Names of environments with knobs in them, and the suites."""

from __future__ import annotations

import json
import shlex
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_envs import registry
from credit_envs.cli import main
from credit_envs.dials import DIALS
from credit_envs.errors import CreditEnvsError
from credit_envs.faces.entry import make
from credit_envs.report.reading import short

ALL = sorted({name for names in registry.SUITES.values() for name in names})


def test_a_name_holds_an_id_and_knobs():
    found, knobs = registry.parse("KeyRooms?stages=3&map=hub&stage_reward=0.25&permute=True")
    assert found.id == "credit/KeyRooms-v0"
    assert knobs == {"stages": 3, "map": "hub", "stage_reward": 0.25, "permute": True}
    assert registry.entry("KeyRooms-v0?stages=3") is found
    assert registry.parse("Pivots") == (registry.entry("Pivots"), {})


def test_names_and_keywords_build_the_same_table():
    named = registry.make_table("KeyRooms?stages=3&map=hub&slip=0.1&instance=5")
    given = registry.make_table("KeyRooms", instance=5, stages=3, map="hub", slip=0.1)
    assert named.fingerprint == given.fingerprint
    assert named.knobs == given.knobs
    assert named.fingerprint != registry.make_table("KeyRooms?stages=3&map=hub&slip=0.1").fingerprint
    mixed = registry.make_table("KeyRooms?stages=3&map=hub", instance=5, slip=0.1)
    assert mixed.fingerprint == given.fingerprint
    lake = registry.make_table("FrozenLake?map_name=8x8&slip=0.2")
    assert lake.fingerprint == registry.make_table("FrozenLake", map_name="8x8", slip=0.2).fingerprint


def test_environments_take_names_with_knobs():
    env = make("KeyRooms?stages=3&map=hub")
    assert env.table.fingerprint == registry.make_table("KeyRooms", stages=3, map="hub").fingerprint
    assert env.observation_space.shape == env.reset(seed=0)[0].shape


@pytest.mark.parametrize(
    ("name", "keywords", "message"),
    [
        ("KeyRooms?stags=8", {}, "unknown knob of credit/KeyRooms-v0 'stags'; did you mean 'stages'"),
        ("KeyRoms?stages=8", {}, "unknown environment id 'KeyRoms'; did you mean 'credit/KeyRooms-v0'"),
        ("KeyRooms?stages", {}, "knob 'stages': expected NAME=VALUE"),
        ("KeyRooms?stages=8&", {}, "knob '': expected NAME=VALUE"),
        ("KeyRooms?stages=8&stages=9", {}, "stages is set twice, expected once"),
        ("KeyRooms?stages=8", {"stages": 8}, "stages=8: 'KeyRooms?stages=8' sets it already"),
        ("KeyRooms?instance=1", {"instance": 2}, "instance=2: 'KeyRooms?instance=1' sets it already"),
        ("KeyRooms?stages=0", {}, "stages=0: expected an integer in"),
        ("Taxi?instance=1", {}, "instance=1: credit/Taxi-v0 is one fixed environment"),
    ],
)
def test_bad_names_are_refused(name, keywords, message):
    with pytest.raises(CreditEnvsError, match=message.replace("?", r"\?")) as refused:
        registry.make_table(name, **keywords)
    assert "\n" not in str(refused.value)


VALUES = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
    st.text("abc 1.'", min_size=1),
)


@given(st.dictionaries(st.sampled_from(sorted(DIALS)), VALUES, max_size=4))
def test_canonical_names_read_back(knobs):
    pairs = [f"{name}={registry._written(value)}" for name, value in knobs.items()]
    name = "Pivots?" + "&".join(pairs)
    full = registry.canonical(name)
    found = registry.parse(full)
    assert found == (registry.entry("Pivots"), knobs)
    assert {k: type(v) for k, v in found[1].items()} == {k: type(v) for k, v in knobs.items()}
    assert registry.canonical(full) == full
    assert registry.canonical("Pivots?" + "&".join(reversed(pairs))) == full


def test_evaluations_and_reports_take_names_with_knobs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    two = ["--environments", "Pivots?length=2", "Pivots?length=3&fillers=1"]
    options = ["--budget", "300", "--seeds", "2", "--levels", "0", "--extra-steps", "2000", "--jobs", "1"]
    assert main(["evaluate", "grpo", *two, *options, "--output", "out"]) == 0
    out = capsys.readouterr().out
    assert "Pivots length=2  " in out
    assert "Pivots fillers=1 length=3  " in out
    again = shlex.split(out.split("again: ")[1])
    assert "credit/Pivots-v0?fillers=1&length=3" in again
    assert main([*again[1:], "--output", "out", "--jobs", "1"]) == 0
    about = {
        e["environment"]: e["measured"]["states"] for e in json.loads((tmp_path / "out/environments.json").read_text())
    }
    assert about == {
        name: registry.make_table(name).n_states
        for name in ("credit/Pivots-v0?length=2", "credit/Pivots-v0?fillers=1&length=3")
    }
    assert main(["evaluate", "grpo", "--environments", "Pivots?lenth=2", *options]) == 2
    assert "unknown knob of credit/Pivots-v0 'lenth'; did you mean 'length'" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", ALL)
def test_every_entry_of_a_suite_builds(name):
    began = time.perf_counter()
    table = registry.make_table(name)
    assert time.perf_counter() - began < 30
    assert 1 < table.n_states < 50_000
    assert registry.canonical(name) == name
    if name in registry.suite("long-v0"):
        assert 200 <= table.horizon <= 1000
    if name in registry.suite("tokens-v0"):
        assert "token" in table.labels
    if name in registry.suite("text-v0"):
        assert "text" in table.views


@pytest.mark.parametrize("name", registry.SUITES)
def test_entries_of_a_suite_have_names_of_their_own(name):
    entries = registry.suite(name)
    assert len({short(entry) for entry in entries}) == len(entries)


def test_suites_hold_what_they_promise():
    assert registry.suite("foundation-v0") == tuple(
        f"credit/{name}-v0" for name in ("FrozenLake", "Taxi", "DoorKey", "Pivots", "KeyRooms")
    )
    core = set(registry.suite("core-v0"))
    assert {entry.id for entry in registry.ENTRIES if entry.source == "family"} <= core
    assert any(registry.entry(name).source != "family" for name in core)
    assert {registry.entry(name).target for name in registry.suite("team-v0")} == {"Team"}
    assert all(registry.parse(name)[1] == {"spell": 1} for name in registry.suite("tokens-v0"))


def test_the_dials_are_swept_alone():
    bases = ("credit/KeyRooms-v0?stage_reward=0.2", "credit/CliffWalking-v0", "credit/Lookup-v0")
    turned: dict[str, set[str]] = {base: set() for base in bases}
    for name in registry.suite("dials-v0"):
        found, knobs = registry.parse(name)
        base = next(base for base in bases if registry.entry(base) is found)
        extra = dict(knobs.items() - registry.parse(base)[1].items())
        assert len(extra) == (name not in bases)
        turned[base] |= set(extra)
    wanted = {"slip", "delay", "unit", "horizon", "plan", "aliasing", "paraphrases", "revisit_rate", "cue"}
    assert turned == {bases[0]: wanted | {"density"}, bases[1]: wanted, bases[2]: {"spell"}}


@pytest.mark.parametrize("base", ["credit/KeyRooms-v0?stage_reward=0.2", "credit/CliffWalking-v0"])
@pytest.mark.parametrize("dial", ["slip", "delay", "density", "unit", "horizon", "plan"])
def test_swept_dials_act(base, dial):
    """Tables of a sweep on dynamics differ from each other and from the untouched one."""
    names = [
        n
        for n in registry.suite("dials-v0")
        if dial in registry.parse(n)[1] and registry.entry(n) is registry.entry(base)
    ]
    prints = [registry.make_table(name).fingerprint for name in [base, *names]]
    assert len(set(prints)) == len(prints)


def test_a_stranger_among_the_knobs_of_an_import_is_met_with_near_names():
    for name in ("FrozenLake", "DoorKey"):
        with pytest.raises(CreditEnvsError, match=r"unknown knob of credit/.*-v0 'slp'; did you mean 'slip'"):
            registry.make_table(name, slp=0.1)
