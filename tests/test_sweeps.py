"""Sweeps: plain data in, one dataset out, on any engine, from wherever it stopped."""

import dataclasses
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from credit_envs import cli
from credit_envs.errors import CreditEnvsError
from credit_envs.experiments import Cell, Sweep, run
from credit_envs.experiments.dataset import gather, read
from credit_envs.experiments.names import named
from credit_envs.experiments.runner import part_of
from credit_envs.experiments.sweep_files import load_sweep, shipped

PIVOTS = "credit/Pivots-v0?actions=2&credit=each&fillers=0&length=4&unit=2"

MINE = """
name = "mine"
about = "two slips, two grains"

[fields]
seeds = 3
budget = 600

[[cells]]
environment = "credit/Pivots-v0?actions=2&credit=each&fillers=0&length={length}&slip={slip}"
estimators = ["gigpo", "mc@{grain}(k={k})"]
axes = { task = "Pivots", slip = "{slip}" }
let = { grain = [1, "trajectory"], length = 4, k = [1, 2] }
vary = [[{ slip = 0.0 }, { slip = 0.2 }], [{ level = 0.5 }, { level = 0.0, budget = 400 }]]

[[trials]]
kind = "grained"
arm = "gigpo"
environment = "credit/Pivots-v0?length={length}"
settings = { estimator = "gigpo", budget = 300 }
let = { length = 2 }
"""


def test_names_bind_options():
    assert named("vineppo(k=4)").advantage.function.keywords["k"] == 4
    assert named("gigpo(gamma=1)").gamma == 1
    assert [piece.name for piece in named("tree@4").pieces][:2] == ["tree@4 plan", "tree@4"]
    both = named("dr_grpo+vppo_mask(share=0.3)")
    assert both.slot("weight")[0].function.keywords == {"share": 0.3}
    for wrong, told in (
        ("vinepo(k=4)", "vineppo"),
        ("vineppo(depth=4)", "depth"),
        ("mc@0", "grain"),
        ("mcc@2", "mc"),
        ("vineppo(k=4", "expected NAME"),
    ):
        with pytest.raises(CreditEnvsError, match=told):
            named(wrong)


def _cell(**changes):
    return Cell(PIVOTS, ("mc@2(k=1)", "gigpo"), (("task", "Pivots"),), budget=600, seeds=3, **changes)


def test_cells_refuse_what_cannot_be():
    for changes, told in (
        ({"level": 2.0}, "level"),
        ({"seeds": 1}, "seeds"),
        ({"estimators": ("gigo",)}, "gigpo"),
        ({"probe": "blame_"}, "blame"),
        ({"environment": "credit/Pivotz-v0"}, "Pivots"),
    ):
        with pytest.raises(CreditEnvsError, match=told):
            dataclasses.replace(_cell(), **changes).check()
    with pytest.raises(CreditEnvsError, match="twice"):
        Sweep("x", "", (_cell(), _cell()))


def test_a_sweep_resumes_and_its_dataset_reads_back(tmp_path):
    sweep = Sweep("try", "", (_cell(), _cell(group_size=4, probe="blame")))
    told = []
    assert run(sweep, tmp_path, progress=lambda *x: told.append(x)) == []
    assert told[-1] == (2, 2, "done")
    files = {path: path.read_bytes() for path in (tmp_path / "cells").iterdir()}
    victim = next(iter(files))
    victim.unlink()
    stamps = {path: path.stat().st_mtime_ns for path in files if path != victim}
    run(sweep, tmp_path)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())

    def plain(text):
        found = json.loads(text)
        for record in found["records"]:
            record.pop("seconds")
        return found

    assert plain(victim.read_bytes()) == plain(files[victim])
    rows = read(tmp_path)
    assert len(rows) == 2 * 3 * 5  # gigpo, mc, unit under two names, exact
    assert {row["axis_task"] for row in rows} == {"Pivots"}
    assert {row["about_horizon"] for row in rows} == {8}


def test_processes_find_what_one_process_finds(tmp_path):
    sweep = Sweep("try", "", (_cell(), _cell(group_size=4)))
    run(sweep, tmp_path / "one")
    run(sweep, tmp_path / "two", jobs=2)
    one, two = (
        [{k: v for k, v in r.items() if k != "seconds"} for r in read(tmp_path / name)] for name in ("one", "two")
    )
    assert [{k: v for k, v in r.items() if v == v} for r in one] == [
        {k: v for k, v in r.items() if v == v} for r in two
    ]


def test_a_dataset_needs_no_pyarrow(tmp_path, monkeypatch):
    sweep = Sweep("try", "", (_cell(),))
    run(sweep, tmp_path)
    from credit_envs.experiments import dataset

    before = read(tmp_path)
    monkeypatch.setattr(dataset, "find_spec", lambda name: None)
    for path in tmp_path.glob("records.*"):
        path.unlink()
    assert gather(sweep, tmp_path).suffix == ".jsonl"
    for a, b in zip(read(tmp_path), before, strict=True):
        assert {k: v for k, v in a.items() if v == v} == {k: v for k, v in b.items() if v == v}


def test_a_cell_that_cannot_be_stops_no_other(tmp_path):
    broken = Cell("credit/Pivots-v0?length=1&actions=2", ("hiper",), budget=200, seeds=2)  # no label `field`: left out
    worse = dataclasses.replace(_cell(), environment="credit/KeyRooms-v0?stages=999", seeds=2)
    failed = run(Sweep("try", "", (_cell(), broken, worse)), tmp_path)
    assert len(failed) == 1
    assert "stages" in failed[0]
    with pytest.raises(CreditEnvsError, match="no cell could be done"):
        run(Sweep("try", "", (worse,)), tmp_path / "other")


def _plain(folder):
    rows = [{k: v for k, v in row.items() if k != "seconds" and v == v} for row in read(folder)]
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))


def test_a_sweep_file_is_what_it_says(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    sweep = load_sweep(path)
    assert (sweep.name, len(sweep.cells)) == ("mine", 5)
    first, *others, trial = sweep.cells
    mc = tuple(f"mc@{g}(k={k})" for g in (1, "trajectory") for k in (1, 2))
    env = "credit/Pivots-v0?actions=2&credit=each&fillers=0&length=4&slip=0.0"
    assert first == Cell(env, ("gigpo", *mc), (("task", "Pivots"), ("slip", 0.0)), budget=600, seeds=3)
    assert [(cell.level, cell.budget) for cell in others] == [(0.0, 400), (0.5, 600), (0.0, 400)]
    assert (trial.environment, trial.seeds, dict(trial.settings)) == (
        "credit/Pivots-v0?length=2",
        3,
        {"estimator": "gigpo", "budget": 300},
    )
    for cell in sweep.cells:
        cell.check()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (MINE.replace("[[cells]]", "[[cell]]"), "cells"),
        (MINE.replace("estimators =", "estimator ="), "estimators"),
        (MINE.replace("&slip={slip}", "&slip={slop}"), "slop"),
        ("name = ", "TOML"),
        ('name = "empty"', "holds no cells"),
        (MINE.replace("settings = { estimator", "settings = 3 # "), "settings"),
    ],
)
def test_sweep_files_refuse_what_cannot_be(tmp_path, wrong, told):
    path = tmp_path / "mine.toml"
    path.write_text(wrong)
    with pytest.raises(CreditEnvsError, match=told):
        load_sweep(path)


def test_shipped_sweeps_are_well_formed():
    assert set(shipped()) == {"granularity", "granularity-quick", "learning"}
    for name in shipped():
        for cell in load_sweep(name).cells:
            cell.check()
    points, seeds = Counter(), set()
    for cell in load_sweep("granularity").cells:
        points[cell.axes, cell.level] += cell.seeds
        seeds |= set(range(cell.first_seed, cell.first_seed + cell.seeds))
    assert set(points.values()) == {20}
    assert not seeds & set(range(10))  # the quick run's
    with pytest.raises(CreditEnvsError, match="granularity-quick"):
        load_sweep("granular")


def test_parts_of_an_array_make_the_whole(tmp_path):
    sweep = Sweep("try", "", tuple(_cell(first_seed=i) for i in range(5)))
    parts = [part_of(sweep, f"{i}/2") for i in (1, 2)]
    assert sorted((cell for part in parts for cell in part.cells), key=lambda c: c.first_seed) == list(sweep.cells)
    for part in parts:
        run(part, tmp_path, gathered=False)
    assert not list(tmp_path.glob("records.*"))
    told = []
    run(sweep, tmp_path, progress=lambda *x: told.append(x))
    assert told == [(5, 5, "done")]  # nothing left to do
    assert len(read(tmp_path)) == 5 * 3 * 5
    for wrong in ("0/2", "3/2", "1", "a/b", "1/0"):
        with pytest.raises(CreditEnvsError, match="part"):
            part_of(sweep, wrong)


def test_any_joblib_backend_finds_what_this_process_finds(tmp_path):
    pytest.importorskip("joblib")
    sweep = Sweep(
        "try", "", (_cell(), _cell(group_size=4), dataclasses.replace(_cell(), environment="credit/Pivots-v0?length=0"))
    )
    assert len(run(sweep, tmp_path / "here")) == 1
    failed = run(sweep, tmp_path / "there", jobs=2, backend="joblib:threading")
    assert len(failed) == 1
    assert "length" in failed[0]
    assert _plain(tmp_path / "here") == _plain(tmp_path / "there")
    with pytest.raises(CreditEnvsError, match="no such backend"):
        run(sweep, tmp_path / "nowhere", backend="joblib:nothing")
    with pytest.raises(CreditEnvsError, match="processes"):
        run(sweep, tmp_path / "nowhere", backend="process")


def test_ray_finds_what_this_process_finds(tmp_path):
    ray = pytest.importorskip("ray")
    sweep = Sweep("try", "", (_cell(), _cell(group_size=4)))
    run(sweep, tmp_path / "here")
    told = []
    try:
        run(Sweep("try", "", sweep.cells[:1]), tmp_path / "there")
        assert run(sweep, tmp_path / "there", 1, lambda *x: told.append(x), "ray") == []
    finally:
        ray.shutdown()
    assert [x[0] for x in told] == [1, 2, 2]  # it went on where it had stopped
    assert _plain(tmp_path / "here") == _plain(tmp_path / "there")


def test_pandas_and_duckdb_read_the_dataset(tmp_path):
    pandas, duckdb = pytest.importorskip("pandas"), pytest.importorskip("duckdb")
    run(Sweep("try", "", (_cell(), _cell(level=0.0))), tmp_path)
    frame = pandas.read_parquet(tmp_path / "records.parquet")
    mean = frame[frame.estimator == "gigpo"].groupby("level").variance.mean()
    chosen = f"from '{tmp_path}/records.parquet' where estimator = 'gigpo'"
    found = duckdb.sql(f"select level, avg(variance) {chosen} group by level order by level").fetchall()
    assert dict(found) == pytest.approx(dict(mean))


def test_the_cluster_page_says_what_works(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pandas"), pytest.importorskip("duckdb")
    page = (Path(__file__).parents[1] / "docs" / "howto" / "cluster.md").read_text()
    blocks = re.findall(r"```(\w+)\n(.*?)```", page, re.DOTALL)
    (tmp_path / "mine.toml").write_text(next(text for kind, text in blocks if kind == "toml"))
    sweep = load_sweep(tmp_path / "mine.toml")
    assert len(sweep.cells) == 4
    small = [dataclasses.replace(cell, seeds=2, budget=400) for cell in sweep.cells[::2]]
    monkeypatch.chdir(tmp_path)
    run(Sweep("mine", "", tuple(small)), Path("results/mine"))
    for text in (text for kind, text in blocks if kind == "python"):
        exec(text, {})
    assert capsys.readouterr().out.count("gigpo") == 4


def test_the_command_runs_a_sweep_file(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    out = ["--output", str(tmp_path / "out"), "--jobs", "1"]
    assert cli.main(["experiment", str(path), "--part", "5/5", *out]) in (0, None)
    assert len(list((tmp_path / "out" / "cells").iterdir())) == 1
    assert cli.main(["experiment", str(path), *out]) in (0, None)
    rows = read(tmp_path / "out")
    assert {row["axis_slip"] for row in rows} == {"0.0", "0.2", None}
    assert {row["estimator"] for row in rows} >= {"gigpo", "mc@trajectory(k=2)", "unit"}
    assert cli.main(["experiment", "nothing.toml"]) == 2
    assert "no such file" in capsys.readouterr().err
