r"""Seven switches as a binary tree, eight hosts at its leaves.

                   s1
              1 /      \ 2
           3  s2        s3  3
          1 /  \ 2    1 /  \ 2
          s4    s5    s6    s7        port 3 is the one upwards
         1  2  1  2  1  2  1  2
         h1 h2 h3 h4 h5 h6 h7 h8

h1 to h8 are 10.0.0.1 to 10.0.0.8
"""

import sys
from pathlib import Path

if __name__ == "builtins":  # read by mn --custom: see topologies/__init__.py
    this_file = Path(sys._getframe().f_code.co_filename).resolve()
    sys.path.insert(0, str(this_file.parents[1]))

from topologies.custom import cleanup_of, topos_of
from topologies.network import End, Host, Link, Network, Switch

NETWORK = Network(
    name="tree",
    switches=(
        Switch("s1", dpid=1),
        Switch("s2", dpid=2),
        Switch("s3", dpid=3),
        Switch("s4", dpid=4),
        Switch("s5", dpid=5),
        Switch("s6", dpid=6),
        Switch("s7", dpid=7),
    ),
    hosts=(
        Host("h1", "10.0.0.1", "02:00:00:00:00:01", End("s4", 1)),
        Host("h2", "10.0.0.2", "02:00:00:00:00:02", End("s4", 2)),
        Host("h3", "10.0.0.3", "02:00:00:00:00:03", End("s5", 1)),
        Host("h4", "10.0.0.4", "02:00:00:00:00:04", End("s5", 2)),
        Host("h5", "10.0.0.5", "02:00:00:00:00:05", End("s6", 1)),
        Host("h6", "10.0.0.6", "02:00:00:00:00:06", End("s6", 2)),
        Host("h7", "10.0.0.7", "02:00:00:00:00:07", End("s7", 1)),
        Host("h8", "10.0.0.8", "02:00:00:00:00:08", End("s7", 2)),
    ),
    links=(
        Link(End("s1", 1), End("s2", 3)),
        Link(End("s1", 2), End("s3", 3)),
        Link(End("s2", 1), End("s4", 3)),
        Link(End("s2", 2), End("s5", 3)),
        Link(End("s3", 1), End("s6", 3)),
        Link(End("s3", 2), End("s7", 3)),
    ),
)

topos = topos_of(NETWORK)
cleanup = cleanup_of(NETWORK)
