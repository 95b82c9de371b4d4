"""HGPO: groups of steps by how much of their history they share, weighted over depths (He et al. 2026)."""

from credit_envs.credit.hgpo import hgpo as estimate  # noqa: F401
