"""The single environment: a table behind ``gymnasium.Env``, walked in plain Python objects that are listed on first use."""

from __future__ import annotations

import operator
import os
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding

from credit_envs.arrays import AnyArray
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.faces import render
from credit_envs.faces.luck import Luck, instance_of
from credit_envs.faces.truth import OracleInfo, Truth
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.observer import Observer

RESTORE_MODES = ("free", "replay", "none")
_LISTED = 1 << 16
"""Listed states at most; beyond, the listing starts again."""


class Snapshot(NamedTuple):
    """Where an environment stands: a few integers.

    Attributes:
        state: state number.
        t: steps taken.
        code: emission code of the observation shown.
        seed, rollout, branch: which luck is being played.
        over: whether the episode has ended.
        instance: instance seed of the layout, None where all episodes share one table.
    """

    state: int
    t: int
    code: int
    seed: int
    rollout: int
    branch: int
    over: bool
    instance: int | None


class _Node(dict[Any, Any]):
    """One state: action → (thresholds or None, outcome or outcomes); an outcome is (node, reward, terminal).

    Edges are listed when the state is first left, and the observation is made when it is first shown, so that a fresh
    layout costs only what is visited.
    """

    __slots__ = ("actions", "lister", "look", "shown", "state")

    def __init__(self, state: int, look: int, lister: Callable[[_Node, Any], Any]) -> None:
        self.state, self.look, self.lister = state, look, lister
        self.actions: tuple[int, ...] = ()
        self.shown: Any = None

    def __missing__(self, action: Any) -> Any:
        return self.lister(self, action)

    __hash__ = None  # type: ignore[assignment]


class TabularEnv(gymnasium.Env[Any, int]):
    """A table as a Gymnasium environment.

    Every draw is a pure function of (seed, rollout, branch, step), where ``rollout`` counts the resets since the last
    seeded one. Reaching the horizon terminates; ``truncated`` is always False.

    Args:
        table: the table.
        observation: view that observations are shown in: ``state``, ``text``, ``grid``, ``both``, ….
        render_mode: None, ``rgb_array``, ``ansi`` or ``human``.
        oracle_info: adds ``info["oracle"] = {"v", "q", "advantage"}`` of the state shown: True or ``"optimal"`` for
            optimal play, ``"uniform"``, or a policy float ``[S, A]``. Values are indexed by action name, NaN where inadmissible.
        restore: what :meth:`restore` costs: ``free``, ``replay`` (the steps of the prefix) or ``none`` (refused).
        anchor_info: adds ``info["anchor"]`` (words of the observation), ``info["env_state_hash"]``, ``info["step_reward"]``.
        fresh: function from instance seeds to tables; every reset then builds a layout of its own.

    Attributes:
        table: the table being played.
        restore_cost: environment steps that restores have cost so far.

    ``info["action_mask"]`` int8 ``[A]`` is there whenever some state does not admit all actions.

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
        self._observation, self._fresh, self._instance = observation, fresh, None
        self._oracle_info, self._anchor_info = oracle_info, anchor_info
        self._luck: Luck | None = None
        self._generator: np.random.Generator | None = None
        self._rollout, self._branches = -1, 0
        self._window: render.Window | None = None
        self._t, self._code = 0, 0
        self._over = self._node = self._last = _Node(-1, -1, self._refuse)
        self._play(table)
        self.observation_space = self._observer.space
        self.action_space = gymnasium.spaces.Discrete(table.n_actions)

    def _play(self, table: TabularMDP) -> None:
        """Prepares to play a table; nothing is listed yet."""
        self.table = table
        self._observer = Observer(table, self._observation)
        self._copy = _copier(self._observer.space)
        self._nodes: dict[int, _Node] = {}
        self._horizon, self._cutoff = table.horizon, table.cutoff_reward
        self._affine: tuple[list[float], list[float]] | None = None
        if table.reward_scale is not None or table.reward_shift is not None:
            scale = np.ones(table.horizon) if table.reward_scale is None else table.reward_scale
            shift = np.zeros(table.horizon) if table.reward_shift is None else table.reward_shift
            self._affine = (scale.tolist(), shift.tolist())
        self._layers = [(layer.size, layer.state_class, layer.threshold.tolist()) for layer in table.emission.layers]
        self._looks: dict[int, Any] = {}
        self._shift = table.emission.shift.tolist() if table.emission.renames else None
        self._truth = Truth(table, self._oracle_info, self._anchor_info)
        self._masked = self._truth.masked
        self._bare = not (self._masked or self._truth.wanted or self.render_mode == "human")

    # -- Gymnasium ---------------------------------------------------------------------------------------------------

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts the next episode; a seed restarts the count of episodes.

        Args:
            seed: integer in ``[0, 2**63)``; without one, the first reset takes a seed from fresh entropy.
            options: not used.
        """
        if seed is not None or self._luck is None:
            seed = int.from_bytes(os.urandom(8), "little") >> 1 if seed is None else operator.index(seed)
            check_range("seed", seed, 0, (1 << 63) - 1)
            table = self.table
            layers = tuple(layer.per_episode for layer in table.emission.layers)
            starts = table.n_contexts > 1 or self._fresh is not None
            self._luck = Luck(seed, starts=starts, outcomes=not table.is_deterministic, layers=layers)
            self._np_random_seed, self._generator, self._rollout = seed, None, -1
        luck = self._luck
        self._rollout += 1
        luck.begin(self._rollout)
        if self._fresh is not None:
            self._renew(instance_of(luck.seed, luck.rollout))
        table = self.table
        context = bisect_right(table.start_threshold, luck.start) if table.n_contexts > 1 else 0
        self._t = 0
        self._node = node = self._enter(int(table.start_state[context]))
        shown = node.shown
        if shown is None:
            shown = self._look(node)
        elif self._copy is not None:
            shown = self._copy(shown)
        return shown, {} if self._bare else self._info(node, None)

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Takes a step.

        Raises:
            CreditEnvsError: if the action is not an integer in ``[0, A - 1]``.
            gymnasium.error.ResetNeeded: before the first reset and after the end of an episode.
        """
        t = self._t
        if self._shift is not None:
            action = self._executed(action)
        try:
            bounds, outcome = self._node[action]
        except TypeError:  # arrays cannot be looked up
            bounds, outcome = self._node[self._index(action)]
        if bounds is not None:
            luck = self._luck
            try:
                draw = luck.outcome[t]  # type: ignore[union-attr]
            except IndexError:
                draw = luck.outcome_at(t)  # type: ignore[union-attr]
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
        return shown, reward, terminated, False, {} if self._bare else self._info(node, reward)

    def render(self) -> Any:
        """Returns a picture uint8 ``[height, width, 3]`` or words of the current state; ``human`` shows a window."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() without a render_mode: pass render_mode='rgb_array', 'ansi' or 'human'")
            return None
        if self.render_mode == "ansi":
            return render.words(self.table, self.state)
        frame = render.picture(self.table, self.state)
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
    def _np_random(self) -> np.random.Generator:  # type: ignore[override]
        """The generator of Gymnasium's contract, built on first read: the environment itself draws by counter."""
        if self._generator is None:
            self._generator, seed = seeding.np_random(self._np_random_seed)
            self._np_random_seed = seed
        return self._generator

    @_np_random.setter
    def _np_random(self, value: np.random.Generator) -> None:
        self._generator = value

    # -- what it stands for ------------------------------------------------------------------------------------------

    @property
    def P(self) -> dict[int, dict[int, list[tuple[float, int, float, bool]]]]:  # noqa: N802 (Gymnasium's name)
        """Gymnasium's toy-text form of the table."""
        return self.table.P

    @property
    def knobs(self) -> Mapping[str, Any]:
        """Requested and measured dial values."""
        return self.table.knobs

    @property
    def state(self) -> int:
        """Number of the current state (−1 before the first reset)."""
        return self._last.state if self._node is self._over else self._node.state

    @property
    def t(self) -> int:
        """Steps taken in this episode."""
        return self._t

    # -- snapshots ---------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Returns where the environment stands.

        Raises:
            gymnasium.error.ResetNeeded: before the first reset.
        """
        luck = self._luck
        if luck is None:
            raise ResetNeeded("snapshot() before reset(): nothing to remember yet")
        over = self._node is self._over
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
            raise CreditEnvsError("restore='none': this environment cannot be restored; build it with restore='free' or 'replay'")
        if snapshot.instance != self._instance:
            if self._fresh is None or snapshot.instance is None:
                raise CreditEnvsError(f"snapshot.instance={snapshot.instance}: this environment plays {self._instance}")
            self._renew(snapshot.instance)
        check_range("snapshot.state", snapshot.state, 0, self.table.n_states - 1)
        check_range("snapshot.t", snapshot.t, 0, self._horizon)
        if branch is None:
            self._branches += 1
            branch = self._branches
        if self._luck is None:
            self.reset()
        assert self._luck is not None
        self._luck.fork(snapshot.seed, snapshot.rollout, branch, snapshot.t)
        self.restore_cost += snapshot.t if self.restore_mode == "replay" else 0
        self._t, self._code = snapshot.t, snapshot.code
        self._node = self._last = node = self._enter(snapshot.state)
        if snapshot.over:
            self._node = self._over
        return self._look(node, snapshot.code), {} if self._bare else self._info(node, None)

    # -- listing -----------------------------------------------------------------------------------------------------

    def _renew(self, instance: int) -> None:
        """Moves to the layout of an instance seed."""
        assert self._fresh is not None
        self._play(self._fresh(instance))
        self._instance = instance
        if self._observer.space != self.observation_space:
            raise CreditEnvsError(
                f"fresh=True: the space of observation={self._observation!r} differs between layouts "
                f"({self.observation_space} and {self._observer.space}); use another view"
            )

    def _enter(self, state: int) -> _Node:
        node = self._nodes.get(state)
        if node is None:
            if len(self._nodes) >= _LISTED:
                for old in self._nodes.values():
                    old.clear()  # unlinked, or the listing would never be let go
                self._nodes.clear()
            node = self._nodes[state] = _Node(state, int(self.table.emission.base[state]), self._list)
        return node

    def _list(self, node: _Node, action: Any) -> Any:
        """Lists the edges of a state, and then what an inadmissible action does."""
        named = self._index(action)
        if not node:
            table = self.table
            first, last = table.edge_start[node.state : node.state + 2].tolist()
            ends = table.outcome_start[first : last + 1].tolist()
            span = slice(ends[0], ends[-1])
            columns = (table.successor[span], table.reward[span], table.terminal[span])
            outcomes = [(self._enter(s), r, done) for s, r, done in zip(*(column.tolist() for column in columns), strict=True)]
            bounds = [] if table.is_deterministic else table.outcome_threshold[span].tolist()
            node.actions = tuple(table.edge_action[first:last].tolist())
            for e, listed in enumerate(node.actions):
                low, high = ends[e] - ends[0], ends[e + 1] - ends[0]
                node[listed] = (None, outcomes[low]) if high == low + 1 else (bounds[low:high], outcomes[low:high])
        if named not in node:
            node[named] = (None, (node, self.table.inadmissible_reward, False))
        return node[named]

    def _index(self, action: Any) -> int:
        try:
            index = operator.index(action)
        except TypeError:
            index = -1
        if not 0 <= index < self.table.n_actions:
            raise CreditEnvsError(f"action={action!r}: expected an integer in [0, {self.table.n_actions - 1}]")
        return index

    def _refuse(self, node: _Node, action: Any) -> Any:
        if self._luck is None:
            raise ResetNeeded("step() before reset()")
        raise ResetNeeded("step() after the end of an episode: call reset() first")

    def _executed(self, action: Any) -> int:
        """Returns the action that naming ``action`` executes under the code shown; see ``TabularMDP.executed_edges``."""
        node, named = self._node, self._index(action)
        node[named]
        actions = node.actions
        if named not in actions:
            return named
        assert self._shift is not None
        return actions[(actions.index(named) - self._shift[self._code]) % len(actions)]

    # -- observing ---------------------------------------------------------------------------------------------------

    def _look(self, node: _Node, code: int | None = None) -> Any:
        """Returns what a state looks like now, as a new object; draws the emission code unless given."""
        if not self._layers:
            if node.shown is None:
                node.shown = self._row(node.look)
            return node.shown if self._copy is None else self._copy(node.shown)
        self._code = self._draw_code(node) if code is None else code
        obs = node.look * self.table.emission.n_codes + self._code
        shown = self._looks.get(obs)
        if shown is None:
            if len(self._looks) >= _LISTED:
                self._looks.clear()
            shown = self._looks[obs] = self._row(obs)
        return shown if self._copy is None else self._copy(shown)

    def _draw_code(self, node: _Node) -> int:
        luck = self._luck
        assert luck is not None
        values = luck.emission[self._t] if self._t < len(luck.emission) else luck.emission_at(self._t)
        code = 0
        for (size, kind, bounds), value in zip(self._layers, values, strict=True):
            row = int(self.table.n_admissible[node.state]) if kind == "admissible" else 0
            code = code * size + bisect_right(bounds[row], value)
        return code

    def _row(self, obs: int) -> Any:
        if self._observation == "state":
            return obs
        return first_row(self._observer.rows(np.array([obs])), self._observer.space)

    def _info(self, node: _Node, reward: float | None) -> dict[str, Any]:
        if self.render_mode == "human":
            self.render()
        return self._truth.info(node.state, self._code, self._t, self._node is self._over, reward)


def first_row(rows: Any, space: gymnasium.Space[Any]) -> Any:
    """Returns the first of a batch of shown states as an element of its space."""
    if isinstance(space, gymnasium.spaces.Dict):
        return {key: first_row(rows[key], part) for key, part in space.spaces.items()}
    if isinstance(space, gymnasium.spaces.Discrete):
        return int(rows[0])
    return np.array(rows[0], dtype=space.dtype) if isinstance(rows, np.ndarray) else rows[0]


def _copier(space: gymnasium.Space[Any]) -> Callable[[Any], Any] | None:
    """Returns how to hand out a new object of an observation, None for immutable ones."""
    if isinstance(space, gymnasium.spaces.Discrete | gymnasium.spaces.Text):
        return None
    if isinstance(space, gymnasium.spaces.Dict):
        parts = {key: _copier(part) for key, part in space.spaces.items()}
        return lambda shown: {key: value if (copy := parts[key]) is None else copy(value) for key, value in shown.items()}
    return _copy_array


def _copy_array(shown: AnyArray) -> AnyArray:
    return shown.copy()
