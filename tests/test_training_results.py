"""What is read off training: statistics against numbers that can be checked by hand, sweeps that go on, the report."""

import json
from math import inf

import numpy as np
import pytest
from scipy import stats

from credit_envs import cli
from credit_envs.errors import CreditEnvsError
from credit_envs.report import agreement
from credit_envs.report import learning as reports
from credit_envs.training import results, scores, sweep
from credit_envs.training.budgets import BUDGETS, budget_of


def made(agent, environment, curves, budget=100):
    """A result file's content from curves by seed, at even marks."""
    curves = np.array(curves, dtype=float)
    points = [
        {"steps": [float(s)] * len(curves), "J": v.tolist(), "normalised": v.tolist()}
        for s, v in zip(np.linspace(0, budget, curves.shape[1]), curves.T, strict=True)
    ]
    about = {"agent": agent, "env": environment, "table": "t", "fingerprint": "f" * 64, "updates": 3}
    versions = {"credit_envs": "0", "torch": "0"}
    return {
        **about, "options": {"budget": budget, "seed": 0}, "provenance": versions, "J_uniform": 0.0, "J_optimal": 1.0,
        "meter": {}, "alarms": {}, "curve": points,
    }  # fmt: skip


def learning(*args, **kwargs):
    return results.learning(made(*args, **kwargs))


@pytest.mark.parametrize("n", [4, 8, 20])
def test_the_interquartile_mean_is_the_trimmed_mean(n):
    values = np.random.default_rng(n).normal(size=(5, n))
    assert results.interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25, axis=1))


def test_the_interquartile_mean_of_few_runs_weighs_the_marginal_ones():
    # of 3 runs the middle half is the middle third and a quarter of each neighbour's third: weights 1/6, 2/3, 1/6
    assert results.interquartile_mean(np.array([[0.0, 6.0, 12.0]]))[0] == pytest.approx(6.0)
    assert results.interquartile_mean(np.array([[0.0, 6.0, 18.0]]))[0] == pytest.approx(4.0 + 3.0)


def test_speed_and_steps_of_a_curve_drawn_by_hand():
    one = learning("a", "e", [[0, 0.4, 0.8, 1.0, 1.0], [0, 0, 0, 0, 0.2]], budget=400)
    assert one.speed == pytest.approx([(0.2 + 0.6 + 0.9 + 1.0) / 4, 0.1 / 4])
    assert one.final.tolist() == [1.0, 0.2]
    assert one.steps_to(0.5).tolist() == pytest.approx([125.0, inf])
    assert one.steps_to(0.9)[0] == pytest.approx(250.0)


def test_curves_are_read_at_common_marks_whatever_each_seed_had_spent():
    data = made("a", "e", [[0, 1.0, 1.0]], budget=100)
    data["curve"][1]["steps"], data["curve"][2]["steps"] = [80.0], [120.0]
    one = results.learning(data)
    assert one.curves[0].tolist() == pytest.approx([0, 50 / 80, 1.0])


def test_the_probability_of_improvement_counts_pairs():
    x, y = np.array([3.0, 1.0]), np.array([2.0, 1.0])
    assert results.improvement([(x, y)]).value == pytest.approx((1 + 1 + 0 + 0.5) / 4)
    assert results.improvement([(x, y), (y, x)]).value == pytest.approx(0.5)
    sure = results.improvement([(np.array([2.0, 3.0]), np.array([0.0, 1.0]))])
    assert (sure.value, sure.low, sure.high) == (1.0, 1.0, 1.0)


def test_intervals_cover_and_repeat():
    """Nominal 95 % of a bootstrap over 20 seeds: at least 88 % of 200 samples cover the true mean."""
    rng, hits = np.random.default_rng(0), 0
    for i in range(200):
        found = results.bootstrapped([rng.normal(size=20)], lambda v: v.mean(axis=-1), seed=i, resamples=400)
        hits += found.low <= 0 <= found.high
    assert hits >= 176
    group = rng.normal(size=20)
    assert results.bootstrapped([group], results.interquartile_mean) == results.bootstrapped(
        [group], results.interquartile_mean
    )


def scored(pairs):
    entries = [
        {"agent": agent, "environment": place, "policy": "uniform", "equivalents": value}
        for agent, place, value in pairs
    ]
    return {"price": "simulator", "budget": 1, "seeds": 1, "levels": [0.0], "scores": entries}


def test_rank_correlation_of_credit_and_learning():
    agents, places = "abcd", ("e1", "e2", "e3")
    found = [
        learning(agent, place, [[0, (i + 1) * 0.2, (i + 1) * 0.2]] * 4)
        for place in places
        for i, agent in enumerate(agents)
    ]
    rising = scored([(a, p, 2.0**i) for p in places for i, a in enumerate(agents)])
    falling = scored([(a, p, 2.0**-i) for p in places for i, a in enumerate(agents)])
    for scores_, value in ((rising, 1.0), (falling, -1.0)):
        pairs = agreement.paired(found, scores_)
        for within in (True, False):
            interval = agreement.correlation(pairs, within, resamples=200)
            assert interval.value == pytest.approx(value)
            assert interval.low == pytest.approx(value)
    holes = scored([(a, p, None if a == "d" else 2.0**i) for p in places for i, a in enumerate(agents)])
    assert agreement.paired(found, holes).undefined == 3


def test_every_first_agent_has_a_recipe_whose_credit_can_be_scored():
    for agent in sweep.FIRST:
        assert scores.recipe_of(agent) is not None, agent
    assert scores.recipe_of("nothing_of_the_kind") is None


def test_every_environment_of_the_suite_has_a_budget():
    from credit_envs.registry import suite

    assert set(suite("core-v0")) <= set(BUDGETS) <= {*suite("core-v0"), *suite("long-v0"), *suite("text-v0")}
    assert budget_of("credit/KeyToDoor-v0?orchard=150") == 2 * BUDGETS["credit/KeyToDoor-v0"]
    assert budget_of("credit/KeyRooms-v0?stages=2") == BUDGETS["credit/KeyRooms-v0"]


def test_compare_trains_reports_and_goes_on(tmp_path, capsys):
    arguments = ["compare", "grpo", "gigpo", "--environments", "Chat", "Pivots", "--seeds", "3", "--budget", "600"]
    arguments += ["--output", str(tmp_path / "out"), "--keep", str(tmp_path / "keep"), "--jobs", "1"]
    assert cli.main([*arguments, "--docs", str(tmp_path / "docs")]) == 0
    text = (tmp_path / "out" / "report.md").read_text()
    for part in (
        "<summary>Chat-v0</summary>",
        "<summary>Pivots-v0</summary>",
        "| grpo | 3 |",
        "| gigpo | 3 |",
        "credit-envs train gigpo --env credit/Chat-v0",
    ):
        assert part in text
    assert (tmp_path / "out" / "curves.png").stat().st_size > 10_000
    assert (tmp_path / "out" / "map.png").stat().st_size > 5_000
    assert (tmp_path / "docs" / "training.md").is_file()
    shown = (tmp_path / "docs" / "training.md").read_text()
    for name in ("training.png", "training-map.png"):
        assert (tmp_path / "docs" / "images" / name).is_file()
        assert f"(images/{name})" in shown
    assert len(list((tmp_path / "keep").glob("*.safetensors"))) == 4
    cell = tmp_path / "out" / "grpo-Chat-v0.json"
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.json")}
    (tmp_path / "out" / "gigpo-Pivots-v0.json").unlink()
    assert cli.main(arguments) == 0
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.json")}
    assert after.keys() == before.keys()
    assert [path.name for path in before if before[path] != after[path]] == ["gigpo-Pivots-v0.json"]
    # a result is what its own command makes
    command = json.loads(cell.read_text())["command"].split()[1:]
    assert cli.main([*command, "--output", str(tmp_path / "again"), "--no-tensorboard", "--quiet"]) == 0
    again = json.loads((tmp_path / "again" / "result.json").read_text())
    assert results.compact(again, "")["curve"] == json.loads(cell.read_text())["curve"]
    capsys.readouterr()
    assert cli.main([*arguments[:-4], "--budget", "700", "--output", str(tmp_path / "out"), "--jobs", "1"]) == 2
    assert "budget is 600 there and 700 here" in capsys.readouterr().err


def test_an_agent_that_cannot_play_an_environment_stops_no_other(tmp_path, capsys):
    arguments = ["compare", "vppo", "grpo", "--environments", "Chat", "--seeds", "2", "--budget", "200", "--jobs", "1"]
    assert cli.main([*arguments, "--output", str(tmp_path)]) == 0
    assert "vppo-Chat-v0: exit code 2" in capsys.readouterr().err
    assert "| grpo | 2 |" in (tmp_path / "report.md").read_text()


def test_a_damaged_result_is_named(tmp_path):
    (tmp_path / "grpo-Chat-v0.json").write_text("{}")
    with pytest.raises(CreditEnvsError, match=r"grpo-Chat-v0\.json.*cannot be read"):
        results.load(tmp_path)
    with pytest.raises(CreditEnvsError, match="holds no results of training"):
        results.load(tmp_path / "nowhere")


def test_seeds_that_train_one_at_a_time_make_one_result(tmp_path):
    """The transformer trains one learner: a cell runs its seeds one after the other, and says so in its command."""
    pytest.importorskip("transformers")
    (cell,) = sweep.cells(["grpo"], ["credit/Chat-v0"], 2, 300, policy="transformer")
    assert cell.slug == "grpo-Chat-v0@transformer"
    assert [part.seed for part in cell.parts] == [0, 1]
    assert cell.command.startswith(
        "credit-envs compare grpo --environments credit/Chat-v0 --policy transformer --seeds 2"
    )
    assert sweep.sweep([cell], tmp_path, keep=tmp_path / "kept") == []
    one = results.read(tmp_path / f"{cell.slug}.json")
    assert (one.seeds, one.policy, one.simulated) == (2, "transformer", True)
    assert not np.array_equal(one.curves[0], one.curves[1])
    alone = json.loads((tmp_path / "runs" / "grpo-Chat-v0@transformer-1-1" / "result.json").read_text())
    kept = json.loads((tmp_path / f"{cell.slug}.json").read_text())["curve"][-1]
    assert kept["normalised"][1] == pytest.approx(alone["curve"][-1]["normalised"][0], abs=1e-4)
    assert (tmp_path / "kept" / f"{cell.slug}.safetensors").is_file()
    with pytest.raises(CreditEnvsError, match="unknown policy 'grus'; did you mean 'gru'"):
        sweep.cells(["grpo"], ["credit/Chat-v0"], 2, policy="grus")


def variant(agent, environment, curves, **options):
    data = made(agent, environment, curves)
    return results.learning({**data, "options": {**data["options"], **options}})


def test_the_report_tells_apart_what_is_not_alike():
    """Agents that lack environments stand apart with the reason, further environments and policies in tables of their own."""
    rising, flat = [[0, 0.5, 1.0]] * 3, [[0, 0.1, 0.2]] * 3
    found = [
        variant(agent, f"credit/{place}-v0", rising) for agent in ("grpo", "gigpo") for place in ("Chat", "Lookup")
    ]
    found += [variant("mt_grpo", "credit/Lookup-v0", flat), variant("ppo", "credit/Chat-v0", rising, epochs=4)]
    found += [
        variant("grpo", "credit/KeyRooms-v0?aliasing=0.5", flat),
        variant("grpo", "credit/Chat-v0", flat, policy="gru"),
    ]
    text = reports.report(found)
    head, _, rest = text.partition("## Further environments")
    assert "| gigpo | 1 | 2 |" in head
    assert head.index("| · |") < head.index("| ppo | 4 | 1 |")
    assert "aliasing" not in head
    assert "| `KeyRooms-v0?aliasing=0.5` | 400 k | 0.20 / 0.10 |" not in rest  # the budget is the result's own
    assert "| `KeyRooms-v0?aliasing=0.5` | 100 | 0.20 / 0.10 |" in rest
    assert "| `Chat-v0` | gru | grpo | 3 | 0.200 [0.200, 0.200] |" in rest
    assert "* mt_grpo: needs answer_seen or" in rest
    assert "* ppo: not trained yet on Lookup-v0" in rest
