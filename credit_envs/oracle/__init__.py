"""The oracle: exact values, gradients, visits and measurements of any policy on any table, in float64."""

from credit_envs.oracle.control import Optimal, Rung, ladder, optimal
from credit_envs.oracle.evaluation import Values, evaluate, expected_return, occupancy
from credit_envs.oracle.gradient import action_values, exact_gradient
from credit_envs.oracle.policy import Policy, PolicyLike, as_policy, uniform

__all__ = [
    "Optimal", "Policy", "PolicyLike", "Rung", "Values", "action_values", "as_policy", "evaluate", "exact_gradient",
    "expected_return", "ladder", "occupancy", "optimal", "uniform",
]
