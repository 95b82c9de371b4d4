"""Sampling on torch: rollouts in groups and continuations, the same on CPU and CUDA, every step metered."""

from credit_envs.sampling.batch import BatchStep, TorchBatch
from credit_envs.sampling.device import DevicePolicy, DeviceTable
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Meter, Sample, Trajectories, Truth

__all__ = [
    "BatchStep",
    "DevicePolicy",
    "DeviceTable",
    "Meter",
    "Sample",
    "Sampler",
    "TorchBatch",
    "Trajectories",
    "Truth",
]
