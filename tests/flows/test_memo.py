"""What is remembered, and what is therefore not computed again."""

from dataclasses import replace

from flows.compile import Compiled, compile_flows
from flows.memo import remember_arguments, remember_last
from flows.network import network
from flows.view import Address, Limits, View
from tests.facts import H1, H2, S1, S2, cable, heard_host, kernel_host, ports, view_of

FULL = view_of(
    cable((S1, 9), (S2, 9)),
    kernel_host(S1, 1, H1, "10.0.0.1"),
    heard_host(S2, 2, H2, "10.0.0.2"),
    ports(S1, 3),
    Limits(stations_per_port=1, addresses_per_station=1),
)


def test_the_same_arguments_give_the_same_object() -> None:
    calls = []

    @remember_last
    def half(number: list[int]) -> list[int]:
        calls.append(number)
        return [n // 2 for n in number]

    four = [4]
    assert half(four) is half(four)
    assert len(calls) == 1


def test_the_same_conclusion_from_other_facts_is_the_same_object() -> None:
    @remember_last
    def half(number: list[int]) -> list[int]:
        return [n // 2 for n in number]

    two = half([4])
    assert half([5]) is two
    assert half([6]) == [3]
    assert half([4]) is not two


def test_two_results_are_not_compared_where_that_may_take_long() -> None:
    class Large:
        def __eq__(self, other: object) -> bool:
            raise AssertionError("compared")

    @remember_arguments
    def made(number: list[int]) -> Large:
        return Large()

    four, five = [4], [5]
    large = made(four)
    assert made(four) is large
    assert made(five) is not large


def test_a_fact_that_concerns_no_switch_leaves_all_that_flows_come_from() -> None:
    compiled = Compiled(S1)
    compiled.update(FULL, network(FULL))
    [known, *_] = FULL.addresses.values()
    other = Address(7, 7, known.ip, 24)
    after = replace(FULL, addresses=FULL.addresses.set(other.key, other))
    assert compiled.is_current(after, network(after))

    gone = replace(FULL, addresses=FULL.addresses.delete(known.key))
    assert not compiled.is_current(gone, network(gone))


def test_flows_come_from_nothing_but_the_inputs() -> None:
    bare = View(ports=FULL.ports, limits=FULL.limits)
    for datapath_id in (S1, S2):
        flows = compile_flows(bare, datapath_id, network(FULL))
        assert flows == compile_flows(FULL, datapath_id)
