r"""The first lesson: one bridge and two taps, each held open by a process.

             s1
            1  2
           /    \
        tap0    tap1
    10.0.0.1    10.0.0.2
"""

import sys
from pathlib import Path

if __name__ == "builtins":  # read by mn --custom: see topologies/__init__.py
    this_file = Path(sys._getframe().f_code.co_filename).resolve()
    sys.path.insert(0, str(this_file.parents[1]))

from topologies.custom import cleanup_of, topos_of
from topologies.network import End, Network, Switch, Tap

NETWORK = Network(
    name="tutorial",
    switches=(Switch("s1", dpid=1),),
    taps=(
        Tap("tap0", "10.0.0.1", "02:00:00:00:00:01", End("s1", 1)),
        Tap("tap1", "10.0.0.2", "02:00:00:00:00:02", End("s1", 2)),
    ),
)

topos = topos_of(NETWORK)
cleanup = cleanup_of(NETWORK)
