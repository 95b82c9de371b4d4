"""Apps: every call recomputed from what the texts say, and numbers derived by hand."""

import re
from collections import defaultdict

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
from credit_envs.families.apps import habits
from credit_envs.families.apps_task import make_task
from credit_envs.registry import make_table
from credit_envs.table.build import union
from credit_envs.testing import check_table, check_vector_env

BUILD = FAMILIES["Apps"].build
LUCK = {"guess": 1.0, "flaky": 0.0, "lost": 0.0}
SIZES = {"apps": st.integers(1, 3), "subtasks": st.integers(1, 3), "values": st.integers(1, 2)}
KNOBS = SIZES | {
    "guess": st.sampled_from([0.0, 0.3, 1.0]),
    "flaky": st.sampled_from([0.0, 0.2]),
    "lost": st.sampled_from([0.0, 0.4]),
}
SEEDS = st.integers(0, 2**53)


def texts(table):
    return table.view("text").rows(np.arange(table.n_states))


def edge(table, state, command):
    return int(table.find_edges(np.array(state), np.array(table.action_names.index(command))))


def parse(text):
    """Reads a state off its text, as a dict that tells it from all others."""
    done = re.search(r"passed: (\d) of", text)
    if done:
        return {"passed": int(done.group(1))}
    number, total, own = re.match(r"Subtask (\d) of (\d): in (\w+),", text).groups()
    sure, unsure, missed = map(int, re.search(r"before: (\d) \w+, (\d) \w+, (\d) missed", text).groups())
    assert sure + unsure + missed == int(number) - 1
    found, record = re.search(r"wants: (.+)\.$", text, re.M), re.search(r"^Record: (.+), (.*)confirmed\.$", text, re.M)
    return {
        "number": int(number),
        "total": int(total),
        "own": own,
        "sure": sure,
        "unsure": unsure,
        "tokens": frozenset(re.findall(r"^(\w+): logged in;", text, re.M)),
        "docs": frozenset(re.findall(r"^(\w+): (?:not )?logged in; \w+\(\)", text, re.M)),
        "open": frozenset(re.findall(r"^(\w+): (?:not )?logged in;", text, re.M)),
        "found": found and found.group(1),
        "record": record and record.group(1),
        "confirmed": bool(record and not record.group(2)),
        "response": re.search(r"^Response: (.+)$", text, re.M).group(1),
    }


class Rules:
    """What the docstring says that calls do, on parsed texts."""

    def __init__(self, words, knobs):
        self.knobs = knobs
        self.subtasks = {s["number"]: (s["own"], s["open"]) for s in map(parse, words) if "own" in s}
        line = r"^(\w+): .+; (\w+)\(\) shows the \w+; (\w+)\(\w+\); (\w+)\(\) shows the record\.$"
        self.verbs = {m[0]: m[1:] for text in words for m in re.findall(line, text, re.M)}
        self.values = defaultdict(set)
        for text in words:
            for app, value in re.findall(r"^\[\d+\] (\w+)\.\w+ (.+)$", text, re.M):
                self.values[app].add(value)

    def outcomes(self, s, command):
        """Returns successor (as sorted items) → probability."""
        s = {**s, "response": "200 OK"}
        out = defaultdict(float)

        def to(p, **changes):
            if p > 0:
                out[frozenset({**s, **changes}.items())] += p

        right = s["found"] is not None and s["record"] == s["found"]
        sure, unsure = s["sure"] + (right and s["confirmed"]), s["unsure"] + (right and not s["confirmed"])
        if command == "complete_task":
            chances = {sure: 1.0}
            for _ in range(unsure):
                after = defaultdict(float)
                for n, p in chances.items():
                    after[n] += p * self.knobs["lost"]
                    after[n + 1] += p * (1 - self.knobs["lost"])
                chances = after
            return {frozenset({"passed": n}.items()): p for n, p in chances.items() if p > 0}
        if command == "next_subtask":
            own, is_open = self.subtasks[s["number"] + 1]
            kept = {"docs": s["docs"] & is_open, "tokens": s["tokens"] & is_open, "open": is_open, "own": own}
            fresh = {"found": None, "record": None, "confirmed": False}
            to(1, number=s["number"] + 1, sure=sure, unsure=unsure, **kept, **fresh)
        elif command.startswith("read_docs "):
            to(1, docs=s["docs"] | {command.split()[1]})
        else:
            self._call(s, command, to)
        return dict(out)

    def _call(self, s, command, to):
        app, verb, value = re.fullmatch(r"(\w+)\.(\w+) ?(.*)", command).groups()
        flaky, lost = self.knobs["flaky"], self.knobs["lost"]
        busy = f"503 {command} is unavailable, try again"
        if verb == "login":
            if app in s["tokens"]:
                return to(1)
            to(flaky, response=busy)
            return to(1 - flaky, tokens=s["tokens"] | {app})
        look, write, check = self.verbs[app]
        early = {look: False, write: s["found"] is None, check: s["record"] is None}[verb]
        done = {look: s["found"] is not None, write: s["record"] == value, check: s["confirmed"]}[verb]
        if app != s["own"]:
            return to(1, response="409 not possible now")
        if app not in s["tokens"]:
            return to(1, response="401 not logged in")
        if early:
            return to(1, response="409 not possible now")
        if done:
            return to(1)
        told = 1.0 if app in s["docs"] else self.knobs["guess"]
        to(1 - told, response="400 bad arguments, see the documentation")
        to(told * flaky, response=busy)
        p = told * (1 - flaky)
        if verb == look:
            for v in self.values[app]:
                to(p / len(self.values[app]), found=v)
        elif verb == write:
            to(p, record=value, confirmed=False)
        else:
            to(p * (1 - lost), confirmed=True)
            to(p * lost, record=None)
        return None


@settings(max_examples=25, deadline=None)
@given(knobs=st.fixed_dictionaries(KNOBS), seed=SEEDS)
def test_calls_do_what_the_rules_say_of_the_texts(knobs, seed):
    table = BUILD(seed, **knobs)
    words = texts(table)
    assert len(set(words)) == table.n_states
    rules, parsed = Rules(words, knobs), [parse(text) for text in words]
    number = {frozenset(s.items()): i for i, s in enumerate(parsed)}
    assert len(number) == table.n_states
    for e, (state, action) in enumerate(zip(table.edge_state.tolist(), table.edge_action.tolist(), strict=True)):
        expected = rules.outcomes(parsed[state], table.action_names[action])
        span = slice(*table.outcome_start[e : e + 2])
        found = dict(zip(table.successor[span].tolist(), table.probability[span].tolist(), strict=True))
        assert found == pytest.approx({number[key]: p for key, p in expected.items()}, abs=1e-12)
        ended = "passed" in parsed[table.successor[span][0]]
        assert set(table.terminal[span].tolist()) == {ended}
        paid = [parsed[s].get("passed", 0) / knobs["subtasks"] for s in found]
        assert table.reward[span].tolist() == pytest.approx(paid)


@settings(max_examples=20, deadline=None)
@given(knobs=st.fixed_dictionaries(KNOBS), seed=SEEDS)
def test_texts_list_the_admissible_calls(knobs, seed):
    table = BUILD(seed, **knobs)
    assert len(set(table.action_names)) == table.n_actions == knobs["apps"] * (knobs["values"] + 4) + 2
    for s, text in enumerate(texts(table)):
        actions = table.edge_action[slice(*table.edge_start[s : s + 2])].tolist()
        assert re.findall(r"^\[.+$", text, re.M) == [f"[{a}] {table.action_names[a]}" for a in actions]
        for line in re.findall(r"^Response: 503 (.+) is", text, re.M):
            assert line in [table.action_names[a] for a in actions]


@settings(max_examples=40, deadline=None)
@given(knobs=st.fixed_dictionaries(SIZES), seed=SEEDS)
def test_every_instance_can_be_solved(knobs, seed):
    """Without errors, play takes a login per app and three calls per subtask, and documentation per app if needed."""
    apps, subtasks = min(knobs["apps"], knobs["subtasks"]), knobs["subtasks"]
    for guess, calls in ((1.0, apps + 3 * subtasks), (0.0, 2 * apps + 3 * subtasks)):
        best = oracle.optimal(BUILD(seed, **knobs, guess=guess, flaky=0.0, lost=0.0))
        assert pytest.approx(1) == best.J
        # A horizon of just that many steps is enough, one less is not.
        for horizon, solved in ((calls, True), (calls - 1, False)):
            table = BUILD(seed, **knobs, guess=guess, flaky=0.0, lost=0.0).replace(horizon=horizon)
            assert (oracle.optimal(table).J > 1 - 1e-9) == solved


def test_default_can_be_solved_nearly_surely():
    for seed in range(8):
        assert oracle.optimal(BUILD(seed)).J > 0.999
        assert oracle.optimal(BUILD(seed, apps=4, subtasks=5)).J > 0.999


def test_uniform_play_by_hand():
    """Six calls, six steps: login, look-up and write each come with 1/6 while the task isn't completed (4/6 wait).

    They are done after 3, 4 or 5 steps with 1, 3·(2/3), 6·(4/9) times 1/216; then completing takes one of the 3, 2 or 1
    steps left, so J = (91/216 + 2·11/36 + 8/3·1/6) / 216 = 319/46656.
    """
    for seed in range(5):
        table = BUILD(seed, apps=1, subtasks=1, values=1, horizon_factor=1, **LUCK)
        assert (table.horizon, table.n_actions) == (6, 7)  # next_subtask is never admissible here
        assert pytest.approx(319 / 46656, abs=1e-15) == oracle.evaluate(table, oracle.uniform(table)).J


def test_worth_of_documentation_by_hand():
    """Made-up arguments are right with g = 1/4; logged in, three of six steps left: look-up and write must both be: g².

    With four left there is time to read first: 1. Looking up at once is worth g + (1 − g)·g².
    """
    table = BUILD(1, apps=1, subtasks=1, values=1, guess=0.25, flaky=0.0, lost=0.0, horizon_factor=1)
    start, best = int(table.start_state[0]), oracle.optimal(table)
    app = table.action_names[[name.endswith(".login") for name in table.action_names].index(True)].split(".")[0]
    logged_in = int(table.successor[table.outcome_start[edge(table, start, f"{app}.login")]])
    assert best.V[3, logged_in] == pytest.approx(1 / 16)
    assert best.V[2, logged_in] == pytest.approx(1)
    look = next(v[0] for k, v in Rules(texts(table), {}).verbs.items() if k == app)
    assert best.q_edges(2)[edge(table, logged_in, f"{app}.{look}")] == pytest.approx(1 / 4 + 3 / 4 / 16)
    assert best.q_edges(2)[edge(table, logged_in, f"read_docs {app}")] == pytest.approx(1)


def test_worth_of_checking_by_hand():
    """Going on without a check loses 0.2 of one of two subtasks; two unchecked records are binomial with 0.8.

    Checking the second of them saves it, which leaves (1 + 0.8) / 2.
    """
    table = BUILD(3, apps=1, subtasks=2, values=1, horizon_factor=50)
    labels, best = table.labels, oracle.optimal(table)
    fine = (labels["error"] == 0) & (labels["stage"] == 3) & (labels["documented"] == 1)
    first = int(np.flatnonzero(fine & (labels["segment"] == 0))[0])
    q = best.q_edges(0)
    assert best.V[0, first] == pytest.approx(1)
    assert q[edge(table, first, "next_subtask")] == pytest.approx(1 - 0.2 / 2)
    both = int(np.flatnonzero(fine & (labels["segment"] == 1) & (labels["unsure"] == 1))[0])
    span = slice(*table.outcome_start[edge(table, both, "complete_task") + np.arange(2)])
    chance = dict(zip(labels["sure"][table.successor[span]].tolist(), table.probability[span].tolist(), strict=True))
    assert chance == pytest.approx({0: 0.04, 1: 0.32, 2: 0.64})
    check = int(labels["check_action"][both])
    assert q[edge(table, both, table.action_names[check])] == pytest.approx((1 + 0.8) / 2)


def test_habits_and_labels():
    table = BUILD(2)
    flags, names = habits(table), np.array(table.action_names)[table.edge_action]
    parsed = [parse(text) for text in texts(table)]
    verbs = Rules(texts(table), {}).verbs
    for e, (s, name) in enumerate(zip(table.edge_state.tolist(), names.tolist(), strict=True)):
        at, own = parsed[s], parsed[s]["own"]
        assert flags["docs"][e] == (name == f"read_docs {own}" and own not in at["docs"])
        assert flags["check"][e] == (
            name == f"{own}.{verbs[own][2]}" and at["record"] is not None and not at["confirmed"]
        )
        assert flags["retry"][e] == (at["response"].startswith(f"503 {name} is"))
    assert all(flag.any() for flag in flags.values())
    for s, at in enumerate(parsed):
        label = {name: int(column[s]) for name, column in table.labels.items()}
        if "passed" in at:
            assert (label["segment"], label["sure"], label["stage"]) == (3, at["passed"], -1)
            continue
        assert (label["segment"], label["sure"], label["unsure"]) == (at["number"] - 1, at["sure"], at["unsure"])
        assert (label["docs"], label["documented"]) == (len(at["docs"]), at["own"] in at["docs"])
        assert label["logged_in"] == (at["own"] in at["tokens"])
        assert label["error"] == ["200", "401", "400", "409", "503"].index(at["response"][:3])
    both = habits(union([table, BUILD(3)]))
    for name, flag in habits(BUILD(3)).items():
        assert np.array_equal(both[name], np.append(flags[name], flag))
    with pytest.raises(TableError, match="expected an Apps table"):
        habits(FAMILIES["Pivots"].build(0))


def test_anchor_is_all_but_documentation_and_response():
    table = BUILD(0)
    keys = [tuple((k, v) for k, v in parse(text).items() if k not in ("docs", "response")) for text in texts(table)]
    pairs = set(zip(table.labels["anchor"].tolist(), keys, strict=True))
    assert len(pairs) == len(set(keys)) == np.unique(table.labels["anchor"]).size < table.n_states


def test_instances_differ_and_some_come_back_to_an_app():
    tasks = [make_task(seed, 3, 6, 2) for seed in range(60)]
    assert len({task.words for task in tasks}) > 30
    assert len({task.people for task in tasks}) == 60
    assert len({int(task.order[-1]) for task in tasks}) > 10
    assert len({tuple(task.app.tolist()) for task in tasks}) == 4  # two boundaries, each swapped or not
    for apps, subtasks in ((3, 6), (4, 8), (4, 5), (3, 3), (2, 1)):
        for seed in range(30):
            task = make_task(seed, apps, subtasks, 1)
            opened = [[int(bits) >> a & 1 for a in range(apps)] for bits in task.open_apps]
            assert {sum(row) for row in opened} <= {1, 2}
            turns = task.app.tolist()
            assert opened == [[a in turns[: k + 1] and a in turns[k:] for a in range(apps)] for k in range(subtasks)]
            assert set(task.app.tolist()) <= set(range(apps))
            assert len(set(task.app.tolist())) == min(apps, subtasks)


def test_largest_table_stays_bounded():
    for seed in range(3):
        assert BUILD(seed, apps=4, subtasks=8, values=3).n_states < 100_000


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"apps": 5}, "apps=5: expected an integer in [1, 4]"),
        ({"lost": 1.0}, "lost=1.0: expected a number in [0, 0.9]"),
        ({"subtask": 2}, "unknown knob of Apps 'subtask'; did you mean 'subtasks'"),
    ],
)
def test_wrong_knobs_are_named(knobs, message):
    with pytest.raises(CreditEnvsError, match=re.escape(message)):
        BUILD(0, **knobs)


def test_dials_and_faces_apply():
    table = make_table("credit/Apps-v0", instance=3, unit=2)
    assert table.horizon == 2 * BUILD(3).horizon
    spelled = dials.apply(BUILD(3, apps=1, subtasks=1), spell=True)
    assert "read_docs" in spelled.action_names
    env = gymnasium.make("credit/Apps-v0", instance=3)
    text, info = env.reset(seed=0)
    assert text.startswith("Subtask 1 of 3: in ")
    assert info["action_mask"].sum() == 8
    check_vector_env("credit/Apps-v0", steps=40)
    check_table(BUILD(1))


def test_known_instance():
    assert BUILD(7).fingerprint == "e6319dcd8a9e4f3b67172411ace744c10b83467241caa968326c7d55db5a7ca3"


def test_golden_transcript():
    check_golden("apps", transcript(BUILD(2), seed=4))
