"""Charts: answer a question about a bar chart in tokens, few of which read the picture; paid once, for the answer.

## Description

A miniature of visual question answering with a verifiable answer. A picture shows `bars` bars with names, of heights 1 to
`values`. A question asks about `facts` of them: for their sum, by how much the highest and the lowest differ, or which is
the highest. The solution states a fact about each bar and then the answer: "Ann has 3 and Bob has 1 so 4".

Each kind of token needs something else. Names say what to read: the question suffices. Values read the picture, one
token in four. Function words are forced. The answer follows from what was written, so an error of reading is carried on
into it. With `paid="facts"` the answer is paid only if all facts asked for are stated right; then it never depends on the
picture. With `paid="answer"` facts are notes: they are not checked, and matter exactly as much as the policy that
reads them makes them matter. Whoever can see may ignore them and read the picture with the answer.

Two dials turn how much can be said without the picture. The text tells last year's heights, and each bar has last year's
with probability `prior`: the language prior. Of the bars, a share `printed` have this year's height in the text too. With
`printed_in="picture"` these heights stand in the picture instead, as numbers in the place of bars: to state one, words are
copied and nothing is measured, and yet it is lost with the picture.

Which heights the asked bars have is the chart, a context; the other bars have the same heights in all charts of an instance.
Question, names, colours, positions, last year's heights and the order of the actions differ between instances.

With `paid="facts"` the best player earns 1 with the picture and max(`prior`, 1/`values`)^m without it, m of the asked
bars not being printed in the text; :func:`credit_envs.families.charts_blind.without_image` gives the game without the picture.

## Action Space

`Discrete(bars + facts·values + 4)`: the names, the numbers from 0 to facts·values, `has`, `and`, `so`. Admissible are
names that are not written yet; after a name `has`; then the numbers 1 to `values`; then `and`, or `so` after the last fact;
then the answers that some chart has (names of the asked bars, or numbers).

## Observation Space

- `text`: the question, last year's heights, those of this year that are printed, what is written, and the tokens
  that may follow with the numbers of their actions.
- `grid`: uint8 `[values + 1, bars, 3]`, one column per bar, the highest value on top. Channel 0: 1 inside the bar.
  Channel 1: in the bottom row, 1 + the action of the bar's name; above it, 1 + the action of the number that stands for a bar.
  Channel 2: the value that a row stands for.
- `rgb`: uint8 `[240, 320, 3]`, the chart with its title, axis and names. `ansi`: the chart in characters, and the text.
- `both`: text and grid. `both_rgb`: text and rgb.
- `grid_blank`, `grid_patches`, `grid_noise`, and the same after `rgb_`, `both_` and `both_rgb_`: the picture all black,
  with a share `corruption` of its area under black patches, or with this share of its pixels replaced by noise; always in
  the same way for the same chart. See :func:`credit_envs.families.gallery_corrupt.corrupt`.
- `facts`: the key visual facts, one per line: what the question needs and only the picture shows. For judges.
- `state`: the number of the state (chart and what is written).

Text and picture together tell all states apart until the end. Labels:

- `turn` (place in the fact: 0 name, 1 `has`, 2 value, 3 `and` or `so`; the answer has 0), `segment` (fact, `facts` for the
  answer), `written` (tokens so far), `chart`.
- `anchor`: the chart and the facts that are written, in whichever order.
- `blind`: number of what is seen without the picture; states that only the picture tells apart share it.
- `visual`: 1 where the token to be written next depends on the picture: no token is optimal in all states with this
  `blind`.
- `lettered`, with `printed_in="picture"` only: 1 where such a height is to be written next.
- `key_facts` (number of key visual facts), `facts` (how many of them are stated right so far), `stated` (which, bit by
  bit), for :func:`credit_envs.families.charts_judge.judge`.
- `reference_action`: goes on correctly from what is written, and reads in the picture what is missing for the
  answer; −1 in the end. `right`: 1 while the solution can still be paid; in the end, whether it was.
- `reference_left`: tokens of the right solution that don't stand there yet, all of them once nothing can be paid any more;
  in the end 0 if none is missing, else −1.
- `answer_share`: the share of all ways to go on that are paid; its unit is one over `answer_whole`.

:func:`~credit_envs.families.sums.answer_probability` and :func:`~credit_envs.families.sums.careless` read these labels.

## Rewards

1 with the last token if the solution is right, else 0.

## Starting State

Nothing written. The chart is a context: the heights of the asked bars are independent, last year's has probability
max(`prior`, 1/`values`) and the others an equal share of the rest.

## Episode End

With the answer, after 4·facts + 1 tokens, which is also the horizon.

## Arguments

- `bars` (default 4): bars of the chart.
- `values` (default 4): heights that a bar may have.
- `facts` (default 2): bars that the question asks about, at most all.
- `question` (default `"any"`): `"sum"`, `"difference"`, `"highest"`, or `"any"` of them, by instance.
- `prior` (default 0.5): probability that a bar has last year's height; below 1/values it counts as 1/values, which tells
  nothing.
- `printed` (default 0.0): share of the bars whose heights are printed in words, of the asked ones and of the others; what it
  leaves of a bar is decided by lot, once per instance.
- `printed_in` (default `"text"`): where printed heights stand, `"text"` or `"picture"`.
- `paid` (default `"facts"`): what must be right, see Description.
- `corruption` (default 0.5): share of the picture that patches and noise cover.

## References

After chart question answering as in Kafle et al., "DVQA: Understanding Data Visualizations via Question Answering", CVPR
2018. That few tokens depend on the image is the premise of Huang et al., "Spotlight on Token Perception for Multimodal
Reinforcement Learning" (VPPO), ICLR 2026; lists of key visual facts and their judge follow Xiao et al., "Perception-R1",
2025.

## Version History

- v0: first version.
"""

from __future__ import annotations

import numpy as np

from credit_envs.errors import CreditEnvsError
from credit_envs.families.charts_question import KINDS, make_question
from credit_envs.families.charts_states import count_prefixes, edges, labels, lettered, make_states
from credit_envs.families.charts_views import views
from credit_envs.families.family import Knob
from credit_envs.table.build import from_outcomes
from credit_envs.table.mdp import TabularMDP

KNOBS = {
    "bars": Knob(4, 2, 6, "bars of the chart"),
    "values": Knob(4, 2, 9, "heights that a bar may have"),
    "facts": Knob(2, 2, 4, "bars that the question asks about"),
    "question": Knob("any", choices=("any", *KINDS), doc="what is asked"),
    "prior": Knob(0.5, 0, 1, "probability that a bar has last year's height, at least 1/values", integer=False),
    "printed": Knob(0.0, 0, 1, "share of the bars whose heights are printed in words", integer=False),
    "printed_in": Knob(
        "text", choices=("text", "picture"), doc="where printed heights stand: text, or picture instead of bars"
    ),
    "paid": Knob("facts", choices=("facts", "answer"), doc="what must be right: answer and facts, or the answer"),
    "corruption": Knob(0.5, 0, 1, "share of the picture that patches and noise cover", integer=False),
}

MOST_STATES = 1 << 20


def build(
    instance_seed: int,
    *,
    bars: int,
    values: int,
    facts: int,
    question: str,
    prior: float,
    printed: float,
    printed_in: str,
    paid: str,
    corruption: float,
) -> TabularMDP:
    """Builds one instance; states are numbered by the tokens written, then by the chart, the ends last."""
    knobs = {name: value for name, value in locals().items() if name in KNOBS}
    if facts > bars:
        raise CreditEnvsError(f"facts={facts}: expected an integer in [2, {bars}], as there are {bars} bars")
    count = count_prefixes(bars, values, facts) * values**facts
    if count > MOST_STATES:
        raise CreditEnvsError(
            f"bars={bars}, values={values}, facts={facts}: {count} states, expected at most {MOST_STATES}; take fewer"
        )
    drawn = make_question(instance_seed, bars, values, facts, question, prior, printed, printed_in)
    all_facts = paid == "facts"
    states = make_states(drawn, all_facts)
    state, token, successor = edges(states)
    over = successor >= states.playing
    named = labels(states, all_facts)
    if printed_in == "picture":
        named["lettered"] = lettered(states)
    return from_outcomes(
        "Charts",
        states.playing + states.ends.chart.size,
        drawn.order.size,
        {
            "state": state,
            "action": drawn.order[token],
            "successor": successor,
            "probability": np.ones(state.size),
            "reward": np.where(over, named["right"][successor], 0),
            "terminal": over,
        },
        start=dict(enumerate(drawn.probability.tolist())),
        horizon=4 * facts + 1,
        action_names=tuple(np.array(drawn.tokens)[np.argsort(drawn.order)].tolist()),
        labels=named,
        views=views(states, named["chart"], corruption),
        knobs=knobs,
        validated=False,
    )
