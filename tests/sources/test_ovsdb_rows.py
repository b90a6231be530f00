"""What rows of OVSDB mean: the part that needs no database."""

from __future__ import annotations

from types import SimpleNamespace

from controller.sources.ovsdb_rows import interface_of
from flows.view import NO_TUNNEL, Tunnel


def tunnel(kind: str, **options: str) -> Tunnel:
    row = SimpleNamespace(
        name="x0", type=kind, options=options, ifindex=[], ofport=[3], uuid="u"
    )
    found = interface_of(row, 1)
    assert found is not None
    return found.tunnel


def test_a_tunnel_port_tells_its_ends() -> None:
    ends = {"remote_ip": "192.0.2.2", "local_ip": "192.0.2.1", "key": "7"}
    assert tunnel("vxlan", **ends) == Tunnel("192.0.2.1", "192.0.2.2", "7", 4789)
    assert tunnel("gre", **ends).port == 0


def test_a_tunnel_may_use_another_port_and_have_no_key() -> None:
    ends = {"remote_ip": "192.0.2.2", "dst_port": "8472"}
    assert tunnel("vxlan", **ends) == Tunnel("", "192.0.2.2", "0", 8472)


def test_a_patch_port_is_no_tunnel() -> None:
    assert tunnel("patch", peer="x1") == NO_TUNNEL
