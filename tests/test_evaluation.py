"""The door to evaluation: figures against closed forms and enumeration, pairing, resuming, user functions, bad input."""

import itertools
import json
from math import factorial

import numpy as np
import pytest
import torch

import credit_envs
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation import Config, evaluate, open_results
from credit_envs.evaluation.run import run
from credit_envs.recipes import Recipe, names, recipe

BANDIT = {"length": 1, "fillers": 0, "actions": 3}


@pytest.fixture(scope="module")
def bandit():
    """One decision among three actions, the reward 1 for the right one: everything can be enumerated."""
    table = credit_envs.make_table("credit/Pivots-v0", **BANDIT)
    return evaluate(["grpo", "rloo", "gigpo"], [table], budget=40_000, seeds=8, levels=(0.0,)), table


def exact_quality(credit, groups):
    """q of a mean of groups, by enumerating how often each of three equally likely actions occurs among 8 rollouts."""
    gradient_of = np.eye(3) - 1 / 3
    target = gradient_of.T @ (np.array([1.0, 0, 0]) - 1 / 3) / 3
    mean, square = np.zeros(3), 0.0
    for counts in itertools.product(range(9), repeat=3):
        if sum(counts) != 8:
            continue
        chance = factorial(8) / np.prod([factorial(c) for c in counts]) / 3**8
        g = sum(c * credit(a, counts) * gradient_of[a] for a, c in enumerate(counts)) / 8
        mean += chance * g
        square += chance * g @ g
    noise = mean @ mean + (square - mean @ mean) / groups
    f = (mean @ target) ** 2 / (target @ target * noise)
    return f / (1 - f)


def centred(action, counts):
    return float(action == 0) - counts[0] / 8


def advantage(action, counts):
    return float(action == 0) - 1 / 3


def row(results, name):
    return next(r for r in results.rows if r.estimator == name)


def test_equivalents_of_the_bandit_match_enumeration(bandit):
    results, _ = bandit
    groups = 40_000 / 8
    expected = exact_quality(advantage, groups) / exact_quality(centred, groups)
    found = row(results, "exact").equivalents["simulator"]
    assert abs(found.value - expected) < found.high - found.low  # four standard errors: few seeds under-cover
    assert found.value == pytest.approx(expected, rel=0.02)


def test_rloo_is_the_unit_and_gigpo_of_a_bandit_too(bandit):
    results, _ = bandit
    for name in ("dr_grpo", "rloo", "gigpo"):  # GiGPO of one step is (1 + ω) times centred GRPO
        for found in row(results, name).equivalents.values():
            assert found.value == pytest.approx(1, abs=1e-9)


def test_the_ceiling_and_the_unit_are_always_there_and_exact(bandit):
    results, _ = bandit
    exact = row(results, "exact")
    assert exact.pearson.value == pytest.approx(1)
    assert exact.error.value == pytest.approx(0, abs=1e-12)
    assert exact.headroom["data"].value == pytest.approx(1)
    assert row(results, "dr_grpo").headroom["data"].value == pytest.approx(0, abs=1e-9)
    assert exact.sign.value == exact.rank.value == 1


@pytest.mark.smoke
def test_costs_are_counted_exactly():
    """16 steps per rollout, K continuations from each step t of 16 − t steps: 1 + K·17/2 steps per step."""
    results = evaluate(["vineppo", "vineppo_k1"], ["credit/Pivots-v0"], budget=2_000, seeds=2, levels=(0.0,))
    assert row(results, "vineppo").steps_ratio == pytest.approx(1 + 9 * 17 / 2)
    assert row(results, "vineppo_k1").steps_ratio == pytest.approx(1 + 17 / 2)
    replayed = evaluate(["vineppo_k1"], ["credit/Pivots-v0"], budget=2_000, seeds=2, levels=(0.0,), restore="replay")
    assert row(replayed, "vineppo_k1").steps_ratio == pytest.approx(1 + 17 / 2 + 15 / 2)


def test_own_function_by_name_file_and_object_agree(tmp_path):
    source = "def mine(batch):\n    return (batch.returns - batch.returns.mean())[:, None] * batch.mask\n"
    path = tmp_path / "my_credit.py"
    path.write_text(source)
    space: dict = {}
    exec(source, space)
    options = {"budget": 1_000, "seeds": 2, "levels": (0.5,)}
    by_file = evaluate(f"{path}:mine", ["credit/Pivots-v0"], **options)
    by_object = evaluate(space["mine"], ["credit/Pivots-v0"], **options)
    assert row(by_file, "my_credit:mine").pearson == row(by_object, "mine").pearson
    with pytest.raises(CreditEnvsError, match="it has mine"):
        evaluate(f"{path}:other", ["credit/Pivots-v0"], **options)
    with pytest.raises(CreditEnvsError, match="no file"):
        evaluate("nowhere.py:mine", ["credit/Pivots-v0"], **options)


def test_a_function_gets_what_it_names():
    seen = {}

    def nosy(batch, *, text, key):
        seen["words"], seen["key"] = text(batch.obs[0, :2]), key
        return torch.zeros_like(batch.reward)

    evaluate(nosy, ["credit/KeyRooms-v0"], budget=500, seeds=2, levels=(0.0,))
    assert seen["words"][0].startswith("You are in room 1")
    assert seen["key"].dtype == torch.int64

    def greedy(batch, *, everything):
        return everything

    with pytest.raises(CreditEnvsError, match="unknown need of an estimator 'everything'"):
        evaluate(greedy, ["credit/KeyRooms-v0"], budget=500)


def test_resuming_gives_the_same_records(tmp_path):
    config = Config(("credit/Pivots-v0",), ("grpo", "vineppo_k1"), budget=1_000, seeds=3, levels=(0.0, 0.5))
    whole, parts = run(config, tmp_path / "a"), run(config, tmp_path / "b")
    cells = sorted((parts / "cells").glob("*.json"))
    kept, lost = cells[0], cells[3:]
    stamp = kept.stat().st_mtime_ns
    for path in lost:
        path.unlink()
    run(config, parts)
    assert kept.stat().st_mtime_ns == stamp

    def facts(folder):
        return [{k: v for k, v in record.items() if k != "seconds"} for record in open_results(folder).records]

    assert facts(whole) == facts(parts)
    with pytest.raises(CreditEnvsError, match="another configuration"):
        run(Config(("credit/Pivots-v0",), ("grpo",), budget=1_000, seeds=3), parts)


@pytest.mark.smoke
def test_results_carry_their_provenance(tmp_path):
    results = evaluate("grpo", ["credit/Pivots-v0"], budget=500, seeds=2, levels=(0.0,), output=tmp_path / "r")
    assert results.provenance["credit_envs"] == credit_envs.__version__
    table = credit_envs.make_table("credit/Pivots-v0")
    assert {record["fingerprint"] for record in results.records} == {table.fingerprint}
    stated = json.loads((tmp_path / "r" / "config.json").read_text())
    assert stated["budget"] == 500


def test_group_size_changes_the_method_but_not_the_unit():
    table = credit_envs.make_table("credit/Pivots-v0", **BANDIT)
    results = evaluate("dr_grpo", [table], budget=40_000, seeds=6, levels=(0.0,), group_size=64)
    groups = 40_000 / 8
    # (n − 1)/n scales the mean and the baseline's noise shrinks: 64 rollouts per group are worth a little more each.
    found = row(results, "dr_grpo").equivalents["simulator"]
    assert 1.0 < found.value < exact_quality(advantage, groups) / exact_quality(centred, groups)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 10}, r"budget=10: expected an integer in \[100"),
        ({"seeds": 1}, r"seeds=1: expected an integer in \[2"),
        ({"group_size": 1}, r"group_size=1: expected an integer in \[2"),
        ({"levels": (0.5, 0.2)}, "levels=.*increasing"),
        ({"levels": (1.5,)}, r"levels=1.5: expected a number in \[0"),
        ({"restore": "maybe"}, "restore='maybe': expected one of"),
        ({"device": "abacus"}, "device='abacus': expected 'cpu' or 'cuda'"),
        ({"budgets": 10}, "unexpected keyword argument 'budgets'"),
    ],
)
def test_bad_options_are_named_before_any_work(options, message, tmp_path):
    with pytest.raises(CreditEnvsError, match=message):
        evaluate("grpo", ["credit/Pivots-v0"], output=tmp_path / "none", **options)
    assert not (tmp_path / "none").exists()


def test_bad_names_are_met_with_near_ones():
    with pytest.raises(CreditEnvsError, match="did you mean 'gigpo'"):
        evaluate("gigppo", ["credit/Pivots-v0"])
    with pytest.raises(CreditEnvsError, match=r"did you mean .*'credit/Pivots-v0'"):
        evaluate("gigpo", ["credit/Pivot-v0"])
    with pytest.raises(CreditEnvsError, match="vineppo forks trajectories"):
        evaluate("vineppo", ["credit/Pivots-v0"], restore="none")


def test_bad_credit_is_refused_with_the_place():
    def short(batch):
        return batch.returns

    def broken(batch):
        return torch.full_like(batch.reward, torch.nan)

    for function, message in (
        (short, r"short: credit has shape \(\d+,\), expected"),
        (broken, "broken: credit is nan at"),
    ):
        with pytest.raises(CreditEnvsError, match=message):
            evaluate(function, ["credit/Pivots-v0"], budget=500, seeds=2, levels=(0.0,))


def test_every_method_scores_on_a_table_with_layers():
    table = credit_envs.make_table("credit/FrozenLake-v0", skins=3, skin_rate=0.5, paraphrases=2, cue=0.5, horizon=20)
    every = names()
    results = evaluate(
        every, [table], budget=2_000, seeds=2, levels=(0.0, 0.5), match_discount=False, extra_steps=10_000
    )
    scored = {record["estimator"] for record in results.records}
    assert scored == {*(name for name in every if recipe(name).missing(table) is None), "unit"}
    assert all(np.isfinite(record["projection"]) for record in results.records)


def test_gamma_is_matched_in_rows_of_their_own():
    results = evaluate("gigpo", ["credit/Pivots-v0"], budget=500, seeds=2, levels=(0.0,))
    assert {"gigpo", "gigpo γ=1"} <= {r.estimator for r in results.rows}
    assert recipe("grpo").with_gamma(0.5) is recipe("grpo")
    assert isinstance(recipe("gigpo").with_gamma(1.0), Recipe)
