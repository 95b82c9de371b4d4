"""Self-checks know right from wrong; grading recognises every known slip as itself and explains broken files."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from credit_envs import make_table
from credit_envs.cli import main
from credit_envs.credit import gigpo as library_gigpo
from credit_envs.credit import grpo as library_grpo
from credit_envs.errors import CreditEnvsError
from credit_envs.leaderboard.room import Room
from credit_envs.teaching import Mistake, Question, check, judge
from credit_envs.teaching import submission as handed
from credit_envs.teaching.assignments import ASSIGNMENTS
from credit_envs.teaching.grade import MEMORY, POINTS, grade
from credit_envs.teaching.learning import learn
from credit_envs.teaching.recognise import recognise
from credit_envs.teaching.scenes import scenes

SOLUTIONS = Path(__file__).parent / "submissions"
TEMPLATES = Path(handed.__file__).parent / "templates"

# -- self-checks ------------------------------------------------------------------------------------------------------


def question(truth, **fields):
    return Question("1.1", lambda: truth, **fields)


@pytest.mark.parametrize(
    ("truth", "answer", "right", "said"),
    [
        (0.25, 0.25, True, ""),
        (0.25, "0.25", True, ""),
        (0.25, -0.25, False, "sign"),
        (0.25, 25, False, "percent"),
        (0.25, 0.26, False, ""),
        (0.25, "a quarter", False, "Expected a number"),
        (np.array([1.0, 2.0, 4.0]), torch.tensor([1, 2, 4]), True, ""),
        (np.array([1.0, 2.0, 4.0]), [2, 4, 8], False, "times 2"),
        (np.array([1.0, 2.0, 4.0]), [2, 3, 5], False, "plus 1"),
        (np.array([1.0, 2.0, 4.0]), [1, 2], False, r"shape (3,), got (2,)"),
        (np.array([1.0, 2.0, 4.0]), [1, 2, np.nan], False, "NaN"),
        ("GRPO", " grpo ", True, ""),
        ("GRPO", "rloo", False, ""),
        (True, "true", True, ""),
    ],
)
def test_an_answer_is_compared_with_the_truth(truth, answer, right, said):
    verdict = judge(question(truth), answer)
    assert verdict.answered
    assert verdict.right is right
    assert said in verdict.feedback


def test_dots_are_no_answer():
    assert not judge(question(1.0), ...).answered
    assert not judge(question(1.0, use=lambda f: f(2)), lambda x: None).answered


def test_known_mistakes_are_told_and_never_beat_the_truth():
    asked = question(2.0, mistakes=(Mistake(lambda: 3.0, "that is three"), Mistake(lambda: 2.0, "never said")))
    assert judge(asked, 3).feedback == "that is three"
    assert judge(asked, 2).right


def test_a_function_that_raises_is_an_answer():
    verdict = judge(question(1.0, use=lambda f: f()), lambda: 1 / 0)
    assert not verdict.right
    assert "ZeroDivisionError" in verdict.feedback


def test_strict_checks_raise_on_wrong_answers_only(monkeypatch, capsys):
    monkeypatch.setenv("CREDIT_ENVS_STRICT_CHECKS", "1")
    check(question(1.0), 1.0)
    check(question(1.0), ...)
    with pytest.raises(AssertionError, match="not yet"):
        check(question(1.0), 2.0)
    assert "1.1 ✓ right" in capsys.readouterr().out


def test_unknown_questions_are_named():
    with pytest.raises(CreditEnvsError, match="99"):
        judge("99.1", 0)


# -- what a credit is recognised as ----------------------------------------------------------------------------------

PAIRS = [(name, slip.name) for name, one in ASSIGNMENTS.items() for slip in one.slips]


def made(assignment, tried, **switches):
    return [assignment.credit(s.batch, **{n: s.needs[n] for n in assignment.needs}, **switches) for s in tried]


@pytest.fixture(scope="module")
def tried():
    return {(name, seed): scenes(one.gamma, seed) for name, one in ASSIGNMENTS.items() for seed in (0, 1, 2)}


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_the_right_credit_is_right_whatever_its_noise_in_the_last_digits(name, tried):
    for seed in (0, 1, 2):
        credit = made(ASSIGNMENTS[name], tried[name, seed])
        found = recognise(ASSIGNMENTS[name], tried[name, seed], [c.float().double() for c in credit])
        assert (found.kind, found.wrong_places) == ("right", ())


@pytest.mark.parametrize(("name", "slip"), PAIRS)
def test_every_slip_is_recognised_as_itself(name, slip, tried):
    one = ASSIGNMENTS[name]
    switches = next(s.switches for s in one.slips if s.name == slip)
    for seed in (0, 1):
        found = recognise(one, tried[name, seed], made(one, tried[name, seed], **switches))
        assert found.kind == "slips"
        assert [s.name for s in found.slips] == [slip]


def test_two_slips_at_once_a_factor_and_noise_are_recognised(tried):
    one, batch = ASSIGNMENTS["rloo"], tried["rloo", 0]
    both = recognise(one, batch, made(one, batch, sign=-1.0, baseline="mean"))
    assert {s.name for s in both.slips} == {"sign", "leave-one-out forgotten"}
    twice = recognise(one, batch, [2 * c for c in made(one, batch)])
    assert (twice.kind, twice.slips) == ("scaled", ())
    assert twice.factor == pytest.approx(2)
    noisy = [
        c + 0.05 * c.std() * torch.randn(c.shape, generator=torch.Generator().manual_seed(0))
        for c in made(one, batch, baseline="none")
    ]
    like = recognise(one, batch, [torch.where(s.batch.mask, c, 0) for s, c in zip(batch, noisy, strict=True)])
    assert (like.kind, [s.name for s in like.slips]) == ("like", ["no baseline"])
    assert recognise(one, batch, [0 * c for c in made(one, batch)]).kind == "constant"
    generator = torch.Generator().manual_seed(1)
    assert (
        recognise(one, batch, [torch.randn(c.shape, generator=generator).double() for c in made(one, batch)]).kind
        == "unknown"
    )


def test_right_credits_are_those_of_the_library(tried):
    for scene in tried["rloo", 0]:
        torch.testing.assert_close(ASSIGNMENTS["rloo"].credit(scene.batch), library_grpo.rloo(scene.batch))
        torch.testing.assert_close(ASSIGNMENTS["gigpo"].credit(scene.batch), library_gigpo.gigpo(scene.batch))


# -- grading ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def room():
    with Room(seconds=3, memory=MEMORY, offered=handed.OFFERED) as place:
        yield place


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_solutions_get_full_marks(name, room):
    found = grade(str(SOLUTIONS / f"{name}.py"), room=room, seeds=2)
    assert found.points == found.of == sum(POINTS.values()), found
    assert found.assignment == name


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_templates_are_explained_not_graded(name, room):
    found = grade(str(TEMPLATES / f"{name}.py"), room=room)
    assert (found.points, found.assignment) == (0, name)
    assert "isn't filled in yet" in found.feedback[0]


def test_a_wrong_sign_costs_the_gradient_and_says_so(room, tmp_path):
    text = (SOLUTIONS / "rloo.py").read_text().replace("total - others", "others - total")
    (tmp_path / "mine.py").write_text(text)
    found = grade(str(tmp_path / "mine.py"), room=room, seeds=2)
    points = {line.name: line.points for line in found.lines}
    assert points == {"runs": 1, "credit": 2.5, "gradient": 0, "worth": 0}
    assert "wrong sign" in found.feedback[0]


def test_forgetting_to_leave_oneself_out_is_biased(room, tmp_path):
    text = (
        (SOLUTIONS / "rloo.py")
        .read_text()
        .replace("(sums[group] - total) / (n[group] - 1).clamp(min=1)", "sums[group] / n[group]")
    )
    (tmp_path / "mine.py").write_text(text)
    found = grade(str(tmp_path / "mine.py"), room=room, seeds=2)
    assert found.recognised == "leave-one-out forgotten"
    assert all(one.z < -10 and 0.8 < one.length < 0.95 for one in found.bias.values())
    assert found.points < found.of


def test_credit_on_padding_is_seen(room, tmp_path):
    (tmp_path / "mine.py").write_text(
        (SOLUTIONS / "rloo.py").read_text().replace("[:, None] * batch.mask", "[:, None].expand(batch.mask.shape)")
    )
    found = grade(str(tmp_path / "mine.py"), room=room, seeds=2)
    assert any("never taken" in text for text in found.feedback)
    assert 8 < found.points < 10


BROKEN = {
    "syntax": ("def estimate(batch)\n  return 1", "Python cannot read the file: expected ':' (line 1"),
    "name": ("def estimates(batch): return 1", "Did you mean estimates?"),
    "assignment": ("def estimate(batch): return 1", "Which assignment is this?"),
    "shape": ('ASSIGNMENT = "rloo"\ndef estimate(batch): return batch.returns', "shape (30,), expected (30,"),
    "nothing": ('ASSIGNMENT = "rloo"\ndef estimate(batch): batch.returns', "Does the function return its result?"),
    "raises": ('ASSIGNMENT = "rloo"\ndef estimate(batch):\n  return batch.rewards', "in line 3"),
    "nan": ('ASSIGNMENT = "rloo"\ndef estimate(batch): return batch.reward / 0', "divided by 0"),
    "truth": ('ASSIGNMENT = "rloo"\ndef estimate(batch, *, advantage): return advantage', "asks for `advantage`"),
    "library": (
        'ASSIGNMENT = "rloo"\nfrom credit_envs.credit import grpo\ndef estimate(batch): return grpo.rloo(batch)',
        "out of reach",
    ),
    "exit": ('ASSIGNMENT = "rloo"\nimport os\ndef estimate(batch): os._exit(0)', "its process ended"),
    "import": ('ASSIGNMENT = "rloo"\nimport nothing_of_the_kind\ndef estimate(batch): return 1', "No module named"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_explained(case, room, tmp_path):
    text, said = BROKEN[case]
    (tmp_path / "mine.py").write_text(text)
    found = grade(str(tmp_path / "mine.py"), room=room)
    assert (found.points, found.recognised) == (0, "broken")
    assert said in found.feedback[0]


def test_endless_code_is_ended(room, tmp_path):
    (tmp_path / "mine.py").write_text('ASSIGNMENT = "rloo"\ndef estimate(batch):\n  while True: pass')
    assert "endless" in grade(str(tmp_path / "mine.py"), room=room).feedback[0]


def test_the_command_grades_folders_into_a_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["grade", "--template", "rloo"]) == 0
    assert main(["grade", "--template", "rloo"]) == 2  # already there
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "broken.py").write_text("def")
    capsys.readouterr()
    assert main(["grade", ".", "--json", "--csv", "out.csv"]) == 0
    shown = json.loads(capsys.readouterr().out)
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [row["submission"] for row in rows] == [one["submission"] for one in shown] == ["b/broken.py", "rloo.py"]
    assert {row["points"] for row in rows} == {"0"}


@pytest.mark.parametrize(
    "arguments", [["nothing.py"], ["--template", "rlo"], [], ["x.py", "--assignment", "rlo"], [".", "--seeds", "1"]]
)
def test_bad_input_ends_in_one_line(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["grade", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# -- the notebooks' training loop ------------------------------------------------------------------------------------


def test_the_small_loop_learns_and_says_how():
    table = make_table("Pivots", length=2, fillers=0)
    runs = [
        learn(table, lambda batch, _: library_grpo.grpo(batch), updates=15, rate=3.0, seed=seed) for seed in (0, 0, 1)
    ]
    first = runs[0]
    assert first["J"][0] == pytest.approx(1 / 9)  # uniform play
    assert first["entropy"][0] == pytest.approx(np.log(3))
    assert first["J"][-1] > 0.8
    assert first["steps"].tolist() == [64.0 * i for i in range(16)]  # 4 groups of 8 rollouts of 2 steps
    assert all(np.array_equal(first[name], runs[1][name]) for name in first)
    assert not np.array_equal(first["J"], runs[2]["J"])
    with pytest.raises(CreditEnvsError, match="rate"):
        learn(table, lambda batch, _: batch.reward, updates=1, rate=0.0, seed=0)
