"""What is said of figures, whatever they are."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest

from tests.bench import report
from tests.bench.figures import Figure, Run, number, percentile, spread
from tests.bench.plot import curves, distributions

SVG = "{http://www.w3.org/2000/svg}"

FAST = Figure("a change", 0.5, "ms", at_most=1.0, note="of 30", samples=(0.4, 0.5, 9.0))
SLOW = Figure("decoded", 10.0, "events/s", at_least=20_000.0)
PEER = Figure("the peer's", 2.0, "ms")
FOUND = {"view": [FAST, PEER], "events": [SLOW]}


@pytest.mark.parametrize(
    ("figure", "verdict", "target"),
    [
        (FAST, "met", "<= 1.00 ms"),
        (SLOW, "missed", ">= 20,000 events/s"),
        (PEER, "", ""),
        (Figure("", 1.0, "", at_most=1.0), "met", "<= 1.00"),
        (Figure("", math.nan, "", at_most=1.0), "missed", "<= 1.00"),
    ],
)
def test_the_verdict_follows_from_the_figure(
    figure: Figure, verdict: str, target: str
) -> None:
    assert (figure.verdict, figure.target) == (verdict, target)


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 1), (50, 2), (51, 3), (75, 3), (99, 4), (100, 4)]
)
def test_a_percentile_is_one_of_the_values(percent: float, value: float) -> None:
    assert percentile([3, 1, 2, 4], percent) == value


def test_a_spread_is_p50_and_p99_with_the_greatest() -> None:
    figures = spread("it", [float(n) for n in range(1, 101)], "ms", p50=49.0)
    assert [figure.measured for figure in figures] == [50, 99]
    assert [figure.verdict for figure in figures] == ["missed", ""]
    assert figures[1].note == "max 100 ms"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (4, "4"),
        (0.00123, "0.00123"),
        (1.0, "1.00"),
        (21.345, "21.3"),
        (1234567.0, "1,234,567"),
        (math.inf, "inf"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_a_line_has_all_that_is_known_of_a_figure() -> None:
    assert report.line(FAST).split() == (
        ["0.500", "ms", "<=", "1.00", "ms", "met", "a", "change", "(of", "30)"]
    )
    assert report.summary(FOUND) == "1 met, 1 missed"


def test_programs_read_numbers_without_format() -> None:
    said = report.to_json(FOUND)
    assert said["benches"]["events"] == [
        {
            "what": "decoded",
            "measured": 10.0,
            "unit": "events/s",
            "at_least": 20_000.0,
            "verdict": "missed",
        }
    ]
    assert "verdict" not in said["benches"]["view"][1]


def test_the_page_names_the_machine_and_shows_every_figure() -> None:
    titles = {"view": "To the view.", "events": "Events."}
    files = dict(report.files(FOUND, titles, "2030-01-01", ""))
    page = files["benchmarks.md"]
    assert report.machine() in page and "2030-01-01" in page
    assert "| a change (of 30) | 0.500 ms | <= 1.00 ms | met |" in page
    assert "(pictures/bench-view.svg)" in page
    assert files.keys() == {"benchmarks.md", "pictures/bench-view.svg"}


def test_what_is_not_measured_again_stays_on_the_page() -> None:
    titles = {"view": "To the view.", "events": "Events.", "new": "New."}
    before = report.page(FOUND, titles, "2030-01-01")
    after = report.page({"new": [PEER], "view": [PEER]}, titles, "2031-01-01", before)
    heads = [line for line in after.splitlines() if line.startswith("## ")]
    assert heads == ["## view", "## events", "## new"]
    events = after[after.index("## events") : after.index("## new")]
    assert events.rstrip() == before[before.index("## events") :].rstrip()
    assert "2030-01-01" in events and "a change" not in after
    assert report.page({}, titles, "2032-01-01", after) == after


def test_a_bench_that_was_watched_leads_to_its_flame_graph() -> None:
    titles = {"view": "V.", "events": "E."}
    files = dict(report.files(FOUND, titles, "2030-01-01", "", ["view"]))
    assert files["benchmarks.md"].count("(profiles/view.md)") == 1
    assert "profiles/events" not in files["benchmarks.md"]


def test_a_bench_that_is_watched_later_leads_there_once() -> None:
    titles = {"view": "V."}
    before = report.page({"view": [PEER]}, titles, "2030-01-01")
    after = report.page({}, titles, "2031-01-01", before, ["view", "unmeasured"])
    assert after.count("(profiles/view.md)") == 1
    assert "unmeasured" not in after
    assert report.page({}, titles, "2032-01-01", after, ["view"]) == after


def test_a_bench_that_is_no_more_leaves_the_page() -> None:
    before = report.page(FOUND, {"view": "V.", "events": "E."}, "2030-01-01")
    assert "events" not in report.page({}, {"view": "V."}, "2031-01-01", before)


def test_a_plot_has_a_line_and_a_name_for_each_series() -> None:
    svg = ET.fromstring(distributions({"a < b": [0.1, 5.0], "c": [0.0]}))
    texts = [node.text for node in svg.iter(f"{SVG}text")]
    assert {"a < b", "c", "50 %", "0.001", "10"} <= {*texts}


def test_a_line_of_very_many_values_stays_short_and_keeps_the_greatest() -> None:
    one = distributions({"a": [0.5, 7.0]})
    many = distributions({"a": [0.5] * 100_000 + [7.0]})
    assert len(many) < 10_000
    assert one.count("H714.2V20.0") == many.count("H714.2V20.0") == 1, (
        "where 7.0 is drawn"
    )


def test_a_curve_has_a_point_for_each_size_of_the_network() -> None:
    found = [
        Figure("a, 1,000 hosts", 200.0, "us", point=("a", 1_000)),
        Figure("a, 10,000 hosts", 400.0, "us", point=("a", 10_000)),
        PEER,
    ]
    files = dict(report.files({"scale": found}, {"scale": "Scale."}, "2030-01-01", ""))
    assert "(pictures/bench-scale-growth.svg)" in files["benchmarks.md"]
    svg = files["pictures/bench-scale-growth.svg"]
    assert svg == curves({"a": [(1_000, 200.0), (10_000, 400.0)]})
    texts = [node.text for node in ET.fromstring(svg).iter(f"{SVG}text")]
    assert {"a", "hosts", "us", "0", "400", "1000", "10000"} <= {*texts}
    assert 'd="M50.0 170.0L770.0 20.0"' in svg  # half as dear, at the lower end


def test_a_run_can_be_small_but_not_empty() -> None:
    assert Run(share=0.5).of(1000) == 500
    assert Run(share=0.0).of(1000, least=30) == 30
    assert Run(share=0.0).of(1, least=30) == 1
