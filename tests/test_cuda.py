"""On a CUDA card: every agent trains, results are the CPU's to rounding, a killed run goes on, memory runs out with advice."""

import json

import numpy as np
import pytest
import torch

from credit_envs.credit.gigpo import gigpo
from credit_envs.losses.reinforce import reinforce
from credit_envs.training import Options, Run, files

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA card")

SMALL = ["--groups", "8", "--group-size", "8", "--budget", "6000", "--points", "4", "--no-tensorboard", "--quiet"]
SPECIAL = {
    "hiper": "credit/KeyRooms-v0?plan=4",
    "vppo": "credit/Charts-v0",
    "mt_grpo": "credit/Lookup-v0",
    "loop": "credit/Apps-v0",
    "at_rl": "credit/Gallery-v0",
    "perception_r1": "credit/Charts-v0",
    "search_p1": "credit/Lookup-v0",
    "mig": "credit/Lookup-v0",
    "gc_rl": "credit/Sums-v0?base=4&columns=2&task=both",
    "mt_ppo": "credit/Lookup-v0",
}
ALONE = ("pa_moe",)


@pytest.mark.parametrize("name", files.agents())
def test_every_agent_trains_as_on_the_cpu(name, tmp_path):
    if name == "recipe":
        pytest.skip("runs what it is told")
    env = SPECIAL.get(name, "credit/KeyRooms-v0?stages=2")
    curves = {}
    for device in ("cpu", "cuda"):
        folder, learners = tmp_path / device, "1" if name in ALONE else "2"
        place = ["--env", env, "--device", device, "--output", str(folder), "--learners", learners]
        assert files.run(name, [*place, *SMALL]) == 0
        curves[device] = json.loads((folder / "result.json").read_text())["curve"]
    first, second = ([point["J"] for point in curves[d]] for d in ("cpu", "cuda"))
    # equal draws at first; later a rounded probability may turn a draw
    assert np.allclose(first[0], second[0])
    assert np.allclose(first[1], second[1], atol=0.05)
    assert np.isfinite(second[-1]).all()


def options_of(folder, policy="tabular"):
    sizes = {"groups": 8, "group_size": 8, "budget": 6000, "points": 4}
    env = "credit/KeyRooms-v0?stages=2"
    return Options(env=env, policy=policy, **sizes, device="cuda", output=folder, quiet=True, tensorboard=False)


def loop(options, updates=None):
    """The loop of an agent, stopped after some updates as a kill between two of them would."""
    run = Run("gigpo", options)
    while run.going():
        batch = run.groups().trajectories
        run.update(run.loss(reinforce, batch, gigpo(batch)))
        run.next(batch)
        if run.updates == updates:
            run._keep()
            return run
    run.finish()
    return run


@pytest.mark.parametrize("policy", ["tabular", "mlp", "cnn", "gru"])
def test_stopped_and_resumed_on_the_card(policy, tmp_path):
    whole = loop(options_of(tmp_path / "whole", policy))
    loop(options_of(tmp_path / "stopped", policy), updates=3)
    resumed = loop(options_of(tmp_path / "stopped", policy))
    assert resumed.updates == whole.updates
    same = [torch.equal(a, b) for a, b in zip(whole.policy.parameters(), resumed.policy.parameters(), strict=True)]
    print(f"{policy}: {sum(same)} of {len(same)} tensors equal to the bit")
    assert np.allclose(whole.curve[-1]["J"], resumed.curve[-1]["J"], atol=0.05)


def test_out_of_memory_says_what_to_lower(tmp_path, capsys):
    sizes = ["--groups", "1000000", "--group-size", "4096", "--output", str(tmp_path), "--quiet", "--no-tensorboard"]
    assert files.run("gigpo", ["--env", "credit/KeyRooms-v0", "--device", "cuda", *sizes]) != 0
    assert "out of memory" in capsys.readouterr().err
