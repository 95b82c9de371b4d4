"""What ``anchor_info`` adds to ``info``: the same in every face, in every process, and as the sampler labels it."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from credit_envs import faces
from credit_envs.errors import CreditEnvsError
from credit_envs.faces.truth import Truth
from credit_envs.registry import make_table

faces.register_all()

NAMES = ("anchor", "env_state_hash", "step_reward")


def play(env, seed, actions):
    """Returns the infos and rewards of one episode."""
    _, info = env.reset(seed=seed)
    infos, rewards = [info], []
    for action in actions:
        _, reward, terminated, truncated, info = env.step(action)
        infos.append(info)
        rewards.append(reward)
        if terminated or truncated:
            break
    return infos, rewards


@pytest.mark.parametrize("knobs", [{}, {"cue": 0.5}, {"revisit_rate": 0.1}, {"aliasing": 0.5, "paraphrases": 3}])
def test_anchor_is_the_samplers(knobs):
    torch = pytest.importorskip("torch")
    from credit_envs import oracle
    from credit_envs.sampling import Sampler

    table = make_table("credit/KeyRooms-v0", stages=1, horizon=20, **knobs)
    sample = Sampler(table, oracle.uniform(table), seed=3).groups(4, 4)
    truth, batch = sample.truth, sample.trajectories
    told = Truth(table, oracle_info=False, anchor_info=True)
    mask = batch.mask.numpy()
    mine = told.anchors(truth.state.numpy()[mask], truth.code.numpy()[mask])
    np.testing.assert_array_equal(mine, batch.anchor.numpy()[mask])
    assert len(np.unique(mine)) > 5
    assert bool((batch.anchor[batch.mask] == torch.from_numpy(mine)).all())


def test_hash_is_the_same_in_another_process():
    code = (
        "import gymnasium, credit_envs;"
        "env = gymnasium.make('credit/KeyRooms-v0', stages=1, anchor_info=True);"
        "print(env.reset(seed=5)[1]['env_state_hash'], *(env.step(a)[4]['env_state_hash'] for a in (2, 1, 2)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    infos, _ = play(gymnasium.make("credit/KeyRooms-v0", stages=1, anchor_info=True), 5, (2, 1, 2))
    assert told == [info["env_state_hash"] for info in infos]
    other = gymnasium.make("credit/KeyRooms-v0", stages=2, anchor_info=True)
    assert other.reset(seed=5)[1]["env_state_hash"] not in told


ROOMS, CLIFF = "credit/KeyRooms-v0?horizon=60&stage_reward=0.2&stages=2", "credit/CliffWalking-v0?horizon=20"


@pytest.mark.parametrize(
    ("source", "late"),
    [
        (ROOMS, {"delay": 3}),
        (ROOMS, {"delay": 10_000}),
        (ROOMS, {"density": 0.25}),
        (ROOMS, {"delay": 2, "unit": 2}),
        (ROOMS, {"delay": 2, "slip": 0.2}),
        (ROOMS, {"delay": 2, "plan": 1}),
        (CLIFF, {"delay": 3}),
    ],
)
def test_step_reward_is_what_prompt_payment_pays(source, late):
    prompt = {name: value for name, value in late.items() if name not in ("delay", "density")}
    paid_late, paid_promptly = faces.make(source, anchor_info=True, **late), faces.make(source, **prompt)
    rng, moved = np.random.default_rng(0), 0
    for seed in range(40):
        actions = rng.integers(0, paid_late.action_space.n, paid_late.table.horizon)
        infos, rewards = play(paid_late, seed, actions)
        _, expected = play(paid_promptly, seed, actions)
        np.testing.assert_allclose([info["step_reward"] for info in infos[1:]], expected, atol=1e-11)
        assert sum(rewards) == pytest.approx(sum(expected))
        moved += not np.allclose(rewards, expected)
    assert moved


def test_step_reward_is_the_reward_where_nothing_is_late():
    infos, rewards = play(faces.make("credit/Taxi-v0", anchor_info=True), 0, [0, 1, 2, 3, 4, 5] * 5)
    assert [info["step_reward"] for info in infos[1:]] == rewards
    assert "step_reward" not in infos[0]


def test_a_cut_off_reward_of_ones_own_is_no_debt():
    table = make_table("credit/Pivots-v0")
    own = table.replace(cutoff_reward=np.ones(table.n_states))
    infos, rewards = play(faces.make(own, anchor_info=True), 0, [0] * 200)
    assert [info["step_reward"] for info in infos[1:]] == rewards


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
@pytest.mark.parametrize(
    ("source", "knobs", "limit"),
    [
        (
            "credit/KeyRooms-v0",
            {"stages": 1, "horizon": 20, "slip": 0.2, "cue": 0.5, "delay": 2, "stage_reward": 0.1},
            None,
        ),
        ("credit/Shop-v0", {"observation": "state"}, None),
        ("credit/Taxi-v0", {}, 9),
    ],
)
def test_vector_infos_are_those_of_gymnasiums_own_vector(source, knobs, limit, mode):
    n = 4
    kwargs = {**knobs, "anchor_info": True, "max_episode_steps": limit}
    ours = gymnasium.make_vec(
        source, n, vectorization_mode="vector_entry_point", vector_kwargs=None, autoreset_mode=mode, **kwargs
    )
    theirs = SyncVectorEnv([lambda: gymnasium.make(source, **kwargs)] * n, autoreset_mode=AutoresetMode(mode))
    same(ours.reset(seed=7)[1], theirs.reset(seed=7)[1])
    rng, ended = np.random.default_rng(1), 0
    for _ in range(60):
        actions = rng.integers(0, ours.single_action_space.n, n)
        got, expected = ours.step(actions), theirs.step(actions)
        same(got[4], expected[4])
        over = got[2] | got[3]
        ended += int(over.sum())
        if mode == "Disabled" and over.any():
            options = {"reset_mask": over}
            same(ours.reset(options=options)[1], theirs.reset(options=dict(options))[1])
    assert ended >= n


def same(one, other):
    assert set(one) == set(other), (one, other)
    for name, value in one.items():
        if isinstance(value, dict):
            same(value, other[name])
        elif "obs" not in name:
            np.testing.assert_array_equal(value, other[name], err_msg=name)


def test_vector_says_nothing_unless_asked():
    env = gymnasium.make_vec("credit/Taxi-v0", 2)
    assert not set(NAMES) & set(env.reset(seed=0)[1])
    assert not set(NAMES) & set(env.step(np.zeros(2, int))[4])
    with pytest.raises(CreditEnvsError, match="oracle_info"):
        faces.make_vec("credit/Taxi-v0", 2, oracle_info=True)


def test_team_faces_add_up_a_round():
    pytest.importorskip("pettingzoo")
    from credit_envs.faces import multi

    knobs = {"agents": 2, "delay": 3, "anchor_info": True}
    together, turns = multi.team_parallel_env(**knobs), multi.team_aec_env(moves="at once", **knobs)
    alone = faces.make("credit/Team-v0", moves="at once", **knobs)
    rng = np.random.default_rng(0)
    for seed in range(3):
        together.reset(seed=seed)
        turns.reset(seed=seed)
        alone.reset(seed=seed)
        while together.agents:
            moves = {agent: int(rng.integers(alone.action_space.n)) for agent in together.agents}
            *_, infos = together.step(moves)
            earned = 0.0
            for agent, move in moves.items():
                if not turns.terminations[agent]:
                    turns.step(move)
                    info = alone.step(move)[4]
                    earned += info["step_reward"]
                    assert {name: turns.infos[agent][name] for name in NAMES} == {name: info[name] for name in NAMES}
            for agent in moves:
                assert infos[agent]["step_reward"] == pytest.approx(earned)
                assert infos[agent]["anchor"] == info["anchor"]


def test_sb3_hands_them_on():
    pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.vec_env import DummyVecEnv

    from credit_envs.faces.sb3 import NativeVecEnv

    knobs = {"stages": 1, "horizon": 12, "observation": "state", "anchor_info": True, "delay": 2}
    ours = NativeVecEnv("credit/KeyRooms-v0", 3, **knobs)
    theirs = DummyVecEnv([lambda: gymnasium.make("credit/KeyRooms-v0", **knobs)] * 3)
    for env in (ours, theirs):
        env.seed(4)
        env.reset()
    rng = np.random.default_rng(0)
    for _ in range(40):
        actions = rng.integers(0, ours.action_space.n, 3)
        assert [dict(i) for i in ours.reset_infos] == [dict(i) for i in theirs.reset_infos]
        mine, its = ours.step(actions)[3], theirs.step(actions)[3]
        assert [{n: i[n] for n in NAMES} for i in mine] == [{n: i[n] for n in NAMES} for i in its]


@pytest.mark.parametrize("source", ["credit/KeyRooms-v0", "credit/Taxi-v0", "credit/DoorKey-v0", make_table("Pivots")])
def test_a_keyword_too_many_is_a_type_error_too(source):
    for make in (faces.make, faces.make_vec):
        with pytest.raises(TypeError, match="unexpected keyword argument 'frameskip'") as caught:
            make(source, frameskip=1)
        assert isinstance(caught.value, CreditEnvsError)
