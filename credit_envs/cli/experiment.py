"""``credit-envs experiment``: sweeps that measure the principle, the dials and the claims."""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

from credit_envs.cli.progress import progress
from credit_envs.errors import check_range, need


def experiment(
    name: tyro.conf.Positional[str],
    quick: bool = False,
    output: Path | None = None,
    docs: Path | None = None,
    jobs: int | None = None,
) -> int:
    """Run an experiment: granularity, dials, claims, or one claim by name; the same command again goes on where it stopped.

    Args:
        name: granularity, dials, claims, or the name of a claim.
        quick: The small version (a few minutes on two cores); without it hours.
        output: Folder of the results (default: results/experiment-NAME, with -quick).
        docs: Folder that gets tables (data/), pictures (images/) and principle.md (default: the folder of the results).
        jobs: Processes (default: one per core).
    """
    need("matplotlib", "eval")
    from credit_envs.evaluation.run import default_jobs
    from credit_envs.experiments.catalogue import publish, sweep_of
    from credit_envs.experiments.runner import run

    sweep = sweep_of(name, quick)
    if jobs is not None:
        check_range("jobs", jobs, 1, 4096, integer=True)
    folder = output if output is not None else Path("results") / f"experiment-{name}{'-quick' if quick else ''}"
    try:
        with progress(name) as tell:
            failed = run(sweep, folder, jobs or default_jobs(), tell)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; finished cells are kept in {folder}, and the same command goes on from there"
        ) from None
    for line in failed:
        print(f"experiment: {line}", file=sys.stderr)
    for path in publish(name, folder, docs if docs is not None else folder, quick):
        print(path)
    return 1 if failed else 0
