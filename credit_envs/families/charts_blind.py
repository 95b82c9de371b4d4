"""The game without the picture: what the best player earns who sees only the text, and how much a policy reads.

Nothing here is special to charts; :mod:`credit_envs.oracle.masked` does it for every table with the label ``blind``.
"""

from __future__ import annotations

from credit_envs.arrays import Floats
from credit_envs.oracle import masked
from credit_envs.oracle.masked import beliefs, without_image
from credit_envs.oracle.policy import PolicyLike
from credit_envs.table.mdp import TabularMDP


def image_free(table: TabularMDP, policy: PolicyLike) -> Floats:
    """Returns what a policy does without the picture: its average over what the picture may show, given the text.

    π(a | text) = Σ_s P(s | text) π(a | s), with the text as the policy itself has written it (:func:`beliefs`).

    Args:
        table: a Charts table.
        policy: see :data:`~credit_envs.oracle.policy.PolicyLike`; inadmissible actions are left out.

    Returns:
        float64 ``[S, A]``, the same for all states of one ``blind``; zero in the end.
    """
    found = masked.image_free(table, policy)
    return found.probability[found.look]


def dependence(table: TabularMDP, policy: PolicyLike) -> Floats:
    """Returns KL(π(· | picture, text) ‖ π(· | text)) of every state in nats, float64 ``[S]``; 0 in the end.

    What VPPO (arXiv 2510.09285) estimates token by token as S_t, exact, and against all pictures that the text allows
    instead of one masked picture.
    """
    return masked.image_free(table, policy).dependence


__all__ = ["beliefs", "dependence", "image_free", "without_image"]
