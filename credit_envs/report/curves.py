"""Pictures of learning: curves of a few agents, environment by environment, and a map of all agents' learning speed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from credit_envs.arrays import Floats
from credit_envs.report.plots import GRID, INK, SOFT, STYLE, pyplot
from credit_envs.training.results import Learning

COLOURS = ("#6b6a65", "#2a78d6", "#d95926", "#199e70", "#8f4fc4", "#c29a1f", "#c2315d", "#4a9aa8")
_COLUMNS = 4
_LOW, _HIGH = 0.0, 1.0


def curves(found: Sequence[Learning], agents: Sequence[str], path: Path) -> None:
    """Draws one panel per environment: the mean curve of each agent with its 95 % interval.

    Args:
        found: results.
        agents: whose curves, at most as many as there are colours.
        path: a PNG.
    """
    plt = pyplot("curves")
    from matplotlib.lines import Line2D

    places = list(dict.fromkeys(one.environment for one in found))
    columns = min(_COLUMNS, len(places))
    rows = -(-len(places) // columns)
    colour = dict(zip(agents, COLOURS, strict=False))
    style: dict[Any, Any] = {**STYLE, "figure.facecolor": "#fdfdfc"}
    with plt.rc_context(style):
        figure, axes = plt.subplots(rows, columns, figsize=(3.1 * columns, 2.3 * rows + 0.7), squeeze=False)
        for ax in axes.flat[len(places) :]:
            ax.set_axis_off()
        for ax, place in zip(axes.flat, places, strict=False):
            for one in (one for one in found if one.environment == place and one.agent in colour):
                low, high = _band(one.curves)
                ax.fill_between(one.grid, low, high, color=colour[one.agent], alpha=0.15, linewidth=0)
                ax.plot(one.grid, one.curves.mean(axis=0), color=colour[one.agent], linewidth=1.6, label=one.agent)
            budget = max(one.budget for one in found if one.environment == place)
            ax.set_title(place.removeprefix("credit/"), color=INK)
            ax.set_ylim(min(-0.05, max(ax.get_ylim()[0], -0.5)), 1.05)
            ax.set_xlim(0, budget)
            ax.set_xticks([0, budget], ["0", short(budget)])
            ax.grid(axis="y", color=GRID, linewidth=0.8)
            ax.tick_params(length=0)
        handles = [Line2D([], [], color=c, linewidth=2.2, label=agent) for agent, c in colour.items()]
        figure.legend(
            handles=handles, loc="lower center", ncols=min(len(handles), 4 if columns < 3 else 8), frameon=False
        )
        figure.supxlabel("environment steps per seed", color=SOFT, fontsize=9.5, y=0.42 / (2.3 * rows + 0.7))
        figure.supylabel("normalised return", color=SOFT, fontsize=9.5)
        figure.tight_layout(rect=(0, 0.5 / (2.3 * rows + 0.7), 1, 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)
        plt.close(figure)


def speeds(found: Sequence[Learning], agents: Sequence[str], path: Path) -> None:
    """Draws the map of learning speed: agents down, environments across, the mean over the budget in every cell.

    Args:
        found: results.
        agents: in the order in which they are shown.
        path: a PNG.
    """
    plt = pyplot("map")
    places = list(dict.fromkeys(one.environment for one in found))
    value = np.full((len(agents), len(places)), np.nan)
    for one in found:
        if one.agent in agents:
            value[agents.index(one.agent), places.index(one.environment)] = one.speed.mean()
    with plt.rc_context({**STYLE, "figure.facecolor": "#fdfdfc"}):
        figure, ax = plt.subplots(figsize=(2.0 + 0.72 * len(places), 1.5 + 0.27 * len(agents)))
        colours = plt.get_cmap("Blues").with_extremes(bad="#f2f1ec")
        ax.imshow(np.ma.masked_invalid(value), cmap=colours, vmin=_LOW, vmax=_HIGH, aspect="auto")
        for (i, k), x in np.ndenumerate(value):
            text, shade = ("–", SOFT) if np.isnan(x) else (f"{x:.2f}", "white" if x > 0.6 else INK)
            ax.text(k, i, text, ha="center", va="center", fontsize=8, color=shade)
        names = [place.removeprefix("credit/").removesuffix("-v0") for place in places]
        ax.set_xticks(range(len(places)), names, rotation=40, ha="left", fontsize=9)
        ax.set_yticks(range(len(agents)), agents, fontsize=9)
        ax.xaxis.tick_top()
        ax.tick_params(length=0)
        for side in ax.spines.values():
            side.set_visible(False)
        ax.grid(visible=False)
        figure.tight_layout()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)
        plt.close(figure)


def short(steps: float) -> str:
    """Returns a number of steps in a few characters."""
    return f"{steps / 1e6:.3g} M" if steps >= 999_500 else f"{steps / 1e3:.3g} k" if steps >= 1000 else f"{steps:.0f}"


def _band(values: Floats, seed: int = 0, resamples: int = 500) -> tuple[Floats, Floats]:
    """Pointwise 95 % interval of the mean curve, ``[P]`` each."""
    rng = np.random.default_rng(seed)
    drawn = values[rng.integers(0, len(values), (resamples, len(values)))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return np.asarray(low), np.asarray(high)
