"""``credit-envs submit``, ``verify`` and ``leaderboard``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from credit_envs.cli.progress import progress
from credit_envs.errors import CreditEnvsError, need, unknown

Name = tyro.conf.Positional[str]


def submit(
    method: Name,
    track: str = "estimator",
    suite: str = "core-v0",
    name: str | None = None,
    authors: str = "",
    paper: str = "",
    description: str = "",
    output: Path = Path("entries"),
) -> int:
    """Enter a method: run it on a whole suite and write one folder that anyone can verify.

    Args:
        method: FILE.py:FUNCTION, with estimate(batch, *, needs), estimate(sampler), or train(make_env, budget, seed, device).
        track: estimator or learner.
        suite: Such as core-v0, or board-v0, which is small.
        name: Of the entry (default: the file's).
        authors: Who made it.
        paper: Where it is described.
        description: One sentence.
        output: Folder of the folder.
    """
    need("pyarrow", "eval")
    from credit_envs.leaderboard import TRACKS, board, learner
    from credit_envs.leaderboard import submit as estimators
    from credit_envs.leaderboard.entry import checked_name

    if track not in TRACKS:
        raise unknown("track", track, TRACKS)
    rules, folder = board(suite), output / checked_name(name or Path(method.rpartition(":")[0]).stem)
    about = {"authors": authors, "paper": paper, "description": description}
    options: list[str] = [] if name is None else ["--name", name]
    command = shlex.join(["credit-envs", "submit", method, "--track", track, "--suite", suite, *options])
    enter = estimators if track == "estimator" else learner.submit
    with progress("submit") as tell:
        manifest = enter(method, rules, folder, told=tell, command=command, about=about)
    _print_overall(manifest.scores["overall"])
    print(f"entry:  {folder}\nverify: {shlex.join(['credit-envs', 'verify', str(folder)])}")
    return 0


def verify(
    entry: Name,
    code: bool = True,
    unconfined: bool = False,
    season: Path | None = None,
    secret: Path | None = None,
    keep: bool = False,
) -> int:
    """Verify an entry: replay every action, compute every score anew, and run its code again out of reach of the oracle.

    Args:
        entry: Its folder, or a .zip of its files.
        code: Run the method again.
        unconfined: Run it even where this system cannot confine it (for code that you trust).
        season: The published file of a season of hidden instances, to try the method on them.
        secret: The file that holds the season's secret while it isn't published.
        keep: Write the report beside the entry, where the leaderboard reads it.
    """
    need("pyarrow", "eval")
    from credit_envs.leaderboard import open_season
    from credit_envs.leaderboard import verify as verified
    from credit_envs.leaderboard.standing import keep as kept

    hidden = None if season is None else open_season(season, secret)
    with progress("verify") as tell:
        report = verified(entry, code=code, trusted=unconfined, season=hidden, told=tell)
    for check in report.checks:
        print(f"{check.name:9} {check.status:8} {check.detail}")
    print(f"{report.name}: {report.level}")
    if keep:
        if not Path(entry).is_dir():
            raise CreditEnvsError(f"entry={entry!r}: only the report of a folder can be kept beside it")
        print(f"report: {kept(report, Path(entry))}")
    return 0 if report.passed else 1


def leaderboard(
    method: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[METHOD]")] = None,
    track: str = "estimator",
    suite: str = "board-v0",
    entries: Path = Path("leaderboard/entries"),
    site: Path | None = None,
    docs: Path = Path("docs"),
    new_season: str | None = None,
    end_season: str | None = None,
    secret: Path | None = None,
) -> int:
    """Show where entries stand, and where a method of yours would; write the site.

    Args:
        method: FILE.py:FUNCTION, run here and shown among the entries without being entered.
        track: estimator or learner.
        suite: Whose entries to show.
        entries: Folder of entries.
        site: Folder in which to write the static site of all entries.
        docs: Folder of the docs, whose granularity maps and claims ledger the site shows where they are there.
        new_season: Draw the secret of a new season of hidden instances under this name; its hash is written beside entries.
        end_season: Publish the secret of a season that is over.
        secret: File in which the season's secret is kept.
    """
    need("pyarrow", "eval")
    import tempfile

    from credit_envs.leaderboard import TRACKS, board, learner
    from credit_envs.leaderboard import submit as estimators
    from credit_envs.leaderboard.standing import MAIN, stand, standings

    if track not in TRACKS:
        raise unknown("track", track, TRACKS)
    if new_season is not None or end_season is not None:
        return _season(new_season, end_season, entries.parent, secret)
    shown = standings(entries) if method is None or any(entries.glob("*/manifest.json")) else []
    shown = [one for one in shown if (one.manifest.track, one.manifest.suite) == (track, suite)]
    yours = None
    if method is not None:
        with tempfile.TemporaryDirectory(prefix="credit-envs-") as place, progress("leaderboard") as tell:
            enter = estimators if track == "estimator" else learner.submit
            enter(method, board(suite), Path(place) / "yours", told=tell)
            yours = stand(Path(place) / "yours")
        shown = sorted([*shown, yours], key=lambda one: -one.overall(MAIN[track])["value"])
    _print_board(shown, track, suite)
    if site is not None:
        from credit_envs.leaderboard.site import write_site

        print(f"site: {write_site(entries, site, docs)}")
    return 0


def _season(new: str | None, end: str | None, folder: Path, secret: Path | None) -> int:
    from credit_envs.leaderboard import hidden

    if secret is None:
        raise CreditEnvsError("secret: name the file in which the season's secret is kept")
    if new is not None:
        made = hidden.new_season(new, folder, secret)
        print(f"season {made.name}: {made.sha256}\nsecret: {secret} (keep it to yourself; commit the season's file)")
    if end is not None:
        ended = hidden.end_season(end, folder, secret)
        print(f"season {ended.name}: {ended.secret} is published in {hidden.season_file(end, folder)}")
    return 0


_COLUMNS = {
    "estimator": ("simulator", "language model", "data", "cost"),
    "learner": ("normalised", "env_steps"),
}


def _print_board(shown: list[Any], track: str, suite: str) -> None:
    from rich import box
    from rich.table import Table

    from credit_envs.report.terminal import terminal

    table = Table(
        title=f"{suite}, {track} track, 95 % intervals over seeds", box=box.SIMPLE_HEAD, title_justify="left", padding=0
    )
    for name in ("", "entry", "track", "verified", *_COLUMNS[track]):
        table.add_column(name, justify="right" if name in ("", *_COLUMNS[track]) else "left", no_wrap=True)
    for place, one in enumerate(shown, 1):
        numbers = [_interval(one.overall(name)) for name in _COLUMNS[track]]
        if track == "estimator":
            numbers[-1] = f"{one.overall('cost')['value']:.2f}"
        table.add_row(str(place), one.name, one.manifest.sub_track, one.level, *numbers)
    console = terminal()
    console.print(table if shown else f"{suite}, {track} track: no entries yet")


def _print_overall(overall: dict[str, Any]) -> None:
    for name, found in overall.items():
        print(f"{name:15} {_interval(found)}", file=sys.stdout)


def _interval(found: Any) -> str:
    return f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"
