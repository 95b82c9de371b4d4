"""The credit viewer: its numbers against the oracle, and its page in a real browser."""

import json
import re

import numpy as np
import pytest
import torch
from browser import browser, chromium
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from credit_envs import oracle, registry
from credit_envs.cli import main
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.providers import Provided
from credit_envs.oracle.skill import skilled_policy
from credit_envs.recipes import recipe
from credit_envs.report.png import png
from credit_envs.report.viewed import groups, viewed
from credit_envs.report.viewer import MOST_BYTES, content, viewer, write_viewer
from credit_envs.sampling import Sampler

PLACES = [
    "FrozenLake",
    "KeyRooms?stages=1&slip=0.3&delay=2",
    "Shop",
    "Chat",
    "Sums?spell=1",
    "KeyRooms?stages=1&cue=0.5",
]


@pytest.fixture(scope="module", params=PLACES)
def shown(request):
    return viewed(registry.make_table(request.param), ["grpo", "gigpo", "exact"], group_size=4, seed=5)


def test_skill_and_luck_add_up_to_the_return(shown):
    start, skill, luck, total = shown.ledger().T
    assert start + skill + luck == pytest.approx(total, abs=1e-9)
    assert np.abs(shown.luck[~shown.mask]).max(initial=0) == 0


def test_luck_is_zero_where_dynamics_draw_nothing():
    table = registry.make_table("KeyRooms", stages=1)
    assert table.is_deterministic
    assert np.abs(viewed(table, ["grpo"], group_size=4).luck).max() < 1e-12


def test_luck_averages_to_zero():
    """The ledger's luck is a martingale difference: its mean over rollouts is 0 within 4 standard errors."""
    table = registry.make_table("FrozenLake")
    sums = np.concatenate([viewed(table, ["grpo"], 0.5, 64, seed).ledger()[:, 2] for seed in range(20)])
    assert abs(sums.mean()) < 4 * sums.std() / np.sqrt(sums.size)
    assert sums.std() > 0.2


def test_what_was_taken_stands_among_the_alternatives(shown):
    batch = shown.sample.trajectories
    for i, n in enumerate(batch.lengths.tolist()):
        assert len(shown.texts[i]) == len(shown.alternatives[i]) == n
        for t, (actions, worth) in enumerate(shown.alternatives[i]):
            place = np.flatnonzero(actions == int(batch.action[i, t]))
            assert worth[place] == pytest.approx([shown.advantage[i, t]], abs=1e-12)


def test_credit_is_what_the_recipe_says(shown):
    sampler = Sampler(shown.table, skilled_policy(shown.table, 0.5), 5)
    sample = sampler.groups(1, 4)
    provided = Provided(sampler, sample)
    for method in shown.methods:
        _, credit = recipe(method.name).credit(sample.trajectories, provided)
        assert np.array_equal(method.credit, credit.numpy())
    exact = shown.methods[-1]
    assert exact.privileged
    assert exact.correlation == pytest.approx(1)


def test_the_page_holds_the_numbers(shown):
    page = viewer(shown, "credit-envs view X")
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert data == content([shown])
    for i, rollout in enumerate(data["groups"][0]["rollouts"]):
        n = int(shown.sample.trajectories.lengths[i])
        assert rollout["advantage"] == pytest.approx(shown.advantage[i, :n].tolist(), rel=1e-5, abs=1e-12)
        assert len(rollout["text"]) == n + 1
        assert len(rollout["picture"]) in (0, n + 1)
    assert "http" not in re.sub(r'"http://www.w3.org/2000/svg"', "", page)


def test_words_cannot_leave_the_data():
    table = registry.make_table("Chat")
    names = ("</script><b>", *table.action_names[1:])
    page = viewer(viewed(table.replace(action_names=names, name="<i>Chat"), ["grpo"], group_size=2))
    assert "</script><b>" not in page
    assert "<i>Chat" not in page


def test_a_tree_is_seen_by_recipes_of_its_plan():
    shown = viewed(registry.make_table("Gallery"), ["tree_grpo", "tree_gigpo"], group_size=8)
    batch = shown.sample.trajectories
    assert shown.plan == "trees"
    assert len(torch.unique(batch.node[batch.mask])) < int(batch.mask.sum())
    start, skill, luck, total = shown.ledger().T
    assert start + skill + luck == pytest.approx(total, abs=1e-9)


def test_each_plan_gets_a_group_of_its_own():
    found = groups(registry.make_table("Chat"), ["rloo", "tree_grpo", "gigpo"], (0.0, 0.9), 4)
    assert [(one.level, one.plan) for one in found] == [
        (0.0, "groups"),
        (0.0, "trees"),
        (0.9, "groups"),
        (0.9, "trees"),
    ]
    assert [method.name for method in found[0].methods] == ["rloo", "gigpo"]
    alone = viewed(registry.make_table("Chat"), ["rloo", "gigpo"], 0.0, 4)
    assert np.array_equal(found[0].methods[1].credit, alone.methods[1].credit)


def test_what_was_searched_is_kept():
    shown = viewed(registry.make_table("Chat"), ["grpo", "mcts_prm"], group_size=4)
    plain, searched = shown.methods
    assert plain.searches == ()
    assert searched.searches
    for found in searched.searches:
        assert shown.mask[found.rollout, found.step]
        assert found.parent[0] == -1
        assert found.count[found.node == 0].sum() == found.visits[0] == 16
        for node, branch in enumerate(found.parent[1:], 1):
            assert found.node[branch] < node
            assert found.visits[node] <= found.count[branch]


def test_pictures_and_words_stand_once_for_all_groups():
    table = registry.make_table("KeyRooms", stages=1, horizon_factor=3)
    one, two = content(groups(table, ["grpo"], (0.5,), 4)), content(groups(table, ["grpo"], (0.5, 0.0), 4))
    assert len(set(two["pictures"])) == len(two["pictures"]) < len(one["pictures"]) + table.n_states
    for group in two["groups"]:
        assert max(max(rollout["picture"]) for rollout in group["rollouts"]) < len(two["pictures"])


def test_a_page_that_is_too_large_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("credit_envs.report.viewer.MOST_BYTES", 10_000)
    with pytest.raises(CreditEnvsError, match="expected at most"):
        write_viewer(viewed(registry.make_table("Chat"), ["grpo"]), tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()
    assert MOST_BYTES == 5_000_000


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"algorithms": ["gigpoo"]}, "did you mean"),
        ({"algorithms": ["gigpo", "tree_grpo"]}, "of one plan"),
        ({"algorithms": ["search_p1"]}, "Pivots"),
        ({"level": 1.5}, r"policy=1.5"),
        ({"group_size": 1}, r"group_size=1"),
    ],
)
def test_refusals(given, message):
    with pytest.raises(CreditEnvsError, match=message):
        viewed(registry.make_table("Pivots"), **given)


@settings(max_examples=30, deadline=None)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 40), st.just(3))),
    st.booleans(),
)
def test_pictures_survive(tmp_path_factory, picture, few):
    picture = picture // 128 * 127 if few else picture
    path = tmp_path_factory.getbasetemp() / "one.png"
    path.write_bytes(png(picture))
    assert np.array_equal(np.asarray(Image.open(path).convert("RGB")), picture)


def test_pictures_with_many_colours_survive(tmp_path):
    picture = np.arange(40 * 40 * 3, dtype=np.uint32).reshape(40, 40, 3).astype(np.uint8)
    picture[..., 1] = np.arange(40)[:, None]
    (tmp_path / "many.png").write_bytes(png(picture))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "many.png").convert("RGB")), picture)


def test_command(tmp_path, capsys):
    path = tmp_path / "new" / "page.html"
    assert main(["view", "Chat", "--policy", "0.3", "--algorithms", "rloo", "gigpo", "--output", str(path)]) == 0
    assert str(path) in capsys.readouterr().out
    assert "credit-envs view Chat --policy 0.3" in path.read_text()
    assert main(["view", "Chat", "--also", "Sums?spell=1", "--algorithms", "rloo", "--output", str(path)]) == 0
    assert len(json.loads(re.search(r'id="data">(.*?)</script>', path.read_text(), re.DOTALL)[1])["groups"]) == 6
    assert main(["view", "Chat", "--output", str(tmp_path / "page.txt")]) == 2
    assert "ends in .html" in capsys.readouterr().err


# -- in a browser ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    if chromium() is None:
        pytest.skip("no Chromium on this machine")
    folder = tmp_path_factory.mktemp("viewer")
    group = viewed(registry.make_table("KeyRooms", stages=1), ["grpo", "gigpo"], group_size=4, seed=1)
    (folder / "page.html").write_text(viewer(group), encoding="utf-8")
    with browser(folder / "profile") as opened:
        opened.group = group
        opened.path = opened.first = folder / "page.html"
        yield opened


def hash_of(page):
    return dict(part.split("=") for part in page.value("location.hash.slice(1)").split("&"))


def fresh(page, where="#rollout=1&step=1"):
    # A change of the hash alone would not load the page again.
    page.open("about:blank")
    page.open(page.path.as_uri() + where)


def test_it_loads_without_a_complaint_and_asks_nobody(page):
    fresh(page)
    assert page.problems == []
    assert page.value("document.querySelectorAll('#worth .bar').length") == page.group.alternatives[0][0][0].size
    assert page.value("document.querySelectorAll('#says .bar').length") == 3
    assert page.value("document.getElementById('picture').naturalWidth") > 0
    assert page.value("document.getElementById('text').textContent") == page.group.texts[0][0]


def test_keys_walk_through_the_group(page):
    fresh(page)
    page.press("ArrowRight")
    page.press("ArrowRight")
    assert hash_of(page)["step"] == "3"
    assert page.value("document.getElementById('text').textContent") == page.group.texts[0][2]
    page.press("ArrowLeft")
    assert hash_of(page)["step"] == "2"
    page.press("End")
    last = int(page.group.sample.trajectories.lengths[0])
    assert hash_of(page)["step"] == str(last)
    page.press("ArrowRight")
    assert hash_of(page)["step"] == str(last)
    page.press("Home")
    page.press("ArrowDown")
    assert (hash_of(page)["rollout"], hash_of(page)["step"]) == ("2", "1")
    page.press("ArrowUp")
    page.press("ArrowUp")
    assert hash_of(page)["rollout"] == "4"
    for name in ("grpo", "gigpo", "exact%20advantage"):
        page.press("m")
        assert hash_of(page)["colour"] == name
    assert page.problems == []


def test_the_same_anchor_is_the_same_anchor(page):
    fresh(page)
    anchor = page.group.sample.trajectories.anchor
    mask = page.group.sample.trajectories.mask
    want = int(((anchor == anchor[0, 0]) & mask).sum())
    assert page.value("document.querySelectorAll('#meeting li').length") == min(want, 200)
    seen = set()
    for _ in range(want):
        page.press("a")
        found = hash_of(page)
        i, t = int(found["rollout"]) - 1, int(found["step"]) - 1
        assert anchor[i, t] == anchor[0, 0]
        seen.add((i, t))
    assert len(seen) == want


def test_space_plays_and_lists_keep_their_own_keys(page):
    fresh(page)
    page.press(" ")
    assert page.value("document.getElementById('play').textContent") == "⏸ pause"
    page.press(" ")
    assert page.value("document.getElementById('play').textContent") == "▶ play"
    page.value("document.getElementById('method').focus()")
    before = hash_of(page)["rollout"]
    page.press("ArrowDown", 40)
    assert hash_of(page)["rollout"] == before


def test_tab_reaches_every_control(page):
    fresh(page)
    reached = []
    for _ in range(9):
        page.press("Tab", 9)
        reached.append(page.value("document.activeElement.id"))
    assert reached == ["rollout", "method", "first", "back", "play", "next", "last", "anchor", "step"]


def test_bars_say_what_the_oracle_says(page):
    fresh(page, "#rollout=2&step=4")
    shown = page.value("[...document.querySelectorAll('#worth .number')].map((e) => e.textContent)")
    worth = page.group.alternatives[1][3][1]
    assert [float(text.replace("−", "-")) for text in shown] == pytest.approx(worth.tolist(), rel=6e-3, abs=1e-12)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_by_day_and_by_night(page, scheme):
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    fresh(page)

    def luminance(rgb):
        parts = [float(x) / 255 for x in re.findall(r"[\d.]+", rgb)[:3]]
        linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    ground = luminance(page.value("getComputedStyle(document.body).backgroundColor"))
    assert (ground > 0.8) == (scheme == "light")
    for place, least in (("#did", 7), ("#meeting-says", 4.5), ("#text", 7)):
        ink = luminance(page.value(f"getComputedStyle(document.querySelector('{place}')).color"))
        assert (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05) > least


def test_nothing_is_wider_than_a_telephone(page):
    page.call("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
    fresh(page)
    assert page.value("document.documentElement.scrollWidth") <= 390
    page.call("Emulation.clearDeviceMetricsOverride")


@pytest.fixture
def several(page, tmp_path):
    """Two environments, two policies, three plans' worth of methods on one page."""
    found = [
        group
        for name in ("KeyRooms?stages=1&horizon_factor=3", "Chat")
        for group in groups(registry.make_table(name), ["gigpo", "mcts_prm", "tree_grpo"], (0.5, 0.0), 4, 1)
    ]
    page.path = tmp_path / "several.html"
    write_viewer(found, page.path)
    page.groups = found
    yield page
    page.path = page.first


def test_environment_policy_and_method_are_chosen_on_the_page(several):
    fresh(several, "#step=1")
    assert several.value("[...document.getElementById('environment').options].map((o) => o.value)") == [
        "KeyRooms",
        "Chat",
    ]
    several.press("e")
    assert several.value("data.environment") == "Chat"
    assert several.value("document.querySelector('header [data-group]:not([hidden])').textContent").count("Chat") == 0
    several.press("p")
    assert several.value("data.policy") == "uniform play"
    assert several.value("document.querySelectorAll('header [data-group]:not([hidden])').length") == 1
    several.value(
        "(() => { const list = document.getElementById('method');"
        " list.value = [...list.options].find((o) => o.text === 'tree_grpo').value; list.onchange({ target: list }); })()"
    )
    assert several.value("data.plan") == "trees"
    assert hash_of(several)["colour"] == "tree_grpo"
    shown = several.groups[int(hash_of(several)["group"]) - 1]
    assert (shown.plan, shown.level, shown.table.name) == ("trees", 0.0, "Chat")
    assert several.value("document.querySelectorAll('#rollout option').length") == len(shown.mask)
    several.press("e")
    assert several.value("[data.plan, data.policy, data.environment]") == ["trees", "uniform play", "KeyRooms"]
    assert several.problems == []


def test_the_tree_is_drawn_once_per_step(several):
    fresh(several, "#group=2&rollout=1&step=2")
    shown = several.groups[1]
    batch = shown.sample.trajectories
    own = batch.tree == batch.tree[0]
    nodes = torch.unique(batch.node[own][batch.mask[own]])
    assert several.value("document.querySelectorAll('#tree circle').length") == nodes.numel()
    assert several.value("document.querySelectorAll('#tree line').length") == nodes.numel() - 1
    assert several.value("document.querySelectorAll('#tree circle.here').length") == 1


def test_the_search_is_drawn_where_it_started(several):
    fresh(several, "#group=1&rollout=1&step=1&colour=mcts_prm")
    several.press("s")
    place = hash_of(several)
    found = next(
        one
        for one in several.groups[0].methods[1].searches
        if (one.rollout + 1, one.step + 1) == (int(place["rollout"]), int(place["step"]))
    )
    assert several.value("document.querySelectorAll('#tree line').length") >= int((found.count > 0).sum())
    assert "16 simulations" in several.value("document.getElementById('tree-says').textContent")
    several.press("m")
    assert several.value("document.getElementById('trees').hidden")
    assert several.problems == []


def test_without_scripts_the_ledger_stands(page):
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.open(page.path)
    page.call("Emulation.setScriptExecutionDisabled", value=False)
    assert page.value("document.querySelectorAll('section[aria-label=Ledger] tbody tr').length") == 4


def test_the_policy_is_half_of_the_way():
    table = registry.make_table("KeyRooms", stages=1)
    found = viewed(table, ["grpo"], 0.5, 2)
    low, high = oracle.evaluate(table, oracle.uniform(table)).J, oracle.optimal(table).J
    assert (found.policy_return - low) / (high - low) == pytest.approx(0.5, abs=1e-3)
