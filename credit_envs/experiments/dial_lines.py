"""Picture of the dials: worth of estimators as one dial turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from credit_envs.report.plots import GRID, SOFT, STYLE, pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def dial_lines(rows: Sequence[Mapping[str, Any]], path: Path, price: str = "simulator") -> Path:
    """Draws worth along every dial: a panel per dial and task, a line per estimator."""
    plt = pyplot("dials")
    panels: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        panels.setdefault((str(row["dial"]), str(row["task"])), []).append(row)
    hidden = {"dr_grpo", "exact", *(str(row["estimator"]) for row in rows if row["dial"] == "K")} - {"vineppo(k=4)"}
    names = list(dict.fromkeys(str(row["estimator"]) for row in rows if row["estimator"] not in hidden))
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
    columns = 4
    lines = -(-len(panels) // columns)
    with plt.rc_context({**STYLE, "figure.facecolor": "white"}):
        size = (3.0 * columns, 2.3 * lines + 1.0)
        figure, grid = plt.subplots(lines, columns, figsize=size, layout="constrained", squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        for axes, ((dial, task), own) in zip(grid.flat, panels.items(), strict=False):
            _dial_panel(axes, dial, task, own, colours)
        handles = [plt.Line2D([], [], color=c, marker="o", markersize=4, label=n) for n, c in colours.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False, fontsize=8.5)
        figure.suptitle(f"Worth in GRPO-equivalents along every dial, {price} prices, 95 % intervals", fontsize=10.5)
        figure.savefig(path, dpi=130)
        plt.close(figure)
    return path


_COLOURS = (
    *("#2a78d6", "#d95926", "#199e70", "#8c2f5a", "#b8860b", "#5b5bd6", "#1b1b1a", "#c2558f", "#6b8e23"),
    *("#00868b", "#a0522d"),
)


def _dial_panel(
    axes: Axes,
    dial: str,
    task: str,
    own: Sequence[Mapping[str, Any]],
    colours: Mapping[str, str],
    price: str = "simulator",
) -> None:
    known = {"task", "dial", "level", "estimator"}
    axis = next((key for key in own[0] if key not in known and key in _AXES), None)
    for name, colour in colours.items():
        # Along K one line joins estimators that differ in it.
        mine = [
            row
            for row in own
            if row["estimator"] == name or (axis is None and name == "vineppo(k=4)" and "k=" in str(row["estimator"]))
        ]
        if axis is None:
            points = [(float(str(row["estimator"]).partition("k=")[2].rstrip(")")), row) for row in mine]
        else:
            points = [(float(row[axis]), row) for row in mine]
        points = sorted(((x, row) for x, row in points if np.isfinite(row[price])), key=lambda point: point[0])
        if not points:
            continue
        x = [p[0] for p in points]
        axes.plot(x, [p[1][price] for p in points], color=colour, marker="o", markersize=3.5, linewidth=1.2)
        axes.vlines(
            x, [p[1][f"{price} low"] for p in points], [p[1][f"{price} high"] for p in points], color=colour, alpha=0.6
        )
    axes.axhline(1, color=SOFT, linewidth=0.8)
    axes.set_yscale("log")
    axes.set_ylim(0.003, 30)
    axes.set_yticks([0.01, 0.1, 1, 10], ["0.01", "0.1", "1", "10"])
    if axis in ("horizon", "group_size", "paraphrases") or axis is None:
        axes.set_xscale("log", base=2)
        ticks = sorted({float(row[axis]) for row in own}) if axis else [1, 2, 4, 8, 16]
        axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
    axes.minorticks_off()
    axes.tick_params(length=0)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_title(f"{dial}, {task}", fontsize=9.5, loc="center")


_AXES = ("skin_rate", "horizon", "cue", "paraphrases", "slip", "group_size")
