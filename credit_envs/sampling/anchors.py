"""Identity rules: which steps of a group are said to be in the same state.

``obs``         exact observation (a cue isn't part of it)
``similarity``  character-level ratio of texts ≥ threshold, greedy in order of appearance (GiGPO's code for search tasks)
``embedding``   cosine of text embeddings ≥ threshold, greedy likewise; any encoder, a hashing one is shipped
``key``         the environment's structured key
``state``       the true state; ``state_time`` the true state and the step (privileged references)
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from credit_envs.arrays import Floats
from credit_envs.sampling.statistics import compact
from credit_envs.sampling.trajectories import Trajectories

Texts = Callable[[Tensor], list[str]]
Encoder = Callable[[Sequence[str]], Floats]


def scoped(batch: Trajectories, ids: Tensor, scope: str = "group") -> tuple[Tensor, int]:
    """Makes identity a matter of one group (or one context): ids ``[N, T]`` → flat ids of taken steps ``[M]``, and how many.

    Args:
        batch: the rollouts.
        ids: int64 ``[N, T]``, non-negative.
        scope: ``group`` or ``context`` (all groups of one context share their anchors).
    """
    owner = batch.group if scope == "group" else batch.context
    top = int(ids.max()) + 1
    return compact((owner[:, None] * top + ids)[batch.mask])


def timed(ids: Tensor) -> Tensor:
    """Makes the step part of the identity, int64 ``[N, T]``."""
    steps = torch.arange(ids.shape[1], device=ids.device)
    return ids * ids.shape[1] + steps


def similar(batch: Trajectories, text: Texts, threshold: float = 0.95) -> Tensor:
    """Clusters observations by the character ratio of their texts, int64 ``[N, T]``.

    A text joins the first cluster whose founder is similar enough, in order of first appearance in the batch; so the
    result depends on the order, and texts that differ in one digit merge (both as in the released GiGPO code).
    """

    def close(founder: str, candidate: str) -> bool:
        matcher = difflib.SequenceMatcher(None, founder, candidate)
        return (
            matcher.real_quick_ratio() >= threshold
            and matcher.quick_ratio() >= threshold
            and matcher.ratio() >= threshold
        )

    def cluster(texts: list[str]) -> list[int]:
        founders: list[str] = []
        out = []
        for words in texts:
            for i, founder in enumerate(founders):
                if words == founder or close(founder, words):
                    out.append(i)
                    break
            else:
                out.append(len(founders))
                founders.append(words)
        return out

    return _by_distinct(batch, text, cluster)


def embedded(batch: Trajectories, text: Texts, threshold: float = 0.95, encoder: Encoder | None = None) -> Tensor:
    """Clusters observations by the cosine of their texts' embeddings, int64 ``[N, T]``.

    Args:
        batch: the rollouts.
        text: words of observation ids.
        threshold: smallest cosine to a cluster's founder.
        encoder: n texts → float ``[n, d]`` (default: :func:`hashing_encoder`).
    """

    def cluster(texts: list[str]) -> list[int]:
        vectors = np.asarray((encoder or hashing_encoder)(texts), dtype=np.float64)
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300)
        founders: list[int] = []
        out = []
        for i in range(len(texts)):
            cosine = vectors[founders] @ vectors[i] if founders else np.zeros(0)
            near = np.flatnonzero(cosine >= threshold)
            if near.size:
                out.append(int(near[0]))
            else:
                out.append(len(founders))
                founders.append(i)
        return out

    return _by_distinct(batch, text, cluster)


def hashing_encoder(texts: Sequence[str], dimensions: int = 256) -> Floats:
    """Encodes texts by hashed counts of their words and letter triples, float64 ``[n, dimensions]``; needs no model."""
    out = np.zeros((len(texts), dimensions))
    for i, words in enumerate(texts):
        padded = f" {words.lower()} "
        for piece in [*padded.split(), *(padded[j : j + 3] for j in range(len(padded) - 2))]:
            out[i, _bucket(piece, dimensions)] += 1
    return out


@lru_cache(maxsize=1 << 16)
def _bucket(piece: str, dimensions: int) -> int:
    import zlib

    return zlib.crc32(piece.encode()) % dimensions


def _by_distinct(batch: Trajectories, text: Texts, cluster: Callable[[list[str]], list[int]]) -> Tensor:
    """Applies a clustering of texts to the batch's distinct observations, in order of first appearance."""
    flat = batch.obs[batch.mask]
    distinct, inverse = torch.unique(flat, return_inverse=True)
    place = torch.arange(len(flat), device=flat.device)
    first = torch.full_like(distinct, len(flat)).scatter_reduce(0, inverse, place, "amin")
    order = torch.argsort(first)
    clusters = torch.tensor(cluster(text(distinct[order])), dtype=torch.int64, device=flat.device)
    by_obs = torch.empty_like(clusters)
    by_obs[order] = clusters
    out = torch.zeros_like(batch.obs)
    out[batch.mask] = by_obs[inverse]
    return out
