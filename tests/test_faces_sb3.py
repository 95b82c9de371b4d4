"""The native vector environment under Stable-Baselines3: equal to its own DummyVecEnv, infos included; and it learns."""

import gymnasium
import numpy as np
import pytest

import credit_envs.faces as faces
from credit_envs.errors import CreditEnvsError
from credit_envs.registry import make_table

pytest.importorskip("stable_baselines3")
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from credit_envs.faces.sb3 import NativeVecEnv

faces.register_all()


def dummy(env_id, n, limit=None, **kwargs):
    return DummyVecEnv([lambda: gymnasium.make(env_id, max_episode_steps=limit, **kwargs)] * n)


def same(one, other):
    if isinstance(one, dict):
        assert isinstance(other, dict)
        assert set(one) == set(other), (one, other)
        for name in one:
            same(one[name], other[name])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for mine, its in zip(one, other, strict=True):
            same(mine, its)
    else:
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("env_id", "kwargs"),
    [
        ("credit/KeyRooms-v0", {"observation": "grid", "horizon": 20, "slip": 0.2}),
        ("credit/FrozenLake-v0", {}),
        ("credit/Taxi-v0", {"limit": 9}),
        ("credit/Shop-v0", {"observation": "state"}),
        ("credit/Gallery-v0", {"observation": "grid", "limit": 5}),
        ("credit/KeyRooms-v0", {"observation": "grid", "cue": 0.5, "horizon": 15}),
    ],
)
def test_lock_step_with_dummy_vec_env(env_id, kwargs):
    kwargs = dict(kwargs)
    limit = kwargs.pop("limit", None)
    ours = NativeVecEnv(env_id, 5, max_episode_steps=limit, **kwargs)
    theirs = dummy(env_id, 5, limit, **kwargs)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    rng, ended = np.random.default_rng(0), 0
    for env in (ours, theirs):
        env.seed(7)
    same(ours.reset(), theirs.reset())
    for _ in range(120):
        same(ours.reset_infos, theirs.reset_infos)
        actions = rng.integers(0, ours.action_space.n, 5)
        got, expected = ours.step(actions), theirs.step(actions)
        assert got[1].dtype == expected[1].dtype
        same(list(got), list(expected))
        ended += int(got[2].sum())
    assert ended >= 5
    same(ours.reset(), theirs.reset())


def test_action_masks_are_the_admissible_actions():
    env = NativeVecEnv("credit/Shop-v0", 3, observation="state")
    env.seed(0)
    env.reset()
    assert env.has_attr("action_masks")
    rng = np.random.default_rng(0)
    for _ in range(30):
        masks = np.stack(env.env_method("action_masks"))
        assert masks.dtype == bool
        np.testing.assert_array_equal(masks, env.native.table.mask[env.native.state])
        _, _, over, infos = env.step(np.array([rng.choice(np.flatnonzero(row)) for row in masks]))
        for i in np.flatnonzero(~over):
            np.testing.assert_array_equal(infos[i]["action_mask"], env.action_masks()[i])
    assert len(env.env_method("action_masks", indices=[2])) == 1


def test_refusals_name_what_is_expected():
    with pytest.raises(CreditEnvsError, match="expected 'state'"):
        NativeVecEnv("credit/Shop-v0", 2)
    with pytest.raises(CreditEnvsError, match="SameStep"):
        NativeVecEnv(faces.TabularVectorEnv(make_table("Pivots"), 2))
    env = NativeVecEnv("credit/Pivots-v0", 2)
    with pytest.raises(CreditEnvsError, match="set_attr"):
        env.set_attr("table", None)
    with pytest.raises(CreditEnvsError, match="env_method"):
        env.env_method("snapshot")
    with pytest.raises(AttributeError):
        env.get_attr("nothing_here")
    env.set_options({"layout": 3})
    with pytest.raises(CreditEnvsError, match="options"):
        env.reset()


def test_pictures():
    env = NativeVecEnv("credit/KeyRooms-v0", 2, observation="state", render_mode="rgb_array")
    env.reset()
    assert env.render().ndim == 3
    env.close()


@pytest.mark.parametrize(
    ("algorithm", "kwargs"), [(PPO, {"n_steps": 64, "batch_size": 64}), (DQN, {"learning_starts": 50})]
)
def test_algorithms_run_on_it_and_a_seed_repeats(algorithm, kwargs):
    def trained():
        env = VecMonitor(NativeVecEnv("credit/KeyToDoor-v0", 4, observation="grid"))
        model = algorithm("MlpPolicy", env, seed=3, device="cpu", **kwargs)
        model.learn(600)
        return model.policy.state_dict(), list(model.ep_info_buffer)

    first, again = trained(), trained()
    assert first[1]
    assert [e["r"] for e in first[1]] == [e["r"] for e in again[1]]
    for name, value in first[0].items():
        assert bool((value == again[0][name]).all()), name
