"""``credit-envs train`` and ``credit-envs compare``: agents' files run by path, and sweeps over them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from credit_envs import registry
from credit_envs.cli.progress import progress
from credit_envs.errors import CreditEnvsError, check_range, need
from credit_envs.training import files, sweep

Names = tyro.conf.Positional[tuple[str, ...]]
Name = tyro.conf.Positional[str]


def train(agent: Name, options: Names = ()) -> int:
    """Train an agent; `credit-envs train AGENT --help` lists its options. AGENT is a file in agents/, or any recipe.

    Args:
        agent: Such as gigpo, or a recipe such as gigpo+vppo.
        options: Of the agent, such as --env credit/KeyRooms-v0 --seed 3 --device cpu.
    """
    return files.run(agent, options)


def compare(
    agents: Annotated[Names, tyro.conf.arg(metavar="AGENT")] = (),
    environments: tuple[str, ...] = ("credit/KeyRooms-v0", "credit/Shop-v0", "credit/FrozenLake-v0"),
    seeds: int = 10,
    budget: int | None = None,
    first_seed: int = 0,
    device: str = "cpu",
    policy: str = files.TABULAR,
    output: Path = Path("results/training"),
    keep: Path | None = None,
    score: bool = False,
    docs: Path | None = None,
    jobs: int | None = None,
) -> int:
    """Train agents on environments, all seeds at once, and compare them; the same command again goes on where it stopped.

    Args:
        agents: Agents or recipes (default: grpo, gigpo, tree_grpo, agent_prm, vineppo, mcts_prm, anchor_graph).
        environments: Ids with or without knobs, or suites.
        seeds: Learners per agent and environment.
        budget: Environment steps per learner (default: by environment).
        first_seed: Seed of all luck.
        device: cpu or cuda.
        policy: Kind of policy: tabular, mlp, cnn, text, fusion, planner, gru, transformer, phase_moe.
        output: Folder of the results: one file per agent and environment, a picture, and report.md.
        keep: Folder that gets the best policy of every cell.
        score: Score the agents' credit on the same environments, too, and say whether better credit learned faster.
        docs: Folder in which to write the report as training.md and the picture as images/training.png, too.
        jobs: Processes (default: one per core).
    """
    need("matplotlib", "eval")
    from credit_envs.evaluation.run import default_jobs
    from credit_envs.report import learning

    names: list[str] = []
    for name in environments:
        names += registry.suite(name) if name in registry.SUITES else (registry.canonical(name),)
    if jobs is not None:
        check_range("jobs", jobs, 1, 4096, integer=True)
    wanted = sweep.cells(agents or sweep.FIRST, tuple(dict.fromkeys(names)), seeds, budget, first_seed, device, policy)
    try:
        with progress("compare") as tell:
            failed = sweep.sweep(wanted, output, jobs or default_jobs(), tell, keep)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; finished cells are kept in {output}, and the same command goes on from there"
        ) from None
    for line in failed:
        print(f"compare: {line}", file=sys.stderr)
    if len(failed) == len(wanted):
        raise CreditEnvsError("compare: no cell could be trained")
    if score:
        from credit_envs.training.scores import score as score_credit

        with progress("score") as tell:
            score_credit(agents or sweep.FIRST, tuple(dict.fromkeys(names)), output, progress=tell)
    written = learning.write(output, docs=docs)
    print(written.read_text())
    print(f"report: {written}\npicture: {written.with_name('curves.png')}")
    return 0


def passed_on(given: Sequence[str]) -> bool:
    """Whether arguments name an agent, whose options are its file's to read."""
    return len(given) > 1 and given[0] == "train" and not given[1].startswith("-")
