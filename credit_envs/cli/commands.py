"""The subcommands, as functions whose parameters are the options."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import tyro

from credit_envs import registry
from credit_envs.cli.advise import advise
from credit_envs.cli.experiment import experiment
from credit_envs.cli.export import export
from credit_envs.cli.grade import grade
from credit_envs.cli.leaderboard import leaderboard, submit, verify
from credit_envs.cli.progress import progress
from credit_envs.cli.tables import existing, table_of
from credit_envs.cli.training import compare, passed_on, train
from credit_envs.cli.view import view
from credit_envs.errors import CreditEnvsError, check_range, need, unknown
from credit_envs.evaluation import Config, open_results
from credit_envs.evaluation.run import default_jobs
from credit_envs.evaluation.run import run as run_evaluation
from credit_envs.recipes import DEFAULT
from credit_envs.recipes import names as recipe_names
from credit_envs.table.storage import write_atomically

Names = tyro.conf.Positional[tuple[str, ...]]
Name = tyro.conf.Positional[str]
_USUAL = Config()


def evaluate(
    estimators: Annotated[Names, tyro.conf.arg(metavar="ESTIMATOR")] = (),
    algorithms: tuple[str, ...] = (),
    environments: tuple[str, ...] = ("foundation-v0",),
    budget: int = _USUAL.budget,
    seeds: int = _USUAL.seeds,
    first_seed: int = _USUAL.first_seed,
    group_size: int = _USUAL.group_size,
    levels: tuple[float, ...] = _USUAL.levels,
    match_discount: bool = _USUAL.match_discount,
    extra_steps: int = _USUAL.extra_steps,
    device: str = _USUAL.device,
    restore: str = _USUAL.restore,
    staleness: float = _USUAL.staleness,
    knobs: tuple[str, ...] = (),
    output: Path | None = None,
    jobs: int | None = None,
) -> int:
    """Score credit estimators against the exact credit; without arguments, all of them on the suite foundation-v0.

    The same command again goes on where an earlier one was interrupted.

    Args:
        estimators: Names (see `credit-envs algorithms`), names joined with +, or FILE.py:FUNCTION; `all` for every one.
        algorithms: The same as an option.
        environments: Ids with or without knobs (ID?NAME=VALUE&NAME=VALUE), saved tables (.npz), or suites.
        budget: Environment steps of the sample, per seed and policy.
        seeds: Number of replicates.
        first_seed: Seed of the first replicate.
        group_size: Rollouts per group.
        levels: Policies, as shares of the way from uniform to optimal play.
        match_discount: Score estimators once more at the environment's discount.
        extra_steps: Environment steps that an estimator may spend beyond the sample, per seed and policy.
        device: cpu or cuda.
        restore: What entering a stored state costs: free, replay or none.
        staleness: How much older the policy that draws the rollouts is than the one to be updated: the deviation of normal
            noise on its logits.
        knobs: Knobs and dials of every environment, as NAME=VALUE.
        output: Folder of the results (default: results/evaluate-DIGEST).
        jobs: Processes (default: one per core).
    """
    need("matplotlib", "eval")
    config = Config(
        environments=_environments(environments),
        estimators=_estimators((*estimators, *algorithms)),
        budget=budget,
        seeds=seeds,
        first_seed=first_seed,
        group_size=group_size,
        levels=levels,
        match_discount=match_discount,
        extra_steps=extra_steps,
        device=device,
        restore=restore,
        staleness=staleness,
        knobs=registry.settings(knobs),
    ).check()
    if jobs is not None:
        check_range("jobs", jobs, 1, 4096, integer=True)
    folder = output if output is not None else Path("results") / f"evaluate-{config.digest}"
    try:
        with progress("evaluate") as tell:
            run_evaluation(config, folder, jobs or default_jobs(), tell)
    except KeyboardInterrupt:
        kept = sum(1 for _ in (folder / "cells").glob("*.json"))
        cells = len(config.environments) * len(config.levels) * config.seeds
        raise KeyboardInterrupt(
            f"interrupted; {kept} of {cells} cells are kept in {folder}, and the same command goes on from there"
        ) from None
    return report(str(folder))


def report(folder: Name, docs: Path | None = None) -> int:
    """Print the tables of results and write their page again.

    Args:
        folder: Folder of results.
        docs: Folder in which to write the tables as foundation.md and the picture as images/equivalents.png, too; of all
            algorithms, one table as algorithms.md and every figure as data/algorithms.csv.
    """
    from credit_envs.report import markdown, overview, picture, print_results, write_page
    from credit_envs.report.reading import command
    from credit_envs.report.terminal import terminal

    results = open_results(folder)
    page = write_page(results)
    if docs is not None and results.config.estimators == recipe_names():
        text = f"# All algorithms: what they are worth\n\n{overview.overview(results)}"
        write_atomically(docs / "algorithms.md", text.encode())
        (docs / "data").mkdir(exist_ok=True)
        write_atomically(docs / "data" / "algorithms.csv", overview.table(results).encode())
    elif docs is not None:
        write_atomically(docs / "foundation.md", f"# Foundation: all figures\n\n{markdown(results)}".encode())
        (docs / "images").mkdir(exist_ok=True)
        picture(results, docs / "images" / "equivalents.png")
    console = terminal()
    print_results(results, console)
    lines = {"report": page, "records": results.folder / "records.jsonl", "again": command(results.config)}
    console.print()
    for name, value in lines.items():
        console.print(f"{name + ':':9}{value}", markup=False, soft_wrap=True)
    return 0


def list_(docs: Path | None = None) -> int:
    """List environments with their knobs, dials, and what algorithms may ask for.

    Args:
        docs: Folder in which to write what every knob and dial reaches as environments.md (takes minutes) instead.
    """
    if docs is not None:
        from credit_envs.report.environments import environments_page

        page = environments_page(lambda name: print(f"list: measuring {name}", file=sys.stderr, flush=True))
        write_atomically(docs / "environments.md", page.encode())
        print(f"page: {docs / 'environments.md'}")
        return 0
    from credit_envs.cli import inspection

    inspection.print_lists()
    return 0


def algorithms() -> int:
    """List every algorithm: what it credits, what it needs and costs, its source, and how far it was checked."""
    from credit_envs.cli.algorithms import print_algorithms

    print_algorithms()
    return 0


def show(
    env_id: Name, knobs: Names = (), instance: int = 0, picture: Path | None = None, credit: Path | None = None
) -> int:
    """Show an environment: what the oracle measures, and optimal play.

    Args:
        env_id: Id, or path of a saved table (.npz).
        knobs: Knobs and dials, as NAME=VALUE.
        instance: Instance seed of a family.
        picture: Path of a PNG of the first start state.
        credit: Path of a PNG of optimal play with the exact credit of its steps drawn on it.
    """
    from credit_envs.cli import inspection
    from credit_envs.cli.pictures import write_picture

    for name, path in (("picture", picture), ("credit", credit)):
        if path is not None and path.suffix != ".png":
            raise CreditEnvsError(f"{name}={str(path)!r}: expected a path that ends in .png")
    table = table_of(env_id, knobs, instance)
    if picture is not None:
        write_picture(table, picture)
    inspection.print_table(table, credit=credit)
    for name, path in (("picture", picture), ("credit", credit)):
        if path is not None:
            print(f"\n{name}: {path}")
    return 0


def play(env_id: Name, knobs: Names = (), instance: int = 0, seed: int = 0, advantages: bool = False) -> int:
    """Play an environment by hand, with the exact credit of every move on request and at the end.

    Args:
        env_id: Id, or path of a saved table (.npz).
        knobs: Knobs and dials, as NAME=VALUE.
        instance: Instance seed of a family.
        seed: Seed of the luck.
        advantages: Show the exact advantage of every move at every step.
    """
    from credit_envs.cli import play as playing

    check_range("seed", seed, 0, (1 << 63) - 1, integer=True)
    playing.play(table_of(env_id, knobs, instance), seed, advantages)
    return 0


def compile_(
    env_id: Name,
    output: Path,
    checkpoint: Path | None = None,
    horizon: int | None = None,
    max_states: int | None = None,
    max_seconds: float | None = None,
    rules: tuple[str, ...] = (),
) -> int:
    """Turn any enumerable Gymnasium environment, or a TextWorld game, into a table.

    Args:
        env_id: Id of the Gymnasium environment, or a game's file (.z8 with its .json beside it, or .json).
        output: Path of the table (.npz).
        checkpoint: File in which an interrupted exploration is kept, and from which it goes on.
        horizon: Steps after which episodes end (default: the environment's own limit, or four shortest solutions).
        max_states: States after which exploration gives up (default: 1,000,000; of a game 20,000).
        max_seconds: Seconds after which exploration gives up.
        rules: Patterns of a game's rules that commands may use, such as go/* open/* take* (default: all).
    """
    from credit_envs.cli import inspection

    if output.suffix != ".npz":
        raise CreditEnvsError(f"output={str(output)!r}: expected a path that ends in .npz")
    began = time.perf_counter()
    options = {"checkpoint": checkpoint, "max_states": max_states, "max_seconds": max_seconds, "rules": rules or None}
    table = inspection.imported(env_id, horizon, options)
    table.save(output)
    print(
        f"{env_id}: {table.n_states:,} states, {table.n_edges:,} state-action pairs, {time.perf_counter() - began:.1f} s"
    )
    inspection.print_table(table, play=False)
    print(f"table:   {output}\nscore:   {shlex.join(['credit-envs', 'evaluate', '--environments', str(output)])}")
    return 0


def run(argv: Sequence[str] | None) -> int:
    """Reads the arguments and runs a subcommand; ends the process as argparse does if its options cannot be read.

    Raises:
        CreditEnvsError: for an unknown subcommand (with the nearest known ones), and whatever a subcommand raises.
    """
    subcommands: dict[str, Callable[..., int]] = {
        "evaluate": evaluate,
        "report": report,
        "list": list_,
        "algorithms": algorithms,
        "show": show,
        "play": play,
        "view": view,
        "advise": advise,
        "compile": compile_,
        "train": train,
        "compare": compare,
        "experiment": experiment,
        "export": export,
        "submit": submit,
        "verify": verify,
        "leaderboard": leaderboard,
        "grade": grade,
    }
    given = list(sys.argv[1:] if argv is None else argv)
    if given and not given[0].startswith("-") and given[0] not in subcommands:
        raise unknown("command", given[0], subcommands)
    if passed_on(given):
        return train(given[1], tuple(given[2:]))
    code: int = tyro.extras.subcommand_cli_from_dict(
        subcommands,
        prog="credit-envs",
        description="Environments in which the true credit of every action is known.",
        args=given,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    return code


def _estimators(names: Sequence[str]) -> tuple[str, ...]:
    """Returns what to score: the usual ones where none is named, and all recipes for ``all``."""
    found = [one for name in names for one in (recipe_names() if name == "all" else (name,))]
    return tuple(dict.fromkeys(found)) or DEFAULT


def _environments(names: Sequence[str]) -> tuple[str, ...]:
    """Returns full ids of suites, ids and paths, so that one configuration has one name."""
    found: list[str] = []
    for name in names:
        if name in registry.SUITES:
            found += registry.suite(name)
        elif name.endswith(".npz"):
            found.append(existing(name))
        else:
            found.append(_known(name))
    return tuple(dict.fromkeys(found))


def _known(name: str) -> str:
    try:
        return registry.canonical(name)
    except CreditEnvsError as error:
        suites = ", ".join(registry.SUITES)
        raise CreditEnvsError(f"{error} (suites: {suites}; saved tables end in .npz)") from None
