"""Pictures and words of states, for the faces' ``render``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from credit_envs.arrays import AnyArray
from credit_envs.errors import CreditEnvsError, need
from credit_envs.table.mdp import TabularMDP

MODES = ("rgb_array", "ansi", "human")

_DIGITS = (0o75557, 0o26227, 0o71747, 0o71717, 0o55711, 0o74717, 0o74757, 0o71111, 0o75757, 0o75717)
"""Digits as five rows of three bits."""


def check_mode(render_mode: str | None) -> None:
    """Raises unless the render mode is None or known.

    Raises:
        CreditEnvsError: if it is unknown.
        MissingExtraError: if ``human`` is asked for and pygame is missing.
    """
    if render_mode is not None and render_mode not in MODES:
        raise CreditEnvsError(f"render_mode={render_mode!r}: expected None or one of {', '.join(MODES)}")
    if render_mode == "human":
        need("pygame", "all")


def words(table: TabularMDP, state: int, code: int = 0) -> str:
    """Returns a state under an emission code in words: view ``ansi`` if the table has one, else ``text``."""
    return str(_shown(table, "ansi" if "ansi" in table.views else "text", state, code))


def picture(table: TabularMDP, state: int, code: int = 0) -> AnyArray:
    """Returns a picture uint8 ``[height, width, 3]``: view ``rgb`` if the table has one, else the state's number."""
    if "rgb" in table.views:
        return np.array(_shown(table, "rgb", state, code), dtype=np.uint8)
    return number(state, len(str(table.n_states - 1)))


def _shown(table: TabularMDP, name: str, state: int, code: int) -> Any:
    """Returns the row of a view, with the layers that the view draws itself."""
    view, layers = table.view(name), [layer.name for layer in table.emission.layers]
    states = np.array([state])
    if view.with_layers is None or not set(view.own_layers) <= set(layers):
        return view.rows(states)[0]
    digits = table.emission.digits[[code]][:, [layers.index(own) for own in view.own_layers]]
    return view.with_layers(states, digits)[0]


def number(value: int, places: int, scale: int = 8) -> AnyArray:
    """Draws a number with leading zeros, dark on light: uint8 ``[7·scale, (4·places + 1)·scale, 3]``."""
    dark = np.zeros((7, 4 * places + 1), dtype=bool)
    for i, digit in enumerate(f"{value:0{places}d}"):
        bits = np.array([_DIGITS[int(digit)] >> k & 1 for k in range(14, -1, -1)], dtype=bool)
        dark[1:6, 4 * i + 1 : 4 * i + 4] = bits.reshape(5, 3)
    shade = np.where(dark, 40, 230).astype(np.uint8).repeat(scale, axis=0).repeat(scale, axis=1)
    return np.repeat(shade[:, :, None], 3, axis=2)


class Window:
    """A pygame window that shows pictures.

    Args:
        title: what stands in the window's frame.
        fps: pictures per second at most.
    """

    def __init__(self, title: str, fps: int) -> None:
        self._pygame: Any = need("pygame", "all")
        self._title, self._fps, self._surface = title, fps, None
        self._clock: Any = self._pygame.time.Clock()

    def show(self, frame: AnyArray) -> None:
        """Shows a picture uint8 ``[height, width, 3]``."""
        pygame = self._pygame
        size: Sequence[int] = (frame.shape[1], frame.shape[0])
        if self._surface is None:
            pygame.display.init()
            pygame.display.set_caption(self._title)
            self._surface = pygame.display.set_mode(size)
        pygame.surfarray.blit_array(self._surface, frame.swapaxes(0, 1))
        pygame.event.pump()
        pygame.display.flip()
        self._clock.tick(self._fps)

    def close(self) -> None:
        """Closes the window."""
        if self._surface is not None:
            self._pygame.display.quit()
            self._surface = None
