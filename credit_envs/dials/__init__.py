"""Dials: pure functions from tables to tables, each with a definition, an exact measurement and an inverse."""

from credit_envs.dials.catalogue import DIALS, Dial, names
from credit_envs.dials.compose import apply, measured
from credit_envs.dials.inverse import Solution, solve

__all__ = ["DIALS", "Dial", "Solution", "apply", "measured", "names", "solve"]
