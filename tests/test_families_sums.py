"""Sums: the arithmetic read off the texts, values derived by hand, errors that carry on."""

import re
from fractions import Fraction

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transcripts import check_golden, transcript

import credit_envs  # noqa: F401 (registers the ids)
from credit_envs import dials, oracle
from credit_envs.errors import CreditEnvsError, TableError
from credit_envs.families import FAMILIES
from credit_envs.families.sums import answer_probability, careless
from credit_envs.registry import make_table
from credit_envs.testing import check_table, check_vector_env

BUILD = FAMILIES["Sums"].build
KNOBS = {
    "terms": st.integers(2, 4),
    "columns": st.integers(1, 4),
    "base": st.sampled_from([4, 10, 16]),
    "repairs": st.integers(0, 2),
    "paid": st.sampled_from(["working", "answer"]),
    "permute": st.booleans(),
}
SEEDS = st.integers(0, 2**53)


def text(table, state):
    return table.view("text").rows(np.array([state]))[0]


def moves(table, state):
    """Token → (following state, reward, whether the episode ends)."""
    return {table.action_names[a]: outcomes[0][1:] for a, outcomes in table.P[state].items()}


def read(shown):
    """Symbols and numbers of a question."""
    numbers, base = re.match(r"Add (.+) in base (\d+)", shown).groups()
    legend = re.search(r"^Digits from zero up: (.+)$", shown, re.M)
    symbols = legend.group(1).split() if legend else list("0123456789abcdef"[: int(base)])
    value = {symbol: i for i, symbol in enumerate(symbols)}
    terms = [sum(value[c] * int(base) ** i for i, c in enumerate(word[::-1])) for word in numbers.split(" + ")]
    return symbols, int(base), terms


@settings(max_examples=40, deadline=None)
@given(knobs=st.fixed_dictionaries(KNOBS), seed=SEEDS)
def test_writing_the_sum_of_python_integers_is_paid(knobs, seed):
    table = BUILD(seed, **knobs)
    symbols, base, terms = read(text(table, 0))
    assert len(terms) == knobs["terms"]
    assert all(base ** (knobs["columns"] - 1) <= term < base ** knobs["columns"] for term in terms)
    state, n = 0, knobs["columns"]
    for i in range(n):
        carry = sum(term % base ** (i + 1) for term in terms) // base ** (i + 1)
        for token in (symbols[sum(terms) // base**i % base], symbols[carry], ";"):
            state, reward, done = moves(table, state)[token]
            assert (reward, done) == (float(i == n - 1 and token == ";"),) * 2
    assert text(table, state).endswith("is right.")
    assert table.labels["right"][state] == 1
    assert oracle.optimal(table).J == 1
    assert oracle.optimal(table).length == 3 * n


@settings(max_examples=30, deadline=None)
@given(knobs=st.fixed_dictionaries(KNOBS), seed=SEEDS)
def test_value_of_uniform_play_by_hand(knobs, seed):
    """All digits and either all carries or the last; a repair draws the column afresh and changes no probability."""
    table = BUILD(seed, **knobs)
    n, carries = knobs["columns"], knobs["columns"] if knobs["paid"] == "working" else 1
    chance = Fraction(1, knobs["base"] ** n * knobs["terms"] ** carries)
    assert pytest.approx(float(chance), rel=1e-9) == oracle.evaluate(table, oracle.uniform(table)).J


@settings(max_examples=30, deadline=None)
@given(knobs=st.fixed_dictionaries(KNOBS), seed=SEEDS)
def test_no_state_is_ever_revisited(knobs, seed):
    table = BUILD(seed, **knobs)
    written = table.labels["written"]
    onward = ~table.terminal
    before = written[table.edge_state[table.outcome_edge]]
    assert np.array_equal(written[table.successor[onward]], before[onward] + 1)
    even = oracle.uniform(table)
    assert np.all(oracle.occupancy(table, even).sum(axis=0) <= 1 + 1e-9)
    small = knobs["base"] == 4 and knobs["columns"] <= 2
    if small:
        passage = oracle.visit_probability(table, even, np.arange(table.n_states))[0]
        playing = table.n_admissible > 0
        assert passage[playing] == pytest.approx(oracle.occupancy(table, even).sum(axis=0)[playing])


def test_rho_of_a_group_is_the_prefixes_it_shares():
    """One column, no repair, pairs of rollouts: all meet at the start, 1 in 4 after a digit, 1 in 8 after a carry."""
    table = BUILD(0, columns=1, base=4, repairs=0)
    rate = oracle.revisit_rate(table, oracle.uniform(table), group_size=2).value
    assert rate == pytest.approx((1 + 1 / 4 + 1 / 8) / 3)


def test_errors_carry_on_and_can_be_redone_until_the_marker():
    table = BUILD(3)  # 206 + 379
    best, state = oracle.optimal(table), 0
    for token in ("4", "1"):
        state = moves(table, state)[token][0]
    assert best.V[2, state] == 1
    assert table.action_names[table.labels["reference_action"][state]] == "redo"
    again = moves(table, state)["redo"][0]
    assert "Repairs left: 0" in text(table, again)
    assert "Column 1 of 3: 6 + 9 = ?" in text(table, again)
    assert best.V[3, again] == 1
    closed = moves(table, state)[";"][0]
    assert best.V[3, closed] == 0
    good = moves(table, moves(table, moves(table, 0)["5"][0])["1"][0])[";"][0]
    assert text(table, good) == text(table, closed)  # what was closed is out of sight
    assert table.emission.base[good] == table.emission.base[closed]
    assert "0 + 7 + carry 1 = ?" in text(table, good)
    # A wrong carry is carried on: 6 + 9 = 5, carry 0 leads to 0 + 7 + carry 0.
    off = moves(table, moves(table, moves(table, 0)["5"][0])["0"][0])[";"][0]
    assert "0 + 7 + carry 0 = ?" in text(table, off)
    assert best.V[3, off] == 0


def test_notes_matter_as_much_as_the_policy_that_reads_them():
    """paid="answer": a carry's advantage is zero under uniform play, and most of the value under one that reads it."""
    table = BUILD(3, paid="answer", repairs=0)
    even, slip = oracle.uniform(table), 0.1
    state = moves(table, 0)["5"][0]
    # Two digits and the leading one are left: 1/10 · 1/10 · 1/2, whatever carry is written.
    assert oracle.evaluate(table, even).q(1, state)[table.mask[state]] == pytest.approx([1 / 200] * 2)
    values = oracle.evaluate(table, careless(table, slip))
    digit, carry = 1 - slip + slip / 10, 1 - slip + slip / 2
    # With the right carry, two digits are left, a carry between that must not fail, and the leading digit. Where the
    # middle carry fails (into the leftmost column), the digit there is right only by chance.
    wrong, onward = slip / 10, carry * digit + (1 - carry) * slip / 10
    q = {table.action_names[a]: q for a, q in enumerate(values.q(1, state)) if table.mask[state, a]}
    assert q["1"] == pytest.approx(digit * onward * carry)
    assert q["0"] == pytest.approx(wrong * onward * carry)
    assert answer_probability(table, careless(table, slip))[state] == pytest.approx(
        carry * q["1"] + (1 - carry) * q["0"]
    )


@pytest.mark.parametrize("slip", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("columns", [1, 3])
def test_careless_play_by_hand(slip, columns):
    digit, carry = 1 - slip + slip / 10, 1 - slip + slip / 2
    table = BUILD(5, repairs=0, columns=columns)
    assert oracle.expected_return(table, careless(table, slip)) == pytest.approx((digit * carry) ** columns)
    # One repair and one column: close if right, redo if not, both with probability 1 − slip / 2.
    table, once, sure = BUILD(5, repairs=1, columns=1), digit * carry, 1 - slip / 2
    by_hand = once * sure + (once * (1 - sure) + (1 - once) * sure) * once
    assert oracle.expected_return(table, careless(table, slip)) == pytest.approx(by_hand)


@pytest.mark.parametrize("task", ["solve", "critique"])
@pytest.mark.parametrize("paid", ["working", "answer"])
def test_answer_share_is_the_value_of_uniform_play_without_repairs(task, paid):
    table = BUILD(8, repairs=0, terms=3, base=4, paid=paid, task=task)
    share = table.labels["answer_share"]
    assert share.max() == share[-1] == (8 if task == "critique" else 4**3 * 3 ** (3 if paid == "working" else 1))
    assert share / share[-1] == pytest.approx(answer_probability(table, oracle.uniform(table)))
    repaired = BUILD(8, repairs=2, terms=3, base=4, paid=paid, task=task).labels["answer_share"]
    assert set(repaired) == set(share)


@pytest.mark.parametrize("knobs", [{}, {"paid": "answer"}, {"task": "critique"}])
def test_probability_of_the_answer_is_a_martingale(knobs):
    table = BUILD(4, **knobs)
    policy = careless(table, 0.3)
    chance = answer_probability(table, policy)
    onward = policy[table.edge_state, table.edge_action] * chance[table.successor]  # every edge has one outcome
    playing = table.n_admissible > 0
    assert np.bincount(table.edge_state, onward, table.n_states)[playing] == pytest.approx(chance[playing])
    assert set(chance[~playing]) == {0, 1}
    assert table.start_probability @ chance[table.start_state] == pytest.approx(oracle.expected_return(table, policy))


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, terms=st.integers(2, 4), columns=st.integers(1, 4), base=st.integers(4, 10), permute=st.booleans())
def test_critique(seed, terms, columns, base, permute):
    table = BUILD(seed, task="critique", terms=terms, columns=columns, base=base, permute=permute)
    wrong_solutions = columns * (base * terms - 1)
    assert table.n_contexts == wrong_solutions + 1
    assert len({text(table, s) for s in range(table.n_states)}) == table.n_states
    assert pytest.approx(1) == oracle.optimal(table).J
    # Uniform play says right j times and then wrong with 2^-(j+1), right to all with 2^-n.
    half = Fraction(1, 2)
    by_hand = half * half**columns + half * sum(half ** (j + 1) for j in range(columns)) / columns
    assert pytest.approx(float(by_hand)) == oracle.evaluate(table, oracle.uniform(table)).J
    for context in np.linspace(0, wrong_solutions, 5).astype(int).tolist():
        shown = text(table, context)
        symbols, _, _ = read(shown)
        errors = []
        lines = re.findall(r"^[> ] Column (\d+) of \d+: (.+?)(?: \+ carry (\w))? = (\w), carry (\w)$", shown, re.M)
        assert len(lines) == columns
        written = 0
        for column, summands, into, digit, out in lines:
            assert written == (symbols.index(into) if into else 0)
            total = sum(map(symbols.index, summands.split(" + "))) + written
            written = symbols.index(out)
            errors += [int(column) - 1] if total != written * base + symbols.index(digit) else []
        assert len(errors) == (context > 0)
        state, done, reward = context, False, 0.0
        for i in range(columns):
            token = "wrong" if errors == [i] else "right"
            assert table.action_names[table.labels["reference_action"][state]] == token
            state, reward, done = moves(table, state)[token]
            if done:
                break
        assert (reward, done) == (1, True)


def test_a_group_of_the_critique_judges_one_solution():
    table = BUILD(2, task="critique")
    assert table.start_probability[0] == 0.5
    assert table.start_probability[1:] == pytest.approx(0.5 / 57)
    assert table.horizon == 3


def test_letters_and_actions_differ_between_instances():
    legends = {text(BUILD(seed, permute=True), 0).splitlines()[1] for seed in range(20)}
    assert len(legends) == 20
    assert len({BUILD(seed).action_names for seed in range(20)}) == 20
    assert BUILD(0).action_names != BUILD(1).action_names
    for seed in range(3):  # the text's numbers are those of the actions
        table = BUILD(seed)
        for state in range(table.n_states - 2):
            offered = dict(re.findall(r"\[(\d+)\] (\S+)", text(table, state)))
            assert {int(a): name for a, name in offered.items()} == {a: table.action_names[a] for a in table.P[state]}


def test_hidden_is_only_whether_closed_columns_are_right():
    table = BUILD(1, base=4, columns=2)
    words = np.array([text(table, s) for s in range(table.n_states)])
    same_look = table.emission.base[:, None] == table.emission.base
    assert np.array_equal(same_look, words[:, None] == words)
    twins = np.argwhere(np.triu(same_look, 1))
    assert len(twins)
    for a, b in twins:
        differing = {name for name, values in table.labels.items() if values[a] != values[b]}
        assert {"right"} <= differing <= {"right", "answer_share", "reference_left"}
        assert set(table.P[a]) == set(table.P[b])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: BUILD(0, terms=5), CreditEnvsError, "terms=5: expected an integer in [2, 4]"),
        (lambda: BUILD(0, base=2), CreditEnvsError, "base=2: expected an integer in [4, 16]"),
        (lambda: BUILD(0, paid="answers"), CreditEnvsError, "did you mean 'answer'?"),
        (lambda: BUILD(0, column=2), CreditEnvsError, "unknown knob of Sums 'column'; did you mean 'columns'"),
        (lambda: careless(BUILD(0), 1.5), CreditEnvsError, "slip=1.5: expected a number in [0, 1]"),
        (lambda: careless(make_table("Pivots"), 0.5), TableError, "expected a Sums table"),
        (lambda: answer_probability(make_table("Pivots"), np.ones((1, 1))), TableError, "expected a Sums table"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


def test_largest_table_stays_bounded():
    assert BUILD(0, terms=4, columns=8, base=16, repairs=3, paid="answer").n_states < 20_000


@pytest.mark.parametrize("knobs", [{}, {"task": "critique", "permute": True}])
def test_contract(knobs):
    check_table(BUILD(1, **knobs))


def test_faces_and_dials():
    check_vector_env("credit/Sums-v0", steps=40)
    env = gymnasium.make("credit/Sums-v0", instance=3)
    shown, info = env.reset(seed=0)
    assert shown.startswith("Add 206 + 379 in base 10")
    assert info["action_mask"].sum() == 10
    slipping = make_table("credit/Sums-v0", instance=3, slip=0.1)
    assert oracle.optimal(slipping).J < 1
    assert dials.apply(BUILD(1), paraphrases=3).n_obs == 3 * BUILD(1).n_obs


@pytest.mark.parametrize(
    ("task", "fingerprint"),
    [
        ("solve", "0a1440d2c26b0e2174982607b45c29c9676410e6e2c810d7b7db736608f922bf"),
        ("critique", "65d7a20bc11c4bdc42bf3444062789e7f4998070c9848a6eff74072507f501a6"),
    ],
)
def test_known_instance(task, fingerprint):
    assert BUILD(7, task=task).fingerprint == fingerprint


def test_both_tasks_are_one_table_of_equal_weights():
    solve, critique = (BUILD(5, task=task, base=4, columns=2) for task in ("solve", "critique"))
    both = BUILD(5, task="both", base=4, columns=2)
    check_table(both)
    value = [oracle.evaluate(table, oracle.uniform(table)).J for table in (solve, critique, both)]
    assert value[2] == pytest.approx((value[0] + value[1]) / 2)
    assert oracle.optimal(both).J == 1
    assert np.array_equal(both.labels["task"], np.repeat([0, 1], [solve.n_states, critique.n_states]))
    assert [text(both, s) for s in range(solve.n_states)] == [text(solve, s) for s in range(solve.n_states)]


def test_given_is_what_stands_in_the_wrong_column():
    table = BUILD(3, task="critique")
    names = table.action_names
    for state, chance in zip(table.start_state, table.start_probability, strict=True):
        error, given = int(table.labels["error"][state]), int(table.labels["given"][state])
        if chance == 0.5:
            assert (error, given) == (3, -1)
            continue
        digit, carry = divmod(given, table.n_actions)
        assert text(table, state).splitlines()[1 + error].endswith(f"= {names[digit]}, carry {names[carry]}")


@settings(max_examples=20, deadline=None)
@given(knobs=st.fixed_dictionaries(KNOBS), seed=SEEDS)
def test_reference_left_falls_by_one_along_the_reference(knobs, seed):
    """From 3 tokens per column to none; where something wrong was closed, all of them again."""
    table = BUILD(seed, **knobs)
    left, state = table.labels["reference_left"], 0
    for i in range(3 * knobs["columns"], 0, -1):
        assert left[state] == i
        state = table.P[state][int(table.labels["reference_action"][state])][0][1]
    assert left[state] == 0
    playing = table.n_admissible > 0
    hopeless = playing & (table.labels["right"] == 0)
    assert np.all(left[hopeless] == 3 * knobs["columns"])
    assert np.all(left[playing] > 0)
    share, whole = table.labels["answer_share"], table.labels["answer_whole"]
    assert share.max() == whole.max() == whole.min()


def test_golden_transcript():
    solved = transcript(BUILD(3))
    judged = transcript(BUILD(3, task="critique", permute=True), seed=2)
    check_golden("sums", solved + "\n" + judged)
