"""Team: the table against a slow game, paths counted by hand, and exact credit of agents against enumeration."""

import itertools
import math
import re
from collections import deque

import numpy as np
import pytest
from brute_force import action_value, by_obs, by_state, expected, random_rows, walks
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import make_random_table, random_policy
from transcripts import check_golden, transcript

from credit_envs import dials, make_table, oracle
from credit_envs.errors import CreditEnvsError
from credit_envs.families import FAMILIES
from credit_envs.families.team_layout import Plan, make_layout
from credit_envs.oracle import team
from credit_envs.table import Emission, Layer, union
from credit_envs.table.validate import validate
from credit_envs.testing import check_table

BUILD = FAMILIES["Team"].build
NAMES = ("up", "down", "left", "right", "use", "stay")
STEPS = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}
WALL, KEY, LOCKED, SHUT, PLATE, GOAL = 1, 3, 4, 6, 8, 9
SHAPES = st.sampled_from(
    [(2, 0, 0, 2), (2, 1, 0, 2), (2, 0, 1, 3), (2, 1, 1, 2), (2, 2, 0, 2), (3, 1, 0, 2), (3, 0, 1, 2)]
)


class Game:
    """The rules of Team, played on the planes of the start; knows nothing of the table's numbering.

    A state is (positions, keys, mover); keys maps the colour of a locked door to ``floor``, a holder or ``open``.
    """

    def __init__(self, table, agents, goal):
        plane = table.view("grid").rows(table.start_state)[0].astype(int)
        kind, colour, here = plane[..., 0], plane[..., 1], plane[..., 2]
        self.n, self.rule = agents, goal
        self.walls = self.places(kind == WALL)
        self.keys, self.locked, self.shut = (
            {p: colour[p[::-1]] for p in self.places(kind == k)} for k in (KEY, LOCKED, SHUT)
        )
        self.plates = {p: colour[p[::-1]] for p in self.places(kind == PLATE)}
        [self.goal] = self.places(kind == GOAL)
        at = [next(p for p in self.places(here > 0) if here[p[::-1]] >> i & 1) for i in range(agents)]
        self.start = (tuple(at), tuple(sorted((c, "floor") for c in self.locked.values())), 0)

    @staticmethod
    def places(where):
        return {(int(x), int(y)) for y, x in zip(*np.nonzero(where), strict=True)}

    def step(self, state, name):
        at, keys, mover = state
        keys, spot = dict(keys), at[mover]
        if name in STEPS and spot != self.goal:
            x, y = spot[0] + STEPS[name][0], spot[1] + STEPS[name][1]
            free = (x, y) not in self.walls
            if (x, y) in self.locked:
                free = keys[self.locked[x, y]] == "open"
            if (x, y) in self.shut:
                free = any(self.plates.get(p) == self.shut[x, y] for i, p in enumerate(at) if i != mover)
            at = (*at[:mover], (x, y), *at[mover + 1 :]) if free else at
        if name == "use":
            if keys.get(self.keys.get(spot)) == "floor":
                keys[self.keys[spot]] = mover
            for door, colour in self.locked.items():
                if keys[colour] == mover and abs(door[0] - spot[0]) + abs(door[1] - spot[1]) == 1:
                    keys[colour] = "open"
        home = [p == self.goal for p in at]
        done = all(home) if self.rule == "all" else any(home)
        return (at, tuple(sorted(keys.items())), (mover + 1) % self.n), float(done), done


def shortest(table):
    """Steps and return of the shortest solution, by breadth-first search."""
    start = int(table.start_state[0])
    parent, queue = {start: 0}, deque([start])
    while queue:
        s = queue.popleft()
        for [(_, n, r, d)] in table.P[s].values():
            if d:
                return parent[s] + 1, r
            if n not in parent:
                parent[n] = parent[s] + 1
                queue.append(n)
    return math.inf, 0.0


def best_policy(table):
    """Optimal play as a policy [S, A]: far from the horizon it does not depend on time."""
    policy, edge = np.zeros((table.n_states, table.n_actions)), oracle.optimal(table).greedy(0)
    edge = edge[edge >= 0]
    policy[table.edge_state[edge], table.edge_action[edge]] = 1
    return policy


@settings(max_examples=30, deadline=None)
@given(
    shape=SHAPES,
    goal=st.sampled_from(["all", "any"]),
    start=st.sampled_from(["together", "apart"]),
    moves=st.sampled_from(["in turn", "at once"]),
    permute=st.booleans(),
    seed=st.integers(0, 2**53),
)
def test_the_table_is_the_game(shape, goal, start, moves, permute, seed):
    agents, plates, keys, size = shape
    knobs = {"agents": agents, "plates": plates, "keys": keys, "room_size": size, "goal": goal, "start": start}
    table = BUILD(seed, moves=moves, permute=permute, **knobs)
    validate(table)
    game = Game(table, agents, goal)
    meaning = make_layout(Plan(agents, plates, keys, size, start == "apart"), seed, permute).meaning
    assert table.action_names == (tuple(f"action {a}" for a in range(6)) if permute else NAMES)

    # In lock step: a state of the game (and, at once, what was seen when the round began) is one state of the table.
    first = (game.start, game.start)
    number, queue, over = {first: int(table.start_state[0])}, [first], {}
    edges = 0
    while queue:
        state, seen = queue.pop()
        s = number[state, seen]
        assert table.labels["mover"][s] == state[2] == table.labels["turn"][s]
        assert sorted(table.P[s]) == list(range(6))
        for a in range(6):
            after, reward, done = game.step(state, NAMES[meaning[a]])
            [(p, n, r, d)] = table.P[s][a]
            assert (p, r, d) == (1.0, reward, done)
            edges += 1
            if done:
                assert over.setdefault(n, after[:2]) == after[:2]
                continue
            key = (after, after if moves == "in turn" or after[2] == 0 else seen)
            if key not in number:
                number[key] = n
                queue.append(key)
            assert number[key] == n
    assert edges == table.n_edges
    assert len(set(number.values())) == len(number) == table.n_states - len(over)

    # States look alike exactly when the movers see the same.
    look = table.emission.base
    seen_by = {}
    for (state, seen), s in number.items():
        shown = state if moves == "in turn" else (seen[:2], state[2])
        assert seen_by.setdefault(int(look[s]), shown) == shown
    assert len(set(map(str, seen_by.values()))) == len(seen_by)


@settings(max_examples=60, deadline=None)
@given(
    shape=SHAPES,
    goal=st.sampled_from(["all", "any"]),
    start=st.sampled_from(["together", "apart"]),
    seed=st.integers(0, 2**53),
)
def test_every_instance_is_solved_in_time_and_pays_one(shape, goal, start, seed):
    agents, plates, keys, size = shape
    plan = Plan(agents, plates, keys, size, start == "apart")
    table = BUILD(
        seed, agents=agents, plates=plates, keys=keys, room_size=size, goal=goal, start=start, horizon_factor=1
    )
    steps, total = shortest(table)
    assert table.horizon == agents * plan.longest
    assert 0 < steps <= table.horizon
    assert total == 1


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("agents", [2, 3, 4])
def test_number_of_states_counted_by_hand(agents, size):
    """One plate door: all placements can be reached but one, all agents in the doorway (who held the door?).

    At the goal nobody is to move; in all others each agent may be next.
    """
    if size**agents < 50:
        cells = 2 * size**2 + 1
        assert BUILD(3, agents=agents, plates=1, keys=0, room_size=size).n_states == agents * (cells**agents - 2) + 1


def test_a_solution_counted_by_hand():
    """Instance 7, solved on paper: who takes the key needs 11 rounds, and so the second agent's 11th move ends it."""
    table = BUILD(7)
    assert table.view("ansi").rows(table.start_state)[0].splitlines() == [
        "##########",
        "#*.O..P.$#",
        "#_.#p_#..#",
        "##########",
        "agent 1 to move",
    ]
    one = ["right", "right", "right", "down", "use", "right", "up", "use", "right", "right", "right"]
    two = ["down", "up", "right", "stay", "stay", "right", "right", "right", "right", "right", "right"]
    s, total = int(table.start_state[0]), 0.0
    for name in itertools.chain.from_iterable(zip(one, two, strict=True)):
        assert total == 0
        [(_, s, reward, done)] = table.P[s][NAMES.index(name)]
        total += reward
    assert done
    assert total == 1
    assert shortest(table)[0] == 22 == oracle.optimal(table).length


def test_a_door_needs_a_teammate_on_a_plate():
    """Alone, no agent ever gets through a plate door, whatever it plays."""
    table = BUILD(7, plates=1, keys=0, goal="any")
    lone = {int(table.start_state[0])}
    for _ in range(60):
        lone |= {
            table.P[s][a][0][1]
            for s in list(lone)
            for a in (range(6) if table.labels["mover"][s] == 0 else [NAMES.index("stay")])
        }
    assert len(lone) == 2 * 4  # the four cells of room 0
    policy = best_policy(table)
    assert oracle.evaluate(table, policy).J == 1
    assert np.allclose(team.coalition_values(table, policy), [0, 0, 0, 1])
    assert np.allclose(team.shapley_values(table, policy), [0.5, 0.5])
    assert np.allclose(team.difference_returns(table, policy), [1, 1])


def test_going_home_too_early_dooms_the_team():
    """The agent that is through first loses everything by walking to the goal: nobody can let the other one through."""
    table = BUILD(3, plates=1, keys=0)
    layout = make_layout(Plan(2, 1, 0, 2, False), 3)
    best, labels = oracle.optimal(table), table.labels
    far, near = layout.plates[0, 1], layout.plates[0, 0]
    home = (labels["cell_0"] == layout.goal) & (labels["cell_1"] == near) & (table.n_admissible > 0)
    assert home.sum() == 2
    assert np.all(best.V[0][home] == 0)
    beside = np.flatnonzero((labels["cell_1"] == near) & (labels["mover"] == 0) & (labels["cell_0"] >= 5))
    doomed = [
        (s, a) for s in beside for a, [(_, n, _, _)] in table.P[s].items() if home[n] and s not in np.flatnonzero(home)
    ]
    assert doomed
    for s, a in doomed:
        edge = int(table.find_edges(np.array([s]), np.array([a]))[0])
        assert best.advantage_at(np.array(0), np.array(s), np.array(edge)) == -1
    # Standing on the far plate instead, the other one gets through: nothing is lost.
    holds = (labels["cell_0"] == far) & (labels["cell_1"] == near)
    assert np.all(best.V[0][holds] == 1)


def test_holding_a_door_has_no_difference_reward():
    """On the plate, staying is the best an agent can do, and it differs from the default by nothing."""
    table = BUILD(7, plates=1, keys=0, goal="any")
    values = oracle.evaluate(table, best_policy(table))
    stay = team.default_edges(table)
    q = team.difference_edges(values, 0)
    assert np.all(q[stay[stay >= 0]] == 0)
    assert q.min() >= -1
    assert q.max() == 0  # the door can wait: far from the horizon, nothing that one step adds is lost by staying
    late = team.difference_edges(values, table.horizon - 1)
    assert late.max() == 1  # the last step to the goal cannot


@pytest.mark.parametrize("shape", [(2, 1, 1), (3, 0, 1), (3, 1, 0)])
def test_symmetric_agents_have_equal_shapley_values(shape):
    """All start on one cell and play the uniform policy: only the order of moves tells them apart, which is not enough."""
    agents, plates, keys = shape
    table = BUILD(5, agents=agents, plates=plates, keys=keys, goal="any", horizon_factor=2)
    game = team.coalition_values(table, oracle.uniform(table))
    phi = team.shapley(game)
    assert game[0] == 0
    assert game[-1] == oracle.evaluate(table, oracle.uniform(table)).J > 0
    assert phi.sum() == pytest.approx(game[-1] - game[0], rel=1e-12)
    assert np.allclose(phi, phi[0], rtol=1e-12, atol=0)


def test_agents_differ_only_where_one_can_do_without_the_other():
    """If all must come, v is 0 unless all do, and values are J/n; if any may, who starts nearer is worth more."""
    policies = {}
    for goal in ("all", "any"):
        table = BUILD(7, plates=0, keys=1, goal=goal, start="apart")
        policy = oracle.ladder(table, (0.9,))[-1].policy
        policies[goal] = team.coalition_values(table, policy), team.shapley_values(table, policy)
    game, phi = policies["all"]
    assert np.array_equal(game[:-1], [0, 0, 0])
    assert np.allclose(phi, game[-1] / 2)
    game, phi = policies["any"]
    assert abs(phi[0] - phi[1]) == pytest.approx(abs(game[1] - game[2]))
    assert abs(phi[0] - phi[1]) > 0.01


def test_who_always_stays_has_no_shapley_value():
    """Three agents on the map of two, of which the third never moves: the other two share everything."""
    two, three = (BUILD(5, agents=n, plates=1, keys=0, goal="any") for n in (2, 3))
    best, keys = best_policy(two), zip(*(two.labels[k].tolist() for k in ("cell_0", "cell_1", "mover")), strict=True)
    number = {key: s for s, key in enumerate(keys)}
    policy = np.eye(6)[three.labels["default"]]
    for s, (*key, third) in enumerate(
        zip(*(three.labels[k].tolist() for k in ("cell_0", "cell_1", "mover", "cell_2")), strict=True)
    ):
        if key[2] < 2 and tuple(key) in number and third == three.labels["cell_2"][three.start_state[0]]:
            policy[s] = best[number[tuple(key)]]
    policy[three.n_admissible == 0] = 0
    assert oracle.evaluate(three, policy).J == 1
    assert np.allclose(team.shapley_values(three, policy), [0.5, 0.5, 0])
    assert np.allclose(team.difference_returns(three, policy), [1, 1, 0])


def test_shapley_of_known_games():
    """The glove game (two left gloves, one right): 1/6, 1/6, 2/3. A sum game: each agent's own share."""
    members = [[i for i in range(3) if c >> i & 1] for c in range(8)]
    glove = [float(2 in m and (0 in m or 1 in m)) for m in members]
    assert np.allclose(team.shapley(glove), [1 / 6, 1 / 6, 2 / 3])
    assert np.allclose(team.shapley([sum((1, 2, 5)[i] for i in m) for m in members]), [1, 2, 5])
    assert np.allclose(team.shapley([7.0]), [])
    with pytest.raises(CreditEnvsError, match="game"):
        team.shapley([0, 1, 2])


@settings(max_examples=40, deadline=None)
@given(game=st.lists(st.floats(-5, 5), min_size=16, max_size=16))
def test_shapley_is_the_mean_over_orders(game):
    phi = np.zeros(4)
    for order in itertools.permutations(range(4)):
        present = 0
        for i in order:
            phi[i] += (game[present | 1 << i] - game[present]) / math.factorial(4)
            present |= 1 << i
    assert np.allclose(team.shapley(game), phi)


def random_team(seed, layers=()):
    """A small random table in which two agents move, at random, in no order."""
    table = make_random_table(seed, n_states=5, n_actions=3, horizon=3, discount=0.9)
    rng = np.random.default_rng(seed)
    default = [
        int(table.edge_action[e]) if n else 0 for e, n in zip(table.edge_start, table.n_admissible, strict=False)
    ]
    mover = rng.permutation(np.arange(table.n_states) % 2)
    labels = {"mover": mover, "default": np.array(default)}
    return table.replace(labels=labels, emission=Emission(np.arange(table.n_states), layers))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_credit_of_agents_by_enumeration(seed):
    table = random_team(seed).replace(inadmissible_reward=-0.3)
    policy = random_rows(seed, table.n_states, table.n_actions)
    values = oracle.evaluate(table, policy)
    stay = np.eye(table.n_actions)[table.labels["default"]]
    n = team.n_agents(table)
    for coalition, v in enumerate(team.coalition_values(table, policy)):
        present = (coalition >> table.labels["mover"] & 1).astype(bool)
        part = np.where(present[:, None], policy, stay)
        assert v == pytest.approx(expected(list(walks(table, by_state(part))), table.discount), abs=1e-12)
    assert team.shapley_values(table, policy).shape == (n,)
    for t in range(table.horizon):
        difference = team.difference_edges(values, t)
        for e, (s, a) in enumerate(zip(table.edge_state.tolist(), table.edge_action.tolist(), strict=True)):
            gap = action_value(table, by_state(policy), t, s, a) - action_value(
                table, by_state(policy), t, s, int(table.labels["default"][s])
            )
            assert difference[e] == pytest.approx(gap, abs=1e-12)
            assert team.difference_at(values, np.array(t), np.array(s), np.array(e)) == pytest.approx(gap, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_coalitions_of_policies_that_see_skins(seed):
    """A policy that reads the episode's skin: coalition values are averaged over skins."""
    table = random_team(seed, (Layer("skin", True, np.array([[0.3, 0.7]])),))
    rng = np.random.default_rng(seed)
    rows = np.repeat(table.mask, 2, axis=0) * rng.exponential(size=(table.n_obs, table.n_actions))
    policy = rows / np.maximum(rows.sum(axis=1, keepdims=True), 1e-300)
    stay = np.repeat(np.eye(table.n_actions)[table.labels["default"]], 2, axis=0)
    mover = np.repeat(table.labels["mover"], 2)
    for coalition, v in enumerate(team.coalition_values(table, policy)):
        part = np.where((coalition >> mover & 1).astype(bool)[:, None], policy, stay)
        paths = list(walks(table, by_obs(table, part), names=True))
        assert v == pytest.approx(expected(paths, table.discount), abs=1e-12)


@pytest.mark.parametrize(("agents", "slip"), [(2, 0.0), (2, 0.2), (3, 0.0)])
def test_advantages_of_a_round_add_up(agents, slip):
    """E[Σ_i γ^i A_i] over luck = Q(s, u) − V(s): the advantage of a joint action is shared out among the agents.

    That holds also where the horizon cuts a round.
    """
    table = dials.apply(BUILD(3, agents=agents, plates=1, keys=0, horizon_factor=2), slip=slip)
    table = table.replace(discount=0.9, reward_shift=np.linspace(-1, 1, table.horizon))
    policy = random_policy(table, 1)
    values = oracle.evaluate(table, policy)
    rng = np.random.default_rng(0)
    starts = rng.choice(np.flatnonzero((table.labels["mover"] == 0) & (table.n_admissible > 0)), 5)
    for t in (0, table.horizon - agents, table.horizon - 1):
        joint = team.round_values(values, t, starts)
        assert joint.shape == (5, *(6,) * agents)
        for row, s in enumerate(starts.tolist()):
            for actions in rng.integers(6, size=(6, agents)).tolist():
                total, places = 0.0, {s: 1.0}
                for i, a in enumerate(actions[: table.horizon - t]):
                    onward = {}
                    for state, chance in places.items():
                        edge = int(table.edge_of[state, a])
                        gain = values.advantage_at(np.array(t + i), np.array(state), np.array(edge))
                        total += 0.9**i * chance * float(gain)
                        for p, n, _, done in table.P[state][a]:
                            if not done:
                                onward[n] = onward.get(n, 0.0) + chance * p
                    places = onward
                assert joint[(row, *actions)] - values.V[t, s] == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("moves", ["in turn", "at once"])
def test_coma_by_enumeration(moves):
    """COMA's advantage of both agents against Q and π written out: here agents see, or don't see, the move before."""
    table = BUILD(3, plates=1, keys=0, goal="all", moves=moves, horizon_factor=3)
    policy = random_policy(table, 2, rows="look")
    values = oracle.evaluate(table, policy)
    pi = policy[table.emission.base]
    rng, t = np.random.default_rng(1), 4
    for s in rng.choice(np.flatnonzero((table.labels["mover"] == 0) & (table.n_admissible > 0)), 8).tolist():
        u, v = rng.integers(6, size=2).tolist()
        between = [table.P[s][a][0] for a in range(6)]
        if any(done for *_, done in between):
            continue

        def joint(a, b, between=between):
            [(_, n, r, done)] = table.P[between[a][1]][b]
            return r + (0 if done else values.V[t + 2, n])

        want = [
            joint(u, v) - sum(pi[s, a] * joint(a, v) for a in range(6)),
            joint(u, v) - sum(pi[between[u][1], b] * joint(u, b) for b in range(6)),
        ]
        assert np.allclose(team.coma(values, policy, t, s, (u, v)), want, atol=1e-12)
        # The last agent of a round has nobody after it: COMA's advantage is the advantage of its step.
        edge = table.edge_of[between[u][1], v]
        assert values.advantage_at(np.array(t + 1), np.array(between[u][1]), np.array(edge)) == pytest.approx(want[1])


def test_at_once_is_the_parallel_game():
    """Policies that see only the start of the round: J against dynamic programming over rounds and joint actions."""
    knobs = {"plates": 1, "keys": 0, "horizon_factor": 4}
    turns, rounds = BUILD(3, **knobs), BUILD(3, moves="at once", **knobs)
    policy = random_policy(rounds, 3, rows="look")

    def start_of(table):
        return np.flatnonzero((table.labels["mover"] == 0) & (table.n_admissible > 0))

    # Both tables list the states in which a round begins in the order of their placements.
    begin, same = start_of(turns), start_of(rounds)
    second = np.array([rounds.P[s][NAMES.index("stay")][0][1] for s in same])
    first_row, second_row = policy[rounds.emission.base[same]], policy[rounds.emission.base[second]]
    number = {s: i for i, s in enumerate(begin.tolist())}
    value = np.zeros(len(begin))
    for _ in range(turns.horizon // 2):
        new = np.zeros(len(begin))
        for i, s in enumerate(begin.tolist()):
            for a, b in itertools.product(range(6), repeat=2):
                [(_, n, r, done)] = turns.P[s][a]
                if not done:
                    [(_, n, r, done)] = turns.P[n][b]
                new[i] += first_row[i, a] * second_row[i, b] * (r + (0 if done else value[number[n]]))
        value = new
    by_rounds = value[number[int(turns.start_state[0])]]
    exact = oracle.evaluate(rounds, policy)
    assert exact.context_values[0] == pytest.approx(by_rounds, rel=1e-10)
    even = [oracle.evaluate(t, oracle.uniform(t)).J for t in (turns, rounds)]
    assert even[0] == pytest.approx(even[1], rel=1e-10)


@pytest.mark.parametrize("knobs", [{}, {"moves": "at once"}, {"agents": 3, "plates": 1, "keys": 0, "start": "apart"}])
def test_views_tell_looks_apart(knobs):
    table = BUILD(5, **knobs)
    states = np.unique(table.emission.base, return_index=True)[1]
    assert len(set(table.view("text").rows(states))) == states.size
    assert len({row.tobytes() for row in table.view("grid").rows(states)}) == states.size
    some = states[::53]
    assert len({row.tobytes() for row in table.view("rgb").rows(some)}) == some.size
    # States that look alike are shown alike.
    alike = np.flatnonzero(table.emission.base == table.emission.base[np.flatnonzero(table.labels["mover"] == 1)[0]])
    assert len(set(table.view("text").rows(alike))) == 1


def test_planes_and_words_of_the_start():
    table = BUILD(7)
    plane = table.view("grid").rows(table.start_state)[0]
    assert plane[1, 1].tolist() == [2, 0, 0b11, 1]
    assert (plane[1, 3, 0], plane[1, 6, 0], plane[1, 8, 0]) == (SHUT, LOCKED, GOAL)
    assert plane[2, 1, 1] == plane[2, 5, 1] == plane[1, 3, 1] == 5
    holding = np.flatnonzero((table.labels["progress"] == 2) & (table.labels["mover"] == 0))[:1]
    assert table.view("grid").rows(holding)[0][..., 3].max() >= 16
    words = table.view("text").rows(holding)[0]
    assert words.startswith("It is agent 1's move. Agent 1 is at column ")
    assert "The purple door to room 3, at column 6, row 1, is locked; agent 2 has its key." in words


def test_labels():
    table = BUILD(7)
    labels = table.labels
    assert {"turn", "segment", "anchor", "mover", "default", "progress", "cell_0", "cell_1"} == set(labels)
    assert table.action_names[labels["default"][0]] == "stay"
    assert labels["segment"][table.start_state[0]] == 0
    # Key in hand, door open, first and last agent through the plate door, both at the goal.
    assert labels["segment"][table.successor[table.terminal]].tolist() == [6] * int(table.terminal.sum())
    hidden = BUILD(8, permute=True)
    stay = team.default_edges(hidden)
    playing = np.flatnonzero(stay >= 0)
    after = hidden.successor[stay[playing]]
    for name in ("progress", "cell_0", "cell_1"):
        assert np.array_equal(hidden.labels[name][after], hidden.labels[name][playing])
    assert len({int(BUILD(i, permute=True).labels["default"][0]) for i in range(40)}) == 6


def test_pools_and_dials_keep_movers_and_defaults():
    pool = union([BUILD(i, permute=True, horizon_factor=2) for i in range(3)])
    parts = [BUILD(i, permute=True, horizon_factor=2) for i in range(3)]
    each = [team.coalition_values(t, oracle.uniform(t)) for t in parts]
    assert np.allclose(team.coalition_values(pool, oracle.uniform(pool)), np.mean(each, axis=0), rtol=1e-12)
    table = make_table("credit/Team-v0", plates=1, keys=0, slip=0.1, horizon=30)
    game = team.coalition_values(table, oracle.uniform(table))
    assert game[0] >= 0
    assert team.shapley(game).sum() == pytest.approx(game[-1] - game[0])


@pytest.mark.parametrize("knobs", [{}, {"moves": "at once"}, {"agents": 3, "plates": 1, "keys": 0}])
def test_contract(knobs):
    check_table(BUILD(2, **knobs))


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"agents": 1}, "agents=1: expected an integer in [2, 4]"),
        ({"agents": 5}, "agents=5: expected an integer in [2, 4]"),
        ({"goal": "al"}, "goal='al': expected one of 'all', 'any'; did you mean 'all'?"),
        ({"moves": "at onc"}, "did you mean 'at once'?"),
        (
            {"agents": 4, "room_size": 3},
            "agents=4, plates=1, keys=1, room_size=3: 4243686 placements, expected at most",
        ),
    ],
)
def test_wrong_knobs_are_named(knobs, message):
    with pytest.raises(CreditEnvsError, match=re.escape(message)):
        BUILD(0, **knobs)


def test_tables_without_movers_or_defaults_are_named():
    plain = FAMILIES["Pivots"].build(0)
    with pytest.raises(CreditEnvsError, match="expected a label 'mover'"):
        team.coalition_values(plain, oracle.uniform(plain))
    alone = plain.replace(labels={**plain.labels, "mover": plain.labels["turn"] * 0})
    with pytest.raises(CreditEnvsError, match="default=None: Pivots has no label 'default'"):
        team.shapley_values(alone, oracle.uniform(alone))
    with pytest.raises(CreditEnvsError, match="default=7: inadmissible in"):
        team.shapley_values(alone, oracle.uniform(alone), default=7)
    assert team.shapley_values(alone, oracle.uniform(alone), default=0).shape == (1,)


def test_instances_differ():
    maps = {BUILD(i).view("ansi").rows(BUILD(i).start_state)[0] for i in range(50)}
    assert len(maps) > 45


def credit_of_agents(table):
    """Shapley values and difference returns as lines of text."""
    lines = ["Agents: v(C), the expected return when all others stay; Shapley value; J − J with the agent staying."]
    for name, policy in (("uniform", oracle.uniform(table)), ("optimal", best_policy(table))):
        game = team.coalition_values(table, policy)
        who = ["nobody", "agent 1", "agent 2", "both"]
        lines.append(f"  {name}: " + ", ".join(f"v({w}) {v:.4f}" for w, v in zip(who, game, strict=True)))
        rows = zip(team.shapley(game), team.difference_returns(table, policy), strict=True)
        lines += [f"    agent {i + 1}: Shapley {phi:.4f}, difference {d:.4f}" for i, (phi, d) in enumerate(rows)]
    return "\n".join([*lines, ""])


def test_golden_transcript():
    table = BUILD(7)
    check_golden("team", transcript(table, drawn=(0, 8, 16)) + "\n" + credit_of_agents(table))
