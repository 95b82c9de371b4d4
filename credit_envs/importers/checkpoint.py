"""Keeping what a search has found in a file, and taking it up again."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from array import array
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from credit_envs.errors import CreditEnvsError
from credit_envs.importers.observations import flat, stack, unflat, unstack
from credit_envs.importers.search import Search
from credit_envs.table.storage import write_atomically

SCHEMA = 1


def save_search(search: Search, path: Path, task: dict[str, Any], space: gymnasium.Space[Any] | None) -> None:
    """Writes a search to an npz file, atomically.

    Args:
        search: the search; only what was committed as a whole is written.
        path: the file.
        task: what is searched (id, arguments, seeds, …); a resumed search must agree.
        space: space of the observations, None if they are not kept.
    """
    n_states, n_queue, head, n_rows = search.committed
    n_edges = head * search.n_actions
    n_factors = len(search.preset.factor_names)
    header = {
        "schema": SCHEMA,
        "task": task,
        "roots": search.roots,
        "head": head,
        "scale": search.scale,
        "steady": search.steady,
        "rewards_checked": search.rewards_checked,
        "rewards_seen": sorted(search.rewards_seen),
    }
    arrays = {
        "header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8),
        "keys": np.frombuffer(b"".join(search.keys[:n_states]), dtype=np.uint8),
        "queue": np.array(search.queue[:n_queue]),
        "successor": np.array(search.successor[:n_edges]),
        "reward": np.array(search.reward[:n_edges]),
        "ends": np.array(search.ends[:n_edges]),
        "parent": np.array(search.parent[:n_states]),
        "via": np.array(search.via[:n_states]),
        "row": np.array(search.row[:n_states]),
        "factors": np.array(search.factors[: n_states * n_factors]),
    }
    if space is not None:
        arrays |= flat(stack(space, search.rows[:n_rows]))
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())


def load_search(search: Search, path: Path, task: dict[str, Any], space: gymnasium.Space[Any] | None) -> None:
    """Fills a fresh search from a file that :func:`save_search` wrote.

    Raises:
        CreditEnvsError: if the file is damaged or belongs to another search.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        header = json.loads(arrays["header"].tobytes())
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise CreditEnvsError(f"checkpoint={str(path)!r}: not a checkpoint, or damaged ({error})") from error
    if header.get("schema") != SCHEMA or header.get("task") != task:
        there = header.get("task") or {}
        names = [name for name in task if there.get(name) != task[name]] or ["schema"]
        raise CreditEnvsError(
            f"checkpoint={str(path)!r}: belongs to another search, {names[0]} is {there.get(names[0])!r} there and "
            f"{task.get(names[0])!r} here; use another file"
        )
    keys = arrays["keys"].tobytes()
    n_states = len(keys) // 16
    fresh_roots = [search.keys[root] for root in search.roots]
    search.head = header["head"]
    for name, code in (("queue", "q"), ("successor", "q"), ("reward", "d"), ("ends", "b"), ("factors", "q")):
        setattr(search, name, array(code, arrays[name].tolist()))
    if space is not None:
        columns = unflat(space, arrays)
        search.rows = [unstack(columns, i) for i in range(int(arrays["row"].max()) + 1)]
    search.scale, search.steady = header["scale"], header["steady"]
    search.rewards_checked, search.rewards_seen = header["rewards_checked"], set(header["rewards_seen"])
    search.roots = header["roots"]
    found = [keys[16 * i : 16 * i + 16] for i in range(n_states)]
    search.restore(
        list(zip(found, arrays["parent"].tolist(), arrays["via"].tolist(), arrays["row"].tolist(), strict=True))
    )
    if [search.keys[root] for root in search.roots] != fresh_roots:
        raise CreditEnvsError(f"checkpoint={str(path)!r}: the environment starts elsewhere now; use another file")
