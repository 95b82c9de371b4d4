"""Playing by hand, and pictures in the terminal."""

from __future__ import annotations

import io
import re

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_envs import oracle, registry
from credit_envs.cli import main
from credit_envs.cli.pictures import blocks, shrunk
from credit_envs.cli.play import Game
from credit_envs.errors import CreditEnvsError
from credit_envs.faces import render


@pytest.fixture
def said(monkeypatch, capsys):
    """Plays with a script and returns what was printed."""

    def run(script, *argv):
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(script) + "\n"))
        assert main(["play", *argv]) == 0
        return capsys.readouterr().out

    return run


def right(game):
    return game.names[game.soonest]


def wrong(game):
    return next(n for n, a in zip(game.names, game.advantages[0], strict=True) if a < -1e-9)


def row(text, *words):
    """Returns the numbers of a printed row, from its first words on."""
    line = next(line for line in text.splitlines() if line.split()[: len(words)] == list(words))
    return [float(x) for x in re.findall(r"[-+]?\d[\d.]*", line.split(words[-1], 1)[1])]


PIVOTS = ("Pivots", "length=2", "actions=2", "fillers=0")


def test_a_game_with_known_credit(said):
    game = Game(registry.make_table("Pivots", length=2, actions=2, fillers=0))
    first = right(game)
    game.play(game.find(first))
    second = wrong(game)
    text = said([first, second], *PIVOTS)
    # Uniform play is worth 1/4 at first, 1/2 after a right choice: +1/4, then −1/2. Optimal play loses 1 by the second.
    assert row(text, "0", first) == [0, 0, 0.25, 0]
    assert row(text, "1", second) == [0, -1, -0.5, 0]
    assert "return 0 after 2 steps" in text
    assert "= 1 of optimal play -1 skill 0 luck" in text
    assert f"lost most at step 1: '{second}' cost 1" in text


def test_a_won_game_by_numbers(said):
    game, numbers = Game(registry.make_table("Pivots")), []
    while not game.over:
        numbers.append(f"[{game.actions[game.soonest]}]" if len(numbers) % 2 else str(game.actions[game.soonest]))
        game.play(game.find(numbers[-1]))
    text = said(numbers, "Pivots")
    assert "return 1 after 16 steps (optimal play: 16)" in text
    assert "no move could have been better" in text


def test_keys(said):
    text = said(["?", "u", "B", "undo", "zzz", "7", "?", "quit"], *PIVOTS)
    assert text.count("ends soonest") == 2
    assert "nothing to undo: no move was made" in text
    assert "1 > undo\n" in text
    assert "'zzz' is no move; nearest: 'A', 'B'" in text
    assert "7: expected one of 0, 1" in text
    assert text.rstrip().endswith("no move was made")


def test_advantages_at_every_step_and_the_end_of_input(said):
    text = said(["A"], *PIVOTS, "--advantages")
    assert text.count("ends soonest") == 2
    assert "return 0 after 1 steps" in text
    assert "from here on under optimal play" in text


def test_words_that_are_no_move_change_nothing():
    game = Game(registry.make_table("Household"))
    before, names = game.here, game.names
    with pytest.raises(CreditEnvsError, match=f"is no move; nearest: '{names[0]}'"):
        game.find(names[0] + "x")
    elsewhere = next(name for name in game.table.action_names if name not in names)
    with pytest.raises(CreditEnvsError, match=f"'{elsewhere}' is not possible here; nearest: "):
        game.find(elsewhere)
    assert (game.here, game.names, game.moves) == (before, names, [])
    assert game.find(f"  {names[0].upper()} ") == game.actions[0]


TABLES = {
    "lake": lambda: registry.make_table("FrozenLake"),
    "taxi": lambda: registry.make_table("Taxi", slip=0.2),
    "renamed": lambda: registry.make_table("KeyRooms", cue=0.5, slip=0.3, horizon=25, stage_reward=0.2),
    "discounted": lambda: registry.make_table("KeyToDoor").replace(discount=0.9),
    "cut": lambda: registry.make_table("CliffWalking", horizon=9, density=0.5),
}


@pytest.fixture(scope="module")
def tables():
    return {name: build() for name, build in TABLES.items()}


@pytest.mark.parametrize("name", TABLES)
@given(seed=st.integers(0, 1 << 40))
@settings(max_examples=8, deadline=None)
def test_the_return_is_what_was_expected_plus_skill_plus_luck(tables, name, seed):
    game, rng = Game(tables[name], seed), np.random.default_rng(seed)
    while not game.over and len(game.moves) < 30:
        best, even = game.advantages
        assert best[game.soonest] == pytest.approx(0, abs=1e-9)
        assert best.max() <= 1e-9
        assert even.mean() == pytest.approx(0, abs=1e-9)
        game.play(int(rng.choice(game.actions)))
    rest = game.table.discount ** len(game.moves) * game.value
    returned = game.total([m.reward for m in game.moves]) + rest
    skill, luck = game.total([m.advantage[0] for m in game.moves]), game.total([m.luck for m in game.moves])
    assert returned == pytest.approx(game.expected + game.start_luck + skill + luck, abs=1e-9)
    assert game.expected == pytest.approx(oracle.optimal(game.table).J)
    assert skill <= 1e-9


def test_optimal_play_on_renamed_actions_follows_the_dial(tables):
    game = Game(registry.make_table("KeyRooms", cue=0.5), 3)
    codes = set()
    while not game.over:
        codes.add(game.here.code)
        game.play(game.find(right(game)))
    assert len(codes) > 2
    assert game.total([m.reward for m in game.moves]) == 1
    assert len(game.moves) == round(oracle.optimal(game.table).length)


def test_what_only_the_picture_tells_is_told(said):
    text = said(["1"] * 30, "KeyRooms", "cue=0.5", "horizon=30")
    assert 0 < text.count("The dial is hidden") == text.count("In the picture, the dial is set to") < 31
    assert "In the picture" not in said(["1"] * 5, "KeyRooms", "cue=0")


def test_undo_keeps_the_luck():
    game = Game(registry.make_table("FrozenLake"), 11)
    trail = []
    for _ in range(5):
        trail.append((game.here, game.text))
        if not game.over:
            game.play(game.actions[1])
    made = list(game.moves)
    while game.moves:
        game.undo()
    assert (game.here, game.text) == trail[0]
    for move in made:
        game.play(game.find(move.name))
    assert game.moves == made


@pytest.mark.parametrize("entry", registry.ENTRIES, ids=lambda entry: entry.id)
def test_every_environment_can_be_played(entry, said):
    game = Game(registry.make_table(entry.id))
    first = game.names[0]
    game.play(game.find(first))
    text = said([first, "?", "u", first, *game.names[-1:], "q"], entry.id)
    assert text.count("optimal play brings") == 1
    assert "of optimal play" in text


@pytest.mark.parametrize("entry", registry.ENTRIES, ids=lambda entry: entry.id)
def test_every_environment_can_be_played_to_its_end(entry, said):
    """By numbers in brackets, which name no token; what is printed last is the exact account of a perfect game."""
    game, moves = Game(registry.make_table(entry.id)), []
    while not game.over:
        moves.append(f"[{game.actions[game.soonest]}]")
        game.play(game.find(moves[-1]))
    text = said(moves, entry.id)
    returned = game.total([m.reward for m in game.moves])
    assert f"return {returned:.4g} after {len(moves)} steps" in text
    assert text.rstrip().endswith("no move could have been better")
    assert "is no move" not in text


def test_long_games_show_only_what_mattered(said):
    text = said(["0"] * 60, "CliffWalking", "horizon=50")
    assert "return -50 after 50 steps" in text  # bumping into the wall at −1 each
    assert row(text, "0", registry.make_table("CliffWalking").action_names[0])[0] == -1
    text = said(["4"] * 60, "KeyRooms", "horizon=50")
    assert "moves that changed nothing are left out" in text


def test_shrinking_takes_means():
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    small = shrunk(picture, 10, 20)
    means = picture.reshape(10, 4, 20, 3, 3).mean(axis=(1, 3))
    assert np.abs(small - means).max() <= 0.5
    assert shrunk(picture, 7, 9).shape == (7, 9, 3)
    assert np.array_equal(shrunk(picture, 40, 60), picture)


@pytest.mark.parametrize(("height", "width"), [(160, 416), (7, 500), (300, 3), (2, 2)])
def test_blocks_fit_and_keep_colours(height, width):
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    picture[height // 2 :] = (255, 0, 128)
    text = blocks(picture, 80, 20)
    lines = text.plain.split("\n")
    assert len(lines) <= 20
    assert {len(line) for line in lines} == {min(len(lines[0]), 80)}
    assert set(text.plain) <= {"▀", "\n"}
    colours = {str(span.style) for span in text.spans}
    assert any(style.startswith("#000000") for style in colours)
    assert any(style.endswith("on #ff0080") for style in colours)


def test_show_writes_the_picture(tmp_path, capsys):
    path = tmp_path / "new" / "rooms.png"
    assert main(["show", "KeyRooms", "--picture", str(path)]) == 0
    assert f"picture: {path}" in capsys.readouterr().out
    table = registry.make_table("KeyRooms")
    written = np.rint(matplotlib.image.imread(path)[:, :, :3] * 255).astype(np.uint8)
    assert np.array_equal(written, render.picture(table, int(table.start_state[0])))


def test_pictures_stand_in_terminals_only(capsys, said, monkeypatch):
    assert main(["show", "FrozenLake"]) == 0
    assert "▀" not in capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLORTERM", "truecolor")
    assert main(["show", "FrozenLake"]) == 0
    assert "▀" in capsys.readouterr().out
    assert "▀" in said(["q"], "FrozenLake")
    assert "▀" not in said(["q"], "Shop")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["show", "Shop", "--picture", "x.png"], "picture='x.png': Shop has no picture, only words"),
        (["show", "Pivots", "--picture", "x.jpg"], "picture='x.jpg': expected a path that ends in .png"),
        (["show", "Pivots", "--credit", "x.jpg"], "credit='x.jpg': expected a path that ends in .png"),
        (
            ["show", "KeyRooms", "stages=60", "--credit", "x.png"],
            "credit='x.png': KeyRooms is too large to measure in passing",
        ),
        (["play", "Pivotz"], "unknown environment id 'Pivotz'; did you mean 'credit/Pivots-v0'"),
        (["play", "Pivots", "lenth=2"], "unknown knob of credit/Pivots-v0 'lenth'; did you mean 'length'"),
        (["play", "Pivots?length=2", "length=3"], "length=3: 'Pivots?length=2' sets it already"),
        (["play", "Pivots", "--seed", "-1"], "seed=-1: expected an integer in [0,"),
        (["play", "no.npz"], "environment 'no.npz': there is no such file"),
    ],
)
def test_bad_input_is_one_line(argv, message, capsys):
    assert main(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
