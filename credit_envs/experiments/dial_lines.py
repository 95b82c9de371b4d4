"""Picture of the dials: worth of estimators as one dial turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from credit_envs.report.plots import GRID, SOFT, STYLE, pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_SHOWN = (
    ("revisit rate", "skin_rate", "share of rollouts in a skin of their own"),
    ("horizon", "expected_steps", "steps of a rollout"),
    ("perceptual dependence", "cue", "share of steps whose cue is in the picture only"),
    ("observation noise", "paraphrases", "wordings of one state"),
    ("aliasing", "aliasing", "share of looks that two states share"),
    ("stochasticity", "slip", "probability of a slip"),
    ("group size", "group_size", "rollouts per group"),
    ("K", "", "continuations per state, K"),
)
"""Dials in their order: name, column that holds its setting (none: it is in the estimator's name), label of the axis."""

_LOG = ("expected_steps", "group_size", "paraphrases", "")
_COLOURS = (
    *("#2a78d6", "#d95926", "#199e70", "#8c2f5a", "#b8860b", "#5b5bd6", "#1b1b1a", "#c2558f", "#6b8e23"),
    *("#8a8a85", "#a0522d"),
)
_HIDDEN = {"dr_grpo", "exact", "unit"}
_SINGLE = "vineppo(k=4)"


def dial_lines(rows: Sequence[Mapping[str, Any]], path: Path, price: str = "simulator") -> Path:
    """Draws worth along every dial: a panel per dial and task, a line per estimator, all on one scale."""
    plt = pyplot("dials")
    shown = [row for row in rows if row["estimator"] not in _HIDDEN]
    panels = [
        (dial, task, [row for row in shown if (row["dial"], row["task"]) == (dial, task)])
        for dial, *_ in _SHOWN
        for task in dict.fromkeys(str(row["task"]) for row in rows if row["dial"] == dial)
    ]
    names = dict.fromkeys(str(row["estimator"]) for row in shown if row["dial"] != "K")
    colours = dict(zip(names, _COLOURS, strict=False))
    columns = 4
    lines = -(-len(panels) // columns)
    with plt.rc_context({**STYLE, "figure.facecolor": "white"}):
        size = (3.2 * columns, 2.5 * lines + 1.0)
        figure, grid = plt.subplots(lines, columns, figsize=size, layout="constrained", squeeze=False, sharey=True)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        for axes, (dial, task, own) in zip(grid.flat, panels, strict=False):
            _panel(axes, dial, task, own, colours, price)
        for axes in grid[:, 0]:
            axes.set_ylabel("worth, GRPO = 1", fontsize=8.5)
        handles = [plt.Line2D([], [], color=c, marker="o", markersize=4, label=n) for n, c in colours.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
        figure.suptitle(
            f"Worth in GRPO-equivalents along every dial, {price} prices, 95 % intervals over seeds", fontsize=10.5
        )
        figure.savefig(path, dpi=130)
        plt.close(figure)
    return path


def _panel(
    axes: Axes, dial: str, task: str, own: Sequence[Mapping[str, Any]], colours: Mapping[str, str], price: str
) -> None:
    axis, label = next((axis, label) for name, axis, label in _SHOWN if name == dial)
    for name, colour in colours.items():
        points = sorted(
            (_setting(row, axis), *(float(row[key]) for key in (price, f"{price} low", f"{price} high")))
            for row in own
            # Along K one line joins estimators that differ in it.
            if row["estimator"] == name or (not axis and name == _SINGLE and "k=" in str(row["estimator"]))
        )
        known = np.array([point for point in points if np.isfinite(point[1])]).reshape(-1, 4)
        if len(known):
            axes.plot(known[:, 0], known[:, 1], color=colour, marker="o", markersize=3.5, linewidth=1.2)
            axes.vlines(known[:, 0], known[:, 2], known[:, 3], color=colour, alpha=0.6)
    axes.axhline(1, color=SOFT, linewidth=0.8)
    axes.set_yscale("log")
    axes.set_ylim(0.001, 100)
    axes.set_yticks([0.01, 0.1, 1, 10, 100], ["0.01", "0.1", "1", "10", "100"])
    ticks = sorted({_setting(row, axis) for row in own})
    if axis in _LOG:
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"{x:.0f}" for x in ticks])
    axes.minorticks_off()
    axes.tick_params(length=0, labelsize=8)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_title(f"{dial}, {task}", fontsize=9.5, loc="center")
    axes.set_xlabel(label, fontsize=8.5)


def _setting(row: Mapping[str, Any], axis: str) -> float:
    return float(row[axis]) if axis else float(str(row["estimator"]).partition("k=")[2].rstrip(")"))
