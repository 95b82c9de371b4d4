"""The credit viewer: one self-contained page on which groups of rollouts are stepped through, with the truth beside credit.

Environment, policy and estimator are chosen on the page. Everything on it is computed here; its script only shows it. Without
scripts the ledgers remain.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from credit_envs.arrays import AnyArray
from credit_envs.errors import CreditEnvsError
from credit_envs.faces import render
from credit_envs.report import viewer_parts as parts
from credit_envs.report.html import tag, text
from credit_envs.report.png import data_uri
from credit_envs.report.viewed import Searched, Viewed
from credit_envs.table.storage import write_atomically

MOST_BYTES = 5_000_000
"""Pages larger than this are not written."""

_DIGITS = 6
_EXACT = "exact advantage"


def write_viewer(shown: Viewed | Sequence[Viewed], path: str | Path, command: str = "") -> Path:
    """Writes the page of one group or of several.

    Args:
        shown: the groups; the one to start with first.
        path: file to write.
        command: the command that makes the page again.

    Raises:
        CreditEnvsError: if the page is larger than 5 MB, or the file cannot be written.
    """
    target, page = Path(path), viewer(shown, command).encode()
    if len(page) > MOST_BYTES:
        raise CreditEnvsError(
            f"the page is {len(page) / 1e6:.1f} MB, expected at most {MOST_BYTES / 1e6:.0f}: fewer environments, policies, "
            "algorithms or rollouts, or a shorter horizon"
        )
    write_atomically(target, page)
    return target


def viewer(shown: Viewed | Sequence[Viewed], command: str = "") -> str:
    """Returns the page of one group or of several as HTML that needs nothing else."""
    groups = [shown] if isinstance(shown, Viewed) else list(shown)
    here = files("credit_envs.report")
    names = list(dict.fromkeys(group.table.name for group in groups))
    title = f"Credit on {', '.join(names)}"
    style = (here / "style.css").read_text() + (here / "viewer.css").read_text()
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        + tag("title", text(title))
        + tag("style", style)
    )
    # A tag inside the data would end the script.
    data = json.dumps(content(groups), ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    summaries, tables = (
        "".join(
            tag("div", part(group), data_group=str(i), **({"hidden": ""} if i else {}))
            for i, group in enumerate(groups)
        )
        for part in (parts.summary, lambda group: parts.ledger(group) + parts.methods(group))
    )
    plain = "<noscript><style>[data-group] { display: block !important; }</style></noscript>"
    body = (
        tag("header", tag("h1", text(title)), summaries)
        + tag("main", parts.stage(), plain, tables, parts.keys(), parts.again(command))
        + f'<script type="application/json" id="data">{data}</script>'
        + "".join(tag("script", (here / name).read_text()) for name in ("viewer_trees.js", "viewer.js"))
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body class="viewer">{body}</body></html>\n'


def content(groups: Sequence[Viewed]) -> dict[str, Any]:
    """Returns everything that the page's script shows, as plain lists; pictures and texts stand once each for all groups."""
    pictures, texts = _Once(), _Once()
    found = [_group(group, _label(groups, group), pictures, texts) for group in groups]
    return {"pictures": pictures.kept, "texts": texts.kept, "groups": found}


def _label(groups: Sequence[Viewed], shown: Viewed) -> str:
    """A table's name, with its knobs where names don't tell tables apart."""
    same = {group.table.fingerprint for group in groups if group.table.name == shown.table.name}
    knobs = ", ".join(f"{key}={value}" for key, value in shown.table.knobs.items())
    return shown.table.name + (f" ({knobs})" if len(same) > 1 and knobs else "")


def _group(shown: Viewed, label: str, pictures: _Once, texts: _Once) -> dict[str, Any]:
    """Returns one group as plain lists, numbers rounded."""
    batch, truth, table = shown.sample.trajectories, shown.sample.truth, shown.table
    place = id(table)  # fingerprints leave out how states look
    state, code, final = (part.cpu().numpy() for part in (truth.state, truth.code, truth.final))
    reward, action, anchor = (part.cpu().numpy() for part in (batch.reward, batch.action, batch.anchor))
    segment, turn, node = (part.cpu().numpy() for part in (batch.segment, batch.turn, batch.node))
    chance = batch.log_prob.exp().cpu().numpy()
    pictured = "rgb" in table.views
    rollouts = []
    for i, n in enumerate(batch.lengths.tolist()):
        ends = [*zip(state[i, :n].tolist(), code[i, :n].tolist(), strict=True), (int(final[i]), int(code[i, n - 1]))]
        rollouts.append(
            {
                "picture": [
                    pictures((place, *where), lambda w=where: data_uri(render.picture(table, *w))) for where in ends
                ]
                if pictured
                else [],
                "text": [texts(words, lambda w=words: w) for words in (*shown.texts[i], _ended(shown, i))],
                "action": action[i, :n].tolist(),
                "reward": _rounded(reward[i, :n]),
                "chance": _rounded(chance[i, :n]),
                "value": _rounded(shown.value[i, :n]),
                "advantage": _rounded(shown.advantage[i, :n]),
                "luck": _rounded(shown.luck[i, :n]),
                "anchor": anchor[i, :n].tolist(),
                "segment": segment[i, :n].tolist(),
                "turn": turn[i, :n].tolist(),
                "node": node[i, :n].tolist(),
                "tree": int(batch.tree[i]),
                "actions": [actions.tolist() for actions, _ in shown.alternatives[i]],
                "worth": [_rounded(worth) for _, worth in shown.alternatives[i]],
                "credit": [_rounded(method.credit[i, :n]) for method in shown.methods],
            }
        )
    exact = shown.advantage[shown.mask]
    scale = float(np.sqrt((exact**2).mean())) or 1.0
    return {
        "environment": label,
        "policy": "uniform play" if shown.level == 0 else f"{shown.level:.0%} of the way to optimal play",
        "plan": shown.plan,
        "names": list(table.action_names),
        "discount": table.discount,
        "methods": [
            {"name": _EXACT, "scale": scale, "limit": _limit(exact)},
            *(
                {
                    "name": m.name,
                    "scale": m.scale,
                    "limit": _limit(m.credit[shown.mask]),
                    "searches": [_searched(one) for one in m.searches],
                }
                for m in shown.methods
            ),
        ],
        "rollouts": rollouts,
    }


def _searched(found: Searched) -> dict[str, Any]:
    parts = {name: value.tolist() for name, value in vars(found).items() if name not in ("rollout", "step", "q")}
    q = [None if value != value else value for value in _rounded(found.q)]
    return {"rollout": found.rollout, "step": found.step, **parts, "q": q}


def _ended(shown: Viewed, rollout: int) -> str:
    """Returns in words where a rollout ended."""
    batch, truth = shown.sample.trajectories, shown.sample.truth
    last = int(batch.lengths[rollout]) - 1
    table = shown.table
    if "text" in table.views or "ansi" in table.views:
        return render.words(table, int(truth.final[rollout]), int(truth.code[rollout, last]))
    return f"state {int(truth.final[rollout])}"


class _Once:
    """Keeps things that come more than once, and tells their place."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self._places: dict[Any, int] = {}

    def __call__(self, key: Any, make: Any) -> int:
        if key not in self._places:
            self._places[key] = len(self.kept)
            self.kept.append(make())
        return self._places[key]


def _limit(values: AnyArray) -> float:
    """Size of credit that is shown in full colour."""
    return float(np.quantile(np.abs(values), 0.98)) or float(np.abs(values).max()) or 1.0


def _rounded(values: AnyArray) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") + 0.0 for value in np.asarray(values, dtype=np.float64).tolist()]
