"""Explored environments: the table steps as the original does, and what cannot be a table is refused with evidence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_envs.errors import CreditEnvsError, NotEnumerableError
from credit_envs.importers import import_gymnasium, lock_step
from credit_envs.importers.canonical import canonical_digest
from credit_envs.importers.luck import OtherLuck
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
    base = gymnasium.make(env_id).unwrapped
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


def test_tables_can_be_saved(tmp_path: Path, door_key: TabularMDP) -> None:
    door_key.replace(views={name: view for name, view in door_key.views.items() if name != "rgb"}).save(tmp_path / "t.npz")
    again = load(tmp_path / "t.npz")
    assert again.fingerprint == door_key.fingerprint
    assert lock_step("MiniGrid-DoorKey-5x5-v0", again, 500).steps == 500


# -- small environments of our own ----------------------------------------------------------------------------------


class Walk(gymnasium.Env[Any, int]):
    """A ring of cells with a lamp; walking round pays. Subclasses misbehave, each in one way."""

    def __init__(self, cells: int = 30, limit: int = 40) -> None:
        self.cells, self.limit = cells, limit
        self.action_space = spaces.Discrete(3)
        self.observation_space: spaces.Space[Any] = spaces.Dict(
            {"place": spaces.Discrete(cells), "lamp": spaces.MultiBinary(1), "words": spaces.Text(20)}
        )

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place, self.lamp, self.steps = 0, [False], 0
        return self.show(), {}

    def show(self) -> Any:
        return {"place": self.place, "lamp": np.array(self.lamp, dtype=np.int8), "words": f"cell {self.place}"}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        before = self.place
        if action == 2:
            self.lamp[0] = not self.lamp[0]
        else:
            self.place = (self.place + (1, -1)[action]) % self.cells
        won = before == self.cells - 1 and self.place == 0 and self.lamp[0]
        return self.show(), self.pay(won), won, self.steps >= self.limit, {}

    def pay(self, won: bool) -> float:
        return 2.0 * won / self.steps


def test_a_declared_clock_is_taken_out_and_its_factor_read() -> None:
    table = import_gymnasium(Walk(), clock="steps", horizon=40)
    # The lit first cell is reached both by lighting the lamp there and, with the win, as the end.
    assert table.n_states == 60
    assert table.reward_scale is not None
    np.testing.assert_array_equal(table.reward_scale, 2.0 / np.arange(1, 41))
    assert table.terminal.sum() == 1
    assert shortest_win(table) == 3
    assert lock_step(Walk(), table, 2_000).steps == 2_000


def test_a_clock_that_nobody_declared_is_named() -> None:
    with pytest.raises(NotEnumerableError, match="max_states=500 reached.*perhaps clock='steps' helps.*checkpoint="):
        import_gymnasium(Walk(limit=10**9), horizon=40, max_states=500)


def test_a_clock_beyond_the_original_limit_is_refused() -> None:
    with pytest.raises(NotEnumerableError, match="another end of the episode at steps=49"):
        import_gymnasium(Walk(), clock="steps", horizon=51)
    with pytest.raises(CreditEnvsError, match="clock='pace': expected the name of an integer attribute"):
        import_gymnasium(Walk(), clock="pace", horizon=40)
    with pytest.raises(NotEnumerableError, match="a step counter grows by one"):
        import_gymnasium(Walk(), clock="cells", horizon=40)
    with pytest.raises(CreditEnvsError, match="horizon=300: the environment itself stops after 100 steps"):
        import_gymnasium("MiniGrid-Empty-5x5-v0", horizon=300)


class LateDoor(Walk):
    """The lamp only works late in the episode."""

    def step(self, action: int) -> Any:
        return super().step(0 if action == 2 and self.steps < 10 else action)


class TwoCurves(Walk):
    """Pays a constant for nothing, and a falling reward for winning."""

    def step(self, action: int) -> Any:
        shown, reward, won, cut, info = super().step(action)
        return shown, reward + (action == 1 and self.place == 5), won, cut, info


class Counting(Walk):
    """Shows the step counter."""

    def show(self) -> Any:
        return {**super().show(), "words": f"step {self.steps}"}


class Gusts(Walk):
    """Its own generator blows the walker on."""

    def step(self, action: int) -> Any:
        if self.place == 3 and self.np_random.random() < 0.5:
            self.place = 20
        return super().step(action)


class GlobalGusts(Walk):
    """The global generator does, far away from the start."""

    def step(self, action: int) -> Any:
        if self.place == 9 and np.random.random() < 0.5:  # noqa: NPY002 (that is the point)
            self.place = 20
        return super().step(action)


class SystemGusts(Walk):
    """A generator that nobody can see does."""

    def step(self, action: int) -> Any:
        if np.random.default_rng().random() < 0.5:
            self.place = 20
        return super().step(action)


class Idle(Walk):
    """Draws, but does nothing with it."""

    def step(self, action: int) -> Any:
        self.np_random.random()
        return super().step(action)


class Flicker(Walk):
    """What it shows depends on how the cell was entered, though the state does not."""

    def step(self, action: int) -> Any:
        shown, *rest = super().step(action)
        return {**shown, "words": f"by {action}"}, *rest


class LuckyStart(Walk):
    """Ignores the seed."""

    def reset(self, **kwargs: Any) -> Any:
        out = super().reset(**kwargs)
        self.place = int(np.random.default_rng().integers(2**40))
        return out


@pytest.mark.parametrize(
    ("kind", "evidence"),
    [
        (LateDoor, "action 2 has another successor at steps=20 than at 0"),
        (TwoCurves, "rewards are not u\\[t\\]·r"),
        (Counting, "another observation at steps=20|not a function of the state"),
        (Gusts, r"actions \[0, 0, 0\], action 0 led to two outcomes: state \w+ with reward 0, and state \w+"),
        (GlobalGusts, r"actions \[(0, ){8}0\], action 0 led to two outcomes"),
        (SystemGusts, "led to two outcomes"),
        (Idle, "drew random numbers, although 32 redraws gave one outcome"),
        (Flicker, r"the observation is not a function of the state: after reset\(seed=0\) and actions \["),
        (LuckyStart, r"reset\(seed=0\) gave two different states"),
    ],
)
def test_what_cannot_be_a_table_is_refused_with_evidence(kind: type[Walk], evidence: str) -> None:
    state = np.random.get_state()[2]  # noqa: NPY002 (must be left as it is)
    with pytest.raises(NotEnumerableError, match=evidence):
        import_gymnasium(kind(), clock="steps", horizon=40)
    if kind is not GlobalGusts:
        assert np.random.get_state()[2] == state  # noqa: NPY002


class Twins(gymnasium.Env[int, int]):
    """Two equal boxes, one of which is the prize: only identity tells them apart."""

    action_space, observation_space = spaces.Discrete(3), spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.boxes: list[list[str]] = [["box"], ["box"]]
        self.prize, self.held = self.boxes[1], None
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        if action < 2 and self.held is None:
            self.held = self.boxes[action]
        won = action == 2 and self.held is self.prize
        return int(self.held is not None), float(won), won, False, {}


def test_equal_objects_are_told_apart_by_identity() -> None:
    table = import_gymnasium(Twins(), horizon=5)
    assert table.n_states == 3
    assert table.terminal.sum() == 1
    assert lock_step(Twins(), table, 500).steps == 500


def test_random_environments_with_a_table_are_sent_to_the_other_importer() -> None:
    with pytest.raises(NotEnumerableError, match="use import_toy_text"):
        import_gymnasium("FrozenLake-v1")
    with pytest.raises(NotEnumerableError, match="hidden randomness"):
        import_gymnasium("MiniGrid-Dynamic-Obstacles-5x5-v0")


def test_bad_input_is_named() -> None:
    with pytest.raises(CreditEnvsError, match="action space Box.*expected Discrete"):
        import_gymnasium("Pendulum-v1")
    with pytest.raises(CreditEnvsError, match="did you mean 'MiniGrid-DoorKey-5x5-v0'"):
        import_gymnasium("MiniGrid-DoorKey-5x5-v9")
    with pytest.raises(CreditEnvsError, match="horizon=None: Walk has no step limit"):
        import_gymnasium(Walk(), clock="steps")
    with pytest.raises(CreditEnvsError, match="max_states=0"):
        import_gymnasium(Walk(), horizon=3, max_states=0)
    with pytest.raises(CreditEnvsError, match="expected at least one reset seed"):
        import_gymnasium(Walk(), horizon=3, seeds=())

    class Unsavable(Walk):
        def reset(self, **kwargs: Any) -> Any:
            self.rule = lambda: None
            return super().reset(**kwargs)

    with pytest.raises(NotEnumerableError, match=r"Unsavable.rule \(function\) cannot be saved.*ignore=\('rule',\)"):
        import_gymnasium(Unsavable(), horizon=40, clock="steps")
    assert import_gymnasium(Unsavable(), horizon=40, clock="steps", ignore=("rule",)).n_states == 60


# -- checkpoints ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_states", [1, 2, 17, 59])
def test_resuming_after_a_limit_gives_the_same_table(tmp_path: Path, max_states: int) -> None:
    path = tmp_path / "walk.npz"
    with pytest.raises(NotEnumerableError, match=f"max_states={max_states} reached.*run it again with checkpoint="):
        import_gymnasium(Walk(), clock="steps", horizon=40, max_states=max_states, checkpoint=path)
    resumed = import_gymnasium(Walk(), clock="steps", horizon=40, checkpoint=path)
    assert resumed.fingerprint == import_gymnasium(Walk(), clock="steps", horizon=40).fingerprint
    finished = import_gymnasium(Walk(), clock="steps", horizon=40, checkpoint=path)
    assert finished.fingerprint == resumed.fingerprint
    assert finished.view("original").rows(np.array([7])) == resumed.view("original").rows(np.array([7]))


class Interrupted(Walk):
    """Raises KeyboardInterrupt at its n-th step."""

    left = 10**9

    def step(self, action: int) -> Any:
        Interrupted.left -= 1
        if Interrupted.left == 0:
            raise KeyboardInterrupt
        return super().step(action)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 400), max_size=4))
def test_resuming_after_interruptions_gives_the_same_table(tmp_path_factory: Any, interruptions: list[int]) -> None:
    path = tmp_path_factory.mktemp("checkpoints") / "walk.npz"
    for steps in interruptions:
        Interrupted.left = steps
        try:
            import_gymnasium(Interrupted(), clock="steps", horizon=40, checkpoint=path)
        except KeyboardInterrupt as interrupt:
            assert "run it again with checkpoint=" in interrupt.__notes__[0]
    Interrupted.left = 10**9
    resumed = import_gymnasium(Interrupted(), clock="steps", horizon=40, checkpoint=path)
    assert resumed.fingerprint == import_gymnasium(Walk(), clock="steps", horizon=40).fingerprint


def test_resuming_minigrid(tmp_path: Path, door_key: TabularMDP) -> None:
    path = tmp_path / "door.npz"
    with pytest.raises(NotEnumerableError):
        import_gymnasium("MiniGrid-DoorKey-5x5-v0", max_states=150, checkpoint=path)
    assert import_gymnasium("MiniGrid-DoorKey-5x5-v0", checkpoint=path).fingerprint == door_key.fingerprint


def test_foreign_and_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "walk.npz"
    import_gymnasium(Walk(), clock="steps", horizon=40, checkpoint=path)
    with pytest.raises(CreditEnvsError, match="belongs to another search, horizon is 40 there and 39 here"):
        import_gymnasium(Walk(), clock="steps", horizon=39, checkpoint=path)
    with pytest.raises(CreditEnvsError, match="name is 'Walk' there and 'MiniGrid-Empty-5x5-v0' here"):
        import_gymnasium("MiniGrid-Empty-5x5-v0", checkpoint=path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CreditEnvsError, match="not a checkpoint, or damaged"):
        import_gymnasium(Walk(), clock="steps", horizon=40, checkpoint=path)


# -- keys -----------------------------------------------------------------------------------------------------------


class Thing:
    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


def digest(value: Any, **options: Any) -> bytes:
    return canonical_digest([{"value": value}], lambda _: None, **options)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4) | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
        | st.builds(lambda a, b: Thing(a=a, b=b), inner, inner)
    ),
    max_leaves=12,
)


def plain(value: Any) -> Any:
    """A nested tuple that is equal for equal content, types included."""
    if isinstance(value, Thing):
        return ("thing", *(plain(v) for v in value.__dict__.values()))
    if isinstance(value, dict):
        return ("dict", frozenset((plain(k), plain(v)) for k, v in value.items()))
    if isinstance(value, list | tuple):
        return (type(value).__name__, *(plain(v) for v in value))
    return (type(value).__name__, value.hex() if isinstance(value, float) else value)


@settings(max_examples=300, deadline=None)
@given(values, values)
def test_keys_are_equal_exactly_for_equal_content(one: Any, other: Any) -> None:
    import copy

    assert (digest(one) == digest(other)) == (plain(one) == plain(other))
    assert digest(copy.deepcopy(one)) == digest(one)


def test_keys_see_sharing_cycles_and_kinds_of_numbers() -> None:
    shared = [1]
    assert digest([shared, shared]) != digest([[1], [1]])
    ring: list[Any] = []
    ring.append(ring)
    assert digest(ring) == digest(ring)
    assert digest(3) == digest(np.int64(3)) == digest(np.int32(3))
    assert digest(3) != digest(3.0)
    assert digest(0.0) != digest(-0.0)
    assert digest(True) == digest(np.True_) != digest(1)
    assert digest(np.zeros(2)) != digest(np.zeros(2, np.float32))
    assert digest(np.array([1, 2])) != digest((1, 2))
    assert digest(np.array([1, 2]), vectors_are_tuples=True) == digest((1, 2), vectors_are_tuples=True)
    assert digest({1, "a", (2, 3)}) == digest({(2, 3), 1, "a"})
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def test_tables_are_the_same_in_every_process(door_key: TabularMDP) -> None:
    code = (
        "from credit_envs.importers import import_gymnasium;"
        "print(import_gymnasium('MiniGrid-DoorKey-5x5-v0').fingerprint)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert out.stdout.split()[-1] == door_key.fingerprint


def test_importing_the_importers_loads_nothing_heavy() -> None:
    code = (
        "import sys, credit_envs.importers;"
        "print([m for m in ('minigrid', 'torch', 'pygame', 'rich', 'scipy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_other_luck_is_put_back() -> None:
    generators = [np.random.default_rng(3), np.random.RandomState(3), __import__("random").Random(3)]  # noqa: NPY002
    before = [generators[0].random(), generators[1].random(), generators[2].random()]
    again = [np.random.default_rng(3), np.random.RandomState(3), __import__("random").Random(3)]  # noqa: NPY002
    with OtherLuck(again, word=9):
        inside = [generator.random() for generator in again]
    assert inside != before
    assert [generator.random() for generator in again] == before
