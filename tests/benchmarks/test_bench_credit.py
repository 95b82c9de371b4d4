"""Credit on one core: every estimator without extra rollouts on 51,200 steps, GRPO and GiGPO on 10^6 within 0.2 s.

Run with ``-s`` to see each estimator's overhead: its seconds over those of sampling the same batch from the same table.
"""

import functools
import time

import numpy as np
import pytest
import torch

from credit_envs import registry
from credit_envs.credit import ADVANTAGES
from credit_envs.evaluation.providers import METERED, Provided
from credit_envs.oracle import evaluate, uniform
from credit_envs.recipes.catalogue import around
from credit_envs.sampling import Sampler
from credit_envs.sampling.trajectories import Trajectories

METHODS = {piece.name: piece for piece in ADVANTAGES}
FREE = [piece.name for piece in ADVANTAGES if not METERED & set(piece.needs)]
STEPS = 51_200


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def large_batch(groups, size, steps, n_states=500):
    """Rollouts that wander among states in layers, 50 steps each, and win or lose at the end."""
    rng = np.random.default_rng(0)
    n = groups * size
    obs = torch.from_numpy(rng.integers(0, n_states, (n, steps)))
    obs[:, 0] = 0
    reward = torch.zeros((n, steps), dtype=torch.float64)
    reward[:, -1] = torch.from_numpy(rng.integers(0, 2, n)).double()
    zero = torch.zeros((n, steps), dtype=torch.int64)
    action = torch.from_numpy(rng.integers(0, 4, (n, steps)))
    return Trajectories(
        obs=obs,
        action=action,
        log_prob=torch.full((n, steps), float(np.log(0.25)), dtype=torch.float64),
        reward=reward,
        mask=torch.ones((n, steps), dtype=torch.bool),
        group=torch.arange(groups).repeat_interleave(size),
        context=torch.zeros(n, dtype=torch.int64),
        turn=zero,
        segment=zero,
        anchor=obs,
        policy_row=obs,
        policy_action=action,
        policy_table=torch.full((n_states, 4), 0.25, dtype=torch.float64),
    )


@pytest.mark.parametrize("name", ["grpo", "gigpo", "anchor_graph"])
def test_51200_steps(benchmark, name):
    batch = large_batch(128, 8, 50)
    credit = benchmark.pedantic(METHODS[name].function, (batch,), rounds=10, warmup_rounds=2)
    assert credit.shape == (1024, 50)


@pytest.mark.parametrize("name", ["grpo", "gigpo", "anchor_graph"])
def test_a_million_steps(benchmark, name):
    batch = large_batch(2500, 8, 50)
    credit = benchmark.pedantic(METHODS[name].function, (batch,), rounds=3, warmup_rounds=1)
    assert credit.shape == (20_000, 50)


@functools.cache
def sampled(plan, groups=64, size=8):
    """At least 51,200 steps of uniform play in a house of rooms, and the best of three samplings of them in seconds."""
    table = registry.make_table("KeyRooms", **({"plan": plan} if plan else {})).replace(horizon=120)
    sampler = Sampler(table, uniform(table), 0)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        sample = sampler.groups(groups, size)
        seconds.append(time.perf_counter() - began)
    assert int(sample.trajectories.mask.sum()) >= STEPS
    return table, sample, Provided(sampler, sample, evaluate(table, uniform(table))), min(seconds)


@pytest.mark.parametrize("name", FREE)
def test_overhead(benchmark, name):
    piece = METHODS[name]
    table, sample, provided, sampling = sampled(2 if "field" in piece.requires else 0)
    if (reason := around(piece).missing(table)) is not None:
        pytest.skip(reason)
    for need in piece.needs:
        _ = provided[need]  # made outside the clock: a real system would have it already
    batch = sample.trajectories
    credit = benchmark.pedantic(piece.steps, (batch, provided), rounds=3, warmup_rounds=1)
    assert credit.shape == batch.mask.shape
    seconds, steps = benchmark.stats.stats.min, int(batch.mask.sum())
    benchmark.extra_info |= {"steps": steps, "sampling": sampling, "overhead": seconds / sampling}
    print(
        f"\n{name}: {1e3 * seconds * STEPS / steps:.1f} ms per {STEPS} steps, {seconds / sampling:.1%} of sampling them"
        f" ({1e3 * sampling * STEPS / steps:.0f} ms)"
    )
