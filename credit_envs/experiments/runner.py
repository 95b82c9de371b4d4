"""Running a sweep: one file per cell, written at once and whole, so that the same call goes on where it was interrupted.

Cells run in this process or on a pool of local processes.
"""

from __future__ import annotations

import json
import multiprocessing
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

from credit_envs.errors import CreditEnvsError
from credit_envs.experiments import dataset
from credit_envs.experiments.cells import Sweep, Work
from credit_envs.table.storage import write_atomically

Progress = Callable[[int, int, str], None]
"""Called with (cells done, cells in all, what is being worked on)."""


def run(sweep: Sweep, folder: Path, jobs: int = 1, progress: Progress | None = None) -> list[str]:
    """Does the cells of a sweep that are not yet done, and gathers all of them.

    Args:
        sweep: what to do.
        folder: gets ``cells/*.json``, and the dataset (see :mod:`credit_envs.experiments.dataset`).
        jobs: processes.
        progress: told about every finished cell.

    Returns:
        What failed, one line per cell; a cell that cannot be stops no other.

    Raises:
        CreditEnvsError: for a malformed cell, before any work starts, or if no cell could be done.
        KeyboardInterrupt: on Ctrl-C; finished cells stay.
    """
    for cell in sweep.cells:
        cell.check()
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    tell = progress or (lambda *_: None)
    missing = [cell for cell in sweep.cells if not path_of(cell, folder).is_file()]
    before, total = len(sweep.cells) - len(missing), len(sweep.cells)
    failed: list[str] = []
    if jobs <= 1:
        for number, cell in enumerate(missing):
            tell(before + number, total, cell.environment)
            failed += _attempt(cell, str(folder))
    else:
        failed = _processes(missing, folder, jobs, lambda done, what: tell(before + done, total, what))
    if len(failed) == total:
        raise CreditEnvsError(f"{sweep.name}: no cell could be done; the first: {failed[0]}")
    dataset.gather(sweep, folder)
    tell(total, total, "done")
    return failed


def path_of(cell: Work, folder: Path) -> Path:
    """Returns the file of a cell."""
    return folder / "cells" / f"{cell.slug}.json"


def _attempt(cell: Work, folder: str) -> list[str]:
    import torch

    torch.set_num_threads(1)
    try:
        found: dict[str, Any] = cell.work()
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return [f"{cell.slug}: {type(error).__name__} in {where}: {error}"]
    write_atomically(path_of(cell, Path(folder)), json.dumps(found).encode())
    return []


def _processes(missing: Sequence[Work], folder: Path, jobs: int, tell: Callable[[int, str], None]) -> list[str]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, max(1, len(missing))), mp_context=context) as pool:
        futures: dict[Future[list[str]], Work] = {pool.submit(_attempt, cell, str(folder)): cell for cell in missing}
        try:
            while not all(future.done() for future in futures):
                running = [cell.environment for future, cell in futures.items() if future.running()]
                tell(sum(future.done() for future in futures), ", ".join(running[:jobs]))
                time.sleep(0.2)
        except BaseException:
            for process in list(getattr(pool, "_processes", {}).values()):
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [line for future in futures for line in future.result()]
