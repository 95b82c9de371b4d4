"""The oracle: exact values, gradients, visits and measurements of any policy on any table, in float64."""

from credit_envs.oracle.control import Optimal, Rung, ladder, optimal
from credit_envs.oracle.evaluation import Values, evaluate, expected_return, occupancy
from credit_envs.oracle.gradient import action_values, exact_gradient
from credit_envs.oracle.measure import anchor_quality, measure, perception, reward_timing, spread
from credit_envs.oracle.policy import Policy, PolicyLike, as_policy, uniform
from credit_envs.oracle.visits import anchor_ids, revisit_rate, visit_probability

__all__ = [
    "Optimal",
    "Policy",
    "PolicyLike",
    "Rung",
    "Values",
    "action_values",
    "anchor_ids",
    "anchor_quality",
    "as_policy",
    "evaluate",
    "exact_gradient",
    "expected_return",
    "ladder",
    "measure",
    "occupancy",
    "optimal",
    "perception",
    "revisit_rate",
    "reward_timing",
    "spread",
    "uniform",
    "visit_probability",
]
