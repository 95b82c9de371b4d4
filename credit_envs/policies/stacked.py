"""Layers of several learners at once: weights lead with the learners' axis, and each learner draws its own from its seed.

Learner k's initial weights come from seed + k alone, so that learners trained together are those trained one at a time,
to rounding. Weights are drawn on the CPU, so they are equal on every device.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

Luck = Sequence[torch.Generator]
"""One generator per learner."""


def luck(learners: int, seed: int) -> list[torch.Generator]:
    """Returns one generator per learner, seeded seed + k."""
    return [torch.Generator().manual_seed(seed + k) for k in range(learners)]


def drawn(generators: Luck, shape: Sequence[int], deviation: float) -> nn.Parameter:
    """Draws normal weights, float32 ``[learners, *shape]``."""
    draws = [torch.randn(tuple(shape), generator=g, dtype=torch.float64) * deviation for g in generators]
    return nn.Parameter(torch.stack(draws).to(torch.float32))


def zeros(learners: int, *shape: int) -> nn.Parameter:
    """Returns zero weights, float32 ``[learners, *shape]``."""
    return nn.Parameter(torch.zeros(learners, *shape))


class Linear(nn.Module):
    """x → x W_k + b_k for every learner k.

    Args:
        generators: one per learner.
        inputs: width of x.
        outputs: width of the result.
        gain: standard deviation of the initial weights times √inputs (√2 keeps the scale through a ReLU).
    """

    def __init__(self, generators: Luck, inputs: int, outputs: int, gain: float = 2**0.5) -> None:
        super().__init__()
        self.weight = drawn(generators, (inputs, outputs), gain * max(inputs, 1) ** -0.5)
        self.bias = zeros(len(generators), outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[learners, M, inputs]``, or ``[M, inputs]`` that all learners read, to ``[learners, M, outputs]``."""
        if x.ndim == 2:
            x = x.expand(len(self.weight), *x.shape)
        return torch.baddbmm(self.bias[:, None], x, self.weight)


class Embedding(nn.Module):
    """Numbers → vectors for every learner.

    Args:
        generators: one per learner.
        count: how many numbers.
        width: of a vector.
        deviation: of the initial weights.
    """

    def __init__(self, generators: Luck, count: int, width: int, deviation: float = 1.0) -> None:
        super().__init__()
        self.weight = drawn(generators, (count, width), deviation)

    def forward(self, number: Tensor) -> Tensor:
        """Maps int64 ``[...]`` that all learners read to ``[learners, ..., width]``."""
        return self.weight[:, number]


class Convolution(nn.Module):
    """A 3 × 3 convolution for every learner.

    Args:
        generators: one per learner.
        inputs: channels of x.
        outputs: channels of the result.
        stride: 1 or 2.
        shared: whether all learners read the same x.
    """

    def __init__(self, generators: Luck, inputs: int, outputs: int, stride: int = 1, shared: bool = False) -> None:
        super().__init__()
        self.weight = drawn(generators, (outputs, inputs, 3, 3), (2 / (9 * inputs)) ** 0.5)
        self.bias = zeros(len(generators), outputs)
        self._stride, self._groups = stride, 1 if shared else len(generators)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[M, learners · inputs, h, w]`` (``[M, inputs, h, w]`` if shared) to ``[M, learners · outputs, h', w']``."""
        weight, bias = self.weight.flatten(0, 1), self.bias.flatten()
        return nn.functional.conv2d(x, weight, bias, self._stride, padding=1, groups=self._groups)


class Sorted:
    """Rows of different learners side by side, sorted into ``[learners, m]`` and back.

    Args:
        owner: int64 ``[n]``, the learner of each row.
        learners: how many there are.
    """

    def __init__(self, owner: Tensor, learners: int) -> None:
        self._learners, self._same = learners, learners == 1
        self._place = torch.arange(len(owner), device=owner.device)
        self._width = len(owner)
        if self._same:
            return
        order = torch.argsort(owner, stable=True)
        count = torch.bincount(owner, minlength=learners)
        first = count.cumsum(0) - count
        rank = torch.empty_like(order)
        rank[order] = self._place - first[owner[order]]
        self._width = int(count.max()) if len(owner) else 0
        self._place = owner * self._width + rank

    def apart(self, x: Tensor) -> Tensor:
        """Moves ``[n, ...]`` to ``[learners, m, ...]``, zeros where a learner has fewer rows."""
        if self._same:
            return x[None]
        out = x.new_zeros(self._learners * self._width, *x.shape[1:])
        return out.index_copy(0, self._place, x).view(self._learners, self._width, *x.shape[1:])

    def together(self, x: Tensor) -> Tensor:
        """Moves ``[learners, m, ...]`` back to ``[n, ...]``."""
        return x[0] if self._same else x.flatten(0, 1)[self._place]
