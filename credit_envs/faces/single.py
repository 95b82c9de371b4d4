"""The single environment: a table behind ``gymnasium.Env``."""

from __future__ import annotations

import copy
import operator
import os
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding

from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.faces import render
from credit_envs.faces.commands import command
from credit_envs.faces.listing import Listing, Node
from credit_envs.faces.luck import Luck, instance_of
from credit_envs.faces.truth import OracleInfo, Truth
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.observer import Observer

RESTORE_MODES = ("free", "replay", "none")


class Snapshot(NamedTuple):
    """Where an environment stands: a few integers.

    Attributes:
        state: state number.
        t: steps taken.
        code: emission code of the observation shown; None in a snapshot of one's own making: drawn when it is restored.
        seed: seed of the luck being played.
        rollout: episode of that seed.
        branch: branch of that episode.
        over: whether the episode has ended.
        instance: instance seed of the layout, None where all episodes share one table.
    """

    state: int
    t: int
    code: int | None
    seed: int
    rollout: int
    branch: int
    over: bool
    instance: int | None


class TabularEnv(gymnasium.Env[Any, Any]):
    """A table as a Gymnasium environment.

    Every draw is a pure function of (seed, rollout, branch, step), where ``rollout`` counts the resets since the last
    seeded one. Reaching the horizon terminates; ``truncated`` is always False. ``info["action_mask"]`` int8 ``[A]`` is
    there whenever some state does not admit all actions.

    Args:
        table: the table.
        observation: view that observations are shown in: ``state``, ``text``, ``grid``, ``both``, ….
        render_mode: None, ``rgb_array``, ``ansi`` or ``human``.
        oracle_info: adds ``info["oracle"] = {"v", "q", "advantage"}`` of the state shown, for optimal play (True or
            ``"optimal"``), for ``"uniform"`` or for a policy float ``[S, A]``. Float64 ``[A]`` by action name, NaN where
            inadmissible.
        restore: what :meth:`restore` costs: ``free``, ``replay`` (the steps of the prefix) or ``none`` (refused).
        anchor_info: adds ``info["anchor"]``, ``info["env_state_hash"]`` and ``info["step_reward"]``; see
            :mod:`credit_envs.faces.truth`.
        fresh: function from instance seeds to tables; every reset then builds a layout of its own.

    Attributes:
        table: the table being played.
        restore_cost: environment steps that restores have cost so far.

    Raises:
        CreditEnvsError: for an unknown view, render mode, restore mode or policy.
    """

    metadata: dict[str, Any] = {"render_modes": list(render.MODES), "render_fps": 8}  # noqa: RUF012

    def __init__(
        self,
        table: TabularMDP,
        observation: str = "state",
        render_mode: str | None = None,
        oracle_info: OracleInfo = False,
        restore: str = "free",
        anchor_info: bool = False,
        fresh: Callable[[int], TabularMDP] | None = None,
    ) -> None:
        if restore not in RESTORE_MODES:
            raise CreditEnvsError(f"restore={restore!r}: expected one of {', '.join(RESTORE_MODES)}")
        render.check_mode(render_mode)
        self.render_mode = render_mode
        self.restore_mode, self.restore_cost = restore, 0
        self._observation, self._fresh = observation, fresh
        self._oracle_info, self._anchor_info = oracle_info, anchor_info
        self._instance: int | None = None
        self._luck = Luck(0, starts=False, outcomes=False, layers=())
        self._seeded = False
        self._generator: np.random.Generator | None = None
        self._rollout, self._branches = -1, 0
        self._window: render.Window | None = None
        self._t, self._code = 0, 0
        self._over = self._node = self._last = Node(-1, -1, self._refuse)
        self._play(table)
        self.observation_space = self._observer.space
        self.action_space = gymnasium.spaces.Discrete(table.n_actions)

    def _play(self, table: TabularMDP) -> None:
        """Prepares to play a table; nothing is listed yet."""
        self.table = table
        self._observer = Observer(table, self._observation)
        self._listing = Listing(table, self._observer)
        self._copy = self._listing.copy
        self._starts: list[int] = table.start_state.tolist()
        self._start_bounds: list[int] = table.start_threshold.tolist()
        self._horizon, self._cutoff = table.horizon, table.cutoff_reward
        self._affine: tuple[list[float], list[float]] | None = None
        if table.reward_scale is not None or table.reward_shift is not None:
            scale = np.ones(table.horizon) if table.reward_scale is None else table.reward_scale
            shift = np.zeros(table.horizon) if table.reward_shift is None else table.reward_shift
            self._affine = (scale.tolist(), shift.tolist())
        self._layers = [(layer.size, layer.state_class, layer.threshold.tolist()) for layer in table.emission.layers]
        self._shift: list[int] | None = table.emission.shift.tolist() if table.emission.renames else None
        self._truth = Truth(table, self._oracle_info, self._anchor_info)
        self._bare = not (self._truth.masked or self._truth.wanted or self.render_mode == "human")

    # -- Gymnasium ---------------------------------------------------------------------------------------------------

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:  # noqa: ARG002 (Gymnasium's signature)
        """Starts the next episode; a seed restarts the count of episodes.

        Args:
            seed: integer in ``[0, 2**63)``; without one, the first reset takes a seed from fresh entropy.
            options: not used.
        """
        if seed is not None or not self._seeded:
            self._sow(int.from_bytes(os.urandom(8), "little") >> 1 if seed is None else seed)
        luck = self._luck
        self._rollout += 1
        luck.begin(self._rollout)
        if self._fresh is not None:
            self._renew(instance_of(luck.seed, luck.rollout))
        self._t = 0
        self._node = node = self._listing.enter(self._starts[bisect_right(self._start_bounds, luck.start)])
        return self._look(node), {} if self._bare else self._info(node, None)

    def _sow(self, seed: int) -> None:
        check_range("seed", seed, 0, (1 << 63) - 1, integer=True)
        table = self.table
        self._luck = Luck(
            operator.index(seed),
            starts=table.n_contexts > 1 or self._fresh is not None,
            outcomes=not table.is_deterministic,
            layers=tuple(layer.per_episode for layer in table.emission.layers),
        )
        self._np_random_seed, self._generator, self._rollout, self._seeded = seed, None, -1, True

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Takes a step.

        Raises:
            CreditEnvsError: if the action is not an integer in ``[0, A - 1]``.
            gymnasium.error.ResetNeeded: before the first reset and after the end of an episode.
        """
        t, before = self._t, self._node
        if self._shift is not None:
            action = self._executed(action)
        try:
            bounds, outcome = before[action]
        except TypeError:  # arrays cannot be looked up
            bounds, outcome = before[self._listing.index(action)]
        if bounds is not None:
            luck = self._luck
            try:
                draw = luck.outcome[t]
            except IndexError:
                draw = luck.outcome_at(t)
            outcome = outcome[bisect_right(bounds, draw)]
        node, reward, terminated = outcome
        if self._affine is not None:
            reward = self._affine[0][t] * reward + self._affine[1][t]
        self._t = t = t + 1
        if t == self._horizon and not terminated:
            terminated = True
            if self._cutoff is not None:
                reward += float(self._cutoff[node.state])
        if terminated:
            self._last, self._node = node, self._over
        else:
            self._node = node
        shown = node.shown
        if shown is None:
            shown = self._look(node)
        elif self._copy is not None:
            shown = self._copy(shown)
        return shown, reward, terminated, False, {} if self._bare else self._info(node, reward, before.state)

    def render(self) -> Any:
        """Returns a picture uint8 ``[height, width, 3]`` or words of the current state; ``human`` shows a window."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() without a render_mode: pass render_mode='rgb_array', 'ansi' or 'human'")
            return None
        if self.render_mode == "ansi":
            return render.words(self.table, self.state, self._code)
        frame = render.picture(self.table, self.state, self._code)
        if self.render_mode == "rgb_array":
            return frame
        if self._window is None:
            self._window = render.Window(self.table.name, self.metadata["render_fps"])
        self._window.show(frame)
        return None

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    @property
    def _np_random(self) -> np.random.Generator:
        """The generator of Gymnasium's contract, built on first read: the environment itself draws by counter."""
        if self._generator is None:
            self._generator, self._np_random_seed = seeding.np_random(self._np_random_seed)
        return self._generator

    @_np_random.setter
    def _np_random(self, value: np.random.Generator) -> None:
        self._generator = value

    # -- what it stands for ------------------------------------------------------------------------------------------

    @property
    def P(self) -> dict[int, dict[int, list[tuple[float, int, float, bool]]]]:
        """Gymnasium's toy-text form of the table."""
        return self.table.P

    @property
    def knobs(self) -> Mapping[str, Any]:
        """Dial values: ``{"requested": …, "measured": …}``, measured by the oracle under the uniform policy on each read."""
        from credit_envs import dials

        return dials.measured(self.table)

    @property
    def state(self) -> int:
        """Number of the current state (−1 before the first reset)."""
        return (self._last if self._node is self._over else self._node).state

    @property
    def code(self) -> int:
        """Emission code of the observation shown."""
        return self._code

    @property
    def t(self) -> int:
        """Steps taken in this episode."""
        return self._t

    def command(self, said: str) -> int:
        """Returns the admissible action that words such as ``go north`` name here; nothing is played.

        Raises:
            CreditEnvsError: if they name none; the message lists the nearest ones.
            gymnasium.error.ResetNeeded: before the first reset and after the end of an episode.
        """
        if not self._seeded or self._node is self._over:
            raise ResetNeeded("command() before reset() or after the end of an episode")
        return command(self.table, self.state, said)

    # -- snapshots ---------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Returns where the environment stands.

        Raises:
            gymnasium.error.ResetNeeded: before the first reset.
        """
        if not self._seeded:
            raise ResetNeeded("snapshot() before reset()")
        luck, over = self._luck, self._node is self._over
        return Snapshot(self.state, self._t, self._code, luck.seed, luck.rollout, luck.branch, over, self._instance)

    def restore(self, snapshot: Snapshot, branch: int | None = None) -> tuple[Any, dict[str, Any]]:
        """Goes back to a snapshot, of this environment or of another one of the same table.

        Args:
            snapshot: from :meth:`snapshot`.
            branch: branch number of the luck to come; by default one that this environment has not used, so that no
                luck is played twice. The snapshot's own ``branch`` replays its luck.

        Returns:
            The observation shown at the snapshot, and its info.

        Raises:
            CreditEnvsError: if ``restore="none"``, or the snapshot does not fit the table.
        """
        if self.restore_mode == "none":
            raise CreditEnvsError("restore='none': snapshots are refused; make the environment with 'free' or 'replay'")
        if snapshot.instance != self._instance:
            if self._fresh is None or snapshot.instance is None:
                raise CreditEnvsError(f"snapshot.instance={snapshot.instance}: expected {self._instance}")
            self._renew(snapshot.instance)
        check_range("snapshot.state", snapshot.state, 0, self.table.n_states - 1)
        check_range("snapshot.t", snapshot.t, 0, self._horizon)
        if not self._seeded:
            self._sow(snapshot.seed)
        if branch is None:
            self._branches += 1
            branch = self._branches
        self._luck.fork(snapshot.seed, snapshot.rollout, branch, snapshot.t)
        self.restore_cost += snapshot.t if self.restore_mode == "replay" else 0
        self._t = snapshot.t
        self._node = self._last = node = self._listing.enter(snapshot.state)
        if snapshot.over:
            self._node = self._over
        return self._look(node, snapshot.code), {} if self._bare else self._info(node, None)

    def __deepcopy__(self, memo: dict[int, Any]) -> TabularEnv:
        """Copies the environment with the luck to come; tables and what was listed of them are shared."""
        twin = copy.copy(self)
        twin._luck, twin._window = copy.copy(self._luck), None
        twin._generator = copy.deepcopy(self._generator, memo)
        twin.action_space = copy.deepcopy(self.action_space, memo)
        return twin

    # -- parts -------------------------------------------------------------------------------------------------------

    def _renew(self, instance: int) -> None:
        """Moves to the layout of an instance seed."""
        assert self._fresh is not None
        self._play(self._fresh(instance))
        self._instance = instance
        if gymnasium.spaces.Discrete(self.table.n_actions) != self.action_space:
            raise CreditEnvsError(
                f"fresh=True: layouts have different numbers of actions, here {self.table.n_actions} after {self.action_space}"
            )
        if self._observer.space != self.observation_space:
            raise CreditEnvsError(
                f"fresh=True: observation={self._observation!r} has another space in each layout, here "
                f"{self._observer.space} after {self.observation_space}; use another view"
            )

    def _refuse(self, *_: Any) -> Any:
        raise ResetNeeded("step() after the end of an episode" if self._seeded else "step() before reset()")

    def _executed(self, action: Any) -> int:
        """Returns the action that naming ``action`` executes; see :meth:`TabularMDP.executed_edges`."""
        node, named = self._node, self._listing.index(action)
        node[named]
        if named not in node.actions or self._shift is None:
            return named
        return node.actions[(node.actions.index(named) - self._shift[self._code]) % len(node.actions)]

    def _look(self, node: Node, code: int | None = None) -> Any:
        """Returns what a state looks like now, as a new object; draws the emission code unless given."""
        if self._layers:
            self._code = self._draw_code(node) if code is None else code
            shown = self._listing.show(node.look * self.table.emission.n_codes + self._code)
        else:
            shown = node.shown
            if shown is None:
                shown = node.shown = self._listing.show(node.look)
        return shown if self._copy is None else self._copy(shown)

    def _draw_code(self, node: Node) -> int:
        """Draws the emission code of the current time; see :meth:`Emission.sample`."""
        luck, t, code = self._luck, self._t, 0
        values = luck.emission[t] if t < len(luck.emission) else luck.emission_at(t)
        for (size, kind, bounds), value in zip(self._layers, values, strict=True):
            row = int(self.table.n_admissible[node.state]) if kind == "admissible" else 0
            code = code * size + bisect_right(bounds[row], value)
        return code

    def _info(self, node: Node, reward: float | None, before: int | None = None) -> dict[str, Any]:
        if self.render_mode == "human":
            self.render()
        return self._truth.info(node.state, self._code, self._t, self._node is self._over, reward, before)
