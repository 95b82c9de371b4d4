"""Sweeps: agents × environments, all seeds of a cell at once, one file per cell, resumable at any moment."""

from __future__ import annotations

import json
import multiprocessing
import shlex
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from credit_envs import registry
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.table.storage import write_atomically
from credit_envs.training import files, results, trained
from credit_envs.training.budgets import budget_of

Progress = Callable[[int, int, str], None]
"""Called with (cells done, cells in all, what is being worked on)."""

FIRST = ("grpo", "gigpo", "tree_grpo", "agent_prm", "vineppo", "mcts_prm", "anchor_graph")
"""The agents that are compared where none is named."""


@dataclass(frozen=True)
class Cell:
    """One agent on one environment.

    Attributes:
        agent: an agent or a recipe.
        environment: id.
        seeds: number of learners.
        budget: environment steps per learner.
        seed: of the first learner.
        device: cpu or cuda.
        options: further options of the agent, as on a command line.
    """

    agent: str
    environment: str
    seeds: int
    budget: int
    seed: int = 0
    device: str = "cpu"
    options: tuple[str, ...] = ()

    @property
    def slug(self) -> str:
        """Name of its files."""
        return files.slug(self.agent, self.environment)

    @property
    def arguments(self) -> list[str]:
        """Arguments of the agent's file."""
        sizes = ["--learners", str(self.seeds), "--budget", str(self.budget), "--seed", str(self.seed)]
        return ["--env", self.environment, *sizes, *self.options]

    @property
    def command(self) -> str:
        """What makes its result again."""
        return shlex.join(["credit-envs", "train", self.agent, *self.arguments])


def cells(
    agents: Sequence[str],
    environments: Sequence[str],
    seeds: int,
    budget: int | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> list[Cell]:
    """Returns the cells of a sweep, environment by environment.

    Args:
        agents: agents or recipes.
        environments: ids.
        seeds: learners per cell.
        budget: environment steps per learner (default: see :mod:`credit_envs.training.budgets`).
        seed: of the first learner.
        device: cpu or cuda.

    Raises:
        CreditEnvsError: for unknown agents and environments, and numbers out of range.
    """
    check_range("seeds", seeds, 1, 4096, integer=True)
    for agent in agents:
        files.command(agent)
    names = [registry.canonical(environment) for environment in environments]
    return [Cell(a, e, seeds, budget or budget_of(e), seed, device) for e in names for a in agents]


def sweep(
    wanted: Sequence[Cell],
    folder: Path,
    jobs: int = 1,
    progress: Progress | None = None,
    keep: Path | None = None,
) -> list[str]:
    """Trains what is not yet there.

    Args:
        wanted: the cells.
        folder: gets one file per cell; unfinished runs lie in its ``runs``.
        jobs: processes.
        progress: told about every finished cell.
        keep: folder that gets each cell's best agent, see :mod:`credit_envs.training.trained`.

    Returns:
        What failed, one line each: a cell that cannot be (an agent that needs labels which a table lacks) stops no other.

    Raises:
        CreditEnvsError: if a file that is there belongs to another cell.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tell = progress or (lambda *_: None)
    missing = [cell for cell in wanted if not _done(cell, folder)]
    total, failed = len(wanted), list[str]()
    if jobs <= 1:
        for number, cell in enumerate(missing):
            tell(total - len(missing) + number, total, cell.slug)
            failed += _attempt(cell, folder, keep)
        tell(total, total, "done")
        return failed
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, max(1, len(missing))), mp_context=context) as pool:
        futures: dict[Future[list[str]], Cell] = {pool.submit(_attempt, c, folder, keep): c for c in missing}
        try:
            while not all(future.done() for future in futures):
                running = [cell.slug for future, cell in futures.items() if future.running()]
                done = sum(future.done() for future in futures)
                tell(total - len(missing) + done, total, ", ".join(running[:jobs]))
                time.sleep(0.2)
        except BaseException:
            for process in list(getattr(pool, "_processes", {}).values()):
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        for future in futures:
            failed += future.result()
    tell(total, total, "done")
    return failed


def _done(cell: Cell, folder: Path) -> bool:
    path = folder / f"{cell.slug}.json"
    if not path.is_file():
        return False
    found = results.read(path)
    for name, here, wanted in (
        ("budget", found.budget, cell.budget),
        ("seed", found.about["options"]["seed"], cell.seed),
    ):
        if here != wanted:
            raise CreditEnvsError(f"{str(path)!r}: {name} is {here} there and {wanted} here; choose another folder")
    return found.seeds >= cell.seeds


def _attempt(cell: Cell, folder: Path, keep: Path | None) -> list[str]:
    import torch

    torch.set_num_threads(1)
    run = folder / "runs" / f"{cell.slug}-{cell.seeds}"
    quiet = ["--device", cell.device, "--output", str(run), "--no-tensorboard", "--quiet"]
    code = files.run(cell.agent, [*cell.arguments, *quiet])
    if code:
        return [f"{cell.slug}: exit code {code}"]
    result = json.loads((run / "result.json").read_text())
    if keep is not None:
        trained.keep(run, keep / f"{cell.slug}.safetensors", cell.command)
    write_atomically(folder / f"{cell.slug}.json", json.dumps(results.compact(result, cell.command)).encode())
    return []
