"""Experiments: the ledger computes what it claims; sweeps and the surface have files of their own."""

import dataclasses
import json
import math

import pytest

from credit_envs import make_table
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.providers import Provided
from credit_envs.evaluation.replicate import Subject
from credit_envs.experiments import Cell, run
from credit_envs.experiments.catalogue import NAMES, sweep_of
from credit_envs.experiments.claims import CLAIMS, claim
from credit_envs.experiments.comparisons import Test as Comparison
from credit_envs.experiments.ledger import combined, judge, side, verdict
from credit_envs.oracle.control import ladder
from credit_envs.sampling.sampler import Sampler

PIVOTS = "credit/Pivots-v0?actions=2&credit=each&fillers=0&length=4&unit=2"


@pytest.fixture(scope="module")
def subject():
    table = make_table(PIVOTS)
    return Subject(table, ladder(table, (0.5,))[-1].policy)


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
        for name in ("dials", "claims"):
            sweep = sweep_of(name, quick)
            assert all(cell.seeds >= 10 for cell in sweep.cells if isinstance(cell, Cell))
    for one in CLAIMS:
        cells = [cell for cell in one.cells(True) if isinstance(cell, Cell)]
        named_here = {name for cell in cells for name in (*cell.estimators, "unit", "dr_grpo", "exact")}
        for test in (test for test in one.tests if isinstance(test, Comparison) and test.expect != "rate"):
            assert {test.first, *(test.others or (test.second,)), *test.against} <= named_here, one.name
    with pytest.raises(CreditEnvsError, match="granularity"):
        sweep_of("granularty")
    with pytest.raises(CreditEnvsError, match="gigpo_levels"):
        claim("gigpo_level")
    assert "mc_k" in NAMES


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
