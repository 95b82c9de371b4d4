"""The site: every Python example on hand-written pages runs; every environment and algorithm has a page."""

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from credit_envs import registry
from credit_envs.piece import SLOTS
from credit_envs.recipes import PIECES, PRESETS

DOCS = Path(__file__).parents[1] / "docs"
PAGES = (*DOCS.glob("*.md"), *DOCS.glob("howto/*.md"), DOCS.parent / "README.md")
# What the cluster's page reads is made first in test_sweeps.py, which runs it.
EXAMPLES = sorted(path for path in PAGES if "```python" in path.read_text() and path.stem != "cluster")
LIBRARIES = ("minari", "ray", "sb3_contrib", "stable_baselines3", "tensordict", "torchrl")


@pytest.fixture(scope="module")
def made():
    sys.path.insert(0, str(DOCS))
    try:
        yield {
            name: importlib.import_module(f"made.{name}")
            for name in ("algorithms", "environments", "figures", "api", "autodoc")
        }
    finally:
        sys.path.remove(str(DOCS))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_run(path, tmp_path, monkeypatch, capsys):
    for library in sorted(set(LIBRARIES) & set(re.findall(r"^(?:import|from) (\w+)", path.read_text(), re.MULTILINE))):
        pytest.importorskip(library, reason=f"{library} is not installed")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)
    there = {"__name__": "example"}
    for block in blocks:
        block = block.replace('"/tmp/', f'"{tmp_path}/').replace("budget=20_000, seeds=10", "budget=500, seeds=2")
        exec(compile(block, str(path), "exec"), there)
    capsys.readouterr()


def test_commands_exist():
    """Subcommands and recipes that pages name are there."""
    from credit_envs.cli import commands

    known = set(re.findall(r'^        "(\w+)": \w+,', Path(commands.__file__).read_text(), re.MULTILINE))
    for path in PAGES:
        for command in re.findall(r"(?:^|`|/)credit-envs (\w+)", path.read_text(), re.MULTILINE):
            assert command in known, (path, command)


def test_every_piece_has_one_page(made):
    pages = dict(made["algorithms"].files(DOCS))
    index = pages.pop("algorithms/index.md")
    slots = {slot: pages.pop(f"algorithms/{slot}.md") for slot in SLOTS}
    for name, piece in PIECES.items():
        assert (
            f"| `{name}` | {piece.slot} |"
            in pages[f"algorithms/{made['algorithms'].slug(made['algorithms'].module_of(piece))}.md"]
        )
        assert sum(f"| `{name}` |" in page for page in pages.values()) == 1, name
        assert f"[{name}](" in index
        assert f"[{name}](" in slots[piece.slot]
    for name in PRESETS:
        assert f"| `{name}` |" in index
    for name in pages:
        assert sum(f"<{Path(name).stem}>" in page for page in slots.values()) == 1


def test_figures_on_pages_are_those_of_the_data(made):
    """A page's figures, charts and sentences are read off docs/data, not written."""
    page = "\n".join(made["algorithms"].worth([PIECES["anchor_graph_mix"]]))
    row = next(
        line
        for line in (DOCS / "data" / "algorithms.csv").read_text().splitlines()
        if "Lookup-v0,0.9,anchor_graph_mix" in line
    )
    value, low, high = (float(text) for text in row.split(",")[5:8])
    assert f"| Lookup | 90% | {value:.2f} [{low:.2f}, {high:.2f}]" in page
    assert f"Lookup, nine tenths of the way: {value:.2f}" in page
    found = made["figures"].figures()["anchor_graph_mix"]
    mean = np.exp(np.mean([np.log(max(one.worth["simulator"][0], 1e-3)) for one in found]))
    assert f"**{mean:.2f}**" in page
    assert made["algorithms"].worth([PIECES["exact"]])


def test_measured_figures_are_those_of_the_tables(made):
    page = "\n".join(made["algorithms"].measured([PIECES["gigpo"]]))
    figures = (DOCS / "foundation.md").read_text()
    rows = [line for line in page.splitlines() if "| gigpo |" in line]
    assert len(rows) == 15
    for row in rows:
        _, _, _, policy, simulator, *_ = (part.strip() for part in row.split("|"))
        assert f"| {policy} | gigpo | {simulator} |" in figures


def test_every_environment_has_a_page(made, tmp_path, monkeypatch):
    environments = made["environments"]
    for entry in registry.ENTRIES:
        assert f"`{entry.id}`" in environments.exact(entry)
        assert environments.about(entry)
        assert "**default**" in environments.reach(entry)
    monkeypatch.setattr(environments, "episode_picture", lambda _, path: path.write_bytes(b""))
    (tmp_path / "images").mkdir()
    page = environments.page(registry.entry("KeyRooms"), tmp_path)
    for title in ("Description", "Version History", "Exact values", "What knobs and dials reach", "Transcript"):
        assert f"## {title}\n" in page
    assert "goldens/keyrooms.txt" in page


def test_docstrings_become_markdown(made):
    markdown = made["autodoc"].markdown
    assert markdown("see :func:`~a.b` and ``x * y`` for π*(a) <b>") == r"see `a.b` and `x * y` for π\*(a) &lt;b>"
    assert markdown("    g* = <x>") == "    g* = <x>"
    assert markdown("**Critics.** One") == "**Critics.** One"


def test_api_pages_hold_every_public_name(made):
    """Whatever a room lists in ``__all__`` stands on its page, or on the page of the room that it comes from."""
    api = made["api"]
    pages = dict(api.files(DOCS))
    everything = "\n".join(pages.values())
    for name in api.ROOMS:
        assert f"api/{name}.md" in pages
        for public in getattr(importlib.import_module(f"credit_envs.{name}"), "__all__", ()):
            assert f"`{public} <" in everything or f"`{public}`" in everything, (name, public)
    folders = {path.parent.name for path in api.PACKAGE.glob("*/__init__.py")} - {"cli"}
    assert folders == set(api.ROOMS) & folders


def test_every_page_can_be_reached_from_the_index():
    """Each hand-written page is named in a list of pages, and the index links to it or to the list that holds it."""
    index = (DOCS / "index.md").read_text()
    linked = set(re.findall(r"\]\(([\w/-]+)\.md\)", index))
    for path in (*DOCS.glob("*.md"), *DOCS.glob("howto/*.md")):
        name = str(path.relative_to(DOCS).with_suffix(""))
        if name != "index" and "orphan: true" not in path.read_text():
            assert name in linked, name
