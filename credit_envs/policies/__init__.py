"""Policies to be trained: tables and networks over observations, and architectures that a method brings along."""

from __future__ import annotations

from collections.abc import Mapping

from credit_envs.errors import unknown
from credit_envs.policies.phase_moe import PhaseMoE, PhaseOutput
from credit_envs.policies.policy import Policy, admissible
from credit_envs.policies.tabular import Tabular
from credit_envs.table.mdp import TabularMDP

KINDS: Mapping[str, type[Policy]] = {"tabular": Tabular}
"""Policies without memory, by name. Adding one: a file beside this one, and an entry here."""


def make_policy(kind: str, table: TabularMDP, learners: int = 1, seed: int = 0) -> Policy:
    """Makes a policy by name.

    Args:
        kind: one of :data:`KINDS`.
        table: the environment.
        learners: number of independent learners.
        seed: seed of initial weights.

    Raises:
        CreditEnvsError: for an unknown kind (with the nearest known ones).
    """
    if kind not in KINDS:
        raise unknown("policy", kind, KINDS)
    return KINDS[kind](table, learners, seed)


__all__ = ["KINDS", "PhaseMoE", "PhaseOutput", "Policy", "Tabular", "admissible", "make_policy"]
