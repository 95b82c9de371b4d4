"""DPO: log 2 at the reference, its gradient by hand and by finite differences, and what it converges to."""

import numpy as np
import pytest
import torch
from batches import batches, make_batch, rows_of
from hypothesis import given
from hypothesis import strategies as st

from credit_envs.errors import CreditEnvsError
from credit_envs.losses.dpo import dpo, online_dpo

NONE = torch.zeros(())


def pairs(actions, n_actions, behaviour=None):
    """Single-step pairs at one state: (preferred, rejected) actions → a batch of twice as many rows."""
    row = np.full((1, n_actions), 1 / n_actions) if behaviour is None else np.asarray(behaviour)[None]
    flat = [[a] for pair in actions for a in pair]
    return make_batch([[0.0]] * len(flat), anchors=[[0]] * len(flat), actions=flat, policy=row)


def test_log_two_where_nothing_has_moved():
    batch = pairs([(0, 1), (2, 1)], 3)
    assert float(dpo(batch.log_prob, batch, NONE)) == pytest.approx(np.log(2))
    whole = make_batch([[0, 1.0], [0.0]], anchors=[[0, 1], [0]])
    assert float(dpo(whole.log_prob, whole, NONE)) == pytest.approx(np.log(2))
    assert float(online_dpo(whole.log_prob, whole, NONE)) == pytest.approx(np.log(2))


def test_by_hand():
    batch = make_batch([[0.0, 0.0], [0.0]], anchors=[[0, 1], [0]])
    log_prob = batch.log_prob + torch.tensor([[0.3, 0.2], [-0.1, 7.0]], dtype=torch.float64)  # 7 stands behind the mask
    assert float(dpo(log_prob, batch, NONE, beta=2.0)) == pytest.approx(np.log(1 + np.exp(-2 * (0.5 + 0.1))))
    half = batch.replace(mask=torch.tensor([[False, True], [True, False]]))
    assert float(dpo(log_prob, half, NONE, beta=2.0)) == pytest.approx(np.log(1 + np.exp(-2 * (0.2 + 0.1))))


def test_gradient_at_the_reference():
    batch = make_batch([[0, 1.0], [0.0], [1.0], [0, 0.0]])
    log_prob = batch.log_prob.clone().requires_grad_()
    dpo(log_prob, batch, NONE, beta=0.4).backward()
    sign = torch.tensor([[-1.0], [1.0], [-1.0], [1.0]], dtype=torch.float64)
    assert torch.allclose(log_prob.grad, 0.5 * 0.4 / 2 * sign * batch.mask)


@pytest.mark.parametrize("loss", [dpo, online_dpo])
@given(batch=batches(max_size=4, max_steps=3), seed=st.integers(0, 100))
def test_gradient_by_finite_differences(loss, batch, seed):
    if loss is dpo:
        batch = batch.replace(group=torch.arange(batch.n_rollouts) // 2)
        batch = rows_of(batch, torch.arange(batch.n_rollouts // 2 * 2))
        if not batch.n_rollouts:
            return
    rng = torch.Generator().manual_seed(seed)
    log_prob = batch.log_prob + torch.randn(batch.mask.shape, generator=rng, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: loss(x, batch, NONE, 0.7), log_prob.requires_grad_())


@given(batches(min_size=2), st.integers(0, 100))
def test_online_pairs_by_a_naive_loop(batch, seed):
    rng = torch.Generator().manual_seed(seed)
    log_prob = batch.log_prob + torch.randn(batch.mask.shape, generator=rng, dtype=torch.float64)
    moved = [float((log_prob - batch.log_prob)[i][batch.mask[i]].sum()) for i in range(batch.n_rollouts)]
    losses = [
        np.log1p(np.exp(-0.3 * (moved[i] - moved[j])))
        for i in range(batch.n_rollouts)
        for j in range(batch.n_rollouts)
        if batch.group[i] == batch.group[j] and batch.returns[i] > batch.returns[j]
    ]
    expected = np.mean(losses) if losses else 0.0
    assert float(online_dpo(log_prob, batch, NONE, 0.3)) == pytest.approx(expected)
    order = torch.randperm(batch.n_rollouts, generator=rng)
    shuffled = online_dpo(log_prob[order], rows_of(batch, order), NONE, 0.3)
    assert float(shuffled) == pytest.approx(expected)
    # Offsets and scales of returns change nothing.
    other = batch.replace(reward=batch.reward * 4.0)
    assert float(online_dpo(log_prob, other, NONE, 0.3)) == pytest.approx(expected)


def test_no_pairs_no_update():
    batch = make_batch([[1.0], [1.0]])
    for loss, still in ((online_dpo, batch), (dpo, batch.replace(mask=torch.zeros(2, 1, dtype=torch.bool)))):
        log_prob = batch.log_prob.clone().requires_grad_()
        value = loss(log_prob, still, NONE)
        value.backward()
        assert value.item() == 0
        assert torch.all(log_prob.grad == 0)
    empty = rows_of(batch, torch.zeros(0, dtype=torch.int64))
    assert float(dpo(empty.log_prob, empty, NONE)) == 0
    lone = make_batch([[1.0]])
    assert float(online_dpo(lone.log_prob, lone, NONE)) == 0


def test_a_pair_of_which_a_row_is_missing_is_left_out():
    batch = pairs([(0, 1), (0, 1)], 2)
    mask = torch.tensor([[True], [True], [True], [False]])
    log_prob = batch.log_prob + torch.tensor([[0.5], [0.0], [9.0], [0.0]], dtype=torch.float64)
    got = dpo(log_prob, batch.replace(mask=mask), NONE, 1.0)
    assert float(got) == pytest.approx(np.log1p(np.exp(-0.5)))


def test_what_it_converges_to():
    """Comparisons drawn from exp(Q) (Bradley–Terry) give π ∝ b exp(Q/β); Q = ±1 steps at β = 0.5."""
    q, b, beta = np.array([1.0, 0.0, -0.7]), np.array([0.2, 0.5, 0.3]), 0.5
    couples = [(w, x) for w in range(3) for x in range(3) if w != x]
    # Whole numbers of comparisons, in the proportions of σ(Q_w − Q_l).
    counts = [round(2000 / (1 + np.exp(q[x] - q[w]))) for w, x in couples]
    batch = pairs([c for c, n in zip(couples, counts, strict=True) for _ in range(n)], 3, b)
    logits = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-10)

    def closure():
        optimiser.zero_grad()
        log_prob = torch.log_softmax(logits, 1)[batch.policy_row, batch.policy_action]
        loss = dpo(log_prob, batch, NONE, beta)
        loss.backward()
        return loss

    optimiser.step(closure)
    target = b * np.exp(q / beta)
    found = torch.softmax(logits, 1)[0].detach().numpy()
    assert found == pytest.approx(target / target.sum(), abs=2e-3)  # counts are rounded


def test_rows_that_are_no_pairs_are_refused():
    with pytest.raises(CreditEnvsError, match="dpo: expected rows in pairs"):
        dpo(NONE, make_batch([[1.0]] * 3), NONE)
    with pytest.raises(CreditEnvsError, match="dpo: expected rows in pairs"):
        dpo(NONE, make_batch([[1.0]] * 4, group=[0, 1, 1, 0]), NONE)
    for loss in (dpo, online_dpo):
        with pytest.raises(CreditEnvsError, match="beta=0"):
            loss(NONE, make_batch([[1.0]] * 2), NONE, 0)
