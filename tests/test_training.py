"""Training: learners side by side, what they are charged, resuming after kills, alarms, and runs that must stop."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from batches import make_batch
from strategies import make_random_table

from credit_envs.credit.gigpo import gigpo
from credit_envs.credit.grpo import grpo
from credit_envs.errors import CreditEnvsError
from credit_envs.losses.dpo import dpo
from credit_envs.losses.ppo import ppo
from credit_envs.losses.reinforce import reinforce
from credit_envs.oracle import evaluate, uniform
from credit_envs.plans.tree import trees
from credit_envs.plans.uncertainty import uncertainty_filter
from credit_envs.training import Options, Run, checkpoint, files, start
from credit_envs.training import run as running
from credit_envs.training.alarms import Alarms, norms_of, vitals
from credit_envs.training.learners import Learners

SMALL = "credit/Chat-v0"


def small(tmp_path, **changes):
    fixed = {
        "env": SMALL,
        "groups": 4,
        "group_size": 4,
        "budget": 2000,
        "points": 5,
        "tensorboard": False,
        "quiet": True,
    }
    return Options(**{**fixed, "output": tmp_path / "run", **changes})


def loop(options, updates=None, name="gigpo", table=None):
    """The loop of an agent, stopped after some updates as a kill between two of them would."""
    run = Run(name, options, table)
    while run.going():
        batch = run.groups().trajectories
        run.update(run.loss(reinforce, batch, gigpo(batch)))
        run.next(batch)
        if updates is not None and run.updates >= updates:
            run._keep()
            return run
    run.finish()
    return run


# -- learners ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table():
    return make_random_table(5, n_states=14, horizon=6)


def sampler_of(table, learners, seed=0):
    run = Run("x", Options(learners=learners, seed=seed, quiet=True, tensorboard=False), table)
    return run.sampler


@pytest.mark.parametrize("plan", [None, trees])
def test_groups_are_spread_evenly_over_learners(table, plan):
    sampler = sampler_of(table, 3)
    sample = sampler.groups(12, 4) if plan is None else plan(sampler, 12, 4)
    batch = sample.trajectories
    owner = sampler.owner(batch.context)
    assert torch.bincount(owner).tolist() == [batch.n_rollouts // 3] * 3
    # no policy row, no anchor and no group is shared between learners
    for of in (batch.policy_row, batch.anchor, batch.group[:, None].expand_as(batch.mask)):
        ids = [set(of[owner == k][batch.mask[owner == k]].tolist()) for k in range(3)]
        assert not ids[0] & ids[1] | ids[1] & ids[2] | ids[0] & ids[2]


def test_each_learner_sees_the_environment_as_it_is(table):
    """z-test of every learner's mean return against the exact one."""
    sampler = sampler_of(table, 4)
    batch = sampler.groups(4 * 3000, 1).trajectories
    exact = evaluate(table, uniform(table)).J
    for k in range(4):
        returns = batch.returns[sampler.owner(batch.context) == k]
        assert abs(float(returns.mean()) - exact) < 4 * float(returns.std()) / len(returns) ** 0.5


def test_learners_have_luck_of_their_own(table):
    sampler = sampler_of(table, 2)
    batch = sampler.groups(200, 1).trajectories
    owner = sampler.owner(batch.context)
    first, second = (batch.policy_action[owner == k] for k in (0, 1))
    assert not torch.equal(first, second)


def test_what_each_learner_is_charged_adds_up_to_the_meter(table):
    sampler = sampler_of(table, 3)
    sample = sampler.groups(6, 4)
    lengths = sample.trajectories.lengths.double()
    own = torch.zeros(3, dtype=torch.float64).index_add_(0, sampler.owner(sample.trajectories.context), lengths)
    assert torch.equal(sampler.taken, own)
    rollout, step = torch.nonzero(sample.trajectories.mask, as_tuple=True)
    sampler.continuations(sample, rollout, step, 3)
    sampler.branches(sample, rollout[:7], step[:7])
    sampler.search(sample, rollout[:5], step[:5], 8)
    assert float(sampler.taken.sum()) == sampler.meter.env_steps
    # continuations of one learner's steps alone are charged to it alone
    mine = torch.nonzero(sampler.owner(sample.trajectories.context)[rollout] == 1).squeeze(1)
    before = sampler.taken.clone()
    sampler.continuations(sample, rollout[mine], step[mine], 2)
    assert ((sampler.taken - before) > 0).tolist() == [False, True, False]


def test_losses_and_gradients_are_those_of_each_learner_alone(tmp_path):
    """One update of three learners side by side moves each one's logits as an update on its own rows alone would."""
    options = small(tmp_path, learners=3, groups=4)
    run = Run("grpo", options)
    batch = run.groups().trajectories
    owner = run.sampler.owner(batch.context)
    credit = grpo(batch)
    clip = {"mode": "token-mean", "dual": None}
    log_prob = run.policy.log_prob(batch)
    loss = run.loss(ppo, batch, credit, **clip)
    (joint,) = torch.autograd.grad(3 * loss, run.policy.logits)
    for k in range(3):
        rows = owner == k
        own = batch.replace(**{n: v[rows] for n, v in vars(batch).items() if n != "policy_table" and v is not None})
        (alone,) = torch.autograd.grad(
            ppo(log_prob[rows], own, credit[rows], **clip), run.policy.logits, retain_graph=True
        )
        mine = slice(k * run.table.n_obs, (k + 1) * run.table.n_obs)
        assert torch.allclose(joint[mine], alone[mine], atol=1e-15)
        assert alone[mine].abs().sum() > 0


def test_pairs_of_learners_with_few_and_many_count_alike(tmp_path):
    """A mean over pairs is taken learner by learner, so that nobody's pairs weigh less because others have more."""
    run = Run("x", small(tmp_path, learners=2))
    batch = run.groups().trajectories
    owner = run.sampler.owner(batch.context)
    keep = torch.cat([torch.nonzero(owner == 0).squeeze(1)[:2], torch.nonzero(owner == 1).squeeze(1)])
    part = {n: v[keep] for n, v in vars(batch).items() if n != "policy_table" and v is not None}
    pairs = batch.replace(**{**part, "group": torch.arange(len(keep)) // 2})
    (gradient,) = torch.autograd.grad(2 * run.loss(dpo, pairs, pairs.reward), run.policy.logits)
    few = pairs.replace(**{n: v[:2] for n, v in vars(pairs).items() if n != "policy_table" and v is not None})
    (alone,) = torch.autograd.grad(dpo(run.policy.log_prob(few), few, few.reward), run.policy.logits)
    assert torch.allclose(gradient[: run.table.n_obs], alone[: run.table.n_obs], atol=1e-15)
    assert alone.abs().sum() > 0


def test_each_and_apart_show_a_learner_what_it_would_see_alone(tmp_path):
    run = Run("x", small(tmp_path, learners=3))
    sample = run.groups()
    batch = sample.trajectories
    whole = run.apart(batch, lambda b: (b.returns - b.returns.mean())[:, None] * b.mask)
    for learner, (index, own, provided) in enumerate(run.each(sample)):
        assert torch.equal(own.trajectories.returns, batch.returns[index])
        assert sorted(set(own.trajectories.group.tolist())) == list(range(4))
        apart = (batch.returns[index] - batch.returns[index].mean())[:, None] * batch.mask[index]
        assert torch.equal(whole[index], apart)
        fresh = provided["fresh"](4)
        assert set(run.sampler.owner(fresh.context).tolist()) == {learner}
    assert len(run.sampler.going) == 3


def test_plans_that_compare_groups_run_learner_by_learner(tmp_path):
    run = Run("x", small(tmp_path, learners=3))
    batch = run.groups(run.alone(uncertainty_filter)).trajectories
    owner = run.sampler.owner(batch.context)
    assert torch.bincount(owner).tolist() == [16, 16, 16]
    assert torch.bincount(batch.group).tolist() == [4] * 12
    assert all(len(set(owner[batch.group == g].tolist())) == 1 for g in range(12))


def test_learners_rest_once_their_budget_is_spent(tmp_path):
    run = Run("x", small(tmp_path, learners=2, budget=100, points=2))
    run.going()
    batch = run.groups().trajectories
    run.update(run.loss(reinforce, batch, gigpo(batch)))
    run.account.spent[0] = 100.0
    run.next(batch)
    assert run.sampler.going.tolist() == [1]
    rest, mine = run.policy.logits[: run.table.n_obs].clone(), run.policy.logits[run.table.n_obs :].clone()
    batch = run.groups().trajectories
    assert set(run.sampler.owner(batch.context).tolist()) == {1}
    assert batch.n_rollouts == 16
    run.update(run.loss(reinforce, batch, gigpo(batch)))
    assert torch.equal(run.policy.logits[: run.table.n_obs], rest)
    assert not torch.equal(run.policy.logits[run.table.n_obs :], mine)


def test_the_curve_is_exact_and_every_learner_spends_its_budget(tmp_path):
    run = loop(small(tmp_path, learners=3))
    result = json.loads((run.folder / "result.json").read_text())
    assert len(result["curve"]) == 6
    assert result["curve"][0]["steps"] == [0.0] * 3
    assert result["curve"][0]["J"] == pytest.approx([result["J_uniform"]] * 3, abs=1e-12)
    marks = np.array([point["steps"] for point in result["curve"]])
    assert (marks >= 2000 * np.arange(6)[:, None] / 5).all()
    assert (marks[-1] < 2000 + 4 * 4 * run.table.horizon + 1).all()
    assert marks[-1].sum() == result["meter"]["env_steps"]
    probability = run.policy.table().numpy().reshape(3, run.table.n_obs, -1)
    exact = [evaluate(run.table, p[run.table.emission.base]).J for p in probability]
    assert result["curve"][-1]["J"] == pytest.approx(exact, abs=1e-12)
    assert min(result["curve"][-1]["normalised"]) > 0.3


# -- kills, resuming, refusals -------------------------------------------------------------------------------------


def _child(name, folder, sizes):
    running._KEPT_EVERY_SECONDS = 0.0
    options = "--env credit/FrozenLake-v0 --budget 6000 --groups 4 --learners 2 --points 6 --seed 3"
    files.run(name, [*options.split(), *sizes, "--output", str(folder), "--no-tensorboard", "--quiet"])


@pytest.mark.parametrize(("name", "sizes"), [("gigpo", ["--group-size", "4"]), ("ppo", ["--groups", "16"])])
def test_killed_at_random_moments_and_resumed_is_as_not_killed(tmp_path, name, sizes):
    """Also for an agent with a model of its own beside the policy (PPO's critic)."""
    context, luck = multiprocessing.get_context("fork"), random.Random()
    began = time.monotonic()
    _child(name, tmp_path / "whole", sizes)
    lasts = time.monotonic() - began
    kills = 0
    for _ in range(30):
        child = context.Process(target=_child, args=(name, tmp_path / "killed", sizes))
        child.start()
        child.join(lasts * luck.uniform(0.2, 0.9) if kills < 3 else None)
        if not child.is_alive():
            assert child.exitcode == 0
            if kills:
                break
            lasts /= 2  # quicker than thought: once more, and kill it sooner
            shutil.rmtree(tmp_path / "killed")
            continue
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        kills += (tmp_path / "killed" / "checkpoint.safetensors").is_file()
    assert kills >= 1
    whole, killed = (json.loads((tmp_path / which / "result.json").read_text()) for which in ("whole", "killed"))
    assert killed == whole
    tensors = [checkpoint.load(tmp_path / which / "checkpoint.safetensors")[0] for which in ("whole", "killed")]
    assert tensors[0].keys() == tensors[1].keys()
    assert all(torch.equal(tensors[0][key], tensors[1][key]) for key in tensors[0])


def test_resuming_goes_on_from_the_update_that_was_kept(tmp_path):
    stopped = loop(small(tmp_path), updates=7)
    again = Run("gigpo", small(tmp_path))
    again.going()
    assert again.updates == 7
    assert torch.equal(again.policy.logits, stopped.policy.logits)
    anew = Run("gigpo", small(tmp_path, resume=False))
    anew.going()
    assert anew.updates == 0


def test_a_checkpoint_of_something_else_is_refused_and_both_are_named(tmp_path, monkeypatch):
    run = loop(small(tmp_path), updates=2)
    other = Run("gigpo", small(tmp_path), make_random_table(1, n_states=8, horizon=4))
    here, there = run.table.fingerprint, other.table.fingerprint
    with pytest.raises(CreditEnvsError, match=f"fingerprint is '{here}' there and '{there}' here"):
        other.going()
    with pytest.raises(CreditEnvsError, match="agent is 'gigpo' there and 'grpo' here"):
        Run("grpo", small(tmp_path)).going()
    with pytest.raises(CreditEnvsError, match="options is"):
        Run("gigpo", small(tmp_path, seed=1)).going()
    version = checkpoint.load(run.folder / "checkpoint.safetensors")[1]["version"]
    monkeypatch.setattr(running, "provenance", lambda: {"credit_envs": "9.9"})
    with pytest.raises(CreditEnvsError, match=f"version is '{version}' there and '9.9' here"):
        Run("gigpo", small(tmp_path)).going()


def test_a_damaged_checkpoint_is_refused(tmp_path):
    run = loop(small(tmp_path), updates=2)
    path = run.folder / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CreditEnvsError, match="cannot be read"):
        Run("gigpo", small(tmp_path)).going()


@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_a_diverging_run_stops_names_the_step_and_leaves_its_last_checkpoint(tmp_path, poison):
    run = loop(small(tmp_path), updates=3)
    good = checkpoint.load(run.folder / "checkpoint.safetensors")[0]["policy.logits"]
    run = Run("gigpo", small(tmp_path))
    assert run.going()
    batch = run.groups().trajectories
    # sqrt has an infinite slope at 0, which times 0 gives NaN in the gradient of a finite loss
    poisoned = {
        "loss": run.policy.log_prob(batch).sum() * float("nan"),
        "gradient": (run.policy.logits.sum() * 0).sqrt(),
    }
    with pytest.raises(CreditEnvsError, match=r"diverged at update 3 \(environment step \d+\).*checkpoint"):
        run.update(poisoned[poison])
    assert torch.equal(checkpoint.load(run.folder / "checkpoint.safetensors")[0]["policy.logits"], good)
    assert torch.equal(run.policy.logits.detach(), good)


# -- alarms ------------------------------------------------------------------------------------------------------------


def test_vitals_of_a_batch_written_by_hand():
    anchors = [[1, 2, 3], [1, 2, 4], [1, 5, 5], [1, 1, 1]]
    batch = make_batch([[0, 0, 1], [0, 0, 0], [0, 0, 1], [0, 0, 1]], anchors, group=[0, 0, 1, 1])
    found = vitals(batch)
    assert found["return"] == 0.75
    assert found["spread"] == pytest.approx(0.5**0.5 / 2)
    assert found["degenerate"] == 0.5
    assert found["length"] == 3
    # group 0: 1, 2 shared by both rollouts (4 of 6 steps); group 1: 1 (4 of 6 steps), 5 only by one rollout
    assert found["revisits"] == pytest.approx(8 / 12)
    assert found["anchor_group"] == pytest.approx((2 * 4 + 1 * 2 + 4 * 4 + 2 * 2) / 12)


def test_alarms_are_raised_once_each():
    alarms = Alarms()
    well = {"grad_norm": 1.0, "entropy": 1.0, "spread": 0.5, "degenerate": 0.1}
    for update in range(12):
        assert alarms.watch(update, well) == []
    (spike,) = alarms.watch(12, {**well, "grad_norm": 11.0})
    assert "gradient norm 11, usually 1" in spike
    assert alarms.watch(13, {**well, "grad_norm": 12.0}) == []
    fallen = alarms.watch(14, {**well, "entropy": 0.01, "spread": 0.01, "degenerate": 1.0})
    assert len(fallen) == 3
    assert alarms.raised == {"grad_norm": 12, "entropy": 14, "spread": 14, "degenerate": 14}


def test_a_solved_task_raises_no_alarm_for_having_nothing_left_to_decide():
    alarms = Alarms()
    for update in range(12):
        alarms.watch(update, {"grad_norm": 1.0, "entropy": 1.0, "spread": 0.5, "degenerate": 0.0})
    calm = {"grad_norm": 0.0, "entropy": 0.0, "spread": 0.0, "degenerate": 1.0}
    assert alarms.watch(12, calm, solved=True) == []


def test_gradient_norms_are_per_learner():
    gradient = torch.tensor([[3.0, 4.0], [0.0, 0.0], [5.0, 12.0], [0.0, 0.0]])
    assert norms_of([gradient], 2).tolist() == [5.0, 13.0]


def test_the_bound_on_gradient_norms_holds_for_each_learner(tmp_path):
    run = Run("x", small(tmp_path, learners=2, max_grad_norm=1e-6))
    run.optimizer = torch.optim.SGD(run.policy.parameters(), lr=1.0)
    batch = run.groups().trajectories
    before = run.policy.logits.detach().clone()
    run.update(run.loss(reinforce, batch, gigpo(batch)))
    moved = (run.policy.logits.detach() - before).view(2, -1).norm(dim=1)
    assert moved.tolist() == pytest.approx([1e-6, 1e-6], rel=1e-6)


# -- the shell ---------------------------------------------------------------------------------------------------------


@dataclass
class Tiny(Options):
    """Trains.

    Attributes:
        gamma: Discount.
    """

    gamma: float = 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "credit/KeyRoms-v0"], "did you mean 'credit/KeyRooms-v0'"),
        (["--learners", "0"], "learners=0: expected an integer in"),
        (["--policy", "tabulr"], "did you mean 'tabular'"),
        (["--env", "credit/KeyRooms-v0?slipp=0.1"], "did you mean"),
        pytest.param(
            ["--device", "cuda"],
            "torch sees no CUDA card here",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA card"),
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, arguments, message):
    assert start(lambda options: Run("x", options), Tiny, [*arguments, "--quiet"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_unknown_option_names_the_nearest(capsys):
    with pytest.raises(SystemExit) as ended:
        start(lambda options: {}, Tiny, ["--learner", "3"])
    assert ended.value.code == 2
    assert "--learners" in capsys.readouterr().err


def test_out_of_memory_says_what_to_lower(capsys):
    def train(options):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    assert start(train, Tiny, ["--groups", "512"]) == 2
    error = capsys.readouterr().err
    assert "out of memory on cpu; lower learners=1, groups=512 or group_size=8" in error
    assert error.count("\n") == 1


def test_help_explains_every_option(capsys):
    with pytest.raises(SystemExit):
        start(lambda options: {}, Tiny, ["--help"])
    text = capsys.readouterr().out
    for name in Options.__dataclass_fields__:
        assert f"--{name.replace('_', '-')}" in text, name
    assert "Discount." in text
    assert "Environment steps per learner" in text


def test_event_files_are_written_where_tensorboard_is(tmp_path):
    pytest.importorskip("tensorboard")
    run = loop(replace(small(tmp_path, budget=300), tensorboard=True))
    assert any((run.folder / "tensorboard").iterdir())


def test_time_is_not_part_of_a_result(tmp_path):
    """Two runs of one command agree in every number."""
    first = loop(small(tmp_path, budget=500))
    time.sleep(0.01)
    second = loop(small(tmp_path, budget=500, output=tmp_path / "other"))
    one, two = (json.loads((run.folder / "result.json").read_text()) for run in (first, second))
    assert one == two


def test_learners_need_no_table_of_their_own():
    table = make_random_table(2, n_states=6, horizon=3)
    probability = torch.full((2 * table.n_obs, table.n_actions), 1 / table.n_actions, dtype=torch.float64)
    assert Learners(table, probability, 2, 0, "cpu").table.n_states == 2 * table.n_states
