"""Speed of the faces beside their peers; run with ``pytest tests/benchmarks/test_bench_faces.py --benchmark-only``.

Each test steps one thing; ratios are printed by ``--benchmark-group-by=group``: within a group, the games (or the bytes
of an observation) are the same. Peers that are not installed are skipped.
"""

import gymnasium
import numpy as np
import pytest

import credit_envs.faces as faces
from credit_envs.registry import make_table
from credit_envs.table import from_outcomes
from credit_envs.table.view import stored_view

faces.register_all()

STEPS = 4000
ROUNDS = {"rounds": 12, "warmup_rounds": 2, "iterations": 1}


def walk(env, actions):
    for action in actions:
        *_, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()


def bench_single(benchmark, env, steps=STEPS):
    actions = np.random.default_rng(0).integers(0, env.action_space.n, steps).tolist()
    env.reset(seed=0)
    benchmark.pedantic(walk, (env, actions), **ROUNDS)
    benchmark.extra_info["steps_per_second"] = f"{steps / benchmark.stats.stats.min:.3g}"


def taxi():
    return "Taxi-v3" if "Taxi-v4" not in gymnasium.registry else "Taxi-v4"


@pytest.mark.benchmark(group="single: FrozenLake, slippery")
@pytest.mark.parametrize("source", ["FrozenLake-v1", "credit/FrozenLake-v0"])
def test_frozen_lake(benchmark, source):
    bench_single(benchmark, gymnasium.make(source))


@pytest.mark.benchmark(group="single: Taxi")
@pytest.mark.parametrize("source", ["peer", "credit/Taxi-v0"])
def test_taxi(benchmark, source):
    bench_single(benchmark, gymnasium.make(taxi() if source == "peer" else source))


@pytest.mark.benchmark(group="single: MiniGrid DoorKey 5×5")
@pytest.mark.parametrize("observation", ["peer", "original", "state"])
def test_door_key(benchmark, observation):
    pytest.importorskip("minigrid")
    if observation == "peer":
        bench_single(benchmark, gymnasium.make("MiniGrid-DoorKey-5x5-v0"), 600)
    else:
        bench_single(benchmark, gymnasium.make("credit/DoorKey-v0", observation=observation))


@pytest.mark.benchmark(group="single: KeyRooms")
@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("observation", ["state", "grid"])
def test_key_rooms(benchmark, observation, fresh):
    if fresh and observation == "state":
        pytest.skip("layouts differ in their number of states")
    bench_single(benchmark, gymnasium.make("credit/KeyRooms-v0", observation=observation, fresh=fresh))


def wanderer(shape, n_states=9392, n_actions=7):
    """A table of the size of DoorKey 8×8, with random rows of one shape."""
    rng, n = np.random.default_rng(0), n_states * n_actions
    state = np.repeat(np.arange(n_states), n_actions)
    outcomes = {
        "state": state,
        "action": np.tile(np.arange(n_actions), n_states),
        "successor": np.clip(state + rng.integers(-60, 61, n), 0, n_states - 1),
        "probability": np.ones(n),
        "reward": np.zeros(n),
        "terminal": rng.random(n) < 0.002,
    }
    rows = rng.integers(0, 9, (n_states, *shape)).astype(np.uint8)
    view = stored_view(gymnasium.spaces.Box(0, 255, shape, np.uint8), rows)
    return from_outcomes(
        "wanderer",
        n_states,
        n_actions,
        outcomes,
        start={0: 1.0},
        horizon=200,
        views={"grid": view},
        allow_unreachable=True,
    )


def bench_vector(benchmark, step, envs, n_actions, calls):
    rng = np.random.default_rng(0)
    actions = [rng.integers(0, n_actions, envs) for _ in range(32)]

    def run():
        for k in range(calls):
            step(actions[k & 31])

    benchmark.pedantic(run, **ROUNDS)
    benchmark.extra_info["steps_per_second"] = f"{envs * calls / benchmark.stats.stats.min:.3g}"


@pytest.mark.parametrize("what", ["numpy gather", "table"])
@pytest.mark.parametrize("shape", [(8, 8, 3), (7, 7, 1)], ids=["8x8x3", "7x7"])
@pytest.mark.parametrize("envs", [64, 1024, 4096])
def test_rows(benchmark, envs, shape, what):
    benchmark.group = f"vector: rows of {shape}, {envs} environments"
    table, calls = wanderer(shape), 400_000 // envs
    env = faces.TabularVectorEnv(table, envs, "grid")
    env.reset(seed=0)
    actions = np.random.default_rng(1).integers(0, 7, (300, envs))
    for row in actions:
        env.step(row)
    if what == "table":
        bench_vector(benchmark, env.step, envs, 7, calls)
        return
    rows, visited = table.view("grid").rows(np.arange(table.n_states)), env.state
    bench_vector(benchmark, lambda _: np.take(rows, visited, axis=0), envs, 7, calls)


@pytest.mark.parametrize("mode", ["SameStep", "Disabled"])
def test_other_modes(benchmark, mode):
    benchmark.group = "vector: rows of (8, 8, 3), 1024 environments"
    table = wanderer((8, 8, 3))
    if mode == "Disabled":
        table = table.replace(terminal=np.zeros_like(table.terminal), horizon=1 << 30)
    env = faces.TabularVectorEnv(table, 1024, "grid", mode)
    env.reset(seed=0)
    bench_vector(benchmark, env.step, 1024, 7, 400)


@pytest.mark.benchmark(group="vector: MiniGrid DoorKey 5×5, 1024 environments")
@pytest.mark.parametrize("what", ["peer", "original", "state"])
def test_door_key_vector(benchmark, what):
    pytest.importorskip("minigrid")
    if what == "peer":
        env = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make("MiniGrid-DoorKey-5x5-v0")] * 1024)
        env.reset(seed=0)
        bench_vector(benchmark, env.step, 1024, 7, 1)
        return
    env = faces.TabularVectorEnv(make_table("DoorKey"), 1024, what)
    env.reset(seed=0)
    bench_vector(benchmark, env.step, 1024, 7, 300)


@pytest.mark.benchmark(group="seeded reset")
@pytest.mark.parametrize("source", ["FrozenLake-v1", "credit/FrozenLake-v0", "credit/KeyRooms-v0"])
def test_seeded_reset(benchmark, source):
    env = gymnasium.make(source)
    env.reset(seed=0)
    benchmark(lambda: env.reset(seed=3))


@pytest.mark.benchmark(group="snapshot and restore")
@pytest.mark.parametrize("source", ["credit/FrozenLake-v0", "credit/KeyRooms-v0"])
def test_snapshot_and_restore(benchmark, source):
    env = gymnasium.make(source).unwrapped
    env.reset(seed=0)
    benchmark(lambda: env.restore(env.snapshot()))
