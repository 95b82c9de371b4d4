"""Speed of tree search beside mctx (jitted JAX on the CPU), with the same rules on the same table in one run.

Run with ``pytest tests/benchmarks/test_bench_search.py --benchmark-only --benchmark-group-by=group``; the peer comes with
the extra ``bench``. Leaves are valued by a table on both sides, because mctx plays no rollouts; one row shows what playing
the policy to the end costs. Visit counts are compared on all 1,024 roots, in double precision (an error under the
logarithm can hide among 256). Ours runs on one thread but where a name says otherwise; mctx takes what it gets, which at this
size is about one as well.
"""

import functools
import os

import numpy as np
import pytest
import torch

from credit_envs.oracle import evaluate, uniform
from credit_envs.sampling import Sampler
from credit_envs.sampling.search import search
from credit_envs.table import from_outcomes

ROOTS, SIMULATIONS, C = 1024, 64, 2**0.5
STATES, ACTIONS, HORIZON = 9392, 7, 50  # the size of DoorKey 8×8
ROUNDS = {"rounds": 8, "warmup_rounds": 2, "iterations": 1}


@functools.cache
def scene():
    """A deterministic table with random rewards, so that nothing ties, and a sample of its roots."""
    rng, n = np.random.default_rng(0), STATES * ACTIONS
    state = np.repeat(np.arange(STATES), ACTIONS)
    outcomes = {
        "state": state,
        "action": np.tile(np.arange(ACTIONS), STATES),
        "successor": np.clip(state + rng.integers(-60, 61, n), 0, STATES - 1),
        "probability": np.ones(n),
        "reward": rng.normal(size=n),
        "terminal": rng.random(n) < 0.02,
    }
    start = dict.fromkeys(rng.choice(STATES, ROOTS, replace=False).tolist(), 1 / ROOTS)
    sizes = {"start": start, "horizon": HORIZON, "allow_unreachable": True}
    table = from_outcomes("bench", STATES, ACTIONS, outcomes, **sizes)
    sampler = Sampler(table, uniform(table), 0)
    sample = sampler.groups(ROOTS, 1, torch.arange(ROOTS))
    return table, sampler, sample, evaluate(table, uniform(table)).V


def ours(rule, leaves=True):
    _, sampler, sample, values = scene()
    zero = torch.zeros(ROOTS, dtype=torch.int64)
    return search(sampler, sample, torch.arange(ROOTS), zero, SIMULATIONS, C, rule, leaf=values if leaves else None)[0]


def peer(rule, dtype):
    """A jitted search by mctx under the same rule; returns a function without arguments that gives visits ``[M, A]``."""
    mctx = pytest.importorskip("mctx", reason="mctx is not installed: pip install 'credit-envs[bench]'")
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", dtype == "float64")
    table, _, _, values = scene()
    dense = table.dense()
    following = jnp.asarray(dense["successor"][:, :, 0].astype(np.int32))
    reward = jnp.asarray(dense["reward"][:, :, 0], dtype)
    alive = jnp.asarray(~dense["terminal"][:, :, 0], dtype)
    value = jnp.asarray(values, dtype)

    def recurrent(_, key, action, embedding):
        state, t = embedding
        nxt, t = following[state, action], t + 1
        discount = jnp.where(t < HORIZON, alive[state, action], 0).astype(dtype)
        logits = jnp.zeros((len(state), ACTIONS), dtype)
        leaf = value[jnp.minimum(t, HORIZON), nxt]
        out = {"reward": reward[state, action], "discount": discount, "prior_logits": logits, "value": leaf}
        return mctx.RecurrentFnOutput(**out), (nxt, t)

    def select(key, tree, node, depth):
        count = tree.children_visits[node].astype(dtype)
        n = tree.node_visits[node].astype(dtype)
        q = tree.qvalues(node)
        if rule == "uct":
            bonus = C * jnp.sqrt(jnp.log(n)) * (1 / jnp.sqrt(jnp.maximum(count, 1)))
            return jnp.argmax(jnp.where(count > 0, q + bonus, jnp.inf))
        prior = jax.nn.softmax(tree.children_prior_logits[node])
        q = jnp.where(count > 0, q, tree.node_values[node])
        return jnp.argmax(q + C * jnp.sqrt(n) * prior / (1 + count))

    def at_root(key, tree, node):
        return select(key, tree, node, 0)

    state = jnp.asarray(table.start_state.astype(np.int32))
    zero = jnp.zeros_like(state)
    logits = jnp.zeros((ROOTS, ACTIONS), dtype)
    root = mctx.RootFnOutput(prior_logits=logits, value=value[0, state], embedding=(state, zero))

    @jax.jit
    def run(key, root):
        if rule in ("muzero_policy", "gumbel_muzero_policy"):
            options = {"dirichlet_fraction": 0.0} if rule == "muzero_policy" else {}
            return getattr(mctx, rule)((), key, root, recurrent, SIMULATIONS, **options).search_tree.children_visits[
                :, 0
            ]
        tree = mctx.search(
            (),
            key,
            root=root,
            recurrent_fn=recurrent,
            root_action_selection_fn=at_root,
            interior_action_selection_fn=select,
            num_simulations=SIMULATIONS,
        )
        return tree.children_visits[:, 0]

    key = jax.random.PRNGKey(0)
    return lambda: run(key, root).block_until_ready()


@pytest.mark.parametrize("rule", ["uct", "puct"])
def test_equal_visit_counts(rule):
    theirs = np.asarray(peer(rule, "float64")())
    assert np.array_equal(ours(rule).visits.numpy(), theirs)
    assert theirs.sum(axis=1).tolist() == [SIMULATIONS] * ROOTS


@pytest.mark.benchmark(group="search: 1,024 roots × 64 simulations")
@pytest.mark.parametrize(
    "what",
    [
        *("ours uct", "ours puct", "ours uct, rollouts", "ours policy, rollouts", "ours uct, all threads"),
        *("mctx uct float32", "mctx puct float32", "mctx uct float64", "mctx puct float64"),
        *("mctx muzero_policy float32", "mctx gumbel_muzero_policy float32"),
    ],
)
def test_search(benchmark, what):
    who, rule, *rest = what.replace(",", "").split()
    run = functools.partial(ours, rule, "rollouts" not in rest) if who == "ours" else peer(rule, rest[0])
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() if "threads" in rest else 1)
    try:
        benchmark.pedantic(run, **ROUNDS)
    finally:
        torch.set_num_threads(threads)
    benchmark.extra_info["simulations_per_second"] = f"{ROOTS * SIMULATIONS / benchmark.stats.stats.min:.3g}"
