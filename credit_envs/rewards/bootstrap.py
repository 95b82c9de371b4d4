"""The self-labelling loop: policy → labels → reward model → policy, for some rounds, each policy's return exact.

    1. rollouts of π_i; each is labelled by its outcome, or by what the last model says of its last step
    2. Q_φ from the labels, as AgentPRM fits it, over the rows of the policy
    3. π_{i+1}(a|s) ∝ π_i(a|s) exp(Q_φ(s, a)/β), the maximum of E_a Q_φ − β KL(π‖π_i) at every row

Sampling enters through the labels alone: the update is the exact optimum of AgentPRM's third stage, and J by the oracle. With
outcomes in every round this is AgentPRM in a table; with few the model feeds on its own verdicts, and what it gets wrong stays
wrong. Rows that were never visited keep their policy; β → ∞ keeps all. Sources: Choudhury 2025, arXiv 2502.10325; the
loop's self-labelled rounds are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from credit_envs.arrays import Floats
from credit_envs.errors import check_range
from credit_envs.oracle.evaluation import expected_return
from credit_envs.oracle.policy import Policy, PolicyLike, as_policy
from credit_envs.rewards.agent_prm import fit, labels
from credit_envs.rewards.outcome import last_steps
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.tabular import ActionTable, fit_means
from credit_envs.sampling.trajectories import Meter, Trajectories
from credit_envs.table.mdp import TabularMDP


@dataclass(frozen=True, eq=False)
class Rounds:
    """What a loop went through.

    Attributes:
        policies: the policies, the first one included.
        J: float64 ``[rounds + 1]``, their exact returns.
        meters: what each round cost.
    """

    policies: tuple[Policy, ...]
    J: Floats
    meters: tuple[Meter, ...]


def bootstrap(
    table: TabularMDP,
    policy: PolicyLike,
    rounds: int = 4,
    groups: int = 32,
    group_size: int = 8,
    beta: float = 0.1,
    gamma: float = 1.0,
    outcome_rounds: int | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Rounds:
    """Runs the loop.

    Args:
        table: the environment.
        policy: the first policy.
        rounds: number of rounds.
        groups: groups of rollouts per round.
        group_size: rollouts per group.
        beta: weight of the KL term, above 0.
        gamma: discount of the labels, in [0, 1].
        outcome_rounds: rounds in which outcomes are seen, at least the first; later ones are labelled by the last model
            (default: all).
        seed: first word of all draws; round i uses ``seed + i · 2**32``.
        device: ``cpu`` or ``cuda``.

    Raises:
        CreditEnvsError: for an argument out of range.
    """
    check_range("rounds", rounds, 0, 1 << 20, integer=True)
    check_range("beta", beta, 0, float("inf"), open_low=True)
    check_range("gamma", gamma, 0, 1)
    seen = rounds if outcome_rounds is None else outcome_rounds
    check_range("outcome_rounds", seen, min(1, rounds), 1 << 20, integer=True)
    current = as_policy(table, policy)
    policies, meters, model = [current], [], None
    for i in range(rounds):
        sampler = Sampler(table, current, seed + (i << 32), device)
        batch = sampler.groups(groups, group_size).trajectories
        model = fit(batch, gamma, "row") if model is None or i < seen else _own(batch, model, gamma)
        current = tilted(current, model, beta)
        policies.append(current)
        meters.append(sampler.meter)
    returns = np.array([expected_return(table, each) for each in policies])
    return Rounds(tuple(policies), returns, tuple(meters))


def tilted(policy: Policy, model: ActionTable, beta: float) -> Policy:
    """Returns π(a|s) exp(Q_φ(s, a)/β) normalised over actions, for a model whose keys are the policy's rows."""
    rows = torch.arange(len(policy.probability), device=model.key.device)
    score: Floats = model.rows(rows).cpu().numpy() / beta
    top = np.where(policy.probability > 0, score, -np.inf).max(axis=1, keepdims=True)
    weight = policy.probability * np.exp(np.minimum(score - np.where(np.isfinite(top), top, 0), 0))
    total = weight.sum(axis=1, keepdims=True)
    kept = policy.probability.sum(axis=1, keepdims=True)
    return Policy(policy.kind, weight * kept / np.maximum(total, 1e-300))


def _own(batch: Trajectories, model: ActionTable, gamma: float) -> ActionTable:
    """Fits the next model on what the last one says of each rollout's last step."""
    key, action, place = last_steps(batch, "row")
    said: Tensor = torch.zeros_like(batch.reward).scatter_(1, place, model.at(key, action)[:, None])
    told, mask = batch.replace(reward=said), batch.mask
    wanted = labels(told, gamma)
    return fit_means(batch.policy_row[mask], batch.policy_action[mask], wanted[mask], batch.policy_table.shape[1])
