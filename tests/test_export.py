"""Exported data: labels against the oracle, layouts against their sources, folders that appear whole, Minari read back."""

import json
import os

import numpy as np
import pytest

pytest.importorskip("torch")

from credit_envs import cli, dials, oracle
from credit_envs.errors import CreditEnvsError
from credit_envs.export import Export, export, labelled
from credit_envs.export import dataset as dataset_module
from credit_envs.export.labels import policy_of
from credit_envs.export.prm import prm800k, processbench, texts
from credit_envs.registry import make_table

JSON = ("processbench", "prm800k")


def lake(**knobs):
    return make_table("credit/FrozenLake-v0", horizon=30, **knobs)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    "table",
    [
        lake(),
        lake(cue=0.5),
        lake().replace(discount=0.9),
        make_table("credit/KeyRooms-v0", stages=1, horizon=30, stage_reward=0.2, delay=2),
        make_table("credit/Lookup-v0"),
    ],
    ids=["lake", "cue", "discount", "delay", "lookup"],
)
def test_labels_are_the_oracles(table):
    found = labelled(table, oracle.uniform(table), groups=4, group_size=8, seed=1)
    batch, truth, mask = found.sample.trajectories, found.sample.truth, found.mask
    values, best = oracle.evaluate(table, oracle.uniform(table)), oracle.optimal(table)
    gamma = table.discount ** np.arange(mask.shape[1])
    reward = batch.reward.numpy()
    skill, luck = (found.advantage * gamma).sum(axis=1), (found.luck * gamma).sum(axis=1)
    np.testing.assert_allclose((reward * gamma).sum(axis=1) - found.value[:, 0], skill + luck, atol=1e-9)
    for i, t in zip(*np.nonzero(mask), strict=True):
        state, edge = int(truth.state[i, t]), int(truth.edge[i, t])
        assert found.value[i, t] == values.V[t, state]
        assert found.optimal_value[i, t] == best.V[t, state]
        row = best.q(t, state)
        assert found.q[i, t] == pytest.approx(values.q(t, state)[table.edge_action[edge]])
        assert found.regret[i, t] == pytest.approx(np.nanmax(row) - row[table.edge_action[edge]], abs=1e-9)
        assert found.error[i, t] == (found.regret[i, t] > 0)
        k = slice(*found.choices.start[found.step_number[i, t] :][:2])
        named = found.choices.action[k].tolist()
        assert sorted(named) == sorted(np.flatnonzero(table.mask[state]).tolist())
        mine = named.index(int(batch.action[i, t]))  # names shift under a cue: this one is what was executed
        assert found.choices.advantage[k][mine] == pytest.approx(found.advantage[i, t], abs=1e-12)
        assert found.choices.regret[k][mine] == pytest.approx(found.regret[i, t], abs=1e-12)
        assert found.choices.rating[k][mine] == found.rating[i, t]
        assert found.choices.regret[k].min() == 0
    assert not found.regret[~mask].any()
    assert 0 < found.error.sum() < mask.sum()


def test_ratings_and_first_errors():
    table = lake()
    found = labelled(table, oracle.uniform(table), groups=6, seed=2)
    for i, row in enumerate(found.error):
        where = np.flatnonzero(row)
        assert found.first_error[i] == (where[0] if where.size else -1)
    good = (found.rating == 1) & found.mask
    assert np.all(found.advantage[good] > 0)
    assert np.all(found.regret[good] == 0)
    assert np.array_equal(found.rating == -1, found.error)
    lenient = labelled(table, oracle.uniform(table), groups=6, seed=2, tolerance=0.05)
    assert np.array_equal(lenient.error, found.regret > 0.05)
    assert lenient.error.sum() < found.error.sum()
    final = found.sample.truth.final.numpy()
    np.testing.assert_array_equal(found.won, final == 15)  # the goal


def test_perfect_play_makes_no_errors_and_wins():
    table = make_table("credit/Lookup-v0")
    best = oracle.optimal(table)
    policy = np.zeros((table.n_states, table.n_actions))
    for state in range(table.n_states):
        row = best.q(0, state)
        policy[state, 0 if np.isnan(row).all() else int(np.nanargmax(row))] = 1
    played = oracle.evaluate(table, policy).J
    assert played == pytest.approx(best.J)
    found = labelled(table, policy, groups=4, seed=0)
    assert found.won.all()
    assert (found.first_error == -1).all()


def test_processbench_lines():
    table = lake()
    found = labelled(table, oracle.uniform(table), groups=2, group_size=4, seed=0)
    seen = texts(found)
    for i in range(8):
        line = processbench(found, i, seen[i], "A lake.", f"lake-{i}", "uniform", split="test")
        assert list(line)[:6] == ["id", "generator", "problem", "steps", "final_answer_correct", "label"]
        n = len(line["steps"])
        assert n == int(found.mask[i].sum())
        assert {
            len(line[name]) for name in ("correct", "rating", "advantage", "luck", "optimal_actions", "action")
        } == {n}
        assert line["label"] == (line["correct"].index(False) if False in line["correct"] else -1)
        assert line["problem"].endswith(seen[i][0])
        assert line["steps"][0] == f"Action: {line['action'][0]}"
        assert line["steps"][-1] == (f"{seen[i][-1]}\nAction: {line['action'][-1]}" if n > 1 else line["steps"][0])
        for t in range(n):
            assert (line["action"][t] in line["optimal_actions"][t]) == line["correct"][t]
        json.dumps(line, allow_nan=False)


def test_prm800k_lines():
    table = make_table("credit/Lookup-v0")
    found = labelled(table, oracle.uniform(table), groups=2, group_size=4, seed=0)
    seen = texts(found)
    reasons = set()
    for i in range(8):
        line = prm800k(found, i, seen[i], "Questions.", f"lookup-{i}", "uniform")
        bench = processbench(found, i, seen[i], "Questions.", f"lookup-{i}", "uniform")
        assert line["question"]["problem"] == bench["problem"]
        assert line["question"]["pre_generated_steps"] == bench["steps"]
        chosen = [step["completions"][step["chosen_completion"]] for step in line["label"]["steps"]]
        assert [one["text"] for one in chosen] == bench["steps"]
        assert [one["rating"] for one in chosen] == bench["rating"]
        assert {one["rating"] for step in line["label"]["steps"] for one in step["completions"]} <= {-1, 0, 1}
        assert all(any(one["rating"] >= 0 for one in step["completions"]) for step in line["label"]["steps"])
        reasons.add(line["label"]["finish_reason"])
    assert reasons <= {"solution", "found_error", "give_up"}


def test_policies_by_name():
    table = make_table("credit/FrozenLake-v0")
    scores = [oracle.evaluate(table, policy_of(table, name)).J for name in ("uniform", "0.5", "optimal")]
    assert scores == sorted(scores)
    assert scores[2] > 0.99 * oracle.optimal(table).J
    agent = policy_of(table, "gigpo", "credit/FrozenLake-v0")
    learnt = oracle.evaluate(table, agent).J
    assert learnt > scores[1]
    with pytest.raises(CreditEnvsError, match="by default"):
        policy_of(lake(), "gigpo", "credit/FrozenLake-v0")
    with pytest.raises(CreditEnvsError, match="policy"):
        policy_of(table, "1.5")
    with pytest.raises(CreditEnvsError, match="gigpoo"):
        policy_of(table, "gigpoo", "credit/FrozenLake-v0")


def small(**changes):
    usual = {"groups": 5, "group_size": 4, "knobs": ("horizon=12",), "formats": JSON, "policy": "uniform"}
    return Export("credit/FrozenLake-v0", **{**usual, **changes})


def test_a_folder_appears_whole_and_once(tmp_path, monkeypatch):
    folder = tmp_path / "deep" / "lake"
    about = export(small(), folder)
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "export.json", "prm800k", "processbench"]
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    assert export(small(), folder) == json.loads(json.dumps(about))
    assert before == {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    with pytest.raises(CreditEnvsError, match="holds something else"):
        export(small(seed=1), folder)
    again = tmp_path / "again"
    export(small(), again)
    for layout in JSON:
        for split in ("train", "test"):
            name = f"{layout}/{split}.jsonl"
            assert (folder / name).read_bytes() == (again / name).read_bytes()

    def fails(about):
        raise RuntimeError("halfway")

    monkeypatch.setattr(dataset_module.card, "text", fails)
    with pytest.raises(RuntimeError, match="halfway"):
        export(small(seed=2), tmp_path / "half")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again", "deep"]


def test_splits_divide_groups_or_instances(tmp_path):
    export(small(splits=("train=0.6", "validation=0.2", "test=0.2")), tmp_path / "one")
    groups = {
        s: {r["group"] for r in lines(tmp_path / f"one/processbench/{s}.jsonl")}
        for s in ("train", "validation", "test")
    }
    assert groups == {"train": {0, 1, 2}, "validation": {3}, "test": {4}}
    several = Export("credit/Lookup-v0", groups=2, group_size=3, instances=4, instance=7, formats=JSON, policy="0.3")
    about = export(dataset_module.dataclasses.replace(several, splits=("train=0.5", "test=0.5")), tmp_path / "several")
    rows = {s: lines(tmp_path / f"several/processbench/{s}.jsonl") for s in ("train", "test")}
    assert {r["instance"] for r in rows["train"]} == {7, 8}
    assert {r["instance"] for r in rows["test"]} == {9, 10}
    assert len(rows["train"]) == 2 * 2 * 3
    assert len({r["problem"] for r in rows["train"] + rows["test"]}) == 4
    ids = [r["id"] for part in rows.values() for r in part]
    assert len(set(ids)) == len(ids)
    assert {one["fingerprint"] for one in about["instances"].values()} == {
        make_table("credit/Lookup-v0", instance=i).fingerprint for i in range(7, 11)
    }


def test_the_card_says_what_the_files_hold(tmp_path):
    yaml = pytest.importorskip("yaml")
    export(small(groups=10), tmp_path / "lake")
    card = (tmp_path / "lake/README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["license"] == "mit"
    assert front["size_categories"] == ["n<1K"]
    files = {d["path"]: d["split"] for c in front["configs"] for d in c["data_files"]}
    assert files == {f"{layout}/{s}.jsonl": s for layout in JSON for s in ("train", "test")}
    about = json.loads((tmp_path / "lake/export.json").read_text())
    assert make_table("credit/FrozenLake-v0", horizon=12).fingerprint in card
    for split in ("train", "test"):
        rows, said = lines(tmp_path / f"lake/processbench/{split}.jsonl"), about["splits"][split]
        assert said["rollouts"] == len(rows)
        assert said["steps"] == sum(len(r["steps"]) for r in rows)
        assert said["won"] == np.mean([r["final_answer_correct"] for r in rows])
        assert said["with_an_error"] == np.mean([r["label"] >= 0 for r in rows])
        assert said["return"] == pytest.approx(np.mean([r["return"] for r in rows]))
        assert said["steps_in_error"] == pytest.approx(np.mean([not c for r in rows for c in r["correct"]]))
        assert said["advantage_rms"] == pytest.approx(np.sqrt(np.mean([a * a for r in rows for a in r["advantage"]])))
        assert f"{said['steps']:,}" in card
    assert "credit-envs export credit/FrozenLake-v0 horizon=12 --policy uniform --groups 10 --group-size 4" in card


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": 0}, "groups=0"),
        ({"splits": ("train=0.5",)}, "add up to 1"),
        ({"splits": ("train=0.99", "test=0.01")}, "test would be empty"),
        ({"splits": ("../up=1.0",)}, "letters"),
        ({"formats": ("parquet",)}, "unknown format"),
        ({"formats": ()}, "expected some of"),
        ({"groups": 1 << 20, "group_size": 1 << 10}, "at most"),
        ({"tolerance": -1.0}, "tolerance"),
        ({"instances": 2}, "instances=2: credit/FrozenLake-v0 is one fixed"),
        ({"policy": "2"}, "policy"),
        ({"knobs": ("horzion=3",)}, "horizon"),
    ],
)
def test_bad_input_is_named(changes, message, tmp_path):
    with pytest.raises(CreditEnvsError, match=message):
        export(small(**changes), tmp_path / "never")
    assert not list(tmp_path.iterdir())


def test_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table = dials.apply(lake(), slip=0.1)
    table.save("own.npz")
    words = ["export", "own.npz", "--groups", "5", "--group-size", "2", "--formats", "processbench", "--output", "data"]
    assert cli.main(words) == 0
    assert "card: data/README.md" in capsys.readouterr().out
    command = json.loads((tmp_path / "data/export.json").read_text())["command"]
    assert command.split()[1:] == words
    assert lines(tmp_path / "data/processbench/test.jsonl")[0]["id"].startswith("own-0-")
    assert cli.main(["export", "credit/Lookup-v0", "--policy", "nobody", "--formats", "processbench"]) == 2
    assert "nobody" in capsys.readouterr().err


@pytest.mark.parametrize("view", [None, "text", "state", "both"])
def test_minari_reads_it_back(view, tmp_path, monkeypatch):
    minari = pytest.importorskip("minari", reason="Minari is not installed: pip install 'credit-envs[export]'")
    pytest.importorskip("h5py")
    knobs = ("stages=1", "horizon=40", "revisit_rate=0.2") if view == "text" else ("stages=1", "horizon=40")
    config = Export("credit/KeyRooms-v0", knobs, "0.5", groups=5, group_size=2, observation=view)
    about = export(config, tmp_path / "rooms")
    assert "MINARI_DATASETS_PATH" not in os.environ
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "rooms/minari"))
    skins = {"revisit_rate": 0.2} if view == "text" else {}
    table = make_table("credit/KeyRooms-v0", stages=1, horizon=40, **skins)
    found = labelled(table, policy_of(table, "0.5"), 5, 2, 0)
    rollout = 0
    for split in ("train", "test"):
        dataset = minari.load_dataset(f"keyrooms/{split}-v0")
        assert dataset.total_episodes == about["splits"][split]["rollouts"]
        assert dataset.total_steps == about["splits"][split]["steps"]
        env = dataset.recover_environment()
        assert env.observation_space == dataset.spec.observation_space
        scores = dataset.storage.metadata
        assert (scores["ref_min_score"], scores["ref_max_score"]) == found.J[1:]
        for episode, meta in zip(
            dataset.iterate_episodes(), dataset.storage.get_episode_metadata(range(100)), strict=False
        ):
            n = int(found.mask[rollout].sum())
            assert len(episode.rewards) == n
            assert episode.terminations.tolist() == [False] * (n - 1) + [True]
            for name in ("advantage", "value", "q", "luck", "regret", "optimal_value", "rating", "error"):
                np.testing.assert_array_equal(episode.infos[name], getattr(found, name)[rollout, :n])
            assert (episode.infos["regret"] == 0)[episode.infos["optimal_action"] == episode.actions].all()
            assert meta["won"] == found.won[rollout]
            assert meta["first_error"] == found.first_error[rollout]
            if view != "text":  # nothing is left to chance: the environment shows and pays the same
                shown = [env.reset(seed=0)[0]]
                for action, reward in zip(episode.actions, episode.rewards, strict=True):
                    obs, paid, *_ = env.step(action)
                    shown.append(obs)
                    assert paid == reward
                for t, obs in enumerate(shown):
                    stored = episode.observations
                    if isinstance(stored, dict):
                        assert stored["text"][t] == obs["text"]
                        np.testing.assert_array_equal(stored["grid"][t], obs["grid"])
                    else:
                        np.testing.assert_array_equal(stored[t], obs)
            else:
                assert list(episode.observations)[:n] == texts(found)[rollout]
            rollout += 1
    assert rollout == 10


def test_instances_of_different_spaces_are_refused(tmp_path):
    pytest.importorskip("minari", reason="Minari is not installed: pip install 'credit-envs[export]'")
    pytest.importorskip("h5py")
    config = Export("credit/Shop-v0", groups=1, group_size=1, instances=2, splits=("all=1.0",), observation="state")
    with pytest.raises(CreditEnvsError, match="use another view"):
        export(config, tmp_path / "shop")
    assert not list(tmp_path.iterdir())
