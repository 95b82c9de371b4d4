"""Spelled commands, against play of the original table: by enumeration, by simulation of the token budget, by hand."""

from collections import defaultdict

import gymnasium
import numpy as np
import pytest
from brute_force import by_state, walks
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import make_random_table, random_policy, random_table, toy_text

import credit_envs  # noqa: F401 (registers the ids)
from credit_envs import dials, oracle, registry
from credit_envs.dials.spell import spell, spelled_policy, token_counts
from credit_envs.errors import CreditEnvsError
from credit_envs.table import union
from credit_envs.table.observer import Observer
from credit_envs.testing import check_table

LAKE = ("go west", "go south", "go east", "go north")
TAXI = ("go south", "go north", "go east", "go west", "pick up", "put down")
UNEVEN = ("go", "go north", "take the key", "take the key now", "wait", "go north again")


@st.composite
def named(draw, max_states=4, max_actions=4, max_horizon=3, names=None):
    """Random tables with random commands, many of which begin others."""
    table = draw(random_table(max_states, max_actions, max_horizon))
    command = st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map(" ".join)
    size = table.n_actions
    chosen = draw(st.lists(names or command, min_size=size, max_size=size, unique=True))
    return table.replace(action_names=tuple(chosen))


def turns(table, walk):
    """A walk of a spelled table as turns: (state, words, reward) each; an unfinished last turn too."""
    out = []
    for step in walk.steps:
        if step.state < table.n_states and table.labels["token"][step.state] == 0:
            out.append([step.state, [], 0.0])
        out[-1][1].append(table.action_names[step.named])
        out[-1][2] += step.reward
    return tuple((s, " ".join(w for w in words if w[0] != "<"), round(r, 9)) for s, words, r in out)


def distribution(walked):
    found = defaultdict(float)
    for chance, key in walked:
        found[key] += chance
    return found


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for key, p in expected.items():
        assert found[key] == pytest.approx(p, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(named(max_horizon=2), st.integers(0, 99))
def test_padded_turns_are_the_turns_of_the_table(table, seed):
    policy = random_policy(table, seed)
    spelled = spell(table, spell_pad=True)
    found = distribution(
        (w.chance, turns(spelled, w)) for w in walks(spelled, by_state(spelled_policy(table, spelled, policy)))
    )
    expected = distribution(
        (w.chance, tuple((s.state, table.action_names[s.action], round(s.reward, 9)) for s in w.steps))
        for w in walks(table, by_state(policy))
    )
    assert_same(found, expected)


def budgeted(table, policy, budget):
    """Distribution of (return, tokens) by the definition: commands cost their words, until the budget is spent."""
    words = [name.split() for name in table.action_names]
    now = {(int(s), 0, 0.0): p for s, p in zip(table.start_state, table.start_probability, strict=True)}
    cutoff = np.zeros(table.n_states) if table.cutoff_reward is None else table.cutoff_reward
    done = defaultdict(float)
    while now:
        following = defaultdict(float)
        for (state, spent, total), p in now.items():
            for action, outcomes in table.P[state].items():
                cost = len(words[action])
                cost += any(words[a][:cost] == words[action] and len(words[a]) > cost for a in table.P[state])
                if policy[state, action] == 0:
                    continue
                if spent + cost > budget:
                    done[round(total + cutoff[state], 9), budget] += p * policy[state, action]
                    continue
                for q, successor, reward, terminal in outcomes:
                    chance, sum_, last = p * policy[state, action] * q, round(total + reward, 9), spent + cost == budget
                    if terminal or last:
                        extra = 0.0 if terminal else cutoff[successor]
                        done[round(sum_ + extra, 9), spent + cost] += chance
                    else:
                        following[successor, spent + cost, sum_] += chance
        now = following
    return done


def played(table, policy):
    """Distribution of (return, steps) of a table."""
    now = {(int(s), 0.0): p for s, p in zip(table.start_state, table.start_probability, strict=True)}
    done = defaultdict(float)
    for t in range(table.horizon):
        following = defaultdict(float)
        for (state, total), p in now.items():
            for action, outcomes in table.P[state].items():
                for q, successor, reward, terminal in outcomes:
                    chance = p * policy[state, action] * q
                    if chance and terminal:
                        done[round(total + reward, 9), t + 1] += chance
                    elif chance:
                        following[successor, round(total + reward, 9)] += chance
        now = following
    for (state, total), p in now.items():
        extra = 0.0 if table.cutoff_reward is None else table.cutoff_reward[state]
        done[round(total + extra, 9), table.horizon] += p
    return done


@settings(max_examples=50, deadline=None)
@given(named(), st.integers(0, 99))
def test_without_pads_the_horizon_counts_tokens(table, seed):
    policy = random_policy(table, seed)
    spelled = spell(table)
    longest = spelled.horizon // table.horizon
    assert_same(
        played(spelled, spelled_policy(table, spelled, policy)), budgeted(table, policy, longest * table.horizon)
    )


@settings(max_examples=50, deadline=None)
@given(named())
def test_the_words_of_a_state_are_its_commands(table):
    spelled = spell(table)

    def sentences(state, words):
        for action, outcomes in spelled.P[state].items():
            said, successor = (*words, spelled.action_names[action]), outcomes[0][1]
            if successor >= table.n_states:  # inside the turn
                yield from sentences(successor, said)
            else:
                yield " ".join(word for word in said if word != "<end>")

    for state in np.flatnonzero(table.played()):
        assert sorted(sentences(state, ())) == sorted(table.action_names[a] for a in table.P[state])


@settings(max_examples=50, deadline=None)
@given(named(), st.booleans())
def test_words_before_the_last_one_do_nothing(table, pad):
    spelled = spell(table, spell_pad=pad)
    token, state = spelled.labels["token"], spelled.edge_state[spelled.outcome_edge]
    assert np.array_equal(token, spelled.labels["turn"])  # the table had no turns of its own
    assert np.array_equal(np.flatnonzero(token == 0), np.arange(table.n_states))
    pads = np.array([spelled.action_names[a] == "<pad>" for a in spelled.edge_action])[spelled.outcome_edge]
    waits = np.zeros(spelled.n_states, dtype=bool)
    waits[state[pads]] = True
    moves = pads | ((spelled.successor >= table.n_states) & ~waits[spelled.successor])
    assert np.all(spelled.probability[moves] == 1)
    assert not spelled.reward[moves].any()
    assert not spelled.terminal[moves].any()
    longest = spelled.horizon // table.horizon
    assert np.array_equal(token[spelled.successor[moves]], (token[state[moves]] + 1) % longest)
    # Everything else is an outcome of the table, once.
    played = table.played()[table.edge_state[table.outcome_edge]]
    for name in ("probability", "reward", "terminal"):
        assert sorted(getattr(spelled, name)[~moves]) == sorted(getattr(table, name)[played])


@settings(max_examples=40, deadline=None)
@given(named(), st.integers(0, 99), st.booleans())
def test_token_advantages_add_up_to_the_advantage_of_the_turn(table, seed, clock):
    if clock:
        rng = np.random.default_rng(seed)
        table = table.replace(reward_scale=rng.normal(size=table.horizon), reward_shift=rng.normal(size=table.horizon))
    policy = random_policy(table, seed)
    spelled = spell(table, spell_pad=True)
    longest = spelled.horizon // table.horizon
    words = spelled_policy(table, spelled, policy)
    turn, token = oracle.evaluate(table, policy), oracle.evaluate(spelled, words)
    alive = table.played()
    np.testing.assert_allclose(token.V[::longest, : table.n_states][:, alive], turn.V[:, alive], atol=1e-9)
    assert pytest.approx(turn.J, abs=1e-9) == token.J
    word_of = {word: i for i, word in enumerate(spelled.action_names)}
    for edge in np.flatnonzero(alive[table.edge_state]):
        start, command = int(table.edge_state[edge]), table.action_names[table.edge_action[edge]]
        path, state = [], start
        for word in (*command.split(), "<end>"):
            if word not in word_of or word_of[word] not in spelled.P[state]:
                break  # nothing goes on with this command, so it was executed
            path.append((state, int(spelled.find_edges(np.array([state]), np.array([word_of[word]]))[0])))
            state = spelled.P[state][word_of[word]][0][1]
            if state < table.n_states or spelled.action_names[next(iter(spelled.P[state]))] == "<pad>":
                break
        assert len(path) - len(command.split()) in (0, 1)
        states, edges = np.array(path).T
        for t in range(table.horizon):
            each = token.advantage_at(t * longest + np.arange(len(path)), states, edges)
            assert each.sum() == pytest.approx(float(turn.advantage_at(np.array(t), np.array(start), edge)), abs=1e-9)


@pytest.mark.parametrize(("name", "words"), [("FrozenLake", LAKE), ("Taxi", TAXI)])
def test_imported_tables_spell(name, words):
    table = toy_text(name, 10).replace(action_names=words)
    spelled = spell(table)
    check_table(spelled)
    policy = random_policy(table, 0)
    lifted = spelled_policy(table, spelled, policy)
    assert spelled.horizon == 20
    turn, token = oracle.evaluate(table, policy), oracle.evaluate(spelled, lifted)
    assert pytest.approx(turn.J, abs=1e-9) == token.J
    alive = table.played()
    np.testing.assert_allclose(token.V[::2, : table.n_states][:, alive], turn.V[:, alive], atol=1e-9)
    best, slow = oracle.optimal(table), oracle.optimal(spelled)
    assert pytest.approx(best.J, abs=1e-9) == slow.J
    assert slow.length == pytest.approx(2 * best.length)
    before, after = oracle.spread(table, policy), oracle.spread(spelled, lifted)
    assert after.luck == pytest.approx(before.luck)  # words know no luck
    assert after.skill == pytest.approx(before.skill)


def test_tokens_per_turn_by_hand():
    lake = toy_text("FrozenLake", 10).replace(action_names=LAKE)
    assert token_counts(spell(lake), oracle.uniform(spell(lake))) == pytest.approx(
        (2, 1)
    )  # only the direction is a choice
    taxi = toy_text("Taxi", 10).replace(action_names=TAXI)
    spelled = spell(taxi)
    lifted = spelled_policy(taxi, spelled, oracle.uniform(taxi))
    assert token_counts(spelled, lifted) == pytest.approx((2, 1 + 4 / 6))  # of go, pick, put, only go leaves a choice
    assert token_counts(spelled, oracle.uniform(spelled)) == pytest.approx((2, 1 + 1 / 3))
    assert token_counts(taxi, oracle.uniform(taxi)) == pytest.approx((1, 1))
    uneven = taxi.replace(action_names=UNEVEN)
    spelled = spell(uneven, spell_pad=True)
    lifted = spelled_policy(uneven, spelled, oracle.uniform(uneven))
    # The first word branches; so does what follows `go`, `go north` and `take the key`.
    assert token_counts(spelled, lifted) == pytest.approx((4, 1 + 3 / 6 + 2 / 6 + 2 / 6))
    endless = spell(uneven.replace(horizon=2000))
    lifted = spelled_policy(uneven, endless, oracle.uniform(uneven))
    # `go` and `go north` and `take the key` need an <end>.
    assert token_counts(endless, lifted).tokens == pytest.approx((2 + 3 + 4 + 4 + 1 + 3) / 6, rel=1e-3)


def test_words_vocabulary_and_numbers():
    table = toy_text("Taxi", 5).replace(action_names=UNEVEN)
    spelled = spell(table, spell_pad=True)
    assert spelled.action_names == ("again", "go", "key", "north", "now", "take", "the", "wait", "<end>", "<pad>")
    assert spell(table.replace(action_names=TAXI)).action_names == (
        "down",
        "east",
        "go",
        "north",
        "pick",
        "put",
        "south",
        "up",
        "west",
    )
    start = int(table.start_state[0])
    text, tokens = spelled.view("text"), spelled.view("tokens")
    first = table.view("text").rows(np.array([start]))[0]
    assert text.rows(np.array([start])) == [f"{first}\n> _"]
    state, shown = start, []
    for word in ("take", "the", "key", "now"):
        shown.append(text.rows(np.array([state]))[0].removeprefix(first))
        state = spelled.P[state][spelled.action_names.index(word)][0][1]
    assert shown == ["\n> _", "\n> take _", "\n> take the _", "\n> take the key _"]
    assert state < table.n_states
    state = spelled.P[start][spelled.action_names.index("wait")][0][1]
    pads = []
    while state >= table.n_states:
        pads.append(text.rows(np.array([state]))[0].split("\n")[-1])
        assert list(spelled.P[state]) == [9]
        state = spelled.P[state][9][0][1]
    assert pads == ["> <pad> <pad> <pad> _", "> <pad> <pad> _", "> <pad> _"]
    rows = tokens.rows(np.arange(spelled.n_states))
    assert rows.shape == (spelled.n_states, 4)
    assert np.unique(rows, axis=0).shape == rows.shape  # nothing that spelling adds is hidden
    assert spelled.emission.n_base == spelled.n_states
    assert list(map(len, tokens.rows(np.arange(3)))) == [4, 4, 4]
    assert rows[start].tolist() == [int(table.emission.base[start]), 0, 0, 0]


def test_labels_follow_their_state():
    table = registry.make_table("Pivots", length=2, fillers=1).replace(action_names=("pull it", "push it", "wait"))
    spelled = spell(table)
    token, turn, unit = spelled.labels["token"], spelled.labels["turn"], table.labels["turn"]
    assert np.array_equal(turn[: table.n_states], 2 * unit)  # turns of the table stay turns
    assert set(token) == {0, 1}
    anchors = np.stack([spelled.labels["anchor"], spelled.labels["position"] * 0 + spelled.labels["prefix"]])
    assert np.unique(spelled.labels["anchor"]).size == np.unique(anchors, axis=1).shape[1] == spelled.n_states
    for name in ("segment", "position", "wrong"):
        assert np.array_equal(spelled.labels[name][: table.n_states], table.labels[name])
    inner = np.flatnonzero(token == 1)
    before = spelled.edge_state[np.isin(spelled.successor, inner)]
    into = spelled.successor[np.isin(spelled.successor, inner)]
    assert np.array_equal(spelled.labels["segment"][before], spelled.labels["segment"][into])


def test_aliased_states_share_their_prefixes():
    table = dials.apply(toy_text("FrozenLake", 5).replace(action_names=LAKE), aliasing=0.5)
    spelled = spell(table)
    assert spelled.emission.n_base == 2 * table.emission.n_base - (table.n_admissible == 0).sum()


def test_spelling_composes_in_its_place():
    table = toy_text("FrozenLake", 6).replace(action_names=LAKE)
    wanted = {
        "slip": 0.2,
        "unit": 2,
        "horizon": 8,
        "plan": 2,
        "spell": True,
        "spell_pad": True,
        "cue": 0.3,
        "skin_rate": 0.5,
    }
    turned = dials.apply(table, **wanted)
    assert dials.apply(table, **dict(reversed(wanted.items()))).fingerprint == turned.fingerprint
    assert turned.horizon == 8 * 3 * 2
    one_by_one = table
    for names in (("slip",), ("unit",), ("horizon",), ("plan",), ("spell", "spell_pad"), ("skin_rate",), ("cue",)):
        one_by_one = dials.apply(one_by_one, **{name: wanted[name] for name in names})
    assert one_by_one.fingerprint == turned.fingerprint
    report, stretched = dials.measured(turned)["measured"], dials.apply(table, slip=0.2, unit=2, horizon=8)
    steps = token_counts(stretched, oracle.uniform(stretched)).tokens  # less than 2: some units end the episode
    assert report["tokens_per_turn"] == pytest.approx(2 * 3 * steps)
    assert report["symbols"] == 2
    assert report["J"] == pytest.approx(oracle.evaluate(stretched, oracle.uniform(stretched)).J)
    check_table(turned)
    text = Observer(turned, "text")
    assert all(row in text.space for row in text.rows(np.arange(0, turned.n_obs, 97)))


@pytest.mark.parametrize("dial", [{"delay": 4}, {"density": 0.5}])
def test_what_is_owed_is_paid_in_its_turn(dial):
    table = make_random_table(4, n_states=8, n_actions=3, horizon=5).replace(
        action_names=("go", "go on", "stop it now")
    )
    late = dials.apply(table, **dial)
    spelled = dials.apply(table, **dial, spell=1, spell_pad=True)
    policy = random_policy(late, 1)
    lifted = spelled_policy(late, spelled, policy)
    assert pytest.approx(oracle.evaluate(late, policy).J) == oracle.evaluate(spelled, lifted).J
    assert oracle.evaluate(late, policy).J != 0
    with pytest.raises(CreditEnvsError, match=r"5 turns, and commands differ in length; expected spell_pad=True"):
        dials.apply(table, **dial, spell=1)


def test_a_cue_shifts_words():
    table = toy_text("FrozenLake", 6).replace(action_names=LAKE)
    spelled, cued = dials.apply(table, spell=1), dials.apply(table, spell=1, cue=1)
    perception = oracle.perception(cued, oracle.uniform(cued))
    assert perception.with_image == pytest.approx(oracle.optimal(spelled).J)
    assert perception.gap > 0  # the direction must be seen, `go` need not


def test_instances_of_a_family_form_a_pool():
    tables = [spell(registry.make_table("KeyRooms", instance=i)) for i in range(3)]
    assert len({table.action_names for table in tables}) == 1
    pool = union(tables)
    assert (
        pytest.approx(np.mean([oracle.evaluate(table, oracle.uniform(table)).J for table in tables]))
        == oracle.evaluate(pool, oracle.uniform(pool)).J
    )


def test_units_are_still_counted_in_steps():
    table = toy_text("FrozenLake", 6).replace(action_names=LAKE)
    for setting in ({"spell": 1}, {"plan": 2}, {"plan": 2, "spell": 1}):
        for k in (1, 3):
            assert dials.measured(dials.apply(table, unit=k, **setting))["measured"]["unit"] == k
        assert dials.solve(table, "unit", 4, **setting).setting == {"unit": 4}


def test_sampled_rollouts_know_their_turns():
    pytest.importorskip("torch")
    from credit_envs.sampling import Sampler

    table = spell(toy_text("Taxi", 6).replace(action_names=UNEVEN), spell_pad=True)
    batch = Sampler(table, oracle.uniform(table), seed=3).groups(4, 4).trajectories
    assert batch.turn.shape == (16, 24)
    assert np.array_equal(batch.turn.numpy(), np.tile(np.arange(24) // 4, (16, 1)))


def test_policies_on_looks_spell_too():
    table = toy_text("FrozenLake", 6).replace(action_names=UNEVEN[:4])
    table = dials.apply(table, aliasing=0.5)
    spelled = spell(table, spell_pad=True)
    looks = random_policy(table, 3, rows="look")
    lifted = spelled_policy(table, spelled, looks)
    assert pytest.approx(oracle.evaluate(table, looks).J) == oracle.evaluate(spelled, lifted).J
    np.testing.assert_allclose(lifted.sum(axis=1), spelled.n_admissible > 0)
    assert not lifted[~spelled.mask].any()
    greedy = np.tile([1.0, 0, 0, 0], (table.n_states, 1))  # never says `take`: what would follow is uniform
    lifted = spelled_policy(table, spelled, greedy)
    take = np.flatnonzero((spelled.labels["token"] == 3) & (spelled.n_admissible == 2))
    assert take.size
    assert set(lifted[take].ravel()) == {0.0, 0.5}


@pytest.mark.parametrize("observation", ["state", "text", "tokens"])
def test_gymnasium_makes_spelled_environments(observation):
    env = gymnasium.make("credit/Taxi-v0", spell=True, spell_pad=True, observation=observation)
    assert env.action_space.n == len(env.unwrapped.table.action_names)
    check_env(env.unwrapped, skip_render_check=True)
    envs = gymnasium.make_vec("credit/KeyRooms-v0", num_envs=2, spell=True, observation=observation)
    obs, _ = envs.reset(seed=1)
    obs, *_ = envs.step(envs.action_space.sample())
    assert obs in envs.observation_space
    envs.close()


def test_stable_baselines_takes_tokens():
    pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.env_checker import check_env as check_sb3

    check_sb3(gymnasium.make("credit/FrozenLake-v0", spell=True, observation="tokens").unwrapped)


def test_off_leaves_the_table_as_it_is():
    table = toy_text("FrozenLake", 5)
    assert spell(table, False) is table
    assert dials.apply(table, spell=0).fingerprint == table.fingerprint


@pytest.mark.parametrize(
    ("change", "setting", "message"),
    [
        ({}, {"spell": 2}, r"spell=2: expected an integer in \[0, 1\]"),
        ({}, {"spell_pad": True}, "spell_pad=True: expected with spell"),
        ({}, {"spell": 1, "spell_pad": 3}, r"spell_pad=3: expected an integer in \[0, 1\]"),
        ({}, {"spell": 1, "max_states": 20}, r"spell: \d+ states, more than max_states=20"),
        ({"action_names": ("a", "b", "", "d")}, {"spell": 1}, r"action_names\[2\]='': expected words"),
        (
            {"action_names": ("a", "b", "c <end>", "d")},
            {"spell": 1},
            r"action_names\[2\]='c <end>': expected words, none",
        ),
        ({"action_names": ("a", "b c", "b  c", "d")}, {"spell": 1}, "actions 1 and 2 of state 0 are both 'b c'"),
        (
            {"action_names": ("a", "b c", "c", "d"), "reward_scale": np.ones(5)},
            {"spell": 1},
            "pays by the clock .* expected spell_pad=True",
        ),
    ],
)
def test_bad_settings_are_refused(change, setting, message):
    with pytest.raises(CreditEnvsError, match=message):
        dials.apply(toy_text("FrozenLake", 5).replace(**change), **setting)


def test_misuse_is_refused():
    table = toy_text("FrozenLake", 5).replace(action_names=LAKE)
    spelled = spell(table)
    with pytest.raises(CreditEnvsError, match="spell: FrozenLake has a label 'token' already"):
        spell(spelled)
    with pytest.raises(CreditEnvsError, match=r"spelled: expected FrozenLake as spell left it"):
        spelled_policy(table, spell(table.replace(action_names=UNEVEN[:4])), oracle.uniform(table))
    masked = make_random_table(3, n_actions=3)
    with pytest.raises(CreditEnvsError, match="inadmissible ones cannot be spelled"):
        spelled_policy(masked, spell(masked), np.full((masked.n_states, 3), 1 / 3))


def test_texts_number_no_commands():
    """The Shop lists its commands with their numbers, which are no numbers of words."""
    table = registry.make_table("Shop")
    spelled = spell(table)
    before, after = (t.view("text").rows(t.start_state)[0].splitlines() for t in (table, spelled))
    assert [line.split("] ")[-1] for line in before] == after[:-1]
    assert before[2].startswith("[")
    assert after[-1] == "> _"
