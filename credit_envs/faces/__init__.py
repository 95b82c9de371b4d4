"""Faces: how a table is played, one environment at a time or many."""

from credit_envs.faces.entry import make, make_vec
from credit_envs.faces.registration import register_all
from credit_envs.faces.single import Snapshot, TabularEnv
from credit_envs.faces.vector import TabularVectorEnv

__all__ = ["Snapshot", "TabularEnv", "TabularVectorEnv", "make", "make_vec", "register_all"]
