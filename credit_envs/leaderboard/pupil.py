"""The learner's side (written below)."""
