"""The exact policy gradient of a tabular softmax policy, from one backward and one forward sweep.

∇J = Σ W(s, a) ∇π(a|o(s)) with W(s, a) = Σ_t γ^t d_t(s) Q_t(s, a) (policy gradient theorem, Sutton et al. 2000).
"""

from __future__ import annotations

import numpy as np

from credit_envs.arrays import Floats
from credit_envs.oracle.evaluation import sweep
from credit_envs.oracle.policy import Policy, PolicyLike, as_policy, effective, named_actions, step_codes
from credit_envs.table.mdp import TabularMDP


def action_values(
    table: TabularMDP, policy: PolicyLike, episode_code: int | None = None, *, discounted_visits: bool = True
) -> tuple[Floats, Floats]:
    """Returns W, float64 ``[E]``, and the number of visits Σ_t γ^t d_t(s), float64 ``[S]``.

    Args:
        table: the table.
        policy: see :data:`~credit_envs.oracle.policy.PolicyLike`.
        episode_code: the per-episode emission code.
        discounted_visits: weigh visits by γ^t (else by 1, as gradients that sum ∇log π Â over steps do).
    """
    weights, visits = np.zeros(table.n_edges), np.zeros(table.n_states)
    for step in sweep(table, as_policy(table, policy), episode_code):
        seen = step.occupancy * (step.discount if discounted_visits else 1.0)
        visits += seen
        weights += seen[table.edge_state] * step.Q
    return weights, visits


def exact_gradient(table: TabularMDP, policy: PolicyLike, *, discounted_visits: bool = True) -> Floats:
    """Returns ∂J/∂logits of a tabular softmax policy, float64 ``[rows, A]`` like the policy's own table.

    With ``discounted_visits=False``, the mean of Σ_t ∇log π(a_t|o_t) A_t without γ^t; the same where γ = 1.

    Raises:
        CreditEnvsError: for a malformed policy.
        ValueError: if the policy names inadmissible actions (mask it with ``table.mask`` first).
    """
    checked = as_policy(table, policy)
    codes, shares = table.emission.episode_codes()
    if effective(table, checked, int(codes[0])).stay.any():
        raise ValueError("policy: gives weight to inadmissible actions; mask it with table.mask first")
    gradient = np.zeros_like(checked.probability)
    if checked.kind != "obs":
        weights, _ = action_values(table, checked, discounted_visits=discounted_visits)
        rows = checked.rows(table, table.edge_state)
        np.add.at(gradient, (rows, table.edge_action), weights)
        return _through_softmax(checked, gradient)
    for code, share in zip(codes.tolist(), shares.tolist(), strict=True):
        weights, _ = action_values(table, checked, code, discounted_visits=discounted_visits)
        for states, shown, probability in step_codes(table, code):
            edges = np.flatnonzero(np.isin(table.edge_state, states)) if states.size < table.n_states else None
            where = np.arange(table.n_edges) if edges is None else edges
            rows = checked.rows(table, table.edge_state[where], shown)
            names = named_actions(table, where, shown)
            np.add.at(gradient, (rows, names), share * probability * weights[where])
    return _through_softmax(checked, gradient)


def _through_softmax(policy: Policy, weight: Floats) -> Floats:
    """Chain rule through the softmax: π(a|o)·(W(o, a) − Σ_b π(b|o) W(o, b))."""
    mean = (policy.probability * weight).sum(axis=1, keepdims=True)
    return np.asarray(policy.probability * (weight - mean))
