"""A profile is a short table of where isat's own processes spend their time."""

from __future__ import annotations

from tests.bench.profiles import MOST, page

MAIN, RUN = "main (ryu/cmd/manager.py)", "run (controller/runtime.py)"
HANDLE, SEND = "handle (controller/core.py)", "send (eventlet/greenio/base.py)"
BENCH = 'process 1:"python -m tests.bench"'
ISAT = f'{BENCH};process 7:"python -c import isat\\nisat.main(); 7 8"'
ALL = "| 100.0% | 100.0% | `handle` | controller/core.py |"
LINES = [
    f"{ISAT};{MAIN};{RUN};{HANDLE} 60",
    f"{ISAT};{MAIN};{RUN};{HANDLE};{SEND} 30",
    f"{ISAT};{MAIN} 10",
    f"{BENCH};measure (tests/bench/channel.py) 1000",
]


def rows(lines: list[str]) -> list[str]:
    seen = "".join(f"{line}\n" for line in lines)
    text = page("channel", seen, "a machine", "2026-11-30")
    return [line for line in text.splitlines() if line.endswith(".py |")]


def test_functions_stand_by_what_they_do_themselves() -> None:
    assert rows(LINES) == [
        "| 60.0% | 90.0% | `handle` | controller/core.py |",
        "| 30.0% | 30.0% | `send` | eventlet/greenio/base.py |",
        "| 10.0% | 100.0% | `main` | ryu/cmd/manager.py |",
    ]


def test_a_function_that_calls_itself_counts_once() -> None:
    stack = ";".join([ISAT, RUN, HANDLE, HANDLE])
    assert rows([f"{stack} 5"]) == [ALL]


def test_a_bench_without_a_controller_is_looked_at_itself() -> None:
    lines = [f"{BENCH};measure (tests/bench/turns.py);{HANDLE} 5"]
    assert rows(lines) == [ALL]


def test_other_controllers_that_the_bench_has_started_do_not_count() -> None:
    other = f'{BENCH};process 9:"faucet";main (faucet/faucet.py) 99'
    assert rows([other, f"{ISAT};{RUN};{HANDLE} 5", other]) == [ALL]


def test_the_table_is_short() -> None:
    many = [f"{ISAT};{RUN};f{n} (controller/core.py) {n}" for n in range(1, 2 * MOST)]
    assert len(rows(many)) == MOST


def test_a_line_that_was_read_while_it_was_written_is_left_out() -> None:
    assert rows([f"{ISAT};{RUN};{HANDLE} 5", f"{ISAT}; 3", "\ufffd\x00 7"]) == [ALL]
