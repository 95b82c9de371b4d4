"""Perception-R1: the answer, its form, the key visual facts that a judge finds stated, and no repetitions.

    R = 0.9·acc + 0.1·format + 0.7·r_v + p_rep
    r_v   = (1/|V|) Σ_j 1[judge finds fact j stated],   0 if V is empty
    p_rep = −2 (1 − different n-grams / all n-grams)    n = 20 actions; 0 for rollouts shorter than that

One number with the last step: a component of the reward, not a credit of the tokens that state a fact. acc is the return;
the format is always right, for tables admit no other. V are the facts that the question needs and only the picture shows,
``stated`` says which of them stand right in the solution at the end, and the judge turns each verdict round with probability
1 − accuracy. At accuracy 1/2 r_v is noise, independent of the rollout.
Source: Xiao et al. 2025, arXiv 2506.07218, §3; released code tongxiao2002/Perception-R1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.errors import check_range
from credit_envs.piece import Labels, Noise
from credit_envs.sampling.spans import spans
from credit_envs.sampling.statistics import compact
from credit_envs.sampling.trajectories import Trajectories

REQUIRES = ("stated", "key_facts")
"""Labels that a table must have."""

_JUDGE = int.from_bytes(b"facts", "big")


def perception_r1(
    batch: Trajectories,
    *,
    labels: Labels,
    noise: Noise,
    accuracy: float = 1.0,
    outcome: float = 0.9,
    form: float = 0.1,
    facts: float = 0.7,
    repetition: float = 2.0,
    ngram: int = 20,
) -> Trajectories:
    """Pays each rollout once, with its last step.

    Args:
        batch: rollouts.
        labels: what the environment verifies.
        noise: luck of the judge.
        accuracy: probability that a verdict is right, in [0, 1].
        outcome: weight of acc.
        form: weight of the format.
        facts: weight of r_v.
        repetition: weight of the penalty.
        ngram: n ≥ 1.

    Raises:
        CreditEnvsError: for an option out of its range.
    """
    for name, value in (("outcome", outcome), ("form", form), ("facts", facts), ("repetition", repetition)):
        check_range(name, value, 0, 1e9)
    found = facts_found(labels, noise, accuracy)
    paid = outcome * batch.returns + form + facts * found - repetition * repeated(batch, ngram)
    whole = spans(batch, "segment", 1)
    return batch.replace(reward=whole.at_end(paid[:, None]))


def facts_found(labels: Labels, noise: Noise, accuracy: float = 1.0) -> Tensor:
    """Returns the share r_v of the key facts that the judge finds, float64 ``[N]``; arguments as above."""
    check_range("accuracy", accuracy, 0, 1)
    stated, number = labels("stated")[:, -1:], labels("key_facts")[:, -1:]
    fact = torch.arange(int(number.max()), device=stated.device)
    exists = fact < number
    wrong = noise(_JUDGE, len(stated), len(fact)) < 1 - accuracy
    present = ((stated >> fact & 1 > 0) ^ wrong) & exists
    return present.sum(dim=1).to(torch.float64) / number[:, 0].clamp(min=1)


def repeated(batch: Trajectories, n: int = 20) -> Tensor:
    """Returns the share of n-grams of actions that stood in the rollout before, float64 ``[N]``.

    Args:
        batch: rollouts.
        n: length, at least 1.
    """
    check_range("ngram", n, 1, 1 << 30, integer=True)
    rollouts, steps = batch.mask.shape
    if steps < n:
        return batch.reward.new_zeros(rollouts)
    gram, length = batch.action, 1
    while length < n:
        # Two shorter grams that overlap make a longer one; numbered anew, so that codes stay small.
        more = min(length, n - length)
        numbered, many = compact(gram.flatten())
        gram = numbered.view(gram.shape)
        gram, length = gram[:, :-more] * many + gram[:, more:], length + more
    whole = batch.mask.unfold(1, n, 1).all(dim=2)
    numbered, many = compact(gram[whole])
    row = torch.nonzero(whole)[:, 0]
    different = torch.unique(row * many + numbered) // max(many, 1)
    count = torch.bincount(different, minlength=rollouts).to(torch.float64)
    return 1 - torch.where(whole.any(dim=1), count / whole.sum(dim=1).clamp(min=1), 1.0)
