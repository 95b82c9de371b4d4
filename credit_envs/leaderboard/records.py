"""Per-episode records: what was played, and the credit that was claimed for it, as one parquet file.

Parquet holds ragged rows natively, packs a credit that repeats to almost nothing, is read by pandas and DuckDB as it stands,
and keeps sizes and numbers of values in a footer, so that a file which would swell beyond all bounds is refused before it is
unpacked (a gzipped text cannot be). The cost: the extra ``eval`` brings pyarrow.

One row per rollout that an entry returned. A rollout is named by what determines it: the context, the rollout word of the
random keys, and its lineage, the branch numbers it followed and the steps from which on it followed them (a plain rollout
has one branch, 0 from step 0). With the seed and the policy that fixes every action; the actions stand there all the same,
so that a replay has something to disagree with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from credit_envs.arrays import EQUAL, AnyArray, Ints
from credit_envs.errors import CreditEnvsError, need
from credit_envs.leaderboard.tracks import Cell

FILE_BYTES = 1 << 28
UNPACKED_BYTES = 1 << 30
MOST_VALUES = 1 << 27
_DROPPED = 13  # of the 23 bits after a float32's leading one
_SCALARS = {"seed": "int64", "group": "int64", "context": "int64", "rollout": "int64"}
_LISTS = {"branch": "int64", "start": "int32", "action": "int32", "credit": "float32"}
COLUMNS = ("environment", "policy", *_SCALARS, *_LISTS)


@dataclass(frozen=True, eq=False)
class Episodes:
    """The rollouts of one cell, ragged; row i owns entries ``steps[i]:steps[i + 1]`` and ``forks[i]:forks[i + 1]``.

    Attributes:
        group: int64 ``[N]``, number of the group that a rollout belongs to.
        context: int64 ``[N]``, where it started.
        rollout: int64 ``[N]``, rollout word of its random keys.
        forks: int64 ``[N + 1]``, bounds of lineages.
        branch: int64 ``[F]``, branch words.
        start: int64 ``[F]``, steps from which on they hold; the first of every row is 0.
        steps: int64 ``[N + 1]``, bounds of steps.
        action: int64 ``[M]``, the policy's own actions.
        credit: float32 ``[M]``, the claimed credit; see :func:`held`.
    """

    group: Ints
    context: Ints
    rollout: Ints
    forks: Ints
    branch: Ints
    start: Ints
    steps: Ints
    action: Ints
    credit: AnyArray

    @property
    def n_rollouts(self) -> int:
        """Number of rollouts N."""
        return len(self.group)

    @property
    def lengths(self) -> Ints:
        """Steps of each rollout, int64 ``[N]``."""
        return np.diff(self.steps)

    def padded(self, flat: AnyArray) -> AnyArray:
        """Returns step entries ``[M]`` as ``[N, T]``, 0 beyond the end."""
        out = np.zeros((self.n_rollouts, int(self.lengths.max(initial=0))), dtype=flat.dtype)
        out[self.mask] = flat
        return out

    @property
    def mask(self) -> AnyArray:
        """Steps that were taken, bool ``[N, T]``."""
        mask: AnyArray = np.arange(int(self.lengths.max(initial=0))) < self.lengths[:, None]
        return mask

    def same(self, other: Episodes) -> bool:
        """Whether two hold the same rollouts, and credit that :func:`agrees`."""
        names = [name for name in vars(self) if name != "credit"]
        alike = all(np.array_equal(getattr(self, name), getattr(other, name)) for name in names)
        return alike and agrees(self.credit, other.credit)


def agrees(found: AnyArray, stated: AnyArray) -> bool:
    """Whether numbers as :func:`held` are the same on another processor, where the code's last bits may be others.

    They may differ by what they are rounded to, and by 1e-9 of the largest, which scores take for zero.
    """
    if found.shape != stated.shape:
        return False
    size = np.abs(stated.astype(np.float64))
    apart = np.abs(found.astype(np.float64) - stated.astype(np.float64))
    return bool(np.all(apart <= size * 2.0 ** (_DROPPED - 23) + EQUAL * size.max(initial=0.0)))


def held(credit: AnyArray) -> AnyArray:
    """Returns credit as records hold it: float32, rounded to 11 significant bits, so that records pack well.

    Every score is computed from what the records hold. The error, at most 1/2048 of a step's credit, is far below what any
    estimate of credit is worth.
    """
    bits = np.ascontiguousarray(credit, dtype=np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + (1 << (_DROPPED - 1))) >> _DROPPED << _DROPPED
    return rounded.astype(np.uint32).view(np.float32)


def write(path: Path, cells: Iterable[tuple[Cell, Episodes]]) -> None:
    """Writes the records of an entry, one row group per environment and policy.

    Raises:
        MissingExtraError: if pyarrow is not installed.
    """
    pa, pq = _arrow()
    schema = _schema(pa)
    packing: dict[str, Any] = {
        "compression": "zstd",
        "compression_level": 15,
        "use_byte_stream_split": ["credit.list.element"],
        "use_dictionary": ["environment", "policy", "action.list.element"],
        "write_statistics": False,
    }
    with pq.ParquetWriter(path, schema, **packing) as file:
        for _, found in groupby(cells, key=lambda pair: (pair[0].environment, pair[0].policy)):
            rows = pa.concat_tables([_rows(pa, schema, *pair) for pair in found]).unify_dictionaries()
            file.write_table(rows, row_group_size=max(1, len(rows)))


def _rows(pa: Any, schema: Any, cell: Cell, found: Episodes) -> Any:
    n = found.n_rollouts
    columns: dict[str, Any] = {
        "environment": pa.DictionaryArray.from_arrays(np.zeros(n, np.int32), [cell.environment]),
        "policy": pa.DictionaryArray.from_arrays(np.zeros(n, np.int32), [cell.policy]),
        "seed": np.full(n, cell.seed),
        "group": found.group,
        "context": found.context,
        "rollout": found.rollout,
    }
    for name, bounds in (("branch", "forks"), ("start", "forks"), ("action", "steps"), ("credit", "steps")):
        values = pa.array(np.asarray(getattr(found, name)).astype(_LISTS[name]))
        columns[name] = pa.ListArray.from_arrays(pa.array(getattr(found, bounds).astype(np.int32)), values)
    return pa.table(columns, schema=schema)


def read(path: Path) -> Iterator[tuple[Cell, Episodes]]:
    """Reads records row group by row group, as strictly as a stranger's file deserves.

    Raises:
        CreditEnvsError: if the file is damaged, too large, or not of the form that :func:`write` gives it.
    """
    pa, pq = _arrow()
    if path.stat().st_size > FILE_BYTES:
        raise CreditEnvsError(f"{path.name}: {path.stat().st_size} bytes, expected at most {FILE_BYTES}")
    try:
        file = pq.ParquetFile(path)
        if not file.schema_arrow.equals(_schema(pa)):
            raise CreditEnvsError(f"{path.name}: its columns are not {', '.join(COLUMNS)} of the expected kinds")
        _check_sizes(path.name, file.metadata)
        for i in range(file.metadata.num_row_groups):
            yield from _cells(path.name, file.read_row_group(i).combine_chunks())
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, IndexError) as error:
        raise CreditEnvsError(f"{path.name}: damaged ({type(error).__name__}: {error})") from error


def _check_sizes(name: str, footer: Any) -> None:
    """Refuses what would swell: bytes once unpacked, and values, since a run of equal ones takes no bytes at all."""
    groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
    unpacked = sum(group.total_byte_size for group in groups)
    values = sum(group.column(j).num_values for group in groups for j in range(group.num_columns))
    if unpacked > UNPACKED_BYTES or values > MOST_VALUES:
        raise CreditEnvsError(
            f"{name}: {unpacked} bytes and {values} values when unpacked, expected at most {UNPACKED_BYTES} and {MOST_VALUES}"
        )


def _cells(name: str, rows: Any) -> Iterator[tuple[Cell, Episodes]]:
    """Yields the cells of a row group, seed by seed."""
    if any(rows.column(key).null_count for key in COLUMNS):
        raise CreditEnvsError(f"{name}: holds empty fields")
    words = {key: rows.column(key).unique().to_pylist() for key in ("environment", "policy")}
    if any(len(found) != 1 for found in words.values()):
        raise CreditEnvsError(f"{name}: a row group holds several environments or policies, expected one")
    (environment,), (policy,) = words.values()
    seeds = np.asarray(rows.column("seed"), dtype=np.int64)
    first = [0, *(np.flatnonzero(np.diff(seeds)) + 1).tolist(), len(seeds)]
    for begin, end in pairwise(first):
        yield Cell(environment, policy, int(seeds[begin])), _episodes(name, rows.slice(begin, end - begin))


def _episodes(name: str, rows: Any) -> Episodes:
    bounds: dict[str, Ints] = {}
    flat: dict[str, Any] = {}
    for key in _LISTS:
        column = rows.column(key).combine_chunks()
        bounds[key] = np.concatenate([[0], np.cumsum(np.asarray(column.value_lengths(), dtype=np.int64))])
        values = column.flatten()
        if values.null_count:
            raise CreditEnvsError(f"{name}: holds empty fields")
        flat[key] = np.asarray(values)
    if not np.array_equal(bounds["branch"], bounds["start"]) or not np.array_equal(bounds["action"], bounds["credit"]):
        raise CreditEnvsError(f"{name}: branch and start, or action and credit, differ in length")
    if np.any(np.diff(bounds["branch"]) == 0) or np.any(np.diff(bounds["action"]) == 0):
        raise CreditEnvsError(f"{name}: a rollout without lineage or without steps")
    if not np.isfinite(flat["credit"]).all():
        raise CreditEnvsError(f"{name}: a credit is not a number")
    return Episodes(
        **{key: np.asarray(rows.column(key), dtype=np.int64) for key in ("group", "context", "rollout")},
        forks=bounds["branch"],
        branch=flat["branch"].astype(np.int64),
        start=flat["start"].astype(np.int64),
        steps=bounds["action"],
        action=flat["action"].astype(np.int64),
        credit=flat["credit"],
    )


def ragged(rows: Sequence[AnyArray], dtype: Any) -> tuple[Ints, AnyArray]:
    """Joins rows of different lengths; returns bounds and values."""
    bounds = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return bounds, np.concatenate(rows).astype(dtype) if rows else np.zeros(0, dtype)


def _arrow() -> tuple[Any, Any]:
    pa = need("pyarrow", "eval")
    return pa, need("pyarrow.parquet", "eval")


def _schema(pa: Any) -> Any:
    word = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        [("environment", word), ("policy", word)]
        + [(name, pa.type_for_alias(kind)) for name, kind in _SCALARS.items()]
        + [(name, pa.list_(pa.type_for_alias(kind))) for name, kind in _LISTS.items()]
    )
