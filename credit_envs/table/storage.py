"""Saving, loading and fingerprinting tables. One npz file, no pickles, written atomically."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from credit_envs.arrays import AnyArray
from credit_envs.errors import CreditEnvsError, TableError
from credit_envs.table.emission import Emission, Layer
from credit_envs.table.mdp import _DTYPES, TabularMDP
from credit_envs.table.view import Rows, View, stored_view, text_space

SCHEMA = 1
_STORED_BYTES = 1 << 28
"""Views whose rows take more than this are pictures rather than observations, and stay out of the file."""
_DRAWN_BYTES = 1 << 24
"""Above this only the bare rows of a view are stored, not those with layers drawn in."""


def _dynamics(table: TabularMDP) -> Iterator[tuple[str, AnyArray]]:
    """Yields the arrays that define the decision process, in a fixed order."""
    for name in _DTYPES:
        value = getattr(table, name)
        yield name, np.zeros(0) if value is None else value
    yield "scalars", np.array([table.discount, table.inadmissible_reward])
    yield "counts", np.array([table.n_actions, table.horizon], dtype=np.int64)
    for name in sorted(table.labels):
        yield f"label:{name}", table.labels[name]
    yield "emission.base", table.emission.base
    for layer in table.emission.layers:
        flags = np.array([layer.per_episode, layer.state_class == "admissible", layer.shows_in_anchor])
        for part, value in (("p", layer.probability), ("shift", layer.shift), ("blind", layer.blind), ("flags", flags)):
            yield f"layer:{layer.name}:{part}", np.asarray(value)


def canonical_bytes(array: AnyArray) -> bytes:
    """Returns little-endian bytes with dtype and shape, −0.0 written as 0.0."""
    array = np.asarray(array)
    array = array + 0.0 if array.dtype.kind == "f" else array
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return f"{little.dtype.kind}{little.dtype.itemsize}{little.shape}".encode() + little.tobytes()


def fingerprint(table: TabularMDP) -> str:
    """Returns the sha256 of a table's dynamics, labels and emission as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, array in _dynamics(table):
        digest.update(name.encode() + b"\0" + canonical_bytes(array))
    return digest.hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file so that readers see the old content or the new, never a part.

    Raises:
        CreditEnvsError: if the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise CreditEnvsError(f"path={str(path)!r}: cannot write there ({error.strerror})") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise CreditEnvsError(f"path={str(path)!r}: cannot write there ({error.strerror})") from error
        raise


def save(table: TabularMDP, path: str | os.PathLike[str]) -> None:
    """Writes a table, its views' rows and its knobs to an npz file.

    Views whose rows would take more than 256 MiB (pictures) are left out. What a view draws of the emission's layers is
    stored where that takes at most 16 MiB; elsewhere observers show these layers in their own way.

    Raises:
        CreditEnvsError: if the folder cannot be written.
    """
    write_atomically(Path(path), to_bytes(table))


def to_bytes(table: TabularMDP) -> bytes:
    """Returns what :func:`save` writes."""
    arrays = {name: getattr(table, name) for name in _DTYPES if getattr(table, name) is not None}
    arrays |= {f"label:{k}": v for k, v in table.labels.items()}
    arrays["emission.base"] = table.emission.base
    layers = []
    for i, layer in enumerate(table.emission.layers):
        arrays |= {f"layer:{i}:p": layer.probability, f"layer:{i}:shift": layer.shift, f"layer:{i}:blind": layer.blind}
        layers.append([layer.name, layer.per_episode, layer.state_class, layer.shows_in_anchor])
    views = {name: spec for name, view in table.views.items() if (spec := _pack_layered(name, view, table, arrays))}
    header = {
        "schema": SCHEMA,
        "fingerprint": table.fingerprint,
        "name": table.name,
        "n_actions": int(table.n_actions),
        "horizon": int(table.horizon),
        "discount": table.discount,
        "inadmissible_reward": table.inadmissible_reward,
        "action_names": list(table.action_names),
        "allow_unreachable": table.allow_unreachable,
        "knobs": dict(table.knobs),
        "layers": layers,
        "views": views,
    }
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def load(path: str | os.PathLike[str]) -> TabularMDP:
    """Reads a table that :func:`save` wrote, and checks its fingerprint.

    Raises:
        TableError: if the file is no table, damaged, or of a newer schema than this package reads.
    """
    if not Path(path).is_file():
        raise TableError(f"path={str(path)!r}: no such file")
    return from_bytes(Path(path).read_bytes(), str(path))


def from_bytes(data: bytes, path: str = "table") -> TabularMDP:
    """Reads what :func:`to_bytes` returned; ``path`` names it in errors.

    Raises:
        TableError: as :func:`load`.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        header = json.loads(arrays.pop("header").tobytes())
    except Exception as error:  # zipfile, zlib, NumPy and json trip over damaged bytes in many ways
        raise TableError(f"{path}: not a table, or damaged ({type(error).__name__}: {error})") from error
    if not isinstance(header, dict):
        raise TableError(f"{path}: not a table, or damaged (its header is no JSON object)")
    schema = header.get("schema")
    if not isinstance(schema, int) or schema > SCHEMA:
        raise TableError(f"{path}: schema {schema!r}, but this version reads up to {SCHEMA}; upgrade credit-envs")
    try:
        layers = tuple(
            Layer(
                name, per, arrays[f"layer:{i}:p"], kind, arrays[f"layer:{i}:shift"], arrays[f"layer:{i}:blind"], shows
            )
            for i, (name, per, kind, shows) in enumerate(header["layers"])
        )
        table = TabularMDP(
            **{name: arrays[name] for name in _DTYPES if name in arrays},
            **{key: header[key] for key in ("name", "n_actions", "horizon", "discount", "inadmissible_reward")},
            action_names=tuple(header["action_names"]),
            labels={name[6:]: arrays[name] for name in arrays if name.startswith("label:")},
            emission=Emission(arrays["emission.base"], layers),
            views={name: _unpack_layered(spec, arrays) for name, spec in header["views"].items()},
            knobs=header["knobs"],
            allow_unreachable=header["allow_unreachable"],
        )
    except TableError as error:
        raise TableError(f"{path}: damaged, {error}") from error
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise TableError(f"{path}: damaged, {error} is missing or wrong") from error
    if table.fingerprint != header["fingerprint"]:
        stored_print, read_print = header["fingerprint"][:12], table.fingerprint[:12]
        raise TableError(f"{path}: damaged, its fingerprint is {read_print}… but the file says {stored_print}…")
    return table


def _rows_bytes(space: gymnasium.Space[Any]) -> int:
    """Bytes of one row of a view; text counts nothing, since equal texts are stored once."""
    if isinstance(space, gymnasium.spaces.Dict):
        return sum(_rows_bytes(part) for part in space.spaces.values())
    return math.prod(space.shape or ()) * space.dtype.itemsize if space.dtype is not None and space.shape else 0


def _pack_layered(name: str, view: View, table: TabularMDP, arrays: dict[str, AnyArray]) -> dict[str, Any] | None:
    """Stores a view, with the layers that it draws itself under every digit they can show; None if it is a picture."""
    states, size = np.arange(table.n_states), _rows_bytes(view.space)
    if size * table.n_states > _STORED_BYTES:
        return None
    spec = _pack_view(name, view.rows(states), view.space, arrays)
    layers = {layer.name: layer for layer in table.emission.layers}
    if view.with_layers is None or not set(view.own_layers) <= set(layers):
        return spec
    # Rows of (state, digits of the own layers), the last digit fastest.
    sizes = [layers[own].size for own in view.own_layers]
    digits = np.stack(np.unravel_index(np.arange(math.prod(sizes)), sizes), axis=1)
    if size * table.n_states * len(digits) <= _DRAWN_BYTES:
        rows = view.with_layers(np.repeat(states, len(digits)), np.tile(digits, (states.size, 1)))
        drawn = _pack_view(f"{name}+", rows, view.space, arrays)
        spec["drawn"] = {"layers": list(view.own_layers), "sizes": sizes, "rows": drawn}
    return spec


def _unpack_layered(spec: dict[str, Any], arrays: dict[str, AnyArray]) -> View:
    plain, drawn = _unpack_view(spec, arrays), spec.get("drawn")
    if drawn is None:
        return plain
    view, sizes = _unpack_view(drawn["rows"], arrays), tuple(drawn["sizes"])

    def with_layers(states: AnyArray, digits: AnyArray) -> Rows:
        return view.rows(np.asarray(states) * math.prod(sizes) + np.ravel_multi_index(np.asarray(digits).T, sizes))

    return View(plain.space, plain.rows, tuple(drawn["layers"]), with_layers)


def _pack_view(name: str, rows: Rows, space: gymnasium.Space[Any], arrays: dict[str, AnyArray]) -> dict[str, Any]:
    """Stores the distinct rows of a view; returns its description."""
    if isinstance(space, gymnasium.spaces.Dict):
        parts = {key: _pack_view(f"{name}/{key}", rows[key], part, arrays) for key, part in space.spaces.items()}
        return {"kind": "dict", "parts": parts}
    if isinstance(rows, np.ndarray):
        # A dictionary of row bytes is linear; np.unique over rows would sort them.
        known: dict[bytes, int] = {}
        which = np.array([known.setdefault(row.tobytes(), len(known)) for row in rows], dtype=np.int32)
        first = np.unique(which, return_index=True)[1]
        arrays[f"view:{name}"], arrays[f"view:{name}:row"] = rows[first], which
    else:
        distinct = list(dict.fromkeys(rows))
        index = {word: i for i, word in enumerate(distinct)}
        arrays[f"view:{name}"] = np.frombuffer("\x00".join(distinct).encode(), dtype=np.uint8)
        arrays[f"view:{name}:row"] = np.array([index[word] for word in rows], dtype=np.int32)
    return {"kind": "rows" if isinstance(rows, np.ndarray) else "text", "array": name, "space": _pack_space(space)}


def _unpack_view(spec: dict[str, Any], arrays: dict[str, AnyArray]) -> View:
    if spec["kind"] == "dict":
        parts = {key: _unpack_view(part, arrays) for key, part in spec["parts"].items()}
        space = gymnasium.spaces.Dict({key: part.space for key, part in parts.items()})
        return View(space, lambda states: {key: part.rows(states) for key, part in parts.items()})
    stored, row = arrays[f"view:{spec['array']}"], arrays[f"view:{spec['array']}:row"]
    space_: gymnasium.Space[Any] = _unpack_space(spec["space"])
    if spec["kind"] == "rows":
        return View(space_, lambda states: stored[row[states]])
    words = stored.tobytes().decode().split("\x00")
    return stored_view(space_, [words[i] for i in row])


def _pack_space(space: gymnasium.Space[Any]) -> dict[str, Any]:
    if isinstance(space, gymnasium.spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, gymnasium.spaces.Box):
        bounds = {"low": space.low.tolist(), "high": space.high.tolist()}
        return {"type": "Box", "shape": list(space.shape), "dtype": str(space.dtype), **bounds}
    if isinstance(space, gymnasium.spaces.MultiDiscrete):
        return {"type": "MultiDiscrete", "nvec": space.nvec.tolist()}
    assert isinstance(space, gymnasium.spaces.Text)
    return {"type": "Text", "max_length": int(space.max_length)}


def _unpack_space(spec: dict[str, Any]) -> gymnasium.Space[Any]:
    if spec["type"] == "Discrete":
        return gymnasium.spaces.Discrete(spec["n"], start=spec["start"])
    if spec["type"] == "Box":
        low, high = (np.array(spec[key], dtype=spec["dtype"]).reshape(spec["shape"]) for key in ("low", "high"))
        return gymnasium.spaces.Box(low, high, tuple(spec["shape"]), np.dtype(spec["dtype"]).type)
    if spec["type"] == "MultiDiscrete":
        return gymnasium.spaces.MultiDiscrete(np.array(spec["nvec"]))
    return text_space(spec["max_length"])
