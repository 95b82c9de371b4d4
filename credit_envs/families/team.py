"""Team: two to four agents who need each other to get through doors; one reward for all.

## Description

Rooms stand in a row, with a door between neighbours. Some doors have two *plates*, one in the room before the door and
one in the room behind it: such a door can be entered only while an agent stands on one of its plates, so one agent
holds it open for another, who then returns the favour from behind. The other doors are *locked*: any agent may take the
key that lies in the room before, and who took it opens the door for good. The goal lies in the last room; an agent who
has reached it stays there, so walking to the goal before a teammate was let through can spoil everything. The order of
the doors, their rows and colours, and the places of plates, keys, start and goal are drawn per instance, and the map
may be mirrored. Every instance can be solved.

Agents share cells without hindrance. They move in rounds, agent 1 first. Each move is one step of the environment, and
the label `mover` tells whose move it is: a joint action of n agents is n steps, and the credit of an agent's action is
the advantage of its step. The label `default` names the action that difference rewards and coalitions put in the place
of an agent's own (`stay`); see `credit_envs.oracle.team`. Note that holding a door open *is* staying: such a step has
no difference reward at all, though the agent's Shapley value is large. With `goal="all"` nothing is achieved while one
agent stays at the start, so every Shapley value is J/n and only the steps differ in credit; with `goal="any"` agents
differ too.

## Action Space

`Discrete(6)`: 0 up, 1 down, 2 left, 3 right, 4 use, 5 stay. All are admissible everywhere; a step against a wall or
into a door that is shut changes nothing but whose move it is. `use` takes the key of the next locked door when standing
on it, and opens that door when standing before it with the key in hand; otherwise it is like `stay`. With
`permute=True` the six are shuffled per instance and their names are hidden.

## Observation Space

- `state`: the number of the state (agents' cells, keys, mover).
- `grid`: uint8 `[height, width, 4]`. Channel 0: 0 nothing, 1 wall, 2 floor, 3 key, 4 locked door, 5 unlocked door,
  6 door with plates that is shut, 7 such a door that is held open, 8 plate, 9 goal. Channel 1: colour of a door, its key
  and its plates (1–6). Channel 2: who stands here, bit i for agent i. Channel 3: 1 + i where
  the mover stands, agent i, plus 8 · (1 + j) where agent j stands who has a key in hand.
- `text`: sentences. `rgb`: a picture of the map. `ansi`: the map in characters.

With `moves="at once"` the mover sees the placement at the start of the round: the moves that other agents have made in
this round are hidden (states that differ only in them look alike). Everything else shows.

## Rewards

1 when the goal is reached, paid once to the whole team.

## Starting State

All agents in room 0, keys on the floor; one start per instance.

## Episode End

When all agents (`goal="all"`) or any agent (`goal="any"`) stand at the goal, or at the horizon: n times the nearest
whole number to `horizon_factor` times the longest shortest solution in rounds that these knobs can produce (an upper
bound that does not depend on the instance, so that instances can share a pool).

## Arguments

- `agents` (default 2): number of agents n.
- `plates` (default 1): number of doors with plates.
- `keys` (default 1): number of locked doors.
- `room_size` (default 2): rooms are room_size × room_size cells.
- `goal` (default `"all"`): who must reach the goal: `"all"` or `"any"`.
- `start` (default `"together"`): all agents on one cell, or each on a cell of its own draw (`"apart"`).
- `moves` (default `"in turn"`): whether an agent sees the moves before its own in the same round; `"at once"` hides
  them, which is the game that PettingZoo's parallel environments play.
- `permute` (default False): shuffle the actions per instance.
- `horizon_factor` (default 8): see Episode End.

There may be at most 2^18 placements `(1 + keys·(agents + 1)) · cells^agents`, with
`cells = (plates + keys + 1)·(room_size² + 1) − 1`.

## References

Doors that a teammate holds open from a plate follow "PressurePlate" (https://github.com/uoe-agents/pressureplate);
keys and doors follow MiniGrid (Chevalier-Boisvert et al., NeurIPS 2023). Counterfactual
advantage: Foerster et al., "Counterfactual Multi-Agent Policy Gradients", AAAI 2018. Difference rewards: Wolpert and
Tumer, "Optimal Payoff Functions for Members of Collectives", 2001.

## Version History

- v0: first version.
"""

from __future__ import annotations

from credit_envs.families.family import Knob
from credit_envs.families.team_compile import make_table
from credit_envs.families.team_layout import Plan, make_layout
from credit_envs.table.mdp import TabularMDP

KNOBS = {
    "agents": Knob(2, 2, 4, "number of agents"),
    "plates": Knob(1, 0, 3, "number of doors that are held open from plates"),
    "keys": Knob(1, 0, 3, "number of locked doors"),
    "room_size": Knob(2, 2, 6, "rooms are room_size x room_size cells"),
    "goal": Knob("all", choices=("all", "any"), doc="who must reach the goal"),
    "start": Knob("together", choices=("together", "apart"), doc="whether all agents start on one cell"),
    "moves": Knob(
        "in turn", choices=("in turn", "at once"), doc="whether the moves of a round are seen before it ends"
    ),
    "permute": Knob(False, choices=(False, True), doc="shuffle the actions per instance and hide their names"),
    "horizon_factor": Knob(8.0, 1, 1000, "horizon in longest shortest solutions", integer=False),
}


def build(
    instance_seed: int,
    *,
    agents: int,
    plates: int,
    keys: int,
    room_size: int,
    goal: str,
    start: str,
    moves: str,
    permute: bool,
    horizon_factor: float,
) -> TabularMDP:
    """Builds one instance.

    Raises:
        CreditEnvsError: if there would be more than 2**18 placements.
    """
    knobs = {name: value for name, value in locals().items() if name in KNOBS}
    plan = Plan(agents, plates, keys, room_size, start == "apart")
    return make_table(
        make_layout(plan, instance_seed, permute),
        everyone=goal == "all",
        at_once=moves == "at once",
        horizon=agents * round(horizon_factor * plan.longest),
        named=not permute,
        knobs=knobs,
    )
