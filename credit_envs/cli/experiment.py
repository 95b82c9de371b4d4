"""``credit-envs experiment``: sweeps that measure the principle, the dials and the claims, or any sweep of your own."""

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
    backend: str = "processes",
    part: str | None = None,
) -> int:
    """Run an experiment by name, or a sweep file; the same command again goes on where it stopped.

    Args:
        name: granularity, learning, dials, claims, the name of a claim, or a sweep file (FILE.toml).
        quick: The small version (a few minutes on two cores); without it hours.
        output: Folder of the results (default: results/experiment-NAME, with -quick).
        docs: Folder that gets tables (data/), pictures (images/) and pages (default: the folder of the results).
        jobs: Processes, or tasks at once (default: one per core).
        backend: Where cells run: processes, ray, or joblib:NAME.
        part: I/N: do only every N-th cell, for an array of N jobs on one folder; nothing is gathered or published.
    """
    from credit_envs.evaluation.run import default_jobs
    from credit_envs.experiments.catalogue import publish, sweep_of
    from credit_envs.experiments.runner import part_of, run
    from credit_envs.experiments.sweep_files import load_sweep

    own = name.endswith(".toml")
    if not own and part is None:
        need("matplotlib", "eval")
    sweep = load_sweep(name) if own else sweep_of(name, quick)
    if jobs is not None:
        check_range("jobs", jobs, 1, 4096, integer=True)
    title = sweep.name if own else name
    folder = output if output is not None else Path("results") / f"experiment-{title}{'-quick' if quick else ''}"
    try:
        with progress(title) as tell:
            chosen = sweep if part is None else part_of(sweep, part)
            failed = run(chosen, folder, jobs or default_jobs(), tell, backend, gathered=part is None)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; finished cells are kept in {folder}, and the same command goes on from there"
        ) from None
    for line in failed:
        print(f"experiment: {line}", file=sys.stderr)
    if own or part is not None:
        print(folder)
    else:
        for path in publish(name, folder, docs if docs is not None else folder, quick):
            print(path)
    return 1 if failed else 0
