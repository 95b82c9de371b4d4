"""Advice: situations against brute force, the rule and its regrets on made-up cells, reasons, the command and its page."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from credit_envs import make_table, oracle
from credit_envs.advice import advise, cells, reasons, rule, situation
from credit_envs.advice.measured import Cell, Worth
from credit_envs.advice.page import page
from credit_envs.advice.situation import kept
from credit_envs.cli import main
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.providers import Provided
from credit_envs.evaluation.scores import GradientFrame
from credit_envs.oracle.skill import skilled_policy
from credit_envs.recipes import recipe
from credit_envs.report.reading import PRICES
from credit_envs.sampling import Sampler
from credit_envs.table.build import from_outcomes

DOCS = Path(__file__).parents[1] / "docs"


def gradient_cosine(table, policy, credit_of, rollouts=6000):
    """Cosine of a credit's gradient from one large group to the exact one."""
    sampler = Sampler(table, policy, 0)
    sample = sampler.groups(1, rollouts)
    exact = torch.from_numpy(oracle.exact_gradient(table, policy))
    frame = GradientFrame(sample, exact, torch.from_numpy(policy.probability))
    found = frame.total(frame.gradient(credit_of(sample.trajectories, Provided(sampler, sample)))).flatten()
    return float(found @ exact.flatten() / found.norm() / exact.norm())


@pytest.mark.parametrize(("name", "skill"), [("Household?task=place", 0.5), ("FrozenLake?horizon=12", 0.5)])
def test_graph_cosine_is_where_anchor_graph_backup_goes(name, skill):
    table = make_table(name)
    policy = skilled_policy(table, skill)
    found = gradient_cosine(table, policy, lambda batch, provided: recipe("anchor_graph").credit(batch, provided)[1])
    assert kept(table, policy)["graph_cosine"] == pytest.approx(found, abs=0.03)
    assert found < 0.98  # else the test would pass for any estimator that is right


def test_step_cosine_is_where_discounted_returns_go():
    table = make_table("KeyRooms", stages=1, horizon_factor=3)
    policy = skilled_policy(table, 0.5)

    def compared(batch, _):
        togo = torch.zeros_like(batch.reward)
        after = torch.zeros(batch.n_rollouts, dtype=torch.float64)
        for t in range(batch.mask.shape[1] - 1, -1, -1):
            after = torch.where(batch.mask[:, t], batch.reward[:, t] + 0.95 * after, 0)
            togo[:, t] = after
        flat, anchor = togo[batch.mask], torch.unique(batch.anchor[batch.mask], return_inverse=True)[1]
        mean = torch.bincount(anchor, flat) / torch.bincount(anchor)
        togo[batch.mask] = flat - mean[anchor]
        return togo

    assert kept(table, policy)["step_cosine"] == pytest.approx(gradient_cosine(table, policy, compared), abs=0.03)


def test_shares_of_the_advantage():
    table = make_table("KeyRooms", stages=1, horizon_factor=3)
    policy = oracle.uniform(table)
    plain = kept(table, policy)
    assert plain["seen"] == pytest.approx(1)
    assert plain["anchored"] == pytest.approx(plain["timeless"])
    assert 0 < plain["anchored"] < 1
    blurred = make_table("KeyRooms", stages=1, horizon_factor=3, aliasing=1.0)
    aliased = kept(blurred, oracle.uniform(blurred))
    assert aliased["anchored"] <= aliased["seen"] < 1 - 1e-3


def test_noise_of_a_coin():
    """One state, two actions, paid 0 or 1, groups of two: E‖g − g*‖² = 1/8 = ‖g*‖², worked out by hand."""
    outcomes = {
        "state": [0, 0],
        "action": [0, 1],
        "successor": [1, 1],
        "probability": [1.0, 1.0],
        "reward": [0.0, 1.0],
        "terminal": [True, True],
    }
    table = from_outcomes(
        "coin", 2, 2, {name: np.array(values) for name, values in outcomes.items()}, start={0: 1.0}, horizon=1
    )
    found = situation(table, group_size=2)
    assert found.noise == pytest.approx(1, abs=0.35)
    assert found.informative == pytest.approx(0.5, abs=0.1)
    assert found.success == pytest.approx(0.5, abs=0.1)
    assert (found.J, found.J_optimal, found.choices, found.steps) == (0.5, 1, 2, 1)


def test_what_was_not_seen_is_not_called_quiet():
    """Sums is won once in 8,000 uniform rollouts: no group differs, and that is no reason to call GRPO free of noise."""
    found = situation(make_table("Sums"))
    assert found.informative == 0
    assert found.noise == float("inf")
    assert np.isfinite(rule.features(found)).all()
    assert "no group has a success" in [reason.name for reason in reasons(found, 20_000)]


def test_bad_input():
    table = make_table("Chat")
    for given, message in (({"skill": 2}, "skill=2"), ({"group_size": 1}, "group_size=1"), ({"seed": -1}, "seed=-1")):
        with pytest.raises(CreditEnvsError, match=message):
            situation(table, **given)


@pytest.fixture(scope="module")
def plain():
    return situation(make_table("Chat"))


def made_up(plain, family, graph_cosine, **worth):
    found = dataclasses.replace(plain, name=family, graph_cosine=graph_cosine)
    everything = {name: Worth(worth.get(name, 1.0), 0.9, 1.1) for name in rule.CANDIDATES}
    return Cell(f"credit/{family}-v0", 0.0, found, dict.fromkeys(PRICES, everything))


def test_the_rule_listens_to_likeness(plain):
    known = [
        *(made_up(plain, f"right{i}", 1.0, anchor_graph=9.0, gigpo=2.0) for i in range(3)),
        *(made_up(plain, f"wrong{i}", 0.2, anchor_graph=0.1, gigpo=2.0) for i in range(3)),
    ]
    fitted = rule.Rule(known)
    for cosine, best in ((0.9999, "anchor_graph"), (0.25, "gigpo")):
        found = dataclasses.replace(plain, name="new", graph_cosine=cosine)
        advice = fitted.advise(found)
        assert {choices[0].method for choices in advice.choices.values()} == {best}
        assert advice.measured is None
        assert advice.far < rule.FAR
    again = fitted.advise(known[0].situation)
    assert again.measured is known[0]
    assert again.choices["data"][0].worth == pytest.approx(9.0)


def test_regrets_never_see_the_family_that_they_test(plain, monkeypatch):
    """Each family has a method of its own that is good there alone: nothing can be learnt, and the regret says so."""
    methods = ("gigpo", "vineppo", "dapo", "loop")
    known = tuple(made_up(plain, name, 1.0, **{name: 5.0}) for name in methods)
    monkeypatch.setattr(rule, "cells", lambda: known)
    found = {regret.rule: regret for regret in rule.regrets("simulator")}
    assert found["this advice"].factor == pytest.approx(5.0)
    assert found["best on average"].hits == 0
    assert found["gigpo"].by_family["credit/gigpo-v0"] == pytest.approx(1.0)
    assert found["gigpo"].factor == pytest.approx(5 ** (3 / 4))


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"J_optimal": 0.5}, "nothing to gain"),
        ({"J": 0.9999}, "nearly solved"),
        ({"unit": float("nan")}, "no action matters"),
        ({"ceiling": 1.2}, "credit is not what is missing"),
        ({"informative": 0.1, "success": 0.01}, "no group has a success"),
        ({"informative": 0.1, "success": 0.99}, "every rollout of a group succeeds"),
        ({"noise": 1e5}, "budget too small"),
        ({"noise": 1e5, "steps": 200.0}, "horizon too long for the budget"),
        ({"steps": 99.0, "horizon": 100, "success": 0.0}, "rollouts end at the horizon"),
        ({"revisit_rate": 0.1}, "no revisits"),
        ({"graph_cosine": 0.5}, "values of anchors are wrong"),
        ({"step_cosine": 0.5}, "discounted returns mislead"),
        ({"luck_share": 0.8}, "luck"),
        ({"seen": 0.9}, "aliasing"),
        ({"perception_gap": 0.3}, "the picture is needed"),
    ],
)
def test_each_reason_comes_with_its_number(plain, changed, name):
    good = dataclasses.replace(plain, ceiling=9.0)
    assert reasons(good, 20_000) == []
    found = reasons(dataclasses.replace(good, **changed), 20_000)
    assert name in [reason.name for reason in found]
    assert all(any(sign.isdigit() for sign in reason.number) for reason in found)


def test_measured_cells_travel():
    known = cells()
    assert len(known) >= 21
    assert all(set(rule.CANDIDATES) <= set(worth) for cell in known for worth in cell.worth.values())
    assert all(np.isfinite(rule.features(cell.situation)).all() for cell in known)
    cell = known[0]
    found = advise(situation(make_table(cell.environment), cell.skill))
    assert found.measured is cell
    plain = make_table("FrozenLake")
    assert advise(situation(plain)).measured is not None
    for dial in ({"cue": 0.5}, {"skin_rate": 0.5}):
        assert advise(situation(make_table("FrozenLake", **dial))).measured is None


def test_the_page_is_what_was_measured():
    assert (DOCS / "which-method.md").read_text() == page()


def test_command(tmp_path, capsys):
    table = make_table("Chat", delay=1)
    table.save(tmp_path / "chat.npz")
    for arguments in (["Chat", "--skill", "0.5"], [str(tmp_path / "chat.npz")], ["Chat", "delay=1"]):
        assert main(["advise", *arguments]) == 0
        out = capsys.readouterr().out
        assert "What to try" in out
        assert "credit-envs evaluate " in out
    assert main(["advise"]) == 2
    assert "expected an environment" in capsys.readouterr().err
    assert main(["advise", "Chatt"]) == 2
    assert "Chat" in capsys.readouterr().err
