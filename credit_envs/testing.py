"""Contract checks that anyone can run on their own tables and vector environments; each raises with what was wrong."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils.passive_env_checker import data_shares_objects
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, iterate

from credit_envs.arrays import AnyArray
from credit_envs.faces.single import TabularEnv
from credit_envs.table.draws import Purpose, draws, mix_words, streams
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.observer import Observer
from credit_envs.table.storage import fingerprint, load, save
from credit_envs.table.validate import validate
from credit_envs.table.view import default_views

VectorMaker = Callable[[int, AutoresetMode], VectorEnv[Any, Any, Any]]
"""Function from a number of environments and an autoreset mode to a vector environment."""


_LIGHT = 4 << 20
"""Bytes of a view's rows up to which its storage is checked; pictures take too long."""


class ContractError(AssertionError):
    """A contract is broken; the message says which, where, and what was expected."""


def _require(ok: Any, message: str) -> None:
    if not ok:
        raise ContractError(message)


def equal(a: Any, b: Any) -> bool:
    """Returns whether two observations or infos are the same, bit for bit (dicts, tuples, arrays, strings, numbers)."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        if a.dtype == object:
            return all(equal(x, y) for x, y in zip(a.flat, b.flat, strict=True))
        return a.tobytes() == b.tobytes()
    return bool(np.all(a == b))


def check_vector_env(
    make: VectorMaker | str,
    make_single: Callable[[], gymnasium.Env[Any, Any]] | None = None,
    *,
    num_envs: int = 3,
    steps: int = 200,
    seed: int = 0,
) -> None:
    """Checks a vector environment against Gymnasium's contract, in all three autoreset modes.

    Spaces are the batched single ones; environment i with seed s + i plays what a single environment with that seed
    plays, bit for bit; ended episodes restart when the mode says so; ``final_obs`` is kept and not overwritten;
    ``reset_mask`` resets only what it names; what was returned is never changed later.

    Args:
        make: function from (number of environments, autoreset mode) to a vector environment, or an id for
            ``gymnasium.make_vec``.
        make_single: function to a single environment (default for an id: ``gymnasium.make``).
        num_envs: number of environments.
        steps: random steps per mode.
        seed: first seed.

    Raises:
        ContractError: at the first violation.
    """
    if isinstance(make, str):
        name = make
        vector: VectorMaker = lambda n, mode: gymnasium.make_vec(name, num_envs=n, autoreset_mode=mode)  # noqa: E731
        single: Callable[[], gymnasium.Env[Any, Any]] = make_single or (lambda: gymnasium.make(name))
    else:
        if make_single is None:
            raise ContractError("make_single=None: expected a function that makes a single environment")
        vector, single = make, make_single
    for mode in AutoresetMode:
        envs, singles = vector(num_envs, mode), [single() for _ in range(num_envs)]
        try:
            _check_spaces(envs, singles[0], num_envs, mode)
            _Match(envs, singles, mode, seed).play(steps)
        finally:
            envs.close()
            for env in singles:
                env.close()


def _check_spaces(envs: VectorEnv[Any, Any, Any], single: gymnasium.Env[Any, Any], n: int, mode: AutoresetMode) -> None:
    _require(envs.num_envs == n, f"num_envs: expected {n}, got {envs.num_envs}")
    _require(envs.metadata.get("autoreset_mode") is mode, f"metadata['autoreset_mode']: expected {mode}")
    for kind in ("observation_space", "action_space"):
        one, listed = getattr(single, kind), getattr(envs, f"single_{kind}")
        _require(listed == one, f"single_{kind}: expected {one}, got {listed}")
        _require(getattr(envs, kind) == batch_space(one, n), f"{kind}: expected {n} of single_{kind} batched")


class _Match:
    """Plays a vector environment and single ones side by side."""

    def __init__(
        self, envs: VectorEnv[Any, Any, Any], singles: list[gymnasium.Env[Any, Any]], mode: AutoresetMode, seed: int
    ) -> None:
        self.envs, self.singles, self.mode, self.n = envs, singles, mode, len(singles)
        self.rng = np.random.default_rng(seed)
        self.seed = seed
        self.shown: list[Any] = [None] * self.n
        self.over = np.zeros(self.n, dtype=np.bool_)
        self.kept: list[tuple[str, Any, Any]] = []

    def play(self, steps: int) -> None:
        obs, info = self.envs.reset(seed=self.seed)
        for i, env in enumerate(self.singles):
            self.shown[i] = env.reset(seed=self.seed + i)[0]
        self._compare("reset", obs, info)
        for k in range(steps):
            self._step(f"step {k + 1} in mode {self.mode.value}")
            if self.mode is AutoresetMode.DISABLED and self.over.any():
                self._reset_over(k)
        for where, item, copy in self.kept:
            _require(equal(item, copy), f"{where}: what was returned has changed since; return new objects")

    def _reset_over(self, k: int) -> None:
        obs, info = self.envs.reset(options={"reset_mask": self.over.copy()})
        for i in np.flatnonzero(self.over):
            self.shown[i] = self.singles[i].reset()[0]
        self.over[:] = False
        self._compare(f"reset_mask after step {k + 1}", obs, info)

    def _step(self, where: str) -> None:
        actions = self.rng.integers(0, self.envs.single_action_space.n, self.n)  # type: ignore[attr-defined]
        obs, rewards, terminated, truncated, info = self.envs.step(actions)
        for name, value, kind in (
            ("rewards", rewards, "f"),
            ("terminated", terminated, "b"),
            ("truncated", truncated, "b"),
        ):
            ok = isinstance(value, np.ndarray) and value.shape == (self.n,) and value.dtype.kind == kind
            _require(ok, f"{where}: {name}: expected an array of shape ({self.n},) and kind {kind!r}, got {value!r}")
        final: dict[int, Any] = {}
        for i, env in enumerate(self.singles):
            if self.over[i]:
                self.shown[i], expected = env.reset()[0], (0.0, False, False)
            else:
                self.shown[i], *rest, _ = env.step(int(actions[i]))
                expected = (float(rest[0]), bool(rest[1]), bool(rest[2]))
            got = (float(rewards[i]), bool(terminated[i]), bool(truncated[i]))
            message = f"{where}: environment {i}: expected reward, terminated, truncated {expected}, got {got}"
            _require(got == expected, message)
            self.over[i] = expected[1] or expected[2]
            if self.over[i] and self.mode is AutoresetMode.SAME_STEP:
                final[i], self.shown[i] = self.shown[i], env.reset()[0]
                self.over[i] = False
        if final or "final_obs" in info:
            self._compare_final(where, final, info)
        self._compare(where, obs, info)

    def _compare(self, where: str, obs: Any, info: Any) -> None:
        _require(isinstance(info, dict), f"{where}: info: expected a dict, got {type(info).__name__}")
        _require(obs in self.envs.observation_space, f"{where}: the observation is not in observation_space")
        for i, one in enumerate(iterate(self.envs.observation_space, obs)):
            same = equal(_plain(one), _plain(self.shown[i]))
            _require(same, f"{where}: environment {i} shows {one!r}, the single one {self.shown[i]!r}")
        if self.kept:
            _require(
                not data_shares_objects(self.kept[-1][1], obs), f"{where}: the observation shares memory with the last"
            )
        self._keep(where, obs)

    def _compare_final(self, where: str, final: dict[int, Any], info: dict[str, Any]) -> None:
        for key in ("final_obs", "_final_obs", "final_info", "_final_info"):
            _require(key in info, f"{where}: info[{key!r}] is missing though an episode ended")
        flags = np.isin(np.arange(self.n), list(final))
        for key in ("_final_obs", "_final_info"):
            _require(np.array_equal(info[key], flags), f"{where}: info[{key!r}]: expected {flags}, got {info[key]}")
        for i, one in final.items():
            message = f"{where}: info['final_obs'][{i}]: expected {one!r}, got {info['final_obs'][i]!r}"
            _require(equal(_plain(info["final_obs"][i]), _plain(one)), message)
        self._keep(f"{where}: info['final_obs']", info["final_obs"])

    def _keep(self, where: str, item: Any) -> None:
        self.kept.append((where, item, _copied(item)))


def _plain(value: Any) -> Any:
    """Unwraps NumPy's scalars, which differ between batched and single discrete observations."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return value.item() if isinstance(value, np.generic) else value


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        if value.dtype != object:
            return value.copy()
        new = np.empty(value.shape, dtype=object)
        for i, part in enumerate(value.flat):
            new.flat[i] = _copied(part)
        return new
    return value


def check_table(table: TabularMDP, *, steps: int = 300, seed: int = 0) -> None:
    """Checks a table: its arrays, its storage, its views, its emission, and that play agrees with the arrays.

    Args:
        table: the table.
        steps: random steps of the play.
        seed: seed of the play and of the emission draws.

    Raises:
        TableError: if the arrays contradict each other.
        ContractError: at the first other violation.
    """
    validate(table)
    _check_storage(table)
    _check_views(table)
    _check_emission(table, seed)
    _check_play(table, steps, seed)


def _row_bytes(space: gymnasium.Space[Any]) -> int:
    if isinstance(space, gymnasium.spaces.Dict):
        return sum(_row_bytes(part) for part in space.spaces.values())
    if isinstance(space, gymnasium.spaces.Text):
        return 256
    return int(np.prod(space.shape or (1,))) * int(np.dtype(space.dtype).itemsize)


def _check_storage(table: TabularMDP) -> None:
    _require(
        fingerprint(table) == table.fingerprint, f"{table.name}: the fingerprint changes from one call to the next"
    )
    light = {name: view for name, view in table.views.items() if _row_bytes(view.space) * table.n_states <= _LIGHT}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.npz"
        save(table.replace(views=light), path)
        again = load(path)
    _require(again.fingerprint == table.fingerprint, f"{table.name}: the fingerprint changes when saved and loaded")
    states = np.linspace(0, table.n_states - 1, min(table.n_states, 32)).astype(np.int64)
    for name, view in light.items():
        same = equal(view.rows(states), again.view(name).rows(states))
        _require(same, f"{table.name}: view {name!r} shows something else when saved and loaded")


def _check_views(table: TabularMDP) -> None:
    states = np.linspace(0, table.n_states - 1, min(table.n_states, 32)).astype(np.int64)
    for name, view in {**default_views(table), **table.views}.items():
        for state, row in zip(states.tolist(), _listed(view.rows(states), len(states)), strict=True):
            _require(
                row in view.space, f"{table.name}: view {name!r} of state {state} is not in its space {view.space}"
            )


def _listed(rows: Any, n: int) -> list[Any]:
    if isinstance(rows, Mapping):
        return [{key: part[i] for key, part in rows.items()} for i in range(n)]
    return list(rows)


def _check_emission(table: TabularMDP, seed: int, n: int = 20_000) -> None:
    """Compares the frequencies of drawn digits with their probabilities, at six standard errors."""
    emission = table.emission
    if not emission.layers:
        return
    key = streams(seed, Purpose.EMISSION, 0, np.arange(n))
    counts = np.unique(table.n_admissible[table.n_admissible > 0])
    for count in counts.tolist():
        codes = emission.sample(np.full(n, count), mix_words(key, 0), mix_words(key, 1))
        for i, layer in enumerate(emission.layers):
            row = layer.probability[count if layer.state_class == "admissible" else 0]
            share = np.bincount(emission.digits[codes, i], minlength=layer.size) / n
            slack = 6 * np.sqrt(np.maximum(row * (1 - row), 1 / n) / n)
            bad = np.flatnonzero((np.abs(share - row) > slack) | ((row == 0) & (share > 0)))
            if bad.size:
                d = int(bad[0])
                raise ContractError(
                    f"layer {layer.name!r}: digit {d} drawn with share {share[d]:.4f}, expected {row[d]:.4f}"
                )


def _check_play(table: TabularMDP, steps: int, seed: int) -> None:
    """Replays a random walk of the single environment on the arrays."""
    env, rng = TabularEnv(table), np.random.default_rng(seed)
    observer = Observer(table, "state")
    env.reset(seed=seed)
    rollout, t, state = 0, 0, env.state
    for k in range(steps):
        action, code = int(rng.integers(table.n_actions)), env.code
        obs, reward, terminated, truncated, _ = env.step(action)
        expected = _replayed(table, seed, rollout, t, state, action, code)
        got = (env.state, reward, terminated, truncated)
        _require(got == (*expected, False), f"{table.name}: step {k + 1}: the arrays say {expected}, play says {got}")
        _require(obs in observer.space, f"{table.name}: step {k + 1}: observation {obs} is not in {observer.space}")
        state, t = env.state, t + 1
        if terminated:
            env.reset()
            rollout, t, state = rollout + 1, 0, env.state
            known = table.start_state[table.start_probability > 0]
            _require(state in known, f"{table.name}: rollout {rollout} starts in {state}, no start state")


def _replayed(
    table: TabularMDP, seed: int, rollout: int, t: int, state: int, action: int, code: int
) -> tuple[int, float, bool]:
    """Takes one step on the arrays."""

    def one(value: int) -> AnyArray:
        return np.array([value])

    edge = int(table.executed_edges(one(state), one(action), one(code))[0])
    following, reward, terminated = state, table.inadmissible_reward, False
    if edge >= 0:
        first, last = table.outcome_start[edge : edge + 2]
        draw = draws(streams(seed, Purpose.OUTCOME, 0, rollout, 0), t)
        outcome = int(first + np.sum(table.outcome_threshold[first:last] <= draw))
        following, reward = int(table.successor[outcome]), float(table.reward[outcome])
        terminated = bool(table.terminal[outcome])
    reward = float(table.reward_at(t, np.array(reward)))
    if t + 1 == table.horizon and not terminated:
        terminated = True
        reward += 0.0 if table.cutoff_reward is None else float(table.cutoff_reward[following])
    return following, reward, terminated
