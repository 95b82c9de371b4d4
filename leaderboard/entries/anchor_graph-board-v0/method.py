"""Values on the graph of the observations that the rollouts of a group visited, backed up over all of them (ours)."""

from credit_envs.credit.anchor_graph import anchor_graph as estimate  # noqa: F401
