"""The command line: results, resumption after interruptions, and one line for everything that goes wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from credit_envs import __version__, registry
from credit_envs.cli import main
from credit_envs.evaluation import open_results
from credit_envs.recipes import PIECES, PRESETS
from credit_envs.report.reading import command

TINY = ["--seeds", "3", "--budget", "300", "--levels", "0", "0.5", "--extra-steps", "2000", "--jobs", "1"]
PIVOTS = ["--environments", "Pivots", *TINY]

USER_FILE = """
import torch

def estimate(batch):
    return (batch.returns - batch.returns.mean())[:, None].expand_as(batch.mask)

def holes(batch):
    return torch.full(batch.mask.shape, float("nan"))

def flat(batch):
    return torch.zeros(3)

def greedy(batch, *, wizard):
    return wizard
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(USER_FILE)
    (tmp_path / "torn.py").write_text("import no_such_module\n")
    return tmp_path


def records(path: Path) -> list[dict[str, object]]:
    lines = (path / "records.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def test_evaluate_writes_tables_page_and_records(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "grpo", "mine.py:estimate", *PIVOTS]) == 0
    shown = capsys.readouterr()
    assert max(map(len, shown.out.split("report: ")[0].splitlines())) <= 100
    assert "mine:estimate" in shown.out
    assert "What was learnt" in shown.out
    assert "evaluate: 6 of 6 cells, done" in shown.err
    (results,) = (folder / "results").glob("evaluate-*")
    assert "mine:estimate" in (results / "report.html").read_text()
    assert len(records(results)) == 3 * 2 * 5  # seeds × policies × (two, unit, ceiling, unit of the summary)
    assert f"report:  {Path('results') / results.name / 'report.html'}" in shown.out

    # The printed command makes the same configuration, so it finds the finished results.
    again = shown.out.split("again: ")[1].split()
    assert again[:2] == ["credit-envs", "evaluate"]
    cells = {path: path.stat().st_mtime_ns for path in results.glob("cells/*.json")}
    assert main(again[1:]) == 0
    assert {path: path.stat().st_mtime_ns for path in results.glob("cells/*.json")} == cells
    assert command(open_results(results).config).split() == again


def test_report_makes_the_page_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "grpo", *PIVOTS, "--output", "out"]) == 0
    first = capsys.readouterr().out
    (folder / "out" / "report.html").unlink()
    assert main(["report", "out"]) == 0
    assert capsys.readouterr().out == first
    assert (folder / "out" / "report.html").is_file()


def test_resuming_does_only_what_is_missing(folder: Path) -> None:
    argv = ["evaluate", "gigpo", "vineppo_k1", *PIVOTS, "--output", "out"]
    assert main(argv) == 0
    whole = records(folder / "out")
    cells = sorted((folder / "out" / "cells").glob("*.json"))
    gone, kept = cells[1::3], [path for path in cells if path not in cells[1::3]]
    for path in gone:
        path.unlink()
    stamps = [path.stat().st_mtime_ns for path in kept]
    assert main(argv) == 0
    assert [path.stat().st_mtime_ns for path in kept] == stamps
    assert all(path.is_file() for path in gone)
    assert records(folder / "out") == whole


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_keeps_what_is_finished(folder: Path) -> None:
    options = ["--seeds", "12", "--budget", "8000", "--levels", "0", "0.5", "--extra-steps", "32000"]
    argv = ["evaluate", "gigpo", "vineppo_k1", "--environments", "Pivots", "FrozenLake", *options]
    command_line = [sys.executable, "-m", "credit_envs", *argv, "--output", "cut", "--jobs", "2"]
    run = subprocess.Popen(
        command_line,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background inherit deafness
    )
    cells = folder / "cut" / "cells"
    deadline = time.monotonic() + 120
    while len(list(cells.glob("*.json"))) < 3 and time.monotonic() < deadline and run.poll() is None:
        time.sleep(0.005)
    # As a terminal does: to the whole group, workers included.
    os.killpg(run.pid, signal.SIGINT)
    out, err = run.communicate(timeout=60)
    kept = len(list(cells.glob("*.json")))
    assert run.returncode == 130, err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("credit-envs: interrupted; ")
    assert err.splitlines()[-1].endswith(" of 48 cells are kept in cut, and the same command goes on from there")
    assert out == ""
    assert 3 <= kept < 48
    before = {path: path.stat().st_mtime_ns for path in cells.glob("*.json")}
    assert main([*argv, "--output", "cut", "--jobs", "1"]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert main([*argv, "--output", "whole", "--jobs", "1"]) == 0
    assert records(folder / "cut") == records(folder / "whole")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["evalute"], "unknown command 'evalute'; did you mean 'evaluate'?"),
        (["evaluate", "gigppo", *PIVOTS], "unknown estimator 'gigppo'; did you mean 'gigpo'"),
        (
            ["evaluate", "mine.py:holes", *PIVOTS],
            "mine:holes: credit is nan at [rollout, step] = [0, 0], expected numbers",
        ),
        (["evaluate", "mine.py:flat", *PIVOTS], "mine:flat: credit has shape (3,), expected ("),
        (["evaluate", "mine.py:greedy", *PIVOTS], "unknown need of an estimator 'wizard'"),
        (["evaluate", "mine.py:nope", *PIVOTS], "mine.py has no function 'nope'; it has estimate"),
        (["evaluate", "none.py:f", *PIVOTS], "no file 'none.py'"),
        (["evaluate", "torn.py:f", *PIVOTS], "torn.py cannot be imported (ModuleNotFoundError: No module named"),
        (["evaluate", "--environments", "Pivot"], "unknown environment id 'Pivot'; did you mean 'credit/Pivots-v0'?"),
        (["evaluate", "--environments", "no.npz"], "environment 'no.npz': there is no such file"),
        (["evaluate", "--seeds", "1"], "seeds=1: expected an integer in [2,"),
        (["evaluate", "--budget", "5"], "budget=5: expected an integer in [100,"),
        (["evaluate", "--jobs", "0"], "jobs=0: expected an integer in [1,"),
        (["evaluate", "--levels", "0.9", "0.5"], "expected increasing numbers in [0, 0.999]"),
        (["evaluate", "--device", "gpu"], "device='gpu': expected 'cpu' or 'cuda'"),
        (["evaluate", "--restore", "perhaps"], "restore='perhaps': expected one of"),
        (["evaluate", "vineppo", "--restore", "none"], "vineppo forks trajectories, which is impossible then"),
        (["evaluate", "--knobs", "slip"], "knob 'slip': expected NAME=VALUE"),
        (
            ["evaluate", "grpo", *PIVOTS, "--knobs", "slp=0.1"],
            "unknown knob of credit/Pivots-v0 'slp'; did you mean 'slip'",
        ),
        (["evaluate", *PIVOTS, "--output", "mine.py"], "mine.py"),
        (["report", "nowhere"], "folder='nowhere': holds no readable results"),
        (["show", "Taxi-v9"], "unknown environment id 'Taxi-v9'; did you mean 'credit/Taxi-v0'?"),
        (["show", "Pivots", "length=0"], "length=0: expected an integer in"),
        (["show", "no.npz"], "environment 'no.npz': there is no such file"),
        (["compile", "FrozenLake-v1", "--output", "x.txt"], "output='x.txt': expected a path that ends in .npz"),
        (["compile", "Nope-v1", "--output", "x.npz"], "unknown Gymnasium id 'Nope-v1'"),
    ],
)
def test_bad_input_is_one_line(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    *progress, line = capsys.readouterr().err.splitlines()
    assert line.startswith("credit-envs: ")
    assert message in line
    assert all(text.startswith("evaluate: ") for text in progress)


def test_bad_input_in_a_worker_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["evaluate", "mine.py:flat", "--environments", "Pivots", "FrozenLake", *TINY[:-1], "2"]
    assert main(argv) == 2
    assert (
        capsys.readouterr().err.splitlines()[-1].startswith("credit-envs: mine:flat: credit has shape (3,), expected (")
    )


def test_a_folder_of_another_configuration_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "grpo", *PIVOTS, "--output", "out"]) == 0
    assert main(["evaluate", "grpo", *PIVOTS, "--output", "out", "--group-size", "4"]) == 2
    assert "output='out': holds results of another configuration" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"credit-envs {__version__}\n"


def test_unknown_options_are_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", "--bugdet", "300"])
    assert stopped.value.code == 2
    assert "--budget" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["tyro", "rich", "torch"])
def test_a_missing_extra_is_named(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["list"]) == 2
    assert capsys.readouterr().err == f"credit-envs: {module} is not installed: pip install 'credit-envs[eval]'\n"


def test_list_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for entry in registry.ENTRIES:
        assert entry.id in text
    for word in ("slip", "foundation-v0", "continuations", "length=4"):
        assert word in text
    assert "from ids [n] to n strings" in " ".join(text.split())


def test_algorithms_lists_every_piece_and_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["algorithms"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in (*PIECES, *PRESETS))
    assert "verified" in text
    assert max(map(len, text.splitlines())) <= 100


def test_show_measures_and_plays(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "Pivots", "length=2", "actions=2"]) == 0
    text = capsys.readouterr().out
    figures = {line.rsplit(maxsplit=1)[0]: line.rsplit(maxsplit=1)[1] for line in text.splitlines() if line.count("  ")}
    assert float(figures["J"]) == pytest.approx(0.25)  # two choices of two, all right
    assert float(figures["J optimal"]) == 1
    assert "     You stand at pivot 1 of 2: choose well.\n" in text
    # Half of the uniform return of 1/4 stands on each of two choices of two: +1/4 for the first, +1/2 for the second.
    assert [float(a) for a in re.findall(r"\(A ([-+.\d]+)", text) if float(a)] == [0.25, 0.5]
    assert text.rstrip().endswith("return 1")


def test_compile_makes_a_table_that_evaluate_and_show_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "FrozenLake-v1", "--output", "lake.npz", "--horizon", "20"]) == 0
    text = capsys.readouterr().out
    assert "FrozenLake-v1: 16 states, 64 state-action pairs" in text
    assert "revisit rate" in text
    assert main(["show", "lake.npz", "slip=0.2"]) == 0
    assert "knobs: slip=0.2" in capsys.readouterr().out
    assert main(["evaluate", "grpo", "--environments", "lake.npz", *TINY]) == 0
    assert "lake  16 states · horizon 20" in capsys.readouterr().out


def test_compile_explores_where_nothing_is_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("minigrid")
    argv = ["compile", "MiniGrid-Empty-5x5-v0", "--output", "grid.npz", "--checkpoint", "kept.npz"]
    assert main(argv) == 0
    assert (folder / "grid.npz").is_file()
    assert "MiniGrid-Empty-5x5-v0: " in capsys.readouterr().out


def test_report_writes_tables_and_the_picture_for_the_docs(tmp_path):
    options = ["--budget", "300", "--seeds", "2", "--levels", "0", "--output", str(tmp_path / "r")]
    assert main(["evaluate", "gigpo", "--environments", "Pivots", *options]) == 0
    assert main(["report", str(tmp_path / "r"), "--docs", str(tmp_path / "docs")]) == 0
    text = (tmp_path / "docs" / "foundation.md").read_text()
    assert "| uniform | gigpo |" in text
    assert "credit-envs evaluate gigpo --environments credit/Pivots-v0" in text
    assert (tmp_path / "docs" / "images" / "equivalents.png").stat().st_size > 1000
