"""Running an evaluation: one task per environment, one file per (environment, policy, seed), resumable at any moment."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from credit_envs import registry
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.config import UNIT, UNIT_GROUP, Config, provenance
from credit_envs.evaluation.replicate import Subject, labelled
from credit_envs.oracle.control import Rung, ladder
from credit_envs.oracle.measure import measure, spread
from credit_envs.recipes import Recipe, recipe
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.storage import load, write_atomically

Progress = Callable[[int, int, str], None]
"""Called with (cells done, cells in all, what is being worked on)."""


def run(config: Config, folder: Path, jobs: int = 1, progress: Progress | None = None) -> Path:
    """Runs what is not yet done of an evaluation and gathers it.

    Args:
        config: what to do.
        folder: where results are kept; what is already there for the same configuration isn't done again.
        jobs: processes.
        progress: told about every finished cell.

    Returns:
        The folder: ``config.json``, ``cells/*.json``, ``environments.json`` and ``records.jsonl``.

    Raises:
        CreditEnvsError: for bad arguments, an unwritable folder, or a folder of another configuration.
        KeyboardInterrupt: on Ctrl-C; finished cells stay, and the same call goes on from there.
    """
    config.check()
    _claim(config, folder)
    total = len(config.environments) * len(config.levels) * config.seeds
    report = progress or (lambda *_: None)
    report(_done(folder), total, "starting")
    if jobs <= 1:
        for environment in config.environments:
            for _ in evaluate_environment(config, environment, folder):
                report(_done(folder), total, environment)
    else:
        _in_processes(config, folder, jobs, lambda what: report(_done(folder), total, what))
    gather(folder)
    report(total, total, "done")
    return folder


def _claim(config: Config, folder: Path) -> None:
    stated = {**asdict(config), "digest": config.digest, "provenance": provenance()}
    path = folder / "config.json"
    if path.is_file():
        try:
            earlier = json.loads(path.read_text()).get("digest")
        except (OSError, ValueError) as error:
            raise CreditEnvsError(
                f"output={str(folder)!r}: config.json is unreadable ({error}); choose another folder"
            ) from error
        if earlier != config.digest:
            raise CreditEnvsError(
                f"output={str(folder)!r}: holds results of another configuration; choose another folder"
            )
    write_atomically(path, json.dumps(stated, indent=2, default=str).encode())
    (folder / "cells").mkdir(exist_ok=True)


def _done(folder: Path) -> int:
    return sum(1 for _ in (folder / "cells").glob("*.json"))


def _in_processes(config: Config, folder: Path, jobs: int, report: Callable[[str], None]) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(config.environments)), mp_context=context) as pool:
        with _deaf_to_interrupts():
            futures: dict[Future[None], str] = {
                pool.submit(_task, config, environment, str(folder)): environment for environment in config.environments
            }
        try:
            while not all(future.done() for future in futures):
                running = [name.removeprefix("credit/") for future, name in futures.items() if future.running()]
                report(", ".join(running[:jobs]))
                time.sleep(0.2)
                for future in futures:
                    if future.done():
                        future.result()
        except BaseException:
            # Workers finish nothing more: what they had written is kept, the rest is redone on resume.
            for process in list(getattr(pool, "_processes", {}).values()):
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Lets processes that are started inside ignore Ctrl-C, which a terminal sends to all: this one stops them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)


def _task(config: Config, environment: str, folder: str) -> None:
    torch.set_num_threads(1)
    for _ in evaluate_environment(config, environment, Path(folder)):
        pass


def table_of(config: Config, environment: str) -> TabularMDP:
    """Builds or loads the table of an environment of a configuration."""
    if environment.endswith(".npz"):
        from credit_envs import dials

        return dials.apply(load(environment), **config.knobs)
    quiet = {"progress": False} if registry.entry(environment).source == "gymnasium" else {}
    return registry.make_table(environment, **{**quiet, **config.knobs})


def evaluate_environment(
    config: Config,
    environment: str,
    folder: Path,
    table: TabularMDP | None = None,
    recipes: Sequence[Recipe] | None = None,
) -> Iterator[Path]:
    """Does the missing cells of one environment; yields each finished cell's file."""
    slug = re.sub(r"[?&/'\":<>|*\\]", "-", environment.removeprefix("credit/").removesuffix(".npz"))
    files = {
        (i, seed): folder / "cells" / f"{slug}--{level:g}--{seed}.json"
        for i, level in enumerate(config.levels)
        for seed in range(config.first_seed, config.first_seed + config.seeds)
    }
    about = folder / f"about-{slug}.json"
    if about.is_file():
        # The ladder is shorter than asked where uniform play is already optimal.
        rungs_there = len(json.loads(about.read_text())["policies"])
        if all(path.is_file() for (i, _), path in files.items() if i < rungs_there):
            return
    table = table_of(config, environment) if table is None else table
    rungs = ladder(table, config.levels)
    wanted = config.recipes() if recipes is None else recipes
    write_atomically(about, json.dumps(_about(environment, table, rungs, wanted), indent=2).encode())
    chosen = labelled(wanted, table.discount, match_discount=config.match_discount)
    for i, rung in enumerate(rungs):
        subject = None
        for (index, seed), path in files.items():
            if index != i or path.is_file():
                continue
            subject = subject or Subject(table, rung.policy, config.device, config.restore, config.staleness)
            cell = {
                "environment": environment,
                "policy": rung.name,
                "fingerprint": table.fingerprint,
                "table": table.name,
            }
            records = [{**cell, **record} for record in _replicates(config, subject, chosen, seed)]
            write_atomically(path, json.dumps(records).encode())
            yield path


def _replicates(config: Config, subject: Subject, recipes: Mapping[str, Recipe], seed: int) -> list[dict[str, Any]]:
    steps = spread(subject.table, subject.policy).expected_steps

    def groups(size: int) -> int:
        return max(4, round(config.budget / (size * steps)))

    size = config.group_size
    records = subject.replicate(recipes, seed, groups(size), size, config.extra_steps)
    if size == UNIT_GROUP:
        unit = next(record for record in records if record["estimator"] == UNIT)
    else:
        unit = subject.replicate({UNIT: recipe(UNIT)}, seed, groups(UNIT_GROUP), UNIT_GROUP, 1)[0]
    return [*records, {**unit, "estimator": "unit"}]


def _about(environment: str, table: TabularMDP, rungs: Sequence[Rung], recipes: Sequence[Recipe]) -> dict[str, Any]:
    policies = []
    for rung in rungs:
        parts = spread(table, rung.policy)
        known = {"name": rung.name, "J": rung.J, "normalised": rung.normalised, "luck_share": parts.luck_share}
        policies.append({**known, "effective_unit": parts.effective_unit, "expected_steps": parts.expected_steps})
    return {
        "environment": environment,
        "table": table.name,
        "fingerprint": table.fingerprint,
        "discount": table.discount,
        "knobs": {key: str(value) for key, value in table.knobs.items()},
        "measured": measure(table),
        "policies": policies,
        "left_out": {one.name: reason for one in recipes if (reason := one.missing(table)) is not None},
    }


def gather(folder: Path) -> None:
    """Collects finished cells into ``records.jsonl`` and ``environments.json``."""
    records = [record for path in sorted((folder / "cells").glob("*.json")) for record in json.loads(path.read_text())]
    write_atomically(folder / "records.jsonl", "".join(json.dumps(record) + "\n" for record in records).encode())
    about = [json.loads(path.read_text()) for path in sorted(folder.glob("about-*.json"))]
    write_atomically(folder / "environments.json", json.dumps(about, indent=2).encode())


def default_jobs() -> int:
    """Returns the number of processes that this machine can run at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
