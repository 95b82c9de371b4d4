"""Charts: numbers by hand with and without the picture, labels against optimal play, readers of words and pixels."""

import itertools
import re
from fractions import Fraction

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transcripts import check_golden, transcript

import credit_envs  # noqa: F401 (registers the ids)
from credit_envs import oracle
from credit_envs.errors import CreditEnvsError, TableError
from credit_envs.faces.single import TabularEnv
from credit_envs.families import FAMILIES
from credit_envs.families.charts_blind import beliefs, dependence, image_free, without_image
from credit_envs.families.charts_judge import judge, key_facts
from credit_envs.families.charts_letters import write
from credit_envs.families.charts_question import THEMES, make_question
from credit_envs.families.sums import answer_probability, careless
from credit_envs.registry import make_table
from credit_envs.table.build import union
from credit_envs.table.draws import mix_word
from credit_envs.table.observer import Observer
from credit_envs.testing import check_table, check_vector_env

BUILD = FAMILIES["Charts"].build
SEEDS = st.integers(0, 2**53)
ANY = {
    "bars": st.integers(2, 4),
    "values": st.integers(2, 4),
    "question": st.sampled_from(["sum", "difference", "highest"]),
    "prior": st.sampled_from([0.0, 0.4, 0.75, 1.0]),
    "printed": st.sampled_from([0.0, 0.5, 1.0]),
    "printed_in": st.sampled_from(["text", "picture"]),
    "paid": st.sampled_from(["facts", "answer"]),
}
KNOBS = st.fixed_dictionaries(ANY)
THREE = {"bars": 3, "values": 3, "facts": 3}


def texts(table):
    return table.view("text").rows(np.arange(table.n_states))


def opening(table):
    """What stands in the text before anything is written."""
    return table.view("text").rows(np.zeros(1, dtype=int))[0]


def bars_of(plane, names):
    """Reads names and heights off the planes: of a bar, or of the number in its place."""
    numbers = [int(names[code - 1]) if code else 0 for code in plane[-2, :, 1]]
    assert not plane[:, np.array(numbers) > 0, 0].any()
    return {names[plane[-1, i, 1] - 1]: numbers[i] or int(plane[:, i, 0].sum()) for i in range(plane.shape[1])}


def asked_about(shown):
    """Kind of the question and the names in it."""
    line = shown.splitlines()[0].split(": see the chart. ")[1]
    kind = {"How": "sum", "By": "difference", "Which": "highest"}[line.split()[0]]
    return kind, [name for name in re.findall(r"[A-Z][a-z]+", line) if name not in ("How", "By", "Which")]


def said_of_last_year(shown):
    line = re.search(r"^Last year: (.+)\.$", shown, re.M).group(1)
    return {name: int(value) for name, value in (pair.split() for pair in line.split(", "))}


def known_of_this_year(shown):
    line = re.search(r"^Known of this year: (.+)\.$", shown, re.M)
    return {name: int(value) for name, value in (pair.split() for pair in line.group(1).split(", "))} if line else {}


def written_in(shown):
    """Facts that are closed, in order, and whether a name without its value stands at the end."""
    words = re.search(r"^Written: (.*)_$", shown, re.M).group(1).split()
    return re.findall(r"(\w+) has (\d+)", " ".join(words)), words


def answers(kind, heights):
    """Right answers in words, from the names and heights that the question asks about."""
    values = list(heights.values())
    if kind == "highest":
        return {name for name, value in heights.items() if value == max(values)}
    return {str(sum(values) if kind == "sum" else max(values) - min(values))}


def options(kind, names, h):
    k = len(names)
    return {"sum": k * h - k + 1, "difference": h, "highest": k}[kind]


def all_charts(last, names, h, prior):
    """Probability of the heights of some bars, as fractions."""
    chance = max(Fraction(prior), Fraction(1, h))
    other = (1 - chance) / (h - 1)
    for heights in itertools.product(range(1, h + 1), repeat=len(names)):
        p = Fraction(1)
        for name, value in zip(names, heights, strict=True):
            p *= chance if value == last[name] else other
        yield dict(zip(names, heights, strict=True)), p


# -- values by hand ----------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(knobs=KNOBS, seed=SEEDS)
def test_returns_by_hand_with_and_without_the_picture(knobs, seed):
    table = BUILD(seed, **knobs)
    n, h, k = knobs["bars"], knobs["values"], 2
    shown = opening(table)
    kind, names = asked_about(shown)
    known = {name: value for name, value in known_of_this_year(shown).items() if name in names}
    charts = list(all_charts(said_of_last_year(shown), names, h, knobs["prior"]))
    n_right = sum(p * len(answers(kind, heights)) for heights, p in charts)
    even = n_right / options(kind, names, h)
    if knobs["paid"] == "facts":
        orders = Fraction(2, n * (n - 1))
        even *= orders / h**k
        blind = max(Fraction(knobs["prior"]), Fraction(1, h)) ** (k - len(known))
    else:
        # For everything that may be printed the best guess is the answer that most charts have.
        best = {}
        for heights, p in charts:
            for answer in answers(kind, heights):
                place = (tuple(heights[name] for name in known), answer)
                best[place] = best.get(place, 0) + p
        groups = {printed for printed, _ in best}
        blind = sum(max(p for (printed, _), p in best.items() if printed == group) for group in groups)
    assert pytest.approx(1) == oracle.optimal(table).J
    assert oracle.optimal(table).length == pytest.approx(4 * k + 1)
    assert pytest.approx(float(even)) == oracle.evaluate(table, oracle.uniform(table)).J
    game = without_image(table)
    assert pytest.approx(float(blind)) == oracle.optimal(game).J
    assert pytest.approx(float(even)) == oracle.evaluate(game, oracle.uniform(game)).J


def test_three_facts_by_hand():
    """3 of 3 bars of 3 heights: any order is right, so uniform play earns E[right answers] / (27 · 3)."""
    table = BUILD(4, question="highest", prior=0.0, **THREE)
    # Of 27 charts 3 have three highest bars, 9 have two (3 pairs and the pair's height 3 over 1, 2, or 2 over 1).
    n_right = Fraction(3 * 3 + 9 * 2 + 15 * 1, 27)
    assert pytest.approx(float(n_right / 81)) == oracle.evaluate(table, oracle.uniform(table)).J
    assert pytest.approx(1 / 27) == oracle.optimal(without_image(table)).J
    assert table.horizon == 13


@pytest.mark.parametrize("slip", [0.0, 0.2, 1.0])
def test_careless_play_by_hand(slip):
    table = BUILD(3, question="sum", values=3)
    keep = 1 - slip
    names = (keep + slip * 2 / 4) * (keep + slip * 1 / 3)
    by_hand = names * (keep + slip / 3) ** 2 * (keep + slip / 5)
    assert oracle.expected_return(table, careless(table, slip)) == pytest.approx(by_hand)


def test_the_best_player_without_the_picture_says_last_years_heights():
    table = BUILD(6, prior=0.7)
    game, last = without_image(table), said_of_last_year(opening(table))
    best = oracle.optimal(game)
    first = {b: s for s, b in reversed(list(enumerate(table.labels["blind"].tolist())))}
    at, state, shown = 0, 0, texts(table)
    while at < table.horizon:
        edge = int(best.greedy(at)[state])
        token = table.action_names[game.edge_action[edge]]
        _, words = written_in(shown[first[state]])
        if words[-1:] == ["has"]:
            assert int(token) == last[words[-2]]
        state, at = int(game.successor[game.outcome_start[edge]]), at + 1
    assert pytest.approx(0.49) == best.J


# -- labels ------------------------------------------------------------------------------------------------------------


def best_tokens(table):
    """Which actions are optimal where each state is met, bool ``[S, A]``; all false in the end."""
    best, written = oracle.optimal(table), table.labels["written"]
    out = np.zeros((table.n_states, table.n_actions), dtype=bool)
    for t in range(table.horizon):
        here = written[table.edge_state] == t
        q, value = best.q_edges(t)[here], best.V[t, table.edge_state[here]]
        out[table.edge_state[here], table.edge_action[here]] = q >= value - 1e-9
    return out


@settings(max_examples=40, deadline=None)
@given(knobs=KNOBS, seed=SEEDS)
def test_visual_is_where_no_token_is_best_in_all_states_that_look_alike_without_the_picture(knobs, seed):
    table = BUILD(seed, **knobs)
    blind, best = table.labels["blind"], best_tokens(table)
    common = np.ones((blind.max() + 1, table.n_actions), dtype=bool)
    np.logical_and.at(common, blind, best)
    expected = ~common[blind].any(axis=1) & (table.n_admissible > 0)
    assert np.array_equal(table.labels["visual"], expected)
    kind = table.labels["turn"][expected]
    assert set(kind) <= ({2} if knobs["paid"] == "facts" else {0})
    if knobs["prior"] == 1 or (knobs["printed"] == 1 and knobs["printed_in"] == "text"):
        assert not expected.any()


@settings(max_examples=25, deadline=None)
@given(knobs=KNOBS, seed=SEEDS)
def test_blind_is_the_text_and_the_picture_tells_the_rest(knobs, seed):
    table = BUILD(seed, **knobs)
    words, blind = texts(table), table.labels["blind"]
    assert len(set(zip(words, blind.tolist(), strict=True))) == len(set(words)) == blind.max() + 1
    planes = table.view("grid").rows(np.arange(table.n_states))
    looks = {(text, plane.tobytes()) for text, plane in zip(words, planes, strict=True)}
    assert len(looks) == table.n_states == table.emission.n_base
    assert len({plane.tobytes() for plane in planes}) == table.n_contexts


@settings(max_examples=20, deadline=None)
@given(knobs=KNOBS, seed=SEEDS)
def test_labels_say_what_words_and_picture_say(knobs, seed):
    table = BUILD(seed, **knobs)
    kind, names = asked_about(opening(table))
    planes, optimal = table.view("grid").rows(np.arange(table.n_states)), oracle.optimal(table)
    labels = {name: values.tolist() for name, values in table.labels.items()}
    keys = [name for name in names if name not in known_of_this_year(opening(table))]
    for s, shown in enumerate(texts(table)):
        heights = bars_of(planes[s], table.action_names)
        assert key_facts(table, s) == tuple(f"{name} has {heights[name]}" for name in keys)
        assert labels["key_facts"][s] == len(keys)
        if labels["reference_action"][s] < 0:
            right = set(re.search(r"Stated right: (.+)\.", shown).group(1).split(". The")[0].split(", ")) - {"nothing"}
            assert shown.endswith(f"The solution is {('wrong', 'right')[labels['right'][s]]}.")
        else:
            facts, words = written_in(shown)
            right = {name for name, value in facts if heights[name] == int(value)} & set(names)
            assert labels["written"][s] == len(words)
            assert (labels["segment"][s], labels["turn"][s]) == divmod(len(words), 4)
            assert labels["right"][s] == (optimal.V[len(words), s] > 0.5)
            token = table.action_names[labels["reference_action"][s]]
            if len(words) == 9 - 1:
                stated = {name: int(value) for name, value in facts}
                assert token in answers(kind, {name: stated.get(name, heights[name]) for name in names})
            elif words[-1:] == ["has"]:
                assert int(token) == heights[words[-2]]
            elif len(words) % 4 == 0:
                assert token == next(name for name in names if name not in words)
            assert f"[{labels['reference_action'][s]}] {token}" in shown.splitlines()[-1]
        assert labels["facts"][s] == len(right & set(keys))
        assert labels["stated"][s] == sum(1 << j for j, name in enumerate(keys) if name in right)


def test_tokens_offered_are_the_admissible_actions():
    table = BUILD(9, printed=0.5)
    for state, shown in enumerate(texts(table)[: -np.sum(table.n_admissible == 0)]):
        offered = dict(re.findall(r"\[(\d+)\] (\w+)", shown))
        assert {int(a): name for a, name in offered.items()} == {a: table.action_names[a] for a in table.P[state]}


def test_few_tokens_are_visual():
    """Two of nine tokens, one if one of the two bars is printed."""
    for printed, visual in ((0.0, 2), (0.5, 1), (1.0, 0)):
        table = BUILD(1, printed=printed)
        visits = oracle.occupancy(table, careless(table, 0.0)).sum(axis=0)
        assert visits @ table.labels["visual"] == pytest.approx(visual)
        assert visits[table.n_admissible > 0].sum() == pytest.approx(9)


@settings(max_examples=10, deadline=None)
@given(knobs=KNOBS, seed=SEEDS)
def test_heights_printed_in_the_picture_are_the_same_game_with_less_text(knobs, seed):
    given_in = {where: BUILD(seed, **{**knobs, "printed_in": where}) for where in ("text", "picture")}
    text, picture = given_in["text"], given_in["picture"]
    for name in ("edge_state", "edge_action", "successor", "reward", "start_probability"):
        assert np.array_equal(getattr(text, name), getattr(picture, name))
    known, drawn = known_of_this_year(opening(text)), known_of_this_year(opening(picture))
    assert not drawn
    games = [without_image(table) for table in (picture, BUILD(seed, **{**knobs, "printed": 0.0}))]
    bare = [game.replace(labels={}) for game in games]
    assert bare[0].fingerprint == bare[1].fingerprint
    # Planes show the same heights, the printed ones as numbers.
    planes = [table.view("grid").rows(table.start_state) for table in (text, picture)]
    for bars, both in zip(*planes, strict=True):
        assert bars_of(bars, text.action_names) == bars_of(both, text.action_names)
        numbers = {text.action_names[both[-1, i, 1] - 1] for i in np.flatnonzero(both[-2, :, 1])}
        assert numbers == set(known)
    due = [written_in(shown)[1][-2:] for shown in texts(picture)[: -np.sum(picture.n_admissible == 0)]]
    expected = [len(words) == 2 and words[1] == "has" and words[0] in known for words in due]
    assert picture.labels["lettered"].tolist() == [*map(int, expected), *[0] * (picture.n_states - len(due))]
    assert "lettered" not in text.labels
    # While something can be paid, what only the picture tells is a bar, or one of its numbers.
    if knobs["paid"] == "facts" and knobs["prior"] < 1:
        live = picture.labels["right"] == 1
        bars, both = text.labels["visual"][live], picture.labels["visual"][live]
        assert np.array_equal(both, bars | picture.labels["lettered"][live])


@pytest.mark.parametrize("knobs", [{}, {"paid": "answer", "question": "highest"}, THREE])
def test_answer_share_is_the_value_of_uniform_play_and_a_martingale(knobs):
    table = BUILD(8, **knobs)
    share = table.labels["answer_share"]
    chance = answer_probability(table, oracle.uniform(table))
    assert share / share.max() == pytest.approx(chance)
    mean = np.bincount(table.edge_state, chance[table.successor], table.n_states) / np.maximum(table.n_admissible, 1)
    playing = table.n_admissible > 0
    assert mean[playing] == pytest.approx(chance[playing])
    assert set(share[~playing]) == {0, share.max()}


def test_anchors_forget_the_order_of_facts_and_nothing_that_matters():
    table = BUILD(2)
    values, anchor = oracle.evaluate(table, oracle.uniform(table)), table.labels["anchor"]
    at = values.V[np.minimum(table.labels["written"], table.horizon), np.arange(table.n_states)]
    for worth in (at, table.labels["answer_share"], table.labels["facts"], table.labels["visual"]):
        mean = np.bincount(anchor, worth) / np.maximum(np.bincount(anchor), 1)
        assert worth == pytest.approx(mean[anchor])
    # After two facts each pair of notes stands in two orders.
    assert set(np.bincount(anchor[table.labels["segment"] == 2])[np.unique(anchor[table.labels["segment"] == 2])]) == {
        2
    }
    assert oracle.anchor_quality(table, oracle.uniform(table), "anchor").recall == 1


def test_errors_of_reading_are_carried_into_the_answer():
    """The reference answers from its notes; where only the answer is paid, a misread sum is never right."""
    table = BUILD(5, question="sum", paid="answer")
    state = int(table.start_state[3])
    truth = table.labels["reference_action"]
    misread = False
    while table.n_admissible[state]:
        action = int(truth[state])
        if table.labels["turn"][state] == 2 and not misread:
            misread = True
            action = next(a for a in table.P[state] if a != action)
        state = table.P[state][action][0][1]
    assert table.labels["right"][state] == 0
    assert table.labels["facts"][state] == 1


# -- without the picture -----------------------------------------------------------------------------------------------


def test_beliefs_are_bayes_rule_by_hand():
    """The first value was written by a reader with slips: P(v | "v" is written) = p_v (1 − s + s/h) / Σ."""
    slip, h = 0.3, 4
    table = BUILD(7, prior=0.55)
    shown = texts(table)
    _, names = asked_about(shown[0])
    last, planes = said_of_last_year(shown[0])[names[0]], table.view("grid").rows(np.arange(table.n_states))
    height = np.array([bars_of(plane, table.action_names)[names[0]] for plane in planes])
    prior = np.array([0.55 if v == last else 0.15 for v in range(1, h + 1)])
    for value in range(1, h + 1):
        states = [s for s, text in enumerate(shown) if f"Written: {names[0]} has {value} _" in text]
        hit = np.where(np.arange(1, h + 1) == value, 1 - slip + slip / h, slip / h)
        posterior = np.bincount(height[states], beliefs(table, careless(table, slip))[states], h + 1)[1:]
        assert posterior == pytest.approx(prior * hit / (prior @ hit))
        # Whoever writes without looking tells nothing.
        assert np.bincount(height[states], beliefs(table)[states], h + 1)[1:] == pytest.approx(prior)
    sums = np.bincount(table.labels["blind"], beliefs(table, careless(table, 0.0)))
    assert sums == pytest.approx(np.ones_like(sums))


def test_dependence_by_hand():
    """A reader with slips at the first value: KL of (1 − s) δ_v + s/h against (1 − s) p + s/h; 0 where nothing is read."""
    slip, h = 0.2, 4
    table = BUILD(7, prior=0.55)
    policy = careless(table, slip)
    reads, labels = dependence(table, policy), table.labels
    _, names = asked_about(opening(table))
    at = [s for s, text in enumerate(texts(table)) if f"Written: {names[0]} has _" in text]
    last = said_of_last_year(opening(table))[names[0]]
    planes = table.view("grid").rows(np.array(at))
    for s, plane in zip(at, planes, strict=True):
        v = bars_of(plane, table.action_names)[names[0]]
        prior = np.array([0.55 if u == last else 0.15 for u in range(1, h + 1)])
        seen = np.where(np.arange(1, h + 1) == v, 1 - slip, 0) + slip / h
        blind = (1 - slip) * prior + slip / h
        assert reads[s] == pytest.approx(float(seen @ np.log(seen / blind)))
    onward = (labels["right"] == 1) & (table.n_admissible > 0)
    assert np.array_equal(reads[onward] > 1e-9, labels["visual"][onward] == 1)
    free = image_free(table, policy)
    assert free.sum(axis=1)[table.n_admissible > 0] == pytest.approx(1)
    assert np.all(reads >= -1e-12)
    # A policy that does not look stays what it is.
    assert image_free(table, oracle.uniform(table)) == pytest.approx(
        oracle.uniform(table) * (table.n_admissible > 0)[:, None]
    )
    assert dependence(table, free) == pytest.approx(np.zeros(table.n_states))


def test_the_image_free_policy_earns_no_more_than_the_best_blind_player():
    for knobs in ({}, {"printed": 0.5}, {"paid": "answer"}):
        table = BUILD(3, **knobs)
        free = oracle.expected_return(table, image_free(table, careless(table, 0.0)))
        ceiling = oracle.optimal(without_image(table)).J
        assert free <= ceiling + 1e-9
        game = without_image(table)
        assert ceiling > oracle.optimal(without_image(make_table("Charts", instance=3, slip=0.2, **knobs))).J
        first = np.unique(table.labels["blind"], return_index=True)[1]
        assert oracle.expected_return(game, image_free(table, careless(table, 0.0))[first]) == pytest.approx(free)


def test_pools_keep_what_is_seen_without_the_picture_apart():
    tables = [BUILD(seed, values=2) for seed in range(3)]
    pool = union(tables)
    blind, owner = pool.labels["blind"], pool.labels["instance"]
    assert len(set(zip(blind.tolist(), owner.tolist(), strict=True))) == len(set(blind.tolist()))
    best = [oracle.optimal(without_image(table)).J for table in tables]
    assert pytest.approx(np.mean(best)) == oracle.optimal(without_image(pool)).J


# -- the judge ---------------------------------------------------------------------------------------------------------


def test_a_perfect_judge_counts_the_facts():
    table = BUILD(4)
    states = np.arange(table.n_states)
    found = judge(table, states)
    assert np.array_equal(found.present, found.truth)
    assert found.share == pytest.approx(table.labels["facts"] / 2)
    assert np.array_equal(judge(table, states, 0.0).present, ~found.truth)


@pytest.mark.parametrize("accuracy", [0.5, 0.8, 0.95])
def test_verdicts_err_as_often_as_asked_and_independently(accuracy):
    table, n = BUILD(4), 40_000
    found = judge(table, np.full(n, table.n_states - 1), accuracy, seed=3)
    wrong = found.present ^ found.truth
    error = 1 - accuracy
    assert np.abs(wrong.mean(axis=0) - error).max() < 4 * np.sqrt(error * accuracy / n)
    both = (wrong[:, 0] & wrong[:, 1]).mean()
    assert abs(both - error**2) < 4 * np.sqrt(error**2 * (1 - error**2) / n)
    after = (wrong[1:, 0] & wrong[:-1, 0]).mean()
    assert abs(after - error**2) < 5 * np.sqrt(error**2 / n)


def test_verdicts_are_the_same_on_every_machine_and_know_their_solution():
    table = BUILD(4)
    states = np.full(16, table.n_states - 1)
    first = judge(table, states, 0.7, seed=5)
    for i, j in itertools.product(range(16), range(2)):
        draw = mix_word(mix_word(mix_word(int.from_bytes(b"judge", "big"), 5), i), j) >> 11
        assert first.present[i, j] == (first.truth[i, j] != (draw < 0.3 * 2**53))
    assert np.array_equal(judge(table, states, 0.7, seed=5).present, first.present)
    assert not np.array_equal(judge(table, states, 0.7, seed=6).present, first.present)
    turned = judge(table, states, 0.7, seed=5, number=np.arange(16)[::-1])
    assert np.array_equal(turned.present, first.present[::-1])


def test_nothing_to_judge_where_all_is_printed():
    table = BUILD(4, printed=1.0)
    found = judge(table, np.arange(5), 0.5)
    assert found.present.shape == (5, 0)
    assert found.share.tolist() == [0] * 5
    assert key_facts(table, 0) == ()
    pool = union([BUILD(s, printed=0.25, values=2) for s in range(12)])
    counts = pool.labels["key_facts"]
    assert set(counts) == {1, 2}
    found = judge(pool, np.arange(pool.n_states), 0.9)
    assert np.array_equal(found.exists.sum(axis=1), counts)
    assert not (found.present & ~found.exists).any()


# -- players -----------------------------------------------------------------------------------------------------------


def heights_in_pixels(picture, n, h):
    """Reads the heights of n bars off a picture: how far each column of colour reaches, against the axis."""
    ink = picture.astype(int)
    colourful = (ink.max(axis=2) - ink.min(axis=2)) > 60
    out = []
    for i in range(n):
        left, right = 36 + 272 * i / n, 36 + 272 * (i + 1) / n
        rows = np.flatnonzero(colourful[:, round((left + right) / 2)])
        out.append(round((206 - rows.min()) / (158 / h)))
    return out


def play(table, observation, choose, episodes):
    env, returns = TabularEnv(table, observation), []
    for i in range(episodes):
        shown, _ = env.reset(seed=i)
        total, over = 0.0, False
        while not over:
            shown, reward, over, _, _ = env.step(table.action_names.index(choose(shown)))
            total += reward
        returns.append(total)
    return np.array(returns)


def solver(read, table):
    """Writes the solution by rule; ``read`` tells the heights of bars from what is shown."""

    def choose(shown):
        text = shown["text"] if isinstance(shown, dict) else shown
        kind, names = asked_about(text)
        facts, words = written_in(text)
        if len(words) % 4 == 0:
            if len(facts) == len(names):
                return sorted(answers(kind, {name: int(value) for name, value in facts}))[0]
            return next(name for name in names if name not in words)
        if words[-1] == "has":
            return str(read(shown)[words[-2]])
        return {1: "has", 3: "and" if len(facts) < len(names) else "so"}[len(words) % 4]

    return choose


@pytest.mark.parametrize("question", ["sum", "difference", "highest"])
@pytest.mark.parametrize("observation", ["both", "both_rgb"])
def test_a_player_who_reads_the_picture_is_always_right(question, observation):
    table = BUILD(11, question=question, facts=2 if observation == "both_rgb" else 3, bars=4, values=3)
    order = [table.action_names[a - 1] for a in table.view("grid").rows(np.zeros(1, int))[0, -1, :, 1]]

    def read(shown):
        if observation == "both":
            return bars_of(shown["grid"], table.action_names)
        return dict(zip(order, heights_in_pixels(shown["rgb"], 4, 3), strict=True))

    assert np.all(play(table, observation, solver(read, table), 30 if observation == "both" else 8) == 1)


@pytest.mark.parametrize(("bars", "values"), [(2, 2), (3, 9), (6, 5), (6, 9)])
def test_pixels_show_the_heights(bars, values):
    table = BUILD(bars + values, bars=bars, values=values)
    states = table.start_state[:: max(1, table.n_contexts // 5)]
    for plane, picture in zip(table.view("grid").rows(states), table.view("rgb").rows(states), strict=True):
        assert heights_in_pixels(picture, bars, values) == plane[:, :, 0].sum(axis=0).tolist()


def test_numbers_stand_in_the_picture_in_the_place_of_bars():
    """Which number it is can be read off its column, and bars are bars as ever."""
    table = BUILD(5, bars=4, values=5, printed=0.5, printed_in="picture")
    states = table.start_state
    seen = {}
    for plane, picture in zip(table.view("grid").rows(states), table.view("rgb").rows(states), strict=True):
        numbers = plane[-2, :, 1]
        assert (numbers > 0).sum() == 2
        for i, height in enumerate(bars_of(plane, table.action_names).values()):
            column = picture[50:204, 36 + 68 * i + 2 : 36 + 68 * (i + 1) - 2]
            colourful = np.ptp(column.astype(int), axis=2).max() > 60
            assert colourful == (numbers[i] == 0)
            if numbers[i]:
                seen.setdefault(i, {}).setdefault(height, set()).add(column.tobytes())
    assert sorted(len(heights) for heights in seen.values()) == [1, 5]  # one of them is asked about
    for heights in seen.values():
        assert all(len(columns) == 1 for columns in heights.values())
        assert len(set.union(*heights.values())) == len(heights)
    lowest = table.view("ansi").rows(states[:1])[0].split(" 1 |")[1].splitlines()[0].split()
    assert sorted(cell == "##" for cell in lowest) == [False, False, True, True]
    assert sum(cell.isdigit() for cell in lowest) == 2


def test_a_player_who_reads_only_the_text_is_right_as_often_as_last_years_heights():
    """p^2 = 0.36 with nothing printed, 0.6 with one of the two bars printed."""
    for printed, chance in ((0.0, 0.36), (0.5, 0.6)):
        table = BUILD(13, prior=0.6, printed=printed)
        guess = solver(lambda shown: said_of_last_year(shown) | known_of_this_year(shown), table)
        returns = play(table, "text", guess, 1200)
        assert abs(returns.mean() - chance) < 4 * np.sqrt(chance * (1 - chance) / 1200)
        assert pytest.approx(chance) == oracle.optimal(without_image(table)).J


# -- instances and views -----------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(prior=st.floats(0, 1), seed=SEEDS)
def test_charts_are_as_likely_as_last_year_says(prior, seed):
    table = BUILD(seed, prior=prior, values=3)
    assert table.start_probability.sum() == pytest.approx(1)
    shown = opening(table)
    _, names = asked_about(shown)
    last = said_of_last_year(shown)
    planes = table.view("grid").rows(table.start_state)
    rows = [bars_of(plane, table.action_names) for plane in planes]
    for name in last:
        usual = np.array([row[name] == last[name] for row in rows])
        if name in names:
            assert table.start_probability[usual].sum() == pytest.approx(max(prior, 1 / 3))
        else:
            assert len({row[name] for row in rows}) == 1
    assert table.n_contexts == (9 if prior < 1 else 1)


def test_shares_of_what_is_printed():
    """Over instances the share is exact; within one it is rounded up or down."""
    n, q = 4000, 0.3
    drawn = [make_question(seed, 5, 4, 2, "sum", 0.5, q) for seed in range(n)]
    asked = np.array([question.printed[question.asked].sum() for question in drawn])
    others = np.array([question.printed.sum() for question in drawn]) - asked
    assert set(asked) == {0, 1}
    assert set(others) == {0, 1}
    assert abs(asked.mean() - 2 * q) < 4 * np.sqrt(0.6 * 0.4 / n)
    assert abs(others.mean() - 3 * q) < 4 * np.sqrt(0.9 * 0.1 / n)
    which = np.array([question.printed[question.asked[0]] for question in drawn]).mean()
    assert abs(which - q) < 4 * np.sqrt(q * (1 - q) / n)
    rest = np.array(
        [
            question.heights[0, bar] == question.last[bar]
            for question in drawn
            for bar in range(5)
            if bar not in question.asked
        ]
    )
    assert abs(rest.mean() - 0.5) < 4 * np.sqrt(0.25 / rest.size)
    kinds = np.array([make_question(seed, 2, 2, 2, "any", 0.5, 0.0).kind for seed in range(1500)])
    assert all(abs((kinds == kind).mean() - 1 / 3) < 0.05 for kind in ("sum", "difference", "highest"))


def test_instances_differ():
    tables = [BUILD(seed) for seed in range(60)]
    assert len({table.fingerprint for table in tables}) == 60
    assert len({table.action_names for table in tables}) == 60
    assert len({opening(table).split("\n")[0] for table in tables[:40]}) > 35
    assert {table.n_actions for table in tables} == {16}


def test_corrupted_pictures():
    table = BUILD(6)
    blank = table.view("rgb_blank").rows(table.start_state)
    assert not blank.any()
    assert not table.view("grid_blank").rows(table.start_state).any()
    later = table.successor[table.outcome_start[table.edge_start[table.start_state]]]
    for view in ("rgb_patches", "grid_noise", "rgb_noise"):
        before, after = (table.view(view).rows(states[:3]) for states in (table.start_state, later))
        assert np.array_equal(before, after)  # one chart is spoilt in one way
        assert not np.array_equal(before[0], before[1])
    half = table.view("rgb_patches").rows(table.start_state[:4])
    assert (half == 0).all(axis=3).mean() == pytest.approx(0.5, abs=0.03)
    clean = BUILD(6, corruption=0.0)
    assert np.array_equal(clean.view("rgb_patches").rows(np.arange(2)), clean.view("rgb").rows(np.arange(2)))
    seen = Observer(table, "both_noise").rows(np.arange(3))
    assert set(seen) == {"text", "grid"}


def test_letters_are_told_apart_and_serve_all_names():
    def drawn(words, height=9):
        page = np.full((16, 16 * len(words), 3), 255.0)
        write(page, words, 2, 3, height, (0, 0, 0))
        return page

    signs = [drawn(sign) for sign in "ABCDEFGHIJKLMNOPQRSTUVWXYZ123456789"]
    distance = [np.abs(a - b).sum() / 765 for a, b in itertools.combinations(signs, 2)]
    assert min(distance) > 3  # in pixels of ink
    for title, names in THEMES:
        assert len({drawn(name).tobytes() for name in (title, *names)}) == 9
        assert len(set(names)) == 8
    clipped = np.zeros((4, 4, 3))
    write(clipped, "AB", -3, -2, 9, (255, 0, 0))  # what lies outside is cut off
    assert clipped[..., 0].any()


# -- contract ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("knobs", [{}, {"paid": "answer", "printed": 0.5, "question": "highest"}, THREE])
def test_contract(knobs):
    check_table(BUILD(1, **knobs))


def test_faces_and_dials():
    check_vector_env("credit/Charts-v0", steps=30)
    env = gymnasium.make("credit/Charts-v0", instance=3)
    shown, info = env.reset(seed=0)
    assert shown["grid"].shape == (5, 4, 3)
    assert shown["text"].startswith("Medals: see the chart.")
    assert info["action_mask"].sum() == 4
    blank = gymnasium.make("credit/Charts-v0", instance=3, observation="both_blank")
    assert blank.reset(seed=0)[0]["text"] == shown["text"]
    envs = gymnasium.make_vec("credit/Charts-v0", num_envs=3, observation="text")
    seen, _ = envs.reset(seed=0)
    assert isinstance(seen, tuple)
    assert all(isinstance(text, str) for text in seen)
    assert oracle.optimal(make_table("Charts", slip=0.1)).J < 1


def test_spelling_keeps_tokens_and_labels():
    plain, spelled = make_table("Charts"), make_table("Charts", spell=1)
    assert plain.n_states == spelled.n_states
    assert (
        pytest.approx(oracle.evaluate(plain, oracle.uniform(plain)).J)
        == oracle.evaluate(spelled, oracle.uniform(spelled)).J
    )
    for name in ("visual", "blind", "facts", "stated"):
        assert np.array_equal(plain.labels[name], spelled.labels[name])
    assert pytest.approx(0.25) == oracle.optimal(without_image(spelled)).J
    ids = gymnasium.make("credit/Charts-v0", spell=1, observation="tokens")
    assert ids.reset(seed=0)[0] in ids.observation_space


def test_sizes():
    assert BUILD(0).n_states < 10_000
    assert BUILD(0, values=5).n_states < 20_000
    # Charts times prefixes, and an end for each chart, set of facts stated and (all right) outcome.
    assert BUILD(0, question="sum").n_states == 16 * (1 + 4 + 4 + 16 + 16 + 48 + 48 + 192 + 192 + 5)


def merged(table):
    """A table whose label says that nothing is seen without the picture."""
    return table.replace(labels={**table.labels, "blind": np.zeros(table.n_states)})


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: BUILD(0, bars=2, facts=3), CreditEnvsError, "facts=3: expected an integer in [2, 2]"),
        (lambda: BUILD(0, bars=7), CreditEnvsError, "bars=7: expected an integer in [2, 6]"),
        (lambda: BUILD(0, prior=1.5), CreditEnvsError, "prior=1.5: expected a number in [0, 1]"),
        (lambda: BUILD(0, printed=-1), CreditEnvsError, "printed=-1: expected a number in [0, 1]"),
        (lambda: BUILD(0, question="sums"), CreditEnvsError, "did you mean 'sum'?"),
        (lambda: BUILD(0, paid="fact"), CreditEnvsError, "did you mean 'facts'?"),
        (lambda: BUILD(0, bar=3), CreditEnvsError, "unknown knob of Charts 'bar'; did you mean 'bars'"),
        (lambda: BUILD(0, facts=4, values=9), CreditEnvsError, "bars=4, values=9, facts=4: "),
        (lambda: judge(BUILD(0), np.zeros(2, int), 1.2), CreditEnvsError, "accuracy=1.2: expected a number in [0, 1]"),
        (lambda: judge(BUILD(0), np.array([-1])), CreditEnvsError, "state: expected a vector of integers in [0, "),
        (lambda: judge(BUILD(0), np.array([1.5])), CreditEnvsError, "state: expected a vector of integers in [0, "),
        (lambda: judge(BUILD(0), np.zeros(2, int), number=np.zeros(3, int)), CreditEnvsError, "number: expected 2"),
        (lambda: judge(make_table("Pivots"), np.zeros(1, int)), TableError, "expected a Charts table"),
        (lambda: key_facts(make_table("Pivots"), 0), TableError, "expected a Charts table"),
        (lambda: key_facts(BUILD(0), -1), CreditEnvsError, "state=-1: expected an integer in [0, "),
        (lambda: without_image(make_table("Pivots")), TableError, "expected the label blind, as Charts tables have it"),
        (lambda: without_image(merged(BUILD(0))), TableError, "the label blind hides more than pictures"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


@pytest.mark.parametrize(
    ("knobs", "fingerprint"),
    [
        ({}, "d760372980386791dfab50c5e3f0ddeac6b728334d60eaa10f493cc4f95bc3d1"),
        (
            {"paid": "answer", "printed": 0.5, "question": "sum"},
            "6f8a492c5ea1296d491b33d7c44776618af1b967b097b302a7f67d8943b9828b",
        ),
    ],
)
def test_known_instance(knobs, fingerprint):
    # Changing one of these numbers means a new version of the environment.
    assert BUILD(7, **knobs).fingerprint == fingerprint


def test_golden_transcript():
    parts = []
    for table, seed in ((BUILD(3), 2), (BUILD(4, question="highest", printed=0.5), 3)):
        env = TabularEnv(table, "ansi")
        chart = env.reset(seed=seed)[0].split("\n" + table.view("text").rows(np.array([env.state]))[0])[0]
        parts.append(chart + "\n\n" + transcript(table, seed=seed))
    check_golden("charts", "\n".join(parts))
