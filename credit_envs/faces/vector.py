"""The vector environment: many episodes of one table, stepped by one compiled kernel."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from credit_envs.arrays import AnyArray, Bools, Floats, Ints, Words
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.faces import render
from credit_envs.faces.batch import Batcher
from credit_envs.faces.truth import Truth
from credit_envs.table.draws import EPISODE, Purpose, mix_words
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.observer import Observer

_ENTROPY_BITS = 62
_BOOL, _INT32, _INT64 = (np.dtype(kind) for kind in (np.bool_, np.int32, np.int64))


class TabularVectorEnv(VectorEnv[Any, AnyArray, AnyArray]):
    """Many episodes of one table, in Gymnasium's vector contract.

    Environment i with seed s + i plays, bit for bit, what :class:`~credit_envs.faces.single.TabularEnv` plays with that
    seed and the same actions. Everything returned is new memory.

    Args:
        table: the table.
        num_envs: number of environments N.
        observation: view that observations are shown in.
        autoreset_mode: ``NEXT_STEP`` (the default), ``SAME_STEP`` or ``DISABLED``, or their names in Gymnasium.
        max_episode_steps: step from which on episodes count as truncated too (as the ``TimeLimit`` wrapper does).
        render_mode: None, ``rgb_array`` or ``ansi``.
        anchor_info: adds ``anchor`` int64 ``[N]``, ``env_state_hash`` str objects ``[N]`` and ``step_reward`` float64 ``[N]``
            to ``info``; see :mod:`credit_envs.faces.truth`.

    Attributes:
        table: the table being played.

    ``info`` is empty otherwise, but for ``action_mask`` int8 ``[N, A]`` where some state does not admit all actions, and
    ``final_obs`` and ``final_info`` in ``SAME_STEP``.

    Raises:
        CreditEnvsError: for an unknown view or mode and for numbers out of range.
    """

    def __init__(
        self,
        table: TabularMDP,
        num_envs: int = 1,
        observation: str = "state",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        anchor_info: bool = False,
    ) -> None:
        from credit_envs.faces import kernels

        check_range("num_envs", num_envs, 1, 1 << 24, integer=True)
        if max_episode_steps is not None:
            check_range("max_episode_steps", max_episode_steps, 1, (1 << 31) - 1, integer=True)
        if render_mode == "human":
            raise CreditEnvsError("render_mode='human': expected None, 'rgb_array' or 'ansi' for many environments")
        render.check_mode(render_mode)
        self.table, self.num_envs, self.render_mode = table, int(num_envs), render_mode
        self._mode = _mode(autoreset_mode)
        self._same_step, self._disabled = self._mode is AutoresetMode.SAME_STEP, self._mode is AutoresetMode.DISABLED
        self.metadata = {"autoreset_mode": self._mode, "render_modes": ["rgb_array", "ansi"], "render_fps": 8}
        observer = Observer(table, observation)
        self.single_observation_space = observer.space
        self.single_action_space = gymnasium.spaces.Discrete(table.n_actions)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._show = Batcher(observer, table.n_obs)
        self._truth = Truth(table, oracle_info=False, anchor_info=anchor_info)
        self._rows: AnyArray | None = None
        self._layered = bool(table.emission.layers)
        rows = self._show.store
        if isinstance(rows, np.ndarray) and rows.dtype != object and not self._layered:
            self._rows = np.empty(len(rows), np.dtype([("row", rows.dtype, rows.shape[1:])]))
            self._rows["row"] = rows
        self._start: Any = kernels.begin
        self._lanes, self._seeds = np.zeros(self.num_envs, kernels.LANE), np.zeros(self.num_envs, kernels.SEED)
        self._state, self._time, self._over = (self._lanes[name] for name in ("state", "t", "over"))
        self._code = np.zeros(self.num_envs, dtype=np.int64)
        self._emission_key: Words = np.zeros(self.num_envs, dtype=np.uint64)
        self._seed_list: tuple[int, ...] | None = None
        self._limit = None if max_episode_steps is None else int(max_episode_steps)
        fixed = self._kernel_arguments(kernels)
        like = (np.empty(0, _INT64), *self._outputs())
        self._step = partial(kernels.compiled(kernels.step, *fixed, *like), *fixed)

    def _kernel_arguments(self, kernels: Any) -> tuple[Any, ...]:
        """Returns the table as the kernel reads it; what this table does not need is None."""
        table = self.table
        full = table.n_edges == table.n_states * table.n_actions
        certain = table.is_deterministic
        edges = None
        if not (full and certain):
            edges = np.zeros(table.n_edges + 1, kernels.EDGE)
            edges["action"][:-1], edges["outcome"] = table.edge_action, table.outcome_start
        outcomes = np.zeros(table.n_outcomes, kernels.OUTCOME)
        for name in ("reward", "successor", "terminal"):
            outcomes[name] = getattr(table, name)
        affine = None
        if table.reward_scale is not None or table.reward_shift is not None:
            affine = np.ones((table.horizon, 2)) * (1.0, 0.0)
            affine[:, 0] = 1.0 if table.reward_scale is None else table.reward_scale
            affine[:, 1] = 0.0 if table.reward_shift is None else table.reward_shift
        base = table.emission.base
        plain = self._rows is None or bool(np.array_equal(base, np.arange(table.n_states)))
        self._starts = np.stack([table.start_state, table.start_threshold])
        return (
            self._lanes,
            self._seeds,
            None if full else np.array(table.edge_start),
            edges,
            outcomes,
            None if certain else np.array(table.outcome_threshold),
            self._starts,
            affine,
            None if table.cutoff_reward is None else np.array(table.cutoff_reward),
            None if plain else np.array(base),
            self._rows,
            table.n_actions,
            table.horizon,
            self._limit,
            float(table.inadmissible_reward),
        )

    # -- Gymnasium ---------------------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts the next episode of all environments, or of those in ``options["reset_mask"]``.

        Args:
            seed: s for seeds s + i, or one seed (or None) per environment; a seed restarts the count of episodes.
            options: ``reset_mask``, bool ``[N]`` with at least one True.

        Raises:
            CreditEnvsError: for a malformed seed or mask.
        """
        chosen = _mask(options, self.num_envs)
        if self._seed_list is None and not chosen.all():
            raise CreditEnvsError("options['reset_mask']: expected a reset of all environments first")
        self._sow(seed, chosen)
        self._start(chosen, self._lanes, self._seeds, self._starts, self.table.is_deterministic)
        if self._layered:
            self._draw_codes()
        return self._show(self._obs()), self._told(chosen, self._state, self._code)

    def step(self, actions: AnyArray) -> tuple[Any, AnyArray, AnyArray, AnyArray, dict[str, Any]]:
        """Takes a step in every environment.

        Args:
            actions: int ``[N]``.

        Raises:
            CreditEnvsError: for actions of the wrong shape, type or range, and, in ``DISABLED`` mode, where one is over.
            gymnasium.error.ResetNeeded: before the first reset.
        """
        n = self.num_envs
        if not (isinstance(actions, np.ndarray) and actions.dtype is _INT64 and actions.shape == (n,)):
            actions = self._checked(actions)
        elif not actions.flags.forc:
            actions = actions.copy()
        if self._seed_list is None:
            raise gymnasium.error.ResetNeeded("step() before reset()")
        if self._disabled and self._over.any():
            i = int(np.flatnonzero(self._over)[0])
            raise CreditEnvsError(f"environment {i} is over: reset it with options={{'reset_mask': ...}} first")
        rewards, terminated, truncated, final, shown = self._outputs()
        anchored = self._truth.anchored
        before = (self.state, self._over == 0) if anchored else None
        ended = self._step(actions, rewards, terminated, truncated, final, shown)
        if truncated is None:
            truncated = np.zeros(n, _BOOL)
        if ended < 0:
            self._checked(actions)
        info: dict[str, Any] = {}
        if ended and final is not None:
            info = self._finals(terminated | truncated, final)
        if self._layered:
            self._draw_codes()
        if self._truth.masked or anchored:
            info |= self._told(np.ones(n, dtype=np.bool_), self._state, self._code)
        if before is not None:
            self._tell_earned(info, before, rewards, terminated, terminated | truncated, final)
        if shown is None:
            return self._show(self._obs()), rewards, terminated, truncated, info
        return shown["row"], rewards, terminated, truncated, info

    def _outputs(self) -> tuple[Any, ...]:
        """Returns new memory for what the kernel writes: rewards, terminated, truncated, last states, rows."""
        n = self.num_envs
        truncated = None if self._limit is None else np.empty(n, _BOOL)
        final = np.empty((n, 2), _INT32) if self._same_step else None
        shown = None if self._rows is None else np.empty(n, self._rows.dtype)
        return np.empty(n), np.empty(n, _BOOL), truncated, final, shown

    def render(self) -> tuple[Any, ...] | None:
        """Returns the pictures or words of all current states."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() without a render_mode: pass render_mode='rgb_array' or 'ansi'")
            return None
        draw = render.words if self.render_mode == "ansi" else render.picture
        shown = zip(self._state.tolist(), self._code.tolist(), strict=True)
        return tuple(draw(self.table, state, code) for state, code in shown)

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """Seeds of the environments; empty before the first reset."""
        return self._seed_list or ()

    # -- what it stands for ------------------------------------------------------------------------------------------

    @property
    def knobs(self) -> Mapping[str, Any]:
        """Dial values: ``{"requested": …, "measured": …}``, measured by the oracle under the uniform policy on each read."""
        from credit_envs import dials

        return dials.measured(self.table)

    @property
    def state(self) -> Ints:
        """Numbers of the current states, int64 ``[N]``."""
        return self._state.astype(np.int64)

    @property
    def t(self) -> Ints:
        """Steps taken in the current episodes, int64 ``[N]``."""
        return self._time.astype(np.int64)

    # -- parts -------------------------------------------------------------------------------------------------------

    def _checked(self, actions: Any) -> AnyArray:
        given = np.asarray(actions)
        if given.shape != (self.num_envs,) or given.dtype.kind not in "iu":
            raise CreditEnvsError(
                f"actions: expected integers of shape ({self.num_envs},), got {given.dtype} of shape {given.shape}"
            )
        bad = np.flatnonzero((given < 0) | (given >= self.table.n_actions))
        if bad.size:
            i = int(bad[0])
            raise CreditEnvsError(f"actions[{i}]={given[i]}: expected an integer in [0, {self.table.n_actions - 1}]")
        return np.ascontiguousarray(given, dtype=np.int64)

    def _sow(self, seed: int | Sequence[int | None] | None, chosen: Bools) -> None:
        """Sets the seeds of the chosen environments and restarts their count of episodes."""
        n = self.num_envs
        if seed is None and self._seed_list is not None:
            return
        if seed is None:
            seed = int.from_bytes(os.urandom(8), "little") >> (64 - _ENTROPY_BITS)
        listed: list[Any] = list(seed) if isinstance(seed, Sequence) else [operator.index(seed) + i for i in range(n)]
        if len(listed) != n:
            raise CreditEnvsError(f"seed: expected one integer or {n} of them, got {len(listed)}")
        known = list(self._seed_list or (None,) * n)
        for i, value in enumerate(listed):
            if value is None and known[i] is None:
                value = int.from_bytes(os.urandom(8), "little") >> (64 - _ENTROPY_BITS)
            if value is None or not chosen[i]:
                continue
            check_range(f"seed[{i}]", value, 0, (1 << 63) - 1)
            known[i] = int(value)
            self._seeds["rollout"][i] = -1
        self._seed_list = tuple(int(value) for value in known if value is not None)
        words = np.array(self._seed_list, dtype=np.int64)
        self._seeds["starts"] = _keys(words, Purpose.START)
        self._seeds["outcomes"] = _keys(words, Purpose.OUTCOME)
        self._emission_key = _keys(words, Purpose.EMISSION)

    def _codes(self, which: AnyArray | slice, state: AnyArray, t: AnyArray, rollout: AnyArray) -> Ints:
        """Draws the emission codes of some environments."""
        key = mix_words(mix_words(self._emission_key[which], rollout), 0)
        count = self.table.n_admissible[state]
        return self.table.emission.sample(count, mix_words(key, t), mix_words(key, EPISODE))

    def _draw_codes(self) -> None:
        self._code = self._codes(slice(None), self._state, self._time, self._seeds["rollout"])
        if self.table.emission.renames:
            self._lanes["shift"] = self.table.emission.shift[self._code]

    def _obs(self) -> Ints:
        return self._obs_of(self._state, self._code)

    def _obs_of(self, state: AnyArray, code: AnyArray | int) -> Ints:
        emission = self.table.emission
        look = emission.base[state].astype(np.int64)
        return look * emission.n_codes + code if emission.layers else look

    def _told(self, which: Bools, state: AnyArray, code: AnyArray) -> dict[str, Any]:
        """Returns the info of some environments, bool ``[N]``, in states and emission codes int ``[N]``."""
        info: dict[str, Any] = {}
        if self._truth.masked:
            rows = self._truth.mask(state)
            rows[~which] = 0
            info = {"action_mask": rows, "_action_mask": which.copy()}
        if self._truth.anchored:
            anchors, hashes = self._truth.anchors(state, code), self._truth.hashes(state)
            anchors[~which], hashes[~which] = 0, None
            info |= {"anchor": anchors, "_anchor": which.copy()}
            info |= {"env_state_hash": hashes, "_env_state_hash": which.copy()}
        return info

    def _tell_earned(
        self,
        info: dict[str, Any],
        before: tuple[Ints, Bools],
        rewards: Floats,
        terminated: Bools,
        over: Bools,
        final: AnyArray | None,
    ) -> None:
        """Adds what steps earned; a step that only reset an environment earned nothing."""
        came_from, stepped = before
        after = self._state if final is None else np.where(over, final[:, 0], self._state)
        earned = self._truth.earned(came_from, after, terminated, rewards)
        places = [(info, stepped)] if final is None else [(info, stepped & ~over), (info.get("final_info"), over)]
        for place, which in places:
            if place is not None and which.any():
                place |= {"step_reward": np.where(which, earned, 0.0), "_step_reward": which.copy()}

    def _finals(self, over: Bools, final: AnyArray) -> dict[str, Any]:
        """Returns what the episodes that just ended showed last, in Gymnasium's format."""
        which = np.flatnonzero(over)
        state, t = final[which].T
        code = self._codes(which, state, t, self._seeds["rollout"][which] - 1) if self._layered else 0
        final_obs = np.full(self.num_envs, None, dtype=object)
        for i, item in zip(which.tolist(), self._show.items(self._obs_of(state, code)), strict=True):
            final_obs[i] = item
        codes = np.zeros(self.num_envs, dtype=np.int64)
        codes[which] = code
        told = self._told(over, np.where(over, final[:, 0], 0), codes)
        return {"final_obs": final_obs, "_final_obs": over.copy(), "final_info": told, "_final_info": over.copy()}


def _keys(seeds: Ints, purpose: Purpose) -> Words:
    """Folds (seed, purpose, context 0) into keys, to which rollout and branch are still to be mixed."""
    return mix_words(mix_words(mix_words(0, seeds), int(purpose)), 0)


def _mode(mode: AutoresetMode | str) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        known = ", ".join(repr(m.value) for m in AutoresetMode)
        raise CreditEnvsError(f"autoreset_mode={mode!r}: expected one of {known}") from None


def _mask(options: dict[str, Any] | None, n: int) -> Bools:
    if options is None or "reset_mask" not in options:
        return np.ones(n, dtype=np.bool_)
    mask = options["reset_mask"]
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (n,) or not mask.any():
        raise CreditEnvsError(f"options['reset_mask']={mask!r}: expected bool of shape ({n},) with at least one True")
    return mask
