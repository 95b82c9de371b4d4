"""MiniGrid: the table plays the same episodes, shows the same observations and pays the same floats."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from credit_envs.errors import NotEnumerableError, TableError
from credit_envs.importers import import_gymnasium, lock_step
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.storage import load

pytest.importorskip("minigrid")


@pytest.fixture(scope="module")
def door_key() -> TabularMDP:
    return import_gymnasium("MiniGrid-DoorKey-5x5-v0")


def shortest_win(table: TabularMDP) -> int:
    """Fewest steps to an outcome that pays."""
    reached = np.zeros(table.n_states, dtype=bool)
    reached[table.start_state] = True
    for steps in range(1, table.horizon + 1):
        open_outcomes = reached[table.edge_state[table.outcome_edge]]
        if (table.reward[open_outcomes] > 0).any():
            return steps
        reached[table.successor[open_outcomes & ~table.terminal]] = True
    raise AssertionError("no win within the horizon")


@pytest.mark.parametrize(
    ("env_id", "steps"),
    [
        ("MiniGrid-Empty-5x5-v0", 2_000),
        ("MiniGrid-DoorKey-6x6-v0", 4_000),
        ("MiniGrid-KeyCorridorS3R1-v0", 3_000),
        ("MiniGrid-Fetch-5x5-N2-v0", 2_000),
        ("MiniGrid-LavaGapS5-v0", 2_000),
        ("BabyAI-GoToLocalS5N2-v0", 2_000),
    ],
)
def test_the_table_plays_the_same_episodes(env_id: str, steps: int) -> None:
    table = import_gymnasium(env_id)
    found = lock_step(env_id, table, steps)
    assert found.steps == steps
    assert found.edges >= 30
    base: Any = gymnasium.make(env_id).unwrapped
    base.reset(seed=0)
    assert table.horizon == base.max_steps
    assert set(np.unique(table.reward)) <= {0.0, 1.0}
    scale = [1 - 0.9 * ((t + 1) / base.max_steps) for t in range(base.max_steps)]
    np.testing.assert_array_equal(table.reward_scale, scale)


def test_empty_room_by_hand() -> None:
    table = import_gymnasium("MiniGrid-Empty-5x5-v0")
    # 3 × 3 cells and 4 directions, of which the goal is only ever entered facing east or south.
    assert table.n_states == 8 * 4 + 2
    assert table.n_edges == 32 * 7
    assert shortest_win(table) == 5
    assert table.reward_at(4, np.ones(1))[0] == 1 - 0.9 * (5 / 100)
    assert table.terminal.sum() == 2
    assert table.action_names[:3] == ("left", "right", "forward")


def test_door_key_factors_and_words(door_key: TabularMDP) -> None:
    start = int(door_key.start_state[0])
    base: Any = gymnasium.make("MiniGrid-DoorKey-5x5-v0").unwrapped
    observation, _ = base.reset(seed=0)
    place = (int(base.agent_pos[0]), int(base.agent_pos[1]), int(base.agent_dir), 0)
    assert tuple(int(door_key.labels[name][start]) for name in ("x", "y", "direction", "carrying")) == place
    shown = door_key.view("original").rows(np.array([start]))
    np.testing.assert_array_equal(shown["image"][0], observation["image"])
    assert shown["mission"] == [observation["mission"]]
    words = door_key.view("text").rows(np.array([start]))[0]
    assert words.startswith("You face west. In front of you is a wall. You also see a yellow key (1 to the right).")
    assert words.endswith("You carry nothing. Your mission: use the key to open the door and then get to the goal.")
    held = door_key.view("text").rows(np.flatnonzero(door_key.labels["carrying"] > 0)[:1])[0]
    assert "You carry a yellow key." in held


def test_states_that_look_alike_share_an_observation(door_key: TabularMDP) -> None:
    images = door_key.view("original").rows(np.arange(door_key.n_states))
    looks = {
        (image.tobytes(), int(direction)) for image, direction in zip(images["image"], images["direction"], strict=True)
    }
    assert door_key.n_obs == len(looks) < door_key.n_states
    plain = import_gymnasium("MiniGrid-DoorKey-5x5-v0", observations=False)
    assert plain.n_obs == plain.n_states == door_key.n_states
    assert "original" not in plain.views


def test_pictures_are_those_of_the_original(door_key: TabularMDP) -> None:
    base: Any = gymnasium.make("MiniGrid-DoorKey-5x5-v0", render_mode="rgb_array", tile_size=51).unwrapped
    base.reset(seed=0)
    there = int(door_key.start_state[0])
    for action in (1, 5, 3, 1):
        base.step(action)
        there = int(door_key.successor[door_key.find_edges(np.array(there), np.array(action))])
    picture = door_key.view("rgb").rows(np.array([there, 0]))[0]
    np.testing.assert_array_equal(picture[:255, :255], base.render())


def test_several_seeds_are_several_contexts() -> None:
    table = import_gymnasium("MiniGrid-Empty-Random-5x5-v0", seeds=range(4))
    assert table.n_contexts > 1
    assert table.start_probability.sum() == pytest.approx(1)
    assert table.n_states == 34
    assert lock_step("MiniGrid-Empty-Random-5x5-v0", table, 2_000, seeds=range(4)).edges > 100


def test_wrappers_belong_to_the_environment() -> None:
    from minigrid.wrappers import FullyObsWrapper, ImgObsWrapper

    def wrapped() -> gymnasium.Env[Any, Any]:
        return ImgObsWrapper(FullyObsWrapper(gymnasium.make("MiniGrid-DoorKey-5x5-v0")))

    table = import_gymnasium(wrapped())
    assert table.view("original").space.shape == (5, 5, 3)
    assert lock_step(wrapped(), table, 1_500).steps == 1_500


def test_lock_step_sees_one_wrong_successor(door_key: TabularMDP) -> None:
    successor = door_key.successor.copy()
    edge = int(door_key.find_edges(door_key.start_state, np.array([0]))[0])
    successor[edge] = door_key.start_state[0]
    with pytest.raises(TableError, match=r"after reset\(seed=0\) and actions \[.*0\] the observation differs"):
        lock_step("MiniGrid-DoorKey-5x5-v0", door_key.replace(successor=successor, allow_unreachable=True), 1_000)
    assert door_key.reward_scale is not None
    paid = np.nextafter(door_key.reward_scale, 2.0)
    with pytest.raises(TableError, match="the reward differs"):
        lock_step("MiniGrid-DoorKey-5x5-v0", door_key.replace(reward_scale=paid), 20_000)


def test_tables_can_be_saved(tmp_path: Path, door_key: TabularMDP) -> None:
    door_key.replace(views={name: view for name, view in door_key.views.items() if name != "rgb"}).save(
        tmp_path / "t.npz"
    )
    again = load(tmp_path / "t.npz")
    assert again.fingerprint == door_key.fingerprint
    assert lock_step("MiniGrid-DoorKey-5x5-v0", again, 500).steps == 500


def test_random_environments_with_a_table_are_sent_to_the_other_importer() -> None:
    with pytest.raises(NotEnumerableError, match="use import_toy_text"):
        import_gymnasium("FrozenLake-v1")
    with pytest.raises(NotEnumerableError, match="hidden randomness"):
        import_gymnasium("MiniGrid-Dynamic-Obstacles-5x5-v0")


def test_resuming_minigrid(tmp_path: Path, door_key: TabularMDP) -> None:
    path = tmp_path / "door.npz"
    with pytest.raises(NotEnumerableError):
        import_gymnasium("MiniGrid-DoorKey-5x5-v0", max_states=150, checkpoint=path)
    assert import_gymnasium("MiniGrid-DoorKey-5x5-v0", checkpoint=path).fingerprint == door_key.fingerprint


def test_tables_are_the_same_in_every_process(door_key: TabularMDP) -> None:
    code = (
        "from credit_envs.importers import import_gymnasium;"
        "print(import_gymnasium('MiniGrid-DoorKey-5x5-v0').fingerprint)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert out.stdout.split()[-1] == door_key.fingerprint
