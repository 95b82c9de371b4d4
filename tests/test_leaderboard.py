"""The leaderboard: an honest entry passes, and every way of cheating that we could think of doesn't."""

from __future__ import annotations

import dataclasses
import json
import platform
import shutil
import socket
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_envs.errors import CreditEnvsError
from credit_envs.leaderboard import board, entry, hidden, records, scoring, tracks, verify
from credit_envs.leaderboard import submit as enter
from credit_envs.leaderboard.case import Report
from credit_envs.leaderboard.confine import FULL
from credit_envs.leaderboard.desk import Desk
from credit_envs.leaderboard.entry import EPISODES, MANIFEST, SOURCE
from credit_envs.leaderboard.estimates import drawn_at_least, on_hidden
from credit_envs.leaderboard.manifest import read_manifest
from credit_envs.leaderboard.records import Episodes
from credit_envs.leaderboard.replay import replay
from credit_envs.leaderboard.room import Room
from credit_envs.leaderboard.standing import keep, stand, standings
from credit_envs.leaderboard.tracks import Board, Cell
from credit_envs.leaderboard.wire import Line, pack, unpack
from credit_envs.leaderboard.zygote import FORBIDDEN, closure
from credit_envs.oracle.control import optimal
from credit_envs.oracle.evaluation import evaluate
from credit_envs.oracle.policy import uniform
from credit_envs.registry import make_table

TINY = Board("tiny-v0", ("credit/Gallery-v0",), budget=600, learner_budget=400, levels=(0.5,), seeds=3)
FIXED = "from credit_envs.credit.gigpo import gigpo as estimate\n"
OPEN = """
import torch

def estimate(sampler):
    first = sampler.groups(4, 2)
    index = torch.arange(first.n_rollouts)
    fork = sampler.branches(first, index, first.lengths // 2)
    again = sampler.branches(fork, index, fork.lengths - 1)
    value = sampler.ask(first, "continuations", index[:2], torch.zeros_like(index[:2]), 1, 1.0)
    kept = sampler.rows(sampler.join([first, fork, again]), torch.arange(24))
    mean = torch.stack([kept.returns[kept.group == g].mean() for g in kept.group.tolist()])
    return kept, (kept.returns - mean)[:, None] * kept.mask + 0 * value.mean()
"""

confined = pytest.mark.skipif(
    platform.system() != "Linux", reason="methods are confined by Landlock and seccomp, of Linux"
)


@pytest.fixture(scope="module", autouse=True)
def tiny() -> Iterator[Board]:
    assert isinstance(tracks.SMALL, dict)
    tracks.SMALL["tiny-v0"] = TINY
    yield TINY
    del tracks.SMALL["tiny-v0"]


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    with Room(trusted=True, seconds=30) as made:
        yield made


@pytest.fixture(scope="module")
def stage() -> scoring.Stage:
    return scoring.stages("credit/Gallery-v0", scoring.table_of("credit/Gallery-v0"), TINY)[0]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("honest")
    (place / "mine.py").write_text(FIXED)
    enter(f"{place / 'mine.py'}:estimate", TINY, place / "mine", command="credit-envs submit mine.py:estimate")
    return place / "mine"


@pytest.fixture
def copy(honest: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(honest, tmp_path / "mine"))


def failed(folder: Path, **options: Any) -> tuple[str, str]:
    """The check that an entry fails, and why."""
    report = verify(folder, **{"code": False, **options})
    assert not report.passed
    assert report.level == "refused"
    return report.checks[-1].name, report.checks[-1].detail


def rewritten(folder: Path, change: Any) -> None:
    """Edits the records of an entry: ``change`` maps (cell, episodes) pairs to others."""
    cells = list(records.read(folder / EPISODES))
    records.write(folder / EPISODES, change(cells))


def restated(folder: Path, **changes: Any) -> None:
    manifest = dataclasses.replace(read_manifest(folder / MANIFEST), **changes)
    (folder / MANIFEST).write_text(manifest.as_json())


# -- honest entries --------------------------------------------------------------------------------------------------


@confined
def test_an_honest_entry_is_run_again_and_stands(honest):
    report = verify(honest)
    assert [(check.name, check.status) for check in report.checks] == [
        *((name, "passed") for name in ("form", "board", "tables", "replay", "spending", "scores", "re-run"))
    ]
    assert report.level == "re-run"
    assert all(layer in report.checks[-1].detail for layer in FULL)
    assert stand(honest).level == "unverified"
    keep(report, honest)
    (one,) = standings(honest.parent)
    assert one.level == "re-run"
    assert one.overall("cost")["value"] == pytest.approx(1)
    # Its equivalents are those of the usual evaluation, which knows nothing of records and replays.
    from credit_envs import evaluate as usual

    options = {"budget": TINY.budget, "seeds": TINY.seeds, "levels": TINY.levels, "match_discount": False}
    found = usual("gigpo", TINY.environments, **options)
    (row,) = (row for row in found.rows if row.estimator == "gigpo")
    (cell,) = one.scores["cells"]
    # Recorded credit has 11 significant bits.
    assert cell["equivalents"]["simulator"]["value"] == pytest.approx(row.equivalents["simulator"].value, rel=1e-3)
    assert cell["pearson"]["value"] == pytest.approx(row.pearson.value, rel=1e-4)


def test_a_report_of_other_files_counts_for_nothing(copy):
    keep(verify(copy, code=False), copy)
    assert stand(copy).level == "replayed"
    (copy / SOURCE).write_text(FIXED + "\n")
    assert stand(copy).level == "unverified"


@pytest.mark.parametrize(
    "name",
    [
        "credit/Gallery-v0",
        "credit/FrozenLake-v0",
        "credit/KeyRooms-v0?cue=0.5&horizon=40&slip=0.1",
        "credit/Pivots-v0?delay=4",
        "credit/CliffWalking-v0?horizon=40",
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_forks_of_forks_replay_bit_for_bit(name, named):
    table = make_table(name)
    mask = np.zeros((table.emission.n_base, table.n_actions))
    mask[table.emission.base[table.edge_state], table.edge_action] = 1
    mask[mask.sum(axis=1) == 0] = 1
    kind = "obs" if named else "look"
    rows = np.repeat(mask / mask.sum(axis=1, keepdims=True), table.emission.n_codes if named else 1, axis=0)
    from credit_envs.oracle.policy import Policy
    from credit_envs.sampling.sampler import Sampler

    policy = Policy(kind, rows)
    desk = Desk(Sampler(table, policy, 7), 10**6, evaluate(table, uniform(table)))
    desk.deal(3, 4)
    desk.answer("groups", [2, 3])
    desk.answer("join", [[0, 1]])
    lengths = desk._kept[2].sample.trajectories.lengths.numpy()
    index = np.arange(len(lengths))
    desk.answer("branches", [2, index, lengths // 2])
    desk.answer("need", [3, "continuations", index[:2], np.zeros(2, np.int64), 3, 1.0])
    longer = desk._kept[3].sample.trajectories.lengths.numpy()
    desk.answer("branches", [3, index, longer - 1])
    desk.answer("branches", [3, index, np.zeros_like(index)])
    desk.answer("join", [[2, 3, 4, 5]])
    whole = desk._kept[6].sample
    credit = np.ones(whole.trajectories.mask.shape, np.float32)
    episodes = desk.taken([[6, credit]])
    found = replay(table, policy, 7, episodes)
    for field in ("obs", "policy_action", "policy_row", "reward", "mask", "group", "context"):
        assert torch.equal(getattr(found.trajectories, field), getattr(whole.trajectories, field)), field
    for field in ("state", "edge", "code", "final", "rollout"):
        assert torch.equal(getattr(found.truth, field), getattr(whole.truth, field)), field
    assert drawn_at_least(episodes) <= desk.sampler.meter.env_steps
    plain = desk.taken([[2, np.ones(desk._kept[2].sample.trajectories.mask.shape, np.float32)]])
    assert drawn_at_least(plain) == int(lengths.sum())


def test_records_are_read_back_as_written(tmp_path, stage):
    desk = Desk(stage.sampler(0), 600, stage.values)
    desk.deal(2, 8)
    credit = np.random.default_rng(0).normal(size=desk._kept[0].sample.trajectories.mask.shape).astype(np.float32)
    episodes = desk.taken([[0, credit]])
    records.write(tmp_path / EPISODES, [(Cell("credit/Gallery-v0", "0.5", 3), episodes)])
    ((cell, found),) = records.read(tmp_path / EPISODES)
    assert cell == Cell("credit/Gallery-v0", "0.5", 3)
    assert found.same(episodes)
    pq = pytest.importorskip("pyarrow.parquet")
    assert tuple(pq.read_table(tmp_path / EPISODES).column_names) == records.COLUMNS


def test_methods_that_draw_their_own_rollouts(room, stage):
    method = entry.method_of(room, OPEN, "estimate")
    assert (method.form, method.sub_track) == ("sampler", "open")
    episodes, spent = entry.play(room, method, stage, 0, TINY.budget, 0)
    scored = scoring.score(stage, 0, episodes, spent)
    assert episodes.n_rollouts == 24
    assert drawn_at_least(episodes) < spent["env_steps"]
    assert [one["estimator"] for one in scored] == ["entry", "unit", "exact"]
    assert spent["env_steps"] == scored[0]["env_steps"] < scored[0]["trained_steps"] * 2


def test_needs_are_answered_and_charged(room, stage):
    source = """
import torch
MODEL_CALLS = 0.5
def estimate(batch, *, continuations, fresh, noise, text, key, labels, policy, blind_log_prob):
    rollout, step = torch.nonzero(batch.mask, as_tuple=True)
    assert continuations(rollout[:5], step[:5], k=2, gamma=1.0).shape == (5, 2)
    assert fresh(2).n_groups == 2
    assert torch.equal(noise(3, 2, 2), noise(3, 2, 2))
    assert isinstance(text(batch.obs[0, :2])[0], str)
    assert key.shape == blind_log_prob.shape == batch.mask.shape
    assert labels("turn").shape[1] == batch.mask.shape[1] + 1
    assert torch.equal(policy, batch.policy_table) and not batch.log_prob.isnan().any()
    return batch.reward
"""
    method = entry.method_of(room, source, "estimate")
    assert method.sub_track == "open"
    episodes, spent = entry.play(room, method, stage, 0, TINY.budget, 3)
    steps = int(episodes.steps[-1])
    assert spent["env_steps"] > steps
    assert spent["policy_calls"] == spent["env_steps"] + steps  # one more policy call per step, without the picture
    assert spent["model_calls"] == steps / 2


# -- edited records --------------------------------------------------------------------------------------------------


def test_edited_credit_is_found_in_the_scores(copy):
    rewritten(copy, lambda cells: [(c, dataclasses.replace(e, credit=e.credit[::-1].copy())) for c, e in cells])
    assert failed(copy)[0] == "scores"


@confined
def test_edited_credit_with_scores_to_match_is_found_by_the_code(copy):
    """The best credit there is, the exact advantage, in an honest method's records."""
    table, stages_ = (
        scoring.table_of("credit/Gallery-v0"),
        scoring.stages("credit/Gallery-v0", scoring.table_of("credit/Gallery-v0"), TINY),
    )
    from credit_envs.evaluation.providers import Provided

    cells = {}
    for cell, found in records.read(copy / EPISODES):
        played = replay(table, stages_[0].rung.policy, cell.seed, found)
        exact = Provided(stages_[0].sampler(cell.seed), played, stages_[0].values)["advantage"]
        cells[cell] = dataclasses.replace(found, credit=exact[played.trajectories.mask].numpy().astype(np.float32))
    rewritten(copy, lambda _: cells.items())
    spent = dict(read_manifest(copy / MANIFEST).spent)
    scored = entry.score_all(TINY, {table.name: table, "credit/Gallery-v0": table}, entry.Run(cells, spent))
    restated(copy, scores=entry.summary(scored, TINY))
    assert verify(copy, code=False).level == "replayed"  # records alone cannot tell
    name, why = failed(copy, code=True)
    assert name == "re-run"
    assert "its credit differ" in why


def test_credit_of_another_processor_agrees():
    """Last bits of float64 may be others there: what records hold then moves by one step of rounding, or around zero."""
    rng = np.random.default_rng(0)
    credit = rng.standard_normal(100_000) * 10.0 ** rng.integers(-6, 3, 100_000)
    credit[:1000] = 0
    elsewhere = credit * (1 + 1e-15 * rng.standard_normal(credit.shape)) + 1e-15 * rng.standard_normal(credit.shape)
    here, there = records.held(credit), records.held(elsewhere)
    assert records.agrees(there, here)
    midway = np.float32(1 + 2**-11)
    assert records.held(midway * (1 - 1e-7)) != records.held(midway)
    assert records.agrees(records.held(midway * (1 - 1e-7)), records.held(midway))
    for edited in (
        credit * 1.01,
        credit + 1e-6 * np.abs(credit).max(),
        np.where(credit == 0, 1e-5, credit),
        credit[1:],
    ):
        assert not records.agrees(records.held(edited), here)


def test_edited_actions_do_not_replay(copy):
    def change(cells: Any) -> Any:
        (first, found), *others = cells
        action = found.action.copy()
        action[5] = (action[5] + 1) % 3
        return [(first, dataclasses.replace(found, action=action)), *others]

    rewritten(copy, change)
    name, why = failed(copy)
    assert name == "replay"
    assert "step 5" in why


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda cells: [(dataclasses.replace(c, seed=c.seed + 10), e) for c, e in cells], "not a cell"),
        (lambda cells: cells[:-1], "missing"),
        (lambda cells: [*cells, cells[0]], "twice"),
        (lambda cells: [(dataclasses.replace(c, policy="0.9"), e) for c, e in cells], "not a cell"),
        # Other luck under the right seed: rollouts numbered on, as if the best groups had been picked.
        (lambda cells: [(c, dataclasses.replace(e, rollout=e.rollout + 8)) for c, e in cells], "not the rollouts"),
    ],
    ids=["best of seeds", "a cell missing", "a cell twice", "another policy", "picked rollouts"],
)
def test_cells_are_fixed(copy, change, why):
    rewritten(copy, change)
    name, said = failed(copy)
    assert name == "board"
    assert why in said


def test_luck_of_another_seed_does_not_replay(copy):
    """Records of the luckiest seeds under the names of the mandatory ones."""
    rewritten(copy, lambda cells: [(c, cells[(i + 1) % len(cells)][1]) for i, (c, _) in enumerate(cells)])
    assert failed(copy)[0] == "replay"


def test_spending_cannot_be_understated(copy):
    spent = {c: {**one, "env_steps": one["env_steps"] / 2} for c, one in read_manifest(copy / MANIFEST).spent.items()}
    restated(copy, spent=spent)
    assert failed(copy)[0] in ("spending", "scores")
    restated(copy, spent=spent, sub_track="open")
    name, why = failed(copy)
    assert name in ("spending", "scores")
    assert "states" in why


def test_tables_and_seeds_are_the_boards(copy):
    restated(copy, tables={"credit/Gallery-v0": "0" * 64})
    assert failed(copy)[0] == "tables"
    restated(copy, seeds=2)
    assert failed(copy)[0] == "board"


@confined
def test_other_code_than_was_run(copy):
    (copy / SOURCE).write_text("from credit_envs.credit.grpo import grpo as estimate\n")
    assert failed(copy, code=True)[0] == "re-run"
    restated(copy, source_sha256=entry.Method((copy / SOURCE).read_text(), "", "", ()).sha256)
    name, why = failed(copy, code=True)
    assert name == "re-run"
    assert "its credit differ" in why


# -- code that cheats ------------------------------------------------------------------------------------------------


def run(room: Room, stage: scoring.Stage, body: str) -> Episodes:
    source = f"import torch\ndef estimate(batch):\n    {body}\n    return batch.reward\n"
    return entry.play(room, entry.Method(source, "estimate", "batch", ()), stage, 0, 600, 2)[0]


def test_the_room_holds_no_oracle():
    names = {Path(name).with_suffix("").parts[0] for name in closure()}
    assert not names & FORBIDDEN
    assert {"credit", "sampling", "piece"} <= names


@confined
@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("import credit_envs.families", "ModuleNotFoundError"),
        ("import credit_envs.registry", "ModuleNotFoundError"),
        ("import sys; sys.path.insert(0, PACKAGE); del sys.modules['credit_envs']; import credit_envs.oracle", "Error"),
        ("open(PACKAGE + '/credit_envs/registry.py').read()", "PermissionError"),
        ("open('/etc/passwd').read()", "PermissionError"),
        ("import os; open(f'/proc/{os.getppid()}/mem', 'rb').read(1)", "PermissionError"),
        ("import os; os.listdir('/')", "PermissionError"),
        ("open('/tmp/mine', 'w')", "PermissionError"),
        ("import socket; socket.socket()", "PermissionError"),
        ("import subprocess; subprocess.run(['/bin/true'])", "PermissionError"),
        ("import os; os.fork()", "PermissionError"),
        ("import os; os.kill(os.getppid(), 9)", "PermissionError"),
        ("import ctypes; ctypes.CDLL(None).ptrace(16, 1, 0, 0); raise OSError('still here')", "still here"),
        ("torch.zeros(1 << 33)", "RuntimeError"),
        ("import os; os._exit(0)", "ended"),
        ("import ctypes; ctypes.string_at(0)", "ended"),
        ("return torch.full(batch.mask.shape, float('nan'))", "not a number"),
        ("return torch.zeros(3)", "shape"),
        ("raise SystemExit(0)", "SystemExit"),
    ],
)
def test_hostile_code(room, stage, body, why):
    package = str(Path(entry.__file__).parents[2])
    with pytest.raises(CreditEnvsError, match=why):
        run(room, stage, body.replace("PACKAGE", repr(package)))


@confined
def test_code_that_never_ends(stage):
    with Room(seconds=1) as hurried, pytest.raises(CreditEnvsError, match=r"ended|within"):
        run(hurried, stage, "\n    while True: pass")


@confined
@pytest.mark.parametrize(
    "message",
    ["b'x' * 4096", "struct.pack('<QQ', 1 << 60, 1 << 60)", "frame(b'[' * 5000)", "frame(b'{\"answer\": [[7, 1]]}')"],
    ids=["garbage", "endless", "deep", "forged"],
)
def test_code_that_talks_past_the_worker(room, stage, message):
    body = (
        "import gc, socket, struct\n"
        "    frame = lambda header: struct.pack('<QQ', len(header), 0) + header\n"
        f"    [s.sendall({message}) for s in gc.get_objects() if isinstance(s, socket.socket) and s.fileno() > 0]"
    )
    with pytest.raises(CreditEnvsError, match=r"message|batch|method"):
        run(room, stage, body)


@pytest.mark.parametrize(
    "need", ["advantage", "value", "state", "projected_advantage", "visual", "parameters", "wizard"]
)
def test_truth_cannot_be_asked_for(room, stage, need):
    with pytest.raises(CreditEnvsError, match=need):
        entry.method_of(room, f"def estimate(batch, *, {need}):\n    return {need}\n", "estimate")
    asking = f"def estimate(sampler):\n    b = sampler.groups(2, 2)\n    return b, sampler.ask(b, {need!r})\n"
    with pytest.raises(CreditEnvsError, match=need):
        entry.play(room, entry.Method(asking, "estimate", "sampler", ()), stage, 0, 600, 2)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("return b.replace(reward=b.reward + 1), b.reward", "not one that the sampler returned"),
        ("sampler.groups(10**9, 8)", "expected an integer"),
        ("[sampler.groups(4, 8) for _ in range(100)]", "budget"),
        ("sampler.branches(b, torch.tensor([0]), torch.tensor([10**6]))", "ended"),
        ("sampler.branches(b, torch.tensor([-1]), torch.tensor([0]))", "rollout"),
        ("sampler.ask(b, 'continuations', torch.tensor([0]), torch.tensor([0]), 10**6, 1.0)", "budget"),
        ("sampler._ask('sampler')", "a sampler has"),
        ("sampler._ask('groups', 'x', None)", "expected an integer"),
        ("sampler._ask('rows', 77, torch.tensor([0]))", "one that the sampler returned"),
        ("return []", "no credit"),
    ],
)
def test_the_sampler_hands_out_nothing_more(room, stage, body, why):
    source = f"import torch\ndef estimate(sampler):\n    b = sampler.groups(2, 2)\n    {body}\n    return b, b.reward\n"
    with pytest.raises(CreditEnvsError, match=why):
        entry.play(room, entry.Method(source, "estimate", "sampler", ()), stage, 0, 600, 2)


def test_nothing_is_carried_from_seed_to_seed(room, stage):
    """A method that pools the seeds' data would spend a budget ten times as large."""
    source = "seen = []\ndef estimate(batch):\n    seen.append(batch)\n    return batch.reward * len(seen)\n"
    method = entry.Method(source, "estimate", "batch", ())
    first, second = (entry.play(room, method, stage, 0, 600, 2)[0] for _ in range(2))
    assert first.same(second)


def test_a_table_of_answers_is_too_long(tmp_path):
    (tmp_path / "m.py").write_text(
        "table = " + repr(list(range(20000))) + "\ndef estimate(batch): return batch.reward\n"
    )
    with pytest.raises(CreditEnvsError, match="code, not tables"):
        enter(f"{tmp_path / 'm.py'}:estimate", TINY, tmp_path / "m")


@confined
def test_a_lookup_table_falls_behind_on_hidden_instances(room, stage, tmp_path):
    """The exact advantage of every (step, observation, action) of the public table, compressed into the source."""
    table, q = stage.table, {}
    policy = stage.rung.policy
    for t in range(table.horizon):
        gap = stage.values.q_edges(t) - stage.values.V[t][table.edge_state]
        for e in range(table.n_edges):
            if abs(gap[e]) > 1e-9:
                q[t, int(table.emission.base[table.edge_state[e]]), int(table.edge_action[e])] = round(float(gap[e]), 4)
    import base64
    import zlib

    packed = base64.b85encode(zlib.compress(repr(q).encode(), 9)).decode()
    source = f"""
import ast, base64, torch, zlib
TABLE = ast.literal_eval(zlib.decompress(base64.b85decode({packed!r})).decode())
def estimate(batch):
    out = torch.zeros_like(batch.reward)
    for i, t in torch.nonzero(batch.mask).tolist():
        out[i, t] = TABLE.get((t, int(batch.policy_row[i, t]), int(batch.policy_action[i, t])), 0.0)
    return out
"""
    assert policy.kind == "look"
    (tmp_path / "m.py").write_text(source)
    enter(f"{tmp_path / 'm.py'}:estimate", TINY, tmp_path / "m")
    hidden.new_season("t", tmp_path, tmp_path / "secret")
    season = hidden.open_season(tmp_path / "season-t.json", tmp_path / "secret")
    report = verify(tmp_path / "m", season=season)
    assert report.scores is not None
    assert report.scores["overall"]["simulator"]["value"] > 5  # nothing in the records gives it away
    assert (report.checks[-1].name, report.checks[-1].status) == ("hidden", "failed")
    assert report.level == "refused"
    honest = entry.Method(FIXED, "estimate", "batch", ())
    mine = verify_hidden(room, honest, season)
    assert mine > 0.5


def verify_hidden(room: Room, method: entry.Method, season: hidden.Season) -> float:
    return float(on_hidden(room, method, TINY, season)["overall"]["simulator"]["value"])


# -- hidden instances ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["credit/Gallery-v0", "credit/Lookup-v0", "credit/FrozenLake-v0"])
def test_permuted_tables_are_the_same_process(name):
    table = make_table(name)
    luck = np.random.default_rng(1)
    actions, looks = luck.permutation(table.n_actions), luck.permutation(table.emission.n_base)
    other = hidden.permuted(table, actions, looks)
    assert other.fingerprint != table.fingerprint
    assert pytest.approx(optimal(table).J, abs=1e-12) == optimal(other).J
    policy = luck.dirichlet(np.ones(table.n_actions), table.n_states) * table.mask
    policy /= np.maximum(policy.sum(axis=1, keepdims=True), 1e-300)
    moved = np.zeros_like(policy)
    moved[:, actions] = policy
    mine, theirs = evaluate(table, policy), evaluate(other, moved)
    np.testing.assert_allclose(theirs.V, mine.V, atol=1e-12)
    assert [other.action_names[a] for a in actions] == list(table.action_names)


def test_hidden_instances_follow_from_the_secret_alone(tmp_path):
    hidden.new_season("1", tmp_path, tmp_path / "secret")
    season = hidden.open_season(tmp_path / "season-1.json", tmp_path / "secret")
    first, second = (hidden.instance(season, "credit/Lookup-v0", 3) for _ in range(2))
    assert first.table.fingerprint == second.table.fingerprint
    assert first.seeds == second.seeds
    public = make_table("credit/Lookup-v0")
    assert not set(first.table.action_names) & set(public.action_names)
    assert 0.011 <= first.table.knobs["slip"] <= 0.097
    with pytest.raises(CreditEnvsError, match="isn't published"):
        hidden.open_season(tmp_path / "season-1.json")
    (tmp_path / "other").write_text("00" * 32)
    with pytest.raises(CreditEnvsError, match="does not belong"):
        hidden.open_season(tmp_path / "season-1.json", tmp_path / "other")
    with pytest.raises(CreditEnvsError, match="exists already"):
        hidden.new_season("1", tmp_path, tmp_path / "another")


@given(st.text(st.characters(codec="ascii"), max_size=60))
@settings(max_examples=50, deadline=None)
def test_speech_keeps_everything_but_the_words(text):
    said = hidden.speech(5)
    new = said(text)
    assert said(text) == new
    shape = [("a" if c.isalpha() else c) for c in text]
    import re

    assert re.sub("a+", "a", "".join(shape)) == re.sub("[A-Za-z]+", "a", new)


# -- hostile files ---------------------------------------------------------------------------------------------------


def archive(path: Path, files: dict[str, bytes], link: str | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in files.items():
            out.writestr(name, data)
        if link is not None:
            info = zipfile.ZipInfo(link)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            out.writestr(info, "/etc/passwd")
    return path


def test_an_honest_archive_is_as_good_as_its_folder(honest, tmp_path):
    path = archive(tmp_path / "mine.zip", {item.name: item.read_bytes() for item in honest.iterdir()})
    assert verify(path, code=False).level == "replayed"


@pytest.mark.parametrize(
    ("files", "link", "why"),
    [
        ({"../evil.py": b""}, None, "expected manifest"),
        ({"/etc/evil": b""}, None, "expected manifest"),
        ({MANIFEST: b"{}", "extra.sh": b""}, None, "expected manifest"),
        ({SOURCE: b"0" * (1 << 20)}, None, "unpacked"),
        ({}, SOURCE, "link"),
        ({MANIFEST: b"{}"}, None, "schema"),
        ({MANIFEST: b"[" * 100_000}, None, "unreadable"),
    ],
    ids=["up", "root", "stranger", "bomb", "link", "empty", "deep"],
)
def test_hostile_archives(tmp_path, files, link, why):
    name, said = failed(archive(tmp_path / "bad.zip", files, link))
    assert name == "form"
    assert why in said
    assert not (tmp_path.parent / "evil.py").exists()


def test_hostile_folders(copy, tmp_path):
    (tmp_path / "no.zip").write_bytes(b"PK\x03\x04 nothing")
    assert failed(tmp_path / "no.zip")[0] == failed(tmp_path / "nowhere")[0] == "form"
    (copy / EPISODES).unlink()
    (copy / EPISODES).symlink_to("/etc/passwd")
    assert failed(copy)[0] == "form"
    (copy / EPISODES).unlink()
    assert failed(copy)[0] == "board"
    (copy / EPISODES).write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    assert failed(copy)[0] == "board"
    (copy / "run.sh").write_text("")
    assert failed(copy)[0] == "form"


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_damaged_records_never_crash(honest, tmp_path_factory, data):
    whole = bytearray((honest / EPISODES).read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=8)):
        whole[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("damaged") / EPISODES
    path.write_bytes(bytes(whole))
    try:
        for _, episodes in records.read(path):
            assert len(episodes.action) == len(episodes.credit)
    except CreditEnvsError:
        pass


@pytest.mark.parametrize(
    ("key", "value"),
    [("seeds", "10"), ("track", "wizard"), ("spent", [["x"]]), ("scores", 3), ("name", "x" * 5000), ("suite", "no-v0")],
)
def test_manifests_are_read_strictly(copy, key, value):
    stated = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps({**stated, key: value}))
    assert failed(copy)[0] in ("form", "board")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(_VALUES)
@settings(max_examples=60, deadline=None)
def test_messages_are_read_back_as_sent(value):
    here, there = socket.socketpair()
    with here, there:
        Line(here).send({"value": value, "array": np.arange(6, dtype=np.float32).reshape(2, 3)})
        found = Line(there).receive()
    assert found["value"] == value
    np.testing.assert_array_equal(found["array"], np.arange(6).reshape(2, 3))


@given(st.binary(max_size=60), st.binary(max_size=60))
@settings(max_examples=100, deadline=None)
def test_messages_that_make_no_sense_are_refused(header, body):
    try:
        unpack(header, body)
    except CreditEnvsError:
        return
    json.loads(header)  # what was read was at least JSON


@pytest.mark.parametrize(
    "header",
    [
        b'{"array": "|O", "shape": [1]}',
        b'{"array": "<f8", "shape": [99999999999]}',
        b'{"array": "<f8", "shape": [-1]}',
        b'{"array": "<f8", "shape": [true]}',
        b'{"array": "<f8", "shape": 3}',
        b'{"stranger": 1}',
    ],
)
def test_arrays_are_what_they_say(header):
    with pytest.raises(CreditEnvsError):
        unpack(header, bytes(16))


def test_what_cannot_be_said():
    with pytest.raises(CreditEnvsError, match="dtype"):
        pack(np.zeros(1, dtype=np.complex128))
    with pytest.raises(CreditEnvsError, match="a message holds"):
        pack({"x": object()})


# -- names and boards ------------------------------------------------------------------------------------------------


def test_boards():
    assert board("core-v0").environments == board("core-v0").environments
    assert board("board-v0").seeds >= tracks.FEWEST_SEEDS
    with pytest.raises(CreditEnvsError, match="did you mean"):
        board("bord-v0")


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 80])
def test_names_are_folders(name):
    with pytest.raises(CreditEnvsError, match="name="):
        entry.checked_name(name)


def test_nothing_is_run_for_bad_arguments(tmp_path):
    for method, why in (("mine", "FILE.py:FUNCTION"), (f"{tmp_path}/no.py:estimate", "no such file")):
        with pytest.raises(CreditEnvsError, match=why):
            enter(method, TINY, tmp_path / "x")
    assert not Report("x", "").passed
