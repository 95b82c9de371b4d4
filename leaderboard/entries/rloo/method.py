"""RLOO: a rollout's return less the mean of the others in its group (Ahmadian et al. 2024)."""

from credit_envs.credit.grpo import rloo as estimate  # noqa: F401
