"""Verification: nothing that an entry states is believed.

form          the folder or archive holds the files it should, of bounded size, and nothing else
board         suite, track, seeds and cells are complete, each exactly once
tables        the fingerprints are those of the tables that are built here
replay        every action is found again, bit for bit, and rollouts end where the records say (estimators)
spending      what was spent is no less than what the records show to have been drawn (learners: within the budget)
scores        every score is computed anew from the oracle and is what the manifest states
re-run        the code, in a confined process without an oracle, gives the same records again
strayed       code that reads the policy's own probabilities does not fall behind where they say nothing (estimators)
hidden        the code, on instances that nobody has seen, does not fall behind its public score
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from credit_envs.errors import CreditEnvsError
from credit_envs.leaderboard import estimates, learner
from credit_envs.leaderboard.case import Case, Check, Refused, Report
from credit_envs.leaderboard.entry import MANIFEST, Told
from credit_envs.leaderboard.form import digest, opened
from credit_envs.leaderboard.hidden import Season
from credit_envs.leaderboard.manifest import read_manifest

__all__ = ["Check", "Report", "verify"]


def verify(
    path: str | Path,
    *,
    code: bool = True,
    trusted: bool = False,
    season: Season | None = None,
    told: Told | None = None,
) -> Report:
    """Verifies an entry.

    Args:
        path: its folder, or a zip archive of it.
        code: whether to run the method again.
        trusted: whether to run it even where this system cannot confine it.
        season: hidden instances to try it on.
        told: progress.

    Returns:
        The report; bad entries end in a failed check, never in an exception.
    """
    path = Path(path)
    report = Report(path.stem if path.suffix == ".zip" else path.name, "")
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(opened(path))
            report.digest = digest(folder)
            manifest = read_manifest(folder / MANIFEST)
        except CreditEnvsError as error:
            report.checks.append(Check("form", "failed", " ".join(str(error).split())))
            return report
        report.checks.append(Check("form", "passed", f"{manifest.track} track, {manifest.suite}"))
        case = Case(folder, manifest, report, code, trusted, season, told)
        with contextlib.suppress(Refused):
            (estimates if manifest.track == "estimator" else learner).check(case)
    return report
