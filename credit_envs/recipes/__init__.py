"""Recipes: rollout plan → reward model → advantage estimator → token weighting → policy loss."""

from __future__ import annotations

from credit_envs.piece import NEEDS, Piece
from credit_envs.recipes.catalogue import DEFAULT, PIECES, PRESETS, known, names, piece, recipe
from credit_envs.recipes.recipe import Recipe, compose

__all__ = ["DEFAULT", "NEEDS", "PIECES", "PRESETS", "Piece", "Recipe", "compose", "known", "names", "piece", "recipe"]
