"""How long a fresh layout takes to become a table, and how fast its planes are drawn."""

import itertools

import numpy as np
import pytest

from credit_envs.faces.entry import make
from credit_envs.families import FAMILIES
from credit_envs.registry import SUITES, make_table


@pytest.mark.parametrize("shape", ["chain", "hub", "tree"])
@pytest.mark.parametrize(
    ("stages", "distractors"), [(2, 1), (4, 6), (60, 1)], ids=["default", "10k-states", "60-stages"]
)
def test_compile_a_fresh_layout(benchmark, shape, stages, distractors):
    """Target: 10,664 states in less than 1 ms; 60 stages in less than 1 s."""
    seeds = itertools.count()
    family = FAMILIES["KeyRooms"]
    family.build(0, map=shape, stages=stages, distractors=distractors)
    table = benchmark(lambda: family.build(next(seeds), map=shape, stages=stages, distractors=distractors))
    benchmark.extra_info["states"] = table.n_states


@pytest.mark.parametrize("name", FAMILIES)
def test_reset_of_a_fresh_instance(benchmark, name):
    """Target: less than 5 ms on average."""
    env, seeds = make(f"credit/{name}-v0", fresh=True), itertools.count()
    env.reset(seed=0)
    benchmark(lambda: env.reset(seed=next(seeds)))
    benchmark.extra_info["states"] = env.table.n_states


@pytest.mark.parametrize("name", sorted({name for names in SUITES.values() for name in names}))
def test_compile_an_entry_of_a_suite(benchmark, name):
    """Target: less than 30 s on one core."""
    benchmark.pedantic(lambda: make_table(name), rounds=1)
    assert benchmark.stats.stats.max < 30


def test_compile_pivots(benchmark):
    seeds = itertools.count()
    benchmark(lambda: FAMILIES["Pivots"].build(next(seeds)))


@pytest.mark.parametrize("view_size", [8, None], ids=["8x8x3", "whole-map"])
def test_draw_1024_planes(benchmark, view_size):
    table = FAMILIES["KeyRooms"].build(0, stages=4, distractors=6, view_size=view_size)
    states = np.random.default_rng(0).integers(table.n_states, size=1024)
    benchmark(table.view("grid").rows, states)
