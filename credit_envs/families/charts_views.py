"""How Charts states are shown: words, planes, characters, pictures, their corrupted forms, and the key visual facts."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import repeat

import gymnasium
import numpy as np
from numpy.typing import NDArray

from credit_envs.arrays import AnyArray, Ints
from credit_envs.families import tiles
from credit_envs.families.charts_pictures import COLUMNS, ROWS, picture
from credit_envs.families.charts_question import HAS, WORDS, Question
from credit_envs.families.charts_states import States
from credit_envs.families.gallery_corrupt import KINDS, corrupt
from credit_envs.table.draws import mix_words
from credit_envs.table.view import View, text_space

_RGB = gymnasium.spaces.Box(0, 255, (ROWS, COLUMNS, 3), np.uint8)
_TEXT = text_space()
_ANSI = tiles.ansi_space(2048)
_KEPT = 64


def views(states: States, chart: Ints, corruption: float) -> dict[str, View]:
    """Returns the views of an instance, by name.

    Args:
        states: its states.
        chart: int64 ``[S]``, the chart of each state.
        corruption: strength of patches and noise.
    """
    question = states.question
    planes = _planes(question)
    sketches, words, facts = _sketches(question), _writer(states), _facts(question)

    @lru_cache(maxsize=_KEPT)
    def drawn(number: int) -> NDArray[np.uint8]:
        return picture(question, number)

    def symbols(numbers: AnyArray) -> NDArray[np.uint8]:
        return planes[numbers]

    def pictures(numbers: AnyArray) -> NDArray[np.uint8]:
        out = np.empty((numbers.size, ROWS, COLUMNS, 3), dtype=np.uint8)
        for i, number in enumerate(numbers.tolist()):
            out[i] = drawn(number)
        return out

    def corrupted(draw: Callable[[AnyArray], NDArray[np.uint8]], kind: str) -> Callable[[AnyArray], NDArray[np.uint8]]:
        strength = 1.0 if kind == "blank" else corruption

        def spoilt(numbers: AnyArray) -> NDArray[np.uint8]:
            seeds = (mix_words(mix_words(0, question.seed), numbers) >> np.uint64(1)).astype(np.int64)
            return corrupt(draw(numbers), kind, strength, seeds)

        return spoilt

    def image(space: gymnasium.Space[NDArray[np.uint8]], draw: Callable[[AnyArray], NDArray[np.uint8]]) -> View:
        return View(space, lambda rows: draw(chart[np.asarray(rows, dtype=np.int64)]))

    grid = gymnasium.spaces.Box(0, 255, planes.shape[1:], np.uint8)
    out = {
        "text": View(_TEXT, lambda rows: [words(int(s)) for s in rows]),
        "ansi": View(_ANSI, lambda rows: [f"{sketches[chart[s]]}\n{words(int(s))}" for s in rows]),
        "facts": View(_TEXT, lambda rows: [facts[chart[s]] for s in rows]),
        "grid": image(grid, symbols),
        "rgb": image(_RGB, pictures),
    }
    for kind in KINDS:
        out[f"grid_{kind}"] = image(grid, corrupted(symbols, kind))
        out[f"rgb_{kind}"] = image(_RGB, corrupted(pictures, kind))
    return out


def _planes(question: Question) -> NDArray[np.uint8]:
    """Returns the planes of all charts, uint8 ``[C, h + 1, n, 3]``; a number stands where the lowest part of its bar would."""
    h, n, charts = question.values, len(question.names), len(question.heights)
    out = np.zeros((charts, h + 1, n, 3), dtype=np.uint8)
    level = np.arange(h, -1, -1)
    drawn = (level[:, None] > 0) & (level[:, None] <= question.heights[:, None, :])
    out[..., 0] = drawn & ~question.lettered
    out[:, -1, :, 1] = 1 + question.order[:n]
    out[:, -2, :, 1] = np.where(question.lettered, 1 + question.order[n + question.heights], 0)
    out[..., 2] = level[:, None]
    return out


def _sketches(question: Question) -> list[str]:
    """Returns the charts in characters."""
    cell = 2 + max(map(len, question.names))
    names = "    " + "".join(name.center(cell) for name in question.names)

    def column(heights: list[int], level: int) -> list[str]:
        bars = zip(heights, question.lettered.tolist(), strict=True)
        return [str(n) * (level == 1) if number else "##" * (n >= level) for n, number in bars]

    out = []
    for heights in question.heights.tolist():
        rows = [
            f"{level:>2} |" + "".join(map(str.center, column(heights, level), repeat(cell)))
            for level in range(question.values, 0, -1)
        ]
        lines = [f"    {question.title}", *rows, "   +" + "-" * (cell * len(heights)), names]
        out.append("\n".join(line.rstrip() for line in lines))
    return out


def _facts(question: Question) -> list[str]:
    """Returns the key visual facts of all charts, one per line: what the question needs and only the picture shows."""
    keys = [bar for bar in question.asked.tolist() if not question.printed[bar]]
    say = f"{{}} {WORDS[HAS]} {{}}".format
    return ["\n".join(say(question.names[bar], row[bar]) for bar in keys) for row in question.heights.tolist()]


def _writer(states: States) -> Callable[[int], str]:
    """Returns the function from states to texts; what it tells depends on the chart only where the text prints it."""
    question, prefixes, ends, charts = states.question, states.prefixes, states.ends, states.charts
    tokens, order = question.tokens, question.order.tolist()
    last = ", ".join(f"{name} {value}" for name, value in zip(question.names, question.last.tolist(), strict=True))
    head = f"{question.title}: see the chart. {question.sentence()}\nLast year: {last}."
    printed = np.flatnonzero(question.printed).tolist()
    # The tokens that may follow are those with which prefixes go on; these stand in the order of what they go on from.
    first = np.searchsorted(prefixes.parent, np.arange(prefixes.parent.size + 1)).tolist()

    @lru_cache(maxsize=1 << 16)
    def written(prefix: int) -> str:
        parent, token = int(prefixes.parent[prefix]), int(prefixes.token[prefix])
        return "" if token < 0 else f"{written(parent)}{tokens[token]} "

    def text(state: int) -> str:
        over = state - states.playing
        chart = int(ends.chart[over]) if over >= 0 else state % charts
        lines = [head]
        if printed:
            said = ", ".join(f"{question.names[bar]} {question.heights[chart, bar]}" for bar in printed)
            lines.append(f"Known of this year: {said}.")
        if over >= 0:
            right = [question.names[bar] for j, bar in enumerate(question.asked.tolist()) if ends.stated[over] >> j & 1]
            verdict = "right" if ends.paid[over] else "wrong"
            lines.append(f"Stated right: {', '.join(right) or 'nothing'}. The solution is {verdict}.")
        else:
            prefix = state // charts
            onward = (
                prefixes.token[first[prefix] : first[prefix + 1]] if prefix < prefixes.complete else question.options
            )
            choice = " ".join(f"[{order[token]}] {tokens[token]}" for token in onward.tolist())
            lines += [f"Written: {written(prefix)}_", f"Tokens: {choice}"]
        return "\n".join(lines)

    return text
