"""`python -m controller.netlink`: what `isat mirror` does, without isat."""

import sys

from controller.netlink.helper import main

sys.exit(main())
