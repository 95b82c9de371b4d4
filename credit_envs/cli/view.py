"""``credit-envs view``: groups of rollouts with their credit, as one page."""

from __future__ import annotations

import shlex
import webbrowser
from pathlib import Path
from typing import Annotated

import tyro

from credit_envs.cli.tables import table_of
from credit_envs.errors import CreditEnvsError

Names = tyro.conf.Positional[tuple[str, ...]]
Name = tyro.conf.Positional[str]
_LEVELS = (0.5, 0.0, 0.9)


def view(
    env_id: Name,
    knobs: Names = (),
    also: tuple[str, ...] = (),
    policy: tuple[float, ...] = _LEVELS,
    algorithms: tuple[str, ...] = (),
    group_size: int = 8,
    seed: int = 0,
    instance: int = 0,
    output: Path = Path("view.html"),
    browse: Annotated[bool, tyro.conf.arg(name="open")] = False,
) -> int:
    """Write a page on which groups of rollouts are stepped through, with the exact credit beside what estimators say.

    Environment, policy and estimator are chosen on the page.

    Args:
        env_id: Id, or path of a saved table (.npz).
        knobs: Knobs and dials, as NAME=VALUE.
        also: Further environments for the same page, with their knobs (ID?NAME=VALUE&NAME=VALUE), or saved tables.
        policy: The policies that play, as shares of the way from uniform (0) to optimal play (1); the first is shown first.
        algorithms: Estimators (see `credit-envs algorithms`), names joined with +, or FILE.py:FUNCTION; each rollout plan
            gets a group of its own (default: grpo gigpo anchor_graph tree_grpo).
        group_size: Rollouts.
        seed: Seed of the rollouts.
        instance: Instance seed of a family.
        output: Path of the page (.html).
        browse: Open the page in a browser.
    """
    from credit_envs.report.viewed import groups
    from credit_envs.report.viewer import write_viewer

    if output.suffix != ".html":
        raise CreditEnvsError(f"output={str(output)!r}: expected a path that ends in .html")
    if not policy:
        raise CreditEnvsError("policy=(): expected at least one share in [0, 1]")
    tables = [table_of(env_id, knobs, instance), *(table_of(name, ()) for name in also)]
    shown = [group for table in tables for group in groups(table, algorithms, policy, group_size, seed)]
    print(
        f"page: {write_viewer(shown, output, _again(env_id, knobs, also, policy, algorithms, group_size, seed, instance))}"
    )
    if browse:
        webbrowser.open(output.resolve().as_uri())
    return 0


def _again(
    env_id: str,
    knobs: tuple[str, ...],
    also: tuple[str, ...],
    policy: tuple[float, ...],
    algorithms: tuple[str, ...],
    group_size: int,
    seed: int,
    instance: int,
) -> str:
    """Returns the command that makes the page again."""
    parts = ["credit-envs", "view", env_id, *knobs, "--policy", *(f"{level:g}" for level in policy)]
    parts += [f"--group-size={group_size}", f"--seed={seed}", f"--instance={instance}"]
    for name, values in (("also", also), ("algorithms", algorithms)):
        parts += [f"--{name}", *values] if values else []
    return shlex.join(parts)
