"""A step verifier trained on labels of right and wrong steps, as a process reward model trained by annotators is.

    label   sign A^π(s_t, a_t) ∈ {−1, 0, +1} at ``labels`` steps drawn from the batch, each flipped with chance ``flip``
    model   v(s, a) = mean label of the steps that share (key, action);  step reward v(s_t, a_t) ∈ [−1, 1]

The labels are the truth, so the piece is privileged: it stands for people who know which step was right, how many steps they
judged and how often they erred. Steps never judged get the mean there is (an untried action its key's, an unseen key the
overall one). With every step judged, no errors and keys that identify the state it is the mean sign of the advantage. A step
that changes nothing is labelled 0, and stays so when flipped. The judged steps belong to the batch that is scored.
Source: ours, after Lightman et al. 2023 (PRM800K), arXiv 2305.20050.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.errors import check_range
from credit_envs.piece import Noise
from credit_envs.sampling.tabular import fit_means, keys
from credit_envs.sampling.trajectories import Trajectories

_SALT_STEPS, _SALT_FLIPS = 21, 22
_ZERO = 1e-12


def verifier(
    batch: Trajectories,
    *,
    advantage: Tensor,
    noise: Noise,
    labels: int = 256,
    flip: float = 0.1,
    identity: str = "anchor",
) -> Trajectories:
    """Returns the batch with a step verifier's score as ``step_reward``.

    Args:
        batch: rollouts.
        advantage: float64 ``[N, T]``, the exact advantage.
        noise: draws the judged steps and the errors.
        labels: number of judged steps, at least 1 (all, where the batch has fewer).
        flip: chance that a label is wrong, in [0, 1].
        identity: which steps share a key, see :mod:`credit_envs.sampling.tabular`.

    Raises:
        CreditEnvsError: for an option out of range.
    """
    check_range("labels", labels, 1, 1 << 40, integer=True)
    check_range("flip", flip, 0, 1)
    mask, shape = batch.mask, batch.mask.shape
    key, action, true = keys(batch, identity), batch.policy_action, advantage[mask]
    right = torch.where(true.abs() > _ZERO * true.abs().max().clamp(min=1), true.sign(), 0.0)
    wrong = noise(_SALT_FLIPS, *shape)[mask] < flip
    said = torch.where(wrong, -right, right)
    judged = torch.argsort(noise(_SALT_STEPS, *shape)[mask])[:labels]
    model = fit_means(key[mask][judged], action[mask][judged], said[judged], batch.policy_table.shape[1])
    return batch.replace(step_reward=torch.where(mask, model.at(key, action), 0.0))
