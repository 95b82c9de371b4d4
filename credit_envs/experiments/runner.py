"""Running a sweep: one file per cell, written at once and whole, so that the same call goes on where it was interrupted.

Cells run in this process, on a pool of local processes, or on any engine that joblib knows, Ray among them. Workers hand back
what they found and this process alone writes, so that they need not share a file system. Where many machines do share one,
each may take a part of the sweep (:func:`part_of`) into the same folder.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

from credit_envs.errors import CreditEnvsError, check_range, need, unknown
from credit_envs.experiments import dataset
from credit_envs.experiments.cells import Sweep, Work
from credit_envs.table.storage import write_atomically

Progress = Callable[[int, int, str], None]
"""Called with (cells done, cells in all, what is being worked on)."""

BACKENDS = ("processes", "ray", "joblib:NAME")
"""Where cells run: here, on Ray, or on a backend that joblib knows by name."""

_JOBLIB = "joblib:"


def run(
    sweep: Sweep,
    folder: Path,
    jobs: int = 1,
    progress: Progress | None = None,
    backend: str = "processes",
    gathered: bool = True,
) -> list[str]:
    """Does the cells of a sweep that are not yet done, and gathers all of them.

    Args:
        sweep: what to do.
        folder: gets ``cells/*.json``, and the dataset (see :mod:`credit_envs.experiments.dataset`).
        jobs: processes, or tasks that an engine runs at once.
        progress: told about every finished cell.
        backend: one of :data:`BACKENDS`.
        gathered: whether to write the dataset.

    Returns:
        What failed, one line per cell; a cell that cannot be stops no other.

    Raises:
        CreditEnvsError: for a malformed cell, an unknown backend or one that is not installed, before any work starts, or if
            no cell could be done.
        KeyboardInterrupt: on Ctrl-C; finished cells stay.
    """
    for cell in sweep.cells:
        cell.check()
    engine = _engine(backend)
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    tell = progress or (lambda *_: None)
    missing = [cell for cell in sweep.cells if not path_of(cell, folder).is_file()]
    before, total = len(sweep.cells) - len(missing), len(sweep.cells)

    def running(done: int, what: str) -> None:
        tell(before + done, total, what)

    failed: list[str] = []
    for cell, found in engine(missing, jobs, running):
        if isinstance(found, str):
            failed.append(f"{cell.slug}: {found}")
        else:
            write_atomically(path_of(cell, folder), json.dumps(found).encode())
    if failed and len(failed) == total:
        raise CreditEnvsError(f"{sweep.name}: no cell could be done; the first: {failed[0]}")
    if gathered:
        dataset.gather(sweep, folder)
    tell(total, total, "done")
    return failed


def part_of(sweep: Sweep, part: str) -> Sweep:
    """Returns every n-th cell of a sweep, for an array of n jobs.

    Args:
        sweep: the whole.
        part: ``I/N``, with I from 1 to N.

    Raises:
        CreditEnvsError: for anything else.
    """
    first, _, count = part.partition("/")
    if not (first.isdecimal() and count.isdecimal()):
        raise CreditEnvsError(f"part={part!r}: expected I/N, such as 3/40, with I from 1 to N")
    check_range("part", int(count), 1, 1e6, integer=True)
    check_range("part", int(first), 1, int(count), integer=True)
    return Sweep(sweep.name, sweep.about, sweep.cells[int(first) - 1 :: int(count)])


def path_of(cell: Work, folder: Path) -> Path:
    """Returns the file of a cell."""
    return folder / "cells" / f"{cell.slug}.json"


_Found = dict[str, Any] | str
"""What a cell's work gave, or why it could not be done."""

_Tell = Callable[[int, str], None]
_Engine = Callable[[Sequence[Work], int, _Tell], Iterator[tuple[Work, _Found]]]


def _attempt(cell: Work) -> tuple[Work, _Found]:
    import torch

    torch.set_num_threads(1)
    try:
        return cell, cell.work()
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return cell, f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}: {error}"


def _engine(backend: str) -> _Engine:
    if backend == "processes":
        return _local
    if backend == "ray":
        return functools.partial(_ray, need("ray", "cluster"), need("ray.util.multiprocessing", "cluster"))
    if backend.startswith(_JOBLIB):
        return functools.partial(_joblib, need("joblib", "cluster"), backend.removeprefix(_JOBLIB))
    raise unknown("backend", backend, BACKENDS)


def _local(missing: Sequence[Work], jobs: int, tell: _Tell) -> Iterator[tuple[Work, _Found]]:
    if jobs > 1:
        yield from _processes(missing, jobs, tell)
        return
    for number, cell in enumerate(missing):
        tell(number, cell.environment)
        yield _attempt(cell)


def _processes(missing: Sequence[Work], jobs: int, tell: _Tell) -> Iterator[tuple[Work, _Found]]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, max(1, len(missing))), mp_context=context) as pool:
        waiting: dict[Future[tuple[Work, _Found]], Work] = {pool.submit(_attempt, cell): cell for cell in missing}
        try:
            while waiting:
                for future in [future for future in waiting if future.done()]:
                    del waiting[future]
                    yield future.result()
                running = [cell.environment for future, cell in waiting.items() if future.running()]
                tell(len(missing) - len(waiting), ", ".join(running[:jobs]))
                time.sleep(0.2)
        except BaseException:
            for process in list(getattr(pool, "_processes", {}).values()):
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _ray(ray: Any, pools: Any, missing: Sequence[Work], jobs: int, tell: _Tell) -> Iterator[tuple[Work, _Found]]:
    """On the Ray cluster that ``RAY_ADDRESS`` names, or on one that is started here with ``jobs`` processes.

    The pool is the one that joblib's Ray backend is made of; through joblib results would come back at the very end.
    """
    if not ray.is_initialized():
        cpus = None if os.environ.get("RAY_ADDRESS") else jobs
        ray.init(num_cpus=cpus, log_to_driver=False, configure_logging=False)
    tell(0, "on ray")
    with pools.Pool(jobs) as pool:
        for number, (cell, found) in enumerate(pool.imap_unordered(_attempt, missing, chunksize=1)):
            yield cell, found
            tell(number + 1, cell.environment)


def _joblib(joblib: Any, name: str, missing: Sequence[Work], jobs: int, tell: _Tell) -> Iterator[tuple[Work, _Found]]:
    tell(0, f"on {name}")
    try:
        config = joblib.parallel_config(name)
    except ValueError as error:
        raise CreditEnvsError(f"backend='{_JOBLIB}{name}': joblib has no such backend ({error})") from None
    with config:
        pool = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1, pre_dispatch="all")
        for number, (cell, found) in enumerate(pool(joblib.delayed(_attempt)(cell) for cell in missing)):
            yield cell, found
            tell(number + 1, cell.environment)
