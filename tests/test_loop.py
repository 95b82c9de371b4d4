"""LOOP's advantage: leave-one-out, what is dropped, and RwNorm."""

import functools

import numpy as np
import pytest
import torch
from batches import batches, make_batch
from gaps import with_gaps
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_envs.credit.grpo import dr_grpo, grpo, rloo
from credit_envs.credit.loop import loop
from credit_envs.errors import CreditEnvsError
from credit_envs.sampling.statistics import group_count

few = settings(max_examples=60, deadline=None)
close = functools.partial(torch.allclose, rtol=1e-9, atol=1e-9)


@few
@given(batches(max_size=6), st.integers(0, 99))
def test_identities(batch, seed):
    k = group_count(batch.group, batch.n_groups)[batch.group][:, None]
    assert close(loop(batch, threshold=0.0), rloo(batch))
    assert close(loop(batch, threshold=0.0) * (k - 1), k * dr_grpo(batch))
    # RwNorm is K/(K − 1) times GRPO: a factor that depends on the group's size, not equality.
    assert close(loop(batch, rw_norm=True, threshold=0.0) * (k - 1), k * grpo(batch) * (k > 1))
    dropped = rloo(batch).abs() < 0.4
    assert torch.all(loop(batch, threshold=0.4)[dropped] == 0)
    assert close(loop(batch, threshold=0.4)[~dropped], rloo(batch)[~dropped])
    for i, r in enumerate(batch.returns.tolist()):
        mates = [float(x) for j, x in enumerate(batch.returns) if batch.group[j] == batch.group[i] and j != i]
        expected = r - np.mean(mates) if mates else 0.0
        assert float(loop(batch, threshold=0.0)[i, 0]) == pytest.approx(expected, abs=1e-9)
    wide, move = with_gaps(batch, seed)
    assert close(loop(wide), move(loop(batch)))


def test_what_is_dropped():
    # Leave-one-out: ±0.009·3/2 … The middle one differs by less than 0.01 from the others' mean.
    batch = make_batch([[0.5], [0.505], [0.52]])
    found = rloo(batch)[:, 0].tolist()
    assert found == pytest.approx([-0.0125, -0.005, 0.0175])
    assert loop(batch)[:, 0].tolist() == pytest.approx([-0.0125, 0.0, 0.0175])
    # Judged before RwNorm, which would have made it large.
    normed = loop(batch, rw_norm=True)[:, 0].tolist()
    assert normed[1] == 0
    assert normed[0] == pytest.approx(1.5 * float(grpo(batch)[0, 0]))
    assert loop(make_batch([[3.0]])).tolist() == [[0.0]]
    with pytest.raises(CreditEnvsError, match="threshold=-1"):
        loop(batch, threshold=-1)
