"""The principle in one picture: where the grain of the causal unit is best, where it is not, and what it keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from credit_envs.experiments.maps import KIND
from credit_envs.experiments.principle_tables import FAMILIES
from credit_envs.report.plots import INK, SOFT, STYLE, pyplot

_WORDS = (
    ("k", "#2a78d6", "the unit's grain is best"),
    ("open", "#e3e2db", "open"),
    ("not k", "#d95926", "another is better"),
)
_LEFT_OUT = "Monte-Carlo values, best K"


def glance(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draws a bar per estimator (down), task and causal structure (across): the shares of slices with each verdict.

    Args:
        rows: of :func:`~credit_envs.experiments.principle_tables.structures`.
        path: gets the picture.
    """
    plt = pyplot("glance")
    places = list(dict.fromkeys((row["task"], row["structure"]) for row in rows))
    families = [title for *_, title in FAMILIES if title != _LEFT_OUT and any(row["family"] == title for row in rows)]
    known = {(row["family"], row["task"], row["structure"]): row for row in rows}
    with plt.rc_context({**STYLE, "figure.facecolor": "white"}):
        size = (1.75 * len(places) + 3.6, 0.62 * len(families) + 1.9)
        figure, axes = plt.subplots(figsize=size, layout="constrained")
        for x, (task, structure) in enumerate(places):
            for y, family in enumerate(families):
                row, left = known.get((family, task, structure)), float(x)
                if row is None:
                    continue
                for word, colour, _ in _WORDS:
                    width = 0.92 * row[f"share {word}"]
                    axes.barh(y, width, left=left, height=0.55, color=colour)
                    left += width
                kept = f"keeps {row['keeps unit']:.0%}"
                axes.text(x + 0.46, y - 0.3, kept, ha="center", va="bottom", fontsize=7.5, color=SOFT)
            kind = (
                KIND[structure]
                .replace(" of the unit", "")
                .replace(" steps", "\nsteps")
                .replace(" decides", "\ndecides")
            )
            axes.text(x + 0.46, -0.75, f"{task}\n{kind}", ha="center", va="bottom", fontsize=8.5, color=INK)
        axes.set_yticks(range(len(families)), families)
        axes.set_ylim(len(families) - 0.55, -1.75)
        axes.set_xlim(-0.05, len(places))
        axes.set_xticks([])
        axes.tick_params(length=0)
        for side in axes.spines.values():
            side.set_visible(False)
        handles = [plt.Rectangle((0, 0), 1, 1, color=colour, label=label) for _, colour, label in _WORDS]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
        title = "Is a signal best at the grain of the causal unit? Bars: shares of slices.  Keeps: of the best grain's worth"
        figure.suptitle(title, fontsize=10, color=INK)
        figure.savefig(path, dpi=130)
        plt.close(figure)
    return path
