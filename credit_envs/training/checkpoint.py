"""Checkpoints: tensors and everything else in one safetensors file, written atomically, so that a kill loses nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from credit_envs.errors import CreditEnvsError, need
from credit_envs.table.storage import write_atomically


def save(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Writes a checkpoint.

    Args:
        path: the file.
        tensors: by name.
        state: whatever JSON holds.
    """
    to_bytes = need("safetensors.torch", "train").save
    found = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, to_bytes(found, metadata={"state": json.dumps(state)}))


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads a checkpoint back.

    Raises:
        CreditEnvsError: if the file cannot be read or is no checkpoint.
    """
    need("safetensors", "train")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()["state"])
            return {name: file.get_tensor(name) for name in file.keys()}, state  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CreditEnvsError(f"checkpoint {str(path)!r}: cannot be read ({error})") from error


def check_same(path: Path, state: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Checks that a checkpoint belongs to what goes on from it.

    Raises:
        CreditEnvsError: naming what differs, both values, and what to do.
    """
    for name, value in expected.items():
        if state.get(name) != value:
            raise CreditEnvsError(
                f"checkpoint {str(path)!r}: {name} is {state.get(name)!r} there and {value!r} here; choose another output, "
                "or resume=False (--no-resume) to start anew"
            )
