"""Recipes: pieces in any order, refusals with reasons, losses as pulls, own plans at equal budget, and honest statuses."""

import itertools

import pytest
import torch
from strategies import make_random_table

import credit_envs
from credit_envs import piece as pieces
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.providers import Provided
from credit_envs.evaluation.replicate import Subject, stale
from credit_envs.oracle import evaluate, ladder, uniform
from credit_envs.piece import Piece
from credit_envs.recipes import PIECES, PRESETS, compose, names, recipe
from credit_envs.recipes.catalogue import DEFAULTS, checks
from credit_envs.sampling import Sampler
from credit_envs.sampling.trajectories import Sample, Truth


@pytest.fixture(scope="module")
def scene():
    table = make_random_table(3, n_states=12, horizon=6)
    sampler = Sampler(table, uniform(table), 0)
    sample = sampler.groups(6, 4)
    return Provided(sampler, sample, evaluate(table, uniform(table)))


def test_every_recipe_can_be_put_together():
    for name in names():
        found = recipe(name)
        assert [p.slot for p in found.pieces] == sorted((p.slot for p in found.pieces), key=pieces.SLOTS.index), name
        assert len(found.slot("plan")) == len(found.slot("advantage")) == len(found.slot("loss")) == 1, name
    assert set(PRESETS) <= set(names())


def test_the_order_of_pieces_makes_no_difference(scene):
    double = Piece("double", lambda batch: 2 * torch.ones_like(batch.reward), slot="weight", status="user")
    first = Piece(
        "first", lambda batch: torch.eye(*batch.mask.shape, dtype=torch.float64), slot="weight", status="user"
    )
    shifted = Piece("shifted", lambda batch: batch.replace(reward=batch.reward + 1), slot="reward", status="user")
    credits = [
        compose("x", order, DEFAULTS).credit(scene.sample.trajectories, scene)[1]
        for order in itertools.permutations([double, first, shifted, PIECES["rloo"]])
    ]
    assert all(torch.equal(credits[0], other) for other in credits[1:])
    assert credits[0].abs().sum() > 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gigpo+rloo", "gigpo and rloo cannot be combined: both say what a step's credit is"),
        ("sspo+sorl", "sorl and sspo cannot be combined: both define the importance ratio"),
        ("sorl+sspo_sigmoid", "cannot be combined: both define the importance ratio"),
        ("trees+dynamic_sampling", "cannot be combined: both say which rollouts are drawn"),
        ("gigpoo", "unknown estimator 'gigpoo'; did you mean 'gigpo'"),
        ("gigpo+vpo", "unknown estimator 'vpo'"),
    ],
)
def test_refusals(name, message):
    with pytest.raises(CreditEnvsError, match=message):
        recipe(name)


COMBINATIONS = {
    "tree_grpo+gigpo": ("trees", "tree_gigpo", "reinforce"),
    "tree_grpo+vppo": ("trees", "tree_grpo", "vppo", "reinforce"),
    "at_rl+vppo": ("groups", "grpo", "at_rl", "vppo", "reinforce"),
    "high_entropy+vppo_mask": ("groups", "grpo", "high_entropy", "vppo_mask", "reinforce"),
    "vppo+grpo": ("groups", "grpo", "vppo", "reinforce"),
    "vppo+dapo": ("dynamic_sampling", "overlong", "grpo", "vppo", "dapo_loss"),
    "vppo+perception_r1": ("groups", "perception_r1", "grpo", "vppo", "reinforce"),
    "gigpo+mig_stepwise": ("groups", "gigpo_mig", "reinforce"),
    "prm_advantage+vineppo": ("groups", "prm_baseline", "reinforce"),
    "sspo+search_p1+gc_rl": ("gc_rl", "critique_reward", "search_p1", "grpo", "sspo"),
    "gigpo+turn_rewards": ("groups", "turn_rewards", "gigpo", "reinforce"),
}


@pytest.mark.parametrize("name", COMBINATIONS)
def test_combinations_of_section_29(name):
    assert tuple(p.name for p in recipe(name).pieces) == COMBINATIONS[name]
    assert recipe("+".join(reversed(name.split("+")))).pieces == recipe(name).pieces


def test_the_pull_of_reinforce_is_the_credit(scene):
    batch, found = scene.sample.trajectories, recipe("rloo")
    paid, credit = found.credit(batch, scene)
    assert torch.allclose(found.pull(paid, credit, batch.policy_table, scene), credit, atol=1e-12)


def test_the_oracles_own_rows_are_what_the_oracle_says(scene):
    batch = scene.sample.trajectories
    assert torch.equal(recipe("exact").credit(batch, scene)[1], torch.where(batch.mask, scene["advantage"], 0.0))
    projected = torch.where(batch.mask, scene["projected_advantage"], 0.0)
    assert torch.equal(recipe("projected").credit(batch, scene)[1], projected)


def test_staleness_moves_the_behaviour_policy_only():
    table = credit_envs.make_table("credit/Pivots-v0")
    policy = ladder(table, (0.0, 0.5))[1].policy
    old = stale(policy, 0.5)
    assert stale(policy, 0.0) is policy
    assert abs(old.probability.sum(axis=1) - policy.probability.sum(axis=1)).max() < 1e-9
    assert ((old.probability > 0) == (policy.probability > 0)).all()
    assert abs(old.probability - policy.probability).max() > 0.05
    assert (stale(policy, 0.5).probability == old.probability).all()
    subject = Subject(table, policy, staleness=0.5)
    records = subject.replicate({"rloo": recipe("rloo"), "exact": recipe("exact")}, 0, 50, 8, 1000)
    assert all(record["variance"] > 0 for record in records)


def test_a_verified_piece_was_called_by_passing_tests():
    """`pytest --record-checks` writes the counts; a piece that claims to be verified must be among them."""
    passed = checks()
    silent = [name for name, one in PIECES.items() if one.status == "verified" and not passed.get(name)]
    assert not silent, f"verified, but no recorded test calls them: {silent}"
    assert set(passed) <= set(PIECES)


def test_recipes_that_ask_for_nothing_see_nothing(scene):
    """Truth shuffled behind the batch changes no credit of a recipe that did not ask for it."""
    sample, truth = scene.sample, scene.sample.truth
    order = torch.randperm(truth.state.numel(), generator=torch.Generator().manual_seed(0))
    mixed = {n: getattr(truth, n).flatten()[order].view(truth.state.shape) for n in ("state", "edge", "code")}
    garbled = Sample(sample.trajectories, Truth(**mixed, rollout=truth.rollout.flip(0), final=truth.final.flip(0)))
    here = Provided(scene.sampler, sample, scene.exact)
    there = Provided(scene.sampler, garbled, scene.exact)
    blind = [n for n in names() if set(recipe(n).needs) <= {"text", "parameters"} and recipe(n).plan.name == "groups"]
    assert len(blind) > 40
    for name in blind:
        batch = sample.trajectories
        pulls = [recipe(name).pull(*recipe(name).credit(batch, p), batch.policy_table, p) for p in (here, there)]
        assert torch.equal(*pulls), name
