"""Observers: turn observation ids into what an agent sees, layers included.

Text shows a skin as an opening line, a paraphrase as another wording of the lead-in, and a cue as a line that names the
shift of the action names or, where the sign is hidden, only a guess. Planes get one more row of cells: cell l holds the
value of layer l as the image shows it. A view may draw layers itself (``View.with_layers``).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import gymnasium
import numpy as np

from credit_envs.arrays import AnyArray
from credit_envs.errors import CreditEnvsError
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.view import Rows

_MOODS = ("grey", "golden", "rainy", "windy", "misty", "frosty", "starry", "sultry", "quiet", "hazy", "mild", "stormy")
_LEADS = ("", "You look around. ", "Here is what you see. ", "You take stock. ", "Before you: ", "At this point: ")


class Observer:
    """Shows observation ids of a table in one view.

    Args:
        table: the table whose observation ids are shown.
        view: ``state`` (the id itself), ``text``, another view of the table, ``both`` (a dict of text and grid), or
            ``both_NAME`` (a dict of text and the view NAME, or grid_NAME; ``both_noise`` has the keys of ``both``).

    Attributes:
        space: Gymnasium space of one observation.

    Raises:
        CreditEnvsError: if the view is unknown, or cannot show the table's layers.
    """

    def __init__(self, table: TabularMDP, view: str) -> None:
        self.table, self.view = table, view
        self._parts: dict[str, Observer] = {}
        base, states = table.emission.base, np.arange(table.n_states)
        self._state_of_base = states if np.array_equal(base, states) else np.unique(base, return_index=True)[1]
        if view == "state":
            self.space: gymnasium.Space[Any] = gymnasium.spaces.Discrete(table.n_obs)
        elif view.partition("_")[0] == "both":
            name = view.partition("_")[2]
            picture = name if name in table.views else f"grid_{name}" if name else "grid"
            self._parts = {"text": Observer(table, "text"), picture.partition("_")[0]: Observer(table, picture)}
            self.space = gymnasium.spaces.Dict({name: part.space for name, part in self._parts.items()})
        else:
            self._view = table.view(view)
            names = [layer.name for layer in table.emission.layers]
            drawn = self._view.with_layers is not None and set(self._view.own_layers) <= set(names)
            self._own = [names.index(name) for name in self._view.own_layers] if drawn else []
            self._others = [i for i in range(len(names)) if i not in self._own]
            self.space = self._layered_space()

    def rows(self, obs: AnyArray) -> Rows:
        """Returns the rows of observation ids int64 ``[n]``: array ``[n, ...]``, list of strings, or dict of those."""
        obs = np.asarray(obs, dtype=np.int64)
        if self.view == "state":
            return obs
        if self._parts:
            return {name: part.rows(obs) for name, part in self._parts.items()}
        base, code = np.divmod(obs, self.table.emission.n_codes)
        states = self._state_of_base[base]
        if self._own and self._view.with_layers is not None:
            rows = self._view.with_layers(states, self.table.emission.digits[code][:, self._own])
        else:
            rows = self._view.rows(states)
        if not self._others:
            return rows
        if isinstance(rows, np.ndarray):
            return self._framed(rows, code)
        return [
            before + row + after for row, (before, after) in zip(rows, map(self._words, code.tolist()), strict=True)
        ]

    def _layered_space(self) -> gymnasium.Space[Any]:
        space = self._view.space
        if not self._others or isinstance(space, gymnasium.spaces.Text):
            return space
        if isinstance(space, gymnasium.spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3:
            height, width, channels = space.shape
            if channels >= 2 and width >= len(self._others):
                return gymnasium.spaces.Box(0, 255, (height + 1, width, channels), np.uint8)
        layers = ", ".join(self.table.emission.layers[i].name for i in self._others)
        raise CreditEnvsError(
            f"observation={self.view!r}: this view cannot show {layers}; use 'state', 'text' or 'grid'"
        )

    def _framed(self, rows: AnyArray, code: AnyArray) -> AnyArray:
        """Adds a row of cells below the planes; the value of a digit takes two channels, low byte first."""
        emission = self.table.emission
        out = np.zeros((len(rows), rows.shape[1] + 1, *rows.shape[2:]), dtype=np.uint8)
        out[:, :-1] = rows
        for column, i in enumerate(self._others):
            layer, digit = emission.layers[i], emission.digits[code, i]
            shown = np.asarray(layer.shift)[digit] if np.any(layer.shift) else digit
            out[:, -1, column, 0], out[:, -1, column, 1] = shown & 255, shown >> 8
        return out

    @lru_cache(maxsize=4096)  # noqa: B019 (an observer lives as long as its environment)
    def _words(self, code: int) -> tuple[str, str]:
        """Words before and after a state's text; only what the text shows without the image."""
        emission = self.table.emission
        before, after = "", ""
        digits = emission.digits[emission.blind[code]].tolist()
        for layer, digit in ((emission.layers[i], digits[i]) for i in self._others):
            if layer.name == "skin" and digit:
                lap, mood = divmod(digit - 1, len(_MOODS))
                before = f"It is a {_MOODS[mood]} day{f' ({lap + 1})' if lap else ''}. " + before
            elif layer.name == "paraphrase":
                lap, lead = divmod(digit, len(_LEADS))
                before += _LEADS[lead] + ("Indeed, " * lap)
            elif layer.name == "cue":
                turn, hint = divmod(digit, self.table.n_actions + 1)
                after += (
                    f" The dial is set to {turn}."
                    if hint == 0
                    else f" The dial is hidden; perhaps it is set to {hint - 1}."
                )
        return before, after
