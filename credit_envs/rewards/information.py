"""Information gain about the known answer: MIG's watermark on levels, and IGPO's differences.

After each turn (or segment) k the answer's probability p_k is read: p_0 before the first. With ℓ_k = log p_k

    MIG     h_k = max(h_{k−1}, ℓ_k),  h_0 = ℓ_0;   g_k = max(0, ℓ_k − h_{k−1});   Σ_k g_k = max_k ℓ_k − ℓ_0
    IGPO    g_k = p_k − p_{k−1}                     (released option: ℓ_k − ℓ_{k−1})
    told    I_k = ℓ_k − ℓ_{k−1};   g_k = max(0, I_k − max(0, I_1, …, I_{k−1}))      MIG as it is often told

Gains stand in ``step_reward`` on the last step of their turn; what is made of them is up to the advantage estimator
(:mod:`credit_envs.credit.mig`, :mod:`credit_envs.credit.igpo`). The last turn is the answer: it has no gain, since what
follows it is the outcome (``answer=False`` where it is a step of the solution like any other).

Where p comes from: the exact Bayes posterior that the environment knows, ``answer_share / answer_whole`` (Lookup), or
the share of the ways to go on that are right (Sums, Charts); or, privileged, the policy's own probability of being paid,
V^π, which the papers' p_θ(y* | prefix) stands for. On deterministic transitions IGPO's gain by V^π is the advantage.

Probability 0 (something wrong was settled) is read as ``floor``, below any positive share that an int64 label can hold;
levels below the watermark never count, so it decides nothing in MIG, but differences of ℓ feel it.

Sources: MIG, arXiv 2602.01034, §4.1 (no code); IGPO, Wang et al. 2025, arXiv 2510.14967, §3, and its released code.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.piece import Labels
from credit_envs.sampling.spans import Spans, spans
from credit_envs.sampling.trajectories import Trajectories

REQUIRES = ("answer_share", "answer_whole")
"""Labels that a table must have."""

FLOOR = 1e-20
"""What probability 0 is read as."""

KINDS = ("levels", "increments", "difference", "log_difference")
"""MIG's watermark, the one as told, and IGPO's two differences."""


def answer_probability(labels: Labels) -> Tensor:
    """Returns the probability of the right answer before each step and after the last, float64 ``[N, T + 1]``."""
    return labels("answer_share").to(torch.float64) / labels("answer_whole")


def policy_probability(batch: Trajectories, value: Tensor) -> Tensor:
    """Returns the policy's probability of being paid, likewise, from exact values and, after the end, returns."""
    taken, paid = batch.mask, batch.returns[:, None]
    before = taken.long().flip(1).cumsum(dim=1).flip(1) > 0
    level = torch.cat([torch.where(before, value, paid), paid], dim=1)
    return level.clamp(0, 1)


def gains(
    batch: Trajectories,
    probability: Tensor,
    kind: str = "levels",
    level: str = "turn",
    answer: bool = True,
    floor: float = FLOOR,
) -> Tensor:
    """Returns the gain of each turn on its last step, float64 ``[N, T]``.

    Args:
        batch: rollouts.
        probability: float64 ``[N, T + 1]``, of the right answer before each step and after the last.
        kind: one of :data:`KINDS`.
        level: what is credited in one: ``step``, ``turn`` or ``segment``.
        answer: whether the last turn is the answer and has no gain.
        floor: what smaller probabilities are read as, in (0, 1].

    Raises:
        CreditEnvsError: for an option out of its range.
    """
    if kind not in KINDS:
        raise CreditEnvsError(f"kind={kind!r}: expected one of {', '.join(KINDS)}")
    check_range("floor", floor, 0, 1, open_low=True)
    parts = spans(batch, level)
    read = probability if kind == "difference" else probability.clamp(min=floor).log()
    first = (batch.mask.cumsum(dim=1) == 0).sum(dim=1, keepdim=True)
    start, after = read.gather(1, first), read.gather(1, parts.end + 1)
    counted = counting(parts, answer)
    if kind == "levels":
        gain = (after - _best_before(after, start, parts.present)).clamp(min=0)
    else:
        gain = after - _previous(after, start, parts.present)
        if kind == "increments":
            none = torch.zeros_like(start)
            gain = (gain - _best_before(gain, none, parts.present)).clamp(min=0)
    return parts.at_end(torch.where(counted, gain, 0.0))


def counting(parts: Spans, answer: bool) -> Tensor:
    """Returns the spans that can gain, bool ``[N, K]``: all but the answer."""
    return parts.present & ~parts.final if answer else parts.present


def mig_gain(
    batch: Trajectories, *, labels: Labels, kind: str = "levels", level: str = "turn", answer: bool = True
) -> Trajectories:
    """Puts MIG's gains beside the reward; options as for :func:`gains`."""
    return batch.replace(step_reward=gains(batch, answer_probability(labels), kind, level, answer))


def mig_gain_policy(
    batch: Trajectories, *, value: Tensor, kind: str = "levels", level: str = "turn", answer: bool = True
) -> Trajectories:
    """Puts MIG's gains by the policy's own probability beside the reward; options as for :func:`gains`."""
    return batch.replace(step_reward=gains(batch, policy_probability(batch, value), kind, level, answer))


def igpo_gain(batch: Trajectories, *, labels: Labels, log: bool = False, level: str = "turn") -> Trajectories:
    """Puts IGPO's gains beside the reward; ``log`` for differences of log-probabilities (released option)."""
    kind = "log_difference" if log else "difference"
    return batch.replace(step_reward=gains(batch, answer_probability(labels), kind, level))


def igpo_gain_policy(batch: Trajectories, *, value: Tensor, log: bool = False, level: str = "turn") -> Trajectories:
    """Puts IGPO's gains by the policy's own probability beside the reward; options likewise."""
    kind = "log_difference" if log else "difference"
    return batch.replace(step_reward=gains(batch, policy_probability(batch, value), kind, level))


def _previous(after: Tensor, start: Tensor, present: Tensor) -> Tensor:
    """Returns what was read before each span, ``[N, K]``."""
    before = torch.cat([start, after[:, :-1]], dim=1)
    has = torch.cat([torch.zeros_like(present[:, :1]), present[:, :-1]], dim=1)
    return torch.where(has, before, start)


def _best_before(after: Tensor, start: Tensor, present: Tensor) -> Tensor:
    """Returns the highest that was read before each span, ``[N, K]``."""
    seen = torch.where(present, after, -torch.inf)
    return torch.cat([start, seen[:, :-1]], dim=1).cummax(dim=1).values
