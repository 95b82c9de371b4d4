"""AgentPRM: a process reward model Q_φ(s, a) fitted on how rollouts from the start turned out.

    label    ℓ_{i,t} = ½ (γ^{T_i−1−t} (2 y_i − 1) + 1)                     y the outcome, in [0, 1]
    target   Q̂(s, a) = mean of ℓ_{i,t} over all steps of all rollouts that share the key (s, a)
    model    min_f −E[Q̂ log σ(f) + (1 − Q̂) log(1 − σ(f))],  Q_φ = σ(f)

Nothing is rolled out from inside: values come from *overlap*, rollouts that share a key. The key is the whole history by
default, as in the paper, so where no history repeats Q̂ is the single return. In a table the cross-entropy has its minimum
at the mean of the labels; with ``updates`` it is approached by that many full-batch gradient steps from Q = ½ (rate 4, the
loss summed in units of the most visited pair: the largest that cannot overshoot). At γ = 1 and with the reward at the end,
Q̂ → Q^π as rollouts grow. Rewards paid on the way are part of y, so that Q̂ also holds what was earned before s: the same
for all actions of a history, hence without effect on preferences.

Variants of the paper: ``delta`` fits f on the order of actions alone, −log σ(f_w − f_l) over pairs of one key whose targets
differ by more than δ (their scale is that of the number of updates); ``shaped`` has labels of
q = γ^{T−1−t} y + γ V_ref(s') − V_ref(s), squashed by a logistic of slope 3/IQR around its mean, V_ref the mean outcome at a
key. Where the IQR is zero the deviation stands in for it [R].

Departures: a table instead of a language model; rollouts come from the policy itself (the paper samples at temperature
0.3); returns that leave [0, 1] are mapped onto it first, by the smallest interval that holds them, 0 and 1. Released-code
quirk as a flag: ``from_start`` discounts by γ^t, which shrinks *late* steps towards ½. Stage 3, online DPO against Q_φ, is
:mod:`credit_envs.plans.agent_prm`. Source: Choudhury 2025, arXiv 2502.10325; released code sanjibanc/agent_prm.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.piece import Fresh
from credit_envs.sampling.tabular import ActionTable, fit_means, keys
from credit_envs.sampling.trajectories import Trajectories

TARGETS = ("outcome", "shaped")
"""What the labels are made of."""

_RATE = 4.0


def labels(batch: Trajectories, gamma: float = 0.95, from_start: bool = False) -> Tensor:
    """Returns what each step is labelled with before averaging, float64 ``[N, T]`` in [0, 1] (0 where masked).

    Args:
        batch: rollouts.
        gamma: discount, in [0, 1].
        from_start: released-code quirk: γ^t instead of γ^{T−1−t}.

    Raises:
        CreditEnvsError: for a discount out of range.
    """
    check_range("gamma", gamma, 0, 1)
    return torch.where(batch.mask, (_faded(batch, gamma, from_start) * (2 * _outcome(batch) - 1)[:, None] + 1) / 2, 0.0)


def fit(
    batch: Trajectories,
    gamma: float = 0.95,
    identity: str = "history",
    from_start: bool = False,
    target: str = "outcome",
    delta: float | None = None,
    updates: int | None = None,
) -> ActionTable:
    """Fits Q_φ on rollouts; its predictions are probabilities, as σ(f) is.

    Args:
        batch: rollouts to learn from.
        gamma: discount, in [0, 1].
        identity: which steps share a key, see :mod:`credit_envs.sampling.tabular`.
        from_start: released-code quirk: γ^t instead of γ^{T−1−t}.
        target: ``outcome`` or ``shaped``.
        delta: fit pairs whose targets differ by more than this, in [0, 1], instead of the targets (paper: 0.03).
        updates: gradient steps; None solves the cross-entropy in closed form (100 for pairs, which have no minimum).

    Raises:
        CreditEnvsError: for an option out of range.
    """
    check_range("gamma", gamma, 0, 1)
    if target not in TARGETS:
        raise CreditEnvsError(f"target={target!r}: expected one of {', '.join(TARGETS)}")
    if delta is not None:
        check_range("delta", delta, 0, 1)
    if updates is not None:
        check_range("updates", updates, 0, 1e6, integer=True)
    mask, n_actions = batch.mask, batch.policy_table.shape[1]
    key = keys(batch, identity)
    wanted = _shaped(batch, key, gamma, from_start) if target == "shaped" else labels(batch, gamma, from_start)
    model = fit_means(key[mask], batch.policy_action[mask], wanted[mask], n_actions)
    if delta is not None:
        return _by_pairs(model, delta, 100 if updates is None else updates)
    return model if updates is None else _by_gradient(model, updates)


def agent_prm_q(
    batch: Trajectories,
    *,
    fresh: Fresh,
    gamma: float = 0.95,
    identity: str = "history",
    from_start: bool = False,
    target: str = "outcome",
    delta: float | None = None,
) -> Trajectories:
    """Returns the batch with Q_φ(s_t, a_t) as ``step_reward``, the model fitted on as many fresh groups.

    Args:
        batch: rollouts.
        fresh: see :class:`~credit_envs.piece.Fresh`.
        gamma: see :func:`fit`, like the options that follow.
        identity: likewise.
        from_start: likewise.
        target: likewise.
        delta: likewise.

    Raises:
        CreditEnvsError: for an option out of range.
    """
    model = fit(fresh(batch.n_groups), gamma, identity, from_start, target, delta)
    score = model.at(keys(batch, identity), batch.policy_action)
    return batch.replace(step_reward=torch.where(batch.mask, score, 0.0))


def _outcome(batch: Trajectories) -> Tensor:
    """Returns mapped onto [0, 1], float64 ``[N]``; those that lie there already are left alone."""
    returns = batch.returns
    low, high = returns.min().clamp(max=0), returns.max().clamp(min=1)
    return (returns - low) / (high - low)


def _faded(batch: Trajectories, gamma: float, from_start: bool) -> Tensor:
    """γ to the power of the steps that follow (or, as released, that came before), float64 ``[N, T]``."""
    before = batch.mask.cumsum(dim=1) - 1
    steps = before if from_start else batch.lengths[:, None] - 1 - before
    return torch.pow(torch.tensor(gamma, dtype=torch.float64, device=steps.device), steps.clamp(min=0))


def _shaped(batch: Trajectories, key: Tensor, gamma: float, from_start: bool) -> Tensor:
    """The squashed labels of the shaped target, float64 ``[N, T]``."""
    mask, outcome = batch.mask, _outcome(batch)[:, None]
    own = fit_means(key[mask], batch.policy_action[mask], outcome.expand_as(mask)[mask], batch.policy_table.shape[1])
    mean = (own.value * own.count).sum(dim=1, keepdim=True) / own.count.sum(dim=1, keepdim=True)
    value = torch.where(mask, own.replace(mean.expand_as(own.value)).at(key, batch.policy_action), 0.0)
    q = _faded(batch, gamma, from_start) * outcome + gamma * pad(value[:, 1:], (0, 1)) - value
    flat = q[mask]
    low, high = torch.quantile(flat, torch.tensor([0.25, 0.75], dtype=flat.dtype, device=flat.device))
    spread = torch.where(high > low, high - low, flat.std(correction=0)).clamp(min=1e-300)
    return torch.where(mask, torch.sigmoid(3 / spread * (q - flat.mean())), 0.0)


def _by_gradient(model: ActionTable, updates: int) -> ActionTable:
    """Gradient steps on the cross-entropy from f = 0; what is rarely seen moves little, as in few epochs."""
    weight = model.count / model.count.max()
    f = torch.zeros_like(model.value)
    for _ in range(updates):
        f = f + _RATE * weight * (model.value - torch.sigmoid(f))
    return model.replace(torch.sigmoid(f), 0.5)


def _by_pairs(model: ActionTable, delta: float, updates: int) -> ActionTable:
    """Gradient steps on −Σ log σ(f_w − f_l) from f = 0, over the pairs of a key whose targets differ by more than δ."""
    q = torch.where(model.count > 0, model.value, torch.nan)
    f = torch.zeros_like(q)
    columns = range(q.shape[1])
    for _ in range(updates):
        pull = torch.zeros_like(f)
        for b in columns:
            gap, apart = q - q[:, b : b + 1], f - f[:, b : b + 1]
            pull += (gap > delta) * torch.sigmoid(-apart) - (gap < -delta) * torch.sigmoid(apart)
        f = f + _RATE / q.shape[1] * pull
    return model.replace(torch.sigmoid(f), 0.5)
