"""GRPO, Dr.GRPO and RLOO: the group's own returns as baseline, one number for everything a rollout did.

    Â_i = (R_i − mean(R)) / (std(R) + ε)        GRPO (std with ddof = 1)
    Â_i =  R_i − mean(R)                        Dr.GRPO
    Â_i =  R_i − mean_{j≠i}(R_j)                RLOO = n/(n−1) · Dr.GRPO

On-policy, without the division and with reward at the end, E[Â | s_t, a_t] = (n−1)/n · (Q − V(s_0)): a credit that carries
the luck so far, and an unbiased gradient up to the factor. What was paid before step t adds to it. Released-code quirk as a
flag: ``lone="value"`` gives a group of one its own return instead of zero (verl). Sources: Shao et al. 2024 (DeepSeekMath),
§4.1; Liu et al. 2025 (Dr.GRPO); Kool et al. 2019 and Ahmadian et al. 2024 (RLOO); verl ``core_algos``.
"""

from __future__ import annotations

from torch import Tensor

from credit_envs.sampling.statistics import centred, group_count
from credit_envs.sampling.trajectories import Trajectories


def grpo(batch: Trajectories, norm_by_std: bool = True, epsilon: float = 1e-6, lone: str = "zero") -> Tensor:
    """Returns GRPO's credit, float64 ``[N, T]``.

    Args:
        batch: rollouts in groups.
        norm_by_std: divide by the group's deviation.
        epsilon: added to the deviation.
        lone: ``zero`` or ``value``, for groups of one.
    """
    score = centred(batch.returns, batch.group, batch.n_groups, norm_by_std=norm_by_std, epsilon=epsilon, lone=lone)
    return score[:, None] * batch.mask


def dr_grpo(batch: Trajectories) -> Tensor:
    """Returns Dr.GRPO's credit, float64 ``[N, T]``: GRPO without the division."""
    return grpo(batch, norm_by_std=False)


def rloo(batch: Trajectories) -> Tensor:
    """Returns the leave-one-out credit, float64 ``[N, T]``; zero for groups of one."""
    n = group_count(batch.group, batch.n_groups)[batch.group]
    return (n / (n - 1).clamp(min=1))[:, None] * dr_grpo(batch)
