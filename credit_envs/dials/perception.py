"""The ``cue`` dial: how much the picture is worth (perceptual dependence δ).

At every step the admissible actions' names are shifted cyclically by a random number. A picture shows the shift; the
text names it too, except with probability δ, when it offers only a hint.
"""

from __future__ import annotations

import numpy as np

from credit_envs.dials.observation import add_layer
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.table.emission import Layer
from credit_envs.table.mdp import TabularMDP

_CELLS = 1 << 26


def cue(table: TabularMDP, hidden: float, guess: float | None = None) -> TabularMDP:
    """Shifts the action names at every step by a number that the text hides with some probability.

    In a state with n admissible actions the shift is uniform on 0 … n − 1. Where it is hidden, the text's hint is right
    with probability ``max(guess, 1 / n)`` and otherwise uniform among the wrong ones. The digit of the layer is
    ``shift * (A + 1) + (0 if shown else 1 + hint)``.

    Args:
        table: the table.
        hidden: δ in [0, 1].
        guess: p in [1/max n, 1]; by default the hint tells nothing.

    Raises:
        CreditEnvsError: if an argument is out of range, the table has very many actions, or already has a cue.
    """
    check_range("cue", hidden, 0, 1)
    top = int(table.n_admissible.max())
    if guess is not None and not (abs(guess * top - 1) < 1e-12):
        check_range("guess", guess, 1 / top, 1)
    width = table.n_actions + 1
    if width * width * top > _CELLS:
        raise CreditEnvsError(f"cue: {table.n_actions} action names, {top} of them at once, are too many for a cue")
    probability = np.zeros((width, top, width))
    for n in range(width):
        if not 1 <= n <= top:
            probability[n, 0, 0] = 1
            continue
        right = 1.0 if n == 1 else max(guess or 0, 1 / n)
        hints = np.full((n, n), (1 - right) / max(n - 1, 1))
        np.fill_diagonal(hints, right)
        probability[n, :n, 0] = (1 - hidden) / n
        probability[n, :n, 1 : n + 1] = hidden * hints / n
    digit = np.arange(top * width)
    layer = Layer(
        "cue",
        per_episode=False,
        probability=probability.reshape(width, -1),
        state_class="admissible",
        shift=digit // width,
        blind=np.where(digit % width == 0, digit, digit % width),
        shows_in_anchor=False,
    )
    return add_layer(table, layer)
