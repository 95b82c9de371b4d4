"""Data sets of trajectories with exact step labels: a Minari data set, and JSON lines for process reward models."""

from credit_envs.export.config import Export
from credit_envs.export.dataset import export
from credit_envs.export.labels import Labelled, labelled

__all__ = ["Export", "Labelled", "export", "labelled"]
