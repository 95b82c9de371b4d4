"""``credit-envs export``: trajectories with exact step labels as a data set."""

from __future__ import annotations

from pathlib import Path

import tyro

from credit_envs.cli.progress import progress
from credit_envs.export.config import FORMATS, Export
from credit_envs.export.dataset import export as write_export


def export(
    env_id: tyro.conf.Positional[str],
    knobs: tyro.conf.Positional[tuple[str, ...]] = (),
    policy: str = Export.policy,
    groups: int = Export.groups,
    group_size: int = Export.group_size,
    instances: int = Export.instances,
    instance: int = Export.instance,
    seed: int = Export.seed,
    splits: tuple[str, ...] = Export.splits,
    formats: tuple[str, ...] = FORMATS,
    observation: str | None = None,
    tolerance: float = Export.tolerance,
    output: Path | None = None,
) -> int:
    """Export trajectories with the exact credit of every step, for offline learning and for process reward models.

    Args:
        env_id: Id, or path of a saved table (.npz).
        knobs: Knobs and dials, as NAME=VALUE.
        policy: Who plays: uniform, optimal, a skill from 0 to 1, or a trained agent such as gigpo.
        groups: Groups per instance.
        group_size: Rollouts per group.
        instances: How many instances of a family.
        instance: Instance seed of the first.
        seed: Seed of all luck.
        splits: Shares, as NAME=SHARE.
        formats: Some of processbench, prm800k (JSON lines) and minari.
        observation: View of the Minari data (default: what gymnasium.make shows).
        tolerance: Regret above which a step is an error.
        output: Folder of the data and its card (default: results/export-DIGEST).
    """
    config = Export(
        env_id,
        knobs,
        policy,
        groups,
        group_size,
        instances,
        instance,
        seed,
        splits,
        formats,
        observation,
        tolerance,
    ).check()
    folder = output if output is not None else Path("results") / f"export-{config.digest}"
    with progress("export") as tell:
        about = write_export(config, folder, tell)
    for split, figures in about["splits"].items():
        print(
            f"{split}: {figures['rollouts']:,} rollouts, {figures['steps']:,} steps; won {figures['won']:.1%}, "
            f"with an error {figures['with_an_error']:.1%}"
        )
    print(f"card: {folder / 'README.md'}")
    return 0
