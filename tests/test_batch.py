"""The torch batch plays the same bits as the vector environment, on every kind of table."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

import credit_envs
from credit_envs.errors import CreditEnvsError
from credit_envs.sampling import TorchBatch

TABLES = {
    "slippery": ("credit/FrozenLake-v0", {}),
    "many starts": ("credit/Taxi-v0", {}),
    "own": ("credit/KeyRooms-v0", {"slip": 0.3}),
    "layers": ("credit/FrozenLake-v0", {"cue": 0.5, "guess": 0.6, "skins": 3, "paraphrases": 2}),
    "delayed": ("credit/CliffWalking-v0", {"delay": 2, "horizon": 12}),
    "by the clock": ("credit/DoorKey-v0", {}),
}


@pytest.mark.smoke
@pytest.mark.parametrize("name", TABLES)
def test_same_bits_as_the_vector_environment(name):
    env_id, knobs = TABLES[name]
    table = credit_envs.make_table(env_id, **knobs)
    n, seed = 5, 11
    envs = gymnasium.make_vec(
        "credit/Table-v0", num_envs=n, table=table, observation="state", autoreset_mode=AutoresetMode.SAME_STEP
    )
    batch = TorchBatch(table, n)
    shown, _ = envs.reset(seed=seed)
    assert np.array_equal(shown, batch.reset(seed).numpy())
    rng = np.random.default_rng(0)
    ended = 0
    for _ in range(300):
        actions = rng.integers(0, table.n_actions, n)
        shown, reward, terminated, _, info = envs.step(actions)
        step = batch.step(torch.from_numpy(actions))
        assert np.array_equal(shown, step.obs.numpy())
        assert np.array_equal(reward, step.reward.numpy())
        assert np.array_equal(terminated, step.terminated.numpy())
        for i in np.flatnonzero(terminated):
            ended += 1
            assert info["final_obs"][i] == step.final_obs[i]
    assert ended > 0


def test_bad_input():
    table = credit_envs.make_table("credit/Pivots-v0")
    batch = TorchBatch(table, 2)
    with pytest.raises(CreditEnvsError, match="reset"):
        batch.step(torch.zeros(2, dtype=torch.int64))
    batch.reset(0)
    with pytest.raises(CreditEnvsError, match=r"shape \(2,\)"):
        batch.step(torch.zeros(3, dtype=torch.int64))
    with pytest.raises(CreditEnvsError, match=r"\[0, 2\]"):
        batch.step(torch.tensor([0, 3]))
    if not torch.cuda.is_available():
        with pytest.raises(CreditEnvsError, match="no CUDA"):
            TorchBatch(table, 2, "cuda")
