"""GraphGPO: how much closer to success a step leads, on the graph of anchors that a group's rollouts walked.

    d(φ)  = fewest observed steps from anchor φ to the node `success` (the end of every successful rollout)
    g_t   = 10 · decay^{d(φ_{t+1})}                       d = 0 after the last step of a success
    Â_t   = (g_t − mean over the anchor of g) / F + w · (R_i − mean_group R) / F

An anchor from which no success was seen has distance d_max + 1, d_max the group's largest finite one; so without a success
the step term is zero. ``progress`` takes 10 · decay^{d(φ_{t+1}) − d(φ_t) + 1}. F is the deviation (released default) or 1.
These are the best distances that were observed, not values of the policy: luck that opened a short cut once counts as a
way, and a step that nearly always fails is praised for the one time that it didn't.

What is a success? The source's tasks say so; here ``success="positive"`` means a positive return (right for 0/1 outcomes),
``success="best"`` the group's highest return where returns differ (for tasks that pay or charge along the way), or a bool
tensor. Departures: episode statistics per trajectory (the paper), not per step; the observation after a failure's last step
isn't in a batch, so that step leads to an unreachable node. Decay by task in the paper: 0.1 ALFWorld, 0.2 WebShop, 0.8
Sokoban. Source: Cheng et al. 2026, arXiv 2605.26684, §4; released code verl-agent ``recipe/GraphGPO``.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.sampling.anchors import scoped
from credit_envs.sampling.packing import Packing, following
from credit_envs.sampling.statistics import centred
from credit_envs.sampling.trajectories import Trajectories

SUCCESS = ("positive", "best")


def graph_gpo_on(
    batch: Trajectories,
    anchor: Tensor,
    decay: float = 0.1,
    success: str | Tensor = "positive",
    progress: bool = False,
    episode_weight: float = 1.0,
    norm_by_std: bool = True,
    epsilon: float = 1e-6,
) -> Tensor:
    """Returns GraphGPO's credit for given anchors, float64 ``[N, T]``.

    Args:
        batch: rollouts in groups.
        anchor: int64 ``[N, T]``, equal where steps of a group share an anchor.
        decay: per step of distance, in (0, 1]; not a discount of rewards.
        success: ``positive``, ``best``, or bool ``[N]``.
        progress: credit the change of distance.
        episode_weight: w ≥ 0; 0 leaves the step term alone.
        norm_by_std: divide both terms by their deviation.
        epsilon: added to deviations.

    Raises:
        CreditEnvsError: for values out of range.
    """
    check_range("decay", decay, 0, 1, open_low=True)
    check_range("episode_weight", episode_weight, 0, 1e12)
    packing = Packing(batch.mask)
    taken = packing.mask
    ids, n = scoped(batch, anchor)
    node = torch.zeros_like(anchor)
    node[taken] = ids
    won = succeeded(batch, success)[:, None].expand_as(taken)
    goal, lost = n, n + 1
    after = torch.where(following(taken), following(node), torch.where(won, goal, lost))[taken]
    distance = _distances(ids, after, n)
    owner = batch.group[:, None].expand_as(taken)[taken]
    here, there = distance[ids], distance[after]
    farthest = torch.zeros(batch.n_groups, dtype=torch.float64, device=ids.device)
    farthest = farthest.scatter_reduce(0, owner, torch.where(here.isfinite(), here, 0.0), "amax")
    here, there = (torch.where(d.isfinite(), d, farthest[owner] + 1) for d in (here, there))
    step = 10 * decay ** (there - here + 1 if progress else there)
    flat = centred(step, ids, n, norm_by_std=norm_by_std, epsilon=epsilon)
    if episode_weight:
        score = centred(batch.returns, batch.group, batch.n_groups, norm_by_std=norm_by_std, epsilon=epsilon)
        flat = flat + episode_weight * score[:, None].expand_as(taken)[taken]
    out = torch.zeros_like(batch.reward)
    out[batch.mask] = flat
    return out


def graph_gpo(
    batch: Trajectories,
    decay: float = 0.1,
    success: str = "positive",
    progress: bool = False,
    episode_weight: float = 1.0,
    norm_by_std: bool = True,
) -> Tensor:
    """Returns GraphGPO's credit with anchors by exact observation, float64 ``[N, T]``; see :func:`graph_gpo_on`."""
    return graph_gpo_on(batch, batch.anchor, decay, success, progress, episode_weight, norm_by_std)


def succeeded(batch: Trajectories, success: str | Tensor) -> Tensor:
    """Returns which rollouts are successes, bool ``[N]``.

    Args:
        batch: rollouts in groups.
        success: ``positive`` (return above 0), ``best`` (the group's highest return, where returns differ), or the answer.

    Raises:
        CreditEnvsError: for another rule.
    """
    if isinstance(success, Tensor):
        return success
    if success not in SUCCESS:
        raise CreditEnvsError(f"success={success!r}: expected one of {SUCCESS}, or a bool tensor [N]")
    if success == "positive":
        return batch.returns > 0
    bound = torch.zeros(batch.n_groups, dtype=torch.float64, device=batch.group.device)
    high, low = (
        bound.scatter_reduce(0, batch.group, batch.returns, how, include_self=False)[batch.group]
        for how in ("amax", "amin")
    )
    return (batch.returns == high) & (high > low)


def _distances(node: Tensor, after: Tensor, n: int) -> Tensor:
    """Returns the fewest steps from every node to node n, float64 ``[n + 2]``, inf where there is no way.

    Args:
        node: int64 ``[M]``, where observed steps start.
        after: int64 ``[M]``, where they lead.
        n: number of the goal; n + 1 leads nowhere.
    """
    rows, columns = after.cpu().numpy(), node.cpu().numpy()
    backwards = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(n + 2, n + 2))
    found = dijkstra(backwards, indices=[n], unweighted=True)[0]
    return torch.from_numpy(found).to(node.device)
