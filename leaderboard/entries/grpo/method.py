"""GRPO: a rollout's return against its group's, divided by the deviation (Shao et al. 2024)."""

from credit_envs.credit.grpo import grpo as estimate  # noqa: F401
