"""A controller without switches, that believes what a test tells it, and is asked."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from controller.channel import Channel
from controller.config import Config, Sources
from controller.runtime import Runtime
from flows.compile import Compiled, compile_flows
from flows.network import network
from flows.view import Bridge, View
from tests.facts import H1, H2, S1, Fact, heard_host, kernel_host, view_of


def small_lab() -> View:
    """s1: h0 behind port 1, that the kernel shows; port 2, where H2 was heard."""
    now = time.monotonic()
    return view_of(
        Bridge(S1, "s1"),
        kernel_host(S1, 1, H1, "10.0.0.1"),
        heard_host(S1, 2, H2, "10.0.0.2", at=now),
    )


def runtime(socket_path: Path, *facts: Fact | Iterable[Fact]) -> Runtime:
    """Its sources are switched off; its switches hold what they should."""
    made = Runtime(
        Config(sources=Sources(netlink=False, ovsdb="")),
        listening=6653,
        socket_path=str(socket_path),
        perform=lambda command: None,
    )
    view = view_of(*facts) if facts else small_lab()
    made.core.view, made.core.network = view, network(view)
    for datapath_id in {key.datapath_id for key in view.ports}:
        held = set(compile_flows(view, datapath_id))
        channel = Channel(Compiled(datapath_id), installed=held)
        made.core.channels[datapath_id] = channel
    return made
