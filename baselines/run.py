"""Baselines that people trust, on our environments unmodified: Stable-Baselines3, uniform, optimal, imitation.

    python baselines/run.py --baseline ppo a2c dqn --env credit/KeyRooms-v0 --seeds 10

| name | what it is |
| --- | --- |
| ``uniform`` | uniform over admissible actions; by definition 0 on the scale |
| ``optimal`` | greedy by the oracle's exact values, which know state and step; by definition 1 |
| ``imitation`` | behaviour cloning: the tabular policy of greatest likelihood on n demonstrations of optimal play |
| ``ppo``, ``a2c``, ``dqn`` | Stable-Baselines3, its MlpPolicy |
| ``maskable_ppo`` | sb3-contrib: PPO that is told which actions are admissible, as our own agents are |
| ``recurrent_ppo`` | sb3-contrib: PPO with an LSTM |

SB3's algorithms play the registered ids through :class:`credit_envs.faces.sb3.NativeVecEnv` and see observation ids (its
one-hot encoding makes a table of the first layer) or, with ``--observation grid``, one-hot planes. What is learnt has no
memory, so its return is exact: the policy is evaluated on all observations, the oracle does the rest. DQN is measured as its
greedy policy; the others as the distribution they sample from, and ``greedy`` holds the returns of their modes.
RecurrentPPO has memory; its return is a mean over episodes, and ``error`` holds the half-width of its 95 % interval.

Results are files of the form of agents' results, one per baseline and environment, with one learner per seed. Every seed
is kept as it finishes, atomically, so an interrupted command goes on where it was; within a seed it starts anew.
"""

from __future__ import annotations

import functools
import json
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from credit_envs import make_table, oracle, registry
from credit_envs.errors import CreditEnvsError, MissingExtraError, check_range, need, unknown
from credit_envs.evaluation.config import provenance
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.storage import write_atomically
from credit_envs.training import files, results
from credit_envs.training.budgets import budget_of
from credit_envs.training.imitation import clone, demonstrate

HERE = Path(__file__).parent

SETTINGS: dict[str, dict[str, Any]] = {
    "ppo": {"n_steps": 32, "batch_size": 512, "n_epochs": 4, "learning_rate": 1e-3, "ent_coef": 0.01},
    "a2c": {"n_steps": 8, "learning_rate": 3e-3, "ent_coef": 0.01},
    "dqn": {
        "learning_rate": 1e-3,
        "buffer_size": 50_000,
        "learning_starts": 2000,
        "batch_size": 64,
        "gradient_steps": 4,
        "train_freq": 1,
        "target_update_interval": 2000,
        "exploration_fraction": 0.6,
        "exploration_final_eps": 0.1,
        "gamma": 0.97,
    },
}
SETTINGS["maskable_ppo"] = SETTINGS["recurrent_ppo"] = SETTINGS["ppo"]
"""What differs from SB3's own settings, chosen on seed 0 of FrozenLake and KeyRooms for learning within an hour of two cores:
many environments at once and large batches, because a step of these environments costs less than a call of the network."""


@dataclass
class Options:
    """Runs baselines and keeps their results.

    Attributes:
        baseline: Names, see the head of this file.
        env: Ids of environments, with or without knobs.
        suite: Run a whole suite, such as core-v0, instead.
        seeds: Number of seeds.
        seed: First seed.
        budget: Environment steps per seed (default: what agents get on that environment).
        points: Evaluations along the way, evenly spaced in environment steps.
        observation: View that SB3's algorithms see: state or grid.
        envs: Environments at once.
        demonstrations: Demonstrations that imitation sees; every power of two up to it is measured.
        output: Folder of the results.
        cells: Folder of the finished seeds of unfinished results.
        quiet: Say nothing meanwhile.
    """

    baseline: tuple[str, ...] = ("ppo",)
    env: tuple[str, ...] = ("credit/KeyRooms-v0",)
    suite: str | None = None
    seeds: int = 10
    seed: int = 0
    budget: int | None = None
    points: int = 20
    observation: str = "state"
    envs: int = 64
    demonstrations: int = 64
    output: Path = HERE / "results"
    cells: Path = HERE.parent / "runs" / "baselines"
    quiet: bool = False

    def check(self) -> None:
        """Raises CreditEnvsError naming the first option that is out of range."""
        for name in self.baseline:
            if name not in BASELINES:
                raise unknown("baseline", name, BASELINES)
        check_range("seeds", self.seeds, 1, 4096, integer=True)
        check_range("seed", self.seed, 0, 1 << 20, integer=True)
        check_range("points", self.points, 1, 1e5, integer=True)
        check_range("envs", self.envs, 1, 1 << 16, integer=True)
        check_range("demonstrations", self.demonstrations, 1, 1 << 16, integer=True)
        if self.budget is not None:
            check_range("budget", self.budget, 1, 1e12, integer=True)


# -- one seed ----------------------------------------------------------------------------------------------------------------


def play_uniform(table: TabularMDP, options: Options, env: str, seed: int) -> list[dict[str, float]]:  # noqa: ARG001
    """Uniform play; nothing is learnt."""
    return _flat(oracle.expected_return(table, oracle.uniform(table)), options, env)


def play_optimal(table: TabularMDP, options: Options, env: str, seed: int) -> list[dict[str, float]]:  # noqa: ARG001
    """Optimal play by backward induction; nothing is learnt."""
    return _flat(oracle.optimal(table).J, options, env)


def imitate(table: TabularMDP, options: Options, env: str, seed: int) -> list[dict[str, float]]:  # noqa: ARG001
    """Behaviour cloning on 0, 1, 2, 4, … demonstrations of optimal play, whose steps are charged."""
    obs, action, owner = demonstrate(table, options.demonstrations, seed << 20)
    curve, seen = list[dict[str, float]](), 0
    while True:
        shown = owner < seen
        policy = oracle.Policy("obs", clone(table, obs[shown], action[shown]))
        curve.append({"steps": int(shown.sum()), "update": seen, "J": oracle.expected_return(table, policy)})
        if seen == options.demonstrations:
            return curve
        seen = min(max(1, 2 * seen), options.demonstrations)


def train(baseline: str, table: TabularMDP, options: Options, env: str, seed: int) -> list[dict[str, float]]:
    """Trains one seed of one of SB3's algorithms."""
    from credit_envs.training.sb3 import learned

    sizes = (_budget(options, env), options.points, seed, options.envs, options.observation)
    return learned(baseline, table, *sizes, SETTINGS[baseline])


def _flat(value: float, options: Options, env: str) -> list[dict[str, float]]:
    return [{"steps": steps, "update": 0, "J": value} for steps in (0, _budget(options, env))]


BASELINES: dict[str, Callable[[TabularMDP, Options, str, int], list[dict[str, float]]]] = {
    "uniform": play_uniform,
    "optimal": play_optimal,
    "imitation": imitate,
    **{name: functools.partial(train, name) for name in SETTINGS},
}
_CERTAIN = ("uniform", "optimal")


# -- all seeds ---------------------------------------------------------------------------------------------------------------


def _budget(options: Options, env: str) -> int:
    return options.budget or budget_of(env)


def settings_of(options: Options, baseline: str, env: str) -> dict[str, Any]:
    """Returns what a seed's result depends on, beside the seed."""
    out: dict[str, Any] = {"env": env, "budget": _budget(options, env), "points": options.points}
    if baseline == "imitation":
        out["demonstrations"] = options.demonstrations
    if baseline in SETTINGS:
        out |= {"observation": options.observation, "envs": options.envs, **SETTINGS[baseline]}
    return out


def command_of(options: Options, baseline: str, env: str) -> str:
    """Returns what makes a result again."""
    words = ["python", "baselines/run.py", "--baseline", baseline, "--env", env, "--seeds", str(options.seeds)]
    given = {"seed": options.seed, **settings_of(options, baseline, env)}
    for name, value in given.items():
        if name != "env" and hasattr(options, name):
            words += [f"--{name}", str(value)]
    return shlex.join(words)


def seed_of(baseline: str, env: str, table: TabularMDP, seed: int, options: Options) -> dict[str, Any]:
    """Runs one seed, or finds it, and returns it in the form of an agent's result."""
    settings = json.loads(json.dumps({**settings_of(options, baseline, env), "seed": seed, "learners": 1}))
    path = options.cells / files.slug(baseline, env) / f"{seed}.json"
    if path.is_file():
        kept: dict[str, Any] = json.loads(path.read_text())
        for name, value in {"fingerprint": table.fingerprint, "options": settings}.items():
            if kept[name] != value:
                raise CreditEnvsError(
                    f"{str(path)!r}: {name} is {kept[name]} there, {value} here; choose other --cells"
                )
        return kept
    began = time.perf_counter()
    points = BASELINES[baseline](table, options, env, seed)
    seconds = round(time.perf_counter() - began, 2)
    base, best = float(oracle.expected_return(table, oracle.uniform(table))), float(oracle.optimal(table).J)
    spent = 0 if baseline in _CERTAIN else int(points[-1]["steps"])
    curve = [
        {
            name: [x]
            for name, x in {**point, "normalised": (point["J"] - base) / (best - base)}.items()
            if name != "update"
        }
        for point in points
    ]
    found = {
        "agent": baseline,
        "env": env,
        "table": table.name,
        "fingerprint": table.fingerprint,
        "options": settings,
        "provenance": {**provenance(), **{name: __import__(name).__version__ for name in _packages(baseline)}},
        "J_uniform": base,
        "J_optimal": best,
        "updates": int(points[-1]["update"]),
        "meter": {"env_steps": spent, "policy_calls": 0 if baseline == "imitation" else spent, "restores": 0},
        "alarms": {},
        "curve": curve,
        "seconds": seconds,
    }
    write_atomically(path, json.dumps(found).encode())
    if not options.quiet:
        print(f"{baseline} {env} seed {seed}: J {points[-1]['J']:.4f}, {seconds} s", file=sys.stderr, flush=True)
    return found


def result_of(baseline: str, env: str, options: Options) -> dict[str, Any]:
    """Runs (or finds) all seeds of a baseline on an environment, and returns its result."""
    table = make_table(env)
    seeds = range(options.seed, options.seed + (1 if baseline in _CERTAIN else options.seeds))
    found = [seed_of(baseline, env, table, seed, options) for seed in seeds]
    out = results.compact(results.merged(found), command_of(options, baseline, env))
    out["seconds"] = [one["seconds"] for one in found]
    if "greedy" in found[0]["curve"][-1]:
        out["greedy"] = [float(f"{one['curve'][-1]['greedy'][0]:.5g}") for one in found]
    return out


def _packages(baseline: str) -> tuple[str, ...]:
    contrib = ("sb3_contrib",) if baseline in ("maskable_ppo", "recurrent_ppo") else ()
    return ("stable_baselines3", *contrib) if baseline in SETTINGS else ()


def run(options: Options) -> list[Path]:
    """Runs everything that was asked for; returns the files of the results.

    Raises:
        CreditEnvsError: for bad options, and for seeds that are there with other settings.
    """
    options.check()
    named = registry.suite(options.suite) if options.suite else options.env
    written = []
    for env in [registry.canonical(name) for name in named]:
        for baseline in options.baseline:
            path = options.output / f"{files.slug(baseline, env)}.json"
            write_atomically(path, (json.dumps(result_of(baseline, env, options)) + "\n").encode())
            written.append(path)
    return written


def main() -> int:
    """Reads options, runs, and returns the exit code."""
    try:
        options = need("tyro", "train").cli(Options)
        import torch

        torch.set_num_threads(1)
        for path in run(options):
            if not options.quiet:
                print(path)
    except (CreditEnvsError, MissingExtraError) as error:
        print("baselines:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("baselines: interrupted; the same command goes on after the last finished seed", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
