"""GiGPO: the episode's group advantage plus a step advantage among all steps taken at the same anchor.

    Â_{i,t} = A^E_i + ω · A^S_{i,t}
    A^E_i     = (R_i − mean_group R) / F
    A^S_{i,t} = (G_{i,t} − mean_anchor G) / F_anchor,   G_{i,t} = Σ_{k≥t} γ^{k−t} r_{i,k}

with F = 1 by default (the released code's ``mean_norm``) or the deviation. Departures: episode statistics run per
trajectory, as the paper's Eq. 3 says; ``rows=True`` takes them over steps as the released code does, which weighs long
rollouts more. Statistics of equal returns are exactly zero (the released float32 code divides rounding noise by ε).
As told elsewhere: the blend α · A^E + (1 − α) · A^S instead of the sum, ``gigpo_as_told``.
Source: Feng et al. 2025, arXiv 2505.10978, §3; released code ``gigpo/core_gigpo.py``.
"""

from __future__ import annotations

from torch import Tensor

from credit_envs.errors import check_range
from credit_envs.sampling.anchors import Encoder, Texts, embedded, scoped, similar, timed
from credit_envs.sampling.statistics import centred, returns_to_go
from credit_envs.sampling.trajectories import Trajectories


def gigpo_on(
    batch: Trajectories,
    anchor: Tensor,
    gamma: float = 0.95,
    omega: float = 1.0,
    norm_by_std: bool = False,
    rows: bool = False,
    inadmissible_penalty: Tensor | None = None,
    epsilon: float = 1e-6,
) -> Tensor:
    """Returns GiGPO's credit for given anchors, float64 ``[N, T]``.

    Args:
        batch: rollouts in groups.
        anchor: int64 ``[N, T]``, equal where steps of a group share an anchor.
        gamma: discount of the step returns, in [0, 1].
        omega: weight of the step advantage; 0 leaves the episode term alone.
        norm_by_std: divide both terms by their deviation.
        rows: released-code quirk: episode statistics over steps instead of trajectories.
        inadmissible_penalty: released-code quirk: float64 ``[N, T]`` subtracted per step after discounting.
        epsilon: added to deviations.
    """
    check_range("gamma", gamma, 0, 1)
    mask = batch.mask
    episode = batch.returns[:, None].expand_as(mask)
    if rows:
        owner = batch.group[:, None].expand_as(mask)[mask]
        flat = centred(episode[mask], owner, batch.n_groups, norm_by_std=norm_by_std, epsilon=epsilon)
    else:
        score = centred(batch.returns, batch.group, batch.n_groups, norm_by_std=norm_by_std, epsilon=epsilon)
        flat = score[:, None].expand_as(mask)[mask]
    to_go = returns_to_go(batch.reward, mask, gamma)
    if inadmissible_penalty is not None:
        to_go = to_go - inadmissible_penalty
    if omega:
        ids, n = scoped(batch, anchor)
        flat = flat + omega * centred(to_go[mask], ids, n, norm_by_std=norm_by_std, epsilon=epsilon)
    out = to_go.new_zeros(mask.shape)
    out[mask] = flat
    return out


def gigpo(
    batch: Trajectories, gamma: float = 0.95, omega: float = 1.0, norm_by_std: bool = False, rows: bool = False
) -> Tensor:
    """Returns GiGPO's credit with anchors by exact observation, float64 ``[N, T]``; see :func:`gigpo_on`."""
    return gigpo_on(batch, batch.anchor, gamma, omega, norm_by_std, rows)


def gigpo_as_told(batch: Trajectories, gamma: float = 0.95, alpha: float = 0.5, norm_by_std: bool = False) -> Tensor:
    """Returns the as-told blend of both terms, float64 ``[N, T]``; for α > 0 it is α times GiGPO with ω = (1 − α)/α.

    Args:
        batch: rollouts in groups.
        gamma: discount of the step returns, in [0, 1].
        alpha: α in [0, 1], weight of the episode term.
        norm_by_std: divide both terms by their deviation.
    """
    check_range("alpha", alpha, 0, 1)
    episode = gigpo_on(batch, batch.anchor, gamma, 0.0, norm_by_std)
    step = gigpo_on(batch, batch.anchor, gamma, 1.0, norm_by_std) - episode
    return alpha * episode + (1 - alpha) * step


def gigpo_similarity(batch: Trajectories, *, text: Texts, gamma: float = 0.95, threshold: float = 0.95) -> Tensor:
    """Returns GiGPO's credit with anchors by character similarity of texts, float64 ``[N, T]``."""
    return gigpo_on(batch, similar(batch, text, threshold), gamma)


def gigpo_embedding(
    batch: Trajectories, *, text: Texts, gamma: float = 0.95, threshold: float = 0.95, encoder: Encoder | None = None
) -> Tensor:
    """Returns GiGPO's credit with anchors by cosine of text embeddings, float64 ``[N, T]``."""
    return gigpo_on(batch, embedded(batch, text, threshold, encoder), gamma)


def gigpo_key(batch: Trajectories, *, key: Tensor, gamma: float = 0.95) -> Tensor:
    """Returns GiGPO's credit with anchors by the environment's structured key, float64 ``[N, T]``."""
    return gigpo_on(batch, key, gamma)


def gigpo_state(batch: Trajectories, *, state: Tensor, gamma: float = 0.95, time: bool = False) -> Tensor:
    """Returns GiGPO's credit with anchors by true state, with or without the step, float64 ``[N, T]``."""
    return gigpo_on(batch, timed(state) if time else state, gamma)
