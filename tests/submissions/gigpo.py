"""Full marks: assignment gigpo, by dictionaries instead of tensor operations."""

from collections import defaultdict

import numpy as np

ASSIGNMENT = "gigpo"
GAMMA = 0.95


def estimate(batch):
    """Returns (R_i − mean R) + (G_{i,t} − mean at the anchor)."""
    reward, mask = batch.reward.numpy(), batch.mask.numpy()
    group, anchor = batch.group.numpy(), batch.anchor.numpy()
    to_go = np.zeros_like(reward)
    running = np.zeros(len(reward))
    for t in reversed(range(reward.shape[1])):
        running = np.where(mask[:, t], reward[:, t] + GAMMA * running, 0.0)
        to_go[:, t] = running
    totals, visits = defaultdict(list), defaultdict(list)
    for i in range(len(reward)):
        totals[group[i]].append(reward[i][mask[i]].sum())
        for t in np.flatnonzero(mask[i]):
            visits[group[i], anchor[i, t]].append(to_go[i, t])
    mean = {key: np.mean(found) for key, found in visits.items()}
    credit = np.zeros_like(reward)
    for i in range(len(reward)):
        episode = reward[i][mask[i]].sum() - np.mean(totals[group[i]])
        for t in np.flatnonzero(mask[i]):
            credit[i, t] = episode + to_go[i, t] - mean[group[i], anchor[i, t]]
    return credit
