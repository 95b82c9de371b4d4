"""Flat rows as files, and as tables of a page."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from credit_envs.table.storage import write_atomically


def save(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Writes flat rows as CSV, floats with four significant digits; packed if the name ends in ``.gz``."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = text.getvalue().encode()
    write_atomically(path, gzip.compress(plain, mtime=0) if path.suffix == ".gz" else plain)
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    """Reads what :func:`save` wrote."""
    plain = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return list(csv.DictReader(plain.decode().splitlines()))


def save_json(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Writes rows as JSON, floats with five significant digits, what is not finite as null."""

    def short(value: Any) -> Any:
        if isinstance(value, float):
            return float(f"{value:.5g}") if isfinite(value) else None
        if isinstance(value, Mapping):
            return {key: short(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [short(one) for one in value]
        return value.item() if hasattr(value, "item") else value

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps([short(row) for row in rows], indent=1, ensure_ascii=False).encode())
    return path


def span(value: Any, digits: int = 2) -> str:
    """Returns ``estimate [low, high]``, or a dash."""
    if value is None or any(x is None or not isfinite(x) for x in value):
        return "–"
    return f"{value[0]:.{digits}f} [{value[1]:.{digits}f}, {value[2]:.{digits}f}]"


def number(value: Any) -> str:
    """Returns two digits behind the point, or a dash."""
    return "–" if value is None or not isfinite(value) else f"{value:.2f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"
