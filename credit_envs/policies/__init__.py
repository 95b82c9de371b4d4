"""Policies to be trained: tables and networks over observations, and architectures that a method brings along."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from credit_envs.errors import unknown
from credit_envs.policies.features import default_view
from credit_envs.policies.gru import Gru
from credit_envs.policies.memory import MemoryPolicy
from credit_envs.policies.network import Network, cnn, fusion, planner, text
from credit_envs.policies.phase import Phase
from credit_envs.policies.phase_moe import PhaseMoE, PhaseOutput
from credit_envs.policies.policy import Policy, admissible
from credit_envs.policies.tabular import Tabular
from credit_envs.policies.transformer import Transformer
from credit_envs.table.mdp import TabularMDP

KINDS: Mapping[str, Callable[..., Policy | MemoryPolicy]] = {
    "tabular": Tabular,
    "mlp": Network,
    "cnn": cnn,
    "text": text,
    "fusion": fusion,
    "planner": planner,
    "gru": Gru,
    "transformer": Transformer,
    "phase_moe": Phase,
}
"""Policies by name; from ``gru`` on with memory. Adding one: a file beside this one, and an entry here.

:class:`credit_envs.policies.language.Language`, a language model, needs a checkpoint and is made by hand.
"""

ALONE = ("transformer", "phase_moe")
"""Kinds that train one learner at a time."""

_OWN_VIEW = ("cnn", "text", "fusion")


def make_policy(
    kind: str,
    table: TabularMDP,
    learners: int = 1,
    seed: int = 0,
    view: str | None = None,
    preferred: str | None = None,
) -> Policy | MemoryPolicy:
    """Makes a policy by name.

    Args:
        kind: one of :data:`KINDS`.
        table: the environment.
        learners: number of independent learners.
        seed: seed of initial weights; learner k's come from seed + k.
        view: the view that a network reads (a table of logits reads none).
        preferred: view that suits the environment where none is asked for, such as the registry's; see
            :func:`~credit_envs.policies.features.default_view`.

    Raises:
        CreditEnvsError: for an unknown kind (with the nearest known ones), and where a network can't read the view.
    """
    if kind not in KINDS:
        raise unknown("policy", kind, KINDS)
    if kind == "tabular":
        return KINDS[kind](table, learners, seed)
    if view is None and kind not in _OWN_VIEW:
        view = default_view(table, preferred)
    return KINDS[kind](table, learners, seed, view=view)


__all__ = [
    "ALONE",
    "KINDS",
    "MemoryPolicy",
    "Network",
    "PhaseMoE",
    "PhaseOutput",
    "Policy",
    "Tabular",
    "admissible",
    "make_policy",
]
