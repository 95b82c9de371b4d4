"""Baselines: what SB3's models learnt is measured exactly, imitation matches its definition, results are kept and resumed."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from credit_envs import make_table, oracle
from credit_envs.errors import CreditEnvsError
from credit_envs.table.observer import Observer
from credit_envs.training import results
from credit_envs.training.imitation import clone, demonstrate

pytest.importorskip("stable_baselines3")
from credit_envs.training.sb3 import Planes, build, simulated, tabulated

ROOT = Path(__file__).parents[1]
_spec = importlib.util.spec_from_file_location("baselines_run", ROOT / "baselines" / "run.py")
run = importlib.util.module_from_spec(_spec)
sys.modules["baselines_run"] = run
_spec.loader.exec_module(run)

SMALL = {"n_steps": 16, "batch_size": 64, "n_epochs": 2, "learning_rate": 3e-3}


def small(tmp_path, **kwargs):
    given = {"env": ("credit/Chat-v0",), "seeds": 2, "budget": 700, "points": 3, "envs": 8, "quiet": True}
    return run.Options(**{**given, **kwargs}, output=tmp_path / "out", cells=tmp_path / "cells")


# -- what was learnt ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("observation", ["state", "grid"])
@pytest.mark.parametrize("name", ["ppo", "a2c"])
def test_tables_of_models_are_their_probabilities(name, observation):
    table = make_table("credit/KeyToDoor-v0")
    model = build(name, table, 1, 8, observation, {"n_steps": 16})
    model.learn(512)
    policy, mode = tabulated(model, table, observation)
    rows = Observer(table, observation).rows(np.arange(table.n_obs))
    obs, _ = model.policy.obs_to_tensor(rows)
    for action in range(table.n_actions):
        with torch.no_grad():
            _, log_prob, _ = model.policy.evaluate_actions(obs, torch.full((table.n_obs,), action))
        np.testing.assert_allclose(policy[:, action], log_prob.exp().numpy(), atol=1e-6)
    np.testing.assert_array_equal(mode.argmax(axis=1), model.predict(rows, deterministic=True)[0])


def test_dqn_stands_for_its_greedy_policy():
    table = make_table("credit/KeyRooms-v0?horizon=40")
    model = build("dqn", table, 0, 8, settings={"learning_starts": 100})
    model.learn(600)
    policy, mode = tabulated(model, table)
    np.testing.assert_array_equal(policy, mode)
    np.testing.assert_array_equal(policy.argmax(axis=1), model.predict(np.arange(table.n_obs), deterministic=True)[0])


@pytest.mark.parametrize(("name", "env"), [("ppo", "credit/FrozenLake-v0"), ("maskable_ppo", "credit/Gallery-v0")])
def test_exact_returns_agree_with_episodes(name, env):
    if name == "maskable_ppo":
        pytest.importorskip("sb3_contrib")
    table = make_table(env)
    model = build(name, table, 5, 32, settings=SMALL)
    model.learn(8192)
    exact = oracle.expected_return(table, oracle.Policy("obs", tabulated(model, table)[0]))
    state = torch.get_rng_state()
    mean, error = simulated(model, table, seed=9, episodes=4000)
    assert torch.equal(state, torch.get_rng_state())
    assert abs(mean - exact) < 4 * error / 1.96
    assert error < 0.05
    assert exact > oracle.expected_return(table, oracle.uniform(table))


def test_maskable_ppo_names_admissible_actions_only():
    pytest.importorskip("sb3_contrib")
    from credit_envs.policies import admissible

    table = make_table("credit/Shop-v0")
    policy, _ = tabulated(build("maskable_ppo", table, 0, 4, settings=SMALL), table)
    allowed = admissible(table).numpy()
    assert policy[~allowed].max() < 1e-12
    np.testing.assert_allclose(policy[allowed], (allowed / allowed.sum(axis=1, keepdims=True))[allowed], rtol=0.2)


def test_models_with_memory_are_simulated_and_have_no_table():
    pytest.importorskip("sb3_contrib")
    table = make_table("credit/Chat-v0")
    model = build("recurrent_ppo", table, 0, 8, settings={"n_steps": 8, "batch_size": 64, "n_epochs": 1})
    model.learn(64)
    mean, error = simulated(model, table, episodes=64)
    assert simulated(model, table, episodes=64) == (mean, error)
    assert -5 < mean < 1
    assert error > 0
    with pytest.raises(CreditEnvsError, match="has memory"):
        tabulated(model, table)


def test_planes_show_every_cell_and_value_apart():
    table = make_table("credit/KeyToDoor-v0")
    model = build("ppo", table, 0, 2, "grid", SMALL)
    extractor = model.policy.features_extractor
    assert isinstance(extractor, Planes)
    rows = Observer(table, "grid").rows(np.arange(table.n_obs))
    features = extractor(model.policy.obs_to_tensor(rows)[0])
    cells = int(np.prod(rows.shape[1:]))
    assert bool((features.sum(dim=1) == cells).all())
    assert len(torch.unique(features, dim=0)) == len(np.unique(rows.reshape(len(rows), -1), axis=0))


def test_seeds_share_no_luck_and_repeat():
    table = make_table("credit/FrozenLake-v0")
    first, second = (build("ppo", table, seed, 16, settings=SMALL).get_env() for seed in (0, 1))
    seeds = []
    for env in (first, second):
        env.reset()
        seeds.append(set(env.native.np_random_seed))
    assert not seeds[0] & seeds[1]


# -- imitation ---------------------------------------------------------------------------------------------------------------


def test_demonstrations_are_optimal_play():
    table = make_table("credit/FrozenLake-v0")
    best = oracle.optimal(table)
    obs, action, owner = demonstrate(table, 4000, 3)
    length = np.bincount(owner, minlength=4000)
    assert abs(length.mean() - best.length) < 4 * length.std() / np.sqrt(4000)
    start = obs[np.unique(owner, return_index=True)[1]]
    edge = best.greedy(0)[start]
    np.testing.assert_array_equal(table.edge_action[edge], action[np.unique(owner, return_index=True)[1]])


def test_demonstrations_name_actions_as_they_are_called_at_the_moment():
    table = make_table("credit/KeyRooms-v0?cue=0.0")
    assert table.emission.renames
    _, _, owner = demonstrate(table, 20, 0)
    assert set(np.bincount(owner)) == {round(oracle.optimal(table).length)}


def test_clone_is_the_likeliest_policy():
    table = make_table("credit/Gallery-v0")
    obs, action, _ = demonstrate(table, 50, 1)
    policy = clone(table, obs, action)
    best = np.log(policy[obs, action]).sum()
    rng = np.random.default_rng(0)
    for _ in range(20):
        other = 0.9 * policy + 0.1 * rng.dirichlet(np.ones(table.n_actions), table.n_obs)
        assert np.log(other[obs, action]).sum() < best
    unseen = np.setdiff1d(np.arange(table.n_obs), obs)
    assert oracle.as_policy(table, policy).kind == "obs"
    nothing = clone(table, obs[:0], action[:0])
    np.testing.assert_array_equal(policy[unseen], nothing[unseen])
    assert oracle.expected_return(table, oracle.Policy("obs", nothing)) == pytest.approx(
        oracle.expected_return(table, oracle.uniform(table))
    )


# -- the runner --------------------------------------------------------------------------------------------------------------


def test_results_have_the_form_of_agents_results(tmp_path):
    options = small(tmp_path, baseline=("uniform", "optimal", "imitation", "ppo"))
    for path, final in zip(run.run(options), (0.0, 1.0, 1.0, None), strict=True):
        found = results.read(path)
        assert found.environment == "credit/Chat-v0"
        assert found.about["fingerprint"] == make_table("credit/Chat-v0").fingerprint
        assert found.about["command"].startswith("python baselines/run.py --baseline")
        if final is not None:
            np.testing.assert_allclose(found.final, final, atol=1e-4)
    ppo = results.read(tmp_path / "out" / "ppo-Chat-v0.json")
    assert ppo.seeds == 2
    assert ppo.budget == 700
    assert "stable_baselines3" in ppo.about["provenance"]
    assert max(json.loads(path.read_text())["curve"][-1]["steps"]) <= 700


def test_an_interrupted_run_goes_on_and_ends_alike(tmp_path, monkeypatch):
    options = small(tmp_path / "whole", baseline=("a2c",))
    (whole,) = run.run(options)
    broken = small(tmp_path / "broken", baseline=("a2c",))
    learn = run.BASELINES["a2c"]

    def killed(table, options, env, seed):
        if seed == 1:
            raise KeyboardInterrupt
        return learn(table, options, env, seed)

    monkeypatch.setitem(run.BASELINES, "a2c", killed)
    with pytest.raises(KeyboardInterrupt):
        run.run(broken)
    monkeypatch.setitem(run.BASELINES, "a2c", lambda t, o, e, seed: learn(t, o, e, seed) if seed else 1 / 0)
    (resumed,) = run.run(broken)
    one, other = (json.loads(path.read_text()) for path in (whole, resumed))
    for found in (one, other):
        del found["seconds"]
    assert one == other
    with pytest.raises(CreditEnvsError, match="budget"):
        run.run(small(tmp_path / "broken", baseline=("a2c",), budget=900))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"baseline": ("poo",)}, "did you mean 'ppo'"),
        ({"seeds": 0}, "seeds=0"),
        ({"env": ("credit/KeyRoms-v0",)}, "credit/KeyRooms-v0"),
        ({"baseline": ("ppo",), "budget": 10}, "budget=10"),
        ({"observation": "text"}, "expected 'state'"),
    ],
)
def test_bad_input_is_refused(tmp_path, given, message):
    with pytest.raises(CreditEnvsError, match=message):
        run.run(small(tmp_path, **given))


def test_the_command_ends_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["run.py", "--baseline", "poo"])
    assert run.main() == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_page_shows_every_result_and_agents_at_the_same_budget(tmp_path):
    spec = importlib.util.spec_from_file_location("baselines_table", ROOT / "baselines" / "table.py")
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    found = [
        results.read(path) for path in run.run(small(tmp_path, baseline=("uniform", "optimal", "imitation", "a2c")))
    ]
    rival = json.loads((tmp_path / "out" / "a2c-Chat-v0.json").read_text()) | {"agent": "grpo"}
    other = {**rival, "agent": "gigpo", "options": {**rival["options"], "budget": 900}}
    page = table.page(found, [results.learning(rival), results.learning(other)])
    for name in (
        "| uniform | 1 | 0.000 |",
        "| optimal | 1 | 1.000 |",
        "| imitation | 2 |",
        "| a2c | 2 |",
        "*agent* grpo",
    ):
        assert name in page, name
    assert "gigpo" not in page
    assert "## Chat-v0: 700 steps" in page
    assert rival["command"] in page


# -- what is kept ------------------------------------------------------------------------------------------------------------


def test_kept_results_are_of_the_tables_as_they_are():
    kept = results.load(ROOT / "baselines" / "results")
    names = {one.agent for one in kept}
    assert {"uniform", "optimal", "imitation"} <= names
    for one in kept:
        assert one.about["fingerprint"] == make_table(one.environment).fingerprint, one.environment
        assert one.seeds >= (1 if one.agent in ("uniform", "optimal") else 5)
        assert np.isfinite(one.curves).all()
        assert one.curves.max() < 1 + 1e-3
