"""Reports: sentences that say no more than the intervals, tables that fit, a page that needs nothing else."""

from __future__ import annotations

import io
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from credit_envs import report
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation import PRICE_LISTS, Config, Interval, Results, Row, evaluate
from credit_envs.report import overview
from credit_envs.report.lessons import headline, leader, tally, verdict
from credit_envs.report.page import as_html
from credit_envs.report.reading import cells, command, number, percent, short, worth

NAN = math.nan
ENVIRONMENT = "credit/Pivots-v0"
ESTIMATORS = ("grpo", "gigpo", "vineppo_k1", "anchor_graph")


def some(value: float, low: float, high: float) -> Interval:
    return Interval(value, low, high)


def row(
    estimator: str,
    worths: Interval,
    data: Interval | None = None,
    policy: str = "uniform",
    steps_ratio: float = 1.0,
    environment: str = ENVIRONMENT,
) -> Row:
    score = some(0.5, 0.4, 0.6)
    return Row(
        environment=environment,
        policy=policy,
        estimator=estimator,
        seeds=10,
        groups=100,
        equivalents={price: (data or worths) if price == "data" else worths for price in PRICE_LISTS},
        headroom={price: some(0.1, 0.05, 0.15) for price in PRICE_LISTS},
        cosine=score,
        pearson=score,
        rank=score,
        sign=score,
        top=score,
        error=score,
        bias=0.1,
        variance=0.4,
        steps_ratio=steps_ratio,
        seconds=12.0,
    )


def results(rows: list[Row], folder: Path = Path("nowhere")) -> Results:
    """Results whose rows are given instead of summarised."""
    names = tuple(dict.fromkeys(r.environment for r in rows))
    measured = {
        "luck_share": 0.25,
        "revisit_rate": 0.8,
        "expected_steps": 9.0,
        "horizon": 20.0,
        "states": 5.0,
        "J": 0.0,
    }
    rung = {"J": 0.1, "normalised": 0.5, "luck_share": 0.2, "effective_unit": 1.0, "expected_steps": 9.0}
    about = [
        {
            "environment": name,
            "fingerprint": "0" * 64,
            "measured": measured,
            "policies": [{"name": p, **rung} for p in dict.fromkeys(r.policy for r in rows)],
        }
        for name in names
    ]
    made = Results(Config(environments=names), [], about, {"credit_envs": "0"}, folder)
    made.__dict__["rows"] = rows
    return made


EXACT = row("exact", some(50, 40, 60))
UNIT = row("dr_grpo", some(1, 1, 1))


def said(*rows: Row) -> str:
    (sentence,) = report.sentences(results([*rows, UNIT, EXACT])).values()
    return sentence


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("results")
    options = {"seeds": 3, "budget": 400, "levels": (0.0, 0.5), "extra_steps": 2000}
    return evaluate(ESTIMATORS, [ENVIRONMENT], output=folder, **options)


# -- what was learnt ---------------------------------------------------------------------------------------------------


def test_an_interval_that_contains_one_is_no_difference() -> None:
    sentence = said(row("gigpo", some(1.2, 0.9, 1.5)))
    assert "GiGPO shows no difference from GRPO that 10 seeds can show" in sentence
    assert "nothing is worth more than GRPO per sampled step that 10 seeds can show" in sentence
    assert "is worth most" not in sentence


def test_the_leader_is_named_with_its_interval_and_share() -> None:
    sentence = said(row("gigpo", some(1.2, 1.1, 1.3)), row("anchor_graph", some(2.5, 2.0, 3.0)))
    assert "anchor_graph is worth most per sampled step under the uniform policy (2.50 [2.00, 3.00]" in sentence
    assert "10\u00a0% of the headroom" in sentence
    assert "not clearly ahead" not in sentence
    assert "GiGPO is worth more than GRPO under the uniform policy (1.20)" in sentence


def test_overlapping_leaders_are_not_called_clear() -> None:
    sentence = said(row("gigpo", some(2.2, 1.9, 2.6)), row("anchor_graph", some(2.5, 2.0, 3.0)))
    assert "not clearly ahead of GiGPO under the uniform policy" in sentence


def test_rivals_are_named_where_they_are_close() -> None:
    rows = [row("anchor_graph", some(2.5, 2, 3), policy=p) for p in ("uniform", "0.5")]
    rows += [row("gigpo", some(1.5, 1.4, 1.6)), row("gigpo", some(2.2, 1.9, 2.4), policy="0.5")]
    others = [row(name, found, policy="0.5") for name, found in (("dr_grpo", some(1, 1, 1)), ("exact", some(9, 8, 10)))]
    assert ", not clearly ahead of GiGPO under the 50\u00a0% policy;" in said(*rows, *others)


def test_what_sees_the_truth_never_leads() -> None:
    sentence = said(
        row("projected", some(40, 30, 50)), row("gigpo_state", some(9, 8, 10)), row("gigpo", some(2, 1.5, 3))
    )
    assert "GiGPO is worth most" in sentence
    assert "gigpo_state" not in sentence


def test_continuations_may_pay_per_trained_step_only() -> None:
    sentence = said(row("vineppo", some(0.05, 0.04, 0.06), some(4.0, 3.0, 5.0), steps_ratio=80))
    assert "do not pay per sampled step (0.05) but pay per trained step (4.00)" in sentence
    unsure = said(row("vineppo", some(0.05, 0.04, 0.06), some(1.4, 0.8, 5.0), steps_ratio=80))
    assert "do not pay per sampled step (0.05) but show no gain per trained step with 10 seeds (1.40)" in unsure


def test_policies_are_told_apart() -> None:
    uniform, half = row("gigpo", some(1.0, 0.9, 1.1)), row("gigpo", some(1.8, 1.7, 1.9), policy="0.5")
    others = [row(name, found, policy="0.5") for name, found in (("dr_grpo", some(1, 1, 1)), ("exact", some(9, 8, 10)))]
    sentence = said(uniform, half, *others)
    assert "GiGPO is worth most per sampled step under the 50\u00a0% policy (1.80 [1.70, 1.90]" in sentence
    assert (
        "nothing is worth more than GRPO per sampled step that 10 seeds can show under the uniform policy" in sentence
    )


def test_a_users_estimator_is_told() -> None:
    assert "mine:estimate is worth less than GRPO" in said(row("mine:estimate", some(0.5, 0.4, 0.6)))


def test_undefined_figures_are_not_claims() -> None:
    sentence = said(row("gigpo", some(NAN, NAN, NAN)), row("grpo", some(0.9, NAN, NAN)))
    assert "GiGPO has no figure" in sentence
    assert "nothing is worth more" in sentence


@given(
    st.dictionaries(
        st.sampled_from(["gigpo", "anchor_graph", "vineppo", "mine:f"]),
        st.tuples(*[st.floats(0.01, 20)] * 3).map(sorted),
        min_size=1,
    )
)
@settings(max_examples=60, deadline=None)
def test_sentences_say_what_intervals_support(found: dict[str, list[float]]) -> None:
    rows = [row(name, some(value, low, high)) for name, (low, value, high) in found.items()]
    sentence = said(*rows)
    above = [r for r in rows if r.equivalents["simulator"].low > 1 + 1e-6]
    (cell,) = cells(results([*rows, UNIT, EXACT]))
    best, close = leader(cell, "simulator")
    assert (best is None) == ("nothing is worth more than GRPO" in sentence)
    if best is not None:
        assert best in above
        rivals = [r.equivalents["simulator"] for r in rows if r is not best]
        assert len(close) == sum(r.high >= best.equivalents["simulator"].low for r in rivals)
        assert bool(close) == ("not clearly ahead" in sentence)
    for r in rows:
        claimed = f"{'GiGPO' if r.estimator == 'gigpo' else r.estimator} is worth more than GRPO" in sentence
        assert not claimed or r in above
        assert tally([cell], "simulator")[r.estimator][verdict(r.equivalents["simulator"])] == 1


def test_headline_counts_cells() -> None:
    rows = [row("gigpo", some(2, 1.5, 3)), row("gigpo", some(0.5, 0.4, 0.6), policy="0.5")]
    sampled, trained = headline(cells(results(rows)))
    assert (
        sampled == "Per sampled step, GiGPO is worth more than GRPO in 1 of 2 cells (environment × policy), less in 1."
    )
    assert trained == "Per trained step, GiGPO is worth more than GRPO in 1 of 2, less in 1."


# -- numbers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "shown"),
    [(2.534, "2.53"), (0.003, "<0.01"), (0.0, "0.00"), (9.999, "10"), (74.3, "74"), (1234.0, "1.2k"), (2.5e6, "2.5M"),
     (3e15, "3e+15"), (-771.0, "-771"), (NAN, "–"), (math.inf, "–")],
)  # fmt: skip
def test_numbers_are_short(value: float, shown: str) -> None:
    assert number(value) == shown


def test_bounds_that_round_to_one_say_on_which_side() -> None:
    assert worth(row("x", some(0.91, 0.83, 0.998)), "data") == "0.91 [0.83, <1.00]"
    assert worth(row("x", some(1.02, 1.003, 1.1)), "data") == "1.02 [>1.00, 1.10]"
    assert worth(UNIT, "data") == "1.00 [1.00, 1.00]"


def test_shares_and_names() -> None:
    assert [percent(x) for x in (0.0, 0.002, 0.126, -0.05)] == ["0\u00a0%", "<1\u00a0%", "13\u00a0%", "-5\u00a0%"]
    assert [short(x) for x in ("credit/FrozenLake-v0", "some/where/lake.npz", "mine")] == ["FrozenLake", "lake", "mine"]


def test_the_command_names_what_differs_from_the_defaults() -> None:
    assert command(Config()) == "credit-envs evaluate"
    config = Config(
        environments=("a b.npz",), estimators=("gigpo",), levels=(0.0, 0.5), match_discount=False, knobs={"slip": 0.1}
    )
    expected = "credit-envs evaluate gigpo --environments 'a b.npz' --levels 0 0.5 --no-match-discount --knobs slip=0.1"
    assert command(config) == expected


# -- terminal ----------------------------------------------------------------------------------------------------------


def printed(found: Results) -> str:
    out = io.StringIO()
    report.print_results(found, Console(file=out, width=100, color_system=None))
    return out.getvalue()


def test_tables_fit_100_columns_whatever_the_figures() -> None:
    wide = some(123456.0, 0.0012, 98765432.0)
    names = ("a_very_long_estimator_name:with_a_function", "vineppo", "return_minus_value")
    rows = [row(name, wide, some(0.123, 0.001, 0.998), steps_ratio=123456.0) for name in names]
    rows += [row("gigpo γ=1", some(NAN, NAN, NAN)), row("gigpo", some(0.9, 0.8, 0.999)), UNIT, EXACT]
    text = printed(results(rows))
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    assert "n = 10 seeds · B = 100,000 steps" in text


def test_tables_hold_every_estimator_and_the_ceiling_last(real: Results) -> None:
    text = printed(real)
    assert max(map(len, text.splitlines())) <= 100
    for name in ESTIMATORS:
        assert re.search(rf"^{name} ", text, re.MULTILINE)
    first = text.split("policy ")[1].splitlines()
    starts = [line.split()[0] for line in first if re.search(r"\d%?×", line)]
    assert starts[-1] == "exact"
    assert text.count("n = 3 seeds · B = 400 steps") == 2
    assert "γ=0.95: " in text


# -- page --------------------------------------------------------------------------------------------------------------


class Elements(HTMLParser):
    """Collects elements, and fails on a closing tag that closes nothing."""

    empty = frozenset({"meta", "input", "path", "use", "wbr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.all: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))
        if tag not in self.empty:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.empty:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(real: Results) -> str:
    return report.write_page(real).read_text()


@pytest.fixture(scope="module")
def elements(page: str) -> Elements:
    parser = Elements()
    parser.feed(page)
    assert parser.open == []
    return parser


def test_the_page_is_self_contained(page: str, elements: Elements) -> None:
    assert "http://" not in page
    assert "https://" not in page
    assert "@import" not in page
    for tag, attributes in elements.all:
        assert tag not in {"link", "iframe", "object", "embed", "img"}
        assert attributes.get("src") is None
        href = attributes.get("href") or attributes.get("xlink:href")
        assert href is None or href.startswith("#")


def test_the_page_has_unique_ids_and_its_links_lead_somewhere(page: str, elements: Elements) -> None:
    ids = [attributes["id"] for _, attributes in elements.all if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in elements.all:
        if (attributes.get("href") or "").startswith("#"):
            assert attributes["href"][1:] in ids  # type: ignore[index]
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)


def test_drawings_and_tables_are_named_for_readers(elements: Elements) -> None:
    tables = sum(tag == "table" for tag, _ in elements.all)
    assert tables == sum(tag == "caption" for tag, _ in elements.all) > 5
    drawings = [a for tag, a in elements.all if tag == "svg" and a.get("aria-hidden") != "true"]
    assert len(drawings) == 2
    assert all("Pivots" in (a["aria-label"] or "") and a["role"] == "img" for a in drawings)


def test_the_page_holds_estimators_figures_and_provenance(page: str, real: Results) -> None:
    for name in (*ESTIMATORS, "dr_grpo", "exact", "gigpo γ=1"):
        assert f">{name}</th>" in page
    for r in real.rows:
        assert worth(r, "data").replace("<", "&lt;").replace(">", "&gt;") in page or worth(r, "data") in page
    assert real.environments[0]["fingerprint"] in page
    assert "credit-envs evaluate grpo gigpo" in page
    assert "prefers-color-scheme: dark" in page
    for sentence in report.sentences(real).values():
        assert sentence.replace("<", "&lt;").replace(">", "&gt;") in page


def test_names_are_escaped() -> None:
    html = as_html(results([row("<b>:f", some(2, 1.5, 3)), UNIT, EXACT]))
    assert "<b>:f" not in html
    assert "&lt;b&gt;:f" in html


def test_unfinished_results_say_so(real: Results) -> None:
    fewer = [r for r in real.records if r["policy"] == "uniform" and r["seed"] < 2]
    partial = Results(real.config, fewer, real.environments, real.provenance, real.folder)
    assert "Unfinished: 2 of 6 cells are done." in as_html(partial)
    with pytest.raises(CreditEnvsError, match="no finished cells"):
        as_html(Results(real.config, [], [], {}, real.folder))


# -- picture -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml")])
def test_pictures_are_written_in_the_format_of_their_ending(
    real: Results, tmp_path: Path, name: str, start: bytes
) -> None:
    path = report.picture(real, tmp_path / name)
    assert path.read_bytes().startswith(start)


@pytest.mark.parametrize("path", ["nowhere/a.png", "a.docx"])
def test_a_picture_that_cannot_be_written_is_one_line(real: Results, tmp_path: Path, path: str) -> None:
    with pytest.raises(CreditEnvsError, match="cannot write the picture"):
        report.picture(real, tmp_path / path)


def test_overview_has_a_line_per_algorithm_and_every_figure(real: Results) -> None:
    text = overview.overview(real)
    found = {row.estimator for row in real.rows if " γ=" not in row.estimator}
    assert all(f"| `{name}` |" in text for name in found)
    assert text.index("What a real system can run") < text.index("`grpo`") < text.index("What sees the truth")
    lines = overview.table(real).splitlines()
    assert lines[0].startswith("environment,policy,algorithm,seeds,groups,simulator,")
    assert len(lines) == 1 + sum(" γ=" not in row.estimator for row in real.rows)
