"""Policy losses: values and gradients against slow references and finite differences, and the identities between them."""

import functools
import math

import numpy as np
import pytest
import torch
from batches import batches, make_batch, rows_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from credit_envs.credit.grpo import rloo
from credit_envs.errors import CreditEnvsError
from credit_envs.losses import LOSSES
from credit_envs.losses.cispo import cispo
from credit_envs.losses.gmpo import gmpo
from credit_envs.losses.gspo import gspo, gspo_token, mean_ratio
from credit_envs.losses.loop import loop
from credit_envs.losses.ppo import kl_term, ppo
from credit_envs.losses.reinforce import reinforce
from credit_envs.losses.sapo import sapo
from credit_envs.losses.sorl import clipping_bias, sorl
from credit_envs.losses.sspo import sspo
from credit_envs.losses.surrogate import AGGREGATES, aggregate, clipped, log_ratio, units
from credit_envs.piece import Piece
from credit_envs.sampling.divergence import entropy, k3, kl
from credit_envs.sampling.trajectories import Trajectories

few = settings(max_examples=30, deadline=None)
close = functools.partial(torch.allclose, rtol=1e-9, atol=1e-10)
SURROGATES = {piece.name: piece for piece in LOSSES if "dpo" not in piece.name}
OPEN = {"low": 1.0, "high": math.inf}
DETACHED = ("cispo", "gspo_token", "gspo_token_wide", "sorl")
"""Losses that hold something constant, so that their gradient isn't the slope of their value."""


def turned(batch: Trajectories, seed: int) -> Trajectories:
    """The same batch with turns of random lengths."""
    rng = np.random.default_rng(seed)
    number = np.cumsum(rng.random(batch.mask.shape) < 0.5, axis=1)
    return batch.replace(turn=torch.where(batch.mask, torch.from_numpy(number), 0))


def moved(batch: Trajectories, seed: int, far: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    """(log-probabilities some way off the behaviour policy's, credit) with noise behind the mask."""
    rng = torch.Generator().manual_seed(seed)
    away = torch.randn((2, *batch.mask.shape), generator=rng, dtype=torch.float64)
    return batch.log_prob + far * away[0], away[1]


def outcome(batch: Trajectories, seed: int) -> torch.Tensor:
    """Credit that is one number per rollout."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randn((batch.n_rollouts, 1), generator=rng, dtype=torch.float64).expand(batch.mask.shape)


def run(piece: Piece, log_prob, batch, credit):
    """(value, gradient in log_prob) of a loss."""
    x = log_prob.detach().clone().requires_grad_()
    value = piece(x, batch, credit, provided={"parameters": (x,)})
    return value.detach(), torch.autograd.grad(value, x)[0]


def gradient(loss, log_prob, batch, credit, **options):
    x = log_prob.detach().clone().requires_grad_()
    return torch.autograd.grad(loss(x, batch, credit, **options), x)[0]


# -- slow references: loops over rows, with whatever a loss holds constant taken at `base` ---------------------------


def rows(batch, *arrays):
    """Per rollout: lists of the taken steps' (turn, *values)."""
    for i in range(batch.n_rollouts):
        steps = [t for t in range(batch.mask.shape[1]) if batch.mask[i, t]]
        if steps:
            yield steps, [int(batch.turn[i, t]) for t in steps], *([float(a[i, t]) for t in steps] for a in arrays)


def clip(x, low, high):
    return min(max(x, low), high)


def surrogate(ratio, credit, low, high, dual=None):
    loss = max(-credit * ratio, -credit * clip(ratio, 1 - low, 1 + high))
    return min(loss, -credit * dual) if dual is not None and credit < 0 else loss


def by_step(step, mode, length):
    """Aggregates per-step losses ``step(log ρ, credit)`` the slow way."""

    def reference(x, base, batch, credit):
        parts = []
        for steps, _, new, old, a in rows(batch, x, batch.log_prob, credit):
            parts.append([step(clip(new[j] - old[j], -20, 20), a[j]) for j in range(len(steps))])
        if mode == "token-mean":
            return sum(map(sum, parts)) / sum(map(len, parts))
        divisor = {"seq-mean-token-mean": len, "seq-mean-token-sum": lambda _: 1}.get(mode, lambda _: length(batch))
        return sum(sum(part) / divisor(part) for part in parts) / len(parts)

    return reference


def by_unit(level, mean, epsilon, low=None, held=False, normalised=False):
    """Losses with one ratio per unit: LOOP (products), GSPO and SORL (geometric means)."""
    low = epsilon if low is None else low

    def reference(x, base, batch, credit):
        total, removed, n = 0.0, 0.0, 0
        for steps, turn, new, old, a, fixed in rows(batch, x, batch.log_prob, credit, base):
            keys = {"step": steps, "turn": turn, "trajectory": [0] * len(steps)}[level]
            row = 0.0
            for key in dict.fromkeys(keys):
                own = [j for j, k in enumerate(keys) if k == key]
                scale = len(own) if mean else 1
                ratio = math.exp(sum(new[j] - old[j] for j in own) / scale)
                if normalised:
                    a_mean = sum(a[j] for j in own) / len(own)
                    a = [a_mean if j in own else a[j] for j in range(len(steps))]
                for j in own:
                    here = ratio
                    if held:
                        here = math.exp(sum(fixed[k] - old[k] for k in own) / scale) * math.exp(new[j] - fixed[j])
                    part = surrogate(here, a[j], low, epsilon)
                    row += part / (len(steps) if mean else len(own))
                    frozen = math.exp(sum(fixed[k] - old[k] for k in own) / scale)
                    if (a[j] > 0 and frozen > 1 + epsilon) or (a[j] < 0 and frozen < 1 - low):
                        removed += ratio * a[j] / len(steps)
            total += row / (1 if mean else len(dict.fromkeys(keys)))
            n += 1
        return (total / n, removed / n) if normalised else total / n

    return reference


def by_rollout(log_gate, batch_credit_only=True):
    """Losses −s_i Ā_i with s_i a geometric mean of gated ratios."""

    def reference(x, base, batch, credit):
        total, n = 0.0, 0
        for steps, _, new, old, a in rows(batch, x, batch.log_prob, credit):
            mean = sum(a) / len(a)
            logs = [log_gate(new[j] - old[j], a[j], mean) for j in range(len(steps))]
            total -= math.exp(sum(logs) / len(logs)) * mean
            n += 1
        return total / n

    return reference


def sigmoid_gate(log_rho, a):
    tau = 1.0 if a > 0 else 1.05
    return 4 / tau / (1 + math.exp(-tau * (math.exp(log_rho) - 1)))


def gmpo_gate(log_rho, a, _):
    return clip(log_rho, -math.inf, 0.4) if a > 0 else clip(log_rho, -0.4, math.inf) if a < 0 else 0.0


def cispo_reference(x, base, batch, credit):
    total, n = 0.0, 0
    for steps, _, new, old, a, fixed in rows(batch, x, batch.log_prob, credit, base):
        total -= sum(clip(math.exp(fixed[j] - old[j]), 0.8, 1.2) * a[j] * new[j] for j in range(len(steps)))
        n += len(steps)
    return total / n


def reinforce_reference(x, base, batch, credit):
    return -float((torch.as_tensor(x) * credit)[batch.mask].sum()) / batch.n_rollouts


def width(batch):
    return batch.mask.shape[1]


def ppo_reference(mode, high=0.2, dual=None, beta=0.0):
    def step(log_rho, a):
        return surrogate(math.exp(log_rho), a, 0.2, high, dual) + beta * (math.exp(-log_rho) + log_rho - 1)

    return by_step(step, mode, width)


REFERENCES = {
    "reinforce": reinforce_reference,
    "ppo": ppo_reference("token-mean", dual=3.0),
    "grpo_loss": ppo_reference("seq-mean-token-mean"),
    "grpo_kl_loss": ppo_reference("seq-mean-token-mean", beta=0.04),
    "dr_grpo_loss": ppo_reference("seq-mean-token-sum-norm"),
    "dapo_loss": ppo_reference("token-mean", high=0.28, dual=10.0),
    "loop_token": by_unit("step", mean=False, epsilon=0.1),
    "loop_turn": by_unit("turn", mean=False, epsilon=0.1),
    "loop_trajectory": by_unit("trajectory", mean=False, epsilon=0.1),
    "gspo": by_unit("trajectory", mean=True, epsilon=4e-4, low=3e-4),
    "gspo_wide": by_unit("trajectory", mean=True, epsilon=0.2),
    "gspo_token": by_unit("trajectory", mean=True, epsilon=4e-4, low=3e-4, held=True),
    "gspo_token_wide": by_unit("trajectory", mean=True, epsilon=0.2, held=True),
    "sapo": by_step(lambda x, a: -sigmoid_gate(x, a) * a, "seq-mean-token-mean", width),
    "gmpo": by_rollout(gmpo_gate),
    "cispo": cispo_reference,
    "sspo": by_rollout(lambda x, *_: math.atan(x)),
    "sspo_sigmoid": by_rollout(lambda x, _, mean: math.log(sigmoid_gate(x, mean))),
    "sorl": by_unit("turn", mean=True, epsilon=0.2, normalised=True),
}


def slopes(reference, batch, log_prob, credit):
    """Central differences of a reference in every taken step; what it holds constant stays at ``log_prob``."""
    out = np.zeros((*log_prob.shape, 2))
    base, h = log_prob.numpy().copy(), 1e-6
    for i, t in torch.nonzero(batch.mask).tolist():
        up, down = base.copy(), base.copy()
        up[i, t] += h
        down[i, t] -= h
        ends = (np.asarray(reference(x, base, batch, credit)) for x in (up, down))
        out[i, t] = np.subtract(*ends) / (2 * h)
    return out


def test_every_surrogate_has_a_reference():
    assert REFERENCES.keys() == SURROGATES.keys()


@pytest.mark.parametrize("name", SURROGATES)
@settings(max_examples=15, deadline=None)
@given(batches(max_groups=2, max_size=3, max_steps=4), st.integers(0, 10**6), st.sampled_from([0.05, 0.3, 1.5]))
def test_value_and_gradient_of_every_loss(name, batch, seed, far):
    batch = turned(batch, seed)
    log_prob, credit = moved(batch, seed, far)
    value, grad = run(SURROGATES[name], log_prob, batch, credit)
    reference = REFERENCES[name](log_prob.numpy(), log_prob.numpy(), batch, credit)
    slope = slopes(REFERENCES[name], batch, log_prob, credit)[..., 0]
    if name == "sorl":
        removed = slopes(REFERENCES[name], batch, log_prob, credit)[..., 1]
        scale = max(1.0, float(np.sqrt((removed**2).sum())))
        reference, slope = reference[0] / scale, slope / scale
    assert float(value) == pytest.approx(reference, rel=1e-9, abs=1e-12)
    assert grad.numpy() == pytest.approx(slope, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("name", [name for name in SURROGATES if name not in DETACHED])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gradients_in_logits(name, seed):
    """The same through a softmax: shared rows, several actions, padding."""
    rng = np.random.default_rng(seed)
    policy = rng.dirichlet(np.ones(3), size=3)
    lengths = [4, 1, 3]
    batch = make_batch(
        [[0.0] * n for n in lengths],
        anchors=[rng.integers(0, 3, n).tolist() for n in lengths],
        actions=[rng.integers(0, 3, n).tolist() for n in lengths],
        policy=policy,
    )
    batch, credit = turned(batch, seed), moved(batch, seed)[1]
    logits = torch.from_numpy(np.log(policy) + 0.2 * rng.normal(size=policy.shape)).requires_grad_()

    def loss(z):
        return SURROGATES[name](
            torch.log_softmax(z, dim=1)[batch.policy_row, batch.policy_action], batch, credit, provided={}
        )

    assert torch.autograd.gradcheck(loss, logits)


# -- on-policy: all have one gradient up to the aggregate ------------------------------------------------------------


def on_policy_weight(name, batch):
    """Weight of a step's own credit on-policy, from the definition of each aggregate."""
    size, n = batch.lengths[:, None].to(torch.float64), batch.n_rollouts
    if name == "reinforce":
        weight = torch.ones_like(size) / n
    elif name in ("ppo", "dapo_loss", "cispo"):
        weight = torch.ones_like(size) / size.sum()
    elif name == "dr_grpo_loss":
        weight = torch.ones_like(size) / (n * batch.mask.shape[1])
    elif name == "loop_trajectory":
        weight = torch.ones_like(size) / n
    elif name == "loop_turn":
        turns = torch.tensor([[len(set(batch.turn[i][batch.mask[i]].tolist()))] for i in range(n)])
        weight = 1 / (n * turns.to(torch.float64))
    else:
        weight = 1 / (n * size)
    return torch.where(batch.mask, weight, 0.0)


@pytest.mark.parametrize("name", SURROGATES)
@few
@given(batches(), st.integers(0, 1000))
def test_on_policy_gradients_agree(name, batch, seed):
    batch = turned(batch, seed)
    credit = outcome(batch, seed)
    grad = run(SURROGATES[name], batch.log_prob, batch, credit)[1]
    assert close(grad, -on_policy_weight(name, batch) * credit)


@few
@given(batches(), st.integers(0, 1000))
def test_step_credit_on_policy(batch, seed):
    """Losses with a ratio per step keep step credit; those with one per rollout replace it by its mean."""
    batch = turned(batch, seed)
    credit = moved(batch, seed)[1]
    mean = (credit * batch.mask).sum(1, keepdim=True) / batch.lengths[:, None]
    weight = on_policy_weight("grpo_loss", batch)
    for name in ("grpo_loss", "grpo_kl_loss", "sapo", "gspo_token"):
        assert close(run(SURROGATES[name], batch.log_prob, batch, credit)[1], -weight * credit)
    for name in ("gspo", "gmpo", "sspo", "sspo_sigmoid"):
        assert close(run(SURROGATES[name], batch.log_prob, batch, credit)[1], -weight * mean)


@few
@given(batches(min_size=2), st.integers(0, 100))
def test_loop_on_policy_is_rloo(batch, seed):
    """One epoch, one minibatch, no clip: LOOP by token is RLOO's policy gradient, each rollout divided by its length."""
    credit = rloo(batch)
    per_rollout = gradient(reinforce, batch.log_prob, batch, credit) / batch.lengths[:, None]
    assert close(gradient(loop, batch.log_prob, batch, credit), per_rollout)
    assert close(
        gradient(loop, batch.log_prob, batch, credit, level="trajectory"),
        gradient(reinforce, batch.log_prob, batch, credit),
    )


# -- identities between losses ---------------------------------------------------------------------------------------


def lone_steps(seed, n=7):
    batch = make_batch([[float(i % 3)] for i in range(n)], anchors=[[i % 2] for i in range(n)])
    return batch, *moved(batch, seed, 0.5)


@pytest.mark.parametrize("seed", range(5))
def test_rollouts_of_one_step(seed):
    batch, log_prob, credit = lone_steps(seed)
    token = gradient(ppo, log_prob, batch, credit, dual=None, mode="seq-mean-token-mean")
    for same in (gspo, gspo_token):
        assert close(gradient(same, log_prob, batch, credit, low=0.2, high=0.2), token)
    assert close(gradient(sorl, log_prob, batch, credit, parameters=()), token)
    each = [gradient(loop, log_prob, batch, credit, level=level) for level in ("step", "turn", "trajectory")]
    assert close(each[0], each[1])
    assert close(each[0], each[2])
    assert close(gradient(sspo, log_prob, batch, credit, gate="sigmoid"), gradient(sapo, log_prob, batch, credit))


@few
@given(batches(), st.integers(0, 1000), st.sampled_from([0.1, 1.0]))
def test_sspo_without_a_gate_is_gspo_without_a_clip(batch, seed, far):
    log_prob, credit = moved(batch, seed, far)
    assert close(gradient(sspo, log_prob, batch, credit, gate="none"), gradient(gspo, log_prob, batch, credit, **OPEN))
    assert close(sspo(log_prob, batch, credit, gate="none"), gmpo(log_prob, batch, credit, math.inf, math.inf))
    small = gradient(sspo, log_prob, batch, credit, gate="arctan", tau=1e-6)
    assert torch.allclose(small, gradient(gspo, log_prob, batch, credit, **OPEN), atol=1e-8)


@few
@given(batches(), st.integers(0, 1000))
def test_limits_of_sapo(batch, seed):
    """τ → 0 is the unclipped surrogate; a steep gate leaves only steps near ratio 1."""
    log_prob, credit = moved(batch, seed)
    free = gradient(ppo, log_prob, batch, credit, dual=None, mode="seq-mean-token-mean", **OPEN)
    soft = gradient(sapo, log_prob, batch, credit, positive=1e-5, negative=1e-5)
    assert torch.allclose(soft, free, rtol=1e-6, atol=1e-8)
    steep = gradient(sapo, log_prob, batch, credit, positive=1e4, negative=1e4)
    far_off = (log_ratio(log_prob, batch).exp() - 1).abs() > 1e-2
    assert torch.all(steep[far_off].abs() < 1e-30)


@given(st.integers(1, 12), st.floats(-19, 19), st.sampled_from([0.5, 1.0, 3.0]))
def test_one_step_moves_sspo_by_a_bounded_factor(length, far, tau):
    batch = make_batch([[1.0] * length])
    credit = torch.ones_like(batch.log_prob)
    log_prob = batch.log_prob.clone()
    log_prob[0, -1] += far
    factor = float(sspo(log_prob, batch, credit, tau=tau) / sspo(batch.log_prob, batch, credit, tau=tau))
    assert abs(math.log(factor)) <= math.pi / (2 * tau * length)


@few
@given(batches(), st.integers(0, 1000), st.sampled_from([0.2, 2.0]))
def test_ratios_of_turns(batch, seed, far):
    """One turn has GSPO's ratio, one-step turns PPO's, and the geometric mean is at most the arithmetic one."""
    log_prob, credit = moved(batch, seed, far)
    credit = outcome(batch, seed)
    one = batch.replace(turn=torch.zeros_like(batch.turn))
    assert close(mean_ratio(log_prob, one, "turn"), mean_ratio(log_prob, batch, "trajectory"))
    plain = gradient(gspo, log_prob, one, credit, low=0.2, high=0.2)
    got = gradient(sorl, log_prob, one, credit, parameters=())
    assert close(got, plain)
    alone = gradient(sorl, log_prob, batch, credit, parameters=())
    assert close(alone, gradient(ppo, log_prob, batch, credit, dual=None, mode="seq-mean-token-mean"))
    some = turned(batch, seed)
    rho, unit = torch.where(some.mask, log_ratio(log_prob, some).exp(), 0.0), units(some, "turn")
    for u in unit[some.mask].unique():
        own = some.mask & (unit == u)
        assert torch.all(mean_ratio(log_prob, some, "turn")[own] <= rho[own].mean() + 1e-12)


@few
@given(batches(), st.integers(0, 1000))
def test_clipping_bias(batch, seed):
    """Nothing clipped: C = 0 and SORL is its own surrogate; much clipped: the gradient shrinks by exactly ‖C‖."""
    batch = turned(batch, seed)
    near, credit = moved(batch, seed, 0.01)
    x = near.clone().requires_grad_()
    assert float(clipping_bias(mean_ratio(x, batch, "turn"), batch, credit, 0.2, (x,))) == 0
    assert close(gradient(sorl, near, batch, credit, parameters=()), run(SURROGATES["sorl"], near, batch, credit)[1])
    far = batch.log_prob + 3
    x = far.clone().requires_grad_()
    plain = gradient(sorl, far, batch, 50 * credit, parameters=())
    turn_credit = torch.zeros_like(credit)
    unit = units(batch, "turn")
    for u in unit[batch.mask].unique():
        own = batch.mask & (unit == u)
        turn_credit[own] = 50 * credit[own].mean()
    norm = clipping_bias(mean_ratio(x, batch, "turn"), batch, turn_credit, 0.2, (x,))
    assert not norm.requires_grad
    assume(float(norm) > 1)
    assert close(run(SURROGATES["sorl"], far, batch, 50 * credit)[1], plain / norm)


def test_bounds_of_loop():
    """ε = 0.1 holds bad steps at 0.9 in the paper and at 1/1.1 in the released code."""
    batch = make_batch([[1.0]])
    bad = -torch.ones(1, 1, dtype=torch.float64)
    for ratio, paper, released in ((0.905, True, False), (0.92, True, True), (0.85, False, False)):
        log_prob = batch.log_prob + math.log(ratio)
        assert bool((gradient(loop, log_prob, batch, bad) != 0).all()) == paper
        assert bool((gradient(loop, log_prob, batch, bad, released=True) != 0).all()) == released
    good = -bad
    for ratio, free in ((1.09, True), (1.11, False)):
        for flag in (False, True):
            grad = gradient(loop, batch.log_prob + math.log(ratio), batch, good, released=flag)
            assert bool((grad != 0).all()) == free


@given(st.floats(0.01, 30), st.floats(-3, 3), st.sampled_from([3.0, 10.0]))
def test_dual_clip_acts_on_negative_credit_alone(ratio, credit, dual):
    r, a = (torch.tensor([[x]], dtype=torch.float64) for x in (ratio, credit))
    plain, both = (float(clipped(r, a, 0.2, 0.2, c)) for c in (None, dual))
    if credit >= 0:
        assert both == plain
    else:
        assert both == pytest.approx(min(plain, -dual * credit))
    x = r.clone().requires_grad_()
    clipped(x, a, 0.2, 0.2, dual).sum().backward()
    assert credit >= 0 or ratio <= dual or float(x.grad) == 0


@few
@given(batches(), st.integers(0, 1000))
def test_cispo_weighs_what_ppo_drops(batch, seed):
    """Where PPO passes no gradient CISPO passes the bound times the score; inside the bounds they agree."""
    log_prob, credit = moved(batch, seed, 0.6)
    kept = gradient(ppo, log_prob, batch, credit, dual=None)
    weight = log_ratio(log_prob, batch).exp().clamp(0.8, 1.2)
    every = gradient(cispo, log_prob, batch, credit)
    expected = torch.where(batch.mask, -weight * credit / batch.mask.sum(), 0.0)
    assert close(every, expected)
    inside = batch.mask & (weight > 0.8) & (weight < 1.2)
    assert close(every[inside], kept[inside])


# -- aggregation and divergences -------------------------------------------------------------------------------------


@few
@given(batches(), st.integers(0, 1000))
def test_aggregates(batch, seed):
    values = moved(batch, seed)[1]
    for mode in AGGREGATES:
        slow = by_step(lambda _, a: a, mode, width)(values.numpy(), None, batch, values)
        assert float(aggregate(values, batch.mask, mode)) == pytest.approx(slow)
    assert close(
        aggregate(values, batch.mask, "seq-mean-token-sum-norm", 50),
        aggregate(values, batch.mask, "seq-mean-token-sum") / 50,
    )
    if len(set(batch.lengths.tolist())) == 1:
        assert close(aggregate(values, batch.mask), aggregate(values, batch.mask, "seq-mean-token-mean"))


@pytest.mark.parametrize("seed", [0, 1])
def test_the_mean_of_k3_is_the_kl(seed):
    rng = np.random.default_rng(seed)
    p, q = torch.from_numpy(rng.dirichlet(np.ones(4), size=2))
    action = torch.from_numpy(rng.choice(4, 40_000, p=p.numpy()))
    sample = k3((q.log() - p.log())[action])
    exact = float(kl(p, q))
    z = (float(sample.mean()) - exact) / (float(sample.std()) / math.sqrt(len(sample)))
    assert abs(z) < 4
    assert float((p * k3(q.log() - p.log())).sum()) == pytest.approx(exact)
    assert bool((sample >= 0).all())
    # As a term of a loss: actions of π itself, aggregated over a batch.
    batch = make_batch([[0.0]] * len(action), [[0]] * len(action), actions=action[:, None].tolist(), policy=p[None])
    term = kl_term(batch.log_prob, batch, q.log()[batch.policy_action])
    assert float(term) == pytest.approx(float(sample.mean()))


@given(st.integers(0, 1000), st.integers(2, 6))
def test_divergence_and_entropy(seed, n):
    rng = np.random.default_rng(seed)
    p, q = torch.from_numpy(rng.dirichlet(np.ones(n), size=2))
    assert float(kl(p, p)) == 0
    assert float(kl(p, q)) == pytest.approx(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
    flat = torch.full_like(p, 1 / n)
    assert float(entropy(p)) == pytest.approx(math.log(n) - float(kl(p, flat)))
    sure = torch.zeros(n, dtype=torch.float64)
    sure[0] = 1
    assert float(entropy(sure)) == 0
    assert float(kl(sure, q)) == pytest.approx(-math.log(q[0]))
    assert math.isinf(float(kl(q, sure)))


def test_kl_term_pulls_towards_the_reference():
    batch = make_batch([[0.0, 0.0]])
    credit = torch.zeros_like(batch.log_prob)
    log_prob = batch.log_prob + torch.tensor([[0.4, -0.4]], dtype=torch.float64)
    grad = gradient(ppo, log_prob, batch, credit, beta=0.5)
    assert grad[0, 0] > 0 > grad[0, 1]
    assert torch.all(gradient(ppo, log_prob, batch, credit, beta=0.5, reference=log_prob) == 0)


# -- padding, order, devices, bad input ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SURROGATES)
@few
@given(batches(), st.integers(0, 1000), st.sampled_from([math.nan, math.inf, -math.inf, 1e300]))
def test_what_stands_behind_the_mask_makes_no_difference(name, batch, seed, junk):
    batch = turned(batch, seed)
    log_prob, credit = moved(batch, seed)
    expected = run(SURROGATES[name], log_prob, batch, credit)
    dirty = batch.replace(log_prob=torch.where(batch.mask, batch.log_prob, -math.inf))
    got = run(
        SURROGATES[name],
        torch.where(batch.mask, log_prob, junk),
        dirty,
        torch.where(batch.mask, credit, junk),
    )
    for a, b in zip(expected, got, strict=True):
        assert torch.equal(a, b)
    assert torch.all(got[1][~batch.mask] == 0)


@pytest.mark.parametrize("name", SURROGATES)
@few
@given(batches(max_steps=4), st.integers(0, 1000))
def test_inserted_observations_and_the_order_of_rows(name, batch, seed):
    """Masked columns in the middle of a turn and shuffled rows change nothing (Dr. GRPO's length apart)."""
    batch = turned(batch, seed)
    log_prob, credit = moved(batch, seed)
    value, grad = run(SURROGATES[name], log_prob, batch, credit)
    rng = np.random.default_rng(seed)
    at = np.sort(rng.choice(2 * batch.mask.shape[1], batch.mask.shape[1], replace=False))

    def spread(x):
        out = torch.zeros((x.shape[0], 2 * x.shape[1]), dtype=x.dtype)
        out[:, at] = x
        return out

    columns = {k: spread(v) for k, v in vars(batch).items() if k != "policy_table" and v is not None and v.ndim == 2}
    turn = columns["turn"]
    for j in range(turn.shape[1]):
        if j not in at and j:
            turn[:, j] = turn[:, j - 1]
    wider = run(SURROGATES[name], spread(log_prob), batch.replace(**columns), spread(credit))
    half = 0.5 if name == "dr_grpo_loss" else 1.0
    assert close(wider[0], value * half)
    assert close(wider[1][:, at], grad * half)
    order = torch.from_numpy(rng.permutation(batch.n_rollouts))
    other = run(SURROGATES[name], log_prob[order], rows_of(batch, order), credit[order])
    assert close(other[0], value)
    assert close(other[1], grad[order])


@pytest.mark.parametrize("name", SURROGATES)
def test_empty_rows_and_empty_batches(name):
    batch = make_batch([[0.0, 1.0], [1.0]])
    log_prob, credit = moved(batch, 0)
    for mask in (torch.zeros_like(batch.mask), batch.mask & torch.tensor([[True], [False]])):
        value, grad = run(SURROGATES[name], log_prob, batch.replace(mask=mask), credit)
        assert torch.isfinite(value)
        assert torch.all(grad[~mask] == 0)
        if name not in ("reinforce", "dr_grpo_loss"):
            first = rows_of(batch, torch.tensor([0]))
            alone = run(SURROGATES[name], log_prob[:1], first, credit[:1])
            assert close(value, alone[0] if mask.any() else torch.zeros((), dtype=torch.float64))


@pytest.mark.parametrize("name", SURROGATES)
def test_extreme_ratios_stay_finite(name):
    batch = make_batch([[0.0] * 60, [1.0] * 3])
    for far in (-700.0, 700.0, -math.inf):
        for sign in (-1.0, 1.0):
            value, grad = run(SURROGATES[name], batch.log_prob + far, batch, torch.full_like(batch.log_prob, sign))
            assert torch.isfinite(grad).all()
            assert torch.isfinite(value) or name in ("reinforce", "cispo")


@pytest.mark.parametrize("name", SURROGATES)
def test_tensors_stay_on_their_device(name):
    """The meta device refuses every operation that mixes in a tensor made on the CPU, as CUDA does."""
    batch = turned(make_batch([[0.0, 1.0], [1.0]]), 0)
    there = {k: v.to("meta") for k, v in vars(batch).items() if v is not None}
    log_prob, credit = (x.to("meta") for x in moved(batch, 0))
    assert run(SURROGATES[name], log_prob, batch.replace(**there), credit)[1].device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA card")
@pytest.mark.parametrize("name", SURROGATES)
def test_cuda(name):
    batch = turned(make_batch([[0.0, 1.0, 1.0], [1.0]]), 0)
    there = batch.replace(**{k: v.cuda() for k, v in vars(batch).items() if v is not None})
    log_prob, credit = moved(batch, 0)
    for a, b in zip(
        run(SURROGATES[name], log_prob, batch, credit),
        run(SURROGATES[name], log_prob.cuda(), there, credit.cuda()),
        strict=True,
    ):
        assert close(a, b.cpu())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (functools.partial(ppo, low=1.5), r"low=1.5: expected a number in \[0, 1\]"),
        (functools.partial(ppo, high=-0.1), "high=-0.1"),
        (functools.partial(ppo, dual=1.0), r"dual=1.0: expected a number in \(1, inf\]"),
        (functools.partial(ppo, beta=-1), "beta=-1"),
        (functools.partial(ppo, mode="sum"), "mode='sum': expected one of token-mean, seq-mean-token-sum"),
        (functools.partial(ppo, mode="seq-mean-token-sum-norm", length=0), "length=0"),
        (functools.partial(loop, level="token"), "level='token': expected one of step, turn, trajectory"),
        (functools.partial(loop, epsilon=2), "epsilon=2"),
        (functools.partial(gspo, low=-1), "low=-1"),
        (functools.partial(gspo_token, high=-1), "high=-1"),
        (functools.partial(sapo, positive=0), "positive=0"),
        (functools.partial(gmpo, high=-1), "high=-1"),
        (functools.partial(cispo, low=2), "low=2"),
        (functools.partial(sspo, gate="tanh"), "gate='tanh': expected one of arctan, sigmoid, none"),
        (functools.partial(sspo, tau=0), "tau=0"),
        (functools.partial(sorl, epsilon=-1, parameters=()), "epsilon=-1"),
    ],
)
def test_bad_options_are_refused(call, message):
    batch = make_batch([[1.0]])
    with pytest.raises(CreditEnvsError, match=message):
        call(batch.log_prob, batch, batch.log_prob)
