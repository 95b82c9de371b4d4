"""How long an import takes, and how fast original and table are compared."""

from __future__ import annotations

import pytest

from credit_envs.importers import import_gymnasium, import_toy_text, lock_step

pytest.importorskip("minigrid")


@pytest.mark.parametrize(
    ("env_id", "states"),
    [
        ("MiniGrid-DoorKey-6x6-v0", 1_294),
        ("MiniGrid-DoorKey-8x8-v0", 9_210),
        ("MiniGrid-UnlockPickup-v0", 17_344),
    ],
)
def test_explore(benchmark, env_id, states):
    """Target: DoorKey-8x8 within 40 s on one core, of which MiniGrid's own steps take about half."""
    table = benchmark.pedantic(import_gymnasium, args=(env_id,), rounds=1)
    benchmark.extra_info["edges"] = table.n_edges
    assert table.n_states == states
    assert lock_step(env_id, table, 10_000).steps == 10_000


@pytest.mark.parametrize("env_id", ["FrozenLake-v1", "CliffWalking-v1", "Taxi"])
def test_toy_text(benchmark, env_id):
    benchmark(import_toy_text, env_id)


def test_lock_step(benchmark):
    table = import_gymnasium("MiniGrid-DoorKey-5x5-v0")
    benchmark.pedantic(lock_step, args=("MiniGrid-DoorKey-5x5-v0", table, 10_000), rounds=1)
