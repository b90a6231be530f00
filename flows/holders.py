"""Who holds an address: all who may, and the winner among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flows.locations import Locations
from flows.memo import Step, remember_last
from flows.parties import Candidate, Domain, Holder, Holding, Located, Origin, Place
from flows.shown import FarEnd, FarEnds
from flows.tracked import Tracked, changed
from flows.view import (
    Fixed,
    IPAddress,
    Station,
)

Holders = Tracked[Holding, Holder]


def every_holder(
    far_ends: FarEnds,
    located: Locations,
    bindings: tuple[Fixed, ...],
) -> Holders:
    given = by_lladdr(bindings)
    rivals: dict[Holding, list[Candidate]] = {}
    for place, where in located.items():
        for ip, candidate in candidates(place, where, far_ends, given):
            rivals.setdefault((place[0], ip), []).append(candidate)
    return Tracked(
        ((domain, ip), judge(domain, ip, ones)) for (domain, ip), ones in rivals.items()
    )


def next_holders(
    before: tuple[FarEnds, Locations, tuple[Fixed, ...]],
    known: Holders,
    now: tuple[FarEnds, Locations, tuple[Fixed, ...]],
) -> Holders | None:
    far_ends, located, bindings = now
    if bindings is not before[2]:
        return None
    given = by_lladdr(bindings)
    places = changed(before[1], located) | changed(before[0], far_ends)
    claims: dict[Holding, list[Candidate]] = {}
    for place in places:
        for ip, _ in candidates(place, before[1].get(place), before[0], given):
            claims.setdefault((place[0], ip), [])
        for ip, candidate in candidates(place, located.get(place), far_ends, given):
            claims.setdefault((place[0], ip), []).append(candidate)
    draft = known.draft()
    for holding, mine in claims.items():
        row = draft.get(holding)
        domain, ip = holding
        others = [
            one
            for one in (row.candidates if row else ())
            if (domain, one.lladdr) not in places
        ]
        ones = [*others, *mine]
        draft.put(holding, judge(domain, ip, ones) if ones else None, row)
    return known.after(draft)


located_holders = Step(every_holder, next_holders)


@remember_last
def by_lladdr(
    bindings: tuple[Fixed, ...],
) -> Mapping[tuple[int, str], tuple[Fixed, ...]]:
    """What the configuration gives to a station of a VLAN."""
    given: dict[tuple[int, str], tuple[Fixed, ...]] = {}
    for fixed in bindings:
        key = (fixed.vlan, fixed.lladdr)
        given[key] = (*given.get(key, ()), fixed)
    return given


def candidates(
    place: Place,
    where: Located | None,
    far_ends: FarEnds,
    given: Mapping[tuple[int, str], tuple[Fixed, ...]],
) -> Iterator[tuple[IPAddress, Candidate]]:
    """The addresses that a station may hold; of no other station anything is asked."""
    if where is None:
        return
    (_, vlan), lladdr = place
    end = far_ends.get(place)
    if end is not None:
        at = end.located.port
        for address in end.addresses:
            yield (
                address.ip,
                Candidate(lladdr, at, Origin.KERNEL, router=end.router),
            )
    if where.station is not None:
        yield from heard_claims(where, where.station, end)
    for fixed in given.get((vlan, lladdr), ()):
        if not is_silent(where, fixed.ip):
            router = router_of(where, end, fixed.ip)
            yield (
                fixed.ip,
                Candidate(lladdr, where.port, Origin.CONFIGURED, router=router),
            )


def is_silent(where: Located, ip: IPAddress) -> bool:
    """It has not answered when it was asked; whoever vouches for it cannot know."""
    if where.has_table or where.station is None:
        return False
    return any(one.ip == ip for one in where.station.silent)


def heard_claims(
    where: Located, station: Station, end: FarEnd | None
) -> Iterator[tuple[IPAddress, Candidate]]:
    """A station's own word.  Where the kernel has its address table, that decides: an
    address that is not in it (any more) is not vouched for."""
    in_kernel = {address.ip for address in end.addresses} if end else ()
    is_leased = bool(where.leases)  # DHCP has leased an address to the same station
    is_vouched = not where.has_table
    for claim in station.claims:
        if claim.ip not in in_kernel:
            until = claim.leased_until
            is_beside = is_leased and until is None and claim.ip.version == 4
            origin = Origin.HEARD if until is None else Origin.DHCP
            heard = (claim.confirmed_at, claim.router, until, is_beside)
            at = where.port
            yield claim.ip, Candidate(where.lladdr, at, origin, is_vouched, *heard)


def router_of(where: Located, end: FarEnd | None, ip: IPAddress) -> bool | None:
    """Whom the operator vouches for is a host until somebody says otherwise."""
    if end is not None and where.has_table:
        return end.router
    claims = where.station.claims if where.station else ()
    return next((claim.router for claim in claims if claim.ip == ip), False)


def judge(domain: Domain, ip: IPAddress, rivals: list[Candidate]) -> Holder:
    """The strongest wins.  Equally strong and different: nobody is answered for,
    the question goes to all of them."""
    ranked = tuple(sorted(rivals, key=strength)) if len(rivals) > 1 else (*rivals,)
    best = ranked[0]
    if not best.vouched:
        reason = f"the kernel's own table of {best.lladdr} does not list it"
    elif is_contested(ranked):
        reason = "two stations claim it: " + ", ".join(
            sorted({c.lladdr for c in ranked if c.origin == best.origin and c.vouched})
        )
    else:
        reason = ""
    return Holder(domain, ip, ranked, reason)


def strength(candidate: Candidate) -> tuple[object, ...]:
    return (
        not candidate.vouched,
        -candidate.origin,
        -(candidate.confirmed_at or 0.0),
        candidate.port,
        candidate.lladdr,
    )


def is_contested(ranked: tuple[Candidate, ...]) -> bool:
    best = ranked[0]
    return any(
        other.vouched and other.origin == best.origin and other.lladdr != best.lladdr
        for other in ranked[1:]
    )
