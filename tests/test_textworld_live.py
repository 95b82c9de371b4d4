"""Tables of TextWorld games against the live engine, word for word. Skipped where TextWorld is not installed."""

import importlib.util
import io
import json
import re
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from credit_envs.cli import main
from credit_envs.errors import CreditEnvsError, MissingExtraError, NotEnumerableError
from credit_envs.families import FAMILIES, household
from credit_envs.families.household_author import author
from credit_envs.families.household_pack import compile_plan
from credit_envs.families.household_plan import draw_plan
from credit_envs.families.household_rules import USED
from credit_envs.families.household_words import SKINS
from credit_envs.importers import import_textworld, textworld_engine
from credit_envs.importers.textworld_logic import GOES_ON, LOST, WON, Logic, search
from credit_envs.oracle import optimal
from credit_envs.table.storage import load
from credit_envs.table.validate import validate

LIVE = importlib.util.find_spec("textworld") is not None
live = pytest.mark.skipif(
    not LIVE, reason="textworld is not installed (pip install 'credit-envs[text]'; needs a C compiler)"
)


pytestmark = pytest.mark.filterwarnings("ignore:Game .* is not fully supported")  # jericho can't tell scores itself


@pytest.mark.parametrize("missing", ["textworld", "jericho"])
def test_a_missing_engine_names_the_extra_and_shipped_games_play(tmp_path, monkeypatch, missing):
    """Whatever is installed here: a None in ``sys.modules`` makes an import fail as a missing package does."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "textworld"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "textworld").mkdir()
    (tmp_path / "textworld" / "__init__.py").write_text("import jericho\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, missing, None)
    (tmp_path / "game.json").write_text("{}")
    with pytest.raises(
        MissingExtraError,
        match=rf"{missing} is not installed: pip install 'credit-envs\[text\]'.*C compiler.*shipped games play without it",
    ):
        import_textworld(tmp_path / "game.z8")
    env = gymnasium.make("credit/Household-v0", instance=1)
    shown, info = env.reset(seed=0)
    assert "You are carrying" in shown
    assert env.step(int(np.flatnonzero(info["action_mask"])[0]))[0]


def plain(text):
    """Text as Household shows it: without empty lines."""
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def bag(text):
    return sorted(re.findall(r"\w+", text or ""))


def start_live(game, folder):
    """An independent player of a game: TextWorld's own environment."""
    import textworld

    story = textworld_engine.compile_game(game, folder)
    game.save(str(story.with_suffix(".json")))
    infos = textworld.EnvInfos(description=True, inventory=True, score=True)
    return textworld.start(str(story), request_infos=infos)


@live
def test_a_game_compiled_again_is_the_shipped_one():
    packed = compile_plan(draw_plan("mixed", "loop", 4, 0))
    shipped = household.read_header("mixed", "loop", 4)["games"][0]
    assert (packed.digest, packed.optimal) == (shipped["digest"], shipped["optimal"])


@live
@pytest.mark.parametrize(
    ("task", "map_name", "stages", "skin", "seed"),
    [
        ("prepare", "hub", 4, "home", 0),
        ("two", "row", 4, "ship", 1),
        ("mixed", "loop", 12, "tale", 1),
        ("look", "hub", 60, "home", 0),
    ],
)
def test_live_play_equals_the_table_word_for_word(tmp_path, task, map_name, stages, skin, seed):
    """A random walk, then optimal play to the end, in TextWorld's own environment."""
    table = FAMILIES["Household"].build(seed, task=task, map=map_name, stages=stages, skin=skin, horizon_factor=20)
    texts = table.view("text").rows(np.arange(table.n_states))
    engine = start_live(author(draw_plan(task, map_name, stages, seed), skin), tmp_path)
    shown = engine.reset()
    rng, state, steps = np.random.default_rng(0), 0, 0
    best = _way_home(table)

    def compare():
        assert plain(f"{shown.description}\n{shown.inventory}") == texts[state]

    compare()
    while table.n_admissible[state]:
        first, last = table.edge_start[state : state + 2]
        edge = int(rng.integers(first, last)) if steps < 150 else best[state]
        shown, _, done = engine.step(table.action_names[table.edge_action[edge]])
        state, steps = int(table.successor[edge]), steps + 1
        compare()
        assert done == table.terminal[edge]
    assert shown.score == engine.state.get("max_score", shown.score)
    engine.close()


def _way_home(table):
    """The edge of a shortest way to the end, per state."""
    steps = np.where(table.n_admissible == 0, 0.0, np.inf)
    best = np.full(table.n_states, -1)
    while np.isinf(steps).any():
        through = 1 + steps[table.successor]
        order = np.lexsort((through, table.edge_state))
        first = order[np.unique(table.edge_state[order], return_index=True)[1]]
        states = table.edge_state[first]
        steps[states], best[states] = through[first], first
    return best


@live
@pytest.mark.parametrize("task", ["prepare", "two", "look"])
def test_our_matcher_finds_the_actions_that_textworld_finds(task):
    """On states of random walks in TextWorld's own logic."""
    game = author(draw_plan(task, "loop", 12, 1), "home")
    logic = Logic(game, USED)
    state, facts, rng = game.world.state.copy(), logic.start, np.random.default_rng(1)
    rules = [rule for name, rule in sorted(game.kb.logic.rules.items()) if name.startswith(("go/", "open/c", "house/"))]
    names = {key: info.name for key, info in game.infos.items()}
    for _ in range(40):
        theirs = {}
        for action in state.all_applicable_actions(rules):
            theirs[action.format_command({v.name: names.get(v.name, v.name) for v in action.variables})] = action
        ours = logic.admissible(facts)
        assert set(ours) == set(theirs)
        command = sorted(ours)[rng.integers(len(ours))]
        state.apply(theirs[command])
        facts = ours[command]
        everything = {(f.name, *(v.name for v in f.arguments)) for f in state.facts}
        assert facts <= everything
        assert everything == facts | logic.static


@live
def test_skins_have_one_logic():
    plan = draw_plan("mixed", "row", 4, 2)
    logics = [Logic(author(plan, skin), USED) for skin in SKINS]
    graph = search(logics[0], 1000)
    for facts, status in zip(graph.facts, graph.status, strict=True):
        reached = [sorted(map(sorted, logic.admissible(facts).values())) for logic in logics]
        assert status != GOES_ON or reached[0] == reached[1] == reached[2]


@live
def test_stock_order_of_things_is_no_function_of_the_state(monkeypatch):
    """Without the fixed order the same state prints two lists, and the compiler says so."""
    monkeypatch.setattr(textworld_engine, "IN_ORDER", "")
    game = author(draw_plan("two", "row", 4, 0), "home")
    with pytest.raises(NotEnumerableError, match="what is shown is no function of the state"):
        textworld_engine.narrate(game, search(Logic(game, USED), 2000))


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    """A game of TextWorld's own generator, with its z8 and json files."""
    import textworld

    options = textworld.GameOptions()
    options.seeds, options.nb_rooms, options.nb_objects, options.quest_length = 7, 3, 4, 3
    options.path = str(tmp_path_factory.mktemp("stock") / "stock.z8")
    path, _ = textworld.make(options)
    return Path(path)


RULES = ("go/*", "open/*", "unlock/*", "take*", "insert", "put", "eat", "drop")


@live
def test_import_of_a_stock_game_plays_like_the_game_itself(stock):
    """The file as it is lists things by their history, so texts agree as bags of words."""
    import textworld

    table = import_textworld(stock, rules=RULES)
    validate(table)
    assert table.reward.sum() >= 1
    engine = textworld.start(str(stock), request_infos=textworld.EnvInfos(description=True, inventory=True))
    texts = table.view("text").rows(np.arange(table.n_states))
    rng = np.random.default_rng(0)
    for _ in range(4):
        shown, state = engine.reset(), 0
        for _ in range(25):
            assert bag(f"{shown.description} {shown.inventory}") == bag(texts[state])
            edge = int(rng.integers(*table.edge_start[state : state + 2]))
            shown, _, done = engine.step(table.action_names[table.edge_action[edge]])
            state = int(table.successor[edge])
            assert done == table.terminal[edge]
            if done:
                break
    engine.close()


@live
def test_import_refuses_what_cannot_be_a_table(stock, tmp_path):
    with pytest.raises(
        NotEnumerableError, match=r"more than max_states=20 states.*places.*leave out rules such as drop"
    ):
        import_textworld(stock, max_states=20)
    with pytest.raises(CreditEnvsError, match=r"can't be won: \d+ states reached with \d+ commands, best score 0 of 1"):
        import_textworld(stock, rules=("go/*",))
    with pytest.raises(CreditEnvsError, match=r"rules=\['fly'\]: no rule of the game matches; it has .*go/east"):
        import_textworld(stock, rules=("fly",))
    with pytest.raises(CreditEnvsError, match=r"max_states=1: expected an integer in \[2"):
        import_textworld(stock, max_states=1)
    (tmp_path / "odd.json").write_text(json.dumps({"version": 1}))
    with pytest.raises(CreditEnvsError, match="no TextWorld game"):
        import_textworld(tmp_path / "odd.z8")


@live
def test_a_saved_household_game_imports_with_its_own_rules(tmp_path):
    """The file carries rules and Inform code; two errands are worth a half each, and nothing else differs."""
    game = author(draw_plan("mixed", "loop", 4, 0), "home")
    game.save(str(tmp_path / "errands.json"))
    table = import_textworld(tmp_path / "errands.json", rules=USED)
    shipped = FAMILIES["Household"].build(0, task="mixed", map="loop")
    assert (table.n_states, table.n_edges) == (shipped.n_states, shipped.n_edges)
    assert np.bincount((table.reward * 2).astype(int)).size == 2
    assert optimal(table).J == 1
    ours = {plain(text) for text in table.view("text").rows(np.arange(table.n_states))}
    assert ours == set(shipped.view("text").rows(np.arange(shipped.n_states)))


@live
def test_the_command_compiles_a_game_file_that_show_and_play_read(stock, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["compile", str(stock), "--output", "stock.npz", "--rules", *RULES]) == 0
    text = capsys.readouterr().out
    table = load(tmp_path / "stock.npz")
    assert f"{stock}: {table.n_states:,} states, {table.n_edges:,} state-action pairs" in text
    assert table.fingerprint == import_textworld(stock, rules=RULES).fingerprint
    assert re.search(r"optimal length +\d+", text)
    assert "revisit rate" in text
    monkeypatch.setattr("sys.stdin", io.StringIO("look under the bed\nq\n"))
    assert main(["play", "stock.npz"]) == 0
    assert "'look under the bed' is no move; nearest: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["game.z8"], "no such file game.json"),
        (["game.json", "--checkpoint", "x"], "checkpoint=PosixPath('x'): game.json is imported without it"),
        (
            ["FrozenLake-v1", "--rules", "go/*"],
            "rules=('go/*',): FrozenLake-v1 is imported without it; expected one of",
        ),
    ],
)
def test_the_command_refuses_what_no_importer_reads(argv, message, capsys, tmp_path):
    assert main(["compile", *argv, "--output", str(tmp_path / "x.npz")]) == 2
    assert message in capsys.readouterr().err


def test_import_names_a_missing_file(tmp_path):
    with pytest.raises(CreditEnvsError, match=r"no such file nothing\.json"):
        import_textworld(tmp_path / "nothing.z8")


@live
def test_a_won_game_is_worth_one():
    game = author(draw_plan("place", "hub", 4, 0), "home")
    graph = search(Logic(game, USED), 1000)
    assert {graph.score[s] for s, status in enumerate(graph.status) if status == WON} == {graph.max_score} == {2}


def test_what_the_interpreter_prints_is_read_without_its_counters():
    raw = (
        "You put the mug on the shelf.\n\n\nYour score has just gone up by one point.\n\n"
        "<description>\n-= Study =-\nThe shelf holds a mug. \n\n</description><inventory>\nYou are carrying nothing.\n"
        "</inventory><score>\n1\n</score><moves>\n7\n</moves>\n\n                    *** The End ***\n\n"
        "You scored 1 out of a possible 1, in 7 turns.\n\n>                    -= Study =-1/7"
    )
    shown = textworld_engine._read(raw)
    assert shown.feedback.endswith("*** The End ***\n\nYou scored 1 out of a possible 1.")
    assert shown.feedback.startswith("You put the mug on the shelf.")
    assert "1/7" not in shown.feedback
    assert (shown.description, shown.inventory) == ("-= Study =-\nThe shelf holds a mug.", "You are carrying nothing.")
    assert (shown.score, shown.status) == (1, WON)
    lost = textworld_engine._read("You eat it.\n\n*** You lost! ***\n")
    assert (lost.description, lost.score, lost.status) == (None, None, LOST)
