"""REINFORCE++: reward-to-go, whitened over the batch (Hu et al. 2025)."""

from credit_envs.credit.reinforce_pp import reinforce_pp as estimate  # noqa: F401
