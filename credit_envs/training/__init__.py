"""Training: what surrounds the loops in ``agents/``."""

from __future__ import annotations

from credit_envs.training.command import start
from credit_envs.training.options import Options
from credit_envs.training.run import Run

__all__ = ["Options", "Run", "start"]
