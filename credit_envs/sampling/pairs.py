"""Single steps as rows: other actions drawn at stored steps, and preferred beside rejected ones for losses on pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.sampling.draws import draws, streams
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Sample, Truth
from credit_envs.table.draws import Purpose


def redrawn(sampler: Sampler, sample: Sample, rollout: Tensor, step: Tensor, k: int) -> Tensor:
    """Draws k actions afresh from the policy at stored steps; charges k policy calls each and no environment step.

    Args:
        sampler: where the sample came from.
        sample: rollouts.
        rollout: int64 ``[M]``.
        step: int64 ``[M]``, steps that were taken.
        k: actions per step.

    Returns:
        int64 ``[M, k]``, columns of the policy's table.
    """
    batch, device = sample.trajectories, sampler.dynamics.device
    lanes = len(rollout) * k
    branch = 1 + sampler._branches + torch.arange(lanes, device=device)
    sampler._branches += lanes
    sampler.meter.policy_calls += lanes
    who, t = rollout.repeat_interleave(k), step.repeat_interleave(k)
    key = streams(sampler.seed, Purpose.ACTION, batch.context[who], sample.truth.rollout[who], branch)
    threshold = sampler.policy.threshold[batch.policy_row[who, t]]
    return (threshold <= draws(key, t)[:, None]).sum(dim=1).view(-1, k)


def single_steps(
    sampler: Sampler, sample: Sample, rollout: Tensor, step: Tensor, choice: Tensor, *, narrow: bool = False
) -> Sample:
    """Makes rows of one step each: a stored state with an action that was chosen there, but not executed.

    Everything else in a row is masked, and no reward is known. Rows keep the group and context of their rollout; each is a
    tree of its own.

    Args:
        sampler: where the sample came from.
        sample: rollouts.
        rollout: int64 ``[M]``.
        step: int64 ``[M]``, steps that were taken.
        choice: int64 ``[M]``, columns of the policy's table.
        narrow: one column instead of the rollouts' width, for losses that don't ask when a step was taken.
    """
    batch, truth, dynamics, policy = sample.trajectories, sample.truth, sampler.dynamics, sampler.policy
    n, width = len(rollout), 1 if narrow else batch.mask.shape[1]
    column = torch.zeros_like(step) if narrow else step
    state, code, row = truth.state[rollout, step], truth.code[rollout, step], batch.policy_row[rollout, step]
    edge, named = dynamics.find_edges(state, choice), choice
    if policy.kind == "obs":
        edge = dynamics.renamed(state, edge, code, -1)
    elif dynamics.shift is not None:
        shown = dynamics.edge_action[dynamics.renamed(state, edge, code, +1).clamp(min=0)]
        named = torch.where(edge >= 0, shown, choice)

    def placed(flat: Tensor, fill: float = 0) -> Tensor:
        out = torch.full((n, width), fill, dtype=flat.dtype, device=flat.device)
        return out.scatter_(1, column[:, None], flat[:, None])

    sampler._nodes += n * width
    rows = batch.replace(
        **{name: placed(getattr(batch, name)[rollout, step]) for name in ("obs", "anchor", "turn", "segment")},
        action=placed(named),
        log_prob=placed(policy.probability[row, choice].log()),
        reward=torch.zeros((n, width), dtype=torch.float64, device=state.device),
        mask=placed(torch.ones_like(state, dtype=torch.bool)),
        group=batch.group[rollout],
        context=batch.context[rollout],
        policy_row=placed(row),
        policy_action=placed(choice),
        tree=torch.arange(n, device=state.device),
        node=torch.arange(sampler._nodes - n * width, sampler._nodes, device=state.device).view(n, width),
        step_reward=None,
    )
    return Sample(rows, Truth(placed(state), placed(edge, -1), placed(code), truth.rollout[rollout], state))


def pairs(
    sampler: Sampler,
    sample: Sample,
    rollout: Tensor,
    step: Tensor,
    preferred: Tensor,
    rejected: Tensor,
    *,
    narrow: bool = False,
) -> Sample:
    """Returns rows 2p and 2p + 1: the preferred and the rejected action at the same step; arguments int64 ``[P]``.

    With ``narrow`` rows have one column, see :func:`single_steps`.
    """
    twice = torch.stack([preferred, rejected], dim=1).view(-1)
    both = rollout.repeat_interleave(2), step.repeat_interleave(2)
    return single_steps(sampler, sample, *both, twice, narrow=narrow)
