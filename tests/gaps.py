"""Observation tokens for tests: masked columns put anywhere into a batch, filled with rubbish that must not matter."""

import dataclasses

import numpy as np
import torch


def with_gaps(batch, seed, most=3):
    """The same rollouts with up to ``most`` masked columns before, between and after their steps (rewards there are 0).

    Returns the batch and a function that moves ``[N, T]`` of the old batch to where its steps are now.
    """
    rng = np.random.default_rng(seed)
    lengths = batch.lengths.tolist()
    places = [np.cumsum(1 + rng.integers(0, most + 1, n)) - 1 for n in lengths]
    width = max(p[-1] for p in places) + 1 + int(rng.integers(0, most + 1))
    rows = torch.repeat_interleave(torch.arange(len(lengths)), batch.lengths)
    columns = torch.from_numpy(np.concatenate(places))

    def move(values, rubbish=True):
        shape = (len(lengths), width)
        out = (
            torch.from_numpy(rng.integers(0, 3, shape)).to(values.dtype)
            if rubbish
            else torch.zeros(shape, dtype=values.dtype)
        )
        out[rows, columns] = values[batch.mask]
        return out

    mask = torch.zeros(len(lengths), width, dtype=torch.bool)
    mask[rows, columns] = True
    fields = {
        f.name: move(getattr(batch, f.name), f.name != "reward")
        for f in dataclasses.fields(batch)
        if f.name not in ("mask", "policy_table", "node")
        and getattr(batch, f.name) is not None
        and getattr(batch, f.name).ndim == 2
    }
    return batch.replace(**fields, mask=mask, node=None), lambda values: move(values, False)
