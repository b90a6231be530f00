r"""Three switches in a row, two hosts on each, and a tap at either end: the demo.

     tap1                           tap2
       |3                             |3
       s1 4 ------- 3 s2 4 ------- 4 s3
      1  2           1  2           1  2
     /    \         /    \         /    \
    h1    h2       h3    h4       h5    h6

    h1 to h6 are 10.0.0.1 to 10.0.0.6, tap1 is 10.0.0.7, tap2 is 10.0.0.8
"""

import sys
from pathlib import Path

if __name__ == "builtins":  # read by mn --custom: see topologies/__init__.py
    this_file = Path(sys._getframe().f_code.co_filename).resolve()
    sys.path.insert(0, str(this_file.parents[1]))

from topologies.custom import cleanup_of, topos_of
from topologies.network import End, Host, Link, Network, Switch, Tap

NETWORK = Network(
    name="linear",
    switches=(Switch("s1", dpid=1), Switch("s2", dpid=2), Switch("s3", dpid=3)),
    hosts=(
        Host("h1", "10.0.0.1", "02:00:00:00:00:01", End("s1", 1)),
        Host("h2", "10.0.0.2", "02:00:00:00:00:02", End("s1", 2)),
        Host("h3", "10.0.0.3", "02:00:00:00:00:03", End("s2", 1)),
        Host("h4", "10.0.0.4", "02:00:00:00:00:04", End("s2", 2)),
        Host("h5", "10.0.0.5", "02:00:00:00:00:05", End("s3", 1)),
        Host("h6", "10.0.0.6", "02:00:00:00:00:06", End("s3", 2)),
    ),
    taps=(
        Tap("tap1", "10.0.0.7", "02:00:00:00:00:07", End("s1", 3)),
        Tap("tap2", "10.0.0.8", "02:00:00:00:00:08", End("s3", 3)),
    ),
    links=(
        Link(End("s1", 4), End("s2", 3)),
        Link(End("s2", 4), End("s3", 4)),
    ),
)

topos = topos_of(NETWORK)
cleanup = cleanup_of(NETWORK)
