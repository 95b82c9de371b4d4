"""Toy-text environments: the table is the original, number by number."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from credit_envs.errors import CreditEnvsError, NotEnumerableError, TableError
from credit_envs.importers import import_toy_text, lock_step
from credit_envs.table.mdp import TabularMDP

ORIGINALS: list[tuple[str, dict[str, Any]]] = [
    ("FrozenLake-v1", {}),
    ("FrozenLake-v1", {"is_slippery": False}),
    ("FrozenLake-v1", {"map_name": "8x8"}),
    ("FrozenLake-v1", {"desc": ["SFG", "HFF"], "success_rate": 0.7}),
    ("CliffWalking-v1", {}),
    ("CliffWalking-v1", {"is_slippery": True}),
    ("Taxi", {}),
    ("Taxi", {"is_rainy": True}),
]


def optimal_value(table: TabularMDP) -> float:
    """Backward induction over the table's horizon, from the start distribution."""
    value = np.zeros(table.n_states)
    for t in reversed(range(table.horizon)):
        paid = table.reward_at(t, table.reward) + np.where(table.terminal, 0.0, value[table.successor])
        edge = np.bincount(table.outcome_edge, table.probability * paid, minlength=table.n_edges)
        best = np.full(table.n_states, -np.inf)
        np.maximum.at(best, table.edge_state, edge)
        value = np.where(table.n_admissible > 0, best, 0.0)
    return float(table.start_probability @ value[table.start_state])


@pytest.mark.parametrize(("env_id", "kwargs"), ORIGINALS)
def test_table_lists_the_same_outcomes_and_plays_the_same_episodes(env_id: str, kwargs: dict[str, Any]) -> None:
    table = import_toy_text(env_id, **kwargs)
    original = gymnasium.make(table.name, **kwargs).unwrapped
    listed = {s: {a: [tuple(way) for way in ways] for a, ways in actions.items()} for s, actions in original.P.items()}
    assert listed == table.P
    start = np.zeros(table.n_states)
    start[table.start_state] = table.start_probability
    np.testing.assert_array_equal(start, original.initial_state_distrib)
    found = lock_step(gymnasium.make(table.name, **kwargs), table, steps=3_000, seed=5)
    assert found.steps == 3_000
    assert found.edges > 0.2 * table.n_edges
    assert found.p_value > 1e-6


def test_known_optima() -> None:
    # 14/17 is the success probability without a step limit (solve the 4x4 chain by hand or with fractions).
    assert optimal_value(import_toy_text("FrozenLake-v1", horizon=5_000)) == pytest.approx(14 / 17, abs=1e-9)
    # Gymnasium's registration says 0.74 for 100 steps.
    assert optimal_value(import_toy_text("FrozenLake-v1")) == pytest.approx(0.74, abs=0.005)
    assert optimal_value(import_toy_text("CliffWalking-v1")) == -13.0
    assert optimal_value(import_toy_text("FrozenLake-v1", is_slippery=False, horizon=6)) == 1.0
    assert optimal_value(import_toy_text("FrozenLake-v1", is_slippery=False, horizon=5)) == 0.0


def test_horizons() -> None:
    assert import_toy_text("FrozenLake-v1").horizon == 100
    assert import_toy_text("FrozenLake8x8-v1").horizon == 200
    assert import_toy_text("CliffWalking-v1").horizon == 200
    assert import_toy_text("Taxi").horizon == 200
    assert import_toy_text("Taxi", horizon=7).horizon == 7
    assert import_toy_text(gymnasium.make("FrozenLake-v1", max_episode_steps=12)).horizon == 12
    with pytest.raises(CreditEnvsError, match="horizon=0"):
        import_toy_text("Taxi", horizon=0)


def test_either_taxi_version_is_found_when_plain() -> None:
    assert import_toy_text("Taxi-v3").fingerprint == import_toy_text("Taxi-v4").fingerprint


def test_labels_and_words() -> None:
    taxi = import_toy_text("Taxi")
    state = ((3 * 5 + 1) * 5 + 2) * 4 + 0
    assert [int(taxi.labels[name][state]) for name in ("row", "column", "passenger", "destination")] == [3, 1, 2, 0]
    assert taxi.view("text").rows(np.array([state])) == [
        "The taxi is at row 4, column 2. The passenger waits at yellow (row 5, column 1) and wants to go to red "
        "(row 1, column 1)."
    ]
    assert len(set(taxi.view("text").rows(np.arange(500)))) == 500
    assert taxi.action_names == ("south", "north", "east", "west", "pick up", "drop off")
    lake = import_toy_text("FrozenLake-v1")
    assert lake.view("text").rows(np.array([5]))[0].startswith("You are at row 2, column 2 of a lake of 4 rows")
    assert "in a hole" in lake.view("text").rows(np.array([5]))[0]
    cliff = import_toy_text("CliffWalking-v1")
    assert "row 4, column 1 " in cliff.view("text").rows(np.array([36]))[0]


def test_pictures_are_drawn_by_the_original() -> None:
    pytest.importorskip("pygame")
    table = import_toy_text("FrozenLake-v1")
    original = gymnasium.make("FrozenLake-v1", render_mode="rgb_array")
    original.reset(seed=0)
    shown = table.view("rgb").rows(np.array([0, 6]))
    assert shown.shape == (2, 256, 256, 3)
    np.testing.assert_array_equal(shown[0], original.render())
    assert table.view("rgb").space.contains(shown[1])
    assert (shown[0] != shown[1]).any()


def test_fickle_passengers_are_refused() -> None:
    with pytest.raises(NotEnumerableError, match="fickle_passenger=True"):
        import_toy_text("Taxi", fickle_passenger=True)


def test_fickle_passengers_are_also_seen_by_stepping() -> None:
    env = gymnasium.make(import_toy_text("Taxi").name)
    base: Any = env.unwrapped
    reset = base.reset

    def reset_then_be_fickle(**kwargs: Any) -> Any:
        out = reset(**kwargs)
        base.fickle_passenger, base.fickle_step = True, True
        return out

    base.fickle_passenger = False
    base.reset = reset_then_be_fickle
    with pytest.raises(NotEnumerableError, match="hides randomness"):
        import_toy_text(env)


class Corridor(gymnasium.Env[int, int]):
    """Five cells in a row; ``P`` says that moving right works with probability ``said``, in truth it is ``true``."""

    observation_space = spaces.Discrete(5)
    action_space = spaces.Discrete(2)

    def __init__(self, said: float = 0.5, true: float = 0.5, teleport: float = 0.0, pays: float = 1.0) -> None:
        self.said, self.true, self.teleport, self.pays = said, true, teleport, pays
        self.initial_state_distrib = np.eye(5)[0]
        self.P = {
            s: {
                0: [(1.0, max(s - 1, 0), 0.0, False)],
                1: [(said, s + 1, float(s == 3), s == 3), (1 - said, s, 0.0, False)],
            }
            for s in range(4)
        }
        self.P[4] = {a: [(1.0, 4, 0.0, True)] for a in range(2)}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.s = 0
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        if self.s == 4:
            return 4, 0.0, True, False, {}
        before = self.s
        if action == 0:
            self.s = max(self.s - 1, 0)
        elif self.np_random.random() < self.true:
            self.s += 1
        if self.np_random.random() < self.teleport:
            self.s = 2
        ends = self.s == 4
        return self.s, self.pays if ends and before == 3 else 0.0, ends, False, {}


def test_an_honest_environment_passes() -> None:
    table = import_toy_text(Corridor(), horizon=20)
    assert (table.n_states, table.horizon, table.name) == (5, 20, "Corridor")
    assert import_toy_text(Corridor()).horizon == 100
    assert lock_step(Corridor(), table).p_value > 1e-6


@pytest.mark.parametrize(
    ("lie", "evidence"),
    [
        ({"true": 0.6}, "not distributed as in the table"),
        ({"teleport": 0.02}, "observation differs|P\\[.*lists only"),
        ({"pays": 2.0}, "reward differs"),
    ],
)
def test_environments_that_do_not_follow_their_own_table_are_refused(lie: dict[str, float], evidence: str) -> None:
    with pytest.raises(NotEnumerableError, match=evidence):
        import_toy_text(Corridor(**lie), horizon=20)
    assert import_toy_text(Corridor(**lie), horizon=20, check_steps=0).n_states == 5


def test_lock_step_finds_one_wrong_number_in_a_table() -> None:
    table = import_toy_text("CliffWalking-v1")
    reward, successor, terminal = table.reward.copy(), table.successor.copy(), table.terminal.copy()
    step = int(table.find_edges(np.array(36), np.array(0)))
    reward[step] = -1.0000000001
    with pytest.raises(TableError, match=r"actions \[.*0\] the reward differs: the table says -1.0000000001"):
        lock_step("CliffWalking-v1", table.replace(reward=reward), 1_000)
    successor[step] = 25
    with pytest.raises(TableError, match="observation differs: the table says 25, the original 24"):
        lock_step("CliffWalking-v1", table.replace(successor=successor), 1_000)
    terminal[step] = True
    with pytest.raises(TableError, match="end of the episode differs"):
        lock_step("CliffWalking-v1", table.replace(terminal=terminal), 1_000)


def test_lock_step_knows_the_original_step_limit() -> None:
    ice = {"is_slippery": False, "desc": ["SFF", "FFF"]}
    table = import_toy_text("FrozenLake-v1", horizon=120, **ice)
    with pytest.raises(TableError, match="the end of the episode differs: the table says False, the original True"):
        lock_step("FrozenLake-v1", table, 1_000, **ice)
    assert lock_step("FrozenLake-v1", import_toy_text("FrozenLake-v1", **ice), 1_000, **ice).episodes == 10
    assert lock_step("FrozenLake-v1", import_toy_text("FrozenLake-v1", horizon=80, **ice), 800, **ice).episodes == 10


def test_bad_input_is_named() -> None:
    with pytest.raises(CreditEnvsError, match="did you mean 'FrozenLake-v1'"):
        import_toy_text("FrozenLake-v7")
    with pytest.raises(CreditEnvsError, match="does not accept"):
        import_toy_text("FrozenLake-v1", slipperiness=1)
    with pytest.raises(CreditEnvsError, match="use import_gymnasium"):
        import_toy_text("Blackjack-v1")
    with pytest.raises(CreditEnvsError, match="does the map have a start"):
        import_toy_text("FrozenLake-v1", desc=["FF", "FG"])
    with pytest.raises(CreditEnvsError, match="expected a Gymnasium id"):
        import_toy_text(3)  # type: ignore[arg-type]
    with pytest.raises(CreditEnvsError, match="is_slippery=True: only allowed with an id"):
        import_toy_text(gymnasium.make("FrozenLake-v1"), is_slippery=True)
    with pytest.raises(CreditEnvsError, match="unknown view 'sound'"):
        lock_step("FrozenLake-v1", import_toy_text("FrozenLake-v1"), view="sound")
