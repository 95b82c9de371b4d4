"""What the notebooks draw: the worth of every move on a map, bars along a rollout, and means with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import stats

from credit_envs.arrays import AnyArray
from credit_envs.errors import CreditEnvsError, need
from credit_envs.faces import render
from credit_envs.report.plots import BAND, COLOURS, GRID, INK, SOFT, STYLE
from credit_envs.table.mdp import TabularMDP

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREEN = COLOURS.values()
_MOVES = {"up": (0.0, -1.0), "down": (0.0, 1.0), "left": (-1.0, 0.0), "right": (1.0, 0.0)}


def start_drawing() -> Any:
    """Returns matplotlib's pyplot, set to the house's style.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    pyplot: Any = need("matplotlib.pyplot", "eval")
    grid = {"axes.grid": True, "grid.color": GRID, "axes.axisbelow": True, "legend.frameon": False}
    pyplot.rcParams.update({**STYLE, **grid, "figure.facecolor": "white", "figure.dpi": 110})
    return pyplot


def draw_moves(axes: Axes, table: TabularMDP, state: int, worth: AnyArray, limit: float | None = None) -> Any:
    """Draws what every move is worth on a map, at one stage of the game; returns what a colour bar needs.

    Each cell has a triangle per direction and a square for ``use``.

    Args:
        axes: where to draw.
        table: a KeyRooms table.
        state: a state of the stage to draw; its picture is the ground.
        worth: float ``[S, A]``, NaN is left blank.
        limit: size of the darkest colour (default: the largest size on the map).

    Raises:
        CreditEnvsError: if the table has no map.
    """
    from matplotlib.collections import PolyCollection

    if not {"x", "y", "progress", "lamps"} <= set(table.labels):
        raise CreditEnvsError(
            f"table={table.name!r}: expected a KeyRooms table, which has labels x, y, progress and lamps"
        )
    picture = render.picture(table, state)
    tile = picture.shape[0] / (table.view("grid").space.shape or (1,))[0]
    axes.imshow(picture, interpolation="nearest")
    axes.set_axis_off()
    labels = table.labels
    here = (labels["progress"] == labels["progress"][state]) & (labels["lamps"] == labels["lamps"][state])
    shapes, values = [], []
    for s in np.flatnonzero(here & (table.n_admissible > 0)):
        centre = (np.array([labels["x"][s], labels["y"][s]]) + 0.5) * tile
        for a, name in enumerate(table.action_names):
            if np.isfinite(worth[s, a]):
                shapes.append(centre + _shape(name) * tile)
                values.append(worth[s, a])
    largest = float(np.abs(values).max(initial=0)) or 1.0
    size = largest if limit is None else limit
    drawn = PolyCollection(
        shapes, array=np.array(values), cmap="RdBu", clim=(-size, size), edgecolor=SOFT, linewidth=0.4
    )
    drawn.set_alpha(0.92)
    return axes.add_collection(drawn)


def _shape(name: str) -> AnyArray:
    """Corners of a move's sign, in tiles from the middle of a cell."""
    if name not in _MOVES:
        return np.array([(-0.13, -0.13), (0.13, -0.13), (0.13, 0.13), (-0.13, 0.13)])
    ahead = np.array(_MOVES[name])
    aside = ahead[::-1]
    return np.array([ahead * 0.46, ahead * 0.2 + aside * 0.2, ahead * 0.2 - aside * 0.2])


def draw_credit(axes: Axes, credit: AnyArray, title: str = "") -> None:
    """Draws one rollout's credit, float ``[T]``, as bars along its steps: blue above zero, orange below."""
    values = np.asarray(credit)
    axes.bar(np.arange(values.size), values, 0.85, color=np.where(values < 0, ORANGE, BLUE))
    axes.axhline(0, color=SOFT, linewidth=0.6)
    axes.set_title(title)
    axes.set_xlabel("step")
    axes.tick_params(length=0)
    axes.grid(visible=False, axis="x")


class Mean(NamedTuple):
    """A mean over replicates with its 95 % interval."""

    value: AnyArray
    low: AnyArray
    high: AnyArray


def mean_interval(samples: AnyArray) -> Mean:
    """Returns the mean over the first axis (replicates) and Student's 95 % interval.

    Raises:
        CreditEnvsError: for fewer than two replicates.
    """
    values = np.asarray(samples, dtype=np.float64)
    n = len(values)
    if n < 2:
        raise CreditEnvsError(f"samples: {n} replicates, expected at least 2")
    mean = values.mean(axis=0)
    half = stats.t.ppf(0.975, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)
    return Mean(mean, mean - half, mean + half)


def draw_line(axes: Axes, x: AnyArray, samples: AnyArray, colour: str, label: str) -> None:
    """Draws means over replicates, samples float ``[n, len(x)]``, with their 95 % intervals as a band."""
    mean = mean_interval(samples)
    axes.plot(x, mean.value, "o-", color=colour, label=label, markersize=4)
    axes.fill_between(x, mean.low, mean.high, color=colour, alpha=0.18, linewidth=0)


__all__ = [
    "BAND",
    "BLUE",
    "GREEN",
    "INK",
    "ORANGE",
    "SOFT",
    "Mean",
    "draw_credit",
    "draw_line",
    "draw_moves",
    "mean_interval",
    "start_drawing",
]
