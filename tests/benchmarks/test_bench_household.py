"""How fast compiled Household steps and resets, text included, beside the live engine.

``pytest --benchmark-only tests/benchmarks/test_bench_household.py``; the live engine needs TextWorld.
"""

import importlib.util
import itertools
import time

import gymnasium
import numpy as np
import pytest

import credit_envs  # noqa: F401 (registers the ids)
from credit_envs.families import FAMILIES, household
from credit_envs.families.household_author import author
from credit_envs.families.household_plan import draw_plan

STEPS = 20_000
SETTING = {"task": "prepare", "map": "hub", "stages": 4}


def walk(table, steps, seed=0):
    """Admissible actions of one long random walk; episodes never end before the horizon here."""
    rng, state, actions = np.random.default_rng(seed), 0, []
    for _ in range(steps):
        first, last = table.edge_start[state : state + 2].tolist()
        inside = [e for e in range(first, last) if not table.terminal[e]]
        edge = inside[rng.integers(len(inside))]
        actions.append(int(table.edge_action[edge]))
        state = int(table.successor[edge])
    return actions


def make(**knobs):
    return gymnasium.make("credit/Household-v0", horizon_factor=1000, disable_env_checker=True, **knobs).unwrapped


def test_step_in_words(benchmark):
    env = make(**SETTING)
    actions = walk(env.table, STEPS)[: env.table.horizon - 1]

    def play():
        env.reset(seed=0)
        step = env.step
        for action in actions:
            step(action)

    play()
    benchmark(play)
    benchmark.extra_info["steps per second"] = len(actions) / benchmark.stats.stats.min


@pytest.mark.parametrize("num_envs", [64, 1024])
def test_vector_step_in_words(benchmark, num_envs):
    envs = gymnasium.make_vec("credit/Household-v0", num_envs, horizon_factor=1000, **SETTING)
    actions = np.array(walk(FAMILIES["Household"].build(0, **SETTING), 1)[0]) * np.ones(num_envs, dtype=np.int64)
    envs.reset(seed=0)
    benchmark(envs.step, actions)
    benchmark.extra_info["steps per second"] = num_envs / benchmark.stats.stats.min


@pytest.mark.parametrize("stages", [4, 60])
def test_fresh_instance(benchmark, stages):
    """Target: less than 5 ms on average for the reset of a fresh instance."""
    env = gymnasium.make("credit/Household-v0", fresh=True, stages=stages, disable_env_checker=True).unwrapped
    seeds = itertools.count()
    benchmark(lambda: env.reset(seed=next(seeds)))


def test_read_a_game_from_its_file(benchmark):
    def read():
        household.read_game.cache_clear()
        household.read_game("prepare", "hub", 4, "home", 0)

    benchmark(read)


@pytest.mark.skipif(importlib.util.find_spec("textworld") is None, reason="textworld is not installed")
def test_live_engine(benchmark, tmp_path):
    """Target: compiled play at least 1,000 times faster than this, in one run."""
    import textworld

    from credit_envs.importers.textworld_engine import compile_game

    env = make(**SETTING)
    actions = walk(env.table, 200)
    game = author(draw_plan(SETTING["task"], SETTING["map"], SETTING["stages"], 0), "home")
    story = compile_game(game, tmp_path)
    game.save(str(story.with_suffix(".json")))
    infos = textworld.EnvInfos(description=True, inventory=True, admissible_commands=True)
    engine = textworld.start(str(story), request_infos=infos)
    words = env.table.action_names

    def play():
        engine.reset()
        for action in actions:
            engine.step(words[action])

    benchmark.pedantic(play, rounds=2)
    live = len(actions) / benchmark.stats.stats.min

    actions = walk(env.table, STEPS)[: env.table.horizon - 1]
    env.reset(seed=0)
    for action in actions:  # the first visit lists a state
        env.step(action)
    env.reset(seed=0)
    began = time.perf_counter()
    for action in actions:
        env.step(action)
    compiled = len(actions) / (time.perf_counter() - began)
    benchmark.extra_info |= {"live steps per second": live, "compiled": compiled, "ratio": compiled / live}
    assert compiled > 1000 * live
