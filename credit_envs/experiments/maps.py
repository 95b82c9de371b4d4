"""Pictures of the surface: maps of grain against causal unit, and the best grain against the budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from credit_envs.arrays import Floats
from credit_envs.errors import CreditEnvsError
from credit_envs.experiments.surface import STRUCTURES, Slice
from credit_envs.report.plots import GRID, INK, SOFT, STYLE, pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KIND = {
    "first": "one step of the unit decides",
    "all": "all steps of the unit must agree",
    "parity": "parity of the unit",
}
ROWS = (
    ("mc", "rollouts", "Monte-Carlo values\nK = 1, more rollouts"),
    ("mc", "continuations", "Monte-Carlo values\n8 rollouts, K grows"),
    ("learned", "rollouts", "learned critic\nhalf the budget"),
    ("anchor", "rollouts", "anchor groups\n(GiGPO, γ = 1)"),
    ("tree", "rollouts", "trees that fork\nat boundaries"),
    ("value", "rollouts", "exact values\n(the limit of all)"),
)
"""Families and ways of spending, with what a reader sees; the best split of K is left out, it looks like K = 1."""

_SHOWN = (4, 64, 1024)
"""Budgets that are drawn, in groups of the unit."""

_SHADES = ("#f4f1e9", "#d9e3ee", "#9dbfe3", "#4d8fd1", "#174f8f")
_UNITS = ("#174f8f", "#2a78d6", "#199e70", "#d99026", "#d95926", "#8c2f5a")


def surface_map(
    found: Sequence[Slice], path: Path, task: str = "Pivots", structure: str = "first", price: str = "simulator"
) -> Path:
    """Draws, for every family (rows) and budget (columns), a map of grain (across) against causal unit (up).

    Shade: how much of the best grain's worth a grain keeps. Dot: the best grain. Square: the causal unit, where the principle
    says the dot should be; empty where it was not measured.
    """
    chosen = _chosen(found, task, structure, price)
    budgets = [m for m in _SHOWN if any(one.budget == m for one in chosen)]
    rows = [row for row in ROWS if any((one.family, one.spending) == row[:2] for one in chosen)]
    if not rows:
        raise CreditEnvsError(f"surface_map: nothing measured for {task}, {structure}, {price}")
    plt = pyplot("surface")
    with plt.rc_context({**STYLE, "figure.facecolor": "white"}):
        size = (2.5 * len(budgets) + 1.9, 1.42 * len(rows) + 1.25)
        figure, grid = plt.subplots(len(rows), len(budgets), figsize=size, layout="constrained", squeeze=False)
        shades = _shades()
        for i, (family, spending, title) in enumerate(rows):
            for j, m in enumerate(budgets):
                axes = grid[i][j]
                here = [one for one in chosen if (one.family, one.spending, one.budget) == (family, spending, m)]
                _map(axes, sorted(here, key=lambda one: one.unit), shades, labels=(i == len(rows) - 1, j == 0))
                if i == 0:
                    steps = max((one.steps for one in chosen if one.budget == m), default=0)
                    axes.set_title(f"B = {steps:,.0f} steps", loc="center", fontsize=9.5)
            grid[i][0].set_ylabel(f"{title}\n\nunit k", color=INK, fontsize=9)
        figure.supxlabel("grain g of the signal, in steps", fontsize=10, color=INK)
        figure.suptitle(
            f"{task}, {KIND[structure]}; {price} prices.  ● best grain   □ grain = causal unit   "
            "darker: closer to the best",
            fontsize=10.5,
            color=INK,
        )
        figure.savefig(path, dpi=130)
        plt.close(figure)
    return path


def _shades() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("kept", _SHADES)


def _chosen(found: Sequence[Slice], task: str, structure: str, price: str) -> list[Slice]:
    """Slices of a task and structure; at k = 1 all structures are the same task."""
    return [
        one
        for one in found
        if one.task == task and one.price == price and (one.structure == structure or one.unit == 1)
    ]


def _map(axes: Axes, here: Sequence[Slice], shades: Any, labels: tuple[bool, bool]) -> None:
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    if not here:
        axes.text(0.5, 0.5, "not run", transform=axes.transAxes, ha="center", va="center", color=SOFT)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    grains = here[0].grains
    kept = np.stack([_kept(one) for one in here])
    axes.imshow(np.ma.masked_invalid(kept), cmap=shades, vmin=0, vmax=1, origin="lower", aspect="auto")
    for y, one in enumerate(here):
        best = int(one.best[0])
        if best >= 0:
            dark = kept[y, best] > 0.55
            axes.plot([best], [y], marker="o", color="white" if dark else INK, markersize=5, linestyle="none")
        if one.predicted in grains:
            x = grains.index(one.predicted)
            dark = np.nan_to_num(kept[y, x]) > 0.55
            axes.plot(
                [x],
                [y],
                marker="s",
                markersize=11,
                markerfacecolor="none",
                markeredgecolor="white" if dark else INK,
                markeredgewidth=1.2,
                linestyle="none",
            )
    names = {"trajectory": "all", "segment": "segm."}
    axes.set_xticks(range(len(grains)), [names.get(str(g), str(g)) for g in grains] if labels[0] else [])
    axes.set_yticks(range(len(here)), [str(one.unit) for one in here] if labels[1] else [])


def _kept(one: Slice) -> Floats:
    worth = one.worth[0]
    best = np.nanmax(worth) if np.isfinite(worth).any() else np.nan
    return np.asarray(worth / best)


_MOVING = {("mc", "continuations"), ("learned", "rollouts"), ("anchor", "rollouts"), ("tree", "rollouts")}
"""Families whose best grain can depend on the budget."""


def optimum_lines(found: Sequence[Slice], path: Path, task: str = "Pivots", price: str = "simulator") -> Path:
    """Draws the best grain against the budget, one line per causal unit, a panel per family and causal structure.

    If the principle held, each line would lie flat on the dotted line of its colour (g = k). Bars span the best grain over 95 %
    of resampled seeds.
    """
    plt = pyplot("optimum")
    rows = [row for row in ROWS if row[:2] in _MOVING and any((one.family, one.spending) == row[:2] for one in found)]
    with plt.rc_context({**STYLE, "figure.facecolor": "white"}):
        size = (3.3 * len(STRUCTURES) + 1.0, 2.05 * len(rows) + 0.8)
        figure, grid = plt.subplots(
            len(rows), len(STRUCTURES), figsize=size, layout="constrained", squeeze=False, sharex=True, sharey=True
        )
        for i, (family, spending, title) in enumerate(rows):
            for j, structure in enumerate(STRUCTURES):
                axes = grid[i][j]
                here = [
                    one
                    for one in _chosen(found, task, structure, price)
                    if (one.family, one.spending) == (family, spending)
                ]
                _lines(axes, here)
                if i == 0:
                    axes.set_title(KIND[structure], loc="center", fontsize=9.5)
            grid[i][0].set_ylabel(f"{title}\nbest grain g", color=INK, fontsize=9)
        units = sorted({one.unit for one in found if one.task == task})
        handles = [
            plt.Line2D([], [], color=_UNITS[i % len(_UNITS)], marker="o", markersize=4, label=f"k = {k}")
            for i, k in enumerate(units)
        ]
        handles.append(plt.Line2D([], [], color=SOFT, linestyle=":", label="where g = k would be"))
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
        figure.suptitle(f"{task}, {price} prices: the best grain against the budget", fontsize=10.5, color=INK)
        with np.errstate(over="ignore"):  # matplotlib tries ticks beyond the axis
            figure.savefig(path, dpi=130)
        plt.close(figure)
    return path


def _lines(axes: Axes, here: Sequence[Slice]) -> None:
    units = sorted({one.unit for one in here})
    for i, k in enumerate(units):
        own = sorted((one for one in here if one.unit == k), key=lambda one: one.budget)
        points = []
        for one in own:
            if (one.best < 0).mean() > 0.05:
                continue
            size = np.array([float(g) if isinstance(g, int) else one.steps / one.budget / 8 for g in one.grains])
            drawn = size[one.best[1:]]
            points.append((one.steps, size[one.best[0]], *np.quantile(drawn, [0.025, 0.975])))
        if not points:
            continue
        colour, shift = _UNITS[i % len(_UNITS)], 1.035 ** (i - (len(units) - 1) / 2)
        x, y, low, high = (np.array(column) for column in zip(*points, strict=True))
        axes.axhline(k * shift, color=colour, linewidth=0.8, linestyle=":", zorder=1)
        axes.plot(x * shift, y * shift, color=colour, linewidth=1.4, marker="o", markersize=4, zorder=3)
        axes.vlines(x * shift, low * shift, high * shift, color=colour, linewidth=1.0, alpha=0.6, zorder=2)
    axes.set_xscale("log")
    axes.set_yscale("log", base=2)
    axes.set_yticks([1, 2, 4, 8, 16, 32], ["1", "2", "4", "8", "16", "32"])
    axes.set_ylim(0.8, 40)
    axes.set_xticks([1e3, 1e4, 1e5], ["1,000", "10,000", "100,000"])
    axes.minorticks_off()
    axes.tick_params(length=0)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_xlabel("budget B, environment steps", color=SOFT, fontsize=8.5)


def levels_bars(found: Sequence[Slice], path: Path, tasks: Sequence[str], price: str = "simulator") -> Path:
    """Draws GRPO-equivalents of token, turn, segment and trajectory grains, tasks down, budgets across, families as lines."""
    plt = pyplot("levels")
    budgets = _SHOWN
    lines = [row for row in ROWS if row[:2] not in (("value", "rollouts"),)]
    with plt.rc_context({**STYLE, "figure.facecolor": "white"}):
        size = (3.2 * len(budgets) + 2.2, 2.5 * len(tasks) + 0.6)
        figure, grid = plt.subplots(len(tasks), len(budgets), figsize=size, layout="constrained", squeeze=False)
        for i, task in enumerate(tasks):
            for j, m in enumerate(budgets):
                axes = grid[i][j]
                here = [one for one in found if (one.task, one.budget, one.price, one.unit) == (task, m, price, 1)]
                for n, (family, spending, title) in enumerate(lines):
                    _level_line(axes, here, family, spending, title, _UNITS[n % len(_UNITS)], n - len(lines) / 2)
                axes.axhline(1, color=SOFT, linewidth=0.9)
                axes.axvspan(0.6, 1.4, color="#f2f1ec", zorder=0)
                axes.set_yscale("log")
                axes.set_ylim(0.02, 6)
                axes.set_yticks([0.1, 1], ["0.1", "1"])
                axes.minorticks_off()
                axes.set_xticks(range(4), ["token", "turn", "segment", "all"])
                axes.tick_params(length=0)
                axes.grid(axis="y", color=GRID, linewidth=0.6)
                steps = max((one.steps for one in here), default=0)
                axes.set_title(f"{task}, B = {steps:,.0f}", fontsize=9.5, loc="center")
            grid[i][0].set_ylabel("GRPO-equivalents")
        handles, labels = grid[0][1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=8.5, labelspacing=1.0)
        figure.suptitle(
            f"Token tasks, {price} prices; band: the turn, where the principle puts the optimum", fontsize=10.5
        )
        figure.savefig(path, dpi=130)
        plt.close(figure)
    return path


def _level_line(
    axes: Axes, here: Sequence[Slice], family: str, spending: str, title: str, colour: str, lane: float
) -> None:
    own = next((one for one in here if (one.family, one.spending) == (family, spending)), None)
    if own is None or not np.isfinite(own.worth[0]).any():
        return
    x = np.arange(len(own.grains)) + 0.05 * lane
    low, high = np.full((2, len(x)), np.nan)
    some = np.isfinite(own.worth[1:]).any(axis=0)
    low[some], high[some] = np.nanquantile(own.worth[1:, some], [0.025, 0.975], axis=0)
    axes.plot(x, own.worth[0], color=colour, linewidth=1.3, marker="o", markersize=4, label=title)
    axes.vlines(x, low, high, color=colour, linewidth=1.0, alpha=0.7)
