"""The single environment: Gymnasium's and SB3's checkers, exact luck, errors, rendering, snapshots, truth."""

import copy
import pickle
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.error import NameNotFound, ResetNeeded
from gymnasium.utils.env_checker import check_env

import credit_envs.faces as faces
from credit_envs.errors import CreditEnvsError
from credit_envs.faces.luck import Luck
from credit_envs.registry import ENTRIES, make_table
from credit_envs.table import Emission, Layer, TabularMDP, View, from_outcomes
from credit_envs.table.draws import Purpose, draw, stream
from credit_envs.table.view import stored_view, text_space

faces.register_all()


def frozen_lake(horizon: int = 20) -> TabularMDP:
    env = gymnasium.make("FrozenLake-v1", is_slippery=True).unwrapped
    rows = [(s, a, *outcome) for s in env.P for a in env.P[s] for outcome in env.P[s][a]]
    state, action, probability, successor, reward, terminal = (np.array(column) for column in zip(*rows, strict=True))
    outcomes = {
        "state": state,
        "action": action,
        "successor": successor,
        "probability": probability,
        "reward": reward.astype(float),
        "terminal": terminal.astype(bool),
    }
    return from_outcomes("lake", 16, 4, outcomes, start={0: 1.0}, horizon=horizon, allow_unreachable=True)


def crossroads(horizon: int = 6, **fields: object) -> TabularMDP:
    """Five states on a ring with two starts: both actions in even states, only action 2 in odd ones."""
    rows = []
    for s in range(5):
        for a in (0, 2) if s % 2 == 0 else (2,):
            rows += [(s, a, (s + 1) % 5, 0.25, 1.0 + s, False), (s, a, (s + 3) % 5, 0.75, -0.5, a == 0 and s == 4)]
    state, action, successor, probability, reward, terminal = (np.array(column) for column in zip(*rows, strict=True))
    outcomes = {
        "state": state,
        "action": action,
        "successor": successor,
        "probability": probability,
        "reward": reward,
        "terminal": terminal.astype(bool),
    }
    views = {
        "grid": stored_view(
            gymnasium.spaces.Box(0, 255, (2, 3, 2), np.uint8), np.arange(60, dtype=np.uint8).reshape(5, 2, 3, 2)
        ),
        "text": View(text_space(), lambda states: [f"corner {s}" for s in states]),
        "level": stored_view(
            gymnasium.spaces.Box(-1, 1, (3,), np.float32), np.linspace(-1, 1, 15, dtype=np.float32).reshape(5, 3)
        ),
        "odd": stored_view(gymnasium.spaces.Discrete(2), np.arange(5) % 2),
    }
    return from_outcomes(
        "crossroads",
        5,
        3,
        outcomes,
        start={0: 0.3, 3: 0.7},
        horizon=horizon,
        views=views,
        inadmissible_reward=-2.0,
        **fields,
    )


def dressed(**fields: object) -> TabularMDP:
    """The crossroads with a skin per episode, a cue per step that shifts the action names, and two states that look alike."""
    skin = Layer("skin", True, np.array([0.5, 0.3, 0.2]))
    rows = np.zeros((4, 9))
    for n in (1, 2, 3):
        rows[n, [4 * shift for shift in range(n) if 4 * shift < 9]] = 1
    rows[0, 0] = 1
    rows /= rows.sum(axis=1, keepdims=True)
    cue = Layer("cue", False, rows, "admissible", shift=np.arange(9) // 4, shows_in_anchor=False)
    emission = Emission(np.array([0, 1, 2, 0, 3]), (skin, cue))
    return crossroads(emission=emission, **fields)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_checkers_of_gymnasium_and_sb3(entry):
    from stable_baselines3.common.env_checker import check_env as check_sb3

    shown = make_table(entry.id, **entry.kwargs).views
    views = [entry.observation, "state"]
    if entry.source == "family":
        views += [view for view in ("grid", "text", "both") if view in shown or (view == "both" and "grid" in shown)]
    for view in dict.fromkeys(views):
        env = gymnasium.make(entry.id, observation=view)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", message=".*pkg_resources.*|.*image.*|.*unconventional shape.*")
            check_env(env.unwrapped, skip_render_check=True)
            spaces = env.observation_space.spaces.values() if view in ("both", "original") else [env.observation_space]
            if not any(isinstance(space, gymnasium.spaces.Text) for space in spaces):
                check_sb3(env)


@pytest.mark.parametrize("view", ["state", "grid", "text", "level", "odd"])
def test_checker_on_a_masked_stochastic_table(view, recwarn):
    check_env(faces.TabularEnv(crossroads(), view), skip_render_check=True)
    check_env(faces.TabularEnv(dressed(), "text" if view in ("level", "odd") else view), skip_render_check=True)
    assert not [w for w in recwarn if "spec" not in str(w.message)]


def test_luck_equals_the_counter_based_draws_across_blocks():
    luck = Luck(9, starts=True, outcomes=True, layers=(True, False))
    for rollout in range(400):  # blocks of 1, 4, 16, 64, 256 episodes
        luck.begin(rollout)
        assert luck.start == draw(stream(9, Purpose.START, 0, rollout, 0), 0)
        for t in (0, 1, 15, 16, 17, 40) if rollout % 37 in (0, 1, 4, 5) else (0, 15):
            found = luck.outcome[t] if t < len(luck.outcome) else luck.outcome_at(t)
            assert found == draw(stream(9, Purpose.OUTCOME, 0, rollout, 0), t)


def test_luck_that_is_read_step_by_step_never_skips_a_draw():
    luck = Luck(3, starts=False, outcomes=True, layers=())
    for rollout in (0, 1, 2):
        luck.begin(rollout)
        key = stream(3, Purpose.OUTCOME, 0, rollout, 0)
        assert [luck.outcome[t] if t < len(luck.outcome) else luck.outcome_at(t) for t in range(200)] == [
            draw(key, t) for t in range(200)
        ]
    luck.fork(3, 1, 7, 150)
    key = stream(3, Purpose.OUTCOME, 0, 1, 7)
    assert [luck.outcome_at(t) for t in range(150, 260)] == [draw(key, t) for t in range(150, 260)]


@pytest.mark.parametrize("table", [crossroads(), dressed(), frozen_lake()], ids=lambda table: table.name)
def test_emission_codes_equal_the_emissions_own_sample(table):
    from credit_envs.table.draws import EPISODE, mix_word

    env, rng = faces.TabularEnv(table), np.random.default_rng(0)
    obs, _ = env.reset(seed=5)
    rollout = 0
    for _ in range(400):
        key = stream(5, Purpose.EMISSION, 0, rollout, 0)
        keys = (np.array([mix_word(key, word)], dtype=np.uint64) for word in (env.t, EPISODE))
        code = table.emission.sample(np.array([table.n_admissible[env.state]]), *keys)
        assert obs == table.emission.base[env.state] * table.emission.n_codes + code[0]
        obs, _, terminated, _, _ = env.step(int(rng.integers(table.n_actions)))
        if terminated:
            obs, _ = env.reset()
            rollout += 1


def test_frozen_lake_outcomes_are_as_frequent_as_they_should_be():
    table = frozen_lake()
    env = faces.TabularEnv(table)
    env.reset(seed=1)
    n = 6000
    first = []
    for _ in range(n):
        first.append(env.step(2)[0])
        env.reset()
    share = np.bincount(first, minlength=5)[[0, 1, 4]] / n
    assert np.abs(share - 1 / 3).max() < 5 * np.sqrt(2 / 9 / n)  # right, down and up (a wall) with probability 1/3 each


def test_inadmissible_actions_cost_a_step_and_change_nothing():
    scale, shift = np.linspace(1, 2, 6), np.full(6, 0.25)
    table = crossroads(reward_scale=scale, reward_shift=shift, cutoff_reward=np.arange(5.0) * 10)
    env = faces.TabularEnv(table)
    _, info = env.reset(seed=0)
    state = env.state
    assert info["action_mask"].tolist() == table.mask[state].astype(int).tolist()
    rewards = [env.step(1)[1] for _ in range(5)]
    assert rewards == [s * -2.0 + 0.25 for s in scale[:5].tolist()]
    assert (env.state, env.t) == (state, 5)
    _, reward, terminated, truncated, _ = env.step(1)
    assert reward == 2 * -2.0 + 0.25 + 10 * state
    assert terminated is True
    assert truncated is False
    with pytest.raises(ResetNeeded, match="after the end"):
        env.step(0)


def test_types_are_pythons_own():
    env = faces.TabularEnv(crossroads())
    obs, _ = env.reset(seed=0)
    assert type(obs) is int
    obs, reward, terminated, truncated, _ = env.step(np.int64(2))
    assert [type(x) for x in (obs, reward, terminated, truncated)] == [int, float, bool, bool]
    env.step(np.array(2))


def test_errors_say_what_is_wrong():
    env = faces.TabularEnv(frozen_lake())
    with pytest.raises(ResetNeeded, match="before reset"):
        env.step(0)
    with pytest.raises(ResetNeeded, match="before reset"):
        env.snapshot()
    env.reset(seed=0)
    for action in (-1, 4, "left", 1.5, None, np.array([0, 1])):
        with pytest.raises(CreditEnvsError, match=r"expected an integer in \[0, 3\]"):
            env.step(action)
    assert env.t == 0
    for seed in (-1, 1.5, 1 << 63):
        with pytest.raises(CreditEnvsError, match="seed="):
            env.reset(seed=seed)
    with pytest.raises(NameNotFound, match="KeyRooms"):
        gymnasium.make("credit/KeyRoom-v0")
    with pytest.raises(CreditEnvsError, match="'horizon'"):
        gymnasium.make("credit/KeyRooms-v0", horizn=30)
    with pytest.raises(CreditEnvsError, match="'grid'"):
        gymnasium.make("credit/KeyRooms-v0", observation="gird")
    with pytest.raises(CreditEnvsError, match="restore='maybe'"):
        faces.TabularEnv(frozen_lake(), restore="maybe")
    with pytest.raises(CreditEnvsError, match="render_mode='3d'"):
        faces.TabularEnv(frozen_lake(), render_mode="3d")
    with pytest.raises(CreditEnvsError, match="oracle_info='best'"):
        faces.TabularEnv(frozen_lake(), oracle_info="best")
    with pytest.raises(CreditEnvsError, match="table=None"):
        gymnasium.make("credit/Table-v0")
    with pytest.raises(CreditEnvsError, match="fresh=True"):
        faces.make(frozen_lake(), fresh=True)


def test_seeds_are_honoured_and_restart_the_count():
    table = crossroads()
    walks = []
    for _ in range(2):
        env = faces.TabularEnv(table)
        env.reset(seed=11)
        walk = [env.state]
        for _ in range(60):
            walk.append(env.step(2)[0])
            if env.t == table.horizon:
                env.reset()
        walks.append(walk)
    assert walks[0] == walks[1]
    starts = []
    env.reset(seed=11)
    for _ in range(200):
        env.reset()
        starts.append(env.state)
    assert abs(np.mean(np.array(starts) == 0) - 0.3) < 0.15
    unseeded = faces.TabularEnv(table)
    unseeded.reset()
    assert unseeded.np_random_seed != faces.TabularEnv(table).np_random_seed


def test_snapshots_bring_fresh_luck_unless_a_branch_is_named():
    table = dressed(horizon=40, reward_scale=np.linspace(0, 1, 40))
    env = faces.TabularEnv(table.replace(terminal=np.zeros_like(table.terminal)), "text")

    def play(n: int) -> list[object]:
        seen = []
        for _ in range(n):
            obs, reward, terminated, *_ = env.step(2)
            seen.append((obs, reward, terminated))
            if terminated:
                break
        return seen

    env.reset(seed=2)
    play(7)
    there, shown = env.snapshot(), env.step(2)[0]
    first = [shown, *play(25)]
    obs, _ = env.restore(there, branch=there.branch)
    assert env.snapshot() == there
    assert [env.step(2)[0], *play(25)] == first
    runs = []
    for _ in range(4):
        again, _ = env.restore(there)
        assert again == obs
        runs.append(str(play(25)))
    assert len(set(runs)) == 4
    assert env.snapshot().branch == 4
    other = faces.TabularEnv(env.table, "text")
    assert other.restore(there)[0] == obs
    env.reset()
    assert env.snapshot().rollout == 1
    assert env.snapshot().branch == 0


def test_a_deep_copy_plays_the_same_luck_and_goes_its_own_way():
    table = dressed(horizon=40)
    env = faces.TabularEnv(table.replace(terminal=np.zeros_like(table.terminal)))
    env.reset(seed=3)
    env.step(2)
    twin = copy.deepcopy(env)
    assert twin.snapshot() == env.snapshot()
    ours = [env.step(2)[:2] for _ in range(30)]
    assert twin.t == 1
    assert [twin.step(2)[:2] for _ in range(30)] == ours
    twin.reset(seed=8)
    assert env.t == 31
    assert env.snapshot().seed == 3


def test_restore_modes_charge_or_refuse():
    for mode, cost in (("free", 0), ("replay", 3)):
        env = faces.TabularEnv(crossroads(), restore=mode)
        env.reset(seed=0)
        for _ in range(3):
            env.step(2)
        env.restore(env.snapshot())
        assert env.restore_cost == cost
    refusing = faces.TabularEnv(crossroads(), restore="none")
    refusing.reset(seed=0)
    with pytest.raises(CreditEnvsError, match="restore='none'"):
        refusing.restore(refusing.snapshot())
    ended = faces.TabularEnv(crossroads(horizon=1))
    ended.reset(seed=0)
    ended.step(2)
    ended.restore(ended.snapshot())
    with pytest.raises(ResetNeeded):
        ended.step(2)
    with pytest.raises(CreditEnvsError, match=r"snapshot\.state=9"):
        ended.restore(ended.snapshot()._replace(state=9))


def test_oracle_info_is_absent_unless_asked_for_and_consistent():
    from credit_envs import oracle

    table = crossroads(cutoff_reward=np.arange(5.0))
    plain = faces.TabularEnv(table)
    assert set(plain.reset(seed=0)[1]) == {"action_mask"}
    assert faces.TabularEnv(frozen_lake()).reset(seed=0)[1] == {}
    policy = oracle.uniform(table)
    for choice, values in ((True, oracle.optimal(table)), ("uniform", oracle.evaluate(table, policy)), (policy, None)):
        env = faces.TabularEnv(table, oracle_info=choice)
        _, info = env.reset(seed=1)
        for _ in range(30):
            truth, state, t = info["oracle"], env.state, env.t
            values = values or oracle.evaluate(table, policy)
            assert truth["v"] == values.V[t, state]
            np.testing.assert_array_equal(truth["q"], values.q(t, state))
            np.testing.assert_array_equal(np.isnan(truth["q"]), ~table.mask[state])
            np.testing.assert_allclose(truth["advantage"], truth["q"] - truth["v"])
            if choice is True:
                assert np.nanmax(truth["q"]) == pytest.approx(truth["v"])
            _, _, terminated, _, info = env.step(2)
            if terminated:
                assert info["oracle"]["v"] == 0
                _, info = env.reset()


def test_oracle_info_is_indexed_by_the_name_that_executes():
    from credit_envs import oracle

    table = dressed(horizon=3)
    env = faces.TabularEnv(table, oracle_info=True)
    values = oracle.optimal(table)
    shifts = set()
    for seed in range(40):
        _, info = env.reset(seed=seed)
        code = env.snapshot().code
        shifts.add(int(table.emission.shift[code]))
        for named in np.flatnonzero(table.mask[env.state]):
            edge = table.executed_edges(np.array([env.state]), np.array([named]), np.array([code]))[0]
            assert info["oracle"]["q"][named] == values.q(0, env.state)[table.edge_action[edge]]
    assert shifts == {0, 1}


def test_anchor_info():
    env = faces.TabularEnv(dressed(), "state", anchor_info=True)
    _, info = env.reset(seed=0)
    assert isinstance(info["anchor"], int)
    assert "step_reward" not in info
    hashes, anchors, cues = {}, {}, set()
    for _ in range(80):
        _, reward, terminated, _, info = env.step(2)
        assert info["step_reward"] == reward
        skin, cue = env.table.emission.digits[env.snapshot().code]
        cues.add((env.state, int(cue)))
        key = (int(env.table.emission.base[env.state]), int(skin))
        assert anchors.setdefault(key, info["anchor"]) == info["anchor"]  # the cue isn't part of the key
        assert hashes.setdefault(env.state, info["env_state_hash"]) == info["env_state_hash"]
        if terminated:
            env.reset()
    assert len(set(hashes.values())) == len(hashes) > 1
    assert len(set(anchors.values())) == len(anchors) > 1
    assert len(cues) > len(hashes)


@pytest.mark.parametrize("source", ["credit/KeyRooms-v0", "credit/Pivots-v0", "credit/FrozenLake-v0"])
def test_render_modes(source, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = gymnasium.make(source, render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert frame.dtype == np.uint8
    assert frame.ndim == 3
    assert frame.shape[2] == 3
    ansi = gymnasium.make(source, render_mode="ansi")
    ansi.reset(seed=0)
    assert isinstance(ansi.render(), str)
    listed = gymnasium.make(source, render_mode="rgb_array_list")
    listed.reset(seed=0)
    listed.step(0)
    assert len(listed.render()) == 2
    human = gymnasium.make(source, render_mode="human")
    human.reset(seed=0)
    human.step(0)
    assert human.render() is None
    human.close()


def test_a_table_without_pictures_shows_its_state_number():
    env = faces.TabularEnv(crossroads(), render_mode="rgb_array")
    env.reset(seed=0)
    frames = {}
    for _ in range(30):
        frame = env.render()
        assert frame.shape == (56, 40, 3)
        assert np.array_equal(frames.setdefault(env.state, frame), frame)
        if env.step(2)[2]:
            env.reset()
    assert len({frame.tobytes() for frame in frames.values()}) == len(frames) > 1


def test_human_rendering_names_the_extra_where_pygame_is_missing(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(ImportError, match=r"credit-envs\[all\]"):
        faces.TabularEnv(crossroads(), render_mode="human")


def test_fresh_layouts_follow_the_seed():
    env = gymnasium.make("credit/KeyRooms-v0", fresh=True)
    walls = []
    for _ in range(2):
        shown = [env.reset(seed=4)[0], *(env.reset()[0] for _ in range(5))]
        walls.append([obs.tobytes() for obs in shown])
    assert walls[0] == walls[1]
    assert len(set(walls[0])) > 3
    unwrapped = env.unwrapped
    there, table = unwrapped.snapshot(), unwrapped.table
    env.reset()
    assert unwrapped.table is not table
    unwrapped.restore(there)
    assert unwrapped.table.fingerprint == table.fingerprint
    with pytest.raises(CreditEnvsError, match=r"snapshot\.instance"):
        faces.TabularEnv(table).restore(there)


def test_stored_tables_can_be_played(tmp_path: Path):
    table = crossroads()
    table.save(tmp_path / "ring.npz")
    for source in (tmp_path / "ring.npz", str(tmp_path / "ring.npz"), table):
        env = gymnasium.make("credit/Table-v0", table=source, observation="grid")
        assert env.unwrapped.table.fingerprint == table.fingerprint
        env.reset(seed=0)
        env.step(2)
        envs = gymnasium.make_vec("credit/Table-v0", num_envs=2, table=source)
        assert envs.unwrapped.table.fingerprint == table.fingerprint
    env = gymnasium.make("credit/Table-v0", table=tmp_path / "ring.npz")
    assert env.unwrapped.P[1] == {2: [(0.25, 2, 2.0, False), (0.75, 4, -0.5, False)]}
    assert env.unwrapped.knobs["requested"] == {}


def test_knobs_reach_the_table():
    env = gymnasium.make("credit/KeyRooms-v0", horizon=300, observation="state")
    assert env.unwrapped.table.horizon == 300
    assert make_table("KeyRooms", horizon=300).fingerprint == env.unwrapped.table.fingerprint


def test_knobs_stand_beside_what_was_measured():
    env = gymnasium.make("credit/FrozenLake-v0", paraphrases=4, revisit_rate=0.2)
    knobs = env.unwrapped.knobs
    assert knobs["requested"]["revisit_rate"] == 0.2
    assert knobs["measured"]["revisit_rate"] == pytest.approx(0.2, abs=1e-6)
    assert knobs["measured"]["anchor_recall"] <= 1 / 4


def test_spec_and_copies_of_an_environment_of_a_table():
    table = make_table("credit/Pivots-v0")
    env = gymnasium.make("credit/Table-v0", table=table)
    assert env.spec is not None
    assert pickle.loads(pickle.dumps(table)).fingerprint == table.fingerprint
    assert copy.deepcopy(table) is table
