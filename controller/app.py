"""What Ryu loads: `ryu-manager controller/app.py`, or `ryu-manager controller.app`.

Given a path, Ryu loads this file under the name "app", without the packages around it
being known; so the checkout that it stands in must be importable first.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("controller") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from controller.sources.openflow import OpenFlowChannel


class Isat(OpenFlowChannel):
    """Ryu starts the applications that a module defines itself, hence this class."""
