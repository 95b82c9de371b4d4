"""Exact labels of every step of sampled rollouts: what an action was worth, and whether it was an error.

Two policies judge a step. The one that played gives V, Q, the advantage A = Q − V and the luck L_t = r_t + γV_{t+1} − Q_t (what
the dynamics drew); Σγ^t A_t is a rollout's skill and R − V_0 = skill + luck. Perfect play gives the regret V* − Q*: what the
action lost for good, whoever goes on. A step is an **error** where its regret is above 0 (or a tolerance). Its **rating** is
−1 for an error, else +1 where the advantage is above 0, else 0: PRM800K's scale (incorrect, fine but no progress, good).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from credit_envs.arrays import AnyArray, Bools, Floats, Ints, ragged_ranges
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.faces.winning import won
from credit_envs.oracle import Values, evaluate, optimal, uniform
from credit_envs.oracle.policy import Policy, PolicyLike, as_policy
from credit_envs.oracle.skill import skilled_policy
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Sample
from credit_envs.table.mdp import TabularMDP

_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Choices:
    """Every admissible action of every step taken; those of step i of M are ``start[i]:start[i + 1]``.

    Attributes:
        start: int64 ``[M + 1]``.
        action: int64 ``[K]``, actions as named.
        advantage: float64 ``[K]``, under the policy that played.
        regret: float64 ``[K]``, V* − Q*, at least 0.
        rating: int64 ``[K]``, −1, 0 or 1.
    """

    start: Ints
    action: Ints
    advantage: Floats
    regret: Floats
    rating: Ints


@dataclass(frozen=True, eq=False)
class Labelled:
    """Rollouts with the truth of every step. Arrays are ``[N, T]`` and 0 where no step was taken.

    Attributes:
        table: the table.
        sample: N rollouts of at most T steps.
        J: exact expected return of the policy that played, of uniform play and of perfect play.
        value: V_t(s_t), float64.
        q: Q_t(s_t, a_t), float64.
        advantage: A_t, float64.
        luck: L_t, float64.
        optimal_value: V* at the step, float64.
        regret: float64.
        rating: int64.
        error: bool.
        won: bool ``[N]``; see :mod:`credit_envs.faces.winning`.
        choices: the same of the actions that were not taken.
    """

    table: TabularMDP
    sample: Sample
    J: tuple[float, float, float]
    value: Floats
    q: Floats
    advantage: Floats
    luck: Floats
    optimal_value: Floats
    regret: Floats
    rating: Ints
    error: Bools
    won: Bools
    choices: Choices

    @cached_property
    def mask(self) -> Bools:
        """Steps that were taken, bool ``[N, T]``."""
        return np.asarray(self.sample.trajectories.mask.cpu().numpy())

    @cached_property
    def first_error(self) -> Ints:
        """Step of the first error of each rollout, −1 where there is none, int64 ``[N]``."""
        return np.where(self.error.any(axis=1), self.error.argmax(axis=1), -1)

    @cached_property
    def step_number(self) -> Ints:
        """Number of each step in :attr:`choices`, int64 ``[N, T]`` (−1 where no step was taken)."""
        out = np.full(self.mask.shape, -1, dtype=np.int64)
        out[self.mask] = np.arange(int(self.mask.sum()))
        return out


def policy_of(table: TabularMDP, name: str, env_id: str = "") -> Policy:
    """Returns the policy of a name.

    Args:
        table: the table.
        name: ``uniform``, ``optimal``, a skill from 0 to 1 (see :func:`~credit_envs.oracle.skill.skilled_policy`; ``optimal``
            is skill 1), or the name of an agent that travels with the package.
        env_id: id of the environment, which trained agents ask for.

    Raises:
        CreditEnvsError: for a skill out of range, an unknown agent, or one that was trained on another table.
    """
    if name == "uniform":
        return as_policy(table, uniform(table))
    if name == "optimal":
        return skilled_policy(table, 1.0)
    try:
        skill = float(name)
    except ValueError:
        from credit_envs.training.trained import load_agent

        agent = load_agent(name, env_id)
        if agent.table.fingerprint != table.fingerprint:
            raise CreditEnvsError(
                f"policy={name!r}: was trained on {agent.environment} as it is by default; leave out knobs and instances"
            ) from None
        return Policy("obs", agent.probability)
    check_range("policy", skill, 0, 1)
    return skilled_policy(table, skill)


def labelled(
    table: TabularMDP, policy: PolicyLike, groups: int = 16, group_size: int = 8, seed: int = 0, tolerance: float = 0.0
) -> Labelled:
    """Draws groups of rollouts and labels every step.

    Args:
        table: the table.
        policy: the policy that plays.
        groups: number of groups; rollouts of a group begin in the same place.
        group_size: rollouts per group.
        seed: seed of the sample.
        tolerance: regret above which a step is an error.

    Raises:
        CreditEnvsError: for numbers out of range and malformed policies.
    """
    check_range("seed", seed, 0, (1 << 50) - 1, integer=True)
    check_range("tolerance", tolerance, 0, 1e300)
    checked = as_policy(table, policy)
    values, best = evaluate(table, checked), optimal(table)
    sample = Sampler(table, checked, seed).groups(groups, group_size)
    batch, truth = sample.trajectories, sample.truth
    mask = batch.mask.cpu().numpy()
    t = np.nonzero(mask)[1]
    state, edge, code = (getattr(truth, name).cpu().numpy()[mask] for name in ("state", "edge", "code"))
    reward = batch.reward.cpu().numpy()[mask]

    def spread(flat: AnyArray) -> AnyArray:
        out = np.zeros(mask.shape, dtype=flat.dtype)
        out[mask] = flat
        return out

    value, top = values.V[t, state], best.V[t, state]
    choices = _choices(values, best, t, state, code, tolerance)
    q = _worth(values, t, state, edge)
    regret = _positive(top - _worth(best, t, state, edge), top)
    rating = _ratings(q - value, regret, value, tolerance)
    v = spread(value)
    after = np.concatenate([v[:, 1:], np.zeros((len(v), 1))], axis=1)[mask]
    last = batch.lengths.cpu().numpy() - 1
    ends = np.arange(len(last)), last
    success = won(
        table, last, truth.edge.cpu().numpy()[ends], truth.final.cpu().numpy(), batch.reward.cpu().numpy()[ends]
    )
    return Labelled(
        table,
        sample,
        (values.J, evaluate(table, uniform(table)).J, best.J),
        v,
        spread(q),
        spread(q - value),
        spread(reward + table.discount * after - q),
        spread(top),
        spread(regret),
        spread(rating),
        spread(rating < 0),
        success,
        choices,
    )


def _worth(values: Values, t: AnyArray, state: AnyArray, edge: AnyArray) -> Floats:
    """Returns Q at steps, float64 ``[M]``; an inadmissible action (−1) stays where it is."""
    table = values.table
    stay = table.reward_at(t, table.inadmissible_reward) + table.discount * values.V[t + 1, state]
    return np.where(edge < 0, stay, values.q_at(t, edge))


def _positive(regret: Floats, scale: Floats) -> Floats:
    """Returns regrets with rounding errors set to 0."""
    return np.where(regret > _ROUNDING * np.maximum(1, np.abs(scale)), regret, 0.0)


def _ratings(advantage: Floats, regret: Floats, scale: Floats, tolerance: float) -> Ints:
    progress = advantage > _ROUNDING * np.maximum(1, np.abs(scale))
    return np.where(regret > tolerance, -1, progress.astype(np.int64))


def _choices(values: Values, best: Values, t: AnyArray, state: AnyArray, code: AnyArray, tolerance: float) -> Choices:
    table = values.table
    first, count = table.edge_start[state], table.n_admissible[state]
    edges, owner = ragged_ranges(first, count), np.repeat(np.arange(state.size), count)
    rank = edges - first[owner]
    named = table.edge_action[first[owner] + (rank + table.emission.shift[code][owner]) % count[owner]]
    when, where = t[owner], state[owner]
    value, top = values.V[when, where], best.V[when, where]
    advantage = _worth(values, when, where, edges) - value
    regret = _positive(top - _worth(best, when, where, edges), top)
    start = np.concatenate(([0], np.cumsum(count)))
    return Choices(start, named.astype(np.int64), advantage, regret, _ratings(advantage, regret, value, tolerance))
