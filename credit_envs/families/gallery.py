"""Gallery: find the way through a museum by signs that only the picture shows, with hints in the text that may mislead.

## Description

The way to the last exhibit passes `junctions` junctions, with corridors between them. At a junction one of the exits
leads on. A sign in the picture points to it; the text names it too only with probability 1 − `dependence`, and else
offers a visitor's guess, which is right with probability `hint`: the language shortcut. A wrong exit costs steps or ends
the visit, as `wrong` says.

What the exits are called is drawn anew at every step: the action names of a junction are shifted cyclically by a random
number (the `cue` of the dials, an exogenous layer of the observation). So the right exit is uniform among the names, the
table stays small, its dynamics deterministic (with one frame), and the oracle exact, with and without the picture.

With `frames` = k > 1 one sees one of k camera frames at a junction at a time, and the sign is in only one of them. `look`
turns to the next frame. Where no sign is in view, an exit is right with probability 1/exits. How many looks are left to
the sign is the hidden information: frames without the sign look the same.

With one frame, `wrong="out"` and no step cost, the best player with the picture earns 1, without it q^junctions with
q = 1 − dependence + dependence · hint, and the uniform player exits^−junctions.

## Action Space

`Discrete(exits + 1)`, or `Discrete(exits + 2)` with frames: the exits (left, right; left, ahead, right; or left, ahead
left, ahead right, right), then `walk`, then `look`. At a junction the exits are admissible, in corridors only `walk`; where
no sign is in view also `look`. Other actions change nothing and cost a step. There is no `permute`: the names of the exits
are drawn at every step.

## Observation Space

- `state`: the number of the observation: place and cue.
- `grid`: uint8 `[7, 7, 3]`. Channel 0: 0 nothing, 1 wall, 2 floor, 3 exit, 4 sign, 5 corridor, 6 side room, 7 exhibit.
  Channel 1: 1 on the painted cells of the sign, a clock hand from its centre to the right exit; in the top row the
  number of the junction, of junctions, and of steps to walk. Channel 2: 1 where the visitor stands.
- `rgb`: uint8 `[224, 224, 3]`, a picture with the sign as an arrow. `text`: sentences. `ansi`: the grid in characters.
- `both`: text and grid. `both_rgb`: text and rgb.
- `grid_blank`, `grid_patches`, `grid_noise`, and the same after `rgb_`, `both_` and `both_rgb_`: the picture all black,
  with a share `corruption` of its area under black patches, or with this share of its pixels replaced by noise; always in
  the same way for the same observation. See :func:`credit_envs.families.gallery_corrupt.corrupt`.

Pictures show the sign only as observations, never through ``View.rows``, which knows no cue and draws the board empty.

## Rewards

1 at the last exhibit, −`step_cost` for every step.

## Starting State

In the first corridor, or at the first junction if it has length 0 (with frames: at a random one).

## Episode End

At the exhibit, outside (`wrong="out"`), or at the horizon: `horizon_factor` times junctions · (hall + frames) steps.

## Arguments

- `junctions` (default 4): number of junctions.
- `exits` (default 3): exits of each junction.
- `dependence` (default 1.0): δ, probability that the text does not name the sign.
- `hint` (default 0.6): p, probability that a visitor's guess is right; below 1/exits it counts as 1/exits, which tells
  nothing.
- `frames` (default 1): k, frames of a junction, one of which holds the sign.
- `wrong` (default `"dead_end"`): `"dead_end"` leads into a side room and back, `"detour"` through a side room to where the
  right exit leads, `"wait"` is locked, `"out"` ends the visit.
- `passage` (default 3): longest side room in steps; each is 1 to `passage` steps long.
- `hall` (default 2): longest corridor before a junction; each is 0 to `hall` steps long.
- `step_cost` (default 0.02): what each step costs.
- `corruption` (default 0.5): share of the picture that patches and noise cover.
- `horizon_factor` (default 4.0): see Episode End.

## References

After navigation by signs in embodied benchmarks such as VLN-CE (Krantz et al., ECCV 2020); the language shortcut is the
one that visually grounded credit has to beat, as in Huang et al., "Spotlight on Token Perception for Multimodal
Reinforcement Learning" (VPPO), ICLR 2026, which also masks the image by black patches.

## Version History

- v0: first version.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np

from credit_envs.arrays import AnyArray
from credit_envs.dials.perception import cue
from credit_envs.families.family import Knob
from credit_envs.families.gallery_layout import EXITS, HALL, JUNCTION, OVER, SEARCH, SIDE, Layout, make_layout
from credit_envs.families.gallery_views import views
from credit_envs.table.build import from_outcomes
from credit_envs.table.emission import Emission, Layer
from credit_envs.table.mdp import TabularMDP

KNOBS = {
    "junctions": Knob(4, 1, 50, "number of junctions"),
    "exits": Knob(3, 2, 4, "exits of each junction"),
    "dependence": Knob(1.0, 0, 1, "probability that the text does not name the sign", integer=False),
    "hint": Knob(0.6, 0, 1, "probability that a visitor's guess is right, at least 1/exits", integer=False),
    "frames": Knob(1, 1, 16, "frames of a junction, one of which holds the sign"),
    "wrong": Knob("dead_end", choices=("dead_end", "detour", "wait", "out"), doc="what a wrong exit does"),
    "passage": Knob(3, 1, 20, "longest side room in steps"),
    "hall": Knob(2, 0, 20, "longest corridor before a junction in steps"),
    "step_cost": Knob(0.02, 0, 1, "what each step costs", integer=False),
    "corruption": Knob(0.5, 0, 1, "share of the picture that patches and noise cover", integer=False),
    "horizon_factor": Knob(4.0, 1, 1000, "horizon in longest shortest solutions", integer=False),
}


def build(
    instance_seed: int,
    *,
    junctions: int,
    exits: int,
    dependence: float,
    hint: float,
    frames: int,
    wrong: str,
    passage: int,
    hall: int,
    step_cost: float,
    corruption: float,
    horizon_factor: float,
) -> TabularMDP:
    """Builds one instance; states are numbered junction by junction: corridor, sign, frames without it, side room."""
    knobs = {name: value for name, value in locals().items() if name in KNOBS}
    layout = make_layout(instance_seed, junctions, exits, frames, wrong, passage, hall)
    state, action, to, probability = _outcomes(layout)
    over = layout.kind[to] == OVER
    n_actions = exits + 1 + (frames > 1)
    _, start, chance = layout.arrival(np.zeros(1, dtype=np.int64))
    places = layout.kind.size
    # Frames without the sign differ only in how far it is.
    base = np.cumsum((layout.kind != SEARCH) | (layout.left == 1)) - 1
    return from_outcomes(
        "Gallery",
        places,
        n_actions,
        {
            "state": state,
            "action": action,
            "successor": to,
            "probability": probability,
            "reward": np.where(to == layout.goal, 1.0, 0.0) - step_cost,
            "terminal": over,
        },
        start=dict(zip(start.tolist(), chance.tolist(), strict=True)),
        horizon=round(horizon_factor * junctions * (hall + frames)),
        inadmissible_reward=-step_cost,
        action_names=(*EXITS[exits], "walk", "look")[:n_actions],
        labels={
            "turn": np.zeros(places, dtype=np.int64),
            "segment": layout.junction,
            "anchor": base,
            "kind": layout.kind,
            "left": layout.left,
        },
        emission=Emission(base.astype(np.int32), (_sign(exits, n_actions, dependence, hint),)),
        views=views(layout, n_actions + 1, corruption),
        knobs=knobs,
        validated=False,
    )


@lru_cache(maxsize=64)
def _sign(exits: int, n_actions: int, dependence: float, hint: float) -> Layer:
    """The cue of the dials for places with so many exits, silent wherever no sign is in view."""
    actions = np.arange(exits)
    ones = np.ones(exits)
    outcomes = {"state": 0 * actions, "action": actions, "successor": 0 * actions, "probability": ones}
    place = from_outcomes(
        "junction", 1, n_actions, {**outcomes, "reward": ones, "terminal": ones > 0}, start={0: 1.0}, horizon=1
    )
    layer = cue(place, dependence, max(hint, 1 / exits)).emission.layers[0]
    probability = np.zeros_like(layer.probability)
    probability[:, 0] = 1
    probability[exits] = layer.probability[exits]
    return dataclasses.replace(layer, probability=probability)


def _outcomes(layout: Layout) -> tuple[AnyArray, AnyArray, AnyArray, AnyArray]:
    """Returns state, action, successor and probability of all outcomes, each ``[O]``."""
    n, places, junction = layout.exits, np.arange(layout.kind.size), np.minimum(layout.junction, layout.junctions - 1)
    onward, sign = layout.first[junction + 1], layout.sign[junction]
    astray = {
        "dead_end": layout.side[junction],
        "detour": layout.side[junction],
        "wait": sign,
        "out": np.full(places.size, layout.goal + 1),
    }[layout.wrong]
    back = onward if layout.wrong == "detour" else sign
    halls, signs, searches, sides = (places[layout.kind == kind] for kind in (HALL, JUNCTION, SEARCH, SIDE))
    right = layout.right[junction[signs]]
    rows = [
        (halls, n, halls + 1, 1.0),
        (sides, n, np.where(layout.left[sides] == 1, back[sides], sides + 1), 1.0),
        *((signs, exit, np.where(right == exit, onward[signs], astray[signs]), 1.0) for exit in range(n)),
        *((searches, exit, onward[searches], 1 / n) for exit in range(n)),
        *((searches, exit, astray[searches], 1 - 1 / n) for exit in range(n)),
    ]
    state, action, to, chance = (
        np.concatenate([np.broadcast_to(row[i], row[0].shape) for row in rows]) for i in range(4)
    )
    which, landing, drawn = layout.arrival(to)
    # Looking does not arrive anywhere: it turns to the next frame.
    return (
        np.append(state[which], searches),
        np.append(action[which], np.full(searches.size, n + 1)),
        np.append(landing, searches - 1),
        np.append(chance[which] * drawn, np.ones(searches.size)),
    )
