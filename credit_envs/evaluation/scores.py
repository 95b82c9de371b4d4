"""Scores of one replicate: credit against the exact advantage, and its gradient against the exact gradient.

Gradients are of the behaviour policy's own softmax table: g = (1/n) Σ_i Σ_t ∇log π(a_t|o_t) Â_t per group. Their mean is
estimated with control variates: the gradients of RLOO and of the exact advantage on the same groups, whose means are the
exact gradient, so d = g − β_e (g_exact − g*) − β_r (g_rloo − g*) has the mean of g and often a fraction of its noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from credit_envs.arrays import EQUAL
from credit_envs.sampling.statistics import compact, group_count, group_sum
from credit_envs.sampling.trajectories import Sample


class GradientFrame:
    """Turns credit into per-group policy gradients, sparse over the (group, policy row) pairs of one sample.

    Args:
        sample: rollouts in groups; groups without rollouts don't count.
        exact: float64 ``[rows, A]``, the exact gradient.
        table: float64 ``[rows, A]``, the policy to be updated (default: the behaviour policy).
    """

    def __init__(self, sample: Sample, exact: Tensor, table: Tensor | None = None) -> None:
        batch = sample.trajectories
        mask = batch.mask
        own, self.n_groups = compact(batch.group)
        self.size = batch.n_rollouts / max(self.n_groups, 1)
        self.exact, self.mask = exact, mask
        rows, n_rows = batch.policy_row[mask], batch.policy_table.shape[0]
        group = own[:, None].expand_as(mask)[mask]
        self._pair, self.n_pairs = compact(group * n_rows + rows)
        first = torch.zeros(self.n_pairs, dtype=torch.int64, device=mask.device)
        first[self._pair] = group * n_rows + rows
        self.pair_group, self.pair_row = first // n_rows, first % n_rows
        self._cell = self._pair * batch.policy_table.shape[1] + batch.policy_action[mask]
        self._chance = (batch.policy_table if table is None else table)[self.pair_row]

    def gradient(self, credit: Tensor) -> Tensor:
        """Returns the groups' gradients as float64 ``[pairs, A]`` blocks."""
        actions = self._chance.shape[1]
        taken = group_sum(credit[self.mask], self._cell, self.n_pairs * actions).view(self.n_pairs, actions)
        return (taken - taken.sum(dim=1, keepdim=True) * self._chance) / self.size

    def dots(self, a: Tensor, b: Tensor) -> Tensor:
        """Returns ⟨a_g, b_g⟩ per group, float64 ``[groups]``."""
        return group_sum((a * b).sum(dim=1), self.pair_group, self.n_groups)

    def total(self, a: Tensor) -> Tensor:
        """Returns Σ_g a_g, float64 ``[rows, A]``."""
        return torch.zeros_like(self.exact).index_add_(0, self.pair_row, a)


@dataclass(frozen=True)
class GradientScore:
    """Moments of a group's gradient g.

    Attributes:
        groups: number of groups M.
        projection: estimate of ⟨E g, g*⟩.
        mean_square: unbiased estimate of ‖E g‖² (may be negative by noise).
        variance: unbiased estimate of E‖g − E g‖².
        exact_square: ‖g*‖².
    """

    groups: int
    projection: float
    mean_square: float
    variance: float
    exact_square: float


@dataclass(frozen=True, eq=False)
class Control:
    """A control variate: per-group gradients of a credit whose mean gradient is known exactly.

    Attributes:
        gradient: float64 ``[pairs, A]``.
        mean: float64 ``[rows, A]``.
    """

    gradient: Tensor
    mean: Tensor


def score_gradient(frame: GradientFrame, credit: Tensor, controls: Sequence[Control]) -> GradientScore:
    """Scores the gradient that a credit float64 ``[N, T]`` induces, with control variates."""
    g = frame.gradient(credit)
    inner = torch.tensor(
        [[float((a.gradient * b.gradient).sum()) for b in controls] for a in controls], dtype=torch.float64
    )
    cross = torch.tensor([[float((a.gradient * g).sum())] for a in controls], dtype=torch.float64)
    beta = torch.linalg.lstsq(inner, cross, driver="gelsd").solution[:, 0].tolist() if controls else []
    # d_g = rest_g + lift has the mean of g; rest is sparse and lift is one dense vector, so sums over groups are cheap.
    rest, lift = g.clone(), torch.zeros_like(frame.exact)
    for b, control in zip(beta, controls, strict=True):
        rest -= b * control.gradient
        lift += b * control.mean
    m, total = frame.n_groups, frame.total(rest)
    each_square = float((rest**2).sum()) + 2 * float((total * lift).sum()) + m * float((lift**2).sum())
    sum_square = float(((total + m * lift) ** 2).sum())
    return GradientScore(
        groups=m,
        projection=float(((total / max(m, 1) + lift) * frame.exact).sum()),
        mean_square=(sum_square - each_square) / (m * (m - 1)) if m > 1 else float("nan"),
        variance=float((g**2).sum() - (frame.total(g) ** 2).sum() / max(m, 1)) / max(m - 1, 1),
        exact_square=float((frame.exact**2).sum()),
    )


@dataclass(frozen=True)
class CreditScore:
    """Sums over the steps of one replicate, from which credit fidelity follows; credit c, exact advantage a.

    Attributes:
        steps: number of steps.
        c, a, cc, aa, ca: Σ c, Σ a, Σ c², Σ a², Σ c·a.
        within: pooled variance of c among visits of one (step, state, action).
        sign, sign_steps: right signs (a zero counts half) and the steps with an advantage.
        top, top_rollouts: share of the k most decisive steps found, summed over rollouts that have them.
        rank, rank_pairs: concordant minus discordant pairs of actions in one state, and pairs (weighted by visits).
    """

    steps: int
    c: float
    a: float
    cc: float
    aa: float
    ca: float
    within: float
    sign: float
    sign_steps: int
    top: float
    top_rollouts: int
    rank: float
    rank_pairs: float


def score_credit(sample: Sample, credit: Tensor, advantage: Tensor, n_edges: int, top_k: int = 3) -> CreditScore:
    """Scores credit float64 ``[N, T]`` against the exact advantage ``[N, T]`` on the steps that were taken.

    Numbers closer than 1e-9 of the largest are equal sums in another order: signs, ranks and the most decisive steps are the
    same on every processor.
    """
    mask, edge = sample.trajectories.mask, sample.truth.edge
    c, a, e = credit[mask], advantage[mask], edge[mask].clamp(min=0)
    step = torch.nonzero(mask, as_tuple=True)[1]
    noise_c, noise_a = _noise(c), _noise(a)
    matters = a.abs() > noise_a
    right = torch.where(c.abs() <= noise_c, 0.5, (c.sign() == a.sign()).to(torch.float64))
    cell, n = compact(step * n_edges + e)
    count = group_count(cell, n)
    scatter = group_sum(c**2, cell, n) - group_sum(c, cell, n) ** 2 / count
    freedom = float((count - 1).sum())
    top, rollouts = _top_hits(credit, advantage, mask, noise_c, noise_a, top_k)
    rank, pairs = _rank_agreement(c, a, e, sample.truth.state[mask], noise_c, noise_a)
    return CreditScore(
        steps=c.numel(),
        c=float(c.sum()),
        a=float(a.sum()),
        cc=float((c * c).sum()),
        aa=float((a * a).sum()),
        ca=float((c * a).sum()),
        within=float(scatter.clamp(min=0).sum()) / freedom if freedom > 0 else float("nan"),
        sign=float(right[matters].sum()),
        sign_steps=int(matters.sum()),
        top=top,
        top_rollouts=rollouts,
        rank=rank,
        rank_pairs=pairs,
    )


def _noise(values: Tensor) -> float:
    """Returns how far apart values may be that are equal but for rounding; above 0."""
    return EQUAL * max(float(values.abs().max()) if values.numel() else 0.0, 1e-300)


def _among_top(size: Tensor, k: int, noise: float) -> tuple[Tensor, Tensor]:
    """Which entries ``[N, T]`` lie above the row's k-th largest, and which equal it (masked entries are −1)."""
    bar = size.topk(k, dim=1).values[:, -1:]
    above = size > bar + noise
    return above, ~above & (size >= bar - noise)


def _top_hits(
    credit: Tensor, advantage: Tensor, mask: Tensor, noise_c: float, noise_a: float, k: int
) -> tuple[float, int]:
    """Expected share of the credit's k largest entries, equal ones drawn by lot, that are among the k most decisive steps.

    Steps as decisive as the k-th are among them, all of them, so that the exact advantage finds k of k.
    """
    size = torch.where(mask, advantage.abs(), -1.0)
    decisive = (size > noise_a).sum(dim=1) >= k
    long = mask.sum(dim=1) > k
    use = decisive & long
    if not bool(use.any()):
        return 0.0, 0
    more, as_much = _among_top(size[use], k, noise_a)
    above, tied = _among_top(torch.where(mask[use], credit[use].abs(), -1.0), k, noise_c)
    found = above + tied * (k - above.sum(dim=1, keepdim=True)) / tied.sum(dim=1, keepdim=True)
    return float(((more | as_much) * found).sum()) / k, int(use.sum())


def _rank_agreement(
    c: Tensor, a: Tensor, edge: Tensor, state: Tensor, noise_c: float, noise_a: float
) -> tuple[float, float]:
    """Kendall's concordance of mean credit and mean advantage over pairs of actions tried in one state."""
    cell, n = compact(edge)
    count = group_count(cell, n)
    mean_c, mean_a = group_sum(c, cell, n) / count, group_sum(a, cell, n) / count
    owner = torch.zeros(n, dtype=torch.int64, device=c.device)
    owner[cell] = state
    # Edges of a state are adjacent, so pairs at lag 1, 2, … cover all pairs until no state has that many actions.
    agree = pairs = 0.0
    for lag in range(1, n):
        same = owner[lag:] == owner[:-lag]
        if not bool(same.any()):
            break
        gap, said = mean_a[lag:] - mean_a[:-lag], mean_c[lag:] - mean_c[:-lag]
        real = same & (gap.abs() > noise_a)
        weight = torch.minimum(count[lag:], count[:-lag])[real]
        order = torch.where(said.abs() > noise_c, said.sign(), 0.0)
        agree += float((weight * (gap.sign() * order)[real]).sum())
        pairs += float(weight.sum())
    return agree, pairs
