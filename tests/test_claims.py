"""The ledger's claims, contrasts of trials, and its page: what is put in comes out, and nothing is judged by hand."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from credit_envs.errors import CreditEnvsError
from credit_envs.experiments import Cell, Sweep, run
from credit_envs.experiments.catalogue import sweep_of
from credit_envs.experiments.claims import CLAIMS, THEMES, claim
from credit_envs.experiments.comparisons import Test as Comparison
from credit_envs.experiments.comparisons import ratio
from credit_envs.experiments.contrasts import Contrast, student
from credit_envs.experiments.dataset import read
from credit_envs.experiments.ledger import judge, side
from credit_envs.experiments.ledger_page import kept, ledger_rows, ledger_section, write_claims
from credit_envs.experiments.tables import save_json
from credit_envs.experiments.trials import KINDS, Trial, arms

SMALL = "credit/Pivots-v0?actions=2&fillers=0&length=2"


def made(arm, values, task="here", first=0, **axes):
    """A finished trial with one figure."""
    trial = Trial("learn", SMALL, arm, (), (("task", task), *axes.items()), len(values), first)
    records = [{"estimator": arm, "seed": first + i, "final": value} for i, value in enumerate(values)]
    return trial, {"records": records}


NOISE = np.random.default_rng(0).normal(0, 0.01, 10)


@pytest.mark.parametrize(
    ("gap", "expect", "margin", "told"),
    [
        (0.1, "greater", 0.0, "supported"),
        (-0.1, "greater", 0.0, "contradicted"),
        (0.0, "greater", 0.0, "open"),
        (0.1, "greater", 0.2, "contradicted"),
        (-0.1, "less", 0.05, "supported"),
        (0.02, "equal", 0.05, "supported"),
        (0.1, "equal", 0.05, "contradicted"),
    ],
)
def test_a_contrast_finds_the_difference_that_was_put_in(gap, expect, margin, told):
    base = np.linspace(0, 1, 10)  # far larger than the gap: only pairing sees it
    done = [made("a", base + gap + NOISE - NOISE.mean()), made("b", base)]
    found = Contrast("final", "a", "b", expect=expect, margin=margin).outcome(done)
    assert found.verdict == told
    assert found.effect[0] == pytest.approx(gap)
    assert found.effect[1] < gap < found.effect[2]
    assert found.seeds == 10


def test_seeds_are_paired_whatever_the_order_and_the_parts():
    base = np.arange(6.0)
    done = [made("a", base[3:] + 1, first=3), made("b", base), made("a", base[:3] + 1)]
    found = Contrast("final", "a", "b").outcome(done)
    assert found.effect == (1, 1, 1)
    assert found.seeds == 6
    assert Contrast("final", "a", "c").outcome(done).verdict == "open"


def test_returns_that_hardly_differ_are_tied():
    base = np.linspace(0, 1, 6)
    tied, apart = (
        Contrast("final", "a", "b").outcome([made("a", base + gap), made("b", base)]) for gap in (0.004, 0.006)
    )
    assert (tied.verdict, apart.verdict) == ("open", "supported")


def test_a_trend_of_differences_has_a_level_per_place():
    done = [
        made(arm, level + (x * slope if arm == "a" else 0) + NOISE * (arm == "a"), task, x=x)
        for task, level, slope in (("here", 0.0, 0.2), ("there", 5.0, 0.2))
        for x in (1.0, 2.0, 3.0)
        for arm in "ab"
    ]
    found = Contrast("final", "a", "b", expect="grows", along="x").outcome(done)
    assert (found.verdict, found.unit, found.sides) == ("supported", "slope of differences", ())
    assert found.effect[0] == pytest.approx(0.2)
    assert Contrast("final", "a", "b", expect="shrinks", along="x").outcome(done).verdict == "contradicted"


def test_students_interval():
    mean, low, high = student(np.array([1.0, 2.0, 3.0, 4.0]))
    half = 3.182446 * math.sqrt(5 / 3) / 2  # t with 3 degrees of freedom, from a table
    assert (mean, low, high) == pytest.approx((2.5, 2.5 - half, 2.5 + half))


def test_rounding_errors_speak_for_nothing():
    assert side((1e-15, 1e-15, 1e-15), "greater") == "open"
    done = [made("a", np.full(4, 1e-16) * x, x=x) for x in (1.0, 2.0, 3.0)]
    assert Contrast("final", "a", expect="grows", along="x").outcome(done).verdict == "open"


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A small cell with three estimators."""
    names = ("gigpo(gamma=1)", "rloo", "grpo")
    cell = Cell(SMALL, names, (("task", "Pivots"),), budget=400, seeds=4, extra_steps=400)
    return cell, cell.work()


def test_the_best_of_others_is_compared_draw_by_draw(measured):
    cell, found = measured
    draw = np.array([[0, 1, 2, 3], [0, 0, 1, 2], [3, 3, 3, 1]])
    apart = [ratio(Comparison("rloo", name), cell, found, draw) for name in ("gigpo(gamma=1)", "grpo")]
    best = ratio(Comparison("rloo", others=("gigpo(gamma=1)", "grpo")), cell, found, draw)
    assert np.allclose(best, np.minimum(*apart))
    assert ratio(Comparison("rloo", others=("vineppo",)), cell, found, draw) is None


def test_gains_are_compared_by_a_ratio_of_ratios(measured):
    cell, found = measured
    draw = np.array([[0, 1, 2, 3]])
    gain, other = (ratio(Comparison(*pair), cell, found, draw) for pair in (("rloo", "unit"), ("grpo", "unit")))
    test = Comparison("rloo", "unit", against=("grpo", "unit"))
    assert np.allclose(ratio(test, cell, found, draw), gain - other)
    assert test.words == "rloo / GRPO > grpo / GRPO"


def test_claims_are_whole():
    names = [one.name for one in CLAIMS]
    assert len(set(names)) == len(names)
    assert sum(map(len, THEMES.values())) == len(CLAIMS)
    for one in CLAIMS:
        assert one.tests, one.name
        assert all((one.claim, one.source, one.predicted, one.refuted_by)), one.name


@pytest.mark.parametrize("quick", [True, False])
def test_trials_have_the_arms_and_axes_that_tests_ask_for(quick):
    for one in CLAIMS:
        trials = [cell for cell in one.cells(quick) if isinstance(cell, Trial)]
        for trial in trials:
            trial.check()
        assert all(trial.first_seed >= 1000 for trial in trials) or quick  # luck of its own
        for test in (test for test in one.tests if isinstance(test, Contrast)):
            here = [t for t in trials if (t.arm == test.first and not test.along) or test.along in dict(t.axes)]
            assert here, (one.name, test.words)
            assert not test.second or any(t.arm == test.second for t in trials), (one.name, test.words)


def test_bad_trials_are_refused():
    with pytest.raises(CreditEnvsError, match="lern"):
        Trial("lern", SMALL, "a").check()
    with pytest.raises(CreditEnvsError, match="seeds"):
        Trial("learn", SMALL, "a", seeds=0).check()
    with pytest.raises(CreditEnvsError, match="Pivot-v0"):
        Trial("learn", "credit/Pivot-v0", "a").check()
    with pytest.raises(CreditEnvsError, match="bigger"):
        Contrast("final", "a", expect="bigger")


_TINY = {
    "learn": (
        SMALL,
        {
            "agent": "grpo",
            "budget": 300,
            "options": ("--groups", "2"),
            "read": ("anchors", "health", "repeats"),
            "policy": "tabular",
        },
    ),
    "bootstrapped": (SMALL, {"groups": 4, "rounds": 2, "beta": 0.5}),
    "curriculum": (
        SMALL,
        {"others": ("credit/Pivots-v0?actions=2&fillers=1&length=1",), "choose": "variance", "budget": 300},
    ),
    "overhead": (SMALL, {"policy": "tabular", "updates": 3, "groups": 2}),
    "sized": ("credit/FrozenLake-v0", {"estimator": "gigpo", "budget": 300, "log2_width": 2, "groups": 1}),
    "watched": ("credit/Charts-v0?bars=2&values=2", {"estimator": "dr_grpo", "budget": 300, "read": ("perception",)}),
    "watermark": ("credit/Sums-v0?base=4&columns=1", {"gain": "rises", "budget": 300}),
    "windows": (SMALL, {"window": 1, "way": "growing", "budget": 300}),
    "critique": ("credit/Sums-v0?base=4&columns=1&repairs=0&task=both", {"way": "critique", "budget": 600}),
    "dependence": ("credit/Charts-v0?bars=2&values=2", {"budget": 300, "groups": 1, "lessons": 3}),
    "experts": (SMALL, {"number": 2, "budget": 200, "width": 4, "rank": 1, "groups": 2}),
}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind in _TINY])
def test_every_kind_of_trial_gives_a_number_per_seed(kind):
    env, settings = _TINY[kind]
    trial = Trial(kind, env, "arm", tuple(settings.items()), seeds=2).check()
    records = trial.work()["records"]
    assert [record["seed"] for record in records] == [0, 1]
    assert all(record["estimator"] == "arm" for record in records)
    figures = [value for record in records for name, value in record.items() if name not in ("estimator", "seed")]
    assert figures
    assert any(math.isfinite(value) for value in figures)


@pytest.mark.parametrize("printed_in", ["text", "picture"])
def test_copies_are_told_from_perception_wherever_the_words_stand(printed_in):
    """Chance keeps ⌈9/4⌉ of 9 steps of either kind and puts neither first; taught half of optimal play, networks read."""
    settings = (("budget", 600), ("lessons", 150), ("printed_in", printed_in))
    trial = Trial("dependence", "credit/Charts-v0?bars=3&printed=0.5&values=3", "arm", settings, seeds=2)
    found = trial.work()["records"]
    mean = {name: np.mean([record[name] for record in found]) for name in found[0] if name != "estimator"}
    for kind in ("perceived", "copied"):
        assert mean[f"{kind}_chance"] == pytest.approx(1 / 3, abs=0.08)
        assert mean[f"read_{kind}"] > 0.7
    assert mean["apart_chance"] == pytest.approx(1 / 2, abs=0.08)
    assert mean["taught"] == pytest.approx(0.5, abs=0.15)


def test_a_mask_changes_training_and_chance_is_no_look():
    """From one teacher, masks lead elsewhere; a share of 40 % by chance slows learning down."""
    speed = {}
    for keep in ("", "patches", "chance"):
        settings = (("budget", 3000), ("keep", keep), ("lessons", 60))
        trial = Trial("dependence", "credit/Charts-v0?bars=2&values=2", "arm", settings, seeds=2)
        found = trial.work()["records"]
        speed[keep] = [record["speed"] for record in found], [record["taught"] for record in found]
    assert speed[""][1] == speed["patches"][1] == speed["chance"][1]
    assert len({tuple(curve) for curve, _ in speed.values()}) == 3
    assert np.mean(speed["chance"][0]) < np.mean(speed[""][0])


def test_the_same_trial_gives_the_same_figures():
    env, settings = _TINY["learn"]
    trial = Trial("learn", env, "arm", tuple(settings.items()), seeds=3)
    assert trial.work() == trial.work()


def test_the_watermark_counts_a_level_once_and_rises_count_again():
    """Trained on a task whose columns may be redone, what is paid for every rise redoes them."""
    env = "credit/Sums-v0?base=4&columns=1&repairs=3"
    length = {}
    for gain in ("levels", "rises"):
        found = Trial("watermark", env, gain, (("gain", gain), ("budget", 4000)), seeds=3).work()["records"]
        length[gain] = np.mean([record["length"] for record in found])
    assert length["rises"] > length["levels"] + 1


def test_a_sweep_of_trials_is_resumed_and_lands_in_the_dataset(tmp_path):
    trials = arms(
        "learn", {"Pivots": SMALL}, {"grpo": {"agent": "grpo"}, "rloo": {"agent": "rloo"}}, seeds=2, budget=200
    )
    sweep = Sweep("trials", "two agents", tuple(trials(True)))
    assert run(sweep, tmp_path) == []
    cell = tmp_path / "cells" / f"{sweep.cells[0].slug}.json"
    before = cell.stat().st_mtime_ns
    assert run(sweep, tmp_path) == []
    assert cell.stat().st_mtime_ns == before
    rows = read(tmp_path)
    assert {(row["estimator"], row["seed"]) for row in rows} == {(a, s) for a in ("grpo", "rloo") for s in (0, 1)}
    assert all(0 <= row["final"] <= 1 for row in rows)


def test_the_page_says_what_the_data_say(tmp_path):
    path = tmp_path / "data" / "ledger.json"
    one = dataclasses.replace(
        claim("gigpo_ppo"),
        tests=(Contrast("final", "gigpo", "ppo"), Contrast("final", "ppo", "gigpo")),
        cells=lambda _: [pair[0] for pair in done],
    )
    done = [made("gigpo", 0.5 + NOISE), made("ppo", NOISE)]
    (tmp_path / "cells").mkdir()
    for trial, found in done:
        (tmp_path / "cells" / f"{trial.slug}.json").write_text(json.dumps(found))
    rows = ledger_rows([(one, *judge(one, tmp_path))], "run", {"Training": [one]})
    assert rows[0]["verdict"] == "depends"
    save_json(kept(rows, path), path)
    text = write_claims(tmp_path).read_text()
    assert "◐ depends" in text
    assert "supported: gigpo > ppo, final<br>contradicted: ppo > gigpo, final" in text
    assert "0.500 [0.500, 0.500]" in text
    assert not any(line.startswith("%") for line in text.splitlines())  # Sphinx would drop it
    assert "1 depend on" in ledger_section(json.loads(path.read_text()))

    unmeasured = [{**rows[0], "verdict": "open", "tests": [{**test, "cells": ()} for test in rows[0]["tests"]]}]
    assert kept(unmeasured, path)[0]["verdict"] == "depends"
    again = kept([{**rows[0], "verdict": "supported", "command": "run in full"}], path)[0]
    assert (again["verdict"], again["first_look"]) == ("supported", "depends")


def test_the_ledger_in_the_docs_is_the_one_of_the_claims(tmp_path):
    docs = Path(__file__).parents[1] / "docs"
    rows = json.loads((docs / "data" / "ledger.json").read_text())
    assert [row["name"] for row in rows] == [one.name for one in CLAIMS]
    for row in rows:
        one = claim(row["name"])
        assert (row["claim"], row["refuted_by"]) == (one.claim, one.refuted_by), row["name"]
        assert [test["test"] for test in row["tests"]] == [test.words for test in one.tests], row["name"]
        assert all(test["cells"] for test in row["tests"]), row["name"]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ledger.json").write_bytes((docs / "data" / "ledger.json").read_bytes())
    assert write_claims(tmp_path).read_text() == (docs / "claims.md").read_text()


def test_every_claim_is_an_experiment():
    assert {cell.slug for one in CLAIMS for cell in one.cells(True)} == {cell.slug for cell in sweep_of("claims").cells}
