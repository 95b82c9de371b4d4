"""What goes into ``info``: the action mask, and, only when asked for, the oracle's values and the anchor.

``anchor_info=True`` adds, in every face, what language-model agents' trainers log beside a step:

``anchor``          number of the observation as identity rules see it, the same as ``Trajectories.anchor`` of the sampler
``env_state_hash``  name of the true state: equal on every machine and in every process, different between tables
``step_reward``     what the step earned. Where a dial (``delay``, ``density``) pays later than that, the reward tells when
                    it was paid and this what for; elsewhere they are equal. Absent after a reset.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from credit_envs.arrays import AnyArray, Floats, Ints
from credit_envs.errors import CreditEnvsError
from credit_envs.table.mdp import TabularMDP

OracleInfo: TypeAlias = bool | str | Floats
"""False, True or ``"optimal"``, ``"uniform"``, or a policy float ``[S, A]``."""

_LATE = ("delay", "density")
_DIGITS = 12
"""Decimals of what a step earned, where it is found by taking off what was owed before."""


class Truth:
    """Makes the info of one table's states.

    Args:
        table: the table.
        oracle_info: whose values stand in ``info["oracle"]``; see :data:`OracleInfo`.
        anchor_info: whether the anchor, the state's hash and what the step earned stand in ``info``.

    Attributes:
        masked: whether some state that is played does not admit all actions.
        anchored: whether the anchor was asked for.
        wanted: whether more than the mask was asked for.

    Raises:
        CreditEnvsError: for an unknown policy.
    """

    def __init__(self, table: TabularMDP, oracle_info: OracleInfo, anchor_info: bool) -> None:
        self._table = table
        count = table.n_admissible
        self.masked = bool(np.any((count > 0) & (count < table.n_actions)))
        self._values = None if oracle_info is False else _values(table, oracle_info)
        self.anchored = anchor_info
        self.wanted = anchor_info or self._values is not None
        # Dials that pay late keep what a state owes as its cut-off reward: nothing else in the house sets one.
        self._owed = table.cutoff_reward if any(name in table.knobs for name in _LATE) else None
        self._prefix = f"{table.fingerprint[:16]}-" if anchor_info else ""

    def mask(self, states: AnyArray) -> AnyArray:
        """Returns the admissible actions of states int ``[n]``: int8 ``[n, A]``."""
        return self._table.mask[states].astype(np.int8)

    def anchors(self, states: AnyArray, codes: AnyArray | int) -> Ints:
        """Returns the anchors of states int ``[n]`` shown under emission codes: int64 ``[n]``."""
        emission = self._table.emission
        look = emission.base[states].astype(np.int64)
        return np.asarray(look * emission.n_codes + emission.anchor_code[codes], dtype=np.int64)

    def hashes(self, states: AnyArray) -> AnyArray:
        """Returns the names of states int ``[n]``: str objects ``[n]``."""
        out = np.empty(len(states), dtype=object)
        out[:] = [f"{self._prefix}{state}" for state in states.tolist()]
        return out

    def earned(self, before: AnyArray, after: AnyArray, over: AnyArray, reward: AnyArray) -> Floats:
        """Returns what steps earned, float64 ``[n]``.

        Args:
            before: int ``[n]``, states in which the steps were taken.
            after: int ``[n]``, states to which they led.
            over: bool ``[n]``, whether the episode terminated.
            reward: float ``[n]``, what was paid.
        """
        if self._owed is None:
            return np.array(reward, dtype=np.float64)
        return np.round(reward + np.where(over, 0.0, self._owed[after]) - self._owed[before], _DIGITS) + 0.0

    def info(
        self, state: int, code: int, t: int, over: bool, reward: float | None, before: int | None = None
    ) -> dict[str, Any]:
        """Returns the info of a state, shown under an emission code at time t.

        Args:
            state: the state.
            code: the emission code.
            t: steps taken.
            over: whether the episode terminated.
            reward: what the step paid; None after a reset.
            before: state in which the step was taken; None after a reset.
        """
        info: dict[str, Any] = {}
        if self.masked:
            info["action_mask"] = self._mask_row(state)
        if self._values is not None:
            info["oracle"] = self._oracle(state, code, t, over)
        if self.anchored:
            info["anchor"] = int(self.anchors(np.array(state), code))
            info["env_state_hash"] = f"{self._prefix}{state}"
            if reward is not None and before is not None:
                info["step_reward"] = float(
                    self.earned(np.array(before), np.array(state), np.array(over), np.array(reward))
                )
        return info

    def _mask_row(self, state: int) -> AnyArray:
        row = np.zeros(self._table.n_actions, dtype=np.int8)
        row[self._table.edge_action[self._table.edge_start[state] : self._table.edge_start[state + 1]]] = 1
        return row

    def _oracle(self, state: int, code: int, t: int, over: bool) -> dict[str, Any]:
        """V, Q and A by action name; nothing is left to gain when the episode is over."""
        if over:
            nothing = np.where(self._mask_row(state) > 0, 0.0, np.nan)
            return {"v": 0.0, "q": nothing, "advantage": nothing.copy()}
        assert self._values is not None
        v, executed = float(self._values.V[t, state]), self._values.q(t, state)
        q, table = executed, self._table
        if table.emission.renames:
            actions = table.edge_action[table.edge_start[state] : table.edge_start[state + 1]]
            q = executed.copy()
            q[actions] = np.roll(executed[actions], int(table.emission.shift[code]))
        return {"v": v, "q": q, "advantage": q - v}


def _values(table: TabularMDP, oracle_info: OracleInfo) -> Any:
    from credit_envs import oracle

    if isinstance(oracle_info, str | bool):
        if oracle_info is True or oracle_info == "optimal":
            return oracle.optimal(table)
        if oracle_info == "uniform":
            return oracle.evaluate(table, oracle.uniform(table))
        raise CreditEnvsError(f"oracle_info={oracle_info!r}: expected a bool, 'optimal', 'uniform' or an array [S, A]")
    return oracle.evaluate(table, oracle_info)
