"""Encoders: what an observation id shows, as a vector, for several learners at once.

    pictures   one-hot planes → convolutions (or flat) → linear      words   learnt vectors of runs of words, added up
    numbers    sum of learnt vectors                                 both    side by side, then fused by the trunk

Every distinct picture or text of a call is encoded once, however many observations show it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.policies.features import Part, default_view, features
from credit_envs.policies.stacked import Convolution, Embedding, Linear, Luck
from credit_envs.sampling.statistics import distinct
from credit_envs.table.mdp import TabularMDP

IMAGES = ("flat", "conv")
_CHANNELS = 16
_LARGEST_SIDE = 14


class Reader(nn.Module):
    """Encodes one part of a view.

    Args:
        part: the part, see :func:`~credit_envs.policies.features.features`.
        generators: one per learner.
        width: of the vectors.
        image: ``conv`` or ``flat``, how planes are read.
    """

    rows: Tensor
    index: Tensor
    levels: Tensor

    def __init__(self, part: Part, generators: Luck, width: int, image: str) -> None:
        super().__init__()
        self.kind, self._learners = part.kind, len(generators)
        self.register_buffer("rows", part.rows, persistent=False)
        self.register_buffer("index", part.index, persistent=False)
        self.convolutions = nn.ModuleList()
        if part.kind == "numbers":
            self.codes = Embedding(generators, part.size, width, part.rows.shape[1] ** -0.5)
            return
        if part.kind == "words":
            self.codes = Embedding(generators, part.size, width)
            return
        height, breadth, _ = part.rows.shape[1:]
        # Channel and value of each cell of the one-hot form; value −1 where a channel is a brightness.
        pairs = [(c, value) for c, values in enumerate(part.levels) for value in (values or (-1,))]
        self.register_buffer("levels", torch.tensor(pairs), persistent=False)
        channels = part.size
        if image == "conv":
            strides = [1, 1]
            while max(height, breadth) > _LARGEST_SIDE:
                strides = [2, *strides]
                height, breadth = (height + 1) // 2, (breadth + 1) // 2
            for i, stride in enumerate(strides):
                self.convolutions.append(Convolution(generators, channels, _CHANNELS, stride, shared=i == 0))
                channels = _CHANNELS
        self.linear = Linear(generators, height * breadth * channels, width)

    def forward(self, obs: Tensor, picture: Tensor | None = None) -> Tensor:
        """Encodes observation ids.

        Args:
            obs: int64 ``[M]``.
            picture: uint8 ``[M, h, w, c]``, or ``[1, h, w, c]`` for all, shown instead of each observation's own; or what is
                read of it, floating, see :meth:`cells`.

        Returns:
            ``[learners, M, width]``.
        """
        if picture is not None and self.kind == "planes":
            # One rollout may show one picture at all of its steps.
            seen, place = torch.unique(picture, dim=0, return_inverse=True)
            shown = self._planes(seen if picture.is_floating_point() else self.cells(seen))
            return shown.index_select(1, place).expand(-1, len(obs), -1)
        used, place = distinct(self.index[obs])
        rows = self.rows[used]
        code: Tensor
        if self.kind == "planes":
            code = self._planes(self.cells(rows))
        elif self.kind == "numbers":
            code = self.codes(rows).sum(-2)
        else:
            share = rows.to(torch.float32)
            # Counts of norm one keep the scale of a text's vector whatever its length.
            code = (share / share.norm(dim=1, keepdim=True).clamp(min=1)) @ self.codes.weight
        return code.index_select(1, place)

    def cells(self, planes: Tensor) -> Tensor:
        """Returns what is read of planes uint8 ``[M, h, w, c]``, float32 ``[M, h, w, size]`` in [0, 1].

        A channel of few values gives a cell that is 0 or 1 for each value, a brightness gives itself.
        """
        channel, value = self.levels.unbind(1)
        at = planes[..., channel]
        return torch.where(value < 0, at.to(torch.float32) / 255, (at == value).to(torch.float32))

    def _planes(self, x: Tensor) -> Tensor:
        code: Tensor
        if not len(self.convolutions):
            code = self.linear(x.flatten(1))
            return code
        x = x.permute(0, 3, 1, 2)
        for convolution in self.convolutions:
            x = convolution(x).relu()
        code = self.linear(x.reshape(len(x), self._learners, -1).transpose(0, 1))
        return code


class Encoder(nn.Module):
    """Encodes observations of a table.

    Args:
        table: the table.
        generators: one per learner.
        view: which view is read (default: what suits the table, see :func:`~credit_envs.policies.features.default_view`).
        image: ``flat`` or ``conv``, how planes are read.
        width: of the vectors.
        depth: number of hidden layers.
        grams: longest run of words that is counted.

    Attributes:
        view: the view that is read.
        readers: one per part of the view.

    Raises:
        CreditEnvsError: for bad arguments, and for views that can't be tabulated.
    """

    def __init__(
        self,
        table: TabularMDP,
        generators: Luck,
        view: str | None = None,
        image: str = "flat",
        width: int = 64,
        depth: int = 2,
        grams: int = 3,
    ) -> None:
        check_range("width", width, 1, 1 << 16, integer=True)
        check_range("depth", depth, 1, 64, integer=True)
        check_range("grams", grams, 1, 8, integer=True)
        if image not in IMAGES:
            raise CreditEnvsError(f"image={image!r}: expected one of {', '.join(IMAGES)}")
        super().__init__()
        self.view = default_view(table) if view is None else view
        parts = features(table, self.view, grams)
        self.readers = nn.ModuleList([Reader(part, generators, width, image) for part in parts])
        inputs = [width * len(parts), *[width] * (depth - 2)]
        self.trunk = nn.ModuleList([Linear(generators, size, width) for size in inputs[: depth - 1]])
        self.width = width if depth > 1 else width * len(parts)

    @property
    def sees(self) -> bool:
        """Whether the view has a picture."""
        return any(reader.kind == "planes" for reader in self.readers)

    def forward(self, obs: Tensor, picture: Tensor | None = None) -> Tensor:
        """Encodes observation ids int64 ``[M]`` to ``[learners, M, width]``; ``picture`` as in :meth:`Reader.forward`."""
        x = torch.cat([reader(obs, picture) for reader in self.readers], -1).relu()
        for layer in self.trunk:
            x = layer(x).relu()
        return x

    @property
    def eye(self) -> Reader:
        """The reader of the picture.

        Raises:
            CreditEnvsError: if the view has none.
        """
        for reader in self.readers:
            if isinstance(reader, Reader) and reader.kind == "planes":
                return reader
        raise CreditEnvsError(f"view={self.view!r}: there is no picture in it; use a view such as 'both' or 'grid'")

    def pictures(self, obs: Tensor) -> Tensor:
        """Returns the pictures of observation ids int64 ``[M]``, uint8 ``[M, h, w, c]``.

        Raises:
            CreditEnvsError: if the view has none.
        """
        return self.eye.rows[self.eye.index[obs]]
