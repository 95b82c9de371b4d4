"""The door to the dials: order, names, knobs, measurements and inverses, on own and imported tables."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import make_random_table, random_policy, random_table, toy_text

from credit_envs import dials, oracle, registry
from credit_envs.errors import CreditEnvsError, UnreachableRequestError

TABLES = {
    "Pivots": lambda: registry.make_table("Pivots"),
    "FrozenLake": lambda: toy_text("FrozenLake", 20),
    "CliffWalking": lambda: toy_text("CliffWalking", 7),
    "Taxi": lambda: toy_text("Taxi", 3),
    "cyclic": lambda: make_random_table(8, n_states=10, horizon=6),
    "layered": lambda: make_random_table(2, n_states=20, horizon=4, layered=True),
}


@settings(max_examples=15, deadline=None)
@given(
    random_table(max_states=5), st.permutations(["slip", "delay", "density", "unit", "horizon", "paraphrases", "cue"])
)
def test_the_order_of_the_keywords_does_not_matter(table, order):
    wanted = {"slip": 0.3, "delay": 1, "density": 0.5, "unit": 2, "horizon": 5, "paraphrases": 2, "cue": 0.25}
    fixed = dials.apply(table, **wanted)
    assert dials.apply(table, **{name: wanted[name] for name in order}).fingerprint == fixed.fingerprint
    assert fixed.horizon == 5
    # One at a time in the documented order is the same thing.
    one_by_one = dials.apply(table, horizon=3)  # two steps a unit: what is past the third decision is never played
    for name, value in wanted.items():
        one_by_one = dials.apply(one_by_one, **{name: value})
    assert one_by_one.fingerprint == fixed.fingerprint


def test_knobs_hold_what_was_asked_for_and_what_was_found():
    table = toy_text("FrozenLake", 20).replace(knobs={"size": 4})
    turned = dials.apply(table, slip=np.float64(0.1), revisit_rate=0.4)
    assert turned.knobs["size"] == 4
    assert turned.knobs["slip"] == 0.1
    assert turned.knobs["revisit_rate"] == 0.4
    assert 0 < turned.knobs["skin_rate"] < 1
    report = dials.measured(turned)
    assert report["requested"] == dict(turned.knobs)
    assert report["measured"]["revisit_rate"] == pytest.approx(0.4)
    json.dumps(report)
    assert dict(table.knobs) == {"size": 4}


def test_unknown_names_are_answered_with_the_nearest_known_ones():
    with pytest.raises(CreditEnvsError, match="unknown dial 'slipp'; did you mean 'slip'"):
        dials.apply(toy_text("FrozenLake", 5), slipp=0.1)
    with pytest.raises(CreditEnvsError, match="did you mean 'luck_share'"):
        dials.solve(toy_text("FrozenLake", 5), "luckshare", 0.1)


def test_every_dial_is_named_documented_and_reachable_through_apply():
    table = toy_text("FrozenLake", 6)
    for name, dial in dials.DIALS.items():
        assert {name, *dial.options} <= dials.names()
        assert dial.doc
        dials.apply(table, **{name: dial.low})
    assert {"luck_share", "revisit_rate", "group_size", "unit_kind", "skins", "guess"} <= dials.names()
    assert dials.apply(table) is table


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(
    "quantity",
    ["luck_share", "reward_time", "revisit_rate", "anchor_precision", "perception_gap", "delay", "paraphrases"],
)
def test_request_and_measurement_agree(name, quantity):
    table = TABLES[name]()
    dial = dials.DIALS.get(quantity) or next(d for d in dials.DIALS.values() if d.goal and d.quantity == quantity)
    ends = (dial.low, dial.high) if dial.steps is None else (dial.steps(table)[0], dial.steps(table)[-1])
    if dial.quantity == "revisit_rate":
        ends = (0.0, 0.9)
    extremes = []
    for end in ends:
        turned = dials.apply(table, **{dial.name: int(end) if dial.integer else float(end)})
        extremes.append(dial.measure(turned, oracle.uniform(turned)))
    low, high = min(extremes), max(extremes)
    for target in (low, low + 0.37 * (high - low), high):
        setting, measured = dials.solve(table, quantity, target)
        turned = dials.apply(table, **setting)
        report = dials.measured(turned)["measured"]
        if dial.quantity in report:
            assert report[dial.quantity] == pytest.approx(measured, abs=1e-9)
        if dial.steps is None:
            assert measured == pytest.approx(target, abs=1e-7)
        else:
            steps = dial.steps(table)[:40]
            nearest = min(abs(dial.measure(t, oracle.uniform(t)) - target) for t in _settings(table, dial, steps))
            if len(steps) < 40:
                assert abs(measured - target) == pytest.approx(nearest, abs=1e-9)
    margin = 1 + abs(high)
    for beyond in (low - margin, high + margin):
        with pytest.raises(UnreachableRequestError, match=f"{dial.quantity}=.*expected a number in"):
            dials.solve(table, quantity, beyond)


def _settings(table, dial, steps):
    return [dials.apply(table, **{dial.name: int(x) if dial.integer else float(x)}) for x in steps]


@pytest.mark.parametrize("name", ["unit", "horizon"])
def test_structural_dials_measure_their_own_setting(name):
    table = toy_text("CliffWalking", 20)
    for value in (1, 4, 9):
        turned = dials.apply(table, **{name: value})
        assert dials.DIALS[name].measure(turned, oracle.uniform(turned)) == value
        assert dials.solve(table, name, value).setting == {name: value}


def test_goals_are_met_together_on_the_final_table():
    table = toy_text("CliffWalking", 8)
    asked = {"luck_share": 0.3, "reward_time": 5.5, "revisit_rate": 0.35, "perception_gap": 3.0}
    turned = dials.apply(table, **asked, paraphrases=2)
    report = dials.measured(turned)["measured"]
    for name, value in asked.items():
        assert report[name] == pytest.approx(value, abs=1e-7)


def test_a_policy_can_be_measured_instead_of_uniform_play():
    table = toy_text("FrozenLake", 20)
    policy = random_policy(table, 1)
    setting, measured = dials.solve(table, "slip", 0.97, policy)
    slipped = dials.apply(table, **setting)
    assert oracle.spread(slipped, policy).luck_share == pytest.approx(measured) == pytest.approx(0.97)


def test_undefined_quantities_are_not_zero():
    idle = toy_text("FrozenLake", 2)  # nothing can be won in two steps: the return never varies
    with pytest.raises(UnreachableRequestError, match="undefined"):
        dials.solve(idle, "luck_share", 0.5)


@pytest.mark.parametrize("name", ["KeyRooms", "Pivots"])
def test_dials_reach_families_through_the_registry(name):
    wanted = {"luck_share": 0.2, "delay": 2, "unit": 2, "aliasing": 0.2, "paraphrases": 2, "cue": 0.3}
    turned = registry.make_table(name, **wanted, revisit_rate=0.1)
    report = dials.measured(turned)["measured"]
    assert report["luck_share"] == pytest.approx(0.2)
    assert report["revisit_rate"] == pytest.approx(0.1)
    assert report["anchor_precision"] < 1
    assert report["perception_gap"] > 0
    assert report["unit"] == 2
    assert report["J"] == pytest.approx(dials.measured(registry.make_table(name))["measured"]["J"])
