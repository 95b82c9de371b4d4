"""Walks: many lanes of a table under a tabular policy, each from where it stands to its end, in one kernel on CPU or CUDA."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from credit_envs.errors import CreditEnvsError
from credit_envs.sampling.device import DevicePolicy, DeviceTable
from credit_envs.sampling.walk_kernel import LOOK_ROWS, OBS_ROWS, STATE_ROWS, walk_lane, walk_lanes
from credit_envs.table.draws import WORD

_ROWS = {"state": STATE_ROWS, "look": LOOK_ROWS, "obs": OBS_ROWS}
_BLOCK = 128
_LANES_PER_THREAD = 256


class Steps(NamedTuple):
    """Steps of lanes in their columns; 0 (edge: −1) where masked.

    Attributes:
        mask: bool ``[N, T]``, steps that were taken; T is the longest lane's end.
        state: int64 ``[N, T]``, where each step was taken.
        code: int64 ``[N, T]``, what was emitted there.
        obs: int64 ``[N, T]``, observation ids.
        anchor: int64 ``[N, T]``, what exact identity compares.
        choice: int64 ``[N, T]``, the policy's own action index.
        edge: int64 ``[N, T]``, executed edge, −1 if inadmissible.
        reward: float64 ``[N, T]``.
        final: int64 ``[N]``, state in which the lane ended.
    """

    mask: Tensor
    state: Tensor
    code: Tensor
    obs: Tensor
    anchor: Tensor
    choice: Tensor
    edge: Tensor
    reward: Tensor
    final: Tensor


class Lanes(NamedTuple):
    """Where lanes stand, and the words that name their luck; all int64 ``[N]`` on the table's device."""

    context: Tensor
    rollout: Tensor
    branch: Tensor
    state: Tensor
    step: Tensor


def walk(policy: DevicePolicy, seed: int, lanes: Lanes, limit: int | None = None) -> Steps:
    """Walks lanes to their ends.

    Args:
        policy: the policy, with the table it acts in.
        seed: first word of every random key.
        lanes: where they stand.
        limit: steps after which lanes are cut off (default: the table's horizon).
    """
    horizon = policy.dynamics.horizon if limit is None else limit
    n, device = len(lanes.state), policy.dynamics.device
    # On a card neighbouring threads write neighbouring lanes, so a column lies together there.
    shape = (horizon, n) if device.type == "cuda" else (n, horizon)
    kinds = ((torch.int64, 0),) * 5 + ((torch.int64, -1), (torch.float64, 0))
    recorded = [torch.full(shape, fill, dtype=kind, device=device) for kind, fill in kinds]
    if device.type == "cuda":
        recorded = [column.T for column in recorded]
    final, stop, _ = _run(policy, seed, lanes, horizon, 1.0, recorded)
    width = int(stop.max())
    when = torch.arange(width, device=device)
    mask = (when < stop[:, None]) & (when >= lanes.step[:, None])
    state, code, obs, anchor, choice, edge, reward = (column[:, :width].contiguous() for column in recorded)
    return Steps(mask, state, code, obs, anchor, choice, edge, reward, final)


def returns(policy: DevicePolicy, seed: int, lanes: Lanes, discount: float) -> tuple[Tensor, Tensor]:
    """Walks lanes to their ends; returns their returns from where they stand, float64 ``[N]``, and their steps, int64 ``[N]``.

    On a card the product and sum of a discounted return may be rounded once instead of twice.
    """
    nothing = torch.empty((0, 0), dtype=torch.int64, device=policy.dynamics.device)
    recorded = [*[nothing] * 6, nothing.to(torch.float64)]
    _, stop, total = _run(policy, seed, lanes, policy.dynamics.horizon, discount, recorded)
    return total, stop - lanes.step


def _run(
    policy: DevicePolicy, seed: int, lanes: Lanes, horizon: int, discount: float, recorded: list[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    d, n = policy.dynamics, len(lanes.state)
    final, stop = torch.empty_like(lanes.state), torch.empty_like(lanes.state)
    total = torch.empty(n, dtype=torch.float64, device=d.device)
    if not n:
        return final, stop, total
    arrays = [_array(x.contiguous()) for x in lanes]
    arguments = (
        np.uint64(seed & WORD),
        *arrays,
        np.int64(horizon),
        *_table(d),
        np.int64(_ROWS[policy.kind]),
        _array(policy.threshold.reshape(-1)),
        np.int64(policy.threshold.shape[-1]),
        recorded[0].numel() > 0,
        float(discount),
        *(_array(x) for x in (*recorded, final, stop, total)),
    )
    if d.device.type == "cuda":
        _grid()[(n + _BLOCK - 1) // _BLOCK, _BLOCK, _stream()](np.int64(n), arguments)
        return final, stop, total
    threads = min(torch.get_num_threads(), 1 + n // _LANES_PER_THREAD)
    edges = [n * k // threads for k in range(threads + 1)]
    if threads == 1:
        walk_lanes(0, n, *arguments)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda first, last: walk_lanes(first, last, *arguments), edges[:-1], edges[1:]))
    return final, stop, total


def _table(d: DeviceTable) -> tuple[Any, ...]:
    """Returns a table as the kernel reads it, made once per device table."""
    if d.kernel is None:
        table, emission = d.table, d.table.emission
        first = 0
        rows, parts = list[list[int]](), [np.zeros(0, dtype=np.int64)]
        for layer, _ in d.layers:
            rows.append([layer.per_episode, layer.state_class == "admissible", layer.size, first])
            parts.append(np.asarray(layer.threshold, dtype=np.int64).reshape(-1))
            first += parts[-1].size
        layers = d._put(np.array(rows, dtype=np.int64).reshape(-1, 4))
        whole, real = (torch.empty(0, dtype=kind, device=d.device) for kind in (torch.int64, torch.float64))

        def given(tensor: Tensor | None, empty: Tensor) -> Any:
            return _array(empty if tensor is None else tensor)

        dense = d._edge_of is not None
        d.kernel = (
            _array(d.edge_start),
            _array(d.n_admissible),
            _array(d.edge_action),
            given(d._edge_of, whole.view(0, 0)),
            dense,
            _array(d.outcome_start),
            given(d.outcome_threshold, whole),
            d.outcome_threshold is None,
            _array(d.successor),
            _array(d.reward),
            _array(d.terminal),
            float(table.inadmissible_reward),
            given(d.reward_scale, real),
            given(d.reward_shift, real),
            given(d.cutoff_reward, real),
            _array(d.base),
            np.int64(emission.n_codes),
            given(d.shift, whole),
            _array(d.anchor_code),
            _array(layers),
            _array(d._put(np.concatenate(parts))),
            any(not layer.per_episode for layer, _ in d.layers),
        )
    return d.kernel


def _array(tensor: Tensor) -> Any:
    """Returns the kernel's view of a tensor, without a copy."""
    if tensor.device.type == "cpu":
        return tensor.numpy()
    return _cuda().as_cuda_array(tensor, sync=False)


def _stream() -> Any:
    return _cuda().external_stream(torch.cuda.current_stream().cuda_stream)


@cache
def _cuda() -> Any:
    try:
        from numba import cuda
    except ImportError as error:
        raise CreditEnvsError(
            "device='cuda': sampling needs numba's CUDA target there: pip install numba-cuda"
        ) from error
    return cuda


@cache
def _grid() -> Any:
    """Returns the kernel in which every thread walks a lane; numba compiles the CPU's function anew for the card."""
    cuda = _cuda()

    @cuda.jit  # type: ignore[untyped-decorator]
    def grid(n: Any, arguments: Any) -> None:
        i = cuda.grid(1)
        if i < n:
            walk_lane(i, *arguments)

    return grid
