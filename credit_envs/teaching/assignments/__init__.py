"""Assignments that ``credit-envs grade`` knows: one file each, with its right credit and the known ways to go wrong."""

from credit_envs.teaching.assignments import gigpo, rloo, step_returns, vineppo
from credit_envs.teaching.assignments.assignment import Assignment, Slip

ASSIGNMENTS: dict[str, Assignment] = {
    one.name: one for one in (rloo.ASSIGNMENT, step_returns.ASSIGNMENT, gigpo.ASSIGNMENT, vineppo.ASSIGNMENT)
}
"""Every assignment. Adding one: a file beside these, a template, and a line here."""

__all__ = ["ASSIGNMENTS", "Assignment", "Slip"]
