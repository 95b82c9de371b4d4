"""Training throughput: GiGPO on KeyRooms, 6.5 million steps within 15 s on one core, ten learners of it at once within 60 s.

On a CUDA card (skipped without one): steps per second of sampling alone, and of sampling, credit and update, each beside the
card's floor: bytes that a step must move, over the bandwidth that a copy on the same card reaches. Run with

    pytest tests/benchmarks/test_bench_training.py -s -p no:cacheprovider --benchmark-only

where ``-s`` shows the figures.
"""

import importlib.util
import sys
import time
from pathlib import Path

import pytest
import torch

from credit_envs.credit.gigpo import gigpo
from credit_envs.losses.ppo import ppo
from credit_envs.training import Options, Run

_spec = importlib.util.spec_from_file_location("throughput", Path(__file__).parents[2] / "baselines" / "throughput.py")
throughput = sys.modules["throughput"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(throughput)

ENV = "credit/KeyRooms-v0?horizon=64"
UPDATES, GROUPS, SIZE = 200, 64, 8


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train(folder, learners, device="cpu", updates=UPDATES, groups=GROUPS):
    """The loop of agents/gigpo.py for a stated number of updates; returns environment steps, seconds and the run."""
    sizes = {"groups": groups, "group_size": SIZE, "learners": learners, "budget": 10**12, "points": 40}
    run = Run("gigpo", Options(env=ENV, **sizes, device=device, output=folder, quiet=True, tensorboard=False))
    run.going()
    began = time.perf_counter()
    while run.updates < updates:
        run.going()
        batch = run.groups().trajectories
        credit = gigpo(batch)
        run.update(run.loss(ppo, batch, credit, mode="seq-mean-token-sum-norm", length=run.table.horizon, dual=None))
        run.next(batch)
    if device == "cuda":
        torch.cuda.synchronize()
    return run.meter.env_steps, time.perf_counter() - began, run


@pytest.mark.parametrize(("learners", "limit"), [(1, 15.0), (10, 60.0)])
def test_gigpo_on_keyrooms(benchmark, tmp_path, learners, limit):
    steps, seconds, run = benchmark.pedantic(lambda: train(tmp_path, learners), rounds=1)
    print(f"\n{learners} learners: {steps / 1e6:.1f} M steps in {seconds:.1f} s, {steps / seconds / 1e6:.2f} M steps/s")
    assert steps > 0.3 * learners * UPDATES * GROUPS * SIZE * 64  # solved episodes are shorter than 64 steps
    assert float(run.returns().mean()) > 0.9
    assert seconds < limit


# -- CUDA ----------------------------------------------------------------------------------------------------------------

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA card here")


@cuda
def test_cuda_sampling(benchmark, tmp_path):
    """10^9 environment steps per second with a tabular policy."""
    sizes = {
        "groups": 1 << 17,
        "group_size": SIZE,
        "device": "cuda",
        "output": tmp_path,
        "quiet": True,
        "tensorboard": False,
    }
    run = Run("gigpo", Options(env=ENV, **sizes))
    run.groups()

    def sample():
        before = run.meter.env_steps
        batch = run.sampler.groups(1 << 17, SIZE).trajectories
        torch.cuda.synchronize()
        return run.meter.env_steps - before, batch

    began = time.perf_counter()
    steps, batch = benchmark.pedantic(sample, rounds=1)
    rate = steps / (time.perf_counter() - began)
    floor = throughput.bandwidth("cuda") / throughput.bytes_per_step(run, batch)
    print(f"\n{torch.cuda.get_device_name()}: {rate:.3g} steps/s sampled, floor {floor:.3g} ({rate / floor:.1%} of it)")
    assert rate > 1e9


@cuda
def test_cuda_sampling_and_updates(benchmark, tmp_path):
    """3·10^7 environment steps per second with credit and updates."""
    steps, seconds, run = benchmark.pedantic(lambda: train(tmp_path, 1, "cuda", updates=20, groups=1 << 15), rounds=1)
    rate, moved = steps / seconds, throughput.bytes_per_step(run, run.groups().trajectories)
    floor = throughput.bandwidth("cuda") / moved
    print(f"\n{torch.cuda.get_device_name()}: {rate:.3g} steps/s trained, floor {floor:.3g} ({rate / floor:.1%} of it)")
    assert rate > 3e7
