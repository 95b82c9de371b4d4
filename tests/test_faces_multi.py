"""PettingZoo faces: PettingZoo's own tests, and agreement with the single environment step by step."""

import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest

import credit_envs
from credit_envs.errors import CreditEnvsError
from credit_envs.faces import make

pettingzoo = pytest.importorskip("pettingzoo")

from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, seed_test  # noqa: E402

from credit_envs.faces import multi  # noqa: E402

SMALL = {"plates": 1, "keys": 0, "horizon_factor": 2}
KINDS = [{}, {"agents": 3}, {"moves": "at once"}, {"slip": 0.2}, {"keys": 1, "goal": "any", "start": "apart"}]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("knobs", KINDS)
def test_aec_api(knobs):
    api_test(multi.team_aec_env(**{**SMALL, **knobs}), num_cycles=200)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("observation", ["grid", "state", "text", "both"])
@pytest.mark.parametrize("knobs", KINDS)
def test_parallel_api(knobs, observation):
    parallel_api_test(multi.team_parallel_env(observation=observation, **{**SMALL, **knobs}), num_cycles=100)


def test_aec_api_with_numbers_as_observations():
    """PettingZoo then only regrets that a number is no array."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        api_test(multi.team_aec_env(observation="state", **SMALL), num_cycles=100)
    assert {str(w.message) for w in caught} <= {"Observation is not a NumPy array"}


@pytest.mark.parametrize("observation", ["grid", "state", "text"])
@pytest.mark.parametrize("knobs", [{}, {"slip": 0.3, "agents": 3}, {"revisit_rate": 0.3}])
def test_seeds(knobs, observation):
    kwargs = {"observation": observation, **SMALL, **knobs}
    seed_test(lambda: multi.team_aec_env(**kwargs), num_cycles=100)
    parallel_seed_test(lambda: multi.team_parallel_env(**kwargs), num_cycles=100)


@pytest.mark.filterwarnings("error")
def test_registered():
    for kind, cls in (("parallel", multi.TabularParallelEnv), ("aec", multi.TabularAECEnv)):
        env = pettingzoo.make(kind, "credit/Team-v0", agents=3, **SMALL)
        assert isinstance(env, cls)
        env.reset(seed=1)
        assert env.agents == env.possible_agents == ["agent_0", "agent_1", "agent_2"]
    multi.register()  # again, without a warning
    assert pettingzoo.make("parallel", "credit/Team-v0").env.table.knobs["moves"] == "at once"
    assert pettingzoo.make("aec", "credit/Team-v0").env.table.knobs["moves"] == "in turn"


@pytest.mark.parametrize(
    "knobs", [{"slip": 0.2}, {"agents": 3, "slip": 0.1}, {"unit": 2}, {"horizon": 7}, {"delay": 2}]
)
def test_turns_are_the_steps_of_the_single_environment(knobs):
    kwargs = {"observation": "state", **SMALL, **knobs}
    env, single = multi.team_aec_env(**kwargs), gymnasium.make("credit/Team-v0", **kwargs).unwrapped
    rng = np.random.default_rng(0)
    for seed in (5, None, None):
        env.reset(seed=seed)
        shown, _ = single.reset(seed=seed)
        paid = dict.fromkeys(env.agents, 0.0)
        for _ in range(single.table.horizon):
            agent = env.agent_selection
            number = int(single.table.labels["mover"][single.state])
            assert agent == f"agent_{number}"
            seen, cumulative, over, truncated, _ = env.last()
            assert divmod(int(seen), len(env.agents)) == (shown, number)
            assert (cumulative, over, truncated) == (pytest.approx(paid[agent]), False, False)
            action = int(rng.integers(6))
            env.step(action)
            shown, reward, over, _, _ = single.step(action)
            paid[agent] = 0.0
            paid = {name: total + reward for name, total in paid.items()}
            assert env.rewards == dict.fromkeys(env.agents, reward)
            assert set(env.terminations.values()) == {over}
            if over:
                break
        assert over
        for agent in env.possible_agents:
            assert env.agent_selection == agent
            assert env.last()[1] == pytest.approx(paid[agent])
            env.step(None)
        assert env.agents == []


@pytest.mark.parametrize(
    "knobs", [{"slip": 0.2}, {"agents": 3, "slip": 0.1}, {"horizon": 7}, {"goal": "any", "slip": 0.1}]
)
def test_a_round_is_one_step_of_each_agent(knobs):
    kwargs = {"moves": "at once", **SMALL, **knobs}
    table = credit_envs.make_table("credit/Team-v0", **kwargs)
    table = table.replace(reward_shift=1 / np.arange(1, table.horizon + 1))  # so that every step of a round pays
    env, single = multi.parallel_env(table), make(table)
    rng = np.random.default_rng(1)
    n = len(env.possible_agents)
    lengths = set()
    for episode in range(40):
        seen, infos = env.reset(seed=3 if episode == 0 else None)
        shown, _ = single.reset(seed=3 if episode == 0 else None)
        rounds = 0
        while env.agents:
            assert seen == {f"agent_{i}": shown * n + i for i in range(n)}
            actions = {agent: int(rng.integers(6)) for agent in env.agents}
            total = 0.0
            for action in actions.values():
                shown, reward, over, _, _ = single.step(action)
                total += reward
                if over:
                    break
            seen, rewards, terminations, truncations, infos = env.step(actions)
            rounds += 1
            assert set(rewards.values()) == {total}
            assert set(terminations.values()) == {over}
            assert set(truncations.values()) == {False}
            assert list(infos) == list(actions)
            assert (env.agents == []) is over
        lengths.add(single.t)
    if "horizon" in knobs:
        assert 7 in lengths  # the horizon cuts a round
    assert env.state().item() == shown


def test_what_agents_see():
    env = multi.team_parallel_env(observation="grid", instance=7)
    table = env.env.table
    seen, _ = env.reset(seed=0)
    plane = table.view("grid").rows(table.start_state)[0]
    for i, agent in enumerate(env.agents):
        assert seen[agent] in env.observation_space(agent)
        assert np.array_equal(seen[agent][..., :-1], plane)
        assert np.all(seen[agent][..., -1] == i + 1)
    assert np.array_equal(env.state(), plane)
    words, _ = multi.team_parallel_env(observation="text", instance=7).reset(seed=0)
    assert words["agent_1"].startswith("You are agent 2. It is agent 1's move. Agent 1 is at column 1, row 1")
    both, _ = multi.team_parallel_env(observation="both", instance=7).reset(seed=0)
    assert both["agent_0"]["text"].startswith("You are agent 1. ")
    assert np.array_equal(both["agent_0"]["grid"], seen["agent_0"])


def test_observations_are_new_objects():
    env = multi.team_parallel_env(**SMALL)
    first, infos = env.reset(seed=0)
    first["agent_0"][:] = 99
    infos["agent_0"]["mine"] = 1
    again, infos = env.reset(seed=0)
    assert again["agent_0"].max() < 99
    assert "mine" not in infos["agent_1"]


def test_oracle_info_and_fresh_layouts():
    env = multi.team_aec_env(oracle_info="uniform", fresh=True, **SMALL)
    maps = set()
    for seed in range(6):
        env.reset(seed=seed)
        maps.add(env.state().tobytes())
        assert set(env.infos["agent_0"]["oracle"]) == {"v", "q", "advantage"}
    assert len(maps) > 3


def test_rendering():
    env = multi.team_parallel_env(render_mode="rgb_array", **SMALL)
    env.reset(seed=0)
    assert env.render().dtype == np.uint8
    env.close()
    env = multi.team_aec_env(render_mode="ansi", **SMALL)
    env.reset(seed=0)
    assert "agent 1 to move" in env.render()
    env.close()


def test_wrong_actions_are_named_and_nothing_is_played():
    env = multi.team_parallel_env(**SMALL)
    env.reset(seed=0)
    with pytest.raises(CreditEnvsError, match="actions: expected one per agent, agent_1 missing"):
        env.step({"agent_0": 0})
    with pytest.raises(CreditEnvsError, match=r"actions\['agent_1'\]=6: expected an integer in \[0, 5\]"):
        env.step({"agent_0": 0, "agent_1": 6})
    assert env.env.t == 0
    aec = multi.team_aec_env(**SMALL)
    aec.reset(seed=0)
    with pytest.raises(CreditEnvsError, match="action=9"):
        aec.step(9)


def test_tables_that_do_not_fit_are_named():
    with pytest.raises(CreditEnvsError, match="expected a label 'mover'"):
        multi.aec_env("credit/Pivots-v0")
    with pytest.raises(CreditEnvsError, match="do not move in turn in every round; use aec_env"):
        multi.team_parallel_env(unit=2, **SMALL)
    table = credit_envs.make_table("credit/Team-v0", **SMALL)
    keep = np.ones(table.n_edges, dtype=bool)
    keep[0] = False
    columns = {
        "state": table.edge_state[keep],
        "action": table.edge_action[keep],
        "successor": table.successor[keep],
        "probability": table.probability[keep],
        "reward": table.reward[keep],
        "terminal": table.terminal[keep],
    }
    start = {int(table.start_state[0]): 1.0}
    masked = credit_envs.from_outcomes(
        "Masked", table.n_states, 6, columns, start=start, horizon=9, labels=table.labels, allow_unreachable=True
    )
    with pytest.raises(CreditEnvsError, match="some actions are inadmissible"):
        multi.parallel_env(masked)
    multi.aec_env(masked).reset(seed=0)


def test_a_missing_pettingzoo_names_the_extra():
    code = (
        "import sys; sys.modules['pettingzoo'] = None\n"
        "import credit_envs, credit_envs.faces\n"
        "try:\n    import credit_envs.faces.multi\n"
        "except ImportError as error:\n    print(type(error).__name__, error)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "MissingExtraError pettingzoo is not installed: pip install 'credit-envs[multi]'"


def test_the_package_does_not_import_pettingzoo():
    code = "import sys, credit_envs, credit_envs.faces, credit_envs.families; print('pettingzoo' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "False"
    assert make("credit/Team-v0", **SMALL).reset(seed=0)[0].dtype == np.uint8
