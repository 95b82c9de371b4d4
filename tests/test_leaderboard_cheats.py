"""Further ways to cheat the leaderboard, found by a second look: each closed door is a test."""

from __future__ import annotations

import dataclasses
import json
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from credit_envs.errors import CreditEnvsError
from credit_envs.leaderboard import (
    desk,
    entry,
    estimates,
    hidden,
    learner,
    records,
    room,
    scoring,
    syscalls,
    tracks,
    verify,
)
from credit_envs.leaderboard import submit as enter
from credit_envs.leaderboard.case import Case, Report
from credit_envs.leaderboard.entry import EPISODES, MANIFEST
from credit_envs.leaderboard.manifest import read_manifest
from credit_envs.leaderboard.room import Room
from credit_envs.leaderboard.standing import standings
from credit_envs.leaderboard.tracks import Board
from credit_envs.oracle.control import optimal
from credit_envs.registry import make_table

TINY = Board("cheats-v0", ("credit/Gallery-v0",), budget=300, learner_budget=400, levels=(0.5,), seeds=3)
PEEK = """
import torch

def estimate(batch{}):
    p = batch.policy_table
    score = torch.where(p > 0, p.clamp_min(1e-12).log(), 0.0)
    return (score - (p * score).sum(1, keepdim=True))[batch.policy_row, batch.policy_action] * batch.mask
"""

confined = pytest.mark.skipif(
    platform.machine() != "x86_64" or platform.system() != "Linux", reason="numbers of x86-64"
)


@pytest.fixture(scope="module", autouse=True)
def tiny() -> Iterator[None]:
    assert isinstance(tracks.SMALL, dict)
    tracks.SMALL["cheats-v0"] = TINY
    tracks.SMALL["heart-v0"] = dataclasses.replace(TINY, suite="heart-v0", environments=("credit/Chat-v0",))
    yield
    del tracks.SMALL["cheats-v0"], tracks.SMALL["heart-v0"]


@pytest.fixture(scope="module")
def stage() -> scoring.Stage:
    return scoring.stages("credit/Gallery-v0", scoring.table_of("credit/Gallery-v0"), TINY)[0]


@pytest.fixture
def place() -> Iterator[Room]:
    with Room(trusted=True, seconds=30) as made:
        yield made


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cheats")
    (folder / "mine.py").write_text("from credit_envs.credit.grpo import grpo as estimate\n")
    enter(f"{folder / 'mine.py'}:estimate", TINY, folder / "mine")
    return folder / "mine"


def played(place: Room, stage: scoring.Stage, source: str, function: str = "estimate") -> records.Episodes:
    method = entry.method_of(place, source, function)
    return entry.play(place, method, stage, 0, TINY.budget, 2)[0]


def body(line: str) -> str:
    return f"import ctypes, os, torch\ndef estimate(batch):\n    {line}\n    return batch.reward\n"


# -- the given policy tells what was good ----------------------------------------------------------------------------


def test_the_policys_probabilities_are_not_shown_unasked(place, stage):
    with pytest.raises(CreditEnvsError, match="unless a method asks for `policy`"):
        played(place, stage, PEEK.format(""))
    for way in ("batch.log_prob", "fresh(2).log_prob.sum() * batch.mask"):
        need = ", *, fresh" if "fresh" in way else ""
        with pytest.raises(CreditEnvsError, match="not a number"):
            played(place, stage, f"def estimate(batch{need}):\n    return {way}\n")


def test_the_policys_probabilities_are_no_credit(tmp_path):
    """A ladder's policy was trained by exact gradients: its log-probabilities alone score 8 GRPO-equivalents here."""
    (tmp_path / "m.py").write_text(PEEK.format(", *, policy"))
    enter(f"{tmp_path / 'm.py'}:estimate", TINY, tmp_path / "m")
    report = verify(tmp_path / "m", trusted=True)
    assert report.scores is not None
    assert report.scores["overall"]["simulator"]["value"] > 2
    assert (report.checks[-1].name, report.checks[-1].status) == ("strayed", "failed")
    assert report.level == "refused"


def test_where_rollouts_show_nothing_nobody_falls_behind(place):
    """Random preferences never solve Sums, so no credit is worth anything there: that tells nothing about a method."""
    alike = dataclasses.replace(TINY, environments=("credit/Gallery-v0", "credit/Sums-v0"), strayed=True)
    tables = {name: scoring.table_of(name) for name in alike.environments}
    method = entry.method_of(place, "from credit_envs.credit.grpo import dr_grpo as estimate\n", "estimate")
    scored = entry.score_all(alike, tables, entry.run(place, method, alike, tables))
    kept = scoring.informative(scored, alike)
    assert {record["environment"] for record in kept} == {"credit/Gallery-v0"}
    assert scoring.overall(kept, alike)["simulator"].value == pytest.approx(1, abs=0.01)
    assert scoring.overall(scored, alike)["simulator"].value < 0.2


@confined
def test_methods_that_need_the_policy_honestly_keep_up(tmp_path):
    (tmp_path / "m.py").write_text(
        "from credit_envs.credit.anchor_mix import anchor_graph_mix\n"
        "def estimate(batch, *, policy):\n    return anchor_graph_mix(batch)\n"
    )
    enter(f"{tmp_path / 'm.py'}:estimate", TINY, tmp_path / "m")
    report = verify(tmp_path / "m")
    assert (report.checks[-1].name, report.checks[-1].status) == ("strayed", "passed")
    manifest = read_manifest(tmp_path / "m" / MANIFEST)
    assert manifest.needs == ("policy",)
    # Leaving the request out of the manifest hides nothing.
    (tmp_path / "m" / MANIFEST).write_text(dataclasses.replace(manifest, needs=()).as_json())
    assert verify(tmp_path / "m").checks[-1].name == "re-run"


def test_other_ways_to_the_policy_and_to_the_right_action(place, stage):
    with pytest.raises(CreditEnvsError, match="declare policy"):
        played(place, stage, "def estimate(batch, *, blind_log_prob):\n    return blind_log_prob\n")
    for line, why in (
        ("sampler.ask(b, 'blind_log_prob')", "ask for 'policy'"),
        ("sampler._ask('policy')", "a sampler has"),
        ("sampler.ask(b, 'labels', 'reference_action')", "right action"),
        ("sampler.ask(b, 'labels', 'visual')", "entries may not"),
    ):
        with pytest.raises(CreditEnvsError, match=why):
            played(
                place,
                stage,
                f"def estimate(sampler):\n    b = sampler.groups(2, 2)\n    {line}\n    return b, b.reward\n",
            )


def test_one_group_alone_is_no_spread(place, stage, tmp_path):
    """With a single group the variance of its gradient looks like zero, and any credit at all like 1e17 GRPOs."""
    source = "def estimate(sampler):\n    b = sampler.groups(1, {})\n    return b, b.returns[:, None] * b.mask\n"
    episodes = played(place, stage, source.format(16))
    with pytest.raises(CreditEnvsError, match="one alone"):
        scoring.score(stage, 0, episodes, {"env_steps": 1.0, "policy_calls": 1.0, "model_calls": 0.0, "seconds": 0.0})
    (tmp_path / "m.py").write_text(source.format(4))
    with pytest.raises(CreditEnvsError, match=r"Gallery.*one alone"):
        enter(f"{tmp_path / 'm.py'}:estimate", TINY, tmp_path / "m")


def test_methods_that_draw_have_as_much_as_those_that_are_given():
    long = scoring.stages("credit/Team-v0", scoring.table_of("credit/Team-v0"), TINY)[0]
    assert long.budget > 4 * 8 * 100 > TINY.budget


def test_model_calls_are_stated_within_reason(place):
    for stated in ("-1", "float('nan')", "'many'", "True", "10**6"):
        with pytest.raises(CreditEnvsError, match="MODEL_CALLS"):
            entry.method_of(
                place, f"MODEL_CALLS = {stated}\ndef estimate(batch):\n    return batch.reward\n", "estimate"
            )


# -- out of the process ----------------------------------------------------------------------------------------------


@confined
def test_refused_system_calls_are_refused(place, stage):
    """Shared memory, queues and keys would carry answers to the next cell; modes and times of files would do harm."""
    numbers = {name: int(both[0]) for name, both in syscalls.denied().items()}
    assert {"shmget", "msgget", "mq_open", "add_key", "chmod", "utimensat", "setxattr", "tgkill"} <= set(numbers)
    # Probed with arguments that do nothing wherever the call should get through.
    line = (
        f"libc = ctypes.CDLL(None, use_errno=True); through = [n for n, k in {numbers}.items() "
        "if libc.syscall(k, -1, 0, 0, 0, 0, 0) != -1 or ctypes.get_errno() != 1]; raise OSError(f'through: {through}')"
    )
    with pytest.raises(CreditEnvsError, match=r"through: \[\]"):
        played(place, stage, body(line))


@confined
def test_limits_of_other_processes_stay_as_they_are(place, stage):
    """Without this a method could end whoever verifies it, by a limit of no processor time."""
    line = (
        "import resource; resource.getrlimit(resource.RLIMIT_CPU); "
        "resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (64, 64))"
    )
    with pytest.raises(CreditEnvsError, match="PermissionError"):
        played(place, stage, body(line))


@confined
@pytest.mark.parametrize(
    "line",
    [
        "os.chmod(PLACE, 0o000)",
        "os.utime(PLACE)",
        "os.setxattr(PLACE, 'user.note', b'answer')",
        "os.chown(PLACE, os.getuid(), os.getgid())",
        "os.rename(PLACE, PLACE + '.gone')",
        "os.unlink(PLACE)",
        "os.symlink(PLACE, PLACE + '.link')",
        "os.truncate(PLACE, 0)",
        "os.mkfifo(PLACE + '.pipe')",
    ],
)
def test_files_are_left_alone(place, stage, tmp_path, line):
    note = tmp_path / "note"
    note.write_text("mine")
    before = note.stat()
    with pytest.raises(CreditEnvsError, match=r"PermissionError|OSError"):
        played(place, stage, body(line.replace("PLACE", repr(str(note)))))
    assert note.read_text() == "mine"
    assert (note.stat().st_mode, note.stat().st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert list(tmp_path.iterdir()) == [note]


def test_the_room_knows_nothing_of_its_host(place, stage, monkeypatch):
    monkeypatch.setenv("CREDIT_ENVS_SECRET", "e173d1")
    line = "import sys; raise OSError(sorted(os.environ), [m for m in sys.modules if 'oracle' in m or 'families' in m])"
    with pytest.raises(CreditEnvsError) as caught:
        played(place, stage, body(line))
    assert "SECRET" not in str(caught.value)
    assert "[]" in str(caught.value)


@confined
def test_other_processes_cannot_be_read(place, stage):
    for file in (
        "/proc/self/environ",
        "/proc/1/cmdline",
        "f'/proc/{os.getppid()}/environ'",
        "f'/proc/{os.getppid()}/maps'",
    ):
        name = file if file.startswith("f'") else repr(file)
        with pytest.raises(CreditEnvsError, match="PermissionError"):
            played(place, stage, body(f"open({name}).read()"))


def test_what_a_method_changes_ends_with_its_cell(place, stage):
    changing = body(
        "import credit_envs.leaderboard.worker as w; torch.Tensor.sum = lambda *a, **k: 0; w._credit = lambda c, m: c * 0; "
        "w.Line = None; torch.manual_seed(9)"
    )
    method = entry.method_of(place, "def estimate(batch):\n    return batch.reward + batch.returns.sum()\n", "estimate")
    first = entry.play(place, method, stage, 0, TINY.budget, 2)[0]
    played(place, stage, changing)
    assert entry.play(place, method, stage, 0, TINY.budget, 2)[0].same(first)


def test_sleeping_does_not_hold_up_a_verification(place, stage, monkeypatch):
    monkeypatch.setattr(room, "WALL", 0.05)
    for line in ("import time; time.sleep(60)", "\n    while True: batch.reward.sum()"):
        with pytest.raises(CreditEnvsError, match=r"within 1\.5 s"):
            played(place, stage, body(line))


def test_talking_without_end_does_not_either(place, stage, monkeypatch):
    monkeypatch.setattr(room, "WALL", 0.05)
    with pytest.raises(CreditEnvsError, match="within"):
        played(place, stage, "def estimate(sampler):\n    while True: sampler.left\n")


# -- the host's memory -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "while True: b = sampler.join([b] * 64)",
        "sampler.rows(b, torch.zeros(10**4, dtype=torch.int64))",
        "sampler.ask(b, 'noise', 0, 10**6, 10**6)",
        "sampler.ask(b, 'text', torch.zeros(10**4, dtype=torch.int64))",
    ],
)
def test_the_hosts_memory_is_not_for_the_asking(place, stage, monkeypatch, line):
    monkeypatch.setattr(desk, "_MOST_ENTRIES", 1 << 13)
    source = f"import torch\ndef estimate(sampler):\n    b = sampler.groups(2, 2)\n    {line}\n    return b, b.reward\n"
    with pytest.raises(CreditEnvsError, match="too many at once"):
        played(place, stage, source)


def test_records_that_swell_are_refused_unread(honest, tmp_path, monkeypatch):
    """A run of equal values takes no bytes: bounds on bytes alone let a bomb through."""
    (cell, found), *_ = records.read(honest / EPISODES)
    n = 1_000_000
    long = dataclasses.replace(
        found,
        steps=np.array([0, n]),
        action=np.zeros(n, np.int64),
        credit=np.zeros(n, np.float32),
        group=found.group[:1],
        context=found.context[:1],
        rollout=found.rollout[:1],
        forks=found.forks[:2],
        branch=found.branch[:1],
        start=found.start[:1],
    )
    records.write(tmp_path / EPISODES, [(cell, long)])
    assert (tmp_path / EPISODES).stat().st_size < 10_000
    monkeypatch.setattr(records, "MOST_VALUES", 1_500_000)
    with pytest.raises(CreditEnvsError, match="values when unpacked"):
        list(records.read(tmp_path / EPISODES))


def test_records_that_swell_when_padded_are_refused(honest, monkeypatch):
    monkeypatch.setattr(estimates, "_MOST_ENTRIES", 100)
    report = verify(honest, code=False)
    assert report.checks[-1].name == "board"
    assert "too many" in report.checks[-1].detail


# -- stated scores, learners -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scores", [{}, {"overall": 3}, {"overall": {"simulator": {"value": "1e9"}}, "cells": [1]}])
def test_unverified_scores_cannot_break_the_board(honest, tmp_path, scores):
    folder = Path(shutil.copytree(honest, tmp_path / "mine"))
    stated = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**stated, "scores": scores}))
    (one,) = standings(tmp_path)
    assert one.level == "unverified"
    assert np.isnan(one.overall("simulator")["value"])


@confined
def test_a_learnt_by_heart_policy_falls_behind_on_hidden_instances(tmp_path):
    """Optimal play of the public table, written into the method: nothing to learn, nothing spent, and perfect."""
    table = make_table("credit/Chat-v0")
    edge, play = optimal(table).greedy(0), {}
    for s in np.flatnonzero(edge >= 0):
        for code in range(table.emission.n_codes):
            play[int(table.emission.base[s]) * table.emission.n_codes + code] = int(table.edge_action[edge[s]])
    source = f"""
PLAY = {play}
class Known:
    def act(self, obs):
        return PLAY.get(int(obs), 0)
def train(make_env, budget, seed, device):
    make_env()
    return Known()
"""
    (tmp_path / "m.py").write_text(source)
    learner.submit(f"{tmp_path / 'm.py'}:train", tracks.board("heart-v0"), tmp_path / "m")
    hidden.new_season("t", tmp_path, tmp_path / "secret")
    season = hidden.open_season(tmp_path / "season-t.json", tmp_path / "secret")
    report = verify(tmp_path / "m", season=season)
    assert report.scores is not None
    assert report.scores["overall"]["normalised"]["value"] > 0.9
    assert (report.checks[-1].name, report.checks[-1].status) == ("hidden", "failed")


def test_falling_behind_needs_both_a_factor_and_intervals_apart(honest):
    def scores(value: float, low: float, high: float) -> dict[str, dict[str, dict[str, float]]]:
        return {"overall": {"simulator": {"value": value, "low": low, "high": high}}}

    case = Case(honest, read_manifest(honest / MANIFEST), Report("x", "", scores=scores(2.0, 1.5, 2.5)))
    assert "there" in case.keeps_up("simulator", scores(1.1, 0.9, 1.2))
    assert "there" in case.keeps_up("simulator", scores(0.5, 0.1, 1.6))
    with pytest.raises(CreditEnvsError, match="falls behind"):
        case.keeps_up("simulator", scores(0.5, 0.4, 0.6))
