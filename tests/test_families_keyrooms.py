"""KeyRooms: the table against a slow game played on the map, against counts, and against paths counted by hand."""

import time
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transcripts import check_golden, transcript

from credit_envs.families import FAMILIES
from credit_envs.families.keyrooms_layout import make_layout, make_plan

BUILD = FAMILIES["KeyRooms"].build
GOLDEN_MAP = [
    "#############",
    "#...#b..#.$.#",
    "#@+.A...B...#",
    "#.a.#...#...#",
    "#############",
    "carrying nothing",
]
GOLDEN_PATH = ["right", "down", "use", "right", "up", "use"]
GOLDEN_PATH += ["right", "right", "up", "use", "right", "right", "down", "use"]
GOLDEN_PATH += ["right", "right", "right", "up"]
GOLDEN_WORDS = (
    "You are in room 1 of 3, at column 1, row 2. The red key is at column 2, row 3. "
    "The red door at column 4, row 2, is locked. The lamp at column 2, row 2 is off."
)
MOVES = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}


class Game:
    """The rules of KeyRooms, played on the characters of the start's map; knows nothing of the table's numbering."""

    def __init__(self, table, stage_reward):
        rows = table.view("ansi").rows(table.start_state)[0].splitlines()[:-1]
        spots = {(x, y): c for y, row in enumerate(rows) for x, c in enumerate(row)}
        self.floor = {at for at, c in spots.items() if c not in "# "}
        self.stages = table.knobs["stages"]
        where = {c: at for at, c in spots.items()}
        self.key = [where[chr(ord("a") + i)] for i in range(self.stages)]
        self.door = [where[chr(ord("A") + i)] for i in range(self.stages)]
        self.goal, self.start = where["$"], where["@"]
        self.lamps = sorted(at for at, c in spots.items() if c == "+")
        self.stage_reward = stage_reward

    def step(self, state, action):
        """state = (cell, keys taken, doors opened, lamps on) → (state, reward, done)."""
        (x, y), keys, doors, lit = state
        if action == "use":
            near = (
                any((x + dx, y + dy) == self.door[doors] for dx, dy in MOVES.values()) if doors < self.stages else False
            )
            if keys == doors < self.stages and (x, y) == self.key[keys]:
                return ((x, y), keys + 1, doors, lit), 0.0, False
            if keys > doors and near:
                return ((x, y), keys, doors + 1, lit), self.stage_reward / self.stages, False
            if (x, y) in self.lamps:
                return ((x, y), keys, doors, lit ^ {(x, y)}), 0.0, False
            return state, 0.0, False
        dx, dy = MOVES[action]
        to = (x + dx, y + dy)
        if to not in self.floor or to in self.door[doors:]:
            return state, 0.0, False
        done = to == self.goal
        return (to, keys, doors, lit), (1 - self.stage_reward) * done, done


def shortest(table):
    """Steps to the nearest end of the episode by breadth-first search on the table, and the return on that path."""
    frontier = deque([(int(table.start_state[0]), 0, 0.0)])
    seen = {frontier[0][0]}
    while frontier:
        s, steps, total = frontier.popleft()
        for e in range(table.edge_start[s], table.edge_start[s + 1]):
            n = int(table.successor[e])
            if table.terminal[e]:
                return steps + 1, total + table.reward[e]
            if n not in seen:
                seen.add(n)
                frontier.append((n, steps + 1, total + table.reward[e]))
    raise AssertionError("the goal cannot be reached")


@settings(max_examples=40, deadline=None)
@given(
    shape=st.sampled_from(["chain", "hub", "tree"]),
    stages=st.integers(1, 6),
    size=st.integers(3, 4),
    lamps=st.integers(0, 3),
    share=st.sampled_from([0.0, 0.5, 1.0]),
    permute=st.booleans(),
    seed=st.integers(0, 2**53),
)
def test_table_is_the_game(shape, stages, size, lamps, share, permute, seed):
    knobs = {"map": shape, "stages": stages, "room_size": size, "distractors": lamps, "stage_reward": share}
    table = BUILD(seed, permute=permute, **knobs)
    names = ("up", "down", "left", "right", "use")
    if permute:
        plan = make_plan(shape, stages, size, lamps)
        names = tuple(names[m] for m in make_layout(plan, seed, permute=True).meaning)
    else:
        assert table.action_names == names
    game = Game(table, share)
    layout = make_layout(make_plan(shape, stages, size, lamps), seed)
    lamp_at = [tuple(at) for at in layout.cell_xy[layout.lamp].tolist()]
    assert sorted(lamp_at) == game.lamps

    columns = [table.labels[name].tolist() for name in ("x", "y", "progress", "lamps")]
    number = {
        ((x, y), (p + 1) // 2, p // 2, frozenset(at for j, at in enumerate(lamp_at) if bits >> j & 1)): s
        for s, (x, y, p, bits) in enumerate(zip(*columns, strict=True))
    }
    assert len(number) == table.n_states
    start = (game.start, 0, 0, frozenset())
    assert number[start] == table.start_state[0]
    found, over, frontier = {start}, set(), [start]
    while frontier:
        state = frontier.pop()
        outcomes = table.P[number[state]]
        assert sorted(outcomes) == [0, 1, 2, 3, 4]
        for a, name in enumerate(names):
            after, reward, done = game.step(state, name)
            [(p, n, r, d)] = outcomes[a]
            assert (p, n, d) == (1.0, number[after], done)
            assert r == pytest.approx(reward, abs=1e-15)
            if not done and after not in found:
                frontier.append(after)
            (over if done else found).add(after)
    assert len(found) + len(over) == table.n_states


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from(["chain", "hub", "tree"]),
    stages=st.integers(1, 12),
    size=st.integers(3, 6),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**53),
)
def test_every_instance_is_solved_in_time_and_pays_one(shape, stages, size, share, seed):
    table = BUILD(seed, map=shape, stages=stages, room_size=size, stage_reward=share, horizon_factor=1)
    steps, total = shortest(table)
    assert 2 * stages < steps <= table.horizon == make_plan(shape, stages, size, 1).longest
    assert total == pytest.approx(1, abs=1e-12)


def test_number_of_states_follows_the_formula():
    for stages, w, d in [(1, 3, 0), (2, 3, 1), (3, 4, 5), (4, 3, 6)]:
        opened = [(i + 1) * (w * w + 1) - 1 for i in range(stages + 1)]
        lamps = [sum(j % stages <= i for j in range(d)) for i in range(stages + 1)]
        expected = sum(2 * opened[i] * 2 ** lamps[i] for i in range(stages)) + opened[stages] * 2**d
        for shape in ("chain", "hub", "tree"):
            assert BUILD(1, map=shape, stages=stages, room_size=w, distractors=d).n_states == expected
    assert BUILD(0).n_states == 170


def test_a_solution_counted_by_hand():
    """The golden map, solved on paper."""
    table = BUILD(7)
    assert table.view("ansi").rows(table.start_state)[0].splitlines() == GOLDEN_MAP
    s, total = int(table.start_state[0]), 0.0
    for name in GOLDEN_PATH:
        [(_, s, reward, done)] = table.P[s][table.action_names.index(name)]
        total += reward
    assert done
    assert total == 1
    assert shortest(table)[0] == len(GOLDEN_PATH)


def test_walls_plain_floor_and_lamps():
    """From the golden start: a wall to the left, nothing to use, and to the right a lamp that goes on and off again."""
    table = BUILD(7)
    s = int(table.start_state[0])
    up, left, right, use = (table.action_names.index(name) for name in ("up", "left", "right", "use"))
    assert table.P[s][left] == table.P[s][use] == [(1.0, s, 0.0, False)]
    assert table.P[s][up][0][1] != s
    beside = table.P[s][right][0][1]
    lit = table.P[beside][use][0][1]
    assert (table.labels["lamps"][beside], table.labels["lamps"][lit]) == (0, 1)
    assert table.labels["anchor"][beside] == table.labels["anchor"][lit]
    assert table.P[lit][use] == [(1.0, beside, 0.0, False)]


@pytest.mark.parametrize(("shape", "size"), [("chain", 6), ("hub", 6), ("tree", 6), ("hub", 4)])
def test_sixty_stages(shape, size):
    """Compiled in far less than 30 s; more than 700 steps, which pass 121 subgoals (key, door, …, goal) in their order."""
    began = time.perf_counter()
    table = BUILD(2, map=shape, stages=60, room_size=size, horizon_factor=1)
    assert time.perf_counter() - began < 30
    steps, total = shortest(table)
    assert total == 1
    assert 700 < steps <= table.horizon
    assert table.view("grid").space.contains(table.view("grid").rows(table.start_state)[0])
    assert table.view("ansi").space.contains(table.view("ansi").rows(table.start_state)[0])

    onward = table.labels["segment"][table.successor] - table.labels["segment"][table.edge_state]
    assert set(onward.tolist()) == {0, 1}
    assert np.array_equal(np.unique(table.labels["segment"]), np.arange(121))


def test_maps_differ_in_how_far_keys_are_carried():
    """In a chain the next door is in the key's own room, in a hub and a tree it is elsewhere."""
    mean = {
        shape: np.mean([shortest(BUILD(i, map=shape, stages=6))[0] for i in range(10)])
        for shape in ("chain", "hub", "tree")
    }
    assert mean["chain"] < 0.8 * mean["hub"]
    assert mean["chain"] < 0.8 * mean["tree"]


@pytest.mark.parametrize("shape", ["chain", "hub", "tree"])
def test_full_rooms_still_hold_everything(shape):
    """As many lamps as allowed: nothing shares a cell, and nothing lies before a door that opens from its room."""
    for stages in (1, 4, 6):
        lamps = min(20, 3 * stages)
        for seed in range(100):
            layout = make_layout(make_plan(shape, stages, 3, lamps), seed)
            cells = [*layout.key, *layout.lamp, layout.start, layout.goal]
            assert len(set(cells)) == stages + lamps + 2
            assert not set(cells) & set(layout.before.tolist())
            assert len({tuple(xy) for xy in layout.cell_xy.tolist()}) == len(layout.cell_xy)


def test_labels():
    table = BUILD(3, stages=3, distractors=2)
    labels = table.labels
    assert not labels["turn"].any()
    assert np.array_equal(labels["segment"], labels["progress"])
    assert sorted(set(labels["progress"].tolist())) == list(range(7))
    # The anchor is the state without its lamps: one per (cell, progress).
    assert len(set(zip(labels["x"], labels["y"], labels["progress"], strict=True))) == np.unique(labels["anchor"]).size
    keys = set(zip(labels["anchor"], labels["lamps"], strict=True))
    assert len(keys) == table.n_states


def test_lamps_spread_rollouts():
    """Every lamp in the first room doubles the states behind it, and changes neither the solution nor its length."""
    plain, dotted = (BUILD(4, stages=1, distractors=d) for d in (0, 3))
    assert dotted.n_states == 8 * plain.n_states
    assert np.unique(dotted.labels["anchor"]).size == plain.n_states


@pytest.mark.parametrize("shape", ["chain", "hub", "tree"])
def test_full_views_tell_states_apart(shape):
    table = BUILD(5, map=shape, stages=2, distractors=2)
    states = np.arange(table.n_states)
    assert len(set(table.view("text").rows(states))) == table.n_states
    assert len({row.tobytes() for row in table.view("grid").rows(states)}) == table.n_states
    some = states[::37]
    assert len({row.tobytes() for row in table.view("rgb").rows(some)}) == some.size


@pytest.mark.parametrize("size", [8, 5, 64])
def test_window_is_a_cut_of_the_whole_map(size):
    whole, cut = BUILD(6, stages=3, distractors=3), BUILD(6, stages=3, distractors=3, view_size=size)
    states = np.random.default_rng(0).integers(whole.n_states, size=50)
    full, window = whole.view("grid").rows(states), cut.view("grid").rows(states)
    assert window.shape[1:] == cut.view("grid").space.shape == (size, size, 3)
    for s, plane, shown in zip(states, full, window, strict=True):
        x, y, half = int(whole.labels["x"][s]), int(whole.labels["y"][s]), size // 2
        padded = np.pad(plane, ((size, size), (size, size), (0, 0)))
        top, left = y - half + size, x - half + size
        assert np.array_equal(shown, padded[top : top + size, left : left + size])
        assert shown[half, half, 2] > 0


def test_planes_and_words_of_a_state():
    table = BUILD(7)
    start = table.start_state
    plane = table.view("grid").rows(start)[0]
    symbols = np.array(list(" #.kD/+$"))[plane[..., 0]]
    symbols[plane[..., 2] == 1] = "@"
    drawn = ["".join(row) for row in symbols]
    assert drawn == [
        row.replace("a", "k").replace("b", "k").replace("A", "D").replace("B", "D") for row in GOLDEN_MAP[:-1]
    ]
    assert table.view("text").rows(start)[0] == GOLDEN_WORDS
    holding = np.flatnonzero(table.labels["progress"] == 3)[:1]
    assert "You carry the blue key." in table.view("text").rows(holding)[0]
    assert table.view("grid").rows(holding)[0][..., 2].max() == 1 + 2


def test_permuted_actions_hide_their_names():
    tables = [BUILD(i, permute=True) for i in range(30)]
    assert all(table.action_names == tuple(f"action {a}" for a in range(5)) for table in tables)
    # `use` takes the key in room 0: find which action does so, over instances it takes every place.
    places = set()
    for table in tables:
        up = (table.labels["progress"][table.successor] == 1) & (table.labels["progress"][table.edge_state] == 0)
        places |= set(table.edge_action[up].tolist())
    assert places == {0, 1, 2, 3, 4}


def test_longest_solution_counted_by_hand():
    """In a 3 x 3 room a walk takes at most 4 steps, `use` 1, a door 2; a hub's second key is carried across the hub."""
    first_stage = 4 + 1 + 4 + 1 + 2
    assert make_plan("chain", 1, 3, 0).longest == first_stage + 4
    assert make_plan("hub", 2, 3, 0).longest == first_stage + (4 + 1 + 4 + 2 + 4 + 1 + 2) + 4
    assert BUILD(0).horizon == 8 * (2 * first_stage + 4)


def test_golden_transcript():
    check_golden("keyrooms", transcript(BUILD(7, stage_reward=0.4), drawn=(0, 6, 14)))
