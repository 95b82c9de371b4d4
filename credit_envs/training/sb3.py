"""Stable-Baselines3's algorithms on our tables: models on the native vector environment, and what they learn, exactly.

A policy without memory is a table: evaluated on all observations, its return is the oracle's to compute. DQN stands for its
greedy policy. RecurrentPPO has memory, so its return is a mean over whole episodes, with an interval.

Source: Raffin et al. 2021, Stable-Baselines3, JMLR 22(268), and sb3-contrib.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from credit_envs.arrays import Floats
from credit_envs.errors import CreditEnvsError, need, unknown
from credit_envs.faces.sb3 import NativeVecEnv
from credit_envs.oracle import Policy, expected_return
from credit_envs.policies import admissible
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.observer import Observer

_Extractor: Any = need("stable_baselines3.common.torch_layers", "baselines").BaseFeaturesExtractor
_CLASSES = {
    "ppo": ("stable_baselines3", "PPO"),
    "a2c": ("stable_baselines3", "A2C"),
    "dqn": ("stable_baselines3", "DQN"),
    "maskable_ppo": ("sb3_contrib", "MaskablePPO"),
    "recurrent_ppo": ("sb3_contrib", "RecurrentPPO"),
}
_SEEDS = 1 << 20
_ROWS_AT_ONCE = 2048


def build(
    name: str,
    table: TabularMDP,
    seed: int = 0,
    envs: int = 16,
    observation: str = "state",
    settings: Mapping[str, Any] | None = None,
) -> Any:
    """Builds a model of an algorithm with its multi-layer policy, ready to learn on the CPU.

    Args:
        name: ``ppo``, ``a2c``, ``dqn``, ``maskable_ppo`` or ``recurrent_ppo``.
        table: the environment.
        seed: of weights and draws; environments of different seeds share no luck.
        envs: environments at once.
        observation: ``state`` (SB3 shows ids one-hot) or a view of planes, shown one-hot by :class:`Planes`.
        settings: further arguments of the algorithm.

    Raises:
        CreditEnvsError: for an unknown algorithm, and views that SB3 has no policies for.
        MissingExtraError: without Stable-Baselines3 or sb3-contrib.
    """
    if name not in _CLASSES:
        raise unknown("algorithm", name, _CLASSES)
    module, kind = _CLASSES[name]
    found = getattr(need(module, "baselines"), kind)
    env = NativeVecEnv(table, envs, observation=observation)
    given = dict(settings or {})
    if observation != "state":
        planes = {
            "features_extractor_class": Planes,
            "features_extractor_kwargs": {"sizes": _sizes(table, observation)},
        }
        given["policy_kwargs"] = {**planes, "normalize_images": False, **given.get("policy_kwargs", {})}
    model = found("MlpLstmPolicy" if name == "recurrent_ppo" else "MlpPolicy", env, seed=seed, device="cpu", **given)
    env.seed(seed * _SEEDS)
    return model


class Planes(_Extractor):  # type: ignore[misc]
    """Shows every cell of planes one-hot, flat, where SB3 would show a number between 0 and 255.

    Args:
        space: of planes uint8 ``[channels, height, width]``, as SB3 turns them.
        sizes: how many values each channel has.
    """

    def __init__(self, space: Any, sizes: tuple[int, ...]) -> None:
        super().__init__(space, int(np.prod(space.shape[1:])) * sum(sizes))
        self.sizes = sizes

    def forward(self, obs: Tensor) -> Tensor:
        """Returns float ``[n, features]`` of planes ``[n, channels, height, width]``."""
        channels = [obs[:, c].long().flatten(1) for c in range(len(self.sizes))]
        hot = [torch.nn.functional.one_hot(x, n).flatten(1) for x, n in zip(channels, self.sizes, strict=True)]
        return torch.cat(hot, dim=1).float()


def tabulated(model: Any, table: TabularMDP, observation: str = "state") -> tuple[Floats, Floats]:
    """Evaluates a model's policy on all observations.

    Args:
        model: without memory.
        table: the environment that it plays.
        observation: the view that it sees.

    Returns:
        Probabilities of the policy that it plays (DQN: the greedy one) and of that policy's mode, float64 ``[n_obs, A]``.

    Raises:
        CreditEnvsError: for a model with memory.
    """
    if hasattr(model.policy, "lstm_actor"):
        raise CreditEnvsError(f"model={type(model).__name__}: has memory, so no table; see simulated()")
    observer, allowed, scores = Observer(table, observation), admissible(table).numpy(), list[Tensor]()
    model.policy.set_training_mode(False)
    greedy = hasattr(model, "q_net")
    for ids in np.array_split(np.arange(table.n_obs), -(-table.n_obs // _ROWS_AT_ONCE)):
        rows, _ = model.policy.obs_to_tensor(observer.rows(ids))
        with torch.no_grad():
            if greedy:
                scores.append(model.q_net(rows))
            elif type(model).__name__ == "MaskablePPO":
                scores.append(model.policy.get_distribution(rows, action_masks=allowed[ids]).distribution.logits)
            else:
                scores.append(model.policy.get_distribution(rows).distribution.logits)
    logits = torch.cat(scores).to(torch.float64)
    mode = torch.nn.functional.one_hot(logits.argmax(dim=1), table.n_actions).to(torch.float64)
    return (mode if greedy else torch.softmax(logits, dim=1)).numpy(), mode.numpy()


def simulated(
    model: Any, table: TabularMDP, observation: str = "state", seed: int = 0, episodes: int = 512
) -> tuple[float, float]:
    """Returns a model's mean return over whole episodes, and the half-width of its 95 % interval.

    Args:
        model: with or without memory; it samples its actions from torch's generator, whose state is put back after.
        table: the environment.
        observation: the view that the model sees.
        seed: of the episodes' luck, which no training shares.
        episodes: their number, at least 2.
    """
    env = NativeVecEnv(table, episodes, observation=observation)
    env.seed(seed * _SEEDS + _SEEDS // 2)
    obs, memory, fresh, playing = env.reset(), None, np.ones(episodes, dtype=bool), np.ones(episodes, dtype=bool)
    total, before = np.zeros(episodes), torch.get_rng_state()
    masked = type(model).__name__ == "MaskablePPO"
    while playing.any():
        more = {"action_masks": env.action_masks()} if masked else {}
        action, memory = model.predict(obs, memory, episode_start=fresh, deterministic=hasattr(model, "q_net"), **more)
        obs, reward, fresh, _ = env.step(action)
        total += reward * playing
        playing &= ~fresh
    torch.set_rng_state(before)
    return float(total.mean()), float(1.96 * total.std(ddof=1) / np.sqrt(episodes))


def learned(
    name: str,
    table: TabularMDP,
    budget: int,
    points: int,
    seed: int = 0,
    envs: int = 64,
    observation: str = "state",
    settings: Mapping[str, Any] | None = None,
) -> list[dict[str, float]]:
    """Trains a model and returns its curve.

    Args:
        name: as for :func:`build`.
        table: the environment.
        budget: environment steps; whole updates only are made of them.
        points: measurements along the way, evenly spaced; one more stands at the end.
        seed: of weights and draws.
        envs: environments at once.
        observation: the view that the model sees.
        settings: further arguments of the algorithm.

    Returns:
        One dict per measurement: ``steps``, ``update``, the return ``J``, and ``greedy``, that of the policy's mode; with
        memory ``error``, half of the 95 % interval of ``J``, in its place.

    Raises:
        CreditEnvsError: as :func:`build` does, and for a budget below one update.
    """
    from stable_baselines3.common.callbacks import BaseCallback

    model, curve = build(name, table, seed, envs, observation, settings), list[dict[str, float]]()
    at_once = envs * getattr(model, "n_steps", 1)
    if budget < at_once:
        raise CreditEnvsError(f"budget={budget}: {name} needs at least {at_once} steps for one update")

    def measure() -> None:
        point: dict[str, float] = {"steps": int(model.num_timesteps), "update": int(getattr(model, "_n_updates", 0))}
        if name == "recurrent_ppo":
            point["J"], point["error"] = simulated(model, table, observation, seed)
        else:
            played, mode = tabulated(model, table, observation)
            point["J"], point["greedy"] = (expected_return(table, Policy("obs", p)) for p in (played, mode))
        curve.append(point)

    class Marks(BaseCallback):
        """Measures at marks of the budget."""

        def _on_step(self) -> bool:
            if len(curve) < points and self.num_timesteps >= len(curve) * budget / points:
                measure()
            return True

    measure()
    model.learn(budget // at_once * at_once, callback=Marks())
    measure()
    return curve


def _sizes(table: TabularMDP, observation: str) -> tuple[int, ...]:
    rows = np.asarray(Observer(table, observation).rows(np.arange(table.n_obs)))
    return tuple((rows.reshape(-1, rows.shape[-1]).max(axis=0).astype(int) + 1).tolist())
