"""Every family as people use it: words in a vector environment, tokens in Stable-Baselines3, train and test instances."""

import warnings

import gymnasium
import numpy as np
import pytest

import credit_envs  # noqa: F401 (registers the ids)
from credit_envs import registry
from credit_envs.errors import CreditEnvsError
from credit_envs.faces.entry import make
from credit_envs.families import FAMILIES

WORDS = [entry.id for entry in registry.ENTRIES if entry.observation == "text"]


@pytest.mark.parametrize("env_id", WORDS)
def test_words_in_a_vector_environment_are_a_tuple_of_strings(env_id):
    envs = gymnasium.make_vec(env_id, 3)
    shown, info = envs.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(4):
        assert isinstance(shown, tuple)
        assert len(shown) == 3
        assert all(isinstance(row, str) and row in envs.single_observation_space for row in shown)
        mask = info.get("action_mask", np.ones((3, envs.single_action_space.n), dtype=np.int8))
        shown, *_, info = envs.step(np.array([rng.choice(np.flatnonzero(row)) if row.any() else 0 for row in mask]))


def test_free_text_that_names_no_admissible_command_changes_nothing():
    env = make("credit/Household-v0")
    with pytest.raises(gymnasium.error.ResetNeeded, match="command"):
        env.command("go north")
    shown, info = env.reset(seed=0)
    before = env.snapshot()
    possible = [env.table.action_names[a] for a in np.flatnonzero(info["action_mask"])]
    with pytest.raises(CreditEnvsError, match=rf"'please {possible[0]}' is no move; nearest: '{possible[0]}'"):
        env.command(f"please {possible[0]}")
    elsewhere = next(name for name in env.table.action_names if name not in possible)
    with pytest.raises(CreditEnvsError, match=f"'{elsewhere}' is not possible here; nearest: "):
        env.command(elsewhere)
    assert env.snapshot() == before
    action = env.command(f"  {possible[0].upper()} ")
    assert env.table.action_names[action] == possible[0]
    assert env.command(f"[{action}]") == env.command(str(action)) == action
    assert env.step(action)[0] != shown


@pytest.mark.parametrize("name", registry.suite("tokens-v0"))
def test_token_ids_pass_the_checker_of_stable_baselines3(name):
    from stable_baselines3.common.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make(name, observation="tokens"))


def test_stable_baselines3_learns_on_tokens():
    from stable_baselines3 import PPO

    env = make("credit/Chat-v0?spell=1", observation="tokens")
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=32, n_epochs=1, seed=0, device="cpu")
    model.learn(64)
    action, _ = model.predict(env.reset(seed=0)[0])
    assert env.action_space.contains(int(action))


@pytest.mark.parametrize("name", FAMILIES)
def test_train_and_test_instances_differ_and_share_their_spaces(name):
    """Split by instance seed: no instance of one half is in the other, and one network fits both."""
    train, test = ([FAMILIES[name].build(seed) for seed in seeds] for seeds in (range(8), range(1000, 1008)))
    prints = [{table.fingerprint for table in tables} for tables in (train, test)]
    assert not prints[0] & prints[1]
    assert len({table.n_actions for table in train + test}) == 1
    assert len({table.horizon for table in train + test}) == 1


@pytest.mark.parametrize(
    "name", [name for name, family in FAMILIES.items() if family.name not in ("Pivots", "Gallery")]
)
def test_action_numbers_mean_other_things_in_other_instances(name):
    """By default, or with ``permute``: what the optimal first step's number names is no constant over instances.

    In Pivots it is the right choice itself that differs, and Gallery draws the names anew at every step.
    """
    permute = {"permute": True} if "permute" in FAMILIES[name].knobs else {}
    tables = [FAMILIES[name].build(seed, **permute) for seed in range(24)]
    if permute and tables[0].action_names == tables[1].action_names:
        # Names are hidden: where the same number leads from the start must differ.
        meanings = {tuple(np.diff(table.successor[: table.n_actions]).tolist()) for table in tables}
    else:
        meanings = {table.action_names[0] for table in tables}
    assert len(meanings) > 3
