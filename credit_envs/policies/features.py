"""What networks read: a table's views as tensors, each distinct picture or text kept once.

A network that reads one observation at a time is evaluated on observation ids; what an id shows is looked up here. Words
are counted as runs of one to three: on ``core-v0`` runs of three tell all texts apart but some of Team's, single words
do not (Apps: 481 of 1,363).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from credit_envs.arrays import AnyArray, Ints
from credit_envs.errors import CreditEnvsError
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.observer import Observer

MAX_CELLS = 1 << 27
"""Cells (bytes) of distinct rows that are kept on the device."""

_CHUNK = 1 << 12
_LEVELS = 32
_WORD = re.compile(r"[a-z]+|\d+|[^\sa-z\d]")


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a view: a picture, words, or numbers.

    Attributes:
        kind: ``planes`` (uint8 ``[P, h, w, c]``), ``words`` (uint8 ``[P, V]``, how often each run of words occurs) or
            ``numbers`` (int64 ``[P, columns]``, numbered through all columns).
        rows: the P distinct rows.
        index: int64 ``[n_obs]``, the row of each observation id.
        size: cells of the one-hot form of a pixel, number of runs of words, or number of numbers.
        levels: of planes, the values of each channel that are told apart; empty where a channel is a brightness.
    """

    kind: str
    rows: Tensor
    index: Tensor
    size: int
    levels: tuple[tuple[int, ...], ...] = ()


def default_view(table: TabularMDP, preferred: str | None = None) -> str:
    """Returns a view that shows what one has to know: ``tokens`` of a spelled table, ``text`` of a planned one.

    Other tables show what is preferred, else their grid, else the state's number.
    """
    if "token" in table.labels and "tokens" in table.views:
        return "tokens"
    if "field" in table.labels:
        return "text"
    if preferred is not None:
        return preferred
    return "grid" if "grid" in table.views else "state"


def features(table: TabularMDP, view: str, grams: int = 3) -> list[Part]:
    """Tabulates a view over all observation ids.

    Args:
        table: the table.
        view: see :class:`~credit_envs.table.observer.Observer`.
        grams: longest run of words that is counted, at least 1.

    Raises:
        CreditEnvsError: for an unknown view, or one with more distinct cells than :data:`MAX_CELLS`.
    """
    observer = Observer(table, view)
    if table.n_obs > MAX_CELLS // 8:
        raise _too_large(table, view, table.n_obs * 8)
    spaces = observer.space.spaces if isinstance(observer.space, gymnasium.spaces.Dict) else {"": observer.space}
    distinct: dict[str, dict[Any, int]] = {name: {} for name in spaces}
    index = {name: np.empty(table.n_obs, dtype=np.int64) for name in spaces}
    for first in range(0, table.n_obs, _CHUNK):
        ids = np.arange(first, min(first + _CHUNK, table.n_obs))
        shown = observer.rows(ids)
        for name in spaces:
            _number(shown[name] if name else shown, distinct[name], index[name][ids[0] : ids[-1] + 1])
        size = sum(len(row) for rows in distinct.values() for row in rows)
        if size > MAX_CELLS:
            raise _too_large(table, view, size)
    return [
        _part(table, view, space, list(distinct[name]), torch.from_numpy(index[name]), grams)
        for name, space in spaces.items()
    ]


def _number(rows: Any, known: dict[Any, int], out: Ints) -> None:
    """Numbers rows by first occurrence; writes the numbers to ``out``."""
    keys = rows if isinstance(rows, list) else [row.tobytes() for row in np.asarray(rows)]
    for i, key in enumerate(keys):
        out[i] = known.setdefault(key, len(known))


def _part(
    table: TabularMDP, view: str, space: gymnasium.Space[Any], distinct: list[Any], index: Tensor, grams: int
) -> Part:
    if isinstance(space, gymnasium.spaces.Text):
        return _counted(table, view, distinct, index, grams)
    raw = b"".join(distinct)
    if isinstance(space, gymnasium.spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3:
        planes = np.frombuffer(raw, dtype=np.uint8).reshape(len(distinct), *space.shape)
        found = [np.unique(planes[..., channel]) for channel in range(space.shape[2])]
        levels = tuple(tuple(values.tolist()) if len(values) <= _LEVELS else () for values in found)
        return Part("planes", torch.from_numpy(planes.copy()), index, sum(len(v) or 1 for v in levels), levels)
    if isinstance(space, gymnasium.spaces.MultiDiscrete | gymnasium.spaces.Discrete):
        sizes = np.asarray(space.nvec if isinstance(space, gymnasium.spaces.MultiDiscrete) else [space.n])
        numbers = np.frombuffer(raw, dtype=np.int64).reshape(len(distinct), len(sizes))
        through = torch.from_numpy(numbers + np.concatenate(([0], np.cumsum(sizes)[:-1])))
        return Part("numbers", through, index, int(sizes.sum()))
    raise CreditEnvsError(f"view={view!r}: networks read planes, words and numbers, not {space}")


def _counted(table: TabularMDP, view: str, texts: list[str], index: Tensor, grams: int) -> Part:
    """Counts runs of words; the vocabulary is what occurs, in order of first occurrence."""
    vocabulary: dict[tuple[str, ...], int] = {}
    found: list[AnyArray] = []
    for text in texts:
        words = _WORD.findall(text.lower())
        runs = [tuple(words[i : i + n]) for n in range(1, grams + 1) for i in range(len(words) - n + 1)]
        found.append(np.array([vocabulary.setdefault(run, len(vocabulary)) for run in runs], dtype=np.int64))
    if len(texts) * len(vocabulary) > MAX_CELLS:
        raise _too_large(table, view, len(texts) * len(vocabulary))
    counts = np.zeros((len(texts), max(1, len(vocabulary))), dtype=np.uint8)
    for i, row in enumerate(found):
        counts[i] = np.minimum(np.bincount(row, minlength=counts.shape[1]), 255)
    return Part("words", torch.from_numpy(counts), index, counts.shape[1])


def _too_large(table: TabularMDP, view: str, cells: int) -> CreditEnvsError:
    return CreditEnvsError(
        f"view={view!r}: {table.name} has {table.n_obs} observations, at least {cells} cells, more than {MAX_CELLS}; "
        "choose a smaller view ('grid', 'tokens' or 'state') or the tabular policy"
    )
