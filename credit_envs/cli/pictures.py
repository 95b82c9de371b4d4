"""Pictures in a terminal: two pixels per character, as upper half blocks in 24-bit colours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from credit_envs.arrays import AnyArray
from credit_envs.errors import CreditEnvsError, need
from credit_envs.faces import render
from credit_envs.table.mdp import TabularMDP

if TYPE_CHECKING:
    from rich.text import Text


def blocks(picture: AnyArray, columns: int, lines: int) -> Text:
    """Returns a picture in characters, no larger than asked for and in its proportions.

    Args:
        picture: uint8 ``[height, width, 3]``.
        columns: characters per line at most.
        lines: lines at most.
    """
    from rich.style import Style
    from rich.text import Text

    height, width = picture.shape[:2]
    scale = min(1.0, columns / width, 2 * lines / height)
    small = shrunk(picture, max(2, 2 * int(height * scale / 2)), max(1, int(width * scale)))
    text = Text(no_wrap=True, end="")
    for i, (upper, lower) in enumerate(zip(small[::2].tolist(), small[1::2].tolist(), strict=True)):
        text.append("\n" if i else "")
        for above, below in zip(upper, lower, strict=True):
            colours = (f"#{r:02x}{g:02x}{b:02x}" for r, g, b in (above, below))
            text.append("▀", Style.parse(" on ".join(colours)))
    return text


def shrunk(picture: AnyArray, height: int, width: int) -> AnyArray:
    """Returns a picture with fewer pixels, each the mean of those it stands for: uint8 ``[height, width, 3]``."""
    sums = picture.astype(np.float64)
    for axis, (old, new) in enumerate(zip(picture.shape, (height, width), strict=False)):
        bounds = np.arange(new) * old // new
        counts = np.diff(np.append(bounds, old)).reshape([-1 if a == axis else 1 for a in range(3)])
        sums = np.add.reduceat(sums, bounds, axis=axis) / counts
    return np.rint(sums).astype(np.uint8)


def write_picture(table: TabularMDP, path: Path) -> None:
    """Writes the picture of the first start state as PNG.

    Raises:
        CreditEnvsError: if the table has no picture or the path cannot be written.
        MissingExtraError: if matplotlib is not installed.
    """
    if "rgb" not in table.views:
        raise CreditEnvsError(f"picture={str(path)!r}: {table.name} has no picture, only words")
    image = need("matplotlib.image", "eval")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.imsave(path, render.picture(table, int(table.start_state[0])))
    except OSError as error:
        raise CreditEnvsError(f"picture={str(path)!r}: cannot be written ({error})") from error
