"""What agents' files say of themselves: the first credit is the recipe's, and without its idea each is what it builds on."""

import dataclasses
import json
import runpy

import numpy as np
import pytest
import torch

from credit_envs import registry
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.providers import Provided
from credit_envs.losses.reinforce import reinforce
from credit_envs.plans.gc_rl import mixed_cache
from credit_envs.policies import Transformer
from credit_envs.policies.routing import balance, diversity, switching, temperature
from credit_envs.recipes import recipe
from credit_envs.sampling.statistics import whitened
from credit_envs.training import Run, files
from credit_envs.training import run as running
from credit_envs.training.learners import Learners
from credit_envs.training.options import Options
from credit_envs.training.scores import recipe_of
from credit_envs.weights.at_rl import at_rl_attention

CHARTS, SUMS = "credit/Charts-v0?values=2", "credit/Sums-v0?base=4&columns=1"
BOTH = f"{SUMS}&task=both"
QUIET = {"tensorboard": False, "quiet": True}


def loop(name):
    """Returns an agent's loop and the class of its options."""
    found = runpy.run_path(str(files.folder() / f"{name}.py"))
    (cls,) = [v for v in found.values() if isinstance(v, type) and issubclass(v, Options) and v is not Options]
    return found["train"], cls


def trained(name, folder, **options):
    """Trains for a moment; returns the result without what names the agent."""
    train, cls = loop(name)
    result = train(cls(output=folder / f"{name}-{len(list(folder.iterdir()))}", **QUIET, **options))
    return {key: result[key] for key in ("curve", "updates", "meter", "J_uniform", "J_optimal")}


def watch(monkeypatch):
    """Notes every sample that runs draw, and every loss: (run, batch, credit, loss)."""
    samples, losses = [], []
    groups, loss = Run.groups, Run.loss

    def drawn(run, plan=None):
        samples.append(groups(run, plan))
        return samples[-1]

    def noted(run, function, batch, credit, **options):
        found = loss(run, function, batch, credit, **options)
        losses.append((run, batch, credit.clone(), found))
        return found

    monkeypatch.setattr(Run, "groups", drawn)
    monkeypatch.setattr(Run, "loss", noted)
    return samples, losses


FIRST = {
    "at_rl": (CHARTS, {}),
    "perception_r1": (CHARTS, {"accuracy": 0.8}),
    "search_p1": ("credit/Lookup-v0", {}),
    "mig": ("credit/Lookup-v0", {}),
    "gc_rl": (BOTH, {}),
    "pa_moe": ("credit/Pivots-v0", {}),
}


@pytest.mark.parametrize("name", FIRST)
def test_the_first_update_is_the_recipe_s(name, tmp_path, monkeypatch):
    """Its credit to the last bit, and the direction of its gradient: agents divide by the horizon, recipes don't."""
    env, options = FIRST[name]
    samples, losses = watch(monkeypatch)
    exact = {}
    update = Run.update

    def before(run, loss):
        if run.updates == 0:
            own = Provided(run.sampler, samples[0])
            chosen = recipe("perception_r1_noisy") if options.get("accuracy") == 0.8 else recipe_of(name)
            exact["credit"] = chosen.credit(samples[0].trajectories, own)[1]
            _, batch, credit, found = losses[0]
            weights = list(run.policy.parameters())
            plain = reinforce(run.policy.log_prob(batch), batch, credit)
            gradients = [
                torch.autograd.grad(one, weights, retain_graph=True, allow_unused=True) for one in (found, plain)
            ]
            exact["pairs"] = [
                (a * run.table.horizon, b) for a, b in zip(*gradients, strict=True) if a is not None and b is not None
            ]
        update(run, loss)

    monkeypatch.setattr(Run, "update", before)
    trained(name, tmp_path, env=env, budget=1, seed=3, points=1, rollouts=2, **options)
    assert losses[0][2].abs().max() > 0.01
    assert torch.equal(losses[0][2], exact["credit"])
    assert exact["pairs"]
    for own, plain in exact["pairs"]:
        assert own == pytest.approx(plain, rel=1e-4, abs=1e-6)


def test_mt_ppo_s_first_credit_is_gae_of_turn_rewards_with_a_critic_that_knows_nothing(tmp_path, monkeypatch):
    samples, losses = watch(monkeypatch)
    env = "credit/Lookup-v0"
    trained("mt_ppo", tmp_path, env=env, budget=1, points=1, seed=3)
    run, batch, credit, _ = losses[0]
    mask, labels = batch.mask, Provided(run.sampler, samples[0])["labels"]
    paid = batch.reward.clone()
    last = mask.sum(dim=1) - 1
    for name, pay in (("answer_seen", 0.3), ("gold_listed", 0.1)):
        rise = (labels(name)[:, 1:] - labels(name)[:, :-1]).clamp(min=0).double()
        rise[torch.arange(len(last)), last] = 0
        paid += pay * rise
    wanted = torch.zeros_like(paid)
    for t in reversed(range(mask.shape[1])):  # λ = 0.95 and V̂ = 0
        wanted[:, t] = paid[:, t] + (0.95 * wanted[:, t + 1] if t + 1 < mask.shape[1] else 0)
    assert (paid != batch.reward).any()
    assert credit[mask] == pytest.approx(whitened(wanted[mask]), abs=1e-12)


OFF = {
    "at_rl": ("grpo", {"env": "credit/Gallery-v0"}, {"rest": 1.0}),
    "perception_r1": ("grpo", {"env": CHARTS}, {"outcome": 1.0, "form": 0.0, "facts": 0.0, "repetition": 0.0}),
    "search_p1": ("grpo", {"env": SUMS}, {"outcome": 1.0, "path": 0.0, "form": 0.0, "soft": False}),
    "mig": ("grpo", {"env": "credit/Lookup-v0"}, {"alpha": 0.0}),
    "mt_ppo": ("ppo", {"env": "credit/Lookup-v0"}, {"scale": 0.0}),
    "pa_moe": (
        "gigpo",
        {"env": "credit/Pivots-v0", "policy": "phase_moe", "learners": 1, "rollouts": 8, "groups": 4, "budget": 1_500},
        {"diversity": 0.0, "balance": 0.0, "switching": 0.0, "hot": 1.0, "cold": 1.0},
    ),
}


@pytest.mark.parametrize("name", OFF)
def test_without_its_idea_an_agent_is_what_it_builds_on(name, tmp_path):
    base, same, off = OFF[name]
    fixed = {"learners": 2, "budget": 6_000, "points": 4, "seed": 5, **same}
    wanted = trained(base, tmp_path, **fixed)
    assert trained(name, tmp_path, **fixed, **off) == wanted
    assert trained(name, tmp_path, **fixed) != wanted  # with it, it is something else


def test_gc_rl_without_critiques_is_grpo_on_the_questions(tmp_path, monkeypatch):
    made = registry.make_table(BOTH)
    solving = np.where(made.labels["task"][made.start_state] == 0, made.start_probability, 0.0)
    asked = dataclasses.replace(made, start_probability=solving / solving.sum(), allow_unreachable=True)
    monkeypatch.setattr(running, "make_table", lambda _: asked)
    fixed = {"env": BOTH, "learners": 2, "budget": 3_000, "points": 4, "seed": 5}
    wanted = trained("grpo", tmp_path, **fixed)
    assert trained("gc_rl", tmp_path, **fixed, second=False) == wanted
    assert trained("gc_rl", tmp_path, **fixed) != wanted


def test_gc_rl_s_critiques_are_of_its_own_solutions_and_learners_draw_alike(tmp_path, monkeypatch):
    samples, losses = watch(monkeypatch)
    trained("gc_rl", tmp_path, env=BOTH, learners=3, groups=4, budget=1, points=1)
    run, sample = losses[0][0], samples[0]
    batch = sample.trajectories
    critique = torch.from_numpy(run.sampler.table.labels["task"].copy())[sample.truth.state[:, 0]] == 1
    owner = run.sampler.owner(batch.context)
    assert torch.bincount(owner[~critique]).tolist() == [4 * 8] * 3
    cache = mixed_cache(sample.rows(torch.nonzero(~critique).squeeze(1)), run.sampler.table)
    assert cache.mixed >= 3
    assert batch.context[critique].view(-1, 8).unique(dim=1).flatten().tolist() == cache.context.tolist()
    first, judged = losses[0][2][~critique], losses[0][2][critique]
    assert first.abs().max() > 0
    assert judged.abs().max() > 0


def test_groups_begin_where_they_may_and_evenly_over_learners():
    table = registry.make_table(BOTH)
    policy = torch.full((3 * table.n_obs, table.n_actions), 1 / table.n_actions, dtype=torch.float64)
    allowed = torch.zeros_like(policy).index_put_(
        tuple(torch.from_numpy(x) for x in np.nonzero(np.ones(policy.shape))), torch.tensor(1.0, dtype=torch.float64)
    )
    sampler = Learners(table, policy * allowed, 3, 0, "cpu")
    among = torch.from_numpy(table.labels["task"][table.start_state] == 1)
    context = sampler.starts(300, among)
    assert torch.bincount(sampler.owner(context)).tolist() == [100, 100, 100]
    assert among[context % table.n_contexts].all()
    assert torch.equal(sampler.starts(7), sampler.groups(7, 1).trajectories.context)
    with pytest.raises(CreditEnvsError, match="among: expected a context"):
        sampler.starts(4, torch.zeros_like(among))


@pytest.mark.parametrize(
    ("agent", "own"), [("perception_r1", {"accuracy": 0.5}), ("recipe", {"recipe": "perception_r1_noisy"})]
)
def test_a_judge_s_luck_is_new_in_every_update_and_each_learner_has_its_own(tmp_path, monkeypatch, agent, own):
    drawn = {}
    noise = Run.noise

    def noted(run, salt, *shape):
        found = noise(run, salt, *shape)
        drawn[run.updates, int(run.sampler.going[0])] = found
        return found

    monkeypatch.setattr(Run, "noise", noted)
    sizes = {"learners": 2, "groups": 4, "budget": 600, "points": 1}
    trained(agent, tmp_path, env=CHARTS, **own, **sizes)
    assert {(0, 0), (0, 1), (1, 0), (1, 1)} <= set(drawn)
    every = list(drawn.values())
    assert len({one.numpy().tobytes() for one in every}) == len(every)
    wrong = torch.cat([one.flatten() for one in every]) < 0.5
    assert abs(float(wrong.double().mean()) - 0.5) < 4 * 0.5 / len(wrong) ** 0.5


def test_a_transformer_tells_its_own_attention(tmp_path, monkeypatch):
    pytest.importorskip("transformers")

    def told(_):
        raise AssertionError("asked for the label that stands for attention")

    monkeypatch.setattr(Provided, "_visual", told)
    samples, losses = watch(monkeypatch)
    seen = {}

    def before(run, loss, update=Run.update):
        if run.updates == 0:
            seen["own"] = run.policy.attention(samples[0].trajectories, "picture")
        update(run, loss)

    monkeypatch.setattr(Run, "update", before)
    trained("at_rl", tmp_path, env=CHARTS, policy="transformer", groups=4, budget=1, points=1, rollouts=2, seed=3)
    run, batch, credit, _ = losses[0]
    assert isinstance(run.policy, Transformer)
    weight = at_rl_attention(batch, seen["own"], 0.15)
    plain = recipe("grpo").credit(batch, {})[1]
    assert torch.equal(credit, plain * weight)
    assert float(weight[batch.mask].mean()) == pytest.approx(0.15, abs=2 / int(batch.mask.sum()))


def test_pa_moe_cools_as_it_spends_and_its_three_terms_are_in_the_loss(tmp_path, monkeypatch):
    samples, losses = watch(monkeypatch)
    taken = []

    def before(run, loss, update=Run.update):
        said, batch = run.policy.outputs(samples[-1].trajectories), samples[-1].trajectories
        terms = diversity(said.each, said.routed, batch.mask), balance(said.routed, batch.mask)
        terms += (switching(said.routed, batch.mask),)
        added = float((loss - losses[-1][3]).detach())
        taken.append((run.policy.temperature, run.share, added, [float(x.detach()) for x in terms]))
        update(run, loss)

    monkeypatch.setattr(Run, "update", before)
    trained("pa_moe", tmp_path, env="credit/Pivots-v0", budget=4_000, points=1, rollouts=2, groups=4)
    warmth = [one[0] for one in taken]
    assert warmth[0] == 2.0
    assert warmth == sorted(warmth, reverse=True)
    assert len(warmth) > 3
    for now, (_, spent, _, _) in zip(warmth[1:], taken, strict=False):  # what the update before had spent
        assert now == pytest.approx(2.0 - 1.5 * spent, abs=0.002)
    assert temperature(1000, 2.0, 0.5, 1000) == 0.5
    for _, _, added, terms in taken:
        assert added == pytest.approx(sum(terms), abs=1e-6)
        assert min(terms) >= 0
    assert sum(taken[0][3]) > 0


RESUMED = {
    "perception_r1": {"env": CHARTS, "accuracy": 0.7},
    "at_rl": {"env": CHARTS},
    "gc_rl": {"env": BOTH},
    "mt_ppo": {"env": "credit/Lookup-v0", "groups": 16},
    "pa_moe": {"env": "credit/Pivots-v0", "rollouts": 16},
}


@pytest.mark.parametrize("name", RESUMED)
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(name, tmp_path, monkeypatch):
    """The judge's luck, the cache, the critic and the router's temperature are functions of what a checkpoint holds."""
    train, cls = loop(name)
    fixed = {"groups": 4, "group_size": 4 if name != "mt_ppo" else 1, "budget": 1_500, "points": 5, "seed": 2}
    fixed |= {**QUIET, **RESUMED[name]}
    train(cls(**fixed, output=tmp_path / "whole"))
    monkeypatch.setattr(running, "_KEPT_EVERY_SECONDS", 0.0)
    following = Run.next

    def cut(run, batch=None):
        following(run, batch)
        if run.updates == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as cutting:
        cutting.setattr(Run, "next", cut)
        with pytest.raises(KeyboardInterrupt):
            train(cls(**fixed, output=tmp_path / "cut"))
    train(cls(**fixed, output=tmp_path / "cut"))
    whole, again = (json.loads((tmp_path / which / "result.json").read_text()) for which in ("whole", "cut"))
    assert whole["updates"] > 4
    assert whole == again


def test_agents_whose_credit_has_a_meaning_are_scored_by_their_recipe():
    for name in ("at_rl", "perception_r1", "search_p1", "mig", "gc_rl", "pa_moe"):
        found = recipe_of(name)
        assert found is not None
        assert found.name == name
    assert recipe_of("mt_ppo") is None
    assert recipe_of("pa_moe").pieces == recipe("gigpo").pieces
