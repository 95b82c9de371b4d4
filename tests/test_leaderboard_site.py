"""The leaderboard's other half: learners, the command line, and the site in a real browser."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from credit_envs.cli import main
from credit_envs.errors import CreditEnvsError
from credit_envs.leaderboard import school, scoring, tracks, verify
from credit_envs.leaderboard.entry import MANIFEST, POLICIES
from credit_envs.leaderboard.form import digest
from credit_envs.leaderboard.manifest import read_manifest
from credit_envs.leaderboard.room import Room
from credit_envs.leaderboard.site import write_site
from credit_envs.leaderboard.standing import standings
from credit_envs.leaderboard.tracks import Board

ROOT = Path(__file__).parents[1]
METHODS = ROOT / "leaderboard" / "methods"
TINY = Board("small-v0", ("credit/Chat-v0",), budget=400, learner_budget=1600, levels=(0.5,), seeds=2)


@pytest.fixture(scope="module", autouse=True)
def tiny() -> Iterator[None]:
    assert isinstance(tracks.SMALL, dict)
    tracks.SMALL["small-v0"] = TINY
    yield
    del tracks.SMALL["small-v0"]


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    with Room(trusted=True, seconds=30) as made:
        yield made


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One estimator and one learner, entered and verified by the commands that anyone types."""
    place = tmp_path_factory.mktemp("entries")
    for name, function, track in (("gigpo", "estimate", "estimator"), ("q_learning", "train", "learner")):
        method = f"{METHODS / name}.py:{function}"
        told = ["--authors", "<b>Nobody</b>", "--output", str(place)]
        assert main(["submit", method, "--track", track, "--suite", "small-v0", *told]) == 0
        assert main(["verify", str(place / name), "--unconfined", "--keep"]) == 0
    return place


@pytest.fixture(scope="module")
def site(entries: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(entries, tmp_path_factory.mktemp("site")).parent


def test_learners_are_scored_by_their_exact_return(entries):
    found = {one.name: one for one in standings(entries)}
    one = found["q_learning"]
    assert (one.level, one.manifest.track) == ("re-run", "learner")
    assert 0 < one.overall("normalised")["value"] <= 1 + 1e-9
    assert one.overall("env_steps")["value"] <= TINY.learner_budget
    table = scoring.table_of("credit/Chat-v0")
    mask = school.masks(table).astype(np.float32)
    uniform = mask / np.maximum(mask.sum(axis=1, keepdims=True), 1)
    assert school.exact(table, uniform)["normalised"] == pytest.approx(0, abs=1e-6)


def test_learners_cannot_state_other_scores_or_policies(entries, tmp_path):
    folder = Path(shutil.copytree(entries / "q_learning", tmp_path / "q_learning"))
    with np.load(folder / POLICIES) as stored:
        arrays = {name: stored[name][::-1] for name in stored.files}
    np.savez_compressed(folder / POLICIES, allow_pickle=False, **arrays)
    assert verify(folder, code=False).checks[-1].status == "failed"
    (folder / POLICIES).write_bytes(b"PK nothing")
    report = verify(folder, code=False)
    assert (report.checks[-1].name, report.checks[-1].status) == ("board", "failed")
    manifest = read_manifest(folder / MANIFEST)
    spent = {cell: {**one, "env_steps": 1e6} for cell, one in manifest.spent.items()}
    shutil.copy(entries / "q_learning" / POLICIES, folder / POLICIES)
    (folder / MANIFEST).write_text(dataclasses.replace(manifest, spent=spent).as_json())
    assert verify(folder, code=False).checks[-1].name == "spending"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("while True: env.step([0, 0])", "budget"),
        ("env.step([99, 0])", "whole numbers"),
        ("return None", "AttributeError"),
        ("return type('P', (), {'act': lambda self, obs: 99})()", "IndexError"),
        ("return type('P', (), {'probabilities': lambda self, obs, mask: mask * 3.0})()", "no distribution"),
        ("make_env(10**9)", "num_envs"),
        ("make_env(1, 'oracle')", "expected state, text or grid"),
    ],
)
def test_learners_that_misbehave(room, body, why):
    source = f"def train(make_env, budget, seed, device):\n    env = make_env(2)\n    env.reset()\n    {body}\n"
    with pytest.raises(CreditEnvsError, match=why):
        school.learn(room, source, "train", scoring.table_of("credit/Chat-v0"), 200, 0)


def test_the_command_line(entries, capsys):
    assert main(["leaderboard", "--suite", "small-v0", "--entries", str(entries)]) == 0
    assert "gigpo" in capsys.readouterr().out
    assert main(["submit", "nowhere.py:estimate", "--suite", "small-v0"]) == 2
    assert main(["submit", "nowhere.py:estimate", "--track", "sprint"]) == 2
    assert main(["verify", "nowhere"]) == 1


def test_pages_link_to_each_other_and_to_nothing_else(site):
    pages = {path.name: path.read_text() for path in site.glob("*.html")}
    assert set(pages) == {"index.html", "entry-gigpo.html", "entry-q_learning.html", "env-Chat-v0.html"}
    for page in pages.values():
        for link in re.findall(r'(?:href|src)="([^"]*)"', page):
            assert link in ("data:,", "#main") or (site / link).is_file(), link
        assert "<b>Nobody</b>" not in page
        assert page.count("<h1>") == 1
        assert 'lang="en"' in page
    assert "&lt;b&gt;Nobody" in pages["entry-gigpo.html"]


def test_an_entry_under_another_name_is_refused(entries, tmp_path):
    shutil.copytree(entries / "gigpo", tmp_path / "someone")
    with pytest.raises(CreditEnvsError, match="has its name"):
        standings(tmp_path)


def test_two_hundred_entries(entries, tmp_path):
    """Every page of a full board is small enough to be there at once."""
    manifest = read_manifest(entries / "gigpo" / MANIFEST)
    for i in range(200):
        folder = tmp_path / "many" / f"entry{i}"
        folder.mkdir(parents=True)
        (folder / MANIFEST).write_text(dataclasses.replace(manifest, name=folder.name).as_json())
        report = json.loads((entries / "gigpo.verified.json").read_text())
        folder.with_name(f"{folder.name}.verified.json").write_text(json.dumps({**report, "digest": digest(folder)}))
    index = write_site(tmp_path / "many", tmp_path / "site")
    assert index.stat().st_size < 400_000
    assert index.read_text().count("data-find=") == 200


def browser() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


PROBE = """<script>addEventListener("load", () => {
  const board = document.querySelector("table.board"), names = () => [...board.tBodies[0].rows].filter((r) => !r.hidden).length;
  const find = document.querySelector("[data-filter=find]");
  const before = names();
  find.value = "no such entry"; find.form.oninput();
  const none = names();
  find.value = ""; find.form.oninput();
  board.querySelector("thead button").click();
  const sorted = board.querySelector("th[aria-sort]").getAttribute("aria-sort");
  document.title = JSON.stringify({before, none, sorted, wide: document.documentElement.scrollWidth - innerWidth,
    unnamed: [...document.querySelectorAll("svg[role=img]")].filter((s) => !s.ariaLabel).length});
});</script>"""


@pytest.mark.skipif(browser() is None, reason="no Chromium here to look at the site with")
@pytest.mark.parametrize("width", [390, 1280])
def test_the_site_in_a_browser(site, tmp_path, width):
    for path in site.iterdir():
        shutil.copy(path, tmp_path)
    index = tmp_path / "index.html"
    index.write_text(index.read_text().replace("</body>", PROBE + "</body>"))
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [str(browser()), "--headless", "--no-sandbox", profile, f"--window-size={width},900", "--dump-dom"]
    said = subprocess.run([*command, index.as_uri()], capture_output=True, text=True, timeout=60, check=True).stdout
    found = json.loads(re.search(r"<title>(\{.*?\})</title>", said)[1].replace("&quot;", '"'))
    assert found["before"] == 1
    assert found["none"] == 0
    assert found["sorted"] == "descending"
    assert found["wide"] <= 0  # nothing makes a phone's page wider than the phone
    assert found["unnamed"] == 0


def test_reports_and_entries_of_the_project_belong_together():
    """Reference entries stand in the project with reports of exactly these files."""
    folder = ROOT / "leaderboard" / "entries"
    found = {one.name: one for one in standings(folder)}
    assert {"grpo", "gigpo"} <= set(found)
    assert found["gigpo"].level == "re-run"
    assert found["gigpo"].hidden is not None
