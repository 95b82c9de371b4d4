"""Per-group policy gradients of a credit, exact gradients step by step, and tables whose episodes all last equally long."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from credit_envs.oracle import Policy, evaluate, occupancy
from credit_envs.sampling.trajectories import Trajectories
from credit_envs.table import TabularMDP, from_outcomes


def everlasting_table(
    seed: int, n_states: int = 4, n_actions: int = 2, horizon: int = 3, n_outcomes: int = 2
) -> TabularMDP:
    """A random table without terminal outcomes: one start, all actions admissible, every episode lasts to the horizon."""
    rng = np.random.default_rng(seed)
    rows = [
        (s, a, int(rng.integers(n_states)), p, float(rng.choice([0.0, 1.0, -0.5])), False)
        for s in range(n_states)
        for a in range(n_actions)
        for p in rng.dirichlet(np.ones(n_outcomes))
    ]
    names = ("state", "action", "successor", "probability", "reward", "terminal")
    columns = {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    return from_outcomes(
        f"everlasting {seed}", n_states, n_actions, columns, start={0: 1.0}, horizon=horizon, allow_unreachable=True
    )


def group_gradients(batch: Trajectories, credit: Tensor) -> Tensor:
    """Σ over a group's rows and steps of ∇log π Â, float64 ``[groups, policy rows · A]``."""
    rows, actions = batch.policy_table.shape
    mask = batch.mask
    c, row = credit[mask], batch.policy_row[mask]
    owner = batch.group[:, None].expand_as(mask)[mask] * rows + row
    out = torch.zeros(batch.n_groups * rows, actions, dtype=torch.float64)
    out.view(-1).index_add_(0, owner * actions + batch.policy_action[mask], c)
    out.index_add_(0, owner, -c[:, None] * batch.policy_table[row])
    return out.view(batch.n_groups, rows * actions)


def step_gradients(table: TabularMDP, policy: Policy) -> Tensor:
    """E[∇log π(a_t|s_t) A_t] of each step of a policy with one row per state, float64 ``[H, S · A]``."""
    values, d = evaluate(table, policy), occupancy(table, policy)
    out = np.zeros((table.horizon, table.n_states, table.n_actions))
    for t in range(table.horizon):
        excess = values.q_edges(t) - values.V[t][table.edge_state]
        chosen = policy.probability[table.edge_state, table.edge_action]
        out[t, table.edge_state, table.edge_action] = d[t][table.edge_state] * chosen * excess
    return torch.from_numpy(out.reshape(table.horizon, -1))


def z_scores(samples: Tensor, expected: Tensor) -> Tensor:
    """z of each column's mean against its expectation, for columns that vary; ``[n, k]`` and ``[k]``."""
    error = samples.std(dim=0) / len(samples) ** 0.5
    live = error > 1e-12
    assert torch.allclose(samples.mean(dim=0)[~live], expected[~live].to(samples), atol=1e-9)
    return (samples.mean(dim=0) - expected)[live] / error[live]
