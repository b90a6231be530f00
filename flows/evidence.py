"""Why a binding is believed, in words: the facts that it comes from."""

from __future__ import annotations

from flows.chains import Speaker
from flows.network import Network
from flows.parties import Candidate, Domain, Origin
from flows.view import NO_VLANS, View, namespace_name
from flows.vlans import told


def evidence(
    candidate: Candidate, believed: View, conclusions: Network, vlan: int, island: int
) -> str:
    ifname = believed.ports[candidate.port].ifname
    row = believed.interfaces.get(candidate.port)
    if row is not None and row.vlans != NO_VLANS:
        ifname = f"{ifname} ({told(row.vlans)})"
    tag = f" on VLAN {vlan}" if vlan else ""
    if candidate.origin is Origin.CONFIGURED:
        return f"the configuration says that {candidate.lladdr} holds it{tag}"
    if candidate.origin is Origin.HEARD:
        return f"{candidate.lladdr} said so itself at {ifname}{tag}"
    if candidate.origin is Origin.DHCP:
        return f"DHCP has leased it to {candidate.lladdr} at {ifname}{tag}"
    where = conclusions.located.get((Domain(island, vlan), candidate.lladdr))
    if where is not None and where.shown is not None:
        return f"the kernel: {shown(where.shown, believed, ifname)}{tag}"
    return f"the kernel shows {candidate.lladdr} behind {ifname}{tag}"


def shown(speaker: Speaker, believed: View, ifname: str) -> str:
    """What the kernel shows at the end of a way, and the way."""
    link = speaker.link
    if speaker.is_guest:
        what = f"{speaker.lladdr} is the guest of {link.holder} behind {link.ifname}"
    else:
        space = namespace_name(believed, link.nsid)
        what = f"{link.ifname} in {space} is {speaker.lladdr}"
    between = ", ".join(step.ifname for step in speaker.way[1:-1])
    if between:
        return f"{what}, reached from {ifname} by way of {between}"
    if len(speaker.way) > 1:
        return f"{what}, and the other end of {ifname}"
    return what
