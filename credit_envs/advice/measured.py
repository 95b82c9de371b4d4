"""What was measured before: situations, and what each method was worth in them.

``measured.json`` is made of the tables that ``credit-envs report --docs`` writes (docs/data/algorithms*.csv) by
``credit-envs advise --learn docs``; it travels in the wheel.
"""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from math import isnan, log
from pathlib import Path
from typing import Any

from credit_envs import registry
from credit_envs.advice.situation import Situation, situation
from credit_envs.errors import CreditEnvsError
from credit_envs.report.reading import PRICES
from credit_envs.table.storage import write_atomically

CANDIDATES: tuple[str, ...] = (
    *("grpo", "dr_grpo", "reinforce_pp", "reinforce_pp_baseline", "loop", "loop_by_turn"),
    *("gigpo", "gigpo_similarity", "hgpo", "anchor_graph", "anchor_graph_time", "anchor_graph_mix"),
    *("actor_critic", "ppo_learned", "prm_baseline_anchor", "prm_advantage_anchor", "istar_soft", "agent_prm_reward"),
    *("tree_grpo", "tree_gigpo", "vineppo_k1", "vineppo", "mcts_prm_policy", "mcts_prm_095"),
    *("dapo", "starpo_s", "ragen2_top_p"),
)
"""Methods among which advice chooses: what a real system can run on any environment, one or two forms of each idea."""

LEAST = 1e-3
"""What counts for worth nothing."""

FILE = Path(__file__).with_name("measured.json")


@dataclass(frozen=True)
class Worth:
    """GRPO-equivalents with their 95 % interval; NaN bounds where they are not defined."""

    value: float
    low: float
    high: float

    @property
    def log(self) -> float:
        """Natural logarithm of the value, worth nothing as :data:`LEAST`."""
        return log(min(max(self.value, LEAST), 1 / LEAST)) if not isnan(self.value) else log(LEAST)


@dataclass(frozen=True)
class Cell:
    """One environment under one policy.

    Attributes:
        environment: id.
        skill: the policy, as share of the way from uniform to optimal play.
        situation: what was measured of it.
        worth: by price list, what each candidate was worth.
    """

    environment: str
    skill: float
    situation: Situation
    worth: Mapping[str, Mapping[str, Worth]]

    @property
    def family(self) -> str:
        """Id without knobs: cells of one family are never told apart by what was learnt from each other."""
        return self.environment.partition("?")[0]


@functools.cache
def cells() -> tuple[Cell, ...]:
    """Returns everything that was measured."""
    out = []
    for entry in json.loads(FILE.read_text()):
        worth = {
            price: {name: Worth(*map(_undefined, values)) for name, values in found.items()}
            for price, found in entry["worth"].items()
        }
        known = {name: _undefined(value) for name, value in entry["situation"].items()}
        out.append(Cell(entry["environment"], entry["skill"], Situation(**known), worth))
    return tuple(out)


def _undefined(value: Any) -> Any:
    """What JSON has no word for."""
    return float("nan") if value is None else value


def learn(docs: Path, tell: Callable[[str], None]) -> Path:
    """Writes ``measured.json`` again from docs/data/algorithms*.csv: measures every situation in them (minutes).

    Args:
        docs: folder of the documentation.
        tell: told about every situation.

    Raises:
        CreditEnvsError: if there are no such tables.
    """
    paths = sorted((docs / "data").glob("algorithms*.csv"))
    if not paths:
        raise CreditEnvsError(f"learn={str(docs)!r}: expected a folder with data/algorithms.csv")
    found: dict[tuple[str, float], dict[str, dict[str, list[float | None]]]] = {}
    for path in paths:
        with path.open() as lines:
            for row in csv.DictReader(lines):
                if row["algorithm"] in CANDIDATES:
                    place = (row["environment"], 0.0 if row["policy"] == "uniform" else float(row["policy"]))
                    _note(found.setdefault(place, {price: {} for price in PRICES}), row)
    entries = []
    for environment, skill in sorted(found):
        tell(f"{environment} at {skill:g}")
        here = {key: _plain(value) for key, value in asdict(situation(registry.make_table(environment), skill)).items()}
        entries.append(
            {"environment": environment, "skill": skill, "situation": here, "worth": found[environment, skill]}
        )
    write_atomically(
        FILE, (json.dumps(entries, separators=(",", ":")).replace('{"environment"', '\n{"environment"') + "\n").encode()
    )
    return FILE


def _note(worth: dict[str, dict[str, list[float | None]]], row: Mapping[str, str]) -> None:
    for price in PRICES:
        key = price.replace(" ", "_")
        ends = (row[key], row[f"{key}_low"], row[f"{key}_high"])
        worth[price][row["algorithm"]] = [float(text) if text else None for text in ends]


def _plain(value: Any) -> Any:
    """Numbers to six digits, NaN as None."""
    if not isinstance(value, float):
        return value
    return None if isnan(value) else float(f"{value:.6g}")
