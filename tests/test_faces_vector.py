"""The vector environment: equal to single ones bit for bit, in every autoreset mode; and the shipped contract checks."""

import importlib.util
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from hypothesis import given, settings
from hypothesis import strategies as st

import credit_envs.faces as faces
from credit_envs import testing
from credit_envs.errors import CreditEnvsError
from credit_envs.registry import ENTRIES, make_table
from credit_envs.table import Emission, Layer, TabularMDP, from_outcomes, union

_spec = importlib.util.spec_from_file_location("faces_tables", Path(__file__).with_name("test_faces.py"))
_tables = importlib.util.module_from_spec(_spec)
sys.modules["faces_tables"] = _tables
_spec.loader.exec_module(_tables)
crossroads, dressed, frozen_lake = _tables.crossroads, _tables.dressed, _tables.frozen_lake

faces.register_all()

TABLES = {
    "ring": crossroads(),
    "ring, all extras": crossroads(
        reward_scale=np.linspace(1, 2, 6),
        reward_shift=np.linspace(-1, 1, 6),
        cutoff_reward=np.arange(5.0) * 10,
        emission=Emission(np.array([0, 1, 2, 0, 3])),
    ),
    "dressed": dressed(),
    "lake": frozen_lake(),
}


def pair(table, view, limit=None):
    def vector(n, mode):
        return faces.TabularVectorEnv(table, n, view, mode, max_episode_steps=limit)

    def single():
        env = faces.TabularEnv(table, view)
        return env if limit is None else TimeLimit(env, limit)

    return vector, single


@pytest.mark.parametrize("view", ["state", "grid", "text", "both"])
@pytest.mark.parametrize("name", TABLES)
def test_contract_on_small_tables(name, view):
    if name == "lake" and view in ("grid", "both"):
        pytest.skip("no grid")
    testing.check_vector_env(*pair(TABLES[name], view), steps=150)


@pytest.mark.parametrize("view", ["level", "odd"])
def test_contract_on_other_spaces(view):
    testing.check_vector_env(*pair(TABLES["ring"], view), steps=80)


@pytest.mark.parametrize("limit", [1, 4, 6])
def test_step_limits_truncate_as_the_wrapper_does(limit):
    testing.check_vector_env(*pair(TABLES["ring"], "state", limit), steps=120)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_contract_on_registered_ids(entry):
    if entry.source == "family":
        testing.check_vector_env(entry.id, steps=60, num_envs=2)
    else:
        testing.check_vector_env(*pair(make_table(entry.id), entry.observation), steps=60, num_envs=2)


def test_contract_on_a_pool_of_instances():
    pool = union([make_table("KeyRooms", instance=i) for i in range(5)])
    testing.check_vector_env(*pair(pool, "grid"), steps=300)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_infos_equal_gymnasiums_own_vector_environment(mode):
    table, n, rng = TABLES["ring"], 4, np.random.default_rng(0)
    ours = faces.TabularVectorEnv(table, n, "grid", mode)
    theirs = SyncVectorEnv([lambda: faces.TabularEnv(table, "grid")] * n, autoreset_mode=mode)
    assert testing.equal(ours.reset(seed=[5, 9, 2, 2]), theirs.reset(seed=[5, 9, 2, 2]))
    for _ in range(120):
        actions = rng.integers(0, 3, n)
        mine, reference = ours.step(actions), theirs.step(actions)
        assert testing.equal(mine, reference)
        over = mine[2] | mine[3]
        if mode is AutoresetMode.DISABLED and over.any():
            with pytest.raises(CreditEnvsError, match="is over"):
                ours.step(actions)
            assert testing.equal(ours.reset(options={"reset_mask": over}), theirs.reset(options={"reset_mask": over}))


@st.composite
def tables(draw):
    n_states, n_actions = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = []
    for s in range(n_states):
        admissible = np.flatnonzero(rng.random(n_actions) < 0.7)
        for a in admissible if admissible.size else [0]:
            weights = rng.dirichlet(np.ones(rng.integers(1, 4)))
            rows += [(s, a, rng.integers(n_states), p, rng.normal(), rng.random() < 0.1) for p in weights]
    names = ("state", "action", "successor", "probability", "reward", "terminal")
    outcomes = {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    layers = (Layer("skin", True, rng.dirichlet(np.ones(3))), Layer("paraphrase", False, rng.dirichlet(np.ones(2))))
    return from_outcomes(
        "random",
        n_states,
        n_actions,
        outcomes,
        start=dict.fromkeys(range(n_states), 1 / n_states),
        horizon=draw(st.integers(1, 9)),
        allow_unreachable=True,
        inadmissible_reward=-1.0,
        emission=Emission(np.arange(n_states), layers[: draw(st.integers(0, 2))]),
    )


@settings(max_examples=25, deadline=None)
@given(tables(), st.integers(0, 2**40))
def test_random_tables_play_alike_everywhere(table: TabularMDP, seed: int):
    testing.check_table(table, steps=60, seed=seed)
    testing.check_vector_env(*pair(table, "state"), steps=40, num_envs=2, seed=seed)


@pytest.mark.parametrize("name", TABLES)
def test_check_table_accepts(name):
    testing.check_table(TABLES[name])


def test_check_table_on_families():
    for source in ("KeyRooms", "Pivots"):
        testing.check_table(make_table(source), steps=100)


def test_check_table_rejects_a_view_outside_its_space_and_a_wrong_draw(monkeypatch):
    from credit_envs.table.view import stored_view

    view = stored_view(gymnasium.spaces.Box(0, 1, (1,), np.float32), np.full((5, 1), 3, dtype=np.float32))
    with pytest.raises(testing.ContractError, match="view 'far'"):
        testing.check_table(crossroads().replace(views={"far": view}))
    monkeypatch.setattr("credit_envs.faces.single.bisect_right", lambda bounds, draw: 0)
    with pytest.raises(testing.ContractError, match="the arrays say"):
        testing.check_table(crossroads())


class Broken(faces.TabularVectorEnv):
    fault = ""

    def step(self, actions):
        obs, rewards, terminated, truncated, info = super().step(actions)
        if self.fault == "final_obs" and "final_obs" in info:
            for i in np.flatnonzero(info["_final_obs"]):
                info["final_obs"][i] = obs[i]
        if self.fault == "buffer":
            self.buffer = getattr(self, "buffer", obs)
            self.buffer[:] = obs
            obs = self.buffer
        if self.fault == "dtype":
            rewards = rewards.astype(np.int64)
        return obs, rewards, terminated, truncated, info

    def reset(self, *, seed=None, options=None):
        if self.fault == "mask":
            options = None
        if self.fault == "seed" and seed is not None:
            seed = [seed] * self.num_envs
        return super().reset(seed=seed, options=options)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("final_obs", "final_obs"),
        ("buffer", "shares memory"),
        ("dtype", "rewards"),
        ("mask", "reset_mask|expected reward"),
        ("seed", "environment 1"),
    ],
)
def test_check_vector_env_finds(fault, message):
    _, single = pair(TABLES["ring"], "grid")

    def vector(n, mode):
        envs = Broken(TABLES["ring"], n, "grid", mode)
        envs.fault = fault
        return envs

    with pytest.raises(testing.ContractError, match=message):
        testing.check_vector_env(vector, single, steps=100)


def test_episodes_go_on_after_a_reset_without_a_seed():
    table = TABLES["ring"]
    envs, single = faces.TabularVectorEnv(table, 3), faces.TabularEnv(table)
    envs.reset(seed=4)
    single.reset(seed=5)
    for _ in range(20):
        envs.reset()
        single.reset()
        assert envs.state[1] == single.state
    assert envs.np_random_seed == (4, 5, 6)
    first, second = faces.TabularVectorEnv(table, 8), faces.TabularVectorEnv(table, 8)
    first.reset()
    second.reset()
    assert first.np_random_seed != second.np_random_seed


def test_integer_actions_of_any_kind_are_taken():
    table, rng = TABLES["lake"], np.random.default_rng(0)
    actions = rng.integers(0, 4, (40, 3))
    kinds = [lambda a: a, list, lambda a: a.astype(np.uint8), lambda a: np.repeat(a, 2)[::2], lambda a: a.astype(">i4")]
    results = []
    for kind in kinds:
        envs = faces.TabularVectorEnv(table, 3)
        envs.reset(seed=1)
        results.append([envs.step(kind(row))[0].tolist() for row in actions])
    assert all(result == results[0] for result in results)


def test_errors_say_what_is_wrong_and_change_nothing():
    envs = faces.TabularVectorEnv(TABLES["lake"], 3)
    with pytest.raises(gymnasium.error.ResetNeeded):
        envs.step(np.zeros(3, dtype=np.int64))
    envs.reset(seed=0)
    for actions, message in (
        (np.array([0, 4, 0]), r"actions\[1\]=4: expected an integer in \[0, 3\]"),
        (np.array([-1, 0, 0]), r"actions\[0\]=-1"),
        (np.zeros(2, dtype=np.int64), r"shape \(3,\)"),
        (np.zeros(3), "expected integers"),
    ):
        with pytest.raises(CreditEnvsError, match=message):
            envs.step(actions)
    assert envs.t.tolist() == [0, 0, 0]
    for mask in ([True, False, True], np.zeros(3, dtype=bool), np.ones(2, dtype=bool), np.ones(3)):
        with pytest.raises(CreditEnvsError, match="reset_mask"):
            envs.reset(options={"reset_mask": mask})
    for seed in (-1, [1, 2], 1 << 63):
        with pytest.raises(CreditEnvsError, match="seed"):
            envs.reset(seed=seed)
    for arguments, message in (
        ({"num_envs": 0}, "num_envs=0"),
        ({"autoreset_mode": "sometimes"}, "autoreset_mode='sometimes'"),
        ({"max_episode_steps": 0}, "max_episode_steps=0"),
        ({"render_mode": "human"}, "render_mode='human'"),
        ({"observation": "smell"}, "smell"),
    ):
        with pytest.raises(CreditEnvsError, match=message):
            faces.TabularVectorEnv(TABLES["lake"], **arguments)
    with pytest.raises(CreditEnvsError, match="oracle_info"):
        gymnasium.make_vec("credit/KeyRooms-v0", num_envs=2, oracle_info=True)
    with pytest.raises(CreditEnvsError, match="'horizon'"):
        gymnasium.make_vec("credit/KeyRooms-v0", num_envs=2, horizn=3)


def test_make_vec_takes_a_step_limit_and_a_mode_by_name(recwarn):
    envs = gymnasium.make_vec("credit/Pivots-v0", num_envs=4, max_episode_steps=3, autoreset_mode="SameStep")
    assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    envs.reset(seed=0)
    for _ in range(2):
        assert not envs.step(np.zeros(4, dtype=np.int64))[3].any()
    *_, truncated, info = envs.step(np.zeros(4, dtype=np.int64))
    assert truncated.all()
    assert envs.t.tolist() == [0] * 4
    assert len(info["final_obs"]) == 4
    assert "SameStep" in str(envs.spec.kwargs["autoreset_mode"])
    assert not list(recwarn)


def test_rows_that_do_not_fit_are_decoded_at_every_step(monkeypatch):
    monkeypatch.setattr("credit_envs.faces.batch.MEMORY", 10)
    for name, view in (("ring", "grid"), ("dressed", "both")):
        testing.check_vector_env(*pair(TABLES[name], view), steps=60)


def test_rendering_many():
    envs = faces.TabularVectorEnv(TABLES["lake"], 2, render_mode="rgb_array")
    envs.reset(seed=0)
    frames = envs.render()
    assert [frame.dtype for frame in frames] == [np.uint8] * 2
    envs = faces.TabularVectorEnv(TABLES["ring"], 2, render_mode="ansi")
    envs.reset(seed=0)
    assert list(envs.render()) == [f"corner {s}" for s in envs.state]


def test_importing_and_making_single_environments_does_not_load_numba():
    import subprocess

    code = (
        "import sys, credit_envs.faces as f; f.register_all(); import gymnasium;"
        "gymnasium.make('credit/KeyRooms-v0').reset(); sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
