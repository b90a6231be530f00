"""What the configuration decides, as the core reads it."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.adoption import DEFAULT_TARGET
from controller.links import HOLD
from controller.tries import PERIOD
from flows.view import Fixed, Guard, Limits, Nics, Overlay, Proxy, Service


@dataclass(frozen=True, slots=True)
class Policy:
    """What the configuration decides.

    adopt      names of bridges to adopt
    bindings   what the operator vouches for
    guards     how closely ports are guarded
    services   behind which ports there are routers and DHCP servers
    confine    who has a lease has no other IPv4 address
    proxies    how questions are answered
    defend     announce addresses for their owners when others claim them
    overlays   tunnels that flows tell where to lead
    nics       how hosts with several interfaces in one segment are settled
    secret     of the frames that ports are tried with; without one they are not
    loops      they are tried whether they lead back to us
    lldp       they are tried whether they lead to another switch of ours
    try_every  seconds between two trials of a port
    hold       seconds that who was heard at a port counts as being there
    silent_after  seconds without a sign of life until who was heard is not answered for
    forget_after  seconds until who is silent is forgotten
    awaited    sources that are switched on: "netlink", "ovsdb"
    targets    where switches connect to this controller, as OVSDB says it
    """

    adopt: tuple[str, ...] = ()
    bindings: tuple[Fixed, ...] = ()
    guards: tuple[Guard, ...] = ()
    services: tuple[Service, ...] = ()
    proxies: tuple[Proxy, ...] = ()
    confine: bool = True
    defend: bool = False
    limits: Limits = field(default_factory=Limits)
    overlays: tuple[Overlay, ...] = ()
    nics: Nics = field(default_factory=Nics)
    secret: bytes = field(default=b"", repr=False)
    loops: bool = True
    lldp: bool = False
    try_every: float = PERIOD
    hold: float = HOLD
    silent_after: float = 30.0
    forget_after: float = 300.0
    awaited: frozenset[str] = frozenset()
    targets: tuple[str, ...] = (DEFAULT_TARGET,)
