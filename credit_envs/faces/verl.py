"""verl-agent's environment manager: lists of words in, lists of words, pictures and anchors out.

    envs = EnvironmentManager("credit/Household-v0", groups=16, group_size=8)
    observations, infos = envs.reset()
    observations, rewards, dones, infos = envs.step(["<think>…</think><action>go north</action>", ...])

The contract, in our words. There are ``groups · group_size`` environments; those of a group are adjacent, begin in the same
place and have luck of their own. ``reset`` and ``step`` return a dict with ``text`` (prompts, a list), ``image`` (an array, or
None) and ``anchor`` (what GiGPO compares: the observation alone, without history); ``step`` returns rewards and ends as arrays
``[N]`` and a list of infos besides, each with ``is_action_valid`` and, for ``success_evaluator``, ``won``. The rollout loop
steps all environments until the last one is over and ignores those that are over already, so these stay as they are.

Source: the verl-agent project (Feng et al. 2025, Group-in-Group Policy Optimization), ``agent_system/environments/base.py``,
``env_manager.py`` and ``multi_turn_rollout/rollout_loop.py``, read as of 2025 in public copies: ``base.py`` of
langfengQ/AgentOCR at 25736f7b, the other two of CloudEngineHub/verl-agent at fa6109d9 and 2c54a7c9. Nothing is imported from
there and nothing copied.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from credit_envs.arrays import AnyArray, Floats
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.faces.commands import command
from credit_envs.faces.entry import Source, make
from credit_envs.faces.render import picture
from credit_envs.faces.single import Snapshot, TabularEnv
from credit_envs.faces.winning import won
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.observer import Observer

_ACTION = re.compile(r"<action>(.*?)</action>", re.DOTALL | re.IGNORECASE)
_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL | re.IGNORECASE)
_LONGEST_SAID = 80


class Turn(NamedTuple):
    """What a prompt is made of.

    Attributes:
        text: the observation in words.
        commands: the admissible actions' names.
        history: the latest (observation, what was done), oldest first.
        t: steps taken.
        horizon: steps after which the episode ends.
        image: whether a picture goes with it; the rollout loop puts it where ``<image>`` stands.
    """

    text: str
    commands: tuple[str, ...]
    history: tuple[tuple[str, str], ...]
    t: int
    horizon: int
    image: bool


def usual_prompt(turn: Turn) -> str:
    """Returns a prompt that asks for a thought and one command."""
    lines = [f"You act step by step; this is step {turn.t + 1} of at most {turn.horizon}."]
    first = turn.t - len(turn.history) + 1
    for number, (text, said) in enumerate(turn.history, first):
        lines.append(f"Step {number}. You saw: {text}\nYou did: {said}")
    lines.append(f"Now you see: {'<image> ' if turn.image else ''}{turn.text}")
    if not re.search(r"^\[\d+\] ", turn.text, re.MULTILINE):  # some texts list what can be done
        lines.append(f"You can: {', '.join(turn.commands)}.")
    lines.append("Think inside <think> </think>, then give one command inside <action> </action>.")
    return "\n".join(lines)


class EnvironmentManager:
    """Many environments in verl-agent's contract.

    An answer names its action inside ``<action>`` tags (without tags, all of it is read), in words or by number; see
    :func:`~credit_envs.faces.commands.command`. Words that name no admissible action change nothing and take a step, which
    is paid as an inadmissible action. What ``won`` means: :mod:`credit_envs.faces.winning`.

    Args:
        source: an environment id, the path of a stored table, or a table.
        groups: number of groups.
        group_size: environments per group.
        seed: environment i draws its luck from seed + i; where groups have one member each, it plays what environment i of
            the vector environment plays.
        images: whether observations have pictures, uint8 ``[N, height, width, 3]``.
        history_length: earlier steps that a prompt recalls.
        thoughts: whether an action counts as valid only beside a ``<think>`` part and inside ``<action>`` tags.
        prompt: makes the words that the model is shown.
        **knobs: as for :func:`credit_envs.faces.make`.

    Attributes:
        envs: the environments.

    Raises:
        CreditEnvsError: for numbers out of range, and as :func:`credit_envs.faces.make`.
    """

    def __init__(
        self,
        source: Source,
        groups: int = 1,
        group_size: int = 1,
        seed: int = 0,
        images: bool = False,
        history_length: int = 2,
        thoughts: bool = True,
        prompt: Callable[[Turn], str] = usual_prompt,
        **knobs: Any,
    ) -> None:
        check_range("groups", groups, 1, 1 << 20, integer=True)
        check_range("group_size", group_size, 1, 1 << 20, integer=True)
        check_range("seed", seed, 0, (1 << 62) - 1, integer=True)
        check_range("history_length", history_length, 0, 1 << 20, integer=True)
        first = make(source, **{"observation": "text", **knobs, "anchor_info": True})
        self.envs = [first, *(copy.deepcopy(first) for _ in range(int(groups) * int(group_size) - 1))]
        self._group_size, self._seed, self._begun = int(group_size), int(seed), False
        self._images, self._thoughts, self._prompt = images, thoughts, prompt
        self._recalled = int(history_length)
        self._shown: list[Any] = [""] * len(self.envs)
        self._infos: list[dict[str, Any]] = [{} for _ in self.envs]
        self._over = np.zeros(len(self.envs), dtype=np.bool_)
        self._history: list[list[tuple[str, str]]] = [[] for _ in self.envs]

    def __len__(self) -> int:
        """Returns the number of environments N."""
        return len(self.envs)

    def reset(self, kwargs: Any = None) -> tuple[dict[str, Any], list[dict[str, Any]]]:  # noqa: ARG002 (the contract's)
        """Starts the next episode everywhere.

        Args:
            kwargs: not used.

        Returns:
            The observations, and an info for each environment.
        """
        leader = self.envs[0]
        for i, env in enumerate(self.envs):
            shown, info = env.reset(seed=None if self._begun else self._seed + i)
            if i % self._group_size == 0:
                leader = env
            elif (env.state, env.snapshot().instance) != (leader.state, leader.snapshot().instance):
                own = env.snapshot()
                place = own._replace(state=leader.state, code=None, instance=leader.snapshot().instance)
                shown, info = env.restore(place, branch=own.branch)
            self._shown[i], self._history[i] = shown, []
            self._infos[i] = _told(env, info, success=False)
        self._begun, self._over = True, np.zeros(len(self.envs), dtype=np.bool_)
        return self._observations(), [dict(info) for info in self._infos]

    def step(self, text_actions: Sequence[str]) -> tuple[dict[str, Any], AnyArray, AnyArray, list[dict[str, Any]]]:
        """Takes a step in every environment that is not over.

        Args:
            text_actions: N answers of a model.

        Returns:
            The observations, rewards float32 ``[N]``, ends bool ``[N]``, and an info for each environment:
            ``is_action_valid`` (bool array without dimensions), ``won``, ``admissible_commands`` and what ``anchor_info``
            adds. Where an episode was over before, nothing is paid, and the action does not count as valid.

        Raises:
            CreditEnvsError: if there are not N answers.
            gymnasium.error.ResetNeeded: before the first reset.
        """
        if isinstance(text_actions, str) or len(text_actions) != len(self.envs):
            given = 1 if isinstance(text_actions, str) else len(text_actions)
            raise CreditEnvsError(f"text_actions: expected {len(self.envs)} answers, got {given}")
        rewards = np.zeros(len(self.envs), dtype=np.float32)
        for i, (env, answer) in enumerate(zip(self.envs, text_actions, strict=True)):
            if self._over[i]:
                self._infos[i] |= {"is_action_valid": np.array(False), "step_reward": 0.0}
                continue
            rewards[i] = self._play(i, env, str(answer))
        return self._observations(), rewards, self._over.copy(), [dict(info) for info in self._infos]

    def success_evaluator(
        self, *, total_infos: Sequence[Sequence[Any]], total_batch_list: Sequence[Sequence[Any]], **_: Any
    ) -> dict[str, Floats]:
        """Returns ``success_rate`` float64 ``[N]``: whether each episode was won, as its last active step says.

        Args:
            total_infos: by environment and step, the infos.
            total_batch_list: by environment and step, a mapping whose ``active_masks`` says whether the step was played.

        Raises:
            CreditEnvsError: for an environment without an active step.
        """
        rates = []
        for i, (infos, batch) in enumerate(zip(total_infos, total_batch_list, strict=True)):
            active = [info for info, item in zip(infos, batch, strict=True) if item["active_masks"]]
            if not active:
                raise CreditEnvsError(f"total_batch_list[{i}]: expected an active step")
            rates.append(float(active[-1]["won"]))
        return {"success_rate": np.array(rates)}

    def close(self) -> None:
        """Closes the environments."""
        for env in self.envs:
            env.close()

    # -- parts -------------------------------------------------------------------------------------------------------

    def _play(self, i: int, env: TabularEnv, answer: str) -> float:
        """Takes one environment's step; returns what it paid."""
        before, table = env.snapshot(), env.table
        named = _ACTION.search(answer)
        said = (named.group(1) if named else answer).strip()
        valid = not self._thoughts or bool(named and _THOUGHT.search(answer))
        try:
            action = command(table, env.state, said)
        except CreditEnvsError:
            action, valid = -1, False
        saw = self._shown[i]
        if action < 0:
            shown, reward, over, info = _wait(env, before)
            success, did = False, f"{said[:_LONGEST_SAID]!r}, which is not possible"
        else:
            shown, reward, over, _, info = env.step(action)
            success, did = over and _won(env, before, action, reward), table.action_names[action]
        self._history[i] = [*self._history[i], (_words(saw), did)][-self._recalled :] if self._recalled else []
        self._shown[i], self._over[i] = shown, over
        self._infos[i] = _told(env, info, success) | {"is_action_valid": np.array(valid)}
        return reward

    def _observations(self) -> dict[str, Any]:
        """Returns what the model is shown of every environment."""
        texts = []
        for env, shown, history in zip(self.envs, self._shown, self._history, strict=True):
            turn = Turn(_words(shown), _commands(env), tuple(history), env.t, env.table.horizon, self._images)
            texts.append(self._prompt(turn))
        codes = [env.code for env in self.envs]
        image = None
        if self._images:
            image = np.stack([picture(env.table, env.state, code) for env, code in zip(self.envs, codes, strict=True)])
        anchors = [_anchor(env.table, env.state, code) for env, code in zip(self.envs, codes, strict=True)]
        return {"text": texts, "image": image, "anchor": anchors}


def _words(shown: Any) -> str:
    return str(shown["text"] if isinstance(shown, dict) else shown)


def _commands(env: TabularEnv) -> tuple[str, ...]:
    table = env.table
    edges = slice(*table.edge_start[env.state : env.state + 2])
    return tuple(table.action_names[action] for action in table.edge_action[edges].tolist())


def _told(env: TabularEnv, info: dict[str, Any], success: bool) -> dict[str, Any]:
    return {**info, "won": success, "admissible_commands": list(_commands(env))}


def _wait(env: TabularEnv, before: Snapshot) -> tuple[Any, float, bool, dict[str, Any]]:
    """Takes a step in which nothing happens, as the table's inadmissible actions do; not every state has one of those."""
    table, t = env.table, before.t + 1
    over = t == table.horizon
    reward = float(table.reward_at(before.t, table.inadmissible_reward))
    if over and table.cutoff_reward is not None:
        reward += float(table.cutoff_reward[before.state])
    shown, info = env.restore(before._replace(t=t, code=None, over=over), branch=before.branch)
    info["step_reward"] = float(table.reward_at(before.t, table.inadmissible_reward))
    return shown, reward, over, info


def _won(env: TabularEnv, before: Snapshot, action: int, reward: float) -> bool:
    edge = env.table.executed_edges(np.array([before.state]), np.array([action]), np.array([before.code]))
    return bool(won(env.table, np.array([before.t]), edge, np.array([env.state]), np.array([reward]))[0])


@lru_cache(maxsize=64)
def _text(table: TabularMDP) -> Observer:
    return Observer(table, "text")


def _anchor(table: TabularMDP, state: int, code: int) -> str:
    """Returns the words of what identity rules see."""
    emission = table.emission
    obs = int(emission.base[state]) * emission.n_codes + int(emission.anchor_code[code])
    return str(_text(table).rows(np.array([obs]))[0])
