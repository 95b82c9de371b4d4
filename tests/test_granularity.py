"""Granularity: signals at any grain are what they say; the surface, its tests and the plan's rules find what was put in."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_envs import make_table
from credit_envs.credit.grpo import dr_grpo
from credit_envs.credit.monte_carlo import vineppo
from credit_envs.credit.tree import tree_value
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.providers import Provided
from credit_envs.evaluation.replicate import Subject
from credit_envs.evaluation.summary import Replicates
from credit_envs.experiments import Cell, Sweep, catalogue, confirm, grain_tests, granular, run, speed, surface
from credit_envs.experiments.cells import work
from credit_envs.experiments.names import named
from credit_envs.experiments.sweep_files import load_sweep
from credit_envs.experiments.where import where
from credit_envs.oracle.control import ladder
from credit_envs.sampling.sampler import Sampler

PIVOTS = "credit/Pivots-v0?actions=2&credit=each&fillers=0&length=4&unit=2"


@pytest.fixture(scope="module")
def subject():
    table = make_table(PIVOTS)
    return Subject(table, ladder(table, (0.5,))[-1].policy)


@pytest.fixture(scope="module")
def scene(subject):
    sampler = Sampler(subject.table, subject.behaviour, 3)
    sample = sampler.groups(6, 8)
    return sampler, sample, Provided(sampler, sample, subject.values)


def test_grain_one_of_mc_is_vineppo(scene):
    sample = scene[1]

    def continuations(rollout, step, k, gamma):
        return (rollout * 7 + step * 3).to(torch.float64)[:, None].repeat(1, k).sin()

    batch = sample.trajectories
    mine = granular.mc(batch, 1, 3, continuations=continuations)
    assert torch.allclose(mine, vineppo(batch, continuations=continuations, k=3))


def test_coarsest_grain_of_anchors_is_twice_grpo(scene):
    batch = scene[1].trajectories
    assert torch.allclose(granular.anchor(batch, "trajectory"), 2 * dr_grpo(batch))
    assert torch.allclose(granular.anchor(batch, 1000, episode=0.0), dr_grpo(batch))


def test_exact_values_at_grain_one_are_the_advantage_where_nothing_is_random(scene):
    _, sample, provided = scene
    found = granular.value(sample.trajectories, 1, value=provided["value"])
    assert torch.allclose(found, provided["advantage"])


@given(grain=st.one_of(st.integers(1, 12), st.sampled_from(granular.LEVELS)))
@settings(max_examples=20, deadline=None)
def test_shared_credit_telescopes(scene, grain):
    """Summed once per part, credit is the return minus the start's value, whatever the values are."""
    batch = scene[1].trajectories
    found = granular.cut(batch, grain)
    value = torch.rand(found.present.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    credit = granular.shared(batch, found, value)
    once = torch.where(found.present, credit.gather(1, found.start), 0.0).sum(dim=1)
    assert torch.allclose(once, batch.returns - value[:, 0])


def test_parts_follow_labels(scene):
    batch = scene[1].trajectories
    assert granular.parts(batch, 3)[0].tolist() == [0, 0, 0, 1, 1, 1, 2]  # the last decision ends the episode
    assert torch.equal(granular.parts(batch, "turn"), batch.turn)
    assert granular.parts(batch, "trajectory").max() == 0
    with pytest.raises(CreditEnvsError, match="grain"):
        granular.parts(batch, 0)
    with pytest.raises(CreditEnvsError, match="paragraph"):
        granular.parts(batch, "paragraph")


@pytest.mark.parametrize(
    ("name", "factor"),
    [*((f"{family}@{g}", 1.0) for g in (1, 2, 4, 8) for family in ("mc", "value")), ("dr_grpo", 7 / 8)],
)
def test_means_that_the_surface_takes_as_known(subject, name, factor):
    """E g = factor · ∇J, by a z-test of the projection over seeds, without control variates' help."""
    target = float((subject.gradient**2).sum())
    seen = []
    for seed in range(24):
        sampler = Sampler(subject.table, subject.behaviour, seed)
        sample = sampler.groups(12, 8)
        from credit_envs.evaluation.scores import GradientFrame

        frame = GradientFrame(sample, subject.gradient)
        _, credit = named(name).credit(sample.trajectories, Provided(sampler, sample, subject.values))
        g = frame.total(frame.gradient(credit)) / frame.n_groups
        seen.append(float((g * subject.gradient).sum()) / target)
    z = (np.mean(seen) - factor) / (np.std(seen, ddof=1) / math.sqrt(len(seen)))
    assert abs(z) < 4, (np.mean(seen), z)
    assert np.std(seen, ddof=1) / math.sqrt(len(seen)) < 0.25  # so that a wrong factor would show


def test_trees_fork_at_boundaries_only(subject):
    sampler = Sampler(subject.table, subject.behaviour, 5)
    sample = granular.grain_trees(sampler, 30, 8, grain=4)
    batch = sample.trajectories
    first = batch.tree[1:] == batch.tree[:-1]
    same = (batch.node[1:] == batch.node[:-1]) & first[:, None]
    shared = same.sum(dim=1)[first]
    assert set(shared.tolist()) <= {0, 4}
    assert 4 in shared.tolist()
    assert batch.n_rollouts == 30 * 4 * 3


def test_credit_along_a_tree_is_that_of_the_last_branching(subject):
    sampler = Sampler(subject.table, subject.behaviour, 5)
    batch = granular.grain_trees(sampler, 10, 8, grain=2).trajectories
    apart, along = tree_value(batch, leave_one_out=True), tree_value(batch, leave_one_out=True, along=True)
    held = torch.zeros(batch.n_rollouts, dtype=torch.float64)
    branched = torch.zeros_like(batch.mask)
    count = {}
    for node in batch.node.flatten().tolist():
        count[node] = count.get(node, 0) + 1
    for t in range(batch.mask.shape[1]):
        here = torch.tensor([count[n] for n in batch.node[:, t].tolist()])
        before = torch.tensor([count[n] for n in batch.node[:, t - 1].tolist()]) if t else torch.full_like(here, 12)
        branched[:, t] = before > here
        held = torch.where(branched[:, t], apart[:, t], held)
        assert torch.allclose(along[:, t], held)
    assert branched.any()


def test_learned_reads_boundaries_of_fresh_groups_only(scene):
    _, sample, _ = scene
    batch, asked = sample.trajectories, []

    def fresh(groups):
        asked.append(groups)
        return batch

    found = granular.learned(batch, "trajectory", data=3, fresh=fresh)
    assert asked == [3]
    expected = (batch.returns - batch.returns.mean())[:, None] * batch.mask
    assert torch.allclose(found, expected)


def test_variance_is_a_plus_b_over_k():
    """What one and four continuations and exact values say about sixteen is what sixteen say."""
    names = (*(f"mc@2(k={k})" for k in (1, 4, 16)), "value@2")
    found = work(Cell(PIVOTS, names, budget=40_000, seeds=6, extra_steps=10**7))["records"]
    one, four, sixteen, limit = (Replicates([r for r in found if r["estimator"] == name]) for name in names)
    for column in (one, four, sixteen):
        assert set(column.columns["groups"]) == {714.0}
    guess = surface.at_k(one, four, limit, 16.0)
    assert guess.columns["trained_steps"].mean() * 714 == sixteen.columns["trained_steps"].mean()
    spent = sixteen.columns["env_steps"].mean() / sixteen.columns["groups"].mean()
    assert guess.columns["env_steps"].mean() == pytest.approx(spent, rel=1e-9)
    measured = sixteen.columns["variance"].mean()
    assert guess.columns["variance"].mean() == pytest.approx(measured, rel=0.12)
    assert four.columns["variance"].mean() > 1.1 * measured  # so the check can fail


def _slice(unit, budget, worth, grains=(1, 2, 4, 8)):
    worth = np.asarray(worth, dtype=float)
    worth = worth if worth.ndim == 2 else np.tile(worth, (5, 1))
    return surface.Slice(
        "Pivots", "first", unit, 0.5, "mc", "rollouts", "simulator", budget, budget * 64.0, grains, worth
    )


def test_the_test_and_the_regression_find_what_was_put_in():
    grains = (1, 2, 4, 8)
    follows = [_slice(k, m, [2 ** -abs(np.log2(g / k)) for g in grains]) for k in grains for m in (4, 16, 64)]
    assert all(one.verdict == "k" and one.loss[0] == 0 for one in follows)
    slope = grain_tests.regression(follows)
    assert slope["unit"][0] == pytest.approx(1)
    assert slope["budget"][0] == pytest.approx(0, abs=1e-9)
    shrinks = [
        _slice(k, m, [2 ** -abs(np.log2(g) - 3 + np.log2(m / 4) / 2) for g in grains])
        for k in grains
        for m in (4, 16, 64)
    ]
    slope = grain_tests.regression(shrinks)
    assert slope["unit"][0] == pytest.approx(0, abs=1e-9)
    assert slope["budget"][0] == pytest.approx(-0.5)
    assert {one.verdict for one in shrinks} == {"k", "not k"}
    torn = _slice(2, 4, [[1, 2, 0, 0], [1, 2, 0, 0], [2, 1, 0, 0]])
    assert torn.verdict == "open"
    assert grain_tests.rules([_slice(2, 4, [1, 2, 4, 3]), _slice(4, 4, [1, 4, 2, 3])]) == pytest.approx(
        {"unit": 0.5, "fine": 0.25, "coarse": 0.75, "constant": 0.75}
    )


def test_undefined_grains_do_not_win():
    one = _slice(4, 4, [np.nan, 1.0, 2.0, np.nan])
    assert one.best.tolist() == [2] * 5
    assert _slice(4, 4, [np.nan] * 4).verdict in ("not k", "undefined")
    assert _slice(4, 4, [np.nan] * 4).best.tolist() == [-1] * 5


def test_the_surface_is_published(tmp_path, monkeypatch):
    """A small surface of the real kind goes through: slices, tables, pictures, page."""
    cells = []
    for cell in load_sweep("granularity-quick").cells:
        axes = dict(cell.axes)
        if axes["task"] == "Pivots" and axes["structure"] == "first" and axes["unit"] in (1, 2):
            env = f"credit/Pivots-v0?actions=2&credit=each&fillers=0&length={8 // axes['unit']}&unit={axes['unit']}"
            names = tuple(name for name in cell.estimators if name.split("@")[1].split("(")[0] in ("1", "2", "8"))
            # Two cells that differ in their seeds alone are one point.
            small = dataclasses.replace(
                cell, environment=env, estimators=names, budget=512, extra_steps=20_000, seeds=2
            )
            cells += [small, dataclasses.replace(small, first_seed=2)]
    sweep = Sweep("granularity", "", tuple(cells))
    monkeypatch.setattr(catalogue, "load_sweep", lambda name: sweep)
    run(sweep, tmp_path / "run")
    found = surface.slices(sweep, tmp_path / "run", resamples=20)
    by = {(one.family, one.spending, one.price, one.budget): one for one in found if one.unit == 2}
    assert len(found) == len({(one.unit, one.family, one.spending, one.price, one.budget) for one in found})
    # An unbiased estimator's worth does not depend on the budget, and the exact value is worth more than its estimates.
    flat = [by["mc", "rollouts", "simulator", m].worth[0] for m in surface.BUDGETS]
    assert np.allclose(flat[0], flat[-1])
    assert (by["value", "rollouts", "data", 64].worth[0] > by["mc", "rollouts", "data", 64].worth[0]).all()
    assert (by["mc", "best split", "data", 64].worth[0] >= by["mc", "rollouts", "data", 64].worth[0]).all()
    docs = tmp_path / "docs"
    written = catalogue.publish("granularity", tmp_path / "run", docs)
    assert all(path.is_file() for path in written)
    text = (docs / "principle.md").read_text()
    assert "Monte-Carlo values, K = 1" in text
    for path in docs.rglob("*.png"):
        assert path.stat().st_size > 5_000


def test_seeds_in_two_cells_are_pooled(tmp_path):
    whole = Cell(
        PIVOTS, ("mc@2(k=1)", "mc@2(k=4)", "value@2"), (("task", "x"), ("structure", "first"), ("unit", 2)), seeds=4
    )
    halves = [dataclasses.replace(whole, seeds=2, first_seed=first) for first in (0, 2)]
    found = []
    for name, cells in (("whole", [whole]), ("halves", halves)):
        sweep = Sweep(name, "", tuple(dataclasses.replace(cell, budget=600) for cell in cells))
        run(sweep, tmp_path / name)
        found.append(surface.pooled(sweep, tmp_path / name)["x", "first", 2, 0.5][0])
    for name, records in found[0].items():
        plain = [[{k: v for k, v in r.items() if k != "seconds" and v == v} for r in one[name]] for one in found]
        assert plain[0] == plain[1]
        assert [r["seed"] for r in records] == [0, 1, 2, 3]


def _named(task, family, grains, worth, spending="rollouts", price="simulator", budget=64):
    worth = np.tile(np.asarray(worth, dtype=float), (5, 1))
    return surface.Slice(task, "first", 1, 0.5, family, spending, price, budget, budget * 100.0, grains, worth)


def test_where_the_principle_predicts():
    grains = ("step", "segment", "trajectory")
    critic = _named("Sums", "learned", grains, [1.0, 3.0, 0.5])
    exact = _named("Sums", "value", grains, [9.0, 8.0, 1.0])  # no real system has it
    (row,) = where([critic, exact])
    assert (row["best"], row["family"], row["verdict"], row["share"]) == ("segment", "learned", "holds", 1.0)
    assert row["kept"] == [1, 1, 1]
    (row,) = where([critic, exact, _named("Sums", "mc", grains, [1, 1, 6])])
    assert (row["best"], row["family"], row["verdict"]) == ("trajectory", "mc", "fails")
    assert row["kept"][0] == pytest.approx(0.5)
    (row,) = where([_named("Sums", "tree", grains, [1, 2, 2])])
    assert (row["best"], row["verdict"]) == ("segment", "holds")  # a tie is no failure


def test_the_plan_names_the_rules_and_they_can_fail():
    """On a made-up surface where the unit is always best the principle holds and most findings of the quick run do not."""
    found = []
    for task, grains in (("Pivots", (1, 2, 4, 8, 16, 32)), ("KeyRooms", (1, 2, 4, 8, 16, 32))):
        for unit in (1, 2, 4) if task == "KeyRooms" else (1, 2, 4, 8, 16):
            for structure in surface.STRUCTURES if unit > 1 else ("first",):
                worth = np.tile([0.1 + 2.0 * (g == unit) for g in grains], (5, 1))
                for family, spending in (*confirm.REAL, ("value", "rollouts")):
                    for price in ("simulator", "data"):
                        for m in surface.BUDGETS:
                            place = (task, structure, unit, 0.5, family, spending, price, m, m * 256.0)
                            found.append(surface.Slice(*place, grains, worth))
    levels = ("step", "turn", "segment", "trajectory")
    for task in ("Household", "Lookup", "Apps", "Shop", "Chat"):
        for family in ("value", "anchor", "mc", "tree", "learned"):
            found += [_named(f"{task} tokens", family, levels, [1, 2, 1, 1], budget=m) for m in surface.BUDGETS]
    moments = [{"task": "Pivots", "structure": "first", "unit": 4, "estimator": "mc@1(k=1)", "cosine": 0.5}]
    told = confirm.checks(confirm.same_points(found), moments)
    assert {check.finding for check in told} == set(range(1, 10))
    assert [check.held for check in told if check.finding in (1, 2, 3, 6, 8, 9)] == [False] * 7
    assert all(check.held for check in told if check.finding == 5)
    assert confirm.checks(confirm.same_points(found[:10]), moments) == []


def _learnt(grain, values, family="mc", unit=4, structure="first", alarms=()):
    values = np.asarray(values, dtype=float)
    return speed.Learnt(
        "Pivots", structure, unit, family, str(grain), values, values, 0 * values, 10.0, alarms, values * math.nan
    )


def test_learning_speed_is_held_against_the_surface():
    found, rows = [], []
    for structure in surface.STRUCTURES:
        for grain, worth in ((1, 0.2), (2, 0.4), (4, 2.0), (8, 0.9)):
            found.append(_learnt(grain, [worth / 4, worth / 4 + 0.01, worth / 4 - 0.01], structure=structure))
            place = {"task": "Pivots", "structure": structure, "unit": "4", "family": "mc", "grain": str(grain)}
            rows.append({**place, "price": "simulator", "spending": "rollouts", "groups": "4", "worth": str(worth)})
            rows.append({**place, "price": "data", "spending": "rollouts", "groups": "4", "worth": str(1 / worth)})
    told = {row["family"]: row for row in speed.agreement(found, rows)}
    assert told["mc"]["rank"] == pytest.approx([1, 1, 1])
    assert told["mc"]["points"] == 12
    sides = {row["side"]: row for row in speed.contrasts(found)}
    assert sides["finer"]["pairs"] == 6
    assert sides["coarser"]["speed"][0] == pytest.approx((0.9 - 2.0) / 4)
    assert sides["finer"]["speed"][2] < 0
    assert all(row["fastest"] == "4" and row["agreement"] == 1 for row in speed.fastest(found))
    net = [dataclasses.replace(one, task="Charts network", dependence=one.final) for one in found[:2]]
    assert [row["dependence"][0] for row in speed.shortcuts([*found, *net])] == [float(one.final.mean()) for one in net]
    assert speed.contrasts(speed.tabular([*found, *net])) == speed.contrasts(found)
    json.dumps([speed.contrasts(found), speed.fastest(found), speed.shortcuts(net)])
    worse = [_learnt(8, [0.9, 0.9, 0.9]), _learnt(4, [0.5, 0.5, 0.5], alarms=("spread",))]
    (row,) = speed.fastest(worse)
    assert (row["fastest"], row["agreement"], row["unit"]) == ("8", 0, "4")


def test_a_trial_trains_at_a_grain(tmp_path):
    from credit_envs.experiments.trials import Trial

    settings = {"budget": 3_000, "groups": 2, "lr": 0.2}

    def trained(name):
        return (
            Trial("grained", PIVOTS, name, tuple({**settings, "estimator": name}.items()), seeds=3)
            .check()
            .work()["records"]
        )

    exact, deep = trained("value@1"), trained("mc@1(k=4)")
    assert [r["seed"] for r in exact] == [0, 1, 2]
    assert min(r["final"] for r in exact) > max(r["final"] for r in deep)  # continuations eat the budget
    assert exact[0]["updates"] > deep[0]["updates"] >= 1
    assert all(math.isnan(r["alarm_entropy"]) for r in exact)
