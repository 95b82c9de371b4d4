"""Notebook 7: who did it? Coalitions, difference rewards and counterfactual baselines in a team of two or three."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import torch

from credit_envs import oracle, registry
from credit_envs.arrays import Floats
from credit_envs.evaluation.providers import Provided
from credit_envs.oracle import team
from credit_envs.oracle.evaluation import Values
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Sample
from credit_envs.table.mdp import TabularMDP
from credit_envs.teaching.check import Mistake, Question


@functools.cache
def game(agents: int = 2) -> TabularMDP:
    """Returns a team before one door that somebody must hold open; anybody at the goal wins for all."""
    return registry.make_table("Team", agents=agents, keys=0, plates=1, goal="any", moves="at once", horizon_factor=4)


@functools.cache
def half_way() -> oracle.Policy:
    """Returns the policy of the team of two, halfway to optimal play."""
    return oracle.ladder(game(), (0.5,))[-1].policy


@functools.cache
def practised() -> oracle.Policy:
    """Returns the policy of the team of three, nine tenths of the way to optimal play."""
    return oracle.ladder(game(3), (0.9,))[-1].policy


@functools.cache
def values() -> Values:
    """Returns the exact values of the team of two."""
    return oracle.evaluate(game(), half_way())


@functools.cache
def drawn(seed: int = 0, groups: int = 50) -> tuple[Sample, Provided]:
    """Draws groups of 8 rollouts of the team of two."""
    sampler = Sampler(game(), half_way(), seed)
    sample = sampler.groups(groups, 8)
    return sample, Provided(sampler, sample, values())


def differences(sample: Sample) -> torch.Tensor:
    """Returns the difference reward Q(s, a) − Q(s, stay) of every step, float64 ``[N, T]``."""
    mask = sample.trajectories.mask
    out = torch.zeros(mask.shape, dtype=torch.float64)
    step = torch.nonzero(mask)[:, 1].numpy()
    state, edge = sample.truth.state[mask].numpy(), sample.truth.edge[mask].numpy()
    out[mask] = torch.from_numpy(team.difference_at(values(), step, state, edge))
    return out


@functools.cache
def _holding() -> Floats:
    """The largest advantage of a `stay` in the rollouts, and its difference reward."""
    sample, provided = drawn()
    stay = sample.trajectories.mask & (sample.trajectories.action == game().action_names.index("stay"))
    advantage = provided["advantage"]
    best = stay & (advantage == advantage[stay].max())
    return np.array([float(advantage[best][0]), float(differences(sample)[best][0])])


@functools.cache
def _coalitions() -> Floats:
    return team.coalition_values(game(3), practised())


def _averaged(orders: bool = True, mask: bool = True) -> Floats:
    """Shapley values by orders of arrival, or the plain mean over coalitions."""
    v, n = _coalitions(), 3
    out = np.zeros(n)
    if orders:
        for order in itertools.permutations(range(n)):
            there = 0
            for agent in order:
                out[agent] += (v[there | 1 << agent] - v[there]) / math.factorial(n)
                there |= 1 << agent
        return out
    for agent in range(n):
        without = [c for c in range(1 << n) if not c >> agent & 1]
        out[agent] = np.mean([v[c | 1 << agent] - v[c] for c in without]) if mask else v[7] - v[7 ^ (1 << agent)]
    return out


def joint() -> tuple[Floats, Floats, Floats]:
    """Returns Q of the first round's joint actions ``[6, 6]`` and both agents' probabilities there ``[6]``."""
    table, policy = game(), half_way()
    start = int(table.start_state[0])
    q = team.round_values(values(), 0, np.array([start]))[0]
    then = int(table.successor[table.outcome_start[table.edge_start[start]]])
    rows = policy.rows(table, np.array([start, then]))
    return q, policy.probability[rows[0]], policy.probability[rows[1]]


def _counterfactual(form: str = "right") -> Floats:
    q, p, r = joint()
    u, w = 3, 2
    if form == "value":
        return np.full(2, q[u, w] - p @ q @ r)
    if form == "stay":
        return np.array([q[u, w] - q[5, w], q[u, w] - q[u, 5]])
    if form == "swapped":
        return np.array([q[u, w] - q[u] @ r, q[u, w] - p @ q[:, w]])
    return np.array([q[u, w] - p @ q[:, w], q[u, w] - q[u] @ r])


def _share(mover: int = 1) -> float:
    skill = oracle.spread(game(), half_way()).skill_by_step
    return float(skill[mover::2].sum() / skill.sum())


QUESTIONS = (
    Question(
        "7.1",
        truth=lambda: float(team.difference_returns(game(), half_way()).sum() / values().J),
        tolerance=1e-6,
        mistakes=(
            Mistake(
                lambda: 1.0,
                "That would be a fair division. Without agent 1, how much is left of J? And without agent 2?",
            ),
            Mistake(lambda: 0.5, "That is one agent's Shapley value over J. Difference returns are not shares."),
        ),
        explanation="Each of two indispensable people can claim everything. A sum above J is the sign of teamwork.",
        hint="`team.difference_returns(table, policy)` has one number per agent; divide their sum by J.",
    ),
    Question(
        "7.2",
        truth=lambda: team.shapley(_coalitions()),
        use=lambda answer: answer(_coalitions()),
        tolerance=1e-6,
        mistakes=(
            Mistake(
                lambda: _averaged(orders=False, mask=False),
                "Those are the difference returns: what is lost if one leaves the FULL team. Average over all "
                "orders of arrival.",
            ),
            Mistake(
                lambda: _averaged(orders=False),
                "You averaged over coalitions with equal weights. Middle-sized ones are met in fewer orders of "
                "arrival: count orders.",
            ),
        ),
        explanation="They add up to v(everybody) − v(nobody): nothing is claimed twice.",
        hint="For each of the 6 orders, let agents come one by one; each gets by how much v grows when it comes. "
        "Average over orders.",
    ),
    Question(
        "7.3",
        truth=_holding,
        tolerance=1e-4,
        mistakes=(
            Mistake(
                lambda: np.repeat(_holding()[:1], 2),
                "The difference reward compares with `stay` itself: Q(s, stay) − Q(s, stay).",
            ),
            Mistake(
                lambda: _holding()[::-1].copy(), "The other way round: first the advantage, then the difference reward."
            ),
        ),
        explanation="Holding a door is doing nothing, at the right time. A measure whose zero is doing nothing "
        "cannot see it.",
        hint="Select the steps with action `stay`, find the largest advantage among them, and read "
        "`differences(sample)` there.",
    ),
    Question(
        "7.4",
        truth=_counterfactual,
        use=lambda answer: answer(*joint(), 3, 2),
        tolerance=1e-6,
        mistakes=(
            Mistake(
                lambda: _counterfactual("value"),
                "You subtract V, the mean over BOTH agents' actions: then both get the same number. Hold the "
                "other's action fixed.",
            ),
            Mistake(
                lambda: _counterfactual("stay"),
                "You compare with `stay`: that is a difference reward. COMA's baseline is the mean over one's own "
                "policy.",
            ),
            Mistake(
                lambda: _counterfactual("swapped"),
                "Agent 1's baseline averages over agent 1's actions (rows), not agent 2's.",
            ),
        ),
        explanation="One counterfactual question per agent: what if I had drawn again, and the other had done the "
        "same?",
        hint="Agent 1: q[u1, u2] − Σ_b p1[b]·q[b, u2]. Agent 2 likewise along the other axis.",
    ),
    Question(
        "7.5",
        truth=_share,
        tolerance=1e-3,
        mistakes=(
            Mistake(lambda: 1 - _share(), "That is agent 1's own share."),
            Mistake(
                lambda: 0.0, "Nothing is luck in this game, but for agent 1 the other's draws are as good as luck."
            ),
        ),
        explanation="To agent 1, half of what the return varies by is somebody else's doing. With n agents it is (n "
        "− 1)/n.",
        hint="`oracle.spread(table, policy).skill_by_step[t]` is E[A_t²]; agent 2 moves at odd t.",
    ),
)
