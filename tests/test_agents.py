"""Agents' files: they run, explain themselves, travel as they are, and what they trained is loaded back."""

import ast
import json
import runpy
import tomllib
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

import credit_envs
from credit_envs import cli, registry
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.config import provenance
from credit_envs.oracle import expected_return
from credit_envs.oracle.policy import Policy
from credit_envs.policies import make_policy
from credit_envs.recipes import PIECES
from credit_envs.training import checkpoint, files, sweep, trained
from credit_envs.training.options import Options

ROOT = Path(__file__).parents[1]
AGENTS = files.agents()
ENVIRONMENTS = {
    "vppo": "credit/KeyToDoor-v0?cue=0.5",
    "mt_grpo": "credit/Lookup-v0",
    "hiper": "credit/Pivots-v0?plan=2",
    "at_rl": "credit/Gallery-v0",
    "perception_r1": "credit/Charts-v0?values=2",
    "search_p1": "credit/Lookup-v0",
    "mig": "credit/Lookup-v0",
    "gc_rl": "credit/Sums-v0?task=both",
    "mt_ppo": "credit/Lookup-v0",
}
ALONE = ("pa_moe",)
SINGLE = ("ppo", "mt_ppo")
SHIPPED = sorted((files.folder() / "trained").glob("*.safetensors"))


def options_class(name):
    """Loads an agent's file by its path, as the command does; returns its loop and the class of its options."""
    found = runpy.run_path(str(files.folder() / f"{name}.py"))
    (cls,) = [v for v in found.values() if isinstance(v, type) and issubclass(v, Options) and v is not Options]
    return found["train"], cls


# -- the files -----------------------------------------------------------------------------------------------------------


def test_the_first_agents_and_those_people_look_for_are_there():
    wanted = {
        "ppo",
        "dapo",
        "rloo",
        "reinforce_pp",
        "starpo_s",
        "loop",
        "gspo",
        "sspo",
        "sorl",
        "agent_q",
        "istar",
        "hiper",
        "at_rl",
        "perception_r1",
        "search_p1",
        "mig",
        "gc_rl",
        "mt_ppo",
        "pa_moe",
    }
    assert {*sweep.FIRST, *wanted, "vppo", "hgpo", "graph_gpo", "mt_grpo", "klong", "inverse_prm", "recipe"} <= set(
        AGENTS
    )


@pytest.mark.parametrize("name", AGENTS)
def test_agents_train_and_leave_their_results(name, tmp_path):
    train, cls = options_class(name)
    size = {"groups": 2, "group_size": 2} if name not in SINGLE else {"groups": 4}
    env = ENVIRONMENTS.get(name, "credit/Pivots-v0")
    fixed = {"env": env, "budget": 400, "points": 2, "tensorboard": False, "quiet": True}
    fixed["learners"] = 1 if name in ALONE else 2
    result = train(cls(**fixed, **size, output=tmp_path))
    assert result["updates"] >= 1
    assert min(result["curve"][-1]["steps"]) >= 400
    assert np.isfinite(result["curve"][-1]["J"]).all()
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["curve"] == result["curve"]
    assert written["agent"] == (name if name != "recipe" else "gigpo")


@pytest.mark.parametrize("name", AGENTS)
def test_files_are_short_and_explain_every_option(name):
    text = (files.folder() / f"{name}.py").read_text()
    assert 45 <= text.count("\n") <= 200
    tree = ast.parse(text)
    head = ast.get_docstring(tree)
    assert f"python agents/{name}.py --" in head
    assert "Left out" in head
    own = next(
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "Options" for base in node.bases)
    )
    usual = set(Options.__dataclass_fields__)
    described = ast.get_docstring(own)
    for field in (node.target.id for node in own.body if isinstance(node, ast.AnnAssign)):
        assert field in usual or f"{field}: " in described, field


@pytest.mark.parametrize("name", AGENTS)
def test_files_import_the_library_and_nothing_imports_them(name):
    for node in ast.walk(ast.parse((files.folder() / f"{name}.py").read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.module.split(".")[0] in ("__future__", "credit_envs", "dataclasses", "torch", "typing"), (
                node.module
            )


def test_nothing_in_the_library_imports_an_agent():
    package = Path(credit_envs.__file__).parent
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.split(".")[0] == "agents" or "_agents" in name for name in names), path


# -- the command ---------------------------------------------------------------------------------------------------------


def test_train_runs_the_same_file(tmp_path, capsys):
    """The command, the file by itself and a call of its loop give one result."""
    arguments = [
        "--env",
        "credit/Chat-v0",
        "--budget",
        "600",
        "--groups",
        "2",
        "--points",
        "2",
        "--no-tensorboard",
        "--quiet",
    ]
    assert cli.main(["train", "gigpo", *arguments, "--output", str(tmp_path / "a")]) == 0
    train, cls = options_class("gigpo")
    sizes = {"budget": 600, "groups": 2, "points": 2, "tensorboard": False, "quiet": True}
    train(cls(env="credit/Chat-v0", **sizes, output=tmp_path / "b"))
    assert (tmp_path / "a" / "result.json").read_bytes() == (tmp_path / "b" / "result.json").read_bytes()
    assert cli.main(["train", "gigpo+dapo_loss", *arguments, "--output", str(tmp_path / "c")]) == 0
    assert json.loads((tmp_path / "c" / "result.json").read_text())["agent"] == "gigpo+dapo_loss"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "gigppo"], "unknown agent 'gigppo'; did you mean 'gigpo'"),
        (["train", "gigpo", "--env", "credit/Keyrooms-v0"], "did you mean 'credit/KeyRooms-v0'"),
        (["train", "vppo", "--env", "credit/Chat-v0"], "vppo needs blind, which Chat"),
        (["train", "at_rl", "--env", "credit/Chat-v0"], "at_rl needs visual, which Chat"),
        (["train", "perception_r1", "--env", "credit/Sums-v0"], "perception_r1 needs stated, which Sums"),
        (["train", "search_p1", "--env", "credit/Chat-v0"], "search_p1 needs reference_left or field, which Chat"),
        (["train", "mig", "--env", "credit/Chat-v0"], "mig needs answer_share, which Chat"),
        (["train", "gc_rl", "--env", "credit/Sums-v0"], "gc_rl needs task, which Sums"),
        (["train", "mt_ppo", "--env", "credit/Chat-v0"], "turn_rewards needs answer_seen or facts"),
        (["train", "pa_moe", "--policy", "gru"], "policy='gru': pa_moe trains 'phase_moe'"),
        (["train", "pa_moe", "--learners", "2"], "phase_moe"),
        (["train", "recipe", "--recipe", "hiper", "--env", "credit/Chat-v0"], "hiper needs field, which Chat"),
        (["compare", "grpo", "gigpoo"], "unknown agent 'gigpoo'"),
        (["compare", "grpo", "--environments", "credit/Chatt-v0"], "did you mean 'credit/Chat-v0'"),
        (["compare", "grpo", "--seeds", "0"], "seeds=0: expected an integer in"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_recipes_train_what_no_file_is_named_after():
    path, own = files.command("gigpo+vppo")
    assert (path.name, own) == ("recipe.py", ["--recipe", "gigpo+vppo"])
    assert files.command("gigpo")[1] == []
    assert not set(PIECES) & {"recipe"}


# -- packaging -----------------------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_a_wheel_holds_the_repository_s_files_byte_for_byte():
    """Against the built wheel this compares two copies; in a checkout the folder is the repository's own."""
    here = files.folder()
    if not (ROOT / "agents").is_dir():
        pytest.skip("no checkout beside these tests")
    if here != ROOT / "agents":
        assert here == Path(credit_envs.__file__).parent / "_agents"
    for path in [*(ROOT / "agents").glob("*.py"), *(ROOT / "agents" / "trained").glob("*")]:
        assert (here / path.relative_to(ROOT / "agents")).read_bytes() == path.read_bytes(), path.name
    assert not (here / "results").exists() or here == ROOT / "agents"


def test_the_build_takes_agents_along_and_leaves_their_results():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(wheel["only-include"]) == {"credit_envs", "agents"}
    assert wheel["sources"] == {"agents": "credit_envs/_agents"}
    assert wheel["exclude"] == ["agents/results"]


# -- trained agents --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """GiGPO on FrozenLake, trained for a moment and packed."""
    folder = tmp_path_factory.mktemp("kept")
    sizes = ["--budget", "5000", "--groups", "8", "--learners", "3", "--points", "2", "--no-tensorboard", "--quiet"]
    assert files.run("gigpo", ["--env", "credit/FrozenLake-v0", *sizes, "--output", str(folder / "run")]) == 0
    path = folder / "gigpo-FrozenLake-v0.safetensors"
    trained.keep(folder / "run", path, "how")
    return path


def test_a_kept_agent_is_the_best_learner_and_its_return_is_exact(kept):
    agent = trained.read(kept)
    result = json.loads((kept.parent / "run" / "result.json").read_text())
    last = result["curve"][-1]["J"]
    assert agent.about["seed"] == int(np.argmax(last))
    assert agent.about["J"] == pytest.approx(max(last), abs=2e-3)  # half precision
    assert agent.about["J"] == pytest.approx(expected_return(agent.table, Policy("obs", agent.probability)), abs=1e-12)
    assert agent.probability.sum(axis=1) == pytest.approx(np.ones(agent.table.n_obs))
    assert kept.stat().st_size < 1 << 20


def test_what_the_environment_shows_is_what_the_agent_reads(kept):
    agent = trained.read(kept)
    env = gymnasium.make("credit/FrozenLake-v0")
    obs, _ = env.reset(seed=1)
    for _ in range(5):
        assert agent.act(obs) == agent.act(int(obs)) == int(agent.probabilities(int(obs)).argmax())
        obs, _, over, *_ = env.step(agent.act(obs))
        if over:
            obs, _ = env.reset()


@pytest.mark.parametrize("env_id", ["credit/KeyRooms-v0", "credit/Shop-v0", "credit/Gallery-v0", "credit/Pivots-v0"])
def test_every_kind_of_observation_leads_to_its_own_row(env_id):
    """Planes, words, both and numbers: along random play an agent reads what the environment says is its observation id."""
    table = registry.make_table(env_id)
    policy = make_policy("tabular", table)
    agent = trained.TrainedAgent("x", registry.canonical(env_id), table, policy, {})
    env = gymnasium.make(env_id)
    obs, _ = env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(30):
        unwrapped = env.unwrapped
        base = table.emission.base[unwrapped.state] if hasattr(unwrapped, "state") else None
        number = agent.identify(obs)
        assert 0 <= number < table.n_obs
        if base is not None:
            assert number // table.emission.n_codes == base
        obs, _, over, *_ = env.step(env.action_space.sample())
        if over:
            obs, _ = env.reset()


def test_actions_are_drawn_by_the_policy_with_a_generator(kept):
    agent = trained.read(kept)
    drawn = [agent.act(0, np.random.default_rng(i)) for i in range(2000)]
    share = np.bincount(drawn, minlength=4) / 2000
    assert np.abs(share - agent.probabilities(0)).max() < 4 * 0.5 / 2000**0.5


@pytest.mark.parametrize(("word", "value"), [("fingerprint", "0" * 64), ("version", "0.0.0")])
def test_an_agent_of_another_environment_or_version_is_refused(kept, tmp_path, word, value):
    tensors, about = checkpoint.load(kept)
    checkpoint.save(tmp_path / "x.safetensors", tensors, {**about, word: value})
    with pytest.raises(CreditEnvsError, match=f"{word} is '{value}' there and '{about[word]}' here"):
        trained.read(tmp_path / "x.safetensors")


def test_strange_observations_are_refused(kept):
    agent = trained.read(kept)
    with pytest.raises(CreditEnvsError, match="obs_id=16: expected an integer"):
        agent.act(16)
    with pytest.raises(CreditEnvsError, match="never shows this observation"):
        agent.act("north")


@pytest.mark.skipif(not SHIPPED, reason="no trained agents yet")
class TestShipped:
    def test_every_one_is_small_and_for_this_version_and_these_environments(self):
        tables = {}
        for path in SHIPPED:
            assert path.stat().st_size < 1 << 20
            tensors, about = checkpoint.load(path)
            table = tables.setdefault(about["env"], None) or registry.make_table(about["env"])
            tables[about["env"]] = table
            assert about["fingerprint"] == table.fingerprint, path.name
            assert about["version"] == provenance()["credit_envs"]
            if about.get("policy", "tabular") == "tabular":
                assert tensors["logits"].shape == (table.n_obs, table.n_actions)
        assert sum(path.stat().st_size for path in SHIPPED) < 16 << 20

    def test_one_is_loaded_by_name_and_plays_as_well_as_it_says(self):
        agent = credit_envs.load_agent("gigpo", "credit/KeyRooms-v0")
        exact = expected_return(agent.table, Policy("obs", agent.probability))
        assert agent.about["J"] == pytest.approx(exact, abs=1e-12)
        assert exact > 0.95
        env = gymnasium.make("credit/KeyRooms-v0")
        obs, _ = env.reset(seed=0)
        total, over = 0.0, False
        while not over:
            obs, reward, over, *_ = env.step(agent.act(obs))
            total += float(reward)
        assert total == 1.0

    def test_unknown_names_say_what_there_is(self):
        with pytest.raises(CreditEnvsError, match="unknown trained agent 'gigppo'; did you mean 'gigpo'"):
            credit_envs.load_agent("gigppo", "credit/KeyRooms-v0")
        with pytest.raises(CreditEnvsError, match="environment of trained agent 'gigpo'"):
            credit_envs.load_agent("gigpo", "credit/KeyRooms-v0?stages=3")


@pytest.mark.parametrize(
    ("kind", "env_id", "learners"),
    [("mlp", "credit/Pivots-v0", 3), ("gru", "credit/Chat-v0", 3), ("transformer", "credit/Chat-v0", 1)],
)
def test_networks_and_memories_are_kept_and_play_as_they_were_trained(kind, env_id, learners, tmp_path):
    if kind == "transformer":
        pytest.importorskip("transformers")
    sizes = ["--budget", "1000", "--groups", "4", "--learners", str(learners), "--points", "2", "--rollouts", "256"]
    run = tmp_path / "run"
    arguments = ["--env", env_id, "--policy", kind, *sizes, "--no-tensorboard", "--quiet", "--output", str(run)]
    assert files.run("grpo", arguments) == 0
    trained.keep(run, tmp_path / "kept.safetensors", "how")
    agent = trained.read(tmp_path / "kept.safetensors")
    last = json.loads((run / "result.json").read_text())["curve"][-1]
    error = agent.about.get("error", 0.0) + last.get("error", [0.0] * learners)[agent.about["seed"]]
    assert abs(agent.about["J"] - last["J"][agent.about["seed"]]) < 2e-3 + 2 * error
    returns, luck = [], np.random.default_rng(0)
    env = gymnasium.make(env_id)
    for episode in range(200):
        obs, _ = env.reset(seed=episode)
        agent.reset()
        total, over = 0.0, False
        while not over:
            obs, reward, over, *_ = env.step(agent.act(obs, luck))
            total += float(reward)
        returns.append(total)
    width = 4 * np.std(returns) / len(returns) ** 0.5
    assert abs(np.mean(returns) - agent.about["J"]) < width + 2 * agent.about.get("error", 0.0)


def test_a_memory_is_what_was_acted_upon_until_it_is_reset():
    table = registry.make_table("credit/Chat-v0")
    agent = trained.TrainedAgent("x", "credit/Chat-v0", table, make_policy("gru", table, seed=3), {})
    with torch.no_grad():
        agent.policy.head.weight.mul_(500)
    fresh = agent.probabilities(1)
    done = agent.act(0)
    whole = agent.policy.log_probs(torch.tensor([[0, 1]]), torch.tensor([[done, 0]])).exp()[0, 1]
    assert agent.probabilities(1) == pytest.approx(whole.detach().numpy(), abs=1e-6)
    assert np.abs(agent.probabilities(1) - fresh).max() > 1e-3
    agent.reset()
    assert agent.probabilities(1) == pytest.approx(fresh, abs=1e-12)
    with pytest.raises(CreditEnvsError, match="remembers, so it is no table"):
        _ = agent.probability


def test_weights_of_another_kind_are_refused(kept, tmp_path):
    tensors, about = checkpoint.load(kept)
    checkpoint.save(tmp_path / "x.safetensors", tensors, {**about, "policy": "mlp"})
    with pytest.raises(CreditEnvsError, match="its weights fit no mlp policy"):
        trained.read(tmp_path / "x.safetensors")
    checkpoint.save(tmp_path / "y.safetensors", tensors, {})
    with pytest.raises(CreditEnvsError, match="holds no trained agent"):
        trained.read(tmp_path / "y.safetensors")
