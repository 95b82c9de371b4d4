"""GiGPO: GRPO, and beside it groups of the steps that were taken where rollouts met (Feng et al. 2025)."""

from credit_envs.credit.gigpo import gigpo as estimate  # noqa: F401
