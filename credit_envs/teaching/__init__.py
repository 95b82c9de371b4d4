"""Teaching: self-checks of the course's notebooks, and grading of students' estimators against the truth."""

from credit_envs.teaching.check import Mistake, Question, Verdict, check, judge

__all__ = ["Mistake", "Question", "Verdict", "check", "judge"]
