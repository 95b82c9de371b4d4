"""The environment manager against verl-agent's contract, as written down in ``credit_envs/faces/verl.py``."""

import gymnasium
import numpy as np
import pytest

from credit_envs import faces, oracle
from credit_envs.errors import CreditEnvsError
from credit_envs.faces.verl import EnvironmentManager
from credit_envs.registry import ENTRIES, make_table

faces.register_all()


def said(command):
    return f"<think>I had a look.</think><action>{command}</action>"


def rollout(envs, choose):
    """Plays as verl-agent's rollout loop does: all environments until the last is over, those over ignored."""
    obs, infos = envs.reset(None)
    n = len(obs["text"])
    done, rewards = np.zeros(n, bool), np.zeros(n)
    batch, told = [[] for _ in range(n)], [[] for _ in range(n)]
    steps = 0
    while not done.all():
        active = ~done
        obs, paid, ends, infos = envs.step([said(choose(i, infos[i])) for i in range(n)])
        assert paid.shape == ends.shape == (n,)
        assert ends.dtype == bool
        assert len(infos) == len(obs["text"]) == len(obs["anchor"]) == n
        rewards += paid * active
        for i in range(n):
            batch[i].append({"active_masks": active[i]})
            told[i].append(infos[i])
        done |= ends
        steps += 1
    return rewards, batch, told, steps


@pytest.mark.parametrize("source", [entry.id for entry in ENTRIES])
def test_contract_on_every_id(source):
    envs = EnvironmentManager(source, groups=2, group_size=2, seed=3, horizon=12)
    obs, infos = envs.reset()
    assert set(obs) == {"text", "image", "anchor"}
    assert obs["image"] is None
    assert all(isinstance(words, str) and words for words in (*obs["text"], *obs["anchor"]))
    assert obs["anchor"][0] == obs["anchor"][1]
    assert obs["anchor"][2] == obs["anchor"][3]  # a group begins in one place
    rng = np.random.default_rng(0)
    rewards, batch, told, steps = rollout(envs, lambda i, info: rng.choice(info["admissible_commands"] or ["wait"]))
    assert steps <= 12
    for row, infos in zip(batch, told, strict=True):
        for item, info in zip(row, infos, strict=True):
            assert info["is_action_valid"].shape == ()
            assert info["is_action_valid"].dtype == bool
            assert bool(info["is_action_valid"]) == item["active_masks"]
            assert isinstance(info["won"], bool)
            assert info["env_state_hash"]
    success = envs.success_evaluator(total_infos=told, total_batch_list=batch, episode_rewards=rewards)
    assert success["success_rate"].shape == (4,)
    with pytest.raises(CreditEnvsError, match="active step"):
        envs.success_evaluator(total_infos=[[{"won": True}]], total_batch_list=[[{"active_masks": False}]])
    envs.close()


@pytest.mark.parametrize(
    ("source", "always"),
    [
        ("credit/Household-v0", True),
        ("credit/Taxi-v0", True),
        ("credit/Shop-v0", True),
        ("credit/FrozenLake-v0", False),
    ],
)
@pytest.mark.parametrize("dial", [{}, {"delay": 2}])
def test_optimal_play_wins(source, always, dial):
    if dial and source == "credit/Taxi-v0":
        dial = {"slip": 0.05}
        always = False
    envs = EnvironmentManager(source, groups=4, group_size=2, seed=1, **dial)
    table = envs.envs[0].table
    best = oracle.optimal(table)

    def choose(i, info):
        env = envs.envs[i]
        if not info["admissible_commands"]:
            return "nothing"
        return table.action_names[int(np.nanargmax(best.q(min(env.t, table.horizon - 1), env.state)))]

    rewards, batch, told, _ = rollout(envs, choose)
    won = envs.success_evaluator(total_infos=told, total_batch_list=batch)["success_rate"]
    assert won.mean() == 1 if always else won.mean() > 0.3
    if source == "credit/FrozenLake-v0":
        np.testing.assert_array_equal(won, rewards)


def test_uniform_play_loses_and_losing_is_not_won():
    envs = EnvironmentManager("credit/Shop-v0", groups=8, seed=0)
    rng = np.random.default_rng(1)
    rewards, batch, told, _ = rollout(envs, lambda i, info: rng.choice(info["admissible_commands"] or ["-"]))
    won = envs.success_evaluator(total_infos=told, total_batch_list=batch)["success_rate"]
    np.testing.assert_array_equal(won > 0, rewards == 1)  # paid in part is not won
    assert won.mean() < 1


@pytest.mark.parametrize("source", ["credit/FrozenLake-v0", "credit/Taxi-v0"])
def test_alone_it_plays_the_vector_environments_episodes(source):
    envs = EnvironmentManager(source, groups=3, group_size=1, seed=11)
    vector = gymnasium.make_vec(source, 3, observation="text", autoreset_mode="Disabled", anchor_info=True)
    obs, infos = envs.reset()
    shown, told = vector.reset(seed=11)
    rng, names = np.random.default_rng(0), envs.envs[0].table.action_names
    for _ in range(5):
        assert [info["anchor"] for info in infos] == told["anchor"].tolist()
        assert obs["anchor"] == list(shown)
        actions = rng.integers(0, vector.single_action_space.n, 3)
        obs, paid, _, infos = envs.step([said(names[a]) for a in actions])
        shown, rewards, ended, _, told = vector.step(actions)
        np.testing.assert_allclose(paid, rewards)
        if ended.any():
            break


def test_groups_share_the_start_and_not_the_luck():
    envs = EnvironmentManager("credit/Taxi-v0", groups=3, group_size=4, seed=0, slip=0.5)
    starts = []
    for _ in range(2):
        envs.reset()
        states = [env.state for env in envs.envs]
        for g in range(3):
            assert len(set(states[4 * g : 4 * g + 4])) == 1
        starts.append(states)
        for _ in range(4):
            envs.step([said("south")] * 12)
        assert len({env.state for env in envs.envs[:4]}) > 1
    assert starts[0] != starts[1]  # the next reset is the next task


def test_skins_are_each_rollouts_own():
    envs = EnvironmentManager("credit/KeyRooms-v0", groups=1, group_size=8, stages=1, revisit_rate=0.1)
    obs, _ = envs.reset()
    assert len(set(obs["anchor"])) > 1
    assert len({env.state for env in envs.envs}) == 1


def test_fresh_layouts_by_group():
    envs = EnvironmentManager("credit/Shop-v0", groups=2, group_size=2, fresh=True)
    obs, _ = envs.reset()
    assert obs["anchor"][0] == obs["anchor"][1] != obs["anchor"][2] == obs["anchor"][3]


def test_what_is_no_command_takes_a_step_and_changes_nothing():
    envs = EnvironmentManager("credit/FrozenLake-v0", horizon=3)
    before, _ = envs.reset()
    obs, paid, ends, infos = envs.step([said("fly away")])
    assert obs["anchor"] == before["anchor"]
    assert not infos[0]["is_action_valid"]
    assert paid[0] == 0 == infos[0]["step_reward"]
    assert "step 2 of at most 3" in obs["text"][0]
    assert "'fly away', which is not possible" in obs["text"][0]
    for _ in range(2):
        assert not ends[0]
        obs, _, ends, infos = envs.step(["mumble"])
    assert ends[0]
    assert not infos[0]["won"]
    again = envs.step(["down"])
    assert again[0] == obs
    assert again[1][0] == 0
    assert again[2][0]


def test_waiting_is_what_an_inadmissible_action_is():
    table = make_table("credit/Household-v0", horizon=6)
    table = table.replace(inadmissible_reward=-0.25)
    envs = EnvironmentManager(table)
    alone = faces.make(table)
    envs.reset()
    alone.reset(seed=0)
    bad = next(a for a in range(table.n_actions) if not table.mask[alone.state, a])
    for _ in range(6):
        _, paid, ends, _ = envs.step([said(table.action_names[bad])])
        _, reward, over, _, _ = alone.step(bad)
        assert (paid[0], ends[0], envs.envs[0].state) == (np.float32(reward), over, alone.state)
    assert over


def test_answers_without_thoughts():
    strict, loose = EnvironmentManager("credit/Taxi-v0"), EnvironmentManager("credit/Taxi-v0", thoughts=False)
    for answer, ok in (
        ("south", False),
        ("<action>south</action>", False),
        (said("south"), True),
        (said("fly"), False),
    ):
        for envs in (strict, loose):
            envs.reset()
            infos = envs.step([answer])[3]
            assert bool(infos[0]["is_action_valid"]) == (ok or (envs is loose and "fly" not in answer))


def test_prompts_recall_history_and_offer_pictures():
    envs = EnvironmentManager("credit/KeyRooms-v0", stages=1, images=True, history_length=1)
    obs, infos = envs.reset()
    assert obs["image"].dtype == np.uint8
    assert obs["image"].ndim == 4
    assert obs["text"][0].count("<image>") == 1  # where the rollout loop puts the picture
    assert obs["anchor"][0] in obs["text"][0]
    assert all(command in obs["text"][0] for command in infos[0]["admissible_commands"])
    saw = obs["anchor"][0]
    first = infos[0]["admissible_commands"][0]
    obs, *_ = envs.step([said(first)])
    assert saw in obs["text"][0]
    assert f"You did: {first}" in obs["text"][0]
    assert saw != obs["anchor"][0]
    own = EnvironmentManager("credit/KeyRooms-v0", stages=1, prompt=lambda turn: f"{turn.t}/{len(turn.history)}")
    assert own.reset()[0]["text"] == ["0/0"]
    assert own.step([said("up")])[0]["text"] == ["1/1"]


def test_bad_input():
    with pytest.raises(CreditEnvsError, match="group_size=0"):
        EnvironmentManager("credit/Taxi-v0", group_size=0)
    envs = EnvironmentManager("credit/Taxi-v0", groups=2)
    with pytest.raises(gymnasium.error.ResetNeeded):
        envs.step(["south", "south"])
    envs.reset()
    for bad in (["south"], "south"):
        with pytest.raises(CreditEnvsError, match="expected 2 answers"):
            envs.step(bad)
