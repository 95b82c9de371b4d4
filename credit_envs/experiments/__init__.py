"""Experiments: sweeps as plain data, a resumable runner, the granularity surface and the ledger of claims."""

from credit_envs.experiments.cells import Cell, Sweep
from credit_envs.experiments.runner import run

__all__ = ["Cell", "Sweep", "run"]
