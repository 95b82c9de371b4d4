"""What stands on the credit viewer's page: the places that its script fills, and the tables that remain without it."""

from __future__ import annotations

from math import isfinite

from credit_envs.report.html import cell, table, tag, text
from credit_envs.report.viewed import Viewed


def summary(shown: Viewed) -> str:
    """Returns what a group is."""
    batch = shown.sample.trajectories
    drawn = "one group" if shown.plan == "groups" else f"one group drawn by the plan `{shown.plan}`"
    knobs = ", ".join(f"{key}={value}" for key, value in shown.table.knobs.items())
    said = (
        f"{batch.n_rollouts} rollouts of {drawn}, seed {shown.seed}. The policy stands {shown.level:.0%} of the way from "
        f"uniform ({shown.uniform_return:.4g}) to optimal play ({shown.optimal_return:.4g}); its exact return is "
        f"{shown.policy_return:.4g}."
    )
    return tag("p", text(said), class_="soft") + (tag("p", text(f"Knobs: {knobs}."), class_="soft") if knobs else "")


def stage() -> str:
    """Returns what the script fills."""
    buttons = (
        ("first", "start", "first step (Home)"),
        ("back", "◀", "step back (←)"),
        ("play", "▶ play", "play or pause (space)"),
        ("next", "▶", "next step (→)"),
        ("last", "end", "last step (End)"),
        ("anchor", "same anchor", "next step of the group at the same anchor (a)"),
    )
    controls = tag(
        "div",
        tag("label", "environment ", '<select id="environment"></select>'),
        tag("label", "policy ", '<select id="policy"></select>'),
        tag("label", "rollout ", '<select id="rollout"></select>'),
        tag("label", "colour ", '<select id="method"></select>'),
        *(
            tag("button", shown, type="button", id=name, title=about, aria_label=about)
            for name, shown, about in buttons
        ),
        '<input id="step" type="range" min="0" value="0" aria-label="step">',
        class_="controls",
    )
    scene = tag(
        "section",
        tag("h2", "What happened", id="now"),
        '<img id="picture" alt="" hidden>',
        tag("pre", "", id="text", tabindex="0"),
        tag("p", "", id="did", aria_live="polite"),
        class_="scene",
        aria_labelledby="now",
    )
    worth = tag(
        "section",
        tag("h2", "What every action was worth", id="worth-title"),
        tag("p", "Exact advantage of each admissible action under the policy; the one taken is bold.", class_="soft"),
        tag("div", "", id="worth", class_="bars"),
        tag("h2", "What estimators say of this step", id="says-title"),
        tag(
            "p",
            "In units of each one's own root mean square over the group, the number itself beside it.",
            class_="soft",
        ),
        tag("div", "", id="says", class_="bars"),
        class_="worth",
        aria_labelledby="worth-title",
    )
    group = tag(
        "section",
        tag("h2", "The group", id="group-title"),
        tag("p", "", id="colour-says", class_="soft"),
        tag(
            "div",
            "",
            id="ribbons",
            class_="scroll",
            tabindex="0",
            role="group",
            aria_label="all rollouts, step by step",
        ),
        tag("h2", "This rollout, every estimator", id="lanes-title"),
        tag(
            "div",
            "",
            id="lanes",
            class_="scroll",
            tabindex="0",
            role="group",
            aria_label="this rollout, every estimator",
        ),
        aria_labelledby="group-title",
    )
    trees = tag(
        "section",
        tag("h2", "", id="tree-title"),
        tag("p", "", id="tree-says", class_="soft"),
        tag("div", "", id="tree", class_="scroll", tabindex="0", role="group", aria_label="tree"),
        id="trees",
        aria_labelledby="tree-title",
        hidden="",
    )
    account = tag(
        "section",
        tag("h2", "Skill and luck so far", id="account-title"),
        tag("div", "", id="account"),
        tag("p", "", id="sum"),
        aria_labelledby="account-title",
    )
    meeting = tag(
        "section",
        tag("h2", "Steps at the same anchor", id="meeting-title"),
        tag("p", "", id="meeting-says", class_="soft"),
        tag("ul", "", id="meeting"),
        aria_labelledby="meeting-title",
    )
    plain = "<noscript><p>Stepping through needs scripts; the ledger below does not.</p></noscript>"
    return (
        plain
        + controls
        + tag("div", scene, worth, class_="two")
        + group
        + trees
        + tag("div", account, meeting, class_="two")
    )


def ledger(shown: Viewed) -> str:
    """Returns the ledger of a group: V₀, skill, luck and return of every rollout."""
    rows = []
    for i, (start, skill, luck, total) in enumerate(shown.ledger().tolist()):
        length = int(shown.sample.trajectories.lengths[i])
        numbers = (start, skill, luck, total)
        rows.append(
            tag(
                "tr",
                tag("th", str(i + 1), scope="row"),
                cell(str(length), length),
                *(cell(f"{value + 0.0:.4g}", value) for value in numbers),
            )
        )
    caption = (
        "The return of every rollout: what was expected at its start, what the policy's own draws added, and what the "
        "dynamics' did."
    )
    columns = ("rollout", "steps", "V₀", "skill Σ A", "luck Σ L", "return")
    return tag("section", tag("h2", "Ledger"), table(caption, columns, rows), aria_label="Ledger")


def methods(shown: Viewed) -> str:
    """Returns what estimators are, and how their credit correlates with the truth on this one group."""
    rows = []
    for method in shown.methods:
        said = f"{method.correlation:.3f}" if isfinite(method.correlation) else "–"
        rows.append(
            tag(
                "tr",
                tag("th", text(method.name + " (told truth)" * method.privileged), scope="row"),
                cell(text(method.granularity), class_="word"),
                cell(said, method.correlation),
                cell(f"{method.scale:.4g}", method.scale),
                cell(text(method.source or "–"), class_="word"),
            )
        )
    caption = (
        "Correlation of credit and exact advantage over the steps of this one group. One group proves nothing: figures with "
        "intervals come from credit-envs evaluate."
    )
    columns = ("estimator", "one number per", "correlation", "root mean square", "source")
    return tag("section", tag("h2", "Estimators"), table(caption, columns, rows), aria_label="Estimators")


def keys() -> str:
    """Returns the list of keys."""
    listing = {
        "← →": "a step back, a step on",
        "↑ ↓": "another rollout",
        "Home End": "first and last step",
        "space": "play, pause",
        "m": "colour by the next estimator",
        "a": "next step of the group at the same anchor",
        "s": "next step that the coloured estimator searched from",
        "e p": "next environment, next policy",
    }
    listed = (tag("dt", text(key)) + tag("dd", text(does)) for key, does in listing.items())
    return tag("details", tag("summary", "Keys"), tag("dl", *listed))


def again(command: str) -> str:
    """Returns the command that makes the page again."""
    return (
        tag("section", tag("h2", "Again"), tag("pre", text(command), tabindex="0"), aria_label="Again")
        if command
        else ""
    )
