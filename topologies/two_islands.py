r"""Two networks that share a controller and nothing else, and use the same addresses.

        s1              s2
       1  2            1  2
      /    \          /    \
    h1      h2      h3      h4
  10.0.0.1  .2    10.0.0.1  .2

    An answer that crosses from one island to the other is a wrong answer.
"""

import sys
from pathlib import Path

if __name__ == "builtins":  # read by mn --custom: see topologies/__init__.py
    this_file = Path(sys._getframe().f_code.co_filename).resolve()
    sys.path.insert(0, str(this_file.parents[1]))

from topologies.custom import cleanup_of, topos_of
from topologies.network import End, Host, Network, Switch

NETWORK = Network(
    name="two_islands",
    switches=(Switch("s1", dpid=1), Switch("s2", dpid=2)),
    hosts=(
        Host("h1", "10.0.0.1", "02:00:00:00:00:01", End("s1", 1)),
        Host("h2", "10.0.0.2", "02:00:00:00:00:02", End("s1", 2)),
        Host("h3", "10.0.0.1", "02:00:00:00:00:03", End("s2", 1)),
        Host("h4", "10.0.0.2", "02:00:00:00:00:04", End("s2", 2)),
    ),
)

topos = topos_of(NETWORK)
cleanup = cleanup_of(NETWORK)
