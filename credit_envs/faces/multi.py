"""PettingZoo faces of any table whose label ``mover`` says whose step it is: agents in turn (AEC) or in parallel.

Both play a :class:`~credit_envs.faces.single.TabularEnv`, step by step, so seeds mean the same luck as there. Importing
this module registers ``credit/Team-v0`` with PettingZoo where it has a registry (1.27 and later).

Every agent sees the shared state and who it is: view ``state`` shows ``obs · n + agent``, planes get one more channel
that holds ``agent + 1`` everywhere, words begin with ``You are agent …``. All agents get the team's reward.
(PettingZoo's ``api_test`` asks every observation for a dtype, which words don't have: view ``text`` passes its other
tests, but not that one.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from credit_envs.arrays import AnyArray
from credit_envs.errors import CreditEnvsError, need
from credit_envs.faces.entry import Source, make
from credit_envs.faces.single import TabularEnv
from credit_envs.oracle.team import movers, n_agents
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.view import text_space

_pettingzoo: Any = need("pettingzoo", "multi")


def team_parallel_env(**kwargs: Any) -> TabularParallelEnv:
    """Makes the Team family as a parallel environment; ``moves="at once"`` unless asked otherwise."""
    return parallel_env("credit/Team-v0", **{"moves": "at once", **kwargs})


def team_aec_env(**kwargs: Any) -> TabularAECEnv:
    """Makes the Team family as an environment in which agents take turns."""
    return aec_env("credit/Team-v0", **kwargs)


def parallel_env(source: Source, **kwargs: Any) -> TabularParallelEnv:
    """Makes a parallel environment; arguments as for :func:`credit_envs.faces.make`."""
    return TabularParallelEnv(make(source, **kwargs))


def aec_env(source: Source, **kwargs: Any) -> TabularAECEnv:
    """Makes an environment in which agents take turns; arguments as for :func:`credit_envs.faces.make`."""
    return TabularAECEnv(make(source, **kwargs))


class _Seats:
    """What both faces share: names, spaces, and what each agent sees."""

    def __init__(self, env: TabularEnv) -> None:
        self.env = env
        self.n = n_agents(env.table)
        self.agents = [f"agent_{i}" for i in range(self.n)]
        self.number = {agent: i for i, agent in enumerate(self.agents)}
        self.spaces = {agent: _seat_space(env.observation_space, self.n) for agent in self.agents}
        self.actions = {agent: gymnasium.spaces.Discrete(env.table.n_actions) for agent in self.agents}

    def look(self, shown: Any, agent: str) -> Any:
        """Returns what is shown to an agent, as a new object."""
        return _seen(shown, self.number[agent], self.n, self.env.observation_space)

    def mover(self) -> str:
        """Returns whose step it is."""
        return self.agents[int(self.env.table.labels["mover"][self.env.state])]


class TabularParallelEnv(_pettingzoo.ParallelEnv):  # type: ignore[misc]  # PettingZoo has no types
    """A table as a PettingZoo environment in which all agents act at once.

    One step is a round: n steps of the table, in the order of the agents, whose rewards are added up (and what they earned,
    ``step_reward``, where ``anchor_info`` was asked for). Actions are named
    before the round, so a policy that this environment can play does not depend on the moves of the same round. Values
    of such policies are the oracle's on tables that hide these moves (``moves="at once"``); on other tables the oracle's
    policies know more than these agents.

    Args:
        env: the environment to play.

    Attributes:
        env: see above; its ``table`` is the table being played.

    Raises:
        CreditEnvsError: if the table's movers do not take turns in order, or some action is inadmissible somewhere.
    """

    metadata: dict[str, Any] = {"name": "credit_parallel", "render_modes": TabularEnv.metadata["render_modes"]}  # noqa: RUF012

    def __init__(self, env: TabularEnv) -> None:
        _check_rounds(env.table)
        self.env, self._seats = env, _Seats(env)
        self.possible_agents = list(self._seats.agents)
        self.agents: list[str] = []
        self.render_mode = env.render_mode
        self._shown: Any = None

    def observation_space(self, agent: str) -> gymnasium.Space[Any]:
        """Returns the space of an agent's observations."""
        return self._seats.spaces[agent]

    def action_space(self, agent: str) -> gymnasium.spaces.Discrete:
        """Returns the space of an agent's actions."""
        return self._seats.actions[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Starts the next episode; see :meth:`TabularEnv.reset`."""
        self._shown, info = self.env.reset(seed=seed, options=options)
        self.agents = list(self.possible_agents)
        return self._looks(), {agent: dict(info) for agent in self.agents}

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Plays a round; ``infos`` are those of the table's last step.

        Raises:
            CreditEnvsError: if an agent's action is missing, or one is not an integer in ``[0, A - 1]``; nothing is
                played then.
        """
        missing = [agent for agent in self.agents if agent not in actions]
        if missing:
            raise CreditEnvsError(f"actions: expected one per agent, {', '.join(missing)} missing")
        for agent in self.agents:
            if not self._seats.actions[agent].contains(actions[agent]):
                top = self.env.table.n_actions - 1
                raise CreditEnvsError(f"actions[{agent!r}]={actions[agent]!r}: expected an integer in [0, {top}]")
        present, total, earned, over = self.agents, 0.0, 0.0, False
        info: dict[str, Any] = {}
        for agent in present:
            self._shown, reward, over, _, info = self.env.step(actions[agent])
            total += reward
            earned += info.get("step_reward", 0.0)
            if over:
                self.agents = []
                break
        if "step_reward" in info:
            info["step_reward"] = earned
        return (
            self._looks(present),
            dict.fromkeys(present, total),
            dict.fromkeys(present, over),
            dict.fromkeys(present, False),
            {agent: dict(info) for agent in present},
        )

    def state(self) -> AnyArray:
        """Returns the shared observation, without who is looking."""
        return np.array(self._shown)

    def render(self) -> Any:
        """See :meth:`TabularEnv.render`."""
        return self.env.render()

    def close(self) -> None:
        """Closes the window, if there is one."""
        self.env.close()

    def _looks(self, agents: list[str] | None = None) -> dict[str, Any]:
        return {agent: self._seats.look(self._shown, agent) for agent in (self.agents if agents is None else agents)}


class TabularAECEnv(_pettingzoo.AECEnv):  # type: ignore[misc]  # PettingZoo has no types
    """A table as a PettingZoo environment in which agents take turns; every turn is one step of the table.

    Args:
        env: the environment to play.

    Attributes:
        env: see above; its ``table`` is the table being played.

    Raises:
        CreditEnvsError: if the table has no label ``mover``.
    """

    metadata: dict[str, Any] = {"name": "credit_aec", "render_modes": TabularEnv.metadata["render_modes"]}  # noqa: RUF012

    def __init__(self, env: TabularEnv) -> None:
        self.env, self._seats = env, _Seats(env)
        self.possible_agents = list(self._seats.agents)
        self.agents: list[str] = []
        self.agent_selection = self.possible_agents[0]
        self.render_mode = env.render_mode
        self._shown: Any = None

    def observation_space(self, agent: str) -> gymnasium.Space[Any]:
        """Returns the space of an agent's observations."""
        return self._seats.spaces[agent]

    def action_space(self, agent: str) -> gymnasium.spaces.Discrete:
        """Returns the space of an agent's actions."""
        return self._seats.actions[agent]

    def observe(self, agent: str) -> Any:
        """Returns what an agent sees now."""
        return self._seats.look(self._shown, agent)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Starts the next episode; see :meth:`TabularEnv.reset`."""
        self._shown, info = self.env.reset(seed=seed, options=options)
        self.agents = list(self.possible_agents)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self._skip_agent_selection = None
        self._set(0.0, False, info)
        self.agent_selection = self._seats.mover()

    def step(self, action: Any) -> None:
        """Takes the step of the agent whose turn it is; an agent whose episode is over takes None."""
        agent = self.agent_selection
        if self.terminations.get(agent):
            self._was_dead_step(action)
            return
        self._shown, reward, over, _, info = self.env.step(action)
        self._cumulative_rewards[agent] = 0.0
        self._set(reward, over, info)
        self._accumulate_rewards()
        self.agent_selection = self.agents[0] if over else self._seats.mover()

    def _set(self, reward: float, over: bool, info: dict[str, Any]) -> None:
        self.rewards = dict.fromkeys(self.agents, reward)
        self.terminations = dict.fromkeys(self.agents, over)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {agent: dict(info) for agent in self.agents}

    def state(self) -> AnyArray:
        """Returns the shared observation, without who is looking."""
        return np.array(self._shown)

    def render(self) -> Any:
        """See :meth:`TabularEnv.render`."""
        return self.env.render()

    def close(self) -> None:
        """Closes the window, if there is one."""
        self.env.close()


def _check_rounds(table: TabularMDP) -> None:
    """Raises unless every round has one step per agent, in order, whatever is played.

    Raises:
        CreditEnvsError: naming what breaks the order.
    """
    mover, n = movers(table), n_agents(table)
    played = table.played()
    if np.any(table.n_admissible[played] < table.n_actions):
        raise CreditEnvsError(
            f"{table.name}: some actions are inadmissible, so agents may miss their turn; use aec_env"
        )
    before = table.edge_state[table.outcome_edge]
    onward = played[before] & ~table.terminal & (table.probability > 0)
    if np.any(mover[table.start_state]) or np.any(mover[table.successor[onward]] != (mover[before[onward]] + 1) % n):
        raise CreditEnvsError(f"{table.name}: agents 0 … {n - 1} do not move in turn in every round; use aec_env")


def _seat_space(space: gymnasium.Space[Any], n: int) -> gymnasium.Space[Any]:
    """Returns the space of what one agent sees."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return gymnasium.spaces.Discrete(int(space.n) * n)
    if isinstance(space, gymnasium.spaces.Text):
        return text_space(space.max_length + len(_name(n)))
    if isinstance(space, gymnasium.spaces.Dict):
        return gymnasium.spaces.Dict({name: _seat_space(part, n) for name, part in space.spaces.items()})
    if isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 3 and space.dtype == np.uint8:
        return gymnasium.spaces.Box(0, 255, (*space.shape[:2], space.shape[2] + 1), np.uint8)
    raise CreditEnvsError(f"observation: {space} cannot show who is looking; use 'state', 'text', 'grid' or 'both'")


def _seen(shown: Any, number: int, n: int, space: gymnasium.Space[Any]) -> Any:
    """Returns what one agent sees."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return np.int64(int(shown) * n + number)
    if isinstance(space, gymnasium.spaces.Text):
        return _name(number) + shown
    if isinstance(space, gymnasium.spaces.Dict):
        return {name: _seen(shown[name], number, n, part) for name, part in space.spaces.items()}
    return np.concatenate((shown, np.full((*shown.shape[:2], 1), number + 1, np.uint8)), axis=2)


def _name(number: int) -> str:
    return f"You are agent {number + 1}. "


def register() -> None:
    """Registers the team environments with PettingZoo, where it has a registry and does not know them yet."""
    if hasattr(_pettingzoo, "register"):
        for kind, registry in (("parallel", _pettingzoo.parallel_registry), ("aec", _pettingzoo.aec_registry)):
            if "credit/Team-v0" not in registry:
                _pettingzoo.register(kind, "credit/Team-v0", f"{__name__}:team_{kind}_env")


register()
