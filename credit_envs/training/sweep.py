"""Sweeps: agents × environments, one file per cell, resumable at any moment.

All seeds of a cell are trained at once, where the policy allows; else one after the other.
"""

from __future__ import annotations

import json
import multiprocessing
import shlex
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from credit_envs import registry
from credit_envs.errors import CreditEnvsError, check_range, unknown
from credit_envs.policies import ALONE, KINDS
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
        policy: kind of policy.
    """

    agent: str
    environment: str
    seeds: int
    budget: int
    seed: int = 0
    device: str = "cpu"
    policy: str = files.TABULAR

    @property
    def slug(self) -> str:
        """Name of its files."""
        return files.slug(self.agent, self.environment, self.policy)

    @property
    def arguments(self) -> list[str]:
        """Arguments of the agent's file."""
        sizes = ["--learners", str(self.seeds), "--budget", str(self.budget), "--seed", str(self.seed)]
        kind = [] if self.policy == files.TABULAR else ["--policy", self.policy]
        return ["--env", self.environment, *sizes, *kind]

    @property
    def command(self) -> str:
        """What makes its result again."""
        if len(self.parts) == 1:
            return shlex.join(["credit-envs", "train", self.agent, *self.arguments])
        words = ["compare", self.agent, "--environments", self.environment, "--policy", self.policy]
        sizes = ["--seeds", str(self.seeds), "--budget", str(self.budget), "--first-seed", str(self.seed)]
        return shlex.join(["credit-envs", *words, *sizes])

    @property
    def parts(self) -> list[Cell]:
        """The runs that it takes: itself, or one per seed."""
        if self.policy not in ALONE or self.seeds == 1:
            return [self]
        return [replace(self, seeds=1, seed=self.seed + k) for k in range(self.seeds)]


def cells(
    agents: Sequence[str],
    environments: Sequence[str],
    seeds: int,
    budget: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    policy: str = files.TABULAR,
) -> list[Cell]:
    """Returns the cells of a sweep, environment by environment.

    Args:
        agents: agents or recipes.
        environments: ids.
        seeds: learners per cell.
        budget: environment steps per learner (default: see :mod:`credit_envs.training.budgets`).
        seed: of the first learner.
        device: cpu or cuda.
        policy: kind of policy.

    Raises:
        CreditEnvsError: for unknown agents, environments and policies, and numbers out of range.
    """
    check_range("seeds", seeds, 1, 4096, integer=True)
    if policy not in KINDS:
        raise unknown("policy", policy, KINDS)
    for agent in agents:
        files.command(agent)
    names = [registry.canonical(environment) for environment in environments]
    return [Cell(a, e, seeds, budget or budget_of(e), seed, device, policy) for e in names for a in agents]


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
    runs = []
    for part in cell.parts:
        run = folder / "runs" / f"{part.slug}-{part.seeds}-{part.seed}"
        quiet = ["--device", part.device, "--output", str(run), "--no-tensorboard", "--quiet"]
        if code := files.run(part.agent, [*part.arguments, *quiet]):
            return [f"{part.slug}: exit code {code}"]
        runs.append(run)
    found = [json.loads((run / "result.json").read_text()) for run in runs]
    if keep is not None:
        best = max(range(len(runs)), key=lambda k: max(found[k]["curve"][-1]["J"]))
        trained.keep(runs[best], keep / f"{cell.slug}.safetensors", cell.command)
    compact = results.compact(results.merged(found), cell.command)
    write_atomically(folder / f"{cell.slug}.json", json.dumps(compact).encode())
    return []
