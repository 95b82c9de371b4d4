"""Policies of stated skill: how good a demonstrator is, as a share of the way from uniform to optimal play."""

from __future__ import annotations

from functools import lru_cache

from credit_envs.errors import check_range
from credit_envs.oracle.control import ladder
from credit_envs.oracle.policy import Policy
from credit_envs.table.mdp import TabularMDP

_BEST = 0.999


def skilled_policy(table: TabularMDP, skill: float) -> Policy:
    """Returns a policy whose normalised return is ``skill``: a rung of :func:`~credit_envs.oracle.control.ladder`.

    It sees looks, not states, so where looks alias optimal play may be out of its reach; then it is the best that the
    ladder finds. Policies are softmax tables and never quite optimal: a skill above 0.999 counts as 0.999. On a table
    where no play is better than uniform it is uniform.

    Args:
        table: the table.
        skill: in [0, 1]; 0 is uniform.

    Raises:
        CreditEnvsError: if the skill is out of range.
    """
    check_range("skill", skill, 0, 1)
    return _rung(table, min(float(skill), _BEST))


@lru_cache(maxsize=16)
def _rung(table: TabularMDP, level: float) -> Policy:
    return ladder(table, (level,))[-1].policy
