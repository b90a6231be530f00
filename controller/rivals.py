"""Where nobody guards: who contradicts what is known, once it has been learned.

What is said is believed there as far as nobody stronger says otherwise
(`flows.network`), so this prevents nothing.  It only finds whom to tell of.
"""

from __future__ import annotations

from controller.conflicts import Heard, said
from controller.events import FrameSeen
from flows.dispute import Contradiction, Said, has_router, is_router, rivalry
from flows.network import Network
from flows.parties import Domain
from flows.trust import anycast, by_namespace, subnets
from flows.view import View

ROUTED_MAX = 256  # domains of which is remembered whether they have a router


class Rivals:
    def __init__(self) -> None:
        self._routers: dict[Domain, str] = {}  # the first; "" where one was known

    def against(self, event: Heard, view: View, known: Network) -> Contradiction | None:
        """None if nothing is known that speaks against it."""
        heard = said(event)
        found = rivalry(known, heard) or self._misrouted(event, known)
        if found is None or is_listed(heard, found, view, known):
            return None
        return found

    def _misrouted(self, event: Heard, known: Network) -> Contradiction | None:
        """It says that it is a router, and there is another one.  Where none is known,
        whoever is first is taken for it."""
        if not isinstance(event, FrameSeen) or not event.sends:
            return None
        domain = known.domain(event.datapath_id, event.vlan)
        if is_router(known, domain, event.ip, event.eth_src):
            return None
        if domain not in self._routers and len(self._routers) < ROUTED_MAX:
            is_routed = has_router(known, domain)
            self._routers[domain] = "" if is_routed else event.eth_src
        is_first = self._routers.get(domain) == event.eth_src
        return None if is_first else Contradiction(None)


def is_listed(heard: Said, found: Contradiction, view: View, known: Network) -> bool:
    """Linux speaks with the addresses of all its interfaces, and a router answers for
    each of its subnets (RFC 4291, 2.6.1)."""
    domain = known.domain(heard.at.datapath_id, heard.vlan)
    where = known.located.get((domain, heard.lladdr))
    if found.rival or found.ip is None or where is None or where.link is None:
        return False
    rows = by_namespace(view.addresses).get(where.link.nsid, ())
    return found.ip in {*(row.ip for row in rows), *anycast(subnets(rows))}
