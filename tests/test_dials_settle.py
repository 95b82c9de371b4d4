"""Layers that rename actions, moved into the state: the same game, and then plan and spell on top of it."""

import numpy as np
import pytest

from credit_envs import dials, oracle
from credit_envs.dials.plan import plan
from credit_envs.dials.settle import settle
from credit_envs.dials.spell import spell, spelled_policy
from credit_envs.errors import CreditEnvsError
from credit_envs.families import FAMILIES
from credit_envs.importers import import_toy_text
from credit_envs.table.emission import Emission, Layer
from credit_envs.table.observer import Observer
from credit_envs.testing import check_table

GALLERY = FAMILIES["Gallery"].build
MOST = 100_000


def lake():
    return dials.apply(import_toy_text("FrozenLake", horizon=8), cue=0.5, guess=0.6, paraphrases=2)


TABLES = {
    "gallery": lambda: GALLERY(1, junctions=3, dependence=0.6, frames=2),
    "out": lambda: GALLERY(3, junctions=3, dependence=0.5, wrong="out", step_cost=0, exits=4, hall=1),
    "lake": lake,
}


@pytest.fixture(scope="module", params=TABLES)
def pair(request):
    table = TABLES[request.param]()
    return table, settle(table, "spell", MOST)


def even(table):
    return oracle.evaluate(table, oracle.uniform(table))


def layer_of(table):
    return [layer.name for layer in table.emission.layers].index("cue")


def obs_of(table):
    """The observation that each settled state stands for, its other layers at 0."""
    cue = layer_of(table)
    states, digits = np.nonzero(table.emission.layers[cue].probability[table.n_admissible])
    code = np.zeros((states.size, len(table.emission.layers)), dtype=np.int64)
    code[:, cue] = digits
    return table.emission.base[states] * table.emission.n_codes + table.emission.pack(code)


def test_returns_stay(pair):
    table, settled = pair
    check_table(settled)
    assert not settled.emission.renames
    for play in (oracle.optimal, even):
        assert play(settled).J == pytest.approx(play(table).J, rel=1e-12)  # noqa: SIM300


def test_policies_that_read_the_cue_earn_the_same(pair):
    """A random policy on observations, which knows the cue and ignores the paraphrase, on either side."""
    table, settled = pair
    emission, cue = table.emission, layer_of(table)
    rng = np.random.default_rng(0)
    by_obs = np.zeros((table.n_obs, table.n_actions))
    for look, state in enumerate(np.unique(emission.base, return_index=True)[1].tolist()):
        actions = table.edge_action[slice(*table.edge_start[state : state + 2])]
        rows = rng.dirichlet(np.ones(max(actions.size, 1)), size=emission.sizes[cue])
        for code, digit in enumerate(emission.digits[:, cue].tolist()):
            by_obs[look * emission.n_codes + code, actions] = rows[digit, : actions.size]
    obs = obs_of(table)
    expected = oracle.evaluate(table, by_obs).J
    assert np.isclose(oracle.evaluate(settled, by_obs[obs]).J, expected, rtol=1e-12)
    assert not np.isclose(even(table).J, expected, rtol=1e-3)


def test_views_show_the_digit(pair):
    table, settled = pair
    cue, some = layer_of(table), np.arange(0, settled.n_states, 3)
    base, code = np.divmod(obs_of(table)[some], table.emission.n_codes)
    alone = table.replace(emission=Emission(table.emission.base, (table.emission.layers[cue],)))
    of_alone = base * alone.emission.n_codes + table.emission.digits[code, cue]
    assert "text" in settled.views
    assert {"grid", "rgb", "grid_blank"} <= set(settled.views) or settled.name != "Gallery"
    for name in settled.views:
        if name.startswith("rgb"):
            continue
        assert settled.views[name].space == Observer(alone, name).space
        np.testing.assert_array_equal(settled.view(name).rows(some), Observer(alone, name).rows(of_alone))


def test_hand_derived_numbers_survive_spelling_and_planning():
    """Without cost and with wrong exits out, uniform play earns exits^-junctions and optimal play 1, token by token too."""
    table = TABLES["out"]()
    spelled = spell(table, spell_pad=True)
    check_table(spelled)
    assert {"ahead", "left", "right", "walk"} <= set(spelled.action_names)
    assert np.isclose(oracle.optimal(spelled).J, 1, rtol=1e-12)
    settled = settle(table, "spell", MOST)
    lifted = spelled_policy(table, spelled, oracle.uniform(settled))
    assert np.isclose(oracle.evaluate(spelled, lifted).J, 4**-3, rtol=1e-12)
    planned = plan(table, 2)
    check_table(planned)
    assert np.isclose(oracle.optimal(planned).J, 1, rtol=1e-12)
    assert np.isclose(even(planned).J, 4**-3, rtol=1e-12)


def test_the_cue_lasts_for_the_whole_turn():
    """What the text of a turn's second token says of the sign is what it said at the first."""
    spelled = spell(TABLES["out"]())
    text, inside = spelled.view("text"), np.flatnonzero(spelled.labels["token"] > 0)
    before = {int(n): int(s) for s in range(spelled.n_states) for out in spelled.P[s].values() for _, n, _, _ in out}
    for state in inside[:40].tolist():
        here, there = (text.rows(np.array([s]))[0].split("\n>")[0] for s in (state, before[state]))
        assert here == there


@pytest.mark.parametrize("setting", [{"plan": 2}, {"spell": 1}, {"plan": 1, "spell": 1, "slip": 0.1}])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_can_plan_and_spell(name, setting):
    """On a smaller instance than the default where that has many states."""
    small = {"Shop": {"products": 4, "options": 1}, "Apps": {"apps": 1}, "Team": {"keys": 0}}.get(name, {})
    table = dials.apply(FAMILIES[name].build(0, **small), **setting)
    check_table(table)
    assert ("field" in table.labels) == ("plan" in setting)
    assert ("token" in table.labels) == ("spell" in setting)
    assert len(table.view("text").rows(table.start_state[:1])[0]) > 10


def test_refusals():
    table = lake()
    with pytest.raises(
        CreditEnvsError, match=r"spell: \d+ states with the layer 'cue', more than max_states=20; raise"
    ):
        settle(table, "spell", 20)
    layer = Layer("names", True, np.full((1, 2), 0.5), shift=np.array([0, 1]))
    renamed = table.replace(emission=Emission(table.emission.base, (layer,)))
    with pytest.raises(CreditEnvsError, match="plan: layer 'names' of FrozenLake-v1 renames actions once per episode"):
        plan(renamed, 2)
    plain = import_toy_text("FrozenLake", horizon=8)
    assert settle(plain, "plan", 1) is plain
