"""The table and how it is built, checked, shown and stored."""

from credit_envs.table.build import from_outcomes, lift, prune, union
from credit_envs.table.emission import Emission, Layer
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.storage import fingerprint, load, save
from credit_envs.table.view import View

__all__ = [
    "Emission",
    "Layer",
    "TabularMDP",
    "View",
    "fingerprint",
    "from_outcomes",
    "lift",
    "load",
    "prune",
    "save",
    "union",
]
