"""Household: shipped games against paths counted from their plans, and against what their words promise."""

import itertools
import re
import subprocess
import sys

import networkx
import numpy as np
import pytest
from transcripts import check_golden, transcript

from credit_envs import oracle
from credit_envs.errors import CreditEnvsError, TableError
from credit_envs.faces.single import TabularEnv
from credit_envs.families import FAMILIES, household
from credit_envs.families.household_pack import GAMES, Packed, commands
from credit_envs.families.household_plan import APPLIANCES, CLOSED, MAPS, SIZE, STAGES, TASKS, draw_plan, joins
from credit_envs.families.household_words import SKINS, draw_words
from credit_envs.registry import make_table
from credit_envs.table.build import union
from credit_envs.table.validate import validate
from credit_envs.testing import check_table

BUILD = FAMILIES["Household"].build
# Changing this number means a new version of the environment.
FINGERPRINT = "ace49e5dfbae1268b459a755bf95b2186e69d0df580d0553420911e3a513c9be"
SETTINGS = list(itertools.product(TASKS, MAPS, STAGES))
QUICK = [s for s in SETTINGS if s[2] < 60]


def solution_length(plan):
    """Commands of the shortest solution, counted on the map: walk, open what is closed, take, put, treat."""
    walk = dict(networkx.all_pairs_shortest_path_length(networkx.Graph([edge[:2] for edge in joins(plan)])))
    room = {role: plan.rooms.index(r) for role, r in plan.place_room.items()}
    lies, opened = dict(enumerate(plan.thing_place)), set()
    here, total, number = plan.rooms.index(plan.start), 0, 0

    def reach(role):
        nonlocal here, total
        total += walk[here][room[role]] + (role in CLOSED and role not in opened)
        opened.update({role} & set(CLOSED))
        here = room[role]

    while plan.steps[number].kind != "end":
        step = plan.steps[number]
        if step.kind == "two":
            # The first one's way starts where one stands, the second one's at the spot; all other ways are the same.
            start, end = walk[here], walk[room[step.spot]]
            first = min(step.things, key=lambda thing: start[room[lies[thing]]] - end[room[lies[thing]]])
            stops = [(thing, step.spot) for thing in (first, *(t for t in step.things if t != first))]
            number = plan.steps[step.following[0]].following[0]
        else:
            (thing,) = step.things
            stops = [(thing, APPLIANCES[step.kind])] if step.kind in APPLIANCES else []
            stops.append((thing, step.spot))
            number = step.following[0]
        for thing, spot in stops:
            reach(lies[thing])
            if lies[thing] != spot:
                total += 1  # take
                reach(spot)
                total += 1  # put, or examine
            lies[thing] = spot
            total += step.kind in APPLIANCES and spot != step.spot  # treat
    return total


@pytest.mark.parametrize(("task", "map_name", "stages"), SETTINGS)
def test_shortest_solutions_are_those_counted_on_the_map(task, map_name, stages):
    header = household.read_header(task, map_name, stages)
    assert len(header["games"]) == GAMES[stages]
    counted = [solution_length(draw_plan(task, map_name, stages, seed)) for seed in range(GAMES[stages])]
    assert [game["optimal"] for game in header["games"]] == counted
    assert header["longest"] == max(counted)


@pytest.mark.parametrize(("task", "map_name", "stages"), SETTINGS)
def test_every_shipped_game(task, map_name, stages):
    """Arrays are valid, every state can still be won, and a look tells which commands are admissible."""
    for seed in range(GAMES[stages]):
        table = BUILD(seed, task=task, map=map_name, stages=stages)
        validate(table)
        back = [[] for _ in range(table.n_states)]
        for a, b in zip(table.edge_state.tolist(), table.successor.tolist(), strict=True):
            back[b].append(a)
        won = set(np.flatnonzero(table.n_admissible == 0).tolist())
        frontier = list(won)
        while frontier:
            new = {a for b in frontier for a in back[b]} - won
            won |= new
            frontier = list(new)
        assert len(won) == table.n_states

        mask, base = table.mask, table.emission.base
        first = np.unique(base, return_index=True)[1]
        assert np.array_equal(mask, mask[first[base]])
        text = table.view("text").rows(first)
        assert len(set(text)) == table.emission.n_base
        assert all(re.fullmatch(r"[ -~\n]*", row) and "To do: " in row for row in text)
        stage = table.labels["stage"]
        assert stage[0] == 0
        assert set(stage.tolist()) == set(range(stages + 1))
        assert np.array_equal(stage == stages, table.n_admissible == 0)


@pytest.mark.parametrize(("task", "map_name", "stages"), QUICK)
def test_skins_share_the_table_and_no_sentence(task, map_name, stages):
    tables = [BUILD(3, task=task, map=map_name, stages=stages, skin=skin) for skin in SKINS]
    assert len({table.fingerprint for table in tables}) == 1
    looks = [set(table.view("text").rows(np.arange(table.n_states))) for table in tables]
    assert all(a.isdisjoint(b) for a, b in itertools.combinations(looks, 2))


@pytest.mark.parametrize("skin", SKINS)
def test_commands_are_those_of_the_plan_in_another_order(skin):
    for (task, map_name, stages), seed in itertools.product(QUICK, range(2)):
        plan = draw_plan(task, map_name, stages, seed)
        named = commands(plan, draw_words(plan, SKINS[skin]))
        table = BUILD(seed, task=task, map=map_name, stages=stages, skin=skin)
        assert sorted(table.action_names) == sorted(named)
        assert len(set(named)) == len(named)


def test_seeds_choose_the_game_and_the_order_of_commands():
    same, other = BUILD(1), BUILD(1 + GAMES[4])
    assert sorted(same.action_names) == sorted(other.action_names)
    assert same.action_names != other.action_names
    names = np.argsort(same.action_names), np.argsort(other.action_names)
    assert np.array_equal(same.mask[:, names[0]], other.mask[:, names[1]])
    assert sorted(BUILD(0).action_names) != sorted(same.action_names)
    pool = union([BUILD(seed) for seed in range(6)])
    validate(pool)
    assert pool.n_contexts == 6


def test_the_menu_numbers_the_admissible_commands():
    table = BUILD(0)
    start = table.view("menu").rows(np.array([0]))[0]
    (way,) = np.flatnonzero(table.mask[0])
    assert start == f"{table.view('text').rows(np.array([0]))[0]}\n[{way}] go north"


@pytest.mark.parametrize("task", TASKS)
def test_stage_reward_pays_each_stage_once(task):
    """The return is 1 for optimal play whatever the share, and the share of the stages reached for any other play."""
    table = BUILD(2, task=task, stage_reward=1.0, stages=12)
    assert abs(oracle.optimal(table).J - 1) < 1e-9
    assert abs(oracle.optimal(BUILD(2, task=task, stage_reward=0.5)).J - 1) < 1e-9
    assert oracle.optimal(BUILD(2, task=task)).J == 1
    env, rng = TabularEnv(table), np.random.default_rng(0)
    env.reset(seed=0)
    total, over = 0.0, False
    while not over:
        first, last = table.edge_start[env.state : env.state + 2]
        _, reward, over, _, _ = env.step(int(rng.choice(table.edge_action[first:last])))
        total += reward
        assert total == pytest.approx(table.labels["stage"][env.state] / 12)


def test_the_last_commands_credit_by_hand():
    """Two steps before the horizon, at the last spot with the thing in hand: only ending it at once or next time pays.

    With n admissible commands of which one ends the errand, and staying put impossible, uniform play is worth 1/n plus
    what the moves that can be undone at once are worth; with one step left it is exactly 1/n, and the credit of the
    right command 1 − 1/n.
    """
    table = BUILD(0, task="place")
    values = oracle.evaluate(table, oracle.uniform(table))
    edge = int(np.flatnonzero(table.terminal)[0])
    state = int(table.edge_state[edge])
    n = int(table.n_admissible[state])
    t = table.horizon - 1
    assert values.V[t, state] == pytest.approx(1 / n, abs=1e-12)
    credit = float(values.advantage_at(np.array(t), np.array(state), np.array(edge)))
    assert credit == pytest.approx(1 - 1 / n, abs=1e-12)


def test_plans_have_the_stages_that_they_promise():
    for task, map_name, stages in SETTINGS:
        for seed in range(8):
            plan = draw_plan(task, map_name, stages, seed)
            notes = {step.note: step.kind for step in plan.steps}
            assert sum(SIZE.get(kind, 0) for kind in notes.values()) == stages == plan.steps[-1].stage
    kinds = {step.kind for step in draw_plan("mixed", "hub", 60, 0).steps}
    assert {"place", "look", "two", "end"} < kinds
    assert kinds & set(APPLIANCES)


def test_sixty_stages_are_long():
    for task in TASKS:
        assert all(game["optimal"] > 90 for game in household.read_header(task, "hub", 60)["games"])


def test_contract():
    check_table(BUILD(5, task="mixed", map="loop", stages=12, skin="tale"))
    check_table(make_table("Household", instance=1, task="look", slip=0.1, paraphrases=3))


def test_golden_transcript():
    check_golden("household", transcript(BUILD(0)))


def test_golden_fingerprint():
    assert BUILD(7).fingerprint == FINGERPRINT


def test_playing_imports_no_textworld():
    code = (
        "import sys, gymnasium, credit_envs; e = gymnasium.make('credit/Household-v0'); e.reset(seed=0); e.step(0);"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'textworld', 'jericho', 'spacy', 'tatsu'}))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_shipped_files_are_small_and_complete():
    sizes = {path.name: path.stat().st_size for path in household.FOLDER.glob("household-*.npz")}
    assert set(sizes) == {household.file_name(*setting) for setting in SETTINGS}
    assert sum(sizes.values()) < 3_000_000


@pytest.mark.parametrize(("task", "map_name"), list(itertools.product(TASKS, MAPS)))
def test_files_hold_what_was_compiled(task, map_name):
    """The digests that the compiler noted, which the live tests compare with games compiled again."""
    for stages in STAGES:
        path = household.FOLDER / household.file_name(task, map_name, stages)
        with np.load(path, allow_pickle=False) as stored:
            for number, noted in enumerate(household.read_header(task, map_name, stages)["games"]):
                arrays = {name: stored[f"{number}:{name}"] for name in ("admissible", "edges", "columns", "looks")}
                words = {skin: stored[f"{number}:{skin}"].tobytes().decode().split("\x1e") for skin in SKINS}
                texts = {skin: tuple(part.split("\x00") for part in parts) for skin, parts in words.items()}
                assert Packed(**arrays, texts=texts, optimal=noted["optimal"]).digest == noted["digest"]


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        (
            {"task": "plce"},
            "task='plce': expected one of 'place', 'look', 'prepare', 'two', 'mixed'; did you mean 'place'?",
        ),
        ({"stages": 5}, "stages=5: expected one of 4, 12, 60"),
        ({"skin": "castle"}, "skin='castle': expected one of 'home', 'ship', 'tale'"),
        ({"stage_reward": 2}, "stage_reward=2: expected a number in [0, 1]"),
        ({"rooms": 5}, "unknown knob of Household 'rooms'"),
    ],
)
def test_wrong_knobs_are_named(knobs, message):
    with pytest.raises(CreditEnvsError, match=re.escape(message)):
        BUILD(0, **knobs)


def test_missing_and_damaged_files_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(household, "FOLDER", tmp_path)
    household.read_header.cache_clear()
    with pytest.raises(TableError, match=r"household-place-hub-4\.npz: this game is not shipped; `python -m"):
        BUILD(0, task="place")
    (tmp_path / "household-place-hub-4.npz").write_bytes(b"PK nonsense")
    with pytest.raises(TableError, match=r"household-place-hub-4\.npz: damaged"):
        BUILD(0, task="place")
    household.read_header.cache_clear()
