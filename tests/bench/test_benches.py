"""Each bench works, at a size at which its figures mean nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import __main__ as program
from tests.bench.benches import BENCHES, Bench, named
from tests.bench.figures import Run
from tests.conftest import cannot_run
from tests.support.ovs import why_not

SMALL = Run(share=0.0, quiet=True)


@pytest.mark.root
@pytest.mark.ovs
@pytest.mark.mininet
@pytest.mark.parametrize("bench", BENCHES, ids=lambda bench: bench.name)
def test_a_small_run_finds_figures(bench: Bench) -> None:
    if missing := why_not():
        cannot_run(missing)
    figures = [*bench.measure(SMALL)]
    assert any(figure.verdict for figure in figures)
    assert len({figure.what for figure in figures}) == len(figures)


def test_benches_are_chosen_by_name() -> None:
    assert [bench.name for bench in named(["fuzz", "ratios"])] == ["ratios", "fuzz"]
    assert named([]) == [*BENCHES]


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        program.main(["nothing"])
    assert "no bench 'nothing': there are ratios," in capsys.readouterr().err


def test_what_is_printed_for_programs_is_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert program.main(["ratios", "--json", "--share", "0.01"]) == 0
    assert {"machine", "benches"} == json.loads(capsys.readouterr().out).keys()


def test_the_page_is_written_and_may_be_written_again_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "DOCS", tmp_path)
    page = tmp_path / "benchmarks.md"
    assert program.main(["--write", "--share", "0.01", "ratios"]) == 0
    page.write_text(f"{page.read_text()}\n## fuzz\n\nas before\n")
    assert program.main(["--write", "--share", "0.01", "ratios"]) == 0
    assert "## ratios" in page.read_text() and "as before" in page.read_text()
