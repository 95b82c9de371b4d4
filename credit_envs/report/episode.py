"""One episode of optimal play, step by step with its exact credit, and a picture of it.

The picture shows, over the steps, the exact advantage of what was done under uniform play, with the segments (subgoals) as
bands. Tables with pictures also show the moments that mattered most, and what every action was worth there.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from credit_envs.arrays import AnyArray, Floats, Ints
from credit_envs.errors import CreditEnvsError
from credit_envs.faces import render
from credit_envs.faces.single import TabularEnv
from credit_envs.oracle import evaluate, optimal, uniform
from credit_envs.report.plots import BAND, COLOURS, GRID, INK, SOFT, STYLE, pyplot
from credit_envs.table.mdp import TabularMDP

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UP, _DOWN = list(COLOURS.values())[:2]
_MOMENTS = 4
_MOST_NAMES = 36
_LONGEST_NAME = 30
_NEGLIGIBLE = 1e-9


@dataclass(frozen=True)
class Step:
    """One step of an episode.

    Attributes:
        t: its number.
        state: state in which it was taken.
        code: emission code under which the state was seen.
        text: what was seen, in words.
        names: what the admissible actions were called, in their order.
        advantages: exact advantage of each of them under uniform play, float64 ``[n]``.
        chosen: position of the one that was taken.
        reward: what was paid.
    """

    t: int
    state: int
    code: int
    text: str
    names: tuple[str, ...]
    advantages: Floats
    chosen: int
    reward: float

    @property
    def name(self) -> str:
        """What was done."""
        return self.names[self.chosen]

    @property
    def credit(self) -> float:
        """Exact advantage of what was done."""
        return float(self.advantages[self.chosen])


@dataclass(frozen=True)
class Episode:
    """An episode of optimal play.

    Attributes:
        table: what was played.
        steps: its steps.
        end: what was seen at the end, in words.
        expected: exact return of optimal play.
        length: expected steps of the optimal play that ends soonest.
        uniform: exact return of uniform play.
    """

    table: TabularMDP
    steps: tuple[Step, ...]
    end: str
    expected: float
    length: float
    uniform: float

    @cached_property
    def total(self) -> float:
        """The return."""
        return float(sum(self.table.discount**step.t * step.reward for step in self.steps))

    @cached_property
    def credit(self) -> Floats:
        """Exact advantage of each step, float64 ``[T]``."""
        return np.array([step.credit for step in self.steps])


def optimal_episode(table: TabularMDP, seed: int = 0) -> Episode:
    """Plays optimally once, the way that ends soonest.

    Args:
        table: the table.
        seed: seed of the luck.
    """
    best, even, env = optimal(table), evaluate(table, uniform(table)), TabularEnv(table, "text")
    text, over, steps = str(env.reset(seed=seed)[0]), False, list[Step]()
    while not over:
        t, state, code = env.t, env.state, env.code
        actions = table.edge_action[table.edge_start[state] : table.edge_start[state + 1]]
        edges = table.executed_edges(np.full(actions.size, state), actions, np.full(actions.size, code))
        advantages = even.advantage_at(np.full(actions.size, t), np.full(actions.size, state), edges)
        chosen = int(np.flatnonzero(edges == best.greedy(t)[state])[0])
        names = tuple(table.action_names[a] for a in actions.tolist())
        seen, reward, over, _, _ = env.step(int(actions[chosen]))
        steps.append(Step(t, state, code, text, names, np.asarray(advantages), chosen, float(reward)))
        text = str(seen)
    return Episode(table, tuple(steps), text, best.J, best.length, even.J)


def episode_picture(episode: Episode, path: Path) -> None:
    """Writes an episode with its credit drawn on it as PNG.

    Raises:
        CreditEnvsError: if the path cannot be written.
        MissingExtraError: if matplotlib is not installed.
    """
    table = episode.table
    title = f"{table.name}: the credit of optimal play"
    under = (
        f"return {episode.total:.4g} in {len(episode.steps)} steps; uniform play earns {episode.uniform:.3g}. "
        "Bars: exact advantage of each step under uniform play."
    )
    plt = pyplot("episode")
    with plt.rc_context(STYLE):
        figure = (_with_moments if _changes(episode) else _with_words)(plt, episode)
        figure.text(0.012, 1 - 0.1 / figure.get_figheight(), title, color=INK, fontsize=13, fontweight="bold", va="top")
        figure.text(0.012, 1 - 0.36 / figure.get_figheight(), under, color=SOFT, fontsize=9, va="top")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=150, facecolor="white")
        except OSError as error:
            raise CreditEnvsError(f"credit={str(path)!r}: cannot be written ({error})") from error
        finally:
            plt.close(figure)


def cropped(picture: AnyArray) -> AnyArray:
    """Returns a picture uint8 ``[h, w, 3]`` without the black around it that makes some imported pictures square."""
    rows, columns = (np.flatnonzero(picture.any(axis=axes)) for axes in ((1, 2), (0, 2)))
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if rows.size else picture


def _with_moments(plt: Any, episode: Episode) -> Any:
    """Frames above, each with what every action was worth there; all steps below."""
    steps, table = episode.steps, episode.table
    shown = _moments(episode)
    frames = [cropped(render.picture(table, steps[i].state, steps[i].code)) for i in shown]
    # A row of wide pictures would be small: they stand in two.
    columns = len(shown) if frames[0].shape[1] <= 1.3 * frames[0].shape[0] else min(2, len(shown))
    rows = -(-len(shown) // columns)
    width = 10.0
    tall = width / columns * 0.92 * frames[0].shape[0] / frames[0].shape[1]
    tall = min(tall, 3.2)
    bars = 0.2 * max(len(steps[i].names) for i in shown) + 0.25
    heights = [height for _ in range(rows) for height in (tall, bars)] + [1.9]
    figure = plt.figure(figsize=(width, sum(heights) + 0.7 + 0.25 * rows), layout="constrained")
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - 0.62 / figure.get_figheight()))
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    limit = max(float(np.abs(steps[i].advantages).max()) for i in shown) or 1.0
    for place, (i, frame) in enumerate(zip(shown, frames, strict=True)):
        row, column = divmod(place, columns)
        axes = figure.add_subplot(grid[2 * row, column])
        axes.imshow(frame, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(f"step {steps[i].t}: {steps[i].name}", fontsize=9.5, color=INK)
        _alternatives(figure.add_subplot(grid[2 * row + 1, column]), steps[i], limit)
    axes = figure.add_subplot(grid[-1, :])
    _bands(axes.axvspan, episode)
    t = np.arange(len(steps))
    axes.bar(t, episode.credit, 0.8, color=np.where(episode.credit < 0, _DOWN, _UP))
    axes.axhline(0, color=SOFT, linewidth=0.6)
    axes.set_xlim(-0.6, len(steps) - 0.4)
    if len(steps) <= _MOST_NAMES:
        turn = {"rotation": 60, "ha": "right", "rotation_mode": "anchor"} if max(len(s.name) for s in steps) > 2 else {}
        axes.set_xticks(t, [_cut(step.name) for step in steps], **turn)
    axes.tick_params(axis="x", length=0, labelsize=8)
    axes.tick_params(axis="y", labelsize=8)
    axes.spines["bottom"].set_visible(False)
    return figure


def _with_words(plt: Any, episode: Episode) -> Any:
    """The transcript as a list of commands from top to bottom, each with its bar; long ones show what mattered most.

    A picture that stays the same for the whole episode stands beside it.
    """
    steps, table = episode.steps, episode.table
    frame = render.picture(table, steps[0].state, steps[0].code) if "rgb" in table.views else None
    shown = np.arange(len(steps))
    if len(steps) > _MOST_NAMES:
        shown = np.sort(np.argsort(-np.abs(episode.credit), kind="stable")[:_MOST_NAMES])
    opening = textwrap.wrap("  ".join(line for line in steps[0].text.splitlines() if line[:1] != "["), 105)[:3]
    size = (9.0, 1.0 + 0.2 * len(opening) + 0.27 * len(shown))
    if frame is None:
        figure, axes = plt.subplots(figsize=size, layout="constrained")
    else:
        figure, (beside, axes) = plt.subplots(
            1, 2, figsize=(12.0, max(size[1], 4.5)), width_ratios=(1, 1.6), layout="constrained"
        )
        beside.imshow(frame, interpolation="nearest")
        beside.set_axis_off()
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - 0.62 / figure.get_figheight()))
    axes.set_title("\n".join(opening), fontsize=9, color=INK, fontweight="normal", style="italic", loc="left")
    _bands(axes.axhspan, episode, shown)
    credit, y = episode.credit[shown], np.arange(len(shown))
    axes.barh(y, credit, 0.62, color=np.where(credit < 0, _DOWN, _UP))
    axes.axvline(0, color=SOFT, linewidth=0.6)
    axes.set_yticks(y, [f"{steps[i].t}:  {_cut(steps[i].name, 46)}" for i in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    top = float(np.abs(credit).max()) or 1.0
    for i, value in zip(y.tolist(), credit.tolist(), strict=True):
        if abs(value) > _NEGLIGIBLE:
            axes.text(max(value, 0) + 0.012 * top, i, f"{value:+.3g}", va="center", fontsize=8, color=SOFT)
    axes.set_xlim(min(0.0, float(credit.min())) - 0.02 * top, 1.12 * max(float(credit.max()), 0.1 * top))
    axes.tick_params(axis="both", length=0, labelsize=8.5)
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure


def _alternatives(axes: Axes, step: Step, limit: float) -> None:
    """What each action was worth at a step; the one that was taken stands in bold."""
    y = np.arange(len(step.names))
    colours = [_DOWN if a < 0 else _UP for a in step.advantages]
    axes.barh(y, step.advantages, 0.66, color=colours, alpha=0.9)
    axes.set_yticks(y, [_cut(name) for name in step.names])
    axes.set_ylim(len(y) - 0.4, -0.6)
    axes.set_xlim(-1.3 * limit, 1.3 * limit)
    axes.axvline(0, color=SOFT, linewidth=0.6)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", length=0, labelsize=8)
    axes.get_yticklabels()[step.chosen].set_fontweight("bold")
    for i, a in enumerate(step.advantages.tolist()):
        text = f"{a:+.3g}" if abs(a) > _NEGLIGIBLE else "0"
        side = "right" if a < 0 else "left"
        axes.text(a + (-0.04 if a < 0 else 0.04) * limit, i, text, va="center", ha=side, fontsize=7.5, color=SOFT)


def _changes(episode: Episode) -> bool:
    """Whether the table has pictures and they differ between the moments that are shown."""
    if "rgb" not in episode.table.views:
        return False
    steps = episode.steps[:: max(1, len(episode.steps) // 8)]
    first, *others = (render.picture(episode.table, step.state, step.code) for step in steps)
    return any(not np.array_equal(first, other) for other in others)


def _moments(episode: Episode) -> list[int]:
    """Steps that mattered most: first one of each segment, then others, as many as are shown."""
    size, number = np.abs(episode.credit), _segments(episode)
    best = [int(i[np.argmax(size[i])]) for i in (np.flatnonzero(number == n) for n in range(number[-1] + 1))]
    others = [i for i in range(size.size) if i not in best]
    ranked = [i for part in (best, others) for i in sorted(part, key=lambda i: -size[i])]
    return sorted(ranked[:_MOMENTS])


def _segments(episode: Episode) -> Ints:
    """Numbers the segments that an episode passes, int64 ``[T]``; without labels there is one."""
    states = [step.state for step in episode.steps]
    segment = episode.table.labels.get("segment", np.zeros(episode.table.n_states, dtype=np.int64))[states]
    return np.cumsum(np.append(0, segment[1:] != segment[:-1]))


def _bands(span: Any, episode: Episode, shown: Ints | None = None) -> None:
    """Shades every other segment."""
    number = _segments(episode)
    number = number if shown is None else number[shown]
    for i in np.flatnonzero(number % 2 == 0).tolist():
        span(i - 0.5, i + 0.5, color=BAND, linewidth=0, zorder=0)


def _cut(name: str, longest: int = _LONGEST_NAME) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
