"""isat's flags among Ryu's: `ryu-manager --isat-config lab.yaml controller.app`.

Ryu reads its command line before it loads an application, so these must be registered
early: `controller.shim` does it when Ryu's own flags are, and so does
`ryu-manager --user-flags controller/options.py` where the shim is not installed.
"""

from __future__ import annotations

from oslo_config.cfg import ArgsAlreadyParsedError, StrOpt
from ryu import cfg  # and nothing else of Ryu: this runs in the middle of its imports

from controller.northbound.place import default_socket

LOOPBACK = "127.0.0.1"
OPENFLOW_PORT = 6653  # assigned by IANA, "openflow"


OPTIONS = [
    StrOpt(
        "isat-config",
        default="",
        help="policy of isat, a YAML file (default: none, everything at its default)",
    ),
    StrOpt(
        "isat-socket",
        default=default_socket(),
        help=f"where `isat` commands reach the controller (default {default_socket()})",
    ),
]


def register() -> None:
    """Make the flags known, and Ryu's defaults safe.  May be called again.

    Ryu would listen on every address, and on the retired port 6633, too.
    """
    conf = cfg.CONF
    try:
        conf.register_cli_opts(OPTIONS)
    except ArgsAlreadyParsedError:
        conf.register_opts(OPTIONS)
    if "ofp_listen_host" in conf:
        conf.set_default("ofp_listen_host", LOOPBACK)
        conf.set_default("ofp_tcp_listen_port", OPENFLOW_PORT)
        conf.set_default("ofp_ssl_listen_port", OPENFLOW_PORT)  # used with --ctl-cert


if __name__ == "options":  # loaded by --user-flags
    register()
