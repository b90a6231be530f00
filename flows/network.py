"""What follows from the view: who holds which address, and where it is attached.

The view states facts by the one who reported them; this module draws the conclusions,
in the order in which they depend on each other, and keeps none of them.  All tables of
the pipeline, `isat hosts` and `isat explain` read the same conclusions.

Who is believed, strongest first: the operator's configuration; the kernel's address
table of the interface behind a port; a station's own word in a packet; and, too weak to
be answered, what other interfaces have in their neighbor tables.
"""

from __future__ import annotations

from dataclasses import dataclass

from flows.chains import TUNNELS, chains
from flows.costs import Rates, costs, rates
from flows.fabric import Fabric, Ports, fabric_of
from flows.holders import Holders, located_holders
from flows.locations import Locations, full_ports, located_stations
from flows.loops import Loops, doors, loops, outward
from flows.memo import Step, remember_arguments, remember_last, same
from flows.middles import Named, meant, middle_ports, middles, promiscuous
from flows.parties import (
    Domain,
    Holder,
    Holding,
    Located,
    Middle,
    Middles,
    Place,
    Role,
    members,
)
from flows.proxy import NO_RULES, AtSwitch, Rules, rules_of
from flows.shown import kernel_hosts
from flows.tracked import Tracked, changed
from flows.tree import doubtful, open_tree
from flows.trust import Trust, trust
from flows.twins import Groups, Siblings, siblings, twins_of
from flows.untried import held, open_ended, tunnels
from flows.view import (
    Bridge,
    Fixed,
    Interface,
    Nics,
    PortKey,
    Proxy,
    View,
)
from flows.vlans import Members, membership_at, memberships, stripped_at
from flows.ways import Ways, branches, ways


@dataclass(frozen=True, slots=True)
class Network:
    """Every conclusion from one view.

    rates        bits per second of cables that are limited, at both of their ends
    vlans        ports that are not members of every VLAN, and of which they are
    unknown      ports of which nobody can tell yet where they lead
    loops        ports that lead back to others of ours, and to which
    outward      ports behind which there may be anything
    open_ended   those of them that may lead to another switch of ours
    held         those of these that wait until they are tried
    tree         ports to other switches that broadcasts are sent to
    placed       configured holders of addresses that are located
    unheld       addresses that the kernel lists behind a closed port and nobody holds
    contested    addresses that more than one may hold
    rules        how questions are answered, by datapath_id
    promiscuous  ports that rules name as those which everybody may talk to
    middles      who stands between, where a rule says that somebody does
    twins        namespaces with several interfaces in one segment, and these
    siblings     what such an interface may say that is another one's
    nics         how that is settled
    """

    fabric: Fabric
    rates: Rates
    vlans: Members
    unknown: frozenset[PortKey]
    loops: Loops
    outward: frozenset[PortKey]
    open_ended: frozenset[PortKey]
    held: frozenset[PortKey]
    tree: frozenset[PortKey]
    located: Tracked[Place, Located]
    holders: Tracked[Holding, Holder]
    full: frozenset[PortKey]
    trust: Trust
    placed: frozenset[Place]
    unheld: frozenset[Holding]
    contested: frozenset[Holding]
    rules: AtSwitch
    promiscuous: Named
    middles: Middles
    twins: Groups
    siblings: Siblings
    nics: Nics

    @property
    def ways(self) -> Ways:
        """datapath_id -> datapath_id of the goal -> the cables to leave by.  While much
        changes at once nobody asks for them, which are dear."""
        shape = self.fabric
        return ways(shape.exits, costs(self.rates), shape.segments)

    @property
    def branches(self) -> Ways:
        """The same along the broadcast tree, whichever of it is open by now."""
        shape = self.fabric
        return branches(shape.exits, shape.tree, shape.segments)

    def rules_at(self, datapath_id: int) -> Rules:
        return self.rules.get(datapath_id, NO_RULES)

    def is_isolated(self, vlan: int, at: PortKey) -> bool:
        rule = self.rules_at(at.datapath_id).private(vlan)
        return rule is not None and at not in self.promiscuous.get(rule, ())

    def middle(self, rule: Proxy, domain: Domain) -> Middle:
        absent = Middle(missing=f"{rule.lladdr or rule.port} is not known to be there")
        return self.middles.get((rule, domain), absent)

    def pvid(self, at: PortKey) -> int | None:
        """The VLAN of untagged frames that come in by a port; None if none may."""
        return membership_at(self.vlans, at).pvid

    def stripped(self, datapath_id: int) -> frozenset[int]:
        """VLANs whose frames leave a switch without their tag by some port."""
        return stripped_at(self.vlans).get(datapath_id, frozenset())

    def domain(self, datapath_id: int, vlan: int) -> Domain:
        return Domain(self.fabric.islands.get(datapath_id, datapath_id), vlan)


@remember_arguments
def network(view: View) -> Network:
    shape = fabric_of(view)
    behind = chains(view.interfaces, view.links)
    closed = loops(shape, view.ports, doors(behind, view.interfaces), view.echoes)
    of_vlans = memberships(shape, view.interfaces)
    far_ends = kernel_hosts(view)
    where = located_stations(shape, far_ends, view.ports, view.stations)
    held_by = located_holders(far_ends, where, view.bindings)
    leading = outward(view.ports, view.interfaces, behind, shape)
    tunnelled = tunnels(view.ports, view.interfaces, shape)
    may_lead = open_ended(leading, behind, tunnelled)
    several = twins_of(view)
    trusted = trust(view)
    return Network(
        shape,
        rates(shape.uplinks, view.interfaces, view.shapers),
        of_vlans,
        unknown_ports(
            *(view.ports, view.interfaces, view.bridges),
            doubtful(shape, view.floods, view.departed),
        ),
        closed,
        leading,
        may_lead,
        held(view.untried, may_lead),
        open_tree(shape, view.floods, view.departed),
        where,
        held_by,
        full_ports(view.crowds, view.limits.stations_per_port),
        trusted,
        placed(shape, where, view.bindings),
        unheld(shape, held_by, trusted, of_vlans),
        contested(held_by),
        rules_of(view),
        promiscuous(view.proxies, view.ports, view.bridges),
        middles(meant(where, middle_ports(view.proxies, view.ports, view.bridges))),
        several,
        siblings(several, view.bindings),
        view.nics,
    )


@remember_last
def unknown_ports(
    ports: Ports,
    interfaces: Tracked[PortKey, Interface],
    bridges: Tracked[int, Bridge],
    doubted: frozenset[PortKey],
) -> frozenset[PortKey]:
    """Ports of bridges of this host that OVSDB has not told of yet, as it will in a
    moment, and those whose other ends may be back.  Until then nobody can tell whether
    they lead to another switch."""
    return doubted.union(
        key for key in ports if key.datapath_id in bridges and key not in interfaces
    )


def role(view: View, key: PortKey) -> Role:
    shape = fabric_of(view)
    if key in shape.uplinks:
        return Role.FABRIC
    if key in network(view).loops:
        return Role.LOOP
    row = view.interfaces.get(key)
    if key in network(view).unknown or key in network(view).held:
        return Role.UNKNOWN
    return Role.TUNNEL if row and row.type in TUNNELS else Role.EDGE


# --- what the guard needs to know of others -----------------------------------------


def every_placed(
    shape: Fabric, located: Locations, bindings: tuple[Fixed, ...]
) -> frozenset[Place]:
    return frozenset(p for p in configured_places(shape, bindings) if p in located)


def next_placed(
    before: tuple[Fabric, Locations, tuple[Fixed, ...]],
    known: frozenset[Place],
    now: tuple[Fabric, Locations, tuple[Fixed, ...]],
) -> frozenset[Place] | None:
    shape, located, bindings = now
    if shape is not before[0] or bindings is not before[2]:
        return None
    moved = changed(before[1], located) & configured_places(shape, bindings)
    there = frozenset(place for place in moved if place in located)
    return (known - moved) | there if moved else known


@remember_last
def configured_places(shape: Fabric, bindings: tuple[Fixed, ...]) -> frozenset[Place]:
    return frozenset(
        (Domain(island, fixed.vlan), fixed.lladdr)
        for fixed in bindings
        for island in members(shape)
    )


placed = Step(every_placed, next_placed)


def every_unheld(
    shape: Fabric, held: Holders, trusted: Trust, of_vlans: Members
) -> frozenset[Holding]:
    return frozenset(one for one in listed(shape, trusted, of_vlans) if one not in held)


def next_unheld(
    before: tuple[Fabric, Holders, Trust, Members],
    known: frozenset[Holding],
    now: tuple[Fabric, Holders, Trust, Members],
) -> frozenset[Holding] | None:
    shape, held, trusted, of_vlans = now
    if not same((shape, trusted, of_vlans), (before[0], before[2], before[3])):
        return None
    moved = changed(before[1], held) & listed(shape, trusted, of_vlans)
    free = frozenset(holding for holding in moved if holding not in held)
    return (known - moved) | free if moved else known


@remember_last
def listed(shape: Fabric, trusted: Trust, of_vlans: Members) -> frozenset[Holding]:
    """What the kernel lists behind closed ports."""
    return frozenset(
        (Domain(shape.islands[port.datapath_id], vlan), ip)
        for port, closed in trusted.closed.items()
        if (vlan := membership_at(of_vlans, port).pvid) is not None
        for ip in closed.ips
    )


unheld = Step(every_unheld, next_unheld)


def every_contest(held: Holders) -> frozenset[Holding]:
    return frozenset(key for key, row in held.items() if is_contested(row))


def next_contest(
    before: tuple[Holders], known: frozenset[Holding], now: tuple[Holders]
) -> frozenset[Holding]:
    moved = changed(before[0], now[0])
    rows = ((key, now[0].get(key)) for key in moved)
    found = frozenset(key for key, row in rows if row and is_contested(row))
    return (known - moved) | found if moved & known or found else known


def is_contested(holder: Holder) -> bool:
    """By somebody else: who is configured, and was heard, contradicts nobody."""
    return len({one.lladdr for one in holder.candidates}) > 1


contested = Step(every_contest, next_contest)
