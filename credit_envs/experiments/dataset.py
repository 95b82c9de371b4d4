"""All records of a sweep as one table: ``records.parquet`` where pyarrow is installed (the extra ``eval``), else JSON lines.

One row per cell, seed and estimator; columns are the record's moments and sums, the cell's fields, its axes as ``axis_NAME``
(text), and what the oracle measured as ``about_NAME``. pandas and DuckDB read either file as it is:

    pandas.read_parquet("records.parquet")      duckdb.sql("select * from 'records.parquet'")
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from credit_envs.errors import CreditEnvsError
from credit_envs.experiments.cells import Sweep
from credit_envs.table.storage import write_atomically

_FIELDS = ("environment", "level", "budget", "group_size", "staleness", "restore")


def finished(sweep: Sweep, folder: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yields the finished cells of a sweep with what their ``work`` found, in its order."""
    for cell in sweep.cells:
        path = folder / "cells" / f"{cell.slug}.json"
        if path.is_file():
            yield cell, json.loads(path.read_text())


def rows(sweep: Sweep, folder: Path) -> list[dict[str, Any]]:
    """Returns the finished records of a sweep, flat."""
    out = []
    for cell, found in finished(sweep, folder):
        fields = {name: getattr(cell, name, None) for name in _FIELDS}
        axes = {f"axis_{name}": str(value) for name, value in cell.axes}
        about = {f"about_{name}": value for name, value in found["about"].items()}
        out += [{"sweep": sweep.name, **fields, **axes, **about, **record} for record in found["records"]]
    return out


def gather(sweep: Sweep, folder: Path) -> Path:
    """Writes the finished records of a sweep as one file.

    Returns:
        Its path.
    """
    found = rows(sweep, folder)
    if find_spec("pyarrow") is None:
        path = folder / "records.jsonl"
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in found).encode())
        return path
    import pyarrow
    from pyarrow import parquet

    names = list(dict.fromkeys(name for row in found for name in row))
    table = pyarrow.table({name: [row.get(name) for row in found] for name in names})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    path = folder / "records.parquet"
    write_atomically(path, buffer.getvalue())
    return path


def read(folder: str | Path) -> list[dict[str, Any]]:
    """Reads a dataset back.

    Raises:
        CreditEnvsError: if the folder holds none, or one in parquet and pyarrow is not installed.
    """
    folder = Path(folder)
    if (folder / "records.jsonl").is_file():
        return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    path = folder / "records.parquet"
    if not path.is_file():
        raise CreditEnvsError(f"folder={str(folder)!r}: holds neither records.parquet nor records.jsonl")
    if find_spec("pyarrow") is None:
        raise CreditEnvsError(f"folder={str(folder)!r}: reading parquet needs the extra `eval` (pyarrow)")
    from pyarrow import parquet

    found: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return found
