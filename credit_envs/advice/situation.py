"""What decides which method fits: a table under a policy, measured.

Most numbers are exact (:func:`credit_envs.oracle.measure`). Three more are shares of E[A²], the size of the advantage over
the steps that the policy takes, w = d_t(s) π(a|s):

    seen      E[Ā(o, t, a)²] / E[A²]      what (look, step) shows of it; below 1 where looks hide states
    anchored  E[Ā(o, a)²] / E[A²]         what an anchor keeps of it; below ``seen`` where the time matters
    timeless  E[Ā(s, a)²] / E[A²]         what the true state keeps of it without the step

each Ā the mean of A over w in its cell. Two say how wrong credit stays when noise has been bought away, as the cosine between
the policy gradient that it makes with infinitely many rollouts and the exact one:

    graph_cosine  of values of anchors, V(o) n(o) = Σ r + γ Σ_o' n(o, o') V(o'), as anchor-graph backup fits them
    step_cosine   of discounted returns compared at anchors, γ = 0.95, as GiGPO's step term does

What groups of rollouts show is drawn: how often their returns differ, and how noisy the gradient of one group is.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import splu

from credit_envs.arrays import AnyArray, Floats, Ints
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.evaluation.config import CEILING
from credit_envs.evaluation.providers import Provided
from credit_envs.evaluation.scores import GradientFrame, score_gradient
from credit_envs.oracle import anchor_ids, evaluate, exact_gradient, measure, uniform
from credit_envs.oracle.evaluation import playing, sweep
from credit_envs.oracle.policy import PolicyLike, as_policy, effective
from credit_envs.oracle.skill import skilled_policy
from credit_envs.recipes import recipe
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Sample
from credit_envs.table.mdp import TabularMDP

_MOST_VALUES = 50_000_000
_GROUPS = 256
_FEWEST_GROUPS = 32
_STEPS = 400_000
_TIE = 1e-9
_ZERO = 1e-24
_STEP_GAMMA = 0.95


@dataclass(frozen=True)
class Situation:
    """A table under a policy, as numbers.

    Attributes:
        name: of the table.
        skill: share of the way from uniform to optimal play that was asked for.
        group_size: rollouts per group.
        groups: groups drawn.
        steps: E[T].
        horizon: steps after which an episode ends at the latest.
        J, J_uniform, J_optimal: exact returns of the policy, of uniform and of optimal play.
        revisit_rate: ρ_G, share of steps at an anchor that another rollout of the group visits.
        luck_share: luck's part of Var(R); NaN if the return never varies.
        unit: k_eff; NaN where no action matters.
        reward_density: share of steps that pay.
        seen, anchored, timeless: shares of E[A²], see above; NaN where no action matters.
        graph_cosine, step_cosine: see above; NaN where the exact gradient is zero.
        perception_gap: return that the best player loses without the picture; NaN where there is none.
        informative: share of the groups whose returns differ.
        informative_error: its standard error.
        success: share of the rollouts that come at least half of the way from uniform to optimal return.
        noise: groups at which the signal in GRPO's mean gradient equals its noise, E‖g − g*‖² / ‖g*‖² of one group; NaN where
            the exact gradient is zero, infinite where no group that was drawn has returns that differ.
        ceiling: GRPO-equivalents of the exact advantage on the same rollouts.
        choices: mean number of admissible actions per step.
    """

    name: str
    skill: float
    group_size: int
    groups: int
    steps: float
    horizon: int
    J: float
    J_uniform: float
    J_optimal: float
    revisit_rate: float
    luck_share: float
    unit: float
    reward_density: float
    seen: float
    anchored: float
    timeless: float
    graph_cosine: float
    step_cosine: float
    perception_gap: float
    informative: float
    informative_error: float
    success: float
    noise: float
    ceiling: float
    choices: float

    @property
    def reached(self) -> float:
        """Share of the way from uniform to optimal return that the policy has come; NaN where there is no way."""
        way = self.J_optimal - self.J_uniform
        return (self.J - self.J_uniform) / way if way > _TIE else float("nan")


def situation(table: TabularMDP, skill: float = 0.0, group_size: int = 8, seed: int = 0) -> Situation:
    """Measures a table under a policy.

    Args:
        table: the table.
        skill: the policy, as share of the way from uniform (0) to optimal play (1).
        group_size: rollouts per group, at least 2.
        seed: seed of the groups that are drawn.

    Raises:
        CreditEnvsError: for arguments out of range, or a table too large to solve in passing.
    """
    check_range("skill", skill, 0, 1)
    check_range("group_size", group_size, 2, 1024, integer=True)
    check_range("seed", seed, 0, (1 << 50) - 1, integer=True)
    if table.n_states * (table.horizon + 1) > _MOST_VALUES:
        raise CreditEnvsError(
            f"{table.name}: too large to solve in passing ({table.n_states:,} states × {table.horizon:,} steps, expected "
            f"at most {_MOST_VALUES:,} in all)"
        )
    policy = skilled_policy(table, skill)
    found = measure(table, policy, group_size)
    uniform_return = found["J"] if skill == 0 else evaluate(table, uniform(table)).J
    limits = kept(table, policy)
    fitting = int(_STEPS / (group_size * max(found["expected_steps"], 1)))
    groups = min(_GROUPS, max(_FEWEST_GROUPS, fitting))
    sampler = Sampler(table, policy, seed)
    sample = sampler.groups(groups, group_size)
    grouped = sample.trajectories.returns.view(groups, group_size).numpy()
    differ = float((np.ptp(grouped, axis=1) > _TIE).mean())
    noise = {name: _noise(sampler, sample, name) for name in ("rloo", CEILING)}
    if differ == 0 and not isnan(noise["rloo"]):  # the sample says nothing of what it has not seen
        noise = {"rloo": float("inf"), CEILING: float("nan")}
    half = (uniform_return + found["J_optimal"]) / 2
    return Situation(
        name=table.name,
        skill=float(skill),
        group_size=group_size,
        groups=groups,
        steps=found["expected_steps"],
        horizon=table.horizon,
        J=found["J"],
        J_uniform=uniform_return,
        J_optimal=found["J_optimal"],
        revisit_rate=found["revisit_rate"],
        luck_share=found["luck_share"],
        unit=found["effective_unit"],
        reward_density=found["reward_density"],
        **limits,
        perception_gap=found.get("perception_gap", float("nan")),
        informative=differ,
        informative_error=float(np.sqrt(differ * (1 - differ) / groups)),
        success=float((grouped >= half - _TIE).mean()),
        noise=noise["rloo"],
        ceiling=noise["rloo"] / noise[CEILING] if noise[CEILING] > 0 else float("nan"),
    )


def _noise(sampler: Sampler, sample: Sample, name: str) -> float:
    """E‖g − g*‖² / ‖g*‖² of one group under an unbiased estimator, NaN where g* = 0."""
    table, policy = sampler.table, sampler.policy.policy
    exact, target = torch.from_numpy(exact_gradient(table, policy)), torch.from_numpy(policy.probability)
    if float((exact**2).sum()) <= _ZERO:
        return float("nan")
    _, credit = recipe(name).credit(sample.trajectories, Provided(sampler, sample))
    score = score_gradient(GradientFrame(sample, exact, target), credit, ())
    return score.variance / score.exact_square


def kept(table: TabularMDP, policy: PolicyLike) -> dict[str, float]:
    """Returns ``seen``, ``anchored``, ``timeless``, ``graph_cosine``, ``step_cosine`` and ``choices`` (see above).

    Args:
        table: the table.
        policy: see :data:`~credit_envs.oracle.policy.PolicyLike`.
    """
    checked = as_policy(table, policy)
    chosen, alive = effective(table, checked).edge, playing(table)
    anchor = anchor_ids(table)
    look = anchor[table.edge_state] * table.n_actions + table.edge_action
    n_looks = (int(anchor.max()) + 1) * table.n_actions
    impatient = evaluate(table.replace(discount=min(table.discount, _STEP_GAMMA)), checked)
    # By edge: Σ w, Σ w A, Σ w Q of the impatient, Σ w r, and Σ w over the steps after which the episode may go on.
    by_edge = np.zeros((5, table.n_edges))
    total = shown = steps = choices = 0.0
    for step in sweep(table, checked):
        d = step.occupancy * alive
        weight = d[table.edge_state] * chosen
        advantage = step.Q - step.V[table.edge_state]
        paid = table.reward_at(step.t, table.edge_reward)
        last = step.t == table.horizon - 1
        if last and table.cutoff_reward is not None:
            paid = paid + table.outcome_matrix @ table.cutoff_reward
        total += float((weight * advantage) @ advantage)
        shown += _squares(np.bincount(look, weight, n_looks), np.bincount(look, weight * advantage, n_looks))
        parts = (1.0, advantage, impatient.q_edges(step.t), paid, 0.0 if last else 1.0)
        by_edge += weight * np.stack([np.broadcast_to(part, weight.shape) for part in parts])
        steps += float(d.sum())
        choices += float(d @ table.n_admissible)
    found = {"choices": choices / steps}
    if total <= _ZERO:
        return found | dict.fromkeys(("seen", "anchored", "timeless", "graph_cosine", "step_cosine"), float("nan"))
    visits, exact, togo = (np.bincount(look, part, n_looks).astype(np.float64) for part in by_edge[:3])
    at = np.repeat(np.arange(n_looks // table.n_actions), table.n_actions)
    met = np.bincount(at, visits)[at]
    compared = togo - visits * np.bincount(at, togo)[at] / np.where(met > 0, met, 1)
    return found | {
        "seen": shown / total,
        "anchored": _squares(visits, exact) / total,
        "timeless": _squares(by_edge[0], by_edge[1]) / total,
        "graph_cosine": _cosine(_graph_gradient(table, anchor, look, by_edge), exact),
        "step_cosine": _cosine(compared, exact),
    }


def _graph_gradient(table: TabularMDP, anchor: Ints, look: Ints, by_edge: Floats) -> Floats:
    """Σ w (Q − V) by (anchor, action) for values fitted to anchors, float64 ``[looks]``."""
    visits, _, _, paid, onward = by_edge
    n = int(anchor.max()) + 1
    flow = np.where(table.terminal, 0.0, onward[table.outcome_edge] * table.probability)
    pairs = (look[table.outcome_edge], anchor[table.successor])
    following = sparse.csr_array((flow, pairs), shape=(n * table.n_actions, n))
    weight, gain = (np.bincount(look, part, n * table.n_actions) for part in (visits, paid))
    at = np.repeat(np.arange(n), table.n_actions)
    met = np.bincount(at, weight)
    fold = sparse.csr_array((np.ones(at.size), (at, np.arange(at.size))), shape=(n, at.size))
    system = sparse.csc_array(sparse.diags_array(np.where(met > 0, met, 1.0)) - table.discount * (fold @ following))
    value = np.asarray(splu(system).solve(fold @ gain))
    q: Floats = gain + table.discount * (following @ value)
    return q - weight * value[at]


def _squares(weight: AnyArray, sums: AnyArray) -> float:
    """Σ (Σ w A)² / Σ w over cells."""
    filled = weight > 0
    return float((sums[filled] ** 2 / weight[filled]).sum())


def _cosine(found: Floats, exact: Floats) -> float:
    size = float(np.linalg.norm(found) * np.linalg.norm(exact))
    return float(found @ exact) / size if size > 1e-15 else float("nan")
