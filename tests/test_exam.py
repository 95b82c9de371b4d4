"""The exam bank: every number is computed again from the library, and every choice that can be is decided by it."""

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from batches import make_batch
from scipy.optimize import minimize_scalar

from credit_envs import from_outcomes, make_table, oracle
from credit_envs.credit.gae import gae
from credit_envs.credit.gigpo import gigpo
from credit_envs.credit.grpo import dr_grpo, grpo, rloo
from credit_envs.credit.monte_carlo import vineppo
from credit_envs.evaluation.providers import Provided
from credit_envs.evaluation.summary import Replicates
from credit_envs.losses.ppo import ppo
from credit_envs.losses.sspo import sspo
from credit_envs.oracle import team
from credit_envs.sampling import Sampler
from credit_envs.sampling.divergence import kl
from credit_envs.sampling.statistics import returns_to_go
from credit_envs.teaching.exercises import n06_granularity as grains
from credit_envs.teaching.exercises import n07_teams as teams

PAGE = Path(__file__).parents[1] / "docs" / "course" / "exam.py"
_spec = importlib.util.spec_from_file_location("course_exam", PAGE)
exam = importlib.util.module_from_spec(_spec)
sys.modules["course_exam"] = exam
_spec.loader.exec_module(exam)
BANK = {item.number: item for item in exam.bank()}

GROUP = make_batch([[r] for r in (1.0, 0, 0, 1, 0, 0, 0, 0)])
PAIR = make_batch([[0.0, 1.0], [0.0, 0.0]], anchors=[[0, 1], [0, 2]])


def chain():
    """Four decisions of three actions, nothing between them; the walk so far was right."""
    table = make_table("Pivots", length=4, actions=3, fillers=0)
    values = oracle.evaluate(table, oracle.uniform(table))
    path, state = [], int(table.start_state[0])
    best = oracle.optimal(table)
    for t in range(4):
        path.append(state)
        state = int(table.successor[table.outcome_start[best.greedy(t)[state]]])
    return table, values, path, best


def advantage(t, right):
    table, values, path, best = chain()
    edge = int(best.greedy(t)[path[t]])
    if not right:
        edge = next(e for e in range(table.edge_start[path[t]], table.edge_start[path[t] + 1]) if e != edge)
    return float(values.advantage_at(np.array([t]), np.array([path[t]]), np.array([edge]))[0])


def one_step(rows, n_actions=2):
    """A table of one step from (action, probability, reward) rows."""
    action, probability, reward = (np.array(column) for column in zip(*rows, strict=True))
    n = len(rows)
    outcomes = {"state": np.zeros(n, int), "action": action, "successor": np.ones(n, int)}
    outcomes |= {"probability": probability, "reward": reward, "terminal": np.ones(n, bool)}
    return from_outcomes("one step", 2, n_actions, outcomes, start={0: 1.0}, horizon=1)


def fan():
    """Four actions to four states, then one step."""
    outcomes = {
        "state": np.array([0, 0, 0, 0, 1, 2, 3, 4]),
        "action": np.array([0, 1, 2, 3, 0, 0, 0, 0]),
        "successor": np.array([1, 2, 3, 4, 5, 5, 5, 5]),
        "probability": np.ones(8),
        "reward": np.zeros(8),
        "terminal": np.array([0, 0, 0, 0, 1, 1, 1, 1], dtype=bool),
    }
    return from_outcomes("fan", 6, 4, outcomes, start={0: 1.0}, horizon=2)


def best_constant():
    """Variance of (R − b)∇log π on the bandit, minimised numerically."""
    policy, reward = np.array([0.8, 0.2]), np.array([1.0, 0.0])
    slope = np.eye(2) - policy

    def variance(b):
        g = (reward - b)[:, None] * slope
        mean = policy @ g
        return float(policy @ (g**2).sum(1) - mean @ mean)

    return minimize_scalar(variance).x


def bill(length, k):
    table = make_table("Pivots", length=length, fillers=0)
    sampler = Sampler(table, oracle.uniform(table), 0)
    sample = sampler.groups(1, 1)
    before = sampler.meter.env_steps
    vineppo(sample.trajectories, continuations=Provided(sampler, sample)["continuations"], k=k)
    return sampler.meter.env_steps - before


def lottery(p):
    """One action that pays 1 with probability p."""
    return one_step([(0, p, 1.0), (0, 1 - p, 0.0)], n_actions=1)


def chance_of_all(n):
    """The probability that n fair choices are all right."""
    table = make_table("Pivots", length=n, actions=2)
    return oracle.expected_return(table, oracle.uniform(table))


def continuations():
    return minimize_scalar(lambda k: (1 + 4 / k) * (100 + 25 * k), bounds=(0.1, 100), method="bounded").x


def gate():
    """The weight of a rollout of ten steps under SSPO, one of whose ratios is e."""
    batch = make_batch([[0.0] * 10])
    logs = batch.log_prob + torch.tensor([1.0] + [0.0] * 9, dtype=torch.float64)
    credit = torch.ones(1, 10, dtype=torch.float64)
    return float(sspo(logs, batch, credit) / sspo(batch.log_prob.clone(), batch, credit))


def quality(values, budget=1.0):
    known = Replicates([dict(zip(("projection", "mean_square", "variance", "exact_square"), values, strict=True))] * 2)
    return float(known.quality(budget, np.array([[0, 1]]))[0])


def solved(table):
    """How the return of uniform play varies."""
    return oracle.spread(table, oracle.uniform(table))


SAFE_OR_RISKY = [(0, 1.0, 0.2), (1, 0.5, 1.0), (1, 0.5, 0.0)]
ERRORS = torch.tensor([[0.0, 0, 1]]).double(), torch.tensor([[0.4, 0.2, 0.6]]).double(), torch.ones(1, 3).bool()

NUMBERS = {
    1: lambda: chain()[1].J,
    2: lambda: advantage(0, True),
    3: lambda: advantage(3, False),
    5: lambda: solved(one_step(SAFE_OR_RISKY)).luck_share,
    6: lambda: solved(make_table("Pivots", length=2, fillers=1, credit="each")).effective_unit,
    8: lambda: dr_grpo(GROUP)[0, 0],
    9: lambda: rloo(GROUP)[0, 0],
    10: lambda: grpo(GROUP)[0, 0],
    11: lambda: (dr_grpo(GROUP) / rloo(GROUP))[0, 0],
    12: best_constant,
    13: lambda: 2 * chance_of_all(8),
    17: lambda: oracle.revisit_rate(fan(), oracle.uniform(fan()), 4).value,
    18: lambda: gigpo(PAIR, gamma=0.5)[0, 0],
    19: lambda: gigpo(PAIR, gamma=0.5)[0, 1],
    22: lambda: bill(10, 9),
    23: lambda: solved(lottery(0.2)).luck / 4,
    24: continuations,
    25: lambda: gae(*ERRORS, lam=0.5)[0, 0],
    29: lambda: kl(torch.tensor([1.0, 0.0]).double(), torch.tensor([0.5, 0.5]).double()),
    31: lambda: grains.QUESTIONS[1].truth(),
    34: lambda: team.shapley([0.0, 0.2, 0.4, 1.0])[0],
    35: lambda: sum(1.0 - without for without in (0.4, 0.2)),
    38: gate,
    40: lambda: minimize_scalar(lambda p: -solved(lottery(p)).luck, bounds=(0.01, 0.99), method="bounded").x,
    41: lambda: quality((1.0, 1.0, 0.25, 1.0)) / quality((1.0, 1.0, 1.0, 1.0)),
    42: lambda: (lambda q: q / (1 + q))(quality((0.9, 1.0, 5.0, 1.0), 1e12)),
}


def idle_steps():
    """Advantages of all actions at steps that change nothing."""
    table = make_table("Pivots", length=2, fillers=1)
    values = oracle.evaluate(table, oracle.uniform(table))
    start = int(table.successor[table.outcome_start[table.edge_start[table.start_state[0]]]])
    edges = np.arange(table.edge_start[start], table.edge_start[start + 1])
    return values.advantage_at(np.full(len(edges), 1), np.full(len(edges), start), edges)


def along_rollouts():
    """Σ A and R − V(s₀) of rollouts of a game without luck."""
    table = make_table("Pivots")
    sampler = Sampler(table, oracle.uniform(table), 0)
    sample = sampler.groups(20, 2)
    provided = Provided(sampler, sample)
    return provided["advantage"].sum(1), sample.trajectories.returns - provided.exact.J


def shaped():
    """Mean-centred credit with and without a potential in the reward."""
    phi = torch.rand(2, 3, generator=torch.Generator().manual_seed(0)).double()
    phi[:, 0], phi[:, -1] = 0.3, 0.0
    return dr_grpo(PAIR.replace(reward=PAIR.reward + phi[:, 1:] - phi[:, :-1])), dr_grpo(PAIR)


def clipped():
    """The gradient of one step with ratio 1.5 under PPO, with credit −1 and +1, and its unclipped size."""
    batch = make_batch([[0.0]])
    out = []
    for credit in (-1.0, 1.0):
        logs = (batch.log_prob + math.log(1.5)).requires_grad_()
        ppo(logs, batch, torch.full((1, 1), credit).double(), dual=None).backward()
        out.append(float(logs.grad))
    return out


def differences_are_a_baseline_away():
    """Whether D − A is one number per state, whatever the action."""
    values = teams.values()
    gap = team.difference_edges(values, 4) - (values.q_edges(4) - values.V[4][values.table.edge_state])
    owner = values.table.edge_state
    return all(np.ptp(gap[owner == s]) < 1e-12 for s in np.unique(owner))


SINGLE = make_batch([[0.0, 1.0], [0.0, 0.0]])  # no anchor is met twice
TWENTY = make_batch([[0.0] * 19 + [1.0]])

CHOICES = {
    4: lambda: "b" if np.abs(idle_steps()).max() < 1e-12 else "?",
    7: lambda: "a" if torch.allclose(*along_rollouts()) else "?",
    20: lambda: "b" if torch.equal(gigpo(SINGLE), dr_grpo(SINGLE)) else "?",
    21: lambda: "c" if (lambda g: g[0, 18] > g[0, 0])(returns_to_go(TWENTY.reward, TWENTY.mask, 0.95)) else "?",
    26: lambda: (
        "b" if torch.allclose(gae(*ERRORS, lam=1.0), returns_to_go(ERRORS[0], ERRORS[2], 1.0) - ERRORS[1]) else "?"
    ),
    33: lambda: (
        "a" if grains.measured(4, 1).a.mean() < min(grains.measured(4, g).a.mean() for g in (4, 16, 32)) else "?"
    ),
    36: lambda: "b" if differences_are_a_baseline_away() else "?",
    37: lambda: "a" if torch.allclose(*shaped()) else "?",
    39: lambda: "b" if clipped() == [pytest.approx(1.5), 0.0] else "?",
}


def test_the_bank_is_large_and_numbered_without_gaps():
    assert len(BANK) >= 30
    assert sorted(BANK) == list(range(1, len(BANK) + 1))
    for item in BANK.values():
        assert item.kind in exam.KINDS
        assert item.why
        # A sheet may hold any of them without the one before.
        assert "he same chain" not in item.text
        assert "he same group" not in item.text
        assert "he same game" not in item.text
        assert (item.answer in "abcd") == (item.kind == "choice")
        assert item.text.count("\n- (") == (4 if item.kind == "choice" else 0)


def test_every_number_has_a_truth():
    assert set(NUMBERS) == {n for n, item in BANK.items() if item.kind != "choice"}
    assert set(CHOICES) <= {n for n, item in BANK.items() if item.kind == "choice"}


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_are_what_the_library_computes(number):
    stated = BANK[number].answer
    digits = len(stated.partition(".")[2])
    assert float(NUMBERS[number]()) == pytest.approx(
        float(stated), abs=max(0.51 * 10.0**-digits, 1e-4) if digits else 1e-3
    )


@pytest.mark.parametrize("number", CHOICES)
def test_choices_are_what_the_library_decides(number):
    assert CHOICES[number]() == BANK[number].answer


def test_sheets_have_no_answers_and_keys_have_all(tmp_path, capsys):
    sheet, key = tmp_path / "sheet.md", tmp_path / "key.md"
    assert exam.main([str(sheet), "--key", str(key), "--count", "5", "--seed", "1"]) == 0
    first = sheet.read_text()
    drawn = exam.chosen(exam.bank(), None, 5, 1)
    assert [item.title in first for item in drawn] == [True] * 5
    assert "details" not in first
    assert not any(item.why in first for item in exam.bank())
    assert all(item.why in key.read_text() for item in drawn)
    assert exam.main([str(sheet), "--questions", "24", "2"]) == 0
    assert sheet.read_text().index("How many continuations") < sheet.read_text().index("The first right decision")
    capsys.readouterr()
    assert exam.main([str(sheet), "--questions", "999"]) == 2
    assert exam.main([str(sheet), "--count", "1000"]) == 2
    assert capsys.readouterr().err.count("\n") == 2
