"""The page of environments: what is committed is what is measured, and nothing is left out."""

import re
from pathlib import Path

import pytest

from credit_envs import registry
from credit_envs.cli import main
from credit_envs.dials import DIALS
from credit_envs.families import FAMILIES, Knob
from credit_envs.report import environments

PAGE = Path(__file__).parents[1] / "docs" / "environments.md"


def rows(text):
    """Cells of the table rows, by what is turned; without bold and italics."""
    lines = [line[2:-2].split(" | ") for line in text.splitlines() if line[:2] == "| "]
    plain = [[re.sub(r"^(\*+)(.*)\1$", r"\2", cell.strip()) for cell in cells] for cells in lines]
    return {cells[0]: cells for cells in plain}


def section(name):
    return environments.section(registry.entry(f"credit/{name}-v0"))


@pytest.mark.parametrize("name", ["Pivots", "Chat"])
def test_the_committed_page_is_what_is_measured(name):
    """`credit-envs list --docs docs` writes the page anew."""
    assert section(name) in PAGE.read_text(encoding="utf-8")


def test_hand_derived_numbers_stand_in_the_page():
    """Pivots under uniform play: a^-n, and 1/a where each pivot pays; a cue that hides all leaves 1/a per step."""
    found = rows(section("Pivots"))
    head = found["turned"]
    uniform, best = head.index("J uniform"), head.index("J*")
    assert found["default"][uniform] == f"{3**-4:.3g}"
    assert found["actions"][uniform] == f"{2**-4:.3g} … {26**-4:.3g}"
    assert found["credit"][uniform] == f"{3**-4:.3g} · {1 / 3:.3g}"
    assert found["slip"][best] == f"1 … {3**-4:.3g}"
    assert found["cue"][-1] == f"gap 0 … {1 - 3**-4:.3g}"


@pytest.mark.parametrize("name", FAMILIES)
def test_every_knob_and_dial_has_a_row_or_a_reason(name):
    text = PAGE.read_text(encoding="utf-8").split(f"\n## {name}\n")[1].split("\n## ")[0]
    turned, refused = rows(text), set(re.findall(r"^- `(\w+)", text, flags=re.M))
    for key in (*FAMILIES[name].knobs, *DIALS):
        assert key in turned or key in refused, key


def test_every_environment_stands_in_the_overview():
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"| `{entry.id}` |" in text for entry in registry.ENTRIES)


def test_settings_go_half_of_the_way_back_until_they_can_be_measured(monkeypatch):
    monkeypatch.setattr(environments, "MOST_VALUES", 30_000)
    row = environments._knob_row(FAMILIES["Pivots"], "length", Knob(4, 1, 200))
    assert row.settings == (1, 28)
    assert [measured["horizon"] for measured in row.measured] == [4, 112]
    assert row.refused == ("`length=200`: 1,601 states × 800 steps, not measured here",)
    row = environments._knob_row(FAMILIES["KeyRooms"], "distractors", FAMILIES["KeyRooms"].knobs["distractors"])
    assert row.settings == (0,)
    assert any("expected an integer in [0, 6]" in sentence for sentence in row.refused)


def test_the_command_writes_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(registry, "ENTRIES", (registry.entry("credit/Chat-v0"),))
    assert main(["list", "--docs", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"page: {tmp_path / 'environments.md'}\n"
    text = (tmp_path / "environments.md").read_text(encoding="utf-8")
    assert text.startswith("# Environments")
    assert section("Chat") in text
