"""Explored environments: what cannot be a table is refused with evidence, and a search can be taken up again."""

from __future__ import annotations

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
from credit_envs.table.mdp import TabularMDP


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
    with pytest.raises(NotEnumerableError, match=r"max_states=500 reached.*perhaps clock='steps' helps.*checkpoint="):
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


class Graph(gymnasium.Env[int, int]):
    """Any deterministic graph: successor and reward per state and action; the last state ends."""

    def __init__(self, successor: list[list[int]], reward: list[list[float]]) -> None:
        self.successor, self.reward = successor, reward
        self.action_space = spaces.Discrete(len(successor[0]), start=3)
        self.observation_space = spaces.Discrete(len(successor))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = 0
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        paid = self.reward[self.at][action - 3]
        self.at = self.successor[self.at][action - 3]
        return self.at, paid, self.at == len(self.successor) - 1, False, {}


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    n, a = draw(st.integers(2, 7)), draw(st.integers(1, 3))
    successor = draw(st.lists(st.lists(st.integers(0, n - 1), min_size=a, max_size=a), min_size=n, max_size=n))
    paid = st.lists(st.floats(-1e3, 1e3), min_size=a, max_size=a)
    return Graph(successor, draw(st.lists(paid, min_size=n, max_size=n)))


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_any_deterministic_graph_is_found_as_it_is(env: Graph) -> None:
    table = import_gymnasium(env, horizon=9)
    place = table.view("original").rows(np.arange(table.n_states)).tolist()
    reachable, frontier = {0}, [0]
    while frontier:
        at = frontier.pop()
        for there in env.successor[at] if at < len(env.successor) - 1 else []:
            if there not in reachable:
                reachable.add(there)
                frontier.append(there)
    assert sorted(place) == sorted(reachable)
    for state, actions in table.P.items():
        for action, [(_, there, paid, ends)] in actions.items():
            assert place[there] == env.successor[place[state]][action]
            assert paid == env.reward[place[state]][action]
            assert ends == (place[there] == len(env.successor) - 1)
    assert lock_step(env, table, 200).steps == 200


def test_progress_is_shown_on_terminals_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rich")
    monkeypatch.setattr("credit_envs.importers.progress._QUIET_SECONDS", 0.0)
    import_gymnasium(Walk(), clock="steps", horizon=40)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    import_gymnasium(Walk(), clock="steps", horizon=40, progress=False)
    assert capsys.readouterr().err == ""
    import_gymnasium(Walk(), clock="steps", horizon=40)
    assert "exploring Walk" in capsys.readouterr().err


def test_bad_input_is_named() -> None:
    with pytest.raises(CreditEnvsError, match=r"action space Box.*expected Discrete"):
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
            notes = interrupt.__notes__
        else:
            continue
        assert "run it again with checkpoint=" in notes[0]
    Interrupted.left = 10**9
    resumed = import_gymnasium(Interrupted(), clock="steps", horizon=40, checkpoint=path)
    assert resumed.fingerprint == import_gymnasium(Walk(), clock="steps", horizon=40).fingerprint


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
