"""What goes into ``info``: the action mask, and, only when asked for, the oracle's values and the anchor."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from credit_envs.arrays import AnyArray, Floats
from credit_envs.errors import CreditEnvsError
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.observer import Observer

OracleInfo: TypeAlias = bool | str | Floats
"""False, True or ``"optimal"``, ``"uniform"``, or a policy float ``[S, A]``."""


class Truth:
    """Makes the info of one table's states.

    Args:
        table: the table.
        oracle_info: whose values stand in ``info["oracle"]``; see :data:`OracleInfo`.
        anchor_info: whether the anchor, the state's hash and the reward stand in ``info``.

    Attributes:
        masked: whether some state that is played does not admit all actions.
        wanted: whether more than the mask was asked for.

    Raises:
        CreditEnvsError: for an unknown policy.
    """

    def __init__(self, table: TabularMDP, oracle_info: OracleInfo, anchor_info: bool) -> None:
        self._table = table
        count = table.n_admissible
        self.masked = bool(np.any((count > 0) & (count < table.n_actions)))
        self._values = None if oracle_info is False else _values(table, oracle_info)
        self._words = Observer(table, "text") if anchor_info else None
        self.wanted = anchor_info or self._values is not None

    def mask(self, states: AnyArray) -> AnyArray:
        """Returns the admissible actions of states int ``[n]``: int8 ``[n, A]``."""
        return self._table.mask[states].astype(np.int8)

    def info(self, state: int, code: int, t: int, over: bool, reward: float | None) -> dict[str, Any]:
        """Returns the info of a state, shown under an emission code at time t; ``reward`` is None after a reset."""
        info: dict[str, Any] = {}
        if self.masked:
            info["action_mask"] = self._mask_row(state)
        if self._values is not None:
            info["oracle"] = self._oracle(state, code, t, over)
        if self._words is not None:
            info["anchor"] = self._anchor(state, code)
            info["env_state_hash"] = f"{self._table.fingerprint[:16]}-{state}"
            if reward is not None:
                info["step_reward"] = reward
        return info

    def _mask_row(self, state: int) -> AnyArray:
        row = np.zeros(self._table.n_actions, dtype=np.int8)
        row[self._table.edge_action[self._table.edge_start[state] : self._table.edge_start[state + 1]]] = 1
        return row

    def _anchor(self, state: int, code: int) -> str:
        emission = self._table.emission
        assert self._words is not None
        obs = int(emission.base[state]) * emission.n_codes + int(emission.anchor_code[code])
        return str(self._words.rows(np.array([obs]))[0])

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
