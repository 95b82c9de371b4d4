"""The native vector environment as Stable-Baselines3 takes it.

    model = PPO("MlpPolicy", NativeVecEnv("credit/KeyRooms-v0", 64, observation="state"))

Environment i with seed s + i plays, bit for bit, what SB3's own ``DummyVecEnv`` of the same environments plays, infos
included; only it takes one compiled call for all of them. ``sb3_contrib``'s maskable algorithms find the admissible
actions through ``action_masks``. SB3 has no policies for strings, so views with words are refused.

Source: Raffin et al. 2021, Stable-Baselines3, JMLR 22(268); the contract is that of its ``VecEnv``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from credit_envs.arrays import AnyArray, Bools
from credit_envs.errors import CreditEnvsError, need
from credit_envs.faces.entry import Source, make_vec
from credit_envs.faces.vector import TabularVectorEnv

_VecEnv: Any = need("stable_baselines3.common.vec_env", "baselines").VecEnv


_TOLD = ("action_mask", "anchor", "env_state_hash", "step_reward")


class NativeVecEnv(_VecEnv):  # type: ignore[misc]
    """Many episodes of one table, in the contract of SB3's ``VecEnv``.

    Args:
        source: an environment id, the path of a stored table, a table, or a vector environment in ``SAME_STEP`` mode.
        num_envs: number of environments.
        **kwargs: as for :func:`credit_envs.faces.make_vec`, among them ``observation`` and knobs.

    Attributes:
        native: the vector environment.

    Raises:
        CreditEnvsError: for a view with words, another autoreset mode, and as :func:`credit_envs.faces.make_vec`.
    """

    def __init__(self, source: Source | TabularVectorEnv, num_envs: int = 1, **kwargs: Any) -> None:
        if not isinstance(source, TabularVectorEnv):
            source = make_vec(source, num_envs, autoreset_mode=AutoresetMode.SAME_STEP, **kwargs)
        elif source.metadata["autoreset_mode"] is not AutoresetMode.SAME_STEP:
            mode = source.metadata["autoreset_mode"].value
            raise CreditEnvsError(f"autoreset_mode={mode!r}: SB3 expects 'SameStep'")
        self.native = source
        _check_space(source.single_observation_space)
        self._actions: AnyArray = np.zeros(source.num_envs, dtype=np.int64)
        super().__init__(source.num_envs, source.single_observation_space, source.single_action_space)

    def reset(self) -> Any:
        """Starts new episodes everywhere, with the seeds given to ``seed`` since the last time.

        Raises:
            CreditEnvsError: if options were set: these environments have none.
        """
        if any(self._options):
            raise CreditEnvsError(f"options={self._options[0]!r}: these environments have none")
        obs, info = self.native.reset(seed=None if all(seed is None for seed in self._seeds) else list(self._seeds))
        self._reset_seeds()
        self.reset_infos = self._split(info)
        return obs

    def step_async(self, actions: AnyArray) -> None:
        """Remembers the actions, int ``[N]``, that the next :meth:`step_wait` takes."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, AnyArray, Bools, list[dict[str, Any]]]:
        """Returns observations, rewards float32 ``[N]``, ends bool ``[N]`` and an info for each environment.

        Where an episode ended the observation is the first of the next one, and ``terminal_observation`` the last seen.
        """
        obs, reward, terminated, truncated, info = self.native.step(self._actions)
        over = terminated | truncated
        infos = self._split(info)
        if over.any():
            last = self._split(info["final_info"])
            for i in np.flatnonzero(over).tolist():
                self.reset_infos[i] = infos[i]
                infos[i] = {**last[i], "terminal_observation": info["final_obs"][i]}
        for told in infos:
            told["TimeLimit.truncated"] = False
        for i in np.flatnonzero(truncated & ~terminated).tolist():
            infos[i]["TimeLimit.truncated"] = True
        return obs, reward.astype(np.float32), over, infos

    def close(self) -> None:
        """Closes the vector environment."""
        self.native.close()

    def action_masks(self) -> Bools:
        """Returns which action names every environment admits now, bool ``[N, A]``."""
        # Where an emission shifts names, it does so among the admissible ones: the mask stays the same.
        return np.asarray(self.native.table.mask[self.native.state])

    # -- the rest of SB3's contract ------------------------------------------------------------------------------------

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Returns an attribute of the environments, which they share, once for each."""
        value = self.action_masks if attr_name == "action_masks" else getattr(self.native, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:  # noqa: ARG002
        """Refuses: environments of one table share their attributes."""
        raise CreditEnvsError(f"set_attr({attr_name!r}): environments of one table share their attributes")

    def env_method(self, method_name: str, *_: Any, indices: Any = None, **__: Any) -> list[Any]:
        """Returns each environment's row of ``action_masks`` or its picture or words (``render``).

        Raises:
            CreditEnvsError: for other methods: single environments have them.
        """
        rows: Sequence[Any] | AnyArray
        if method_name == "action_masks":
            rows = self.action_masks()
        elif method_name == "render":
            rows = self.native.render() or (None,) * self.num_envs
        else:
            raise CreditEnvsError(f"env_method({method_name!r}): expected 'action_masks' or 'render'")
        return [rows[i] for i in self._get_indices(indices)]

    def env_is_wrapped(
        self,
        wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]],  # noqa: ARG002
        indices: Any = None,
    ) -> list[bool]:
        """Returns that no environment is wrapped."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> list[Any]:
        """Returns the pictures of all environments (None without ``render_mode="rgb_array"``)."""
        return self.env_method("render") if self.render_mode == "rgb_array" else [None] * self.num_envs

    def _split(self, info: dict[str, Any]) -> list[dict[str, Any]]:
        """Returns one info per environment of what stands in the vector environment's."""
        out: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for name in _TOLD:
            if name in info:
                values, there = info[name], info[f"_{name}"].tolist()
                items = values.tolist() if values.ndim == 1 else values
                for told, value, known in zip(out, items, there, strict=True):
                    if known:
                        told[name] = value
        return out


def _check_space(space: gymnasium.Space[Any]) -> None:
    parts = space.spaces if isinstance(space, gymnasium.spaces.Dict) else {"": space}
    for part in parts.values():
        if isinstance(part, gymnasium.spaces.Text):
            raise CreditEnvsError("observation: SB3 has no policies for words; expected 'state' or a view of planes")
