"""InversePRM: a model of how expert-like a step is, from demonstrations, without any outcome.

    r̂(s, a) = f(s, a) − γ f(s', a'),   f(s, a) alone at the last step
    min_f  −½ E_expert[log σ(r̂)] − ½ E_policy[log(1 − σ(r̂))]

For the expert's transitions a' is drawn from the present policy, for the policy's own it is the action that was taken. f
then plays the part of Q_φ: in preference pairs (:mod:`credit_envs.plans.inverse_prm`), or as a step reward. With balanced data
and one (s', a') per (s, a) its optimum has f − γ f' = log ρ_expert/ρ_policy; where both play alike it is 0 everywhere. It
measures likeness to the expert, which is return only as far as the expert is good.

f is a table, found as the unique minimum (L-BFGS) of the summed loss plus ½ ``ridge`` Σ f² [R]: without it a step that only one
side takes has no finite optimum. Both sides weigh the same. What was never seen has f = 0, where the ridge would leave it.
Source: Choudhury 2025, arXiv 2502.10325 (γ = 0.95; there a language model and one epoch).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, pad

from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.piece import Demonstrations, Fresh, Noise
from credit_envs.sampling.tabular import ActionTable, keys
from credit_envs.sampling.trajectories import Trajectories

_SALT = 20
_UPDATES = 1000


@dataclass(frozen=True, eq=False)
class Transitions:
    """Steps with the step that follows; all ``[M]``.

    Attributes:
        key: int64.
        action: int64, columns of the policy's table.
        next_key: int64, read where not ``last``.
        next_action: int64, likewise.
        last: bool, nothing follows.
        weight: float64, how much each counts within its side.
    """

    key: Tensor
    action: Tensor
    next_key: Tensor
    next_action: Tensor
    last: Tensor
    weight: Tensor


def transitions(batch: Trajectories, identity: str = "row", choice: Tensor | None = None) -> Transitions:
    """Reads the transitions of rollouts.

    Args:
        batch: rollouts.
        identity: which steps share a key, see :mod:`credit_envs.sampling.tabular`.
        choice: int64 ``[N, T]``, actions that stand in for those taken where they are the *next* action.
    """
    mask, key = batch.mask, keys(batch, identity)
    last = ~pad(mask[:, 1:], (0, 1))
    then = batch.policy_action if choice is None else choice
    return Transitions(
        key[mask],
        batch.policy_action[mask],
        pad(key[:, 1:], (0, 1))[mask],
        pad(then[:, 1:], (0, 1))[mask],
        last[mask],
        torch.ones(int(mask.sum()), dtype=torch.float64, device=mask.device),
    )


def chosen_by(table: Tensor, batch: Trajectories, luck: Tensor) -> Tensor:
    """Draws an action at every step from a policy's table ``[rows, A]`` by uniforms ``[N, T]``; int64 ``[N, T]``."""
    mask, out = batch.mask, torch.zeros_like(batch.policy_action)
    sums = table.cumsum(dim=1)[batch.policy_row[mask]]
    # A draw below the total stays at or before the last action of positive weight.
    out[mask] = (sums <= luck[mask][:, None] * sums[:, -1:]).sum(dim=1)
    return out


def fit_inverse(
    expert: Transitions, policy: Transitions, n_actions: int, gamma: float = 0.95, ridge: float = 0.1
) -> ActionTable:
    """Fits f; the optimum is unique and found up to rounding, about 1e-5/ridge at 10^5 transitions.

    Args:
        expert: transitions of the demonstrations.
        policy: transitions of the policy.
        n_actions: number of actions A.
        gamma: discount, in [0, 1].
        ridge: weight of ½ Σ f² beside the loss, summed over as many transitions as there are, above 0.

    Raises:
        CreditEnvsError: for an option out of range.
    """
    check_range("gamma", gamma, 0, 1)
    check_range("ridge", ridge, 0, float("inf"), open_low=True)
    both = (expert, policy)
    key = torch.cat([part for side in both for part in (side.key, side.next_key[~side.last])])
    distinct = torch.unique(key)
    here, then, expert_weight, policy_weight = _gathered(both, distinct, n_actions)
    # Only pairs that occur can leave 0.
    seen, place = torch.unique(torch.cat([here, then[then >= 0]]), return_inverse=True)
    at, after = place[: len(here)], torch.full_like(then, len(seen))
    after[then >= 0] = place[len(here) :]
    f = torch.zeros(len(seen), dtype=torch.float64, device=key.device, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [f], max_iter=_UPDATES, history_size=20, tolerance_grad=1e-6, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        margin = f[at] - gamma * pad(f, (0, 1))[after]
        loss = -(expert_weight * logsigmoid(margin) + policy_weight * logsigmoid(-margin)).sum()
        loss = loss + ridge / 2 * (f**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimiser.step(closure)  # type: ignore[no-untyped-call]
    value, count = torch.zeros(2, len(distinct) * n_actions, dtype=torch.float64, device=key.device)
    value[seen] = f.detach()
    count.index_add_(0, here, expert_weight + policy_weight)
    return ActionTable(distinct, value.view(-1, n_actions), count.view(-1, n_actions), torch.zeros_like(value[0]))


def _gathered(both: tuple[Transitions, Transitions], distinct: Tensor, n_actions: int) -> tuple[Tensor, ...]:
    """Counts equal transitions of both sides once: cells, next cells (−1: none) and the sides' weights, each half of M."""
    here = torch.cat([torch.searchsorted(distinct, side.key) * n_actions + side.action for side in both])
    then = torch.cat([torch.searchsorted(distinct, side.next_key) * n_actions + side.next_action for side in both])
    then = torch.where(torch.cat([side.last for side in both]), -1, then)
    size = len(here)
    weights = torch.zeros(2, size, dtype=torch.float64, device=here.device)
    bound = len(both[0].key)
    weights[0, :bound] = both[0].weight * (size / 2 / both[0].weight.sum())
    weights[1, bound:] = both[1].weight * (size / 2 / both[1].weight.sum())
    kinds, kind = torch.unique(torch.stack([here, then]), dim=1, return_inverse=True)
    total = torch.zeros(2, kinds.shape[1], dtype=torch.float64, device=here.device).index_add_(1, kind, weights)
    return kinds[0], kinds[1], total[0], total[1]


def inverse_prm_q(
    batch: Trajectories,
    *,
    demonstrations: Demonstrations,
    fresh: Fresh,
    noise: Noise,
    gamma: float = 0.95,
    identity: str = "row",
    skill: float = 0.9,
    ridge: float = 0.1,
    dense: bool = False,
    rollouts: int = 0,
) -> Trajectories:
    """Returns the batch with f(s_t, a_t) as ``step_reward``, or paid by r̂ alone.

    Args:
        batch: rollouts.
        demonstrations: see :class:`~credit_envs.piece.Demonstrations`.
        fresh: see :class:`~credit_envs.piece.Fresh`; the policy's side.
        noise: draws the policy's actions at the expert's states.
        gamma: discount.
        identity: which steps share a key.
        skill: how good the expert is, 0 uniform to 1 optimal.
        ridge: see :func:`fit_inverse`.
        dense: replace the reward by r̂(s_t, a_t) = f(s_t, a_t) − γ f(s_{t+1}, a_{t+1}) instead; its discounted sum over a
            rollout is f(s_0, a_0).
        rollouts: demonstrations that are asked for (0: as many as the batch has rollouts).

    Raises:
        CreditEnvsError: for an option out of range, or an expert whose rows aren't the policy's.
    """
    shown, table = demonstrations(rollouts or batch.n_rollouts, skill), batch.policy_table
    if shown.policy_table.shape != table.shape:
        raise CreditEnvsError(
            f"demonstrations: the expert's table is {tuple(shown.policy_table.shape)} and the policy's {tuple(table.shape)}, "
            f"so the policy cannot be asked at the expert's states; expected a policy over looks"
        )
    asked = chosen_by(table, shown, noise(_SALT, *shown.mask.shape))
    expert, own = transitions(shown, identity, asked), transitions(fresh(batch.n_groups), identity)
    model = fit_inverse(expert, own, table.shape[1], gamma, ridge)
    f = torch.where(batch.mask, model.at(keys(batch, identity), batch.policy_action), 0.0)
    if not dense:
        return batch.replace(step_reward=f)
    return batch.replace(reward=torch.where(batch.mask, f - gamma * pad(f[:, 1:], (0, 1)), 0.0))
