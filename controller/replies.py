"""What is to be answered by packet-out, because no flow in the switch can (yet).

A switch answers neighbor discovery with the option that the question has brought, while
RFC 4861, 7.2.4 asks for one in each answer to a group: so the controller answers who
brings none.  And it answers what came before the flow that would have.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.events import ArpSeen, NdSeen
from controller.ndp import advertisement, is_probe, is_to_its_group
from controller.packets import arp_reply
from controller.waiting import Question, port_of, target_of
from flows import arp, gateway, nd
from flows.between import Asked, between
from flows.network import Network
from flows.openflow import BROADCAST, Action, Flow, GotoTable
from flows.parties import Domain, Holder
from flows.pipeline import TABLE_IDS
from flows.switch import Switch
from flows.view import PortKey, Proxy, View


@dataclass(frozen=True, slots=True)
class Reply:
    """data  the frame
    flow  that says the same in the switch; None if none can
    """

    data: bytes
    flow: Flow | None = None


def reply(view: View, known: Network, asked: Question) -> Reply | None:
    """None if there is nothing to say."""
    switch = Switch(asked.datapath_id, view, known)
    ours = switch.rules.gateway(asked.vlan, target_of(asked))
    if ours is not None:
        return of_gateway(asked, ours, switch.back(ours.vlan))
    holder = known.holders.get((switch_domain(known, asked), target_of(asked)))
    found = between(switch, question(asked), holder)
    if found is not None:
        return of_middle(asked, found[1].lladdr)
    is_host = switch.rules.answers_as_host(asked.vlan, target_of(asked))
    back = switch.back(asked.vlan)
    return of_holder(asked, holder, back) if holder and is_host else None


def switch_domain(known: Network, asked: Question) -> Domain:
    return known.domain(asked.datapath_id, asked.vlan)


def question(asked: Question) -> Asked:
    src = asked.spa if isinstance(asked, ArpSeen) else asked.src
    return Asked(
        port_of(asked),
        asked.vlan,
        asked.eth_src,
        None if src.is_unspecified else src,
        target_of(asked),
    )


# --- for a gateway ------------------------------------------------------------------


def of_gateway(asked: Question, rule: Proxy, back: Action) -> Reply | None:
    if asked.eth_src == rule.lladdr:
        return None
    if isinstance(asked, ArpSeen):
        flow = gateway.answer4(TABLE_IDS["gateway"], rule, back)
        return Reply(arp_reply(asked, lladdr=rule.lladdr), flow)
    write = gateway.defence6 if is_probe(asked) else gateway.answer6
    flow = write(TABLE_IDS["gateway"], rule, GotoTable(TABLE_IDS["nd_answer"]))
    return advertised(asked, rule.lladdr, rule.router, flow)


def advertised(asked: NdSeen, lladdr: str, router: bool, flow: Flow) -> Reply:
    """A flow is no answer where there is no room for its option."""
    is_whole = asked.has_room if is_probe(asked) else bool(asked.lladdr)
    data = advertisement(asked, lladdr=lladdr, router=router)
    return Reply(data, flow if is_whole else None)


# --- for who stands between ---------------------------------------------------------


def of_middle(asked: Question, lladdr: str) -> Reply | None:
    """What the switch leaves to us; flows that lead there come before questions do.
    As the switch, it says nothing of routers: these are asked for themselves."""
    if isinstance(asked, ArpSeen) or asked.lladdr or not lladdr:
        return None
    return Reply(advertisement(asked, lladdr=lladdr, router=False))


# --- for the holder -----------------------------------------------------------------


def of_holder(asked: Question, holder: Holder, back: Action) -> Reply | None:
    """Not for the owner, and not to a poll, which asks whether the holder lives."""
    is_owner = not untold(holder).isdisjoint((port_of(asked), asked.eth_src))
    return None if is_owner or is_poll(asked) else said_of(holder, asked, back)


def untold(holder: Holder) -> frozenset[PortKey | str]:
    """Where the owner is, and what it is called when it has moved."""
    ends = ((c.port, c.lladdr) for c in holder.candidates)
    return frozenset(name for end in ends for name in end)


def said_of(holder: Holder, asked: Question, back: Action) -> Reply | None:
    """To everybody who is told.

    back  what sends an answer back in the switch
    """
    best = holder.winner
    if not holder.answered:
        return None
    if isinstance(asked, ArpSeen):
        flow = arp.answer(TABLE_IDS["arp"], asked.vlan, asked.tpa, best.lladdr, back)
        return Reply(arp_reply(asked, lladdr=best.lladdr), flow)
    if best.router is None:
        return None
    flow = (nd.defence if is_probe(asked) else nd.answer)(
        *(TABLE_IDS["nd"], asked.vlan, asked.target, best.lladdr, best.router),
        GotoTable(TABLE_IDS["nd_answer"]),
    )
    return advertised(asked, best.lladdr, best.router, flow)


def is_poll(asked: Question) -> bool:
    if isinstance(asked, ArpSeen):
        return asked.eth_dst != BROADCAST
    return not is_to_its_group(asked)
