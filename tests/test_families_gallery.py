"""Gallery: values that can be derived by hand, players who see only pictures or only words, and corrupted pictures."""

import hashlib
import re

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transcripts import check_golden, transcript

import credit_envs  # noqa: F401 (registers the ids)
from credit_envs import oracle
from credit_envs.dials.observation import skins
from credit_envs.errors import CreditEnvsError
from credit_envs.faces.single import TabularEnv
from credit_envs.families import FAMILIES
from credit_envs.families.gallery_corrupt import corrupt
from credit_envs.families.gallery_layout import EXITS, HALL, JUNCTION, OVER, SEARCH, SIDE
from credit_envs.families.gallery_views import DOORS
from credit_envs.registry import make_table
from credit_envs.table.observer import Observer
from credit_envs.table.view import View, text_space
from credit_envs.testing import check_table

BUILD = FAMILIES["Gallery"].build
SEEDS = st.integers(0, 2**53)
ANY = {
    "junctions": st.integers(1, 5),
    "exits": st.integers(2, 4),
    "dependence": st.floats(0, 1),
    "hint": st.floats(0, 1),
    "frames": st.integers(1, 4),
    "wrong": st.sampled_from(["dead_end", "detour", "wait", "out"]),
    "passage": st.integers(1, 4),
    "hall": st.integers(0, 3),
}


def shown_codes(table):
    """Observation ids that play can show: (state, code) with positive probability."""
    layer = table.emission.layers[0]
    state, code = np.nonzero(layer.probability[table.n_admissible] > 0)
    return state, code


# -- values by hand ----------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    junctions=ANY["junctions"],
    exits=ANY["exits"],
    delta=ANY["dependence"],
    hint=ANY["hint"],
    hall=ANY["hall"],
    seed=SEEDS,
)
def test_all_or_nothing_in_closed_form(junctions, exits, delta, hint, hall, seed):
    """With the picture 1, without it q^J with q = 1 − δ + δ max(p, 1/n), at random n^−J."""
    knobs = {"junctions": junctions, "exits": exits, "dependence": delta, "hint": hint, "hall": hall}
    table = BUILD(seed, wrong="out", step_cost=0.0, **knobs)
    even = oracle.uniform(table)
    found = oracle.perception(table, even)
    q = 1 - delta + delta * max(hint, 1 / exits)
    assert found.gap == pytest.approx(1 - q**junctions, abs=1e-12)
    assert abs(oracle.optimal(table).J - 1) < 1e-12
    assert abs(oracle.evaluate(table, even).J - exits**-junctions) < 1e-12
    assert oracle.spread(table, even).luck == pytest.approx(0, abs=1e-15)


@settings(max_examples=25, deadline=None)
@given(junctions=ANY["junctions"], exits=ANY["exits"], frames=ANY["frames"], hall=ANY["hall"], seed=SEEDS)
def test_steps_of_the_best_player(junctions, exits, frames, hall, seed):
    """Each corridor is walked once, each junction costs (k − 1)/2 looks on average and one step through an exit."""
    cost = 1e-4
    knobs = {"junctions": junctions, "exits": exits, "frames": frames, "hall": hall}
    table = BUILD(seed, wrong="out", step_cost=cost, **knobs)
    halls = (table.labels["kind"] == HALL).sum()
    best = oracle.optimal(table)
    assert best.length == pytest.approx(halls + junctions * (1 + (frames - 1) / 2))
    assert abs(best.J - (1 - cost * best.length)) < 1e-9
    assert BUILD(seed, horizon_factor=1, **knobs).horizon >= halls + junctions * frames


@pytest.mark.parametrize(
    ("exits", "wrong"), [(2, "wait"), (3, "wait"), (3, "dead_end"), (4, "dead_end"), (3, "detour")]
)
def test_steps_of_a_random_player(exits, wrong):
    """A junction takes n tries on average where one comes back, and each wrong one costs its side room."""
    table = BUILD(3, exits=exits, wrong=wrong, horizon_factor=200.0)
    kind, junction = table.labels["kind"], table.labels["segment"]
    rooms = [(kind[junction == j] == SIDE).sum() for j in range(4)]
    wrong_tries = {"detour": (exits - 1) / exits}.get(wrong, exits - 1)
    tries = {"detour": 1}.get(wrong, exits)
    steps = (kind == HALL).sum() + sum(tries + wrong_tries * room for room in rooms)
    assert wrong == "wait" or min(rooms) >= 1
    assert abs(oracle.evaluate(table, oracle.uniform(table)).J - (1 - 0.02 * steps)) < 1e-9


def test_a_blind_exit_and_a_look_by_hand():
    """One junction, 2 frames, 2 exits, uniform play: V(sign) = 1/2, and V(none) = (1/2 + 1/2 + V(sign)) / 3 = 1/2."""
    table = BUILD(0, junctions=1, exits=2, frames=2, hall=0, wrong="out", step_cost=0.0)
    values = oracle.evaluate(table, oracle.uniform(table))
    sign, search = (int(np.flatnonzero(table.labels["kind"] == kind)[0]) for kind in (JUNCTION, SEARCH))
    assert values.V[0, sign] == pytest.approx(1 / 2)
    assert values.V[0, search] == pytest.approx((2 * 1 / 2 + 1 / 2) / 3)
    best = oracle.optimal(table)
    assert best.q(0, search).tolist()[:2] == [0.5, 0.5]
    assert best.q(0, search)[table.action_names.index("look")] == 1
    assert table.start_probability.tolist() == [0.5, 0.5]


# -- the whole table ---------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(knobs=st.fixed_dictionaries(ANY), seed=SEEDS)
def test_every_place_leads_where_the_rules_say(knobs, seed):
    table = BUILD(seed, **knobs)
    n, k = knobs["exits"], knobs["frames"]
    labels = list(zip(*(table.labels[name].tolist() for name in ("segment", "kind", "left")), strict=True))
    number = {label: s for s, label in enumerate(labels)}
    goal = next(s for s, label in enumerate(labels) if label[1] == OVER)

    def arrive(j):
        """Where one comes to junction j, through its corridor if there is one."""
        if j == knobs["junctions"]:
            return {goal: 1.0}
        halls = [left for (i, kind, left) in labels if (i, kind) == (j, HALL)]
        return {number[j, HALL, max(halls)]: 1.0} if halls else stand(j)

    def stand(j):
        frames = [(j, JUNCTION, 0), *((j, SEARCH, d) for d in range(1, k))]
        return {number[frame]: 1 / k for frame in frames}

    def astray(j):
        rooms = [left for (i, kind, left) in labels if (i, kind) == (j, SIDE)]
        return (
            {number[j, SIDE, max(rooms)]: 1.0} if rooms else stand(j) if knobs["wrong"] == "wait" else {goal + 1: 1.0}
        )

    def mixed(a, b, share):
        return {s: share * a.get(s, 0) + (1 - share) * b.get(s, 0) for s in {*a, *b}}

    rights = []
    for s, (j, kind, left) in enumerate(labels):
        got = {a: {n_: p for p, n_, _, _ in outcomes} for a, outcomes in table.P[s].items()}
        for outcomes in table.P[s].values():
            for _, to, reward, done in outcomes:
                assert done == (to >= goal)
                assert reward == pytest.approx((to == goal) - 0.02)
        if kind in (HALL, SIDE):
            after = {HALL: stand(j), SIDE: arrive(j + 1) if knobs["wrong"] == "detour" else stand(j)}[kind]
            assert got == {n: {number[j, kind, left - 1]: 1.0} if left > 1 else pytest.approx(after)}
        elif kind == SEARCH:
            expected = dict.fromkeys(range(n), mixed(arrive(j + 1), astray(j), 1 / n))
            expected[n + 1] = {number[(j, SEARCH, left - 1) if left > 1 else (j, JUNCTION, 0)]: 1.0}
            assert got.keys() == expected.keys()
            for a, outcomes in expected.items():
                assert got[a] == pytest.approx(outcomes)
        elif kind == JUNCTION:
            right = [a for a in range(n) if got[a] == pytest.approx(arrive(j + 1))]
            assert sorted(got) == list(range(n))
            assert len(right) == 1
            rights += right
            assert all(got[a] == pytest.approx(astray(j)) for a in range(n) if a not in right)
        else:
            assert not got
    assert len(rights) == knobs["junctions"]


# -- players -----------------------------------------------------------------------------------------------------------


def hand(plane, exits):
    """Reads the painted sign off the planes: the exit that the clock hand points to, None if nothing is painted."""
    cells = {(row + 1, column) for row, column in np.argwhere(plane[1:, :, 1] > 0).tolist()} - {(3, 3)}
    if not cells:
        return None
    [(row, column)] = cells
    toward = [np.arctan2(r - 3, c - 3) for r, c in DOORS[exits]]
    return int(np.argmin(np.abs(np.array(toward) - np.arctan2(row - 3, column - 3))))


def arrow(picture, exits):
    """Reads the arrow off the picture: its head is where most of the red lies."""
    region = picture[64:160, 64:160].astype(int)
    red = np.argwhere((region[..., 0] > 190) & (region[..., 1] < 100) & (region[..., 2] < 100))
    if len(red) < 100:
        return None
    row, column = red.mean(axis=0) - 47.5
    toward = [np.deg2rad(angle) for angle in {2: (180, 0), 3: (180, 90, 0), 4: (180, 117, 63, 0)}[exits]]
    return int(np.argmax([column * np.cos(a) - row * np.sin(a) for a in toward]))


def play(table, observation, choose, episodes, seed=0):
    env = TabularEnv(table, observation)
    returns, lengths = [], []
    for i in range(episodes):
        shown, _ = env.reset(seed=seed + i)
        total, over = 0.0, False
        while not over:
            names = [table.action_names[a] for a in np.flatnonzero(table.mask[env.state])]
            shown, reward, over, _, _ = env.step(table.action_names.index(choose(shown, names)))
            total += reward
        returns.append(total)
        lengths.append(env.t)
    return np.array(returns), np.array(lengths)


@pytest.mark.parametrize(
    ("exits", "frames", "observation"), [(2, 1, "grid"), (3, 3, "grid"), (4, 2, "rgb"), (3, 1, "rgb")]
)
def test_a_player_who_only_reads_the_picture_is_optimal(exits, frames, observation):
    table = BUILD(5, exits=exits, frames=frames, wrong="out", step_cost=0.001)
    read = {"grid": hand, "rgb": arrow}[observation]

    def choose(shown, names):
        if "walk" in names:
            return "walk"
        exit = read(shown, exits)
        return "look" if exit is None else EXITS[exits][exit]

    episodes = 60 if observation == "grid" else 15
    returns, lengths = play(table, observation, choose, episodes)
    best = oracle.optimal(table)
    assert np.all(returns > 0.9)
    assert abs(lengths.mean() - best.length) <= 5 * lengths.std() / np.sqrt(episodes) + 1e-9


def test_a_player_who_only_reads_the_text_is_right_as_often_as_the_hint():
    """Follows the visitor at one junction: P(right) = 1 − δ + δ p = 0.3 + 0.7 · 0.6 = 0.72."""
    table = BUILD(2, junctions=1, dependence=0.7, hint=0.6, wrong="out", step_cost=0.0)

    def choose(shown, names):
        if "walk" in names:
            return "walk"
        return re.search(r"(?:points|says:) (.+)\.$", shown)[1]

    returns, _ = play(table, "text", choose, 3000)
    assert abs(returns.mean() - 0.72) < 5 * np.sqrt(0.72 * 0.28 / 3000)
    assert oracle.perception(table, oracle.uniform(table)).without_image == pytest.approx(0.72)


# -- what is shown -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("knobs", [{}, {"frames": 4, "dependence": 0.5}, {"exits": 4, "wrong": "out"}, {"exits": 2}])
def test_text_tells_the_blind_code_and_no_more(knobs):
    table = BUILD(8, **knobs)
    state, code = shown_codes(table)
    obs = table.emission.base[state].astype(np.int64) * table.emission.n_codes + code
    blind = table.emission.base[state].astype(np.int64) * table.emission.n_codes + table.emission.blind[code]
    both = {view: Observer(table, view).rows(obs) for view in ("text", "grid", "rgb", "both_blank", "both_rgb", "ansi")}
    words = both["text"]
    assert both["both_blank"]["text"] == both["both_rgb"]["text"] == words
    assert not both["both_blank"]["grid"].any()
    assert len(set(zip(words, blind.tolist(), strict=True))) == len(set(words)) == len(set(blind.tolist()))
    # Words and picture together tell exactly the observation ids apart.
    for view in ("grid", "rgb"):
        looks = {(w, row.tobytes()) for w, row in zip(words, both[view], strict=True)}
        assert len(looks) == len(set(obs.tolist())), view
    assert len(set(both["ansi"])) == len(set(obs.tolist()))


def test_without_a_cue_the_board_is_empty():
    table = BUILD(1)
    sign = np.flatnonzero(table.labels["kind"] == JUNCTION)[:1]
    assert not table.view("grid").rows(sign)[0, 1:, :, 1].any()
    assert table.view("text").rows(sign)[0].endswith("There is a sign.")
    assert arrow(table.view("rgb").rows(sign)[0], 3) is None


def test_observers_let_views_draw_their_own_layers_and_draw_the_others():
    plain = BUILD(4)
    table = skins(plain, 1.0, 3)
    sign = int(np.flatnonzero(table.labels["kind"] == JUNCTION)[0])
    code = np.flatnonzero(plain.emission.layers[0].probability[3] > 0)[2]
    before = np.array([plain.emission.base[sign] * plain.emission.n_codes + code])
    after = before * 4 + 2
    assert Observer(table, "text").rows(after)[0] == "It is a golden day. " + Observer(plain, "text").rows(before)[0]
    grid = Observer(table, "grid").rows(after)[0]
    assert grid.shape == (8, 7, 3)
    assert np.array_equal(grid[:7], Observer(plain, "grid").rows(before)[0])
    assert grid[7, :, 0].tolist() == [2, 0, 0, 0, 0, 0, 0]
    assert Observer(table, "both_blank").rows(after)["grid"][0, 7, 0, 0] == 2
    with pytest.raises(CreditEnvsError, match="unknown view 'grid_blnk'; did you mean 'grid_blank'"):
        Observer(table, "both_blnk")
    # A view that draws a layer which the table does not have falls back to its plain rows.
    bare = View(text_space(), lambda states: ["plain"] * len(states), ("mood",), lambda states, digits: ["mood"])
    assert Observer(plain.replace(views={"text": bare}), "text").rows(before)[0].startswith("plain The dial is")


def test_a_second_cue_is_refused():
    with pytest.raises(CreditEnvsError, match="already has a 'cue' layer"):
        make_table("credit/Gallery-v0", cue=0.5)


# -- corruption --------------------------------------------------------------------------------------------------------

PICTURE = np.random.default_rng(0).integers(1, 256, (28, 42, 3), dtype=np.uint8)


def test_patches_cover_the_share_asked_for():
    for strength in (0.0, 0.25, 0.5, 1.0):
        black = (corrupt(PICTURE, "patches", strength, 3) == 0).all(axis=2)
        assert black.mean() == pytest.approx(strength)
        blocks = black.reshape(14, 2, 14, 3).transpose(0, 2, 1, 3).reshape(14, 14, 6)
        assert np.all(blocks.all(axis=2) == blocks.any(axis=2))
    small = corrupt(PICTURE[:7, :5], "patches", 0.4, 1)
    assert (small == 0).all(axis=2).sum() == 14


def test_noise_replaces_the_share_asked_for():
    changed = (corrupt(PICTURE, "noise", 0.3, 7) != PICTURE).any(axis=2).mean()
    assert abs(changed - 0.3) < 5 * np.sqrt(0.3 * 0.7 / (28 * 42))
    noise = corrupt(np.zeros((200, 200, 3), np.uint8), "noise", 1.0, 0)
    counts = np.bincount(noise.ravel(), minlength=256)
    assert np.abs(counts - counts.mean()).max() < 6 * np.sqrt(counts.mean())


def test_blank_and_nothing():
    assert not corrupt(PICTURE, "blank").any()
    assert corrupt(PICTURE, "blank", 0.5)[0, 0, 0] == np.rint(PICTURE[0, 0, 0] / 2)
    for kind in ("blank", "patches", "noise"):
        assert np.array_equal(corrupt(PICTURE, kind, 0.0, 5), PICTURE)


@pytest.mark.parametrize("kind", ["patches", "noise"])
def test_seeds_make_corruption_repeatable(kind):
    batch = np.stack([PICTURE, PICTURE, PICTURE])
    out = corrupt(batch, kind, 0.5, np.array([1, 2, 1]))
    assert np.array_equal(out[0], out[2])
    assert not np.array_equal(out[0], out[1])
    assert np.array_equal(out[1], corrupt(PICTURE, kind, 0.5, 2))
    # The same bytes on every machine.
    known = {"patches": "c8bb7b7c173a4311", "noise": "f26ca8b1f5859b5d"}
    ramp = np.arange(28 * 28 * 3, dtype=np.int64).reshape(28, 28, 3).astype(np.uint8)
    assert hashlib.sha256(corrupt(ramp, kind, 0.5, 9).tobytes()).hexdigest()[:16] == known[kind]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((PICTURE, "pathces"), "unknown corruption 'pathces'; did you mean 'patches'?"),
        ((PICTURE, "noise", 1.5), "strength=1.5: expected a number in [0, 1]"),
        ((PICTURE / 255, "noise"), "image: expected uint8 [height, width, channels] or a batch of those, got float64"),
        ((PICTURE[0], "blank"), "or a batch of those, got uint8 (42, 3)"),
        ((PICTURE, "noise", 0.5, -1), "seed=-1: expected an integer ≥ 0"),
        ((PICTURE[None], "noise", 0.5, np.array([1, 2])), "or 1 of them"),
    ],
)
def test_wrong_corruptions_are_named(arguments, message):
    with pytest.raises(CreditEnvsError, match=re.escape(message)):
        corrupt(*arguments)


def test_corrupted_views_hide_the_sign_as_much_as_asked():
    table = BUILD(6, corruption=1.0)
    state, code = shown_codes(table)
    obs = table.emission.base[state].astype(np.int64) * table.emission.n_codes + code
    for kind in ("blank", "patches"):
        assert not Observer(table, f"grid_{kind}").rows(obs).any()
    clean = BUILD(6, corruption=0.0)
    for view in ("grid", "both"):
        for kind in ("patches", "noise"):
            seen, plain = Observer(clean, f"{view}_{kind}").rows(obs), Observer(clean, view).rows(obs)
            seen, plain = (seen["grid"], plain["grid"]) if view == "both" else (seen, plain)
            assert np.array_equal(seen, plain)
    half = Observer(BUILD(6), "rgb_patches").rows(obs[:4])
    assert ((half == 0).all(axis=3)).mean() == pytest.approx(0.5, abs=0.01)


# -- contract ----------------------------------------------------------------------------------------------------------


def test_layouts_differ_between_seeds():
    tables = [BUILD(seed) for seed in range(100)]
    assert len({table.fingerprint for table in tables}) >= 99
    assert len({table.n_states for table in tables}) > 5
    # Changing this number means a new version of the environment.
    assert BUILD(7).fingerprint == "6c7b60107d1ebd8a3ec98360e270976d2231b81ebaa5b2dc8b6be4fbe94e60d7"


@pytest.mark.parametrize("knobs", [{"frames": 3, "dependence": 0.5}, {"wrong": "out"}])
def test_contract(knobs):
    check_table(BUILD(5, **knobs))


def test_registered_with_words_and_picture():
    env = gymnasium.make("credit/Gallery-v0", junctions=2)
    obs, info = env.reset(seed=1)
    assert obs["grid"].shape == (7, 7, 3)
    assert obs["text"].startswith("You are ")
    assert info["action_mask"].sum() in (1, 3)
    blank = gymnasium.make("credit/Gallery-v0", junctions=2, observation="both_blank")
    assert blank.observation_space == env.observation_space
    shown, _ = blank.reset(seed=1)
    assert shown["text"] == obs["text"]
    assert not shown["grid"].any()


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"exits": 5}, "exits=5: expected an integer in [2, 4]"),
        ({"hint": 1.2}, "hint=1.2: expected a number in [0, 1]"),
        ({"dependence": -0.1}, "dependence=-0.1: expected a number in [0, 1]"),
        ({"frames": 0}, "frames=0: expected an integer in [1, 16]"),
        ({"wrong": "deadend"}, "wrong='deadend': expected one of 'dead_end', 'detour', 'wait', 'out'; did you mean"),
        ({"junction": 2}, "unknown knob of Gallery 'junction'; did you mean 'junctions'"),
    ],
)
def test_wrong_knobs_are_named(knobs, message):
    with pytest.raises(CreditEnvsError, match=re.escape(message)):
        BUILD(0, **knobs)


def test_golden_transcript():
    table = BUILD(7, frames=2, dependence=0.7)
    check_golden("gallery", transcript(table, seed=1, drawn=range(100)))
