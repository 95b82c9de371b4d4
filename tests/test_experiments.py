"""Experiments: signals at any grain are what they say, cells resume, the surface and the ledger compute what they claim."""

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
from credit_envs.experiments import Cell, Sweep, granular, run, surface
from credit_envs.experiments.catalogue import NAMES, publish, sweep_of
from credit_envs.experiments.cells import work
from credit_envs.experiments.claims import CLAIMS, claim
from credit_envs.experiments.comparisons import Test as Comparison
from credit_envs.experiments.dataset import gather, read
from credit_envs.experiments.ledger import combined, judge, side, verdict
from credit_envs.experiments.names import named
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


def test_names_bind_options():
    assert named("vineppo(k=4)").advantage.function.keywords["k"] == 4
    assert named("gigpo(gamma=1)").gamma == 1
    assert [piece.name for piece in named("tree@4").pieces][:2] == ["tree@4 plan", "tree@4"]
    both = named("dr_grpo+vppo_mask(share=0.3)")
    assert both.slot("weight")[0].function.keywords == {"share": 0.3}
    for wrong, told in (
        ("vinepo(k=4)", "vineppo"),
        ("vineppo(depth=4)", "depth"),
        ("mc@0", "grain"),
        ("mcc@2", "mc"),
        ("vineppo(k=4", "expected NAME"),
    ):
        with pytest.raises(CreditEnvsError, match=told):
            named(wrong)


def _cell(**changes):
    return Cell(PIVOTS, ("mc@2(k=1)", "gigpo"), (("task", "Pivots"),), budget=600, seeds=3, **changes)


def test_cells_refuse_what_cannot_be():
    for changes, told in (
        ({"level": 2.0}, "level"),
        ({"seeds": 1}, "seeds"),
        ({"estimators": ("gigo",)}, "gigpo"),
        ({"probe": "blame_"}, "blame"),
        ({"environment": "credit/Pivotz-v0"}, "Pivots"),
    ):
        with pytest.raises(CreditEnvsError, match=told):
            dataclasses.replace(_cell(), **changes).check()
    with pytest.raises(CreditEnvsError, match="twice"):
        Sweep("x", "", (_cell(), _cell()))


def test_a_sweep_resumes_and_its_dataset_reads_back(tmp_path):
    sweep = Sweep("try", "", (_cell(), _cell(group_size=4, probe="blame")))
    told = []
    assert run(sweep, tmp_path, progress=lambda *x: told.append(x)) == []
    assert told[-1] == (2, 2, "done")
    files = {path: path.read_bytes() for path in (tmp_path / "cells").iterdir()}
    victim = next(iter(files))
    victim.unlink()
    stamps = {path: path.stat().st_mtime_ns for path in files if path != victim}
    run(sweep, tmp_path)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())

    def plain(text):
        found = json.loads(text)
        for record in found["records"]:
            record.pop("seconds")
        return found

    assert plain(victim.read_bytes()) == plain(files[victim])
    rows = read(tmp_path)
    assert len(rows) == 2 * 3 * 5  # gigpo, mc, unit under two names, exact
    assert {row["axis_task"] for row in rows} == {"Pivots"}
    assert {row["about_horizon"] for row in rows} == {8}


def test_processes_find_what_one_process_finds(tmp_path):
    sweep = Sweep("try", "", (_cell(), _cell(group_size=4)))
    run(sweep, tmp_path / "one")
    run(sweep, tmp_path / "two", jobs=2)
    one, two = (
        [{k: v for k, v in r.items() if k != "seconds"} for r in read(tmp_path / name)] for name in ("one", "two")
    )
    assert [{k: v for k, v in r.items() if v == v} for r in one] == [
        {k: v for k, v in r.items() if v == v} for r in two
    ]


def test_a_dataset_needs_no_pyarrow(tmp_path, monkeypatch):
    sweep = Sweep("try", "", (_cell(),))
    run(sweep, tmp_path)
    from credit_envs.experiments import dataset

    before = read(tmp_path)
    monkeypatch.setattr(dataset, "find_spec", lambda name: None)
    for path in tmp_path.glob("records.*"):
        path.unlink()
    assert gather(sweep, tmp_path).suffix == ".jsonl"
    for a, b in zip(read(tmp_path), before, strict=True):
        assert {k: v for k, v in a.items() if v == v} == {k: v for k, v in b.items() if v == v}


def test_a_cell_that_cannot_be_stops_no_other(tmp_path):
    broken = Cell("credit/Pivots-v0?length=1&actions=2", ("hiper",), budget=200, seeds=2)  # no label `field`: left out
    worse = dataclasses.replace(_cell(), environment="credit/KeyRooms-v0?stages=999", seeds=2)
    failed = run(Sweep("try", "", (_cell(), broken, worse)), tmp_path)
    assert len(failed) == 1
    assert "stages" in failed[0]
    with pytest.raises(CreditEnvsError, match="no cell could be done"):
        run(Sweep("try", "", (worse,)), tmp_path / "other")


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
    slope = surface.regression(follows)
    assert slope["unit"][0] == pytest.approx(1)
    assert slope["budget"][0] == pytest.approx(0, abs=1e-9)
    shrinks = [
        _slice(k, m, [2 ** -abs(np.log2(g) - 3 + np.log2(m / 4) / 2) for g in grains])
        for k in grains
        for m in (4, 16, 64)
    ]
    slope = surface.regression(shrinks)
    assert slope["unit"][0] == pytest.approx(0, abs=1e-9)
    assert slope["budget"][0] == pytest.approx(-0.5)
    assert {one.verdict for one in shrinks} == {"k", "not k"}
    torn = _slice(2, 4, [[1, 2, 0, 0], [1, 2, 0, 0], [2, 1, 0, 0]])
    assert torn.verdict == "open"
    assert surface.rules([_slice(2, 4, [1, 2, 4, 3]), _slice(4, 4, [1, 4, 2, 3])]) == pytest.approx(
        {"unit": 0.5, "fine": 0.25, "coarse": 0.75, "constant": 0.75}
    )


def test_undefined_grains_do_not_win():
    one = _slice(4, 4, [np.nan, 1.0, 2.0, np.nan])
    assert one.best.tolist() == [2] * 5
    assert _slice(4, 4, [np.nan] * 4).verdict in ("not k", "undefined")
    assert _slice(4, 4, [np.nan] * 4).best.tolist() == [-1] * 5


@pytest.mark.parametrize(
    ("expect", "spans", "told"),
    [
        ("greater", [(1, 0.5, 2), (1, 0.2, 2)], "supported"),
        ("greater", [(1, 0.5, 2), (0, -1, 1)], "supported"),
        ("greater", [(1, 0.5, 2), (-1, -2, -0.5)], "depends"),
        ("greater", [(-1, -2, -0.5), (0, -1, 1)], "contradicted"),
        ("greater", [(0, -1, 1), (0, -1, 1), (1, 0.5, 2)], "open"),
        ("less", [(-1, -2, -0.5)], "supported"),
        ("less", [(1, 0.5, 2)], "contradicted"),
        ("equal", [(0, -0.1, 0.1)], "supported"),
        ("equal", [(1, 0.9, 1.1)], "contradicted"),
        ("equal", [(0, -0.5, 0.5)], "open"),
        ("rate", [(0.3, 0.2, 0.4)], "supported"),
    ],
)
def test_verdicts(expect, spans, told):
    assert verdict([side(span, expect, math.log(1.25)) for span in spans], expect) == told


def test_verdicts_combine():
    assert combined(["supported", "supported"]) == "supported"
    assert combined(["supported", "open"]) == "depends"
    assert combined(["supported", "contradicted"]) == "depends"
    assert combined(["open", "open"]) == "open"
    with pytest.raises(CreditEnvsError, match="expect"):
        Comparison("a", expect="more")


def test_the_ledger_judges_by_what_is_known(tmp_path):
    """The exact advantage beats GRPO; GRPO does not beat it; and a claim reads its trend from what the oracle measured."""
    from credit_envs.experiments.ledger import Claim

    cells = tuple(
        Cell(
            f"credit/Pivots-v0?actions=2&credit=each&fillers=0&length={n}",
            (),
            (("task", "Pivots"),),
            budget=600,
            seeds=4,
        )
        for n in (2, 8, 16)
    )
    right = Claim(
        "x",
        "",
        "",
        "",
        "",
        (Comparison("exact"), Comparison("exact", expect="grows", along="log2_steps")),
        lambda _: cells,
    )
    wrong = dataclasses.replace(right, tests=(Comparison("unit", "exact"),))
    same = dataclasses.replace(right, tests=(Comparison("dr_grpo", expect="equal", margin=0.01),))
    run(right.sweep(), tmp_path)
    told, outcomes = judge(right, tmp_path)
    assert told == "supported"
    assert outcomes[0].effect[1] > 1
    assert len(outcomes[0].cells) == 3
    assert judge(wrong, tmp_path)[0] == "contradicted"
    assert judge(same, tmp_path)[1][0].effect == pytest.approx((1, 1, 1))


def test_blame_counts_by_hand(subject):
    """Pivots pay each right choice: the probe's counts are those of a plain loop."""
    from credit_envs.experiments.probes import blame

    found = blame(subject, 2, 3, 4)
    sampler = Sampler(subject.table, subject.behaviour, 2)
    sample = sampler.groups(3, 4)
    exact = Provided(sampler, sample, subject.values)["advantage"]
    good = 0
    for i in range(12):
        group = sample.trajectories.returns[i // 4 * 4 : i // 4 * 4 + 4]
        if sample.trajectories.returns[i] < group.mean() - 1e-9:
            good += int((exact[i] > 1e-12).sum())
    assert found["failed_good"] == good
    assert sum(found.values()) <= 3 * 4 * 8


def test_every_experiment_is_well_formed():
    assert len({one.name for one in CLAIMS}) == len(CLAIMS) >= 12
    for quick in (True, False):
        for name in ("granularity", "dials", "claims"):
            sweep = sweep_of(name, quick)
            assert all(cell.seeds >= 10 for cell in sweep.cells)
    for one in CLAIMS:
        named_here = {name for cell in one.cells(True) for name in (*cell.estimators, "unit", "dr_grpo", "exact")}
        for test in one.tests:
            assert test.expect == "rate" or {test.first, test.second} <= named_here, one.name
    with pytest.raises(CreditEnvsError, match="granularity"):
        sweep_of("granularty")
    with pytest.raises(CreditEnvsError, match="gigpo_levels"):
        claim("gigpo_level")
    assert "mc_k" in NAMES


def test_the_surface_is_published(tmp_path, monkeypatch):
    """A small surface of the real kind goes through: slices, tables, pictures, page."""
    grains = (1, 2, 8)
    cells = []
    for k in (1, 2):
        env = f"credit/Pivots-v0?actions=2&credit=each&fillers=0&length={8 // k}"
        cells += list(surface._stretched("Pivots", env, k, grains, 8, 0.5, 2, True))
    cells = [
        dataclasses.replace(cell, budget=512, extra_steps=20_000)
        for cell in cells
        if dict(cell.axes)["structure"] == "first"
    ]
    sweep = Sweep("granularity", "", tuple(cells))
    monkeypatch.setattr(surface, "granularity", lambda quick=True: sweep)
    run(sweep, tmp_path / "run")
    found = surface.slices(sweep, tmp_path / "run", resamples=20)
    by = {(one.family, one.spending, one.price, one.budget): one for one in found if one.unit == 2}
    # An unbiased estimator's worth does not depend on the budget, and the exact value is worth more than its estimates.
    flat = [by["mc", "rollouts", "simulator", m].worth[0] for m in surface.BUDGETS]
    assert np.allclose(flat[0], flat[-1])
    assert (by["value", "rollouts", "data", 64].worth[0] > by["mc", "rollouts", "data", 64].worth[0]).all()
    assert (by["mc", "best split", "data", 64].worth[0] >= by["mc", "rollouts", "data", 64].worth[0]).all()
    docs = tmp_path / "docs"
    written = publish("granularity", tmp_path / "run", docs)
    assert all(path.is_file() for path in written)
    text = (docs / "principle.md").read_text()
    assert "Monte-Carlo values, K = 1" in text
    for path in docs.rglob("*.png"):
        assert path.stat().st_size > 5_000


def test_the_command_runs_one_claim(tmp_path, monkeypatch, capsys):
    from credit_envs import cli
    from credit_envs.experiments import claims

    small = [dataclasses.replace(cell, budget=300, seeds=2) for cell in claim("grpo_blame").cells(True)][:2]
    one = dataclasses.replace(claim("grpo_blame"), cells=lambda quick: small)
    monkeypatch.setattr("credit_envs.experiments.catalogue.CLAIMS", (one,))
    assert claims.CLAIMS
    code = cli.main(["experiment", "grpo_blame", "--quick", "--jobs", "1", "--output", str(tmp_path / "out")])
    assert code in (0, None)
    ledger = json.loads((tmp_path / "out" / "data" / "grpo_blame.json").read_text())
    assert ledger[0]["verdict"] in ("supported", "open")
    assert 0 <= ledger[0]["tests"][0]["effect"][0] <= 1
    assert cli.main(["experiment", "nothing"]) == 2 or "nothing" in capsys.readouterr().err
