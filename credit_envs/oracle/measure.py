"""Exact measurements of a (table, policy) pair: what the dials claim, as the oracle sees it on the final environment."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from credit_envs.arrays import Floats
from credit_envs.errors import TableError
from credit_envs.oracle.control import optimal
from credit_envs.oracle.evaluation import Values, cutoff_values, evaluate, occupancy, over_time, playing, sweep
from credit_envs.oracle.masked import image_free, without_image
from credit_envs.oracle.policy import PolicyLike, as_policy, effective, uniform
from credit_envs.oracle.visits import anchor_ids, revisit_rate
from credit_envs.table.mdp import TabularMDP


@dataclass(frozen=True)
class Spread:
    """Where the variance of the return comes from: Var(R) = start + skill + luck (design of credit_envs, §10).

    Attributes:
        start: Var(V_0(s_0)).
        skill: Σ_t E[γ^{2t} A_t²], what the policy's own choices add.
        luck: Σ_t E[γ^{2t} L_t²], what the dynamics' draws add, L_t = r_t + γ V_{t+1}(s_{t+1}) − Q_t.
        skill_by_step: float64 ``[H]``, the terms of ``skill``.
        expected_steps: E[T].
    """

    start: float
    skill: float
    luck: float
    skill_by_step: Floats
    expected_steps: float

    @property
    def variance(self) -> float:
        """Var(R)."""
        return self.start + self.skill + self.luck

    @property
    def luck_share(self) -> float:
        """Share of Var(R) that is luck; NaN if the return never varies."""
        return self.luck / self.variance if self.variance > 0 else float("nan")

    @property
    def effective_unit(self) -> float:
        """k_eff = E[T] / participation ratio of E[A_t²] over t; NaN where A ≡ 0."""
        total = self.skill_by_step.sum()
        if total <= 1e-24:
            return float("nan")
        return float(self.expected_steps * (self.skill_by_step**2).sum() / total**2)


def spread(table: TabularMDP, policy: PolicyLike) -> Spread:
    """Splits the variance of the return into start, skill and luck, exactly."""
    checked = as_policy(table, policy)
    edges = effective(table, checked)
    values = evaluate(table, checked)
    skill = np.zeros(table.horizon)
    luck = steps = 0.0
    alive = playing(table)
    for step in sweep(table, checked):
        t, weight = step.t, step.discount**2
        d = step.occupancy * alive
        steps += float(d.sum())
        a = step.Q - step.V[table.edge_state]
        skill[t] = weight * float(np.dot(d[table.edge_state] * edges.edge, a**2))
        if edges.stay.any():
            paid = table.reward_at(t, table.inadmissible_reward) + table.discount * values.V[t + 1]
            skill[t] += weight * float(np.dot(d * edges.stay, (paid - step.V) ** 2))
        onward = np.where(table.terminal, 0, values.V[t + 1, table.successor])
        gain = table.reward_at(t, table.reward) + table.discount * onward
        miss = table.probability * (gain - step.Q[table.outcome_edge]) ** 2
        luck += weight * float(np.dot((d[table.edge_state] * edges.edge)[table.outcome_edge], miss))
    start = table.start_probability @ (values.context_values - values.J) ** 2
    return Spread(float(start), float(skill.sum()), float(luck), skill, steps)


@dataclass(frozen=True)
class AnchorQuality:
    """How well an identity rule on observations finds true states, over pairs of visited steps of two rollouts.

    Attributes:
        precision: probability that two steps with one anchor have one true state.
        recall: probability that two steps in one true state have one anchor.
    """

    precision: float
    recall: float


def anchor_quality(table: TabularMDP, policy: PolicyLike, rule: str = "look") -> AnchorQuality:
    """Measures an identity rule exactly, for pairs of steps of independent rollouts weighted by occupancy."""
    visits = (occupancy(table, policy)[:-1].sum(axis=0)) * playing(table)
    share = visits / visits.sum()
    same_state = float(share @ share)
    by_anchor = np.bincount(anchor_ids(table, rule), share)
    agree = 1.0
    if rule == "look":
        for layer in table.emission.layers:
            if layer.shows_in_anchor:
                agree *= float(layer.probability[0] @ layer.probability[0])
    return AnchorQuality(precision=same_state / float(by_anchor @ by_anchor), recall=agree)


@dataclass(frozen=True)
class Perception:
    """What the image is worth.

    Attributes:
        with_image: return of the best player that sees everything.
        without_image: return of the best player that sees only the text.
        divergence: E[KL(π(·|text, image) ‖ π(·|text))] per step of the measured policy, in nats.
    """

    with_image: float
    without_image: float
    divergence: float

    @property
    def gap(self) -> float:
        """Return lost without the image."""
        return self.with_image - self.without_image


def perception(table: TabularMDP, policy: PolicyLike) -> Perception:
    """Solves play with and without the image, and the policy's dependence on it, exactly.

    The image shows what per-step layers hide, or else tells states apart that share the label ``blind``. Where a table has
    both, the gap is that of the layers alone, states taken to be seen. The image-free policy is the average of the policy
    over what the image could have shown given the text.

    Raises:
        TableError: if the label ``blind`` doesn't say all that the text tells, see
            :func:`~credit_envs.oracle.masked.without_image`.
    """
    if "blind" in table.labels and not table.emission.renames:
        without = optimal(without_image(table)).J
        return Perception(optimal(table).J, without, image_free(table, policy).divergence)
    best, blind = optimal(table), over_time(table)
    blind[-1] = cutoff_values(table)
    signals = {int(n): _signals(table, int(n)) for n in np.unique(table.n_admissible[table.n_admissible > 0])}
    groups = {n: np.flatnonzero(table.n_admissible == n) for n in signals}
    for t in range(table.horizon - 1, -1, -1):
        q = Values(table, blind).q_edges(t)
        for n, states in groups.items():
            ranked = q[table.edge_start[states][:, None] + np.arange(n)]
            blind[t, states] = sum(w * (ranked @ guess.T).max(axis=1) for w, guess in signals[n])
    without = float(table.start_probability @ blind[0, table.start_state])
    return Perception(best.J, without, image_free(table, policy).divergence)


def _signals(table: TabularMDP, n: int) -> list[tuple[float, Floats]]:
    """What the text can say in states with n actions: (probability, [named rank, executed rank] posterior)."""
    merged: dict[bytes, tuple[float, Floats]] = {}
    codes, probability = table.emission.step_codes(n)
    for seen in np.unique(table.emission.blind[codes]):
        same = table.emission.blind[codes] == seen
        shift = table.emission.shift[codes[same]] % n
        weight = np.bincount(shift, probability[same], minlength=n)
        posterior = weight / weight.sum()
        named = np.arange(n)
        guess = posterior[(named[:, None] - np.arange(n)[None, :]) % n]
        # Signals that differ only by a renaming are worth the same: start each at its likeliest shift.
        canonical = np.round(np.roll(posterior, -int(posterior.argmax())), 12).tobytes()
        share, kept = merged.get(canonical, (0.0, guess))
        merged[canonical] = (share + float(weight.sum()), kept)
    return list(merged.values())


def measure(table: TabularMDP, policy: PolicyLike | None = None, group_size: int = 8) -> dict[str, float]:
    """Measures every dial on a table under a policy (default: uniform); keys are stable, values are floats.

    Args:
        table: the table.
        policy: see :data:`~credit_envs.oracle.policy.PolicyLike`.
        group_size: rollouts of a group, for the revisit rate.
    """
    chosen = uniform(table) if policy is None else policy
    parts = spread(table, chosen)
    best = optimal(table)
    rate = revisit_rate(table, chosen, group_size)
    out = {
        "states": float(table.n_states),
        "horizon": float(table.horizon),
        "optimal_length": best.length,
        "expected_steps": parts.expected_steps,
        "J": evaluate(table, chosen).J,
        "J_optimal": best.J,
        "luck_share": parts.luck_share,
        "effective_unit": parts.effective_unit,
        "revisit_rate": rate.value,
        "revisit_rate_standard_error": rate.standard_error,
        **{f"anchor_{name}": value for name, value in asdict(anchor_quality(table, chosen)).items()},
        **reward_timing(table, chosen),
    }
    if table.emission.renames or "blind" in table.labels:
        try:
            seen = perception(table, chosen)
            out |= {"perception_gap": seen.gap, "perception_divergence": seen.divergence}
        except TableError:  # a dial hides more than the picture, and then the gap isn't known
            out |= {"perception_gap": float("nan"), "perception_divergence": image_free(table, chosen).divergence}
    return out


def reward_timing(table: TabularMDP, policy: PolicyLike) -> dict[str, float]:
    """Returns where along the path reward is paid: ``reward_density`` (share of steps that pay) and ``reward_time``.

    ``reward_time`` is E[Σ_t |r_t| (t + 1)] / E[Σ_t |r_t|]; NaN if nothing is ever paid. A cut-off reward is paid with the
    last step.
    """
    edges = effective(table, as_policy(table, policy))
    paying = steps = size = when = 0.0
    alive = playing(table)
    d_all = occupancy(table, policy)
    for t in range(table.horizon):
        d = d_all[t] * alive
        steps += float(d.sum())
        weight = (d[table.edge_state] * edges.edge)[table.outcome_edge] * table.probability
        paid = table.reward_at(t, table.reward)
        if t == table.horizon - 1 and table.cutoff_reward is not None:
            paid = paid + np.where(table.terminal, 0, table.cutoff_reward[table.successor])
        paying += float(weight @ (paid != 0))
        size += float(weight @ np.abs(paid))
        when += float(weight @ np.abs(paid)) * (t + 1)
    return {"reward_density": paying / steps, "reward_time": when / size if size > 0 else float("nan")}
