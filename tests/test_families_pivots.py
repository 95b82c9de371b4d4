"""Pivots: every value can be derived by hand, so every value is."""

from fractions import Fraction

import numpy as np
import pytest
from transcripts import check_golden, transcript

from credit_envs.families import FAMILIES

BUILD = FAMILIES["Pivots"].build


def exact(table, policy=None):
    """V and Q by backward induction in fractions; uniform policy or the maximum. States are numbered by position."""
    value = {s: Fraction(0) for s in range(table.n_states)}
    q = {}
    for s in reversed(range(table.n_states)):
        for a, outcomes in table.P[s].items():
            q[s, a] = sum(
                Fraction(p) * (Fraction(r).limit_denominator(1000) + (0 if done else value[n]))
                for p, n, r, done in outcomes
            )
        if table.P[s]:
            values = [q[s, a] for a in table.P[s]]
            value[s] = max(values) if policy == "best" else sum(values) / len(values)
    return value, q


@pytest.mark.parametrize(("length", "actions", "fillers"), [(1, 2, 0), (3, 2, 1), (4, 3, 3), (2, 5, 0)])
def test_all_or_nothing(length, actions, fillers):
    table = BUILD(3, length=length, actions=actions, fillers=fillers)
    value, q = exact(table)
    assert table.horizon == length * (fillers + 1)
    assert value[0] == Fraction(1, actions**length)
    assert exact(table, "best")[0][0] == 1
    for s in range(table.n_states):
        position, wrong = int(table.labels["position"][s]), int(table.labels["wrong"][s])
        if position == table.horizon:
            continue
        stage, inside = divmod(position, fillers + 1)
        left = length - stage - (inside > 0)  # pivots still to come, this one included
        assert value[s] == (0 if wrong or position == table.horizon else Fraction(1, actions**left))
        advantages = sorted(q[s, a] - value[s] for a in range(actions))
        if wrong or inside:
            assert advantages == [0] * actions
        else:
            assert advantages == [-Fraction(1, actions**left)] * (actions - 1) + [Fraction(actions - 1, actions**left)]


@pytest.mark.parametrize(("length", "actions", "fillers"), [(1, 2, 0), (3, 2, 1), (4, 3, 2)])
def test_each_pivot_pays_its_share(length, actions, fillers):
    table = BUILD(3, length=length, actions=actions, fillers=fillers, credit="each")
    value, q = exact(table)
    assert value[0] == Fraction(1, actions)
    assert exact(table, "best")[0][0] == 1
    for s in np.flatnonzero(table.labels["position"] < table.horizon).tolist():
        pivot = table.labels["turn"][s] == 0
        gaps = {q[s, a] - value[s] for a in range(actions)}
        assert gaps == ({Fraction(actions - 1, actions * length), Fraction(-1, actions * length)} if pivot else {0})


def test_default_numbers():
    """4 pivots of 3 actions with 3 fillers: 17 positions, two flags behind the first pivot; J_uniform = 1/81."""
    table = BUILD(0)
    assert (table.n_states, table.horizon, table.n_actions) == (1 + 2 * 16, 16, 3)
    assert exact(table)[0][0] == Fraction(1, 81)
    assert table.labels["turn"][table.labels["position"] == 6].tolist() == [2, 2]
    assert table.labels["segment"][table.labels["position"] == 6].tolist() == [1, 1]
    assert table.action_names == ("A", "B", "C")


def test_right_actions_vary_and_cover_all():
    first = {max(t.P[0], key=lambda a: -t.labels["wrong"][t.P[0][a][0][1]]) for t in map(BUILD, range(40))}
    assert first == {0, 1, 2}


def test_failed_rollouts_contain_good_steps():
    """Right then wrong: return 0, yet the first step's advantage is positive."""
    table = BUILD(0, length=2, actions=2, fillers=0)
    value, q = exact(table)
    right = next(a for a in range(2) if table.labels["wrong"][table.P[0][a][0][1]] == 0)
    middle = table.P[0][right][0][1]
    wrong = next(a for a in range(2) if table.labels["wrong"][table.P[middle][a][0][1]] == 1)
    assert table.P[middle][wrong] == [(1.0, table.n_states - 1, 0.0, True)]
    assert q[0, right] - value[0] == Fraction(1, 4)


def test_words_and_planes():
    table = BUILD(0, length=2, actions=2, fillers=1, credit="each")
    text, ansi, planes = (table.view(name).rows(np.arange(table.n_states)) for name in ("text", "ansi", "grid"))
    assert text[0] == "You stand at pivot 1 of 2: choose well."
    assert text[1] == "You walk on after pivot 1 of 2, step 1 of 1: any action will do. So far every choice was right."
    assert text[-1] == "The walk is over. 0 of 2 choices were right."
    assert ansi[0] == "@.?.$  no wrong"
    assert ansi[-1] == "?.?.@  2 wrong"
    assert planes[0, 1, :, 0].tolist() == [2, 1, 2, 1, 3]
    assert planes[-1, 1, :, 1].tolist() == [0, 0, 0, 0, 1]
    assert planes[-1, 0, :, 2].tolist() == [1, 1, 0, 0, 0]
    assert len(set(text)) == len(set(ansi)) == len({p.tobytes() for p in planes}) == table.n_states


def test_golden_transcript():
    """Under uniform play a right choice at pivot i of n gains (a − 1)·a^-(n − i), and a filler nothing."""
    text = transcript(BUILD(7, length=3, actions=3, fillers=1), drawn=(0, 4))
    gains = [float(line.split(" A ")[-1]) for line in text.splitlines() if line.startswith("  > ")]
    assert gains == [0.0741, 0, 0.2222, 0, 0.6667, 0]
    check_golden("pivots", text)
