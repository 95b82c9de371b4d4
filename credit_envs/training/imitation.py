"""Imitation of optimal play: demonstrations, and the policy over observations that makes them likeliest.

The demonstrator knows state and step, the imitator only what is shown, so where observations hide either there is a gap that
no number of demonstrations closes. Behaviour cloning of a tabular policy needs no descent: its likelihood is greatest at the
shares in which actions were shown.

Source: Pomerleau 1991, Efficient training of artificial neural networks for autonomous navigation, Neural Computation 3(1).
"""

from __future__ import annotations

import numpy as np

from credit_envs.arrays import AnyArray, Floats, Ints
from credit_envs.faces.vector import TabularVectorEnv
from credit_envs.oracle.control import optimal
from credit_envs.policies import admissible
from credit_envs.table.mdp import TabularMDP


def demonstrate(table: TabularMDP, episodes: int, seed: int = 0) -> tuple[Ints, Ints, Ints]:
    """Plays optimally, greedy by the oracle's exact values, through the native vector environment.

    Args:
        table: the environment.
        episodes: number of episodes.
        seed: of their luck; episode i plays what an environment with seed ``seed + i`` plays.

    Returns:
        Observation ids, names of the actions taken, and episode numbers, int64 ``[steps]`` each.
    """
    env, best = TabularVectorEnv(table, episodes, "state", "SameStep"), optimal(table)
    obs, _ = env.reset(seed=seed)
    names, playing = np.arange(table.n_actions), np.ones(episodes, dtype=bool)
    shown, taken, owner = [], [], []
    for t in range(table.horizon):
        edge = np.maximum(best.greedy(t)[env.state], 0)
        # The name under which the wanted edge goes now, where an emission renames actions.
        code = obs % table.emission.n_codes
        executed = table.executed_edges(env.state[:, None], names[None], code[:, None])
        action = (executed == edge[:, None]).argmax(axis=1)
        shown.append(obs[playing])
        taken.append(action[playing])
        owner.append(np.flatnonzero(playing))
        obs, _, terminated, truncated, _ = env.step(action)
        playing &= ~(terminated | truncated)
        if not playing.any():
            break
    return np.concatenate(shown), np.concatenate(taken), np.concatenate(owner)


def clone(table: TabularMDP, obs: AnyArray, action: AnyArray) -> Floats:
    """Returns the tabular policy of greatest likelihood, uniform over admissible actions where nothing was shown.

    Args:
        table: the environment.
        obs: int ``[steps]``, observation ids.
        action: int ``[steps]``, names of actions.

    Returns:
        float64 ``[n_obs, A]``.
    """
    count = np.zeros((table.n_obs, table.n_actions))
    np.add.at(count, (obs, action), 1.0)
    unseen = count.sum(axis=1) == 0
    count[unseen] = admissible(table).numpy()[unseen]
    return np.asarray(count / count.sum(axis=1, keepdims=True))
