r"""Four hosts on one switch: the least in which a third party can listen.

                s1
           1   2   3   4
          /    |   |    \
        h1    h2   h3    h4
   10.0.0.1   .2   .3    .4
"""

import sys
from pathlib import Path

if __name__ == "builtins":  # read by mn --custom: see topologies/__init__.py
    this_file = Path(sys._getframe().f_code.co_filename).resolve()
    sys.path.insert(0, str(this_file.parents[1]))

from topologies.custom import cleanup_of, topos_of
from topologies.network import End, Host, Network, Switch

NETWORK = Network(
    name="single",
    switches=(Switch("s1", dpid=1),),
    hosts=(
        Host("h1", "10.0.0.1", "02:00:00:00:00:01", End("s1", 1)),
        Host("h2", "10.0.0.2", "02:00:00:00:00:02", End("s1", 2)),
        Host("h3", "10.0.0.3", "02:00:00:00:00:03", End("s1", 3)),
        Host("h4", "10.0.0.4", "02:00:00:00:00:04", End("s1", 4)),
    ),
)

topos = topos_of(NETWORK)
cleanup = cleanup_of(NETWORK)
