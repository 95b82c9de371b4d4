"""A language model as a policy: likelihoods by hand, prompts, windows, training, on a tiny model saved by the test itself."""

import re
import sys

import numpy as np
import pytest
import torch

from credit_envs import oracle
from credit_envs.credit.grpo import grpo
from credit_envs.errors import CreditEnvsError, MissingExtraError
from credit_envs.losses.reinforce import reinforce
from credit_envs.policies.language import Language
from credit_envs.policies.memory import tabulated
from credit_envs.policies.transformer import Transformer
from credit_envs.registry import make_table
from credit_envs.sampling.sampler import Sampler
from credit_envs.table.build import from_outcomes
from credit_envs.training import Options, Run
from credit_envs.training.learners import simulate

transformers = pytest.importorskip("transformers")

COMMANDS = ("take", "take lamp", "go north", "wait here a while")


def lamps():
    """Three states; in each another command is right (1), ``go north`` goes on, everything else ends with nothing."""
    rows = []
    for state in range(3):
        for action in range(4):
            if state == 2 and action == 3:
                continue
            onward = action == 2 and state < 2
            rows.append((state, action, state + 1 if onward else 3, 1.0, float(action == state % 2), not onward))
    names = ("state", "action", "successor", "probability", "reward", "terminal")
    columns = dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True))
    return from_outcomes("lamps", 4, 4, columns, start={0: 0.5, 1: 0.5}, horizon=3, action_names=COMMANDS)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = re.findall(r"\S+", "<unk> <end> State 0 1 2 3 . > Find the take lamp go north wait here a while")
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<end>")
    config = transformers.Qwen2Config(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = transformers.Qwen2ForCausalLM(config)
        for weight in model.parameters():
            weight.data += 0.3 * torch.randn_like(weight)
    folder = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def language(checkpoint, table=None, **options):
    return Language(lamps() if table is None else table, checkpoint, local_files_only=True, **options)


def by_hand(policy, prompt, commands, normalise):
    """Probabilities of commands after a prompt, one token and one command at a time."""
    end = policy.tokenizer.eos_token_id
    scores = []
    for command in commands:
        words = [*policy.tokenizer(command)["input_ids"], end]
        ids = [end, *policy.tokenizer(prompt)["input_ids"]]
        total = 0.0
        for word in words:
            with torch.no_grad():
                logits = policy.model(input_ids=torch.tensor([ids])).logits[0, -1].double()
            total += float(torch.log_softmax(logits, 0)[word])
            ids.append(word)
        scores.append(total / len(words) ** normalise)
    return torch.softmax(torch.tensor(scores, dtype=torch.float64), 0)


@pytest.mark.parametrize("normalise", [0.0, 0.5, 1.0])
def test_commands_are_weighed_by_their_likelihood(checkpoint, normalise):
    policy = language(checkpoint, normalise=normalise, instruction="Find the lamp")
    log = policy.log_probs(torch.tensor([[0], [2]]), torch.zeros(2, 1, dtype=torch.int64)).exp()[:, 0].detach()
    for row, state, commands in ((0, 0, COMMANDS), (1, 2, COMMANDS[:3])):
        prompt = f"Find the lamp\n{policy._text(state)}\n>"
        assert policy.prompt([], [], state) == prompt
        expected = by_hand(policy, prompt, commands, normalise)
        torch.testing.assert_close(log[row, : len(commands)], expected, atol=1e-5, rtol=1e-4)
        assert float(log[row, len(commands) :].sum()) == 0


def test_the_prompt_holds_the_window(checkpoint):
    policy = language(checkpoint, context=3)
    texts = [policy._text(i) for i in range(3)]
    assert policy.prompt([-1, 0], [-1, 2], 1) == f"{texts[0]}\n> go north\n{texts[1]}\n>"
    assert policy.prompt([0, 1], [2, 2], 2) == f"{texts[0]}\n> go north\n{texts[1]}\n> go north\n{texts[2]}\n>"
    obs, action = torch.tensor([[0, 1, 2]]), torch.tensor([[2, 2, 0]])
    found = policy.log_probs(obs, action)[0, 2].exp().detach()
    expected = by_hand(policy, policy.prompt([0, 1], [2, 2], 2), COMMANDS[:3], 0)
    torch.testing.assert_close(found[:3], expected, atol=1e-5, rtol=1e-4)
    other = policy.log_probs(torch.tensor([[1, 1, 2]]), action)[0, 2].exp().detach()
    assert not torch.allclose(found, other)
    short = language(checkpoint, context=2)
    rows = [short.log_probs(torch.tensor([o]), action)[0, 2] for o in ([0, 1, 2], [1, 1, 2], [0, 0, 2])]
    assert torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0], rows[2])


@pytest.mark.parametrize("context", [1, 2, 3])
def test_one_step_at_a_time_is_the_whole_episode_and_the_table(checkpoint, context):
    table = lamps()
    policy = language(checkpoint, context=context)
    sampler = Sampler(table, policy, seed=1)
    sample = sampler.groups(30, 4)
    batch = sample.trajectories
    torch.testing.assert_close(policy.log_prob(batch).detach(), batch.log_prob, atol=1e-5, rtol=1e-5)
    found, exact = tabulated(policy, table)
    mean, error = simulate(table, policy, 1, 3000, seed=2)
    assert abs(float(mean) - oracle.evaluate(found.table, exact).J) < 2 * float(error)
    forks = sampler.branches(sample, torch.tensor([0, 1]), torch.tensor([0, 0])).trajectories
    torch.testing.assert_close(policy.log_prob(forks).detach(), forks.log_prob, atol=1e-5, rtol=1e-5)


def test_how_many_tokens_at_once_is_of_no_effect(checkpoint):
    obs, action = torch.tensor([[0, 1, 2], [1, 2, 0]]), torch.zeros(2, 3, dtype=torch.int64)
    one, all_at_once = (language(checkpoint, tokens=n).logits(obs, action) for n in (1, 1 << 14))
    torch.testing.assert_close(one, all_at_once, atol=1e-5, rtol=1e-5)


def test_every_window_is_evaluated_once(checkpoint):
    policy = language(checkpoint)
    rows = []
    inner = policy._evaluated
    policy._evaluated = lambda pairs: (rows.append(len(pairs)), inner(pairs))[1]
    Sampler(lamps(), policy).groups(50, 4)
    assert sum(rows) == 4 + 4 + 3  # one prompt per state and one row per admissible command
    policy.logits(torch.zeros(5, 3, dtype=torch.int64), torch.zeros(5, 3, dtype=torch.int64))
    assert sum(rows) == 4 + 4 + 3 + 4


def test_it_learns(checkpoint, tmp_path):
    table = lamps()
    options = Options(
        env="credit/Chat-v0",
        lr=0.01,
        budget=1500,
        points=1,
        rollouts=400,
        groups=8,
        output=tmp_path,
        quiet=True,
        tensorboard=False,
    )
    run = Run("language", options, table, policy=language(checkpoint))
    while run.going():
        batch = run.groups().trajectories
        run.update(run.loss(reinforce, batch, grpo(batch)))
        run.next(batch)
    curve = run.finish()["curve"]
    assert curve[-1]["J"][0] > max(0.9, curve[0]["J"][0] + 0.2)


def test_it_plays_a_real_text_table(checkpoint):
    table = make_table("credit/Chat-v0")
    policy = language(checkpoint, table)
    batch = Sampler(table, policy).groups(2, 2).trajectories
    assert float(policy.allowed[batch.obs[batch.mask], batch.action[batch.mask]].float().min()) == 1
    assert batch.log_prob[batch.mask].max() <= 0


def test_refusals(checkpoint, tmp_path, monkeypatch):
    with pytest.raises(CreditEnvsError, match="no checkpoint can be loaded"):
        language(tmp_path / "nothing")
    with pytest.raises(CreditEnvsError, match="view='grid': a language model reads words"):
        language(checkpoint, make_table("credit/KeyRooms-v0"), view="grid")
    with pytest.raises(CreditEnvsError, match=r"normalise=2: expected a number in \[0, 1\]"):
        language(checkpoint, normalise=2)
    with pytest.raises(CreditEnvsError, match="learners=2, expected 1"):
        language(checkpoint, learners=2)
    monkeypatch.setitem(sys.modules, "transformers", None)
    for make in (lambda: language(checkpoint), lambda: Transformer(lamps())):
        with pytest.raises(MissingExtraError, match=r"pip install 'credit-envs\[transformers\]'"):
            make()
