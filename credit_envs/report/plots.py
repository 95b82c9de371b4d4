"""Plots of results: one small panel per environment, drawn alike for pages (SVG) and for pictures (PNG)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from credit_envs.errors import CreditEnvsError, need
from credit_envs.evaluation import Interval, Results
from credit_envs.report.reading import (
    PRICES,
    Cell,
    by_environment,
    cells,
    is_reference,
    one_price,
    policies,
    same_as_unit,
    short,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, GRID, SURFACE, BAND = "#1b1b1a", "#6b6a65", "#e3e2db", "#fdfdfc", "#f2f1ec"
COLOURS: Mapping[str, str] = dict(zip(PRICES, ("#2a78d6", "#d95926", "#199e70"), strict=False))
SHAPES: Mapping[str, str] = dict(zip(PRICES, ("o", "s", "^"), strict=False))

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": SOFT,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.color": SOFT,
    "ytick.color": INK,
    "figure.facecolor": "none",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
}
_WORTH_LIMITS = (0.004, 700.0)
_SCORE_LIMITS = (0.05, 700.0)
_MANY = 25
"""Estimators above which only the best are named."""

_NAMED = 8
_LANES = 3.0


def worth_svg(here: Sequence[Cell], salt: str) -> str:
    """Draws the GRPO-equivalents of one environment as SVG: a row per estimator, a line per policy, a mark per price list.

    Args:
        here: the cells of the environment.
        salt: makes ids inside the SVG differ from those of other drawings on the page.
    """
    plt = pyplot(salt)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(4.6, 0.65 + 0.41 * len(shown(here))), layout="constrained")
        draw_worth(axes, here)
        return _svg(figure)


def cost_svg(here: Sequence[Cell], salt: str) -> str:
    """Draws score against cost of one environment as SVG; see :func:`draw_cost`."""
    plt = pyplot(salt)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(4.6, 3.3), layout="constrained")
        draw_cost(axes, here)
        return _svg(figure)


def picture(results: Results, path: str | Path) -> Path:
    """Draws the GRPO-equivalents of all environments into one picture on a light ground.

    Args:
        results: what to draw.
        path: file to write; its ending (``.png``, ``.svg``) chooses the format.

    Raises:
        CreditEnvsError: if there is nothing to draw, or the file cannot be written.
        MissingExtraError: if matplotlib is not installed.
    """
    plt = pyplot("picture")
    panels = list(by_environment(cells(results)).values())
    if not panels:
        raise CreditEnvsError(f"results={str(results.folder)!r}: no finished cells, nothing to draw")
    columns = min(3, len(panels))
    rows = -(-(len(panels) + 1) // columns)
    tallest = max(len(shown(here)) for here in panels)
    size = (4.4 * columns, rows * (0.8 + 0.36 * tallest))
    with plt.rc_context({**STYLE, "figure.facecolor": "white"}):
        figure, grid = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, here in zip(grid.flat, panels, strict=False):
            axes.set_axis_on()
            axes.set_title(short(here[0].environment), pad=10)
            draw_worth(axes, here)
        _legend(grid.flat[-1], [cell.policy_name for cell in panels[0]], results)
        try:
            figure.savefig(path, dpi=160)
        except (OSError, ValueError) as error:
            raise CreditEnvsError(f"path={str(path)!r}: cannot write the picture ({error})") from error
        finally:
            plt.close(figure)
    return Path(path)


def shown(here: Sequence[Cell]) -> list[str]:
    """Returns the estimators of a panel: those that are not the unit by another name."""
    names = dict.fromkeys(row.estimator for cell in here for row in cell.rows)
    return [name for name in names if not all((row := cell.row(name)) is None or same_as_unit(row) for cell in here)]


def draw_worth(axes: Axes, here: Sequence[Cell]) -> None:
    """Draws GRPO-equivalents with their intervals on a logarithmic scale."""
    names = shown(here)
    n = len(here)
    for i, name in enumerate(names):
        if is_reference(name):
            axes.axhspan(i - 0.5, i + 0.5, color=BAND, linewidth=0, zorder=0)
        for j, cell in enumerate(here):
            row = cell.row(name)
            if row is None:
                continue
            y, fill = i + (j - (n - 1) / 2) * 0.52 / max(n - 1, 1), fill_of(j, n)
            for price in PRICES[:1] if one_price(row) else PRICES:
                colour, shape = (INK, "o") if one_price(row) else (COLOURS[price], SHAPES[price])
                _dot(axes, row.equivalents[price], y, colour, "D" if is_reference(name) else shape, fill)
    axes.axvline(1, color=SOFT, linewidth=0.9, zorder=1)
    axes.set_xscale("log")
    axes.set_xlim(*_WORTH_LIMITS)
    axes.set_xticks([0.01, 0.1, 1, 10, 100], ["0.01", "0.1", "1", "10", "100"])
    axes.minorticks_off()
    axes.set_yticks(range(len(names)), [f"{name} (ceiling)" if name == "exact" else name for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(length=0)
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel("GRPO-equivalents (GRPO is 1, more is better)")


def draw_cost(axes: Axes, here: Sequence[Cell]) -> None:
    """Draws worth per trained step (score) against environment steps spent per sampled step (cost).

    Above the diagonal an estimator pays even where environment steps are what is scarce. Estimators that spend nothing
    beyond the sample stand side by side at 1×.
    """
    n, labels = len(here), []
    free = [
        name for name in shown(here) if all((row := cell.row(name)) is None or row.steps_ratio < 1.001 for cell in here)
    ]
    for name in shown(here):
        width = min(1.17, _LANES ** (1 / max(len(free) - 1, 1)))
        lane = width ** (free.index(name) - (len(free) - 1) / 2) if name in free else 1.0
        points = []
        for j, cell in enumerate(here):
            row = cell.row(name)
            if row is None or not isfinite(row.equivalents[PRICES[-1]].value):
                continue
            found, cost = row.equivalents[PRICES[-1]], row.steps_ratio * lane
            colour = SOFT if is_reference(name) else INK if name in free else COLOURS[PRICES[-1]]
            _bar(axes, found, cost, colour, "D" if is_reference(name) else "o", fill_of(j, n))
            points.append((cost, max(found.value, _SCORE_LIMITS[0])))
        if points:
            axes.plot(*zip(*points, strict=True), color=GRID, linewidth=1, zorder=0)
            labels.append((name, *points[len(points) // 2]))
    limits = (0.45, 3000.0)
    axes.plot(limits, limits, color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate("pays per sampled step ↖", (230, 330), ha="right", va="bottom", color=SOFT, fontsize=8.5)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(*limits)
    axes.set_ylim(*_SCORE_LIMITS)
    if len(labels) > _MANY:
        _label(axes, sorted(labels, key=lambda label: -label[2])[:_NAMED], 130.0)
    else:
        _label(axes, [label for label in labels if label[0] in free], 2.1)
        for name, x, y in labels:
            if name not in free:
                axes.annotate(name, (x, y), xytext=(8, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_xticks([1, 10, 100, 1000], ["1×", "10×", "100×", "1,000×"])
    axes.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    axes.minorticks_off()
    axes.tick_params(length=0)
    axes.tick_params(axis="y", colors=SOFT)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel("environment steps spent per sampled step")
    axes.set_ylabel("GRPO-eq. per trained step")


def _label(axes: Axes, labels: Sequence[tuple[str, float, float]], column: float, gap: float = 1.6) -> None:
    """Writes names in one column beside their marks, moved apart on the logarithmic axis, with leaders."""
    last = 0.0
    for name, x, y in sorted(labels, key=lambda label: label[2]):
        last = max(y, last * gap)
        axes.annotate(name, (column, last), va="center", fontsize=9)
        axes.plot([x, column * 0.95], [y, last], color=GRID, linewidth=0.9, zorder=0)


def _dot(axes: Axes, found: Interval, y: float, colour: str, shape: str, fill: float) -> None:
    low, high = _WORTH_LIMITS
    if not isfinite(found.value):
        return
    ends = [min(max(x, low), high) if isfinite(x) else nan for x in (found.low, found.high)]
    axes.plot(ends, [y, y], color=colour, linewidth=1.3, solid_capstyle="butt", zorder=2)
    # An arrow head stands for a value outside the scale.
    shape = "<" if found.value < low else ">" if found.value > high else shape
    _mark(axes, min(max(found.value, low), high), y, colour, shape, fill)


def _bar(axes: Axes, found: Interval, x: float, colour: str, shape: str, fill: float) -> None:
    low, high = _SCORE_LIMITS
    ends = [min(max(y, low), high) if isfinite(y) else nan for y in (found.low, found.high)]
    axes.plot([x, x], ends, color=colour, linewidth=1.1, zorder=2)
    shape = "v" if found.value < low else "^" if found.value > high else shape
    _mark(axes, x, min(max(found.value, low), high), colour, shape, fill)


def _mark(axes: Axes, x: float, y: float, colour: str, shape: str, fill: float) -> None:
    style: dict[str, Any] = {
        "marker": shape,
        "markersize": 5.2,
        "markeredgewidth": 1.1,
        "linestyle": "none",
        "clip_on": False,
    }
    axes.plot([x], [y], color=SURFACE, markeredgecolor=colour, zorder=3, **style)
    if fill:
        axes.plot([x], [y], color=colour, markeredgecolor="none", alpha=fill, zorder=4, **style)


def fill_of(index: int, count: int) -> float:
    """How full a policy's marks are: empty for the first rung, full for the last."""
    return index / (count - 1) if count > 1 else 1.0


def _legend(axes: Axes, rungs: Sequence[str], results: Results) -> None:
    from matplotlib.lines import Line2D

    def entry(label: str, colour: str, shape: str, fill: float = 1.0) -> Line2D:
        face = colour if fill == 1 else SURFACE if fill == 0 else _blend(colour, fill)
        return Line2D(
            [], [], marker=shape, color=colour, markerfacecolor=face, linewidth=1.3, markersize=6, label=label
        )

    handles = [
        entry("all prices alike", INK, "o"),
        *(entry(f"{price} prices", COLOURS[price], SHAPES[price]) for price in PRICES),
        *(entry(f"policy: {name}", INK, "o", fill_of(i, len(rungs))) for i, name in enumerate(rungs)),
        entry("exact advantage: the ceiling", INK, "D"),
    ]
    axes.legend(handles=handles, loc="center left", frameon=False, fontsize=9, labelspacing=0.7)
    seeds, budget = results.config.seeds, results.config.budget
    axes.text(
        0.02, 0.02, f"95 % intervals, n = {seeds} seeds,\nB = {budget:,} steps", transform=axes.transAxes, color=SOFT
    )


def _blend(colour: str, alpha: float) -> str:
    from matplotlib.colors import to_hex, to_rgb

    red, green, blue = (alpha * a + (1 - alpha) * b for a, b in zip(to_rgb(colour), to_rgb(SURFACE), strict=True))
    return to_hex((red, green, blue))


def pyplot(salt: str) -> Any:
    """Returns pyplot drawing to memory, with ids inside SVG files that depend on the salt only."""
    need("matplotlib", "eval").use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams["svg.hashsalt"] = salt
    return plt


def _svg(figure: Figure) -> str:
    from matplotlib import pyplot as plt

    out = StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    return out.getvalue()


def policy_names(found: Sequence[Cell]) -> list[str]:
    """Returns the policies of cells in words, in the order of the ladder."""
    named = {cell.policy: cell.policy_name for cell in found}
    return [named[policy] for policy in policies(found)]
